// From servers to listeners: those of one address and port share one, and who comes later yields.
import {
  type EdgeSettings,
  type FilterChain,
  type FilterChainMatch,
  HTTP_SETTINGS,
  type HttpChain,
  type Listener,
  MATCH_EVERYTHING,
} from '../../../state/listener.ts'
import type { Route, RouteTable, VirtualHost } from '../../../state/route.ts'
import { isCatchAll, MATCH_ALL } from '../route-match.ts'
import type { World } from '../world.ts'
import { boundPort } from './ports.ts'
import { familyOf, type GatewayServer, matchNames, type ServedDomain } from './server.ts'

export interface GatewayListeners {
  readonly listeners: readonly Listener[]
  readonly tables: readonly RouteTable[]
}

export function gatewayListeners(world: World, servers: readonly GatewayServer[]): GatewayListeners {
  const groups = new Map<string, GatewayServer[]>()
  for (const server of servers) {
    const key = `${server.bind}_${server.port}`
    groups.set(key, [...(groups.get(key) ?? []), server])
  }
  const listeners: Listener[] = []
  const tables: RouteTable[] = []
  for (const group of groups.values()) {
    const served = withoutConflicts(world, group)
    const [first] = served
    if (first === undefined) continue
    const port = boundPort(world, first.port)
    if (port < 0) {
      const { portOffset } = world.bootstrap.gateway
      for (const s of served)
        world.verdicts.partly(
          s.object,
          s.path,
          `there is no port ${s.port} + ${portOffset} (gateway.portOffset): it is not served`,
        )
      continue
    }
    listeners.push(listenerOf(world, first, port, chainsOf(world, served)))
    tables.push(...tablesOf(world, served))
  }
  return { listeners, tables }
}

/** The first server of a port says what it speaks. */
function withoutConflicts(world: World, group: readonly GatewayServer[]): GatewayServer[] {
  const kept: GatewayServer[] = []
  const names = new Map<string, GatewayServer>()
  for (const server of group) {
    const [first] = kept
    const taken = familyOf(server) === 'tls' && server.kind === 'https' ? server.hosts.find((h) => names.has(h)) : undefined
    if (first !== undefined && familyOf(first) !== familyOf(server))
      refuse(world, server, `port ${server.port} is taken for another protocol by ${first.text}, which is older`)
    else if (first !== undefined && familyOf(server) === 'tcp')
      refuse(world, server, `port ${server.port} is taken by ${first.text}: of TCP there can be one`)
    else if (taken !== undefined)
      refuse(world, server, `the server name \`${taken}\` is taken by ${names.get(taken)?.text ?? ''}`)
    else {
      kept.push(server)
      if (familyOf(server) === 'tls') for (const host of server.hosts) if (!names.has(host)) names.set(host, server)
    }
  }
  return kept
}

function refuse(world: World, server: GatewayServer, reason: string): void {
  world.verdicts.partly(server.object, server.path, `${reason}: it is not served`)
}

function listenerOf(
  world: World,
  { bind, port: named, origin }: GatewayServer,
  port: number,
  filterChains: readonly FilterChain[],
): Listener {
  return {
    name: `${bind === '' ? '0.0.0.0' : bind}_${named}`,
    direction: 'outbound',
    address: bind === '' ? world.bootstrap.gateway.address : bind,
    port,
    bind: true,
    capture: 'none',
    handOver: false,
    otherAddresses: [],
    proxyProtocol: world.bootstrap.gateway.proxyProtocol ? 'required' : 'none',
    detectionTimeoutMs: 0,
    originalDst: '',
    filterChains,
    defaultFilterChain: null,
    accessLogs: [],
    origin,
  }
}

