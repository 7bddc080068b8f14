// One route table for each port, as a sidecar gets one route configuration for each outbound port (Istio virtual hosts).
import { BUILT_IN } from '../../state/origin.ts'
import type { Route, RouteAction, RouteTable, VirtualHost } from '../../state/route.ts'
import { identityText } from '../resource-object.ts'
import { clusterName, PASSTHROUGH_CLUSTER } from './clusters.ts'
import { type DestinationHashes, hashPoliciesOf } from './hash-policies.ts'
import { covers, mostSpecific } from './host-names.ts'
import { isHttp } from './protocol.ts'
import { domainsOf, type Registry, type RegistryPort, type RegistryService } from './registry.ts'
import { INBOUND_RETRY } from './retry-policy.ts'
import { forwardTo } from './route-action.ts'
import { IN_MESH, MATCH_ALL, type RuleScope } from './route-match.ts'
import { compileRoutes } from './routes.ts'
import type { VirtualServiceObject, VirtualServiceRules } from './rules.ts'
import type { World } from './world.ts'

/** Hosts without a service of their own are reachable here only, unless their VirtualService has another host on the port. */
const FREE_PORT = 80

/** What a VirtualService got on some table. */
export interface Placement {
  readonly rules: VirtualServiceRules
  readonly port: number
  /** Hosts that the registry knows on this port; the others stand for themselves. */
  readonly services: readonly RegistryService[]
  readonly routes: readonly Route[]
  readonly scope: RuleScope
}

export interface BuiltTables {
  readonly tables: readonly RouteTable[]
  readonly placements: readonly Placement[]
  /** For each VirtualService and host that lost its domains everywhere: who has them. */
  readonly losses: ReadonlyMap<VirtualServiceObject, ReadonlyMap<string, VirtualServiceObject | null>>
}

export function buildRouteTables(
  world: World,
  registry: Registry,
  virtualServices: readonly VirtualServiceRules[],
  extraPorts: readonly number[],
  hashes: DestinationHashes,
): BuiltTables {
  const ports = new Set([FREE_PORT, ...extraPorts])
  for (const service of registry.values()) for (const port of service.ports) ports.add(port.number)
  const wildcardOwner = ownersByService(registry, virtualServices)
  const builder = new TableBuilder(world, registry, virtualServices, wildcardOwner, hashes)
  const tables = [...ports].toSorted((a, b) => a - b).map((port) => builder.build(port))
  return { tables, placements: builder.placements, losses: builder.losses() }
}

/** For connections to one service on a port of which nothing is declared: its virtual host alone, whatever name it is asked by (istiod's sniffed routes). */
export function sniffedTable(tables: readonly RouteTable[], hostname: string, port: number): RouteTable | null {
  const name = `${hostname}:${port}`
  const table = tables.find((t) => t.name === String(port))
  const virtualHost = table?.virtualHosts.find((v) => v.name === name)
  return virtualHost === undefined ? null : { name, port, ignorePort: true, virtualHosts: [{ ...virtualHost, domains: ['*'] }] }
}

/** For each service the VirtualService with its most specific host, exact before wildcards; of equals the first. */
function ownersByService(
  registry: Registry,
  virtualServices: readonly VirtualServiceRules[],
): ReadonlyMap<string, VirtualServiceRules> {
  const exact = new Map<string, VirtualServiceRules>()
  const wildcards = new Map<string, VirtualServiceRules>()
  for (const rules of virtualServices) {
    for (const host of rules.hosts) {
      const index = host.startsWith('*') ? wildcards : exact
      if (!index.has(host)) index.set(host, rules)
    }
  }
  const owners = new Map<string, VirtualServiceRules>()
  const list = [...wildcards]
  for (const hostname of registry.keys()) {
    const owner = mostSpecific(hostname, exact, list)
    if (owner !== undefined) owners.set(hostname, owner)
  }
  return owners
}

/** Builds table after table, remembering who won which host. */
class TableBuilder {
  readonly placements: Placement[]
  private readonly world: World
  private readonly registry: Registry
  private readonly virtualServices: readonly VirtualServiceRules[]
  private readonly owners: ReadonlyMap<string, VirtualServiceRules>
  private readonly hashes: DestinationHashes
  /** Hosts that a VirtualService won on some table, and those that it lost, to whom. */
  private readonly won: Map<VirtualServiceObject, Set<string>>
  private readonly lost: Map<VirtualServiceObject, Map<string, VirtualServiceObject | null>>

  constructor(
    world: World,
    registry: Registry,
    virtualServices: readonly VirtualServiceRules[],
    owners: ReadonlyMap<string, VirtualServiceRules>,
    hashes: DestinationHashes,
  ) {
    this.placements = []
    this.world = world
    this.registry = registry
    this.virtualServices = virtualServices
    this.owners = owners
    this.hashes = hashes
    this.won = new Map()
    this.lost = new Map()
  }

  build(port: number): RouteTable {
    const onPort = new Map<string, RegistryService>()
    for (const service of this.registry.values())
      if (service.ports.some((p) => p.number === port)) onPort.set(service.hostname, service)
    const placements = this.virtualServices.flatMap((rules) => this.place(rules, port, onPort))
    this.placements.push(...placements.map((p) => p.placement))
    const table = new TableHosts()
    const served = new Set(placements.flatMap((p) => p.placement.services.map((s) => s.hostname)))
    for (const hostname of onPort.keys()) table.fullNames.add(hostname)
    for (const { placement, freeHosts } of placements) this.addPlacement(table, placement, freeHosts)
    for (const service of onPort.values()) {
      const http = service.ports.find((p) => p.number === port && isHttp(p.protocol))
      if (http !== undefined && !served.has(service.hostname))
        table.add(defaultHost(service, http, this.world, this.hashes), null)
    }
    const virtualHosts = table.hosts.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    const rest = catchAll(this.world)
    return { name: String(port), port, ignorePort: true, virtualHosts: rest === null ? virtualHosts : [...virtualHosts, rest] }
  }

  losses(): ReadonlyMap<VirtualServiceObject, ReadonlyMap<string, VirtualServiceObject | null>> {
    const losses = new Map<VirtualServiceObject, ReadonlyMap<string, VirtualServiceObject | null>>()
    for (const [object, hosts] of this.lost) {
      const final = new Map([...hosts].filter(([host]) => !this.won.get(object)?.has(host)))
      if (final.size > 0) losses.set(object, final)
    }
    return losses
  }

  private place(
    rules: VirtualServiceRules,
    port: number,
    onPort: ReadonlyMap<string, RegistryService>,
  ): { placement: Placement; freeHosts: string[] }[] {
    const { services, freeHosts } = this.split(rules, onPort)
    const http = services.filter((s) => s.ports.some((p) => p.number === port && isHttp(p.protocol)))
    if (http.length === 0 && port !== FREE_PORT) return []
    if (http.length === 0 && freeHosts.length === 0) return []
    const routes = compileRoutes(this.world, rules, port, this.hashes)
    return routes.length === 0 ? [] : [{ placement: { rules, port, services: http, routes, scope: IN_MESH }, freeHosts }]
  }

  /** A wildcard is free only when it covers no service; a service goes to the most specific wildcard alone. */
  private split(
    rules: VirtualServiceRules,
    onPort: ReadonlyMap<string, RegistryService>,
  ): { services: RegistryService[]; freeHosts: string[] } {
    const services: RegistryService[] = []
    const freeHosts: string[] = []
    for (const host of rules.hosts) {
      const exact = host.startsWith('*') ? undefined : onPort.get(host)
      if (exact !== undefined) services.push(exact)
      else if (!host.startsWith('*')) freeHosts.push(host)
      else {
        const covered = [...onPort.values()].filter((s) => covers(host, s.hostname))
        if (covered.length === 0) freeHosts.push(host)
        for (const service of covered) {
          if (this.owners.get(service.hostname) === rules) services.push(service)
          else this.note(this.lost, rules.object, host, this.owners.get(service.hostname)?.object ?? null)
        }
        if (covered.some((s) => this.owners.get(s.hostname) === rules)) this.win(rules.object, host)
      }
    }
    return { services, freeHosts }
  }

  private addPlacement(table: TableHosts, placement: Placement, freeHosts: readonly string[]): void {
    const { rules, port, services, routes } = placement
    const origin = rules.object.origin()
    for (const host of freeHosts)
      this.added(table, { name: `${host}:${port}`, domains: [host], routes, origin }, [], host, rules.object)
    for (const service of services) {
      const { domains, short } = domainsOf(service, this.world)
      const host = rules.hosts.includes(service.hostname)
        ? service.hostname
        : rules.hosts.find((h) => covers(h, service.hostname))
      this.added(
        table,
        { name: `${service.hostname}:${port}`, domains, routes, origin },
        short,
        host ?? service.hostname,
        rules.object,
      )
    }
  }

  private added(
    table: TableHosts,
    virtualHost: VirtualHost,
    short: readonly string[],
    host: string,
    object: VirtualServiceObject,
  ): void {
    const owner = table.add(virtualHost, object, short)
    if (owner === undefined) this.win(object, host)
    else this.note(this.lost, object, host, owner)
  }

  private win(object: VirtualServiceObject, host: string): void {
    const hosts = this.won.get(object) ?? new Set()
    hosts.add(host)
    this.won.set(object, hosts)
  }

  private note(
    map: Map<VirtualServiceObject, Map<string, VirtualServiceObject | null>>,
    object: VirtualServiceObject,
    host: string,
    by: VirtualServiceObject | null,
  ): void {
    const hosts = map.get(object) ?? new Map<string, VirtualServiceObject | null>()
    if (!hosts.has(host)) hosts.set(host, by)
    map.set(object, hosts)
  }
}