function chainsOf(world: World, servers: readonly GatewayServer[]): FilterChain[] {
  const { trustedProxies } = world.bootstrap.gateway
  const edge: EdgeSettings = { trustedProxies, keepsRequestIds: false }
  const chains: FilterChain[] = []
  const taken = new Map<string, GatewayServer>()
  const add = (server: GatewayServer, chain: FilterChain): void => {
    const key = JSON.stringify(chain.match)
    const other = taken.get(key)
    if (other === undefined) {
      taken.set(key, server)
      chains.push(chain)
    } else if (other !== server)
      refuse(world, server, `what it asks of connections is asked by ${other.text} already: \`${chain.name}\``)
  }
  for (const server of servers) {
    const { kind, tls, origin, tableName, grpcWeb } = server
    if (kind === 'http') {
      if (chains.length === 0)
        chains.push({
          name: 'http',
          match: MATCH_EVERYTHING,
          tls: null,
          network: httpChain(world, tableName, edge, grpcWeb),
          origin,
        })
    } else if (kind === 'https') {
      const match = matchNames(server.hosts)
      add(server, { name: tableName, match, tls, network: httpChain(world, tableName, edge), origin })
    } else
      for (const bytes of server.chains) {
        const names = tls === null ? bytes.serverNames : server.hosts
        const match: FilterChainMatch =
          kind === 'tcp' ? MATCH_EVERYTHING : matchNames(names, bytes.ranges, bytes.applicationProtocols)
        const name = [kind, ...match.serverNames, ...match.destinationRanges].join(' ')
        const authorization = world.authorizations.filters({ kind: 'tcp', tunnelled: false, service: null })
        add(server, { name, match, tls, network: { ...bytes.network, authorization }, origin: bytes.origin })
      }
  }
  return chains
}

function httpChain(
  { authentications, authorizations }: World,
  routeTable: string,
  edge: EdgeSettings,
  grpcWeb = false,
): HttpChain {
  const authorization = authorizations.filters({ kind: 'http', tunnelled: false, service: null })
  return {
    kind: 'http',
    httpVersion: 'auto',
    routeTable,
    allowConnect: false,
    clientCertificate: 'sanitize_set',
    edge,
    jwt: authentications.filter(null),
    authorization,
    settings: { ...HTTP_SETTINGS, forwardsCertificate: true, grpcWeb },
  }
}

function tablesOf(world: World, servers: readonly GatewayServer[]): RouteTable[] {
  const byTable = new Map<string, GatewayServer[]>()
  for (const server of servers) {
    if (server.kind !== 'http' && server.kind !== 'https') continue
    byTable.set(server.tableName, [...(byTable.get(server.tableName) ?? []), server])
  }
  const believes = world.bootstrap.gateway.trustedProxies > 0
  return [...byTable].map(([name, group]) => {
    const port = group[0]?.port ?? 0
    return {
      name,
      port,
      ignorePort: true,
      virtualHosts: virtualHostsOf(
        group.flatMap((s) => s.domains),
        port,
        believes,
      ),
    }
  })
}

function virtualHostsOf(domains: readonly ServedDomain[], port: number, believesForwarded: boolean): VirtualHost[] {
  const hosts = new Map<string, ServedDomain[]>()
  for (const served of domains) hosts.set(served.domain, [...(hosts.get(served.domain) ?? []), served])
  return [...hosts]
    .map(([domain, group]): VirtualHost => {
      const origin = group[0]!.origin
      const routes = joined(group)
      const redirects = group.find((g) => g.redirects)
      const all = redirects === undefined ? routes : [toHttps(redirects, believesForwarded), ...(believesForwarded ? routes : [])]
      return { name: `${domain}:${port}`, domains: [domain], routes: all, origin }
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

/** Rules of several VirtualServices for one host, one behind the other; what takes every request comes last. */
function joined(group: readonly ServedDomain[]): Route[] {
  const routes = group.flatMap((g) => g.routes)
  return [...routes.filter((r) => !isCatchAll(r.match)), ...routes.filter((r) => isCatchAll(r.match))]
}

/** Envoy require_tls: whoever has come by https, also to a proxy in front that is believed, is not sent there again. */
function toHttps({ origin }: ServedDomain, believesForwarded: boolean): Route {
  const plaintext = {
    name: 'x-forwarded-proto',
    field: 'httpsRedirect',
    match: { kind: 'exact', value: 'https', ignoreCase: true },
    invert: true,
    missingIsEmpty: true,
  } as const
  return {
    name: '',
    origin,
    match: believesForwarded ? { ...MATCH_ALL, headers: [plaintext] } : MATCH_ALL,
    action: {
      kind: 'redirect',
      code: 301,
      scheme: 'https',
      authority: '',
      port: 0,
      portFromListener: false,
      path: '',
      prefixRewrite: null,
      regexRewrite: null,
      stripQuery: false,
    },
    requestEdits: [],
    responseEdits: [],
  }
}