/** The virtual hosts of one table: the first owner keeps a domain. */
class TableHosts {
  readonly hosts: VirtualHost[]
  /** Full names of services: a short spelling of another service never takes one. */
  readonly fullNames: Set<string>
  private readonly owners: Map<string, VirtualServiceObject | null>
  private readonly names: Map<string, VirtualServiceObject | null>

  constructor() {
    this.hosts = []
    this.fullNames = new Set()
    this.owners = new Map()
    this.names = new Map()
  }

  /** undefined when it was added, with the domains that were free; else who has its name or all of its domains. */
  add(
    host: VirtualHost,
    object: VirtualServiceObject | null,
    short: readonly string[] = [],
  ): VirtualServiceObject | null | undefined {
    const named = this.names.get(host.name)
    if (named !== undefined) return named
    this.names.set(host.name, object)
    const domains: string[] = []
    for (const domain of host.domains.map((d) => d.toLowerCase())) {
      if (this.owners.has(domain) || (short.includes(domain) && this.fullNames.has(domain))) continue
      this.owners.set(domain, object)
      domains.push(domain)
    }
    if (domains.length === 0) return this.owners.get(host.domains[0]?.toLowerCase() ?? '') ?? null
    this.hosts.push({ ...host, domains })
    return undefined
  }
}

function defaultHost(service: RegistryService, port: RegistryPort, world: World, hashes: DestinationHashes): VirtualHost {
  const origin = port.object.origin()
  const ofClient = world.defaultRetry(world.bootstrap.retries === 'exact' ? 'allowed' : 'held-back')
  // A waypoint leaves repeating to who asks it, and to rules; and what a call says of its time holds for the whole of it.
  const retry = world.servesOthers ? INBOUND_RETRY : ofClient
  const times = world.servesOthers ? { maxStreamDurationMs: 0, grpcStreamMaxMs: 0 } : {}
  const hash = hashes.ofService(service.hostname, port.number)
  const forward = forwardTo(clusterName(port.number, '', service.hostname), retry)
  const action = { ...forward, ...times, hashPolicies: hashPoliciesOf([hash]) }
  const route: Route = { name: 'default', origin, match: MATCH_ALL, action, requestEdits: [], responseEdits: [] }
  return { name: `${service.hostname}:${port.number}`, domains: domainsOf(service, world).domains, routes: [route], origin }
}

/**
 * For hosts that nobody declared: pass them on, or answer 502. Null where nothing can be passed on because no listener knows an original
 * destination: such a host is not found. To dial what the authority names instead would make an open proxy of every explicit listener.
 */
function catchAll(world: World): VirtualHost | null {
  const { listeners } = world.bootstrap
  const allow = world.scope.outboundTrafficPolicy === 'ALLOW_ANY'
  const stands = listeners.some((l) => l.direction === 'outbound' && l.protocol === 'http' && l.destination !== '')
  if (allow && !world.capturesOutbound && !stands) return null
  const name = allow ? 'allow_any' : 'block_all'
  const action: RouteAction = allow ? forwardTo(PASSTHROUGH_CLUSTER, null) : { kind: 'direct', status: 502, body: '' }
  const route: Route = { name, origin: BUILT_IN, match: MATCH_ALL, action, requestEdits: [], responseEdits: [] }
  return { name, domains: ['*'], routes: [route], origin: BUILT_IN }
}

/** Says of VirtualServices whose hosts belong to others that they are shadowed, wholly or in part. */
export function noteLosses(world: World, built: BuiltTables, virtualServices: readonly VirtualServiceRules[]): void {
  const placed = new Set(built.placements.map((p) => p.rules.object))
  for (const { object, hosts, http } of virtualServices) {
    const losses = built.losses.get(object)
    if (losses !== undefined) {
      const owners = [
        ...new Set(
          [...losses.values()].map((by) =>
            by === null ? 'a service of that name' : `${identityText(by)} (${by.source.file}:${by.origin().line})`,
          ),
        ),
      ]
      if (hosts.every((host) => losses.has(host)))
        world.verdicts.shadowed(
          object,
          `shadowed by ${owners.join(', ')}: its hosts ${hosts.join(', ')} are taken, and rules for one host are not merged`,
        )
      else {
        for (const [i, host] of hosts.entries())
          if (losses.has(host)) world.verdicts.partly(object, ['hosts', i], `\`${host}\` is shadowed by ${owners.join(', ')}`)
      }
    } else if (http.length > 0 && !placed.has(object)) world.verdicts.waiting(object, waitingReason(hosts))
  }
}

function waitingReason(hosts: readonly string[]): string {
  return `waiting for a client or a port that its rules are for: none of them fits this workload on any port of ${hosts.join(', ')}`
}
