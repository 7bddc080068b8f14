// What a waypoint listens on: one socket for HBONE, and behind it what comes out of its tunnels, by the address that each was opened to.
import { canonicalIp } from '../../../base/ip-address.ts'
import type { Cluster, Endpoint } from '../../../state/cluster.ts'
import { type FilterChain, type Listener, MATCH_EVERYTHING, type TcpChain, type TunnelName } from '../../../state/listener.ts'
import { ALL_METRICS } from '../../../state/metric-terms.ts'
import type { RouteTable } from '../../../state/route.ts'
import { tunnelTls } from '../capture/mesh-tls.ts'
import type { OutboundSource } from '../capture/outbound-chains.ts'
import { applicationCluster, applicationTable } from '../inbound-cluster.ts'
import { isHttp } from '../protocol.ts'
import type { RegistryService } from '../registry.ts'
import { sniffedTable } from '../route-tables.ts'
import { weighted } from '../tcp-routes.ts'
import type { World } from '../world.ts'
import { chainName, httpChain, rangesOf, serviceChains, sniffedChains } from './service-chains.ts'

export interface WaypointParts {
  readonly listeners: readonly Listener[]
  readonly clusters: readonly Cluster[]
  readonly tables: readonly RouteTable[]
}

export const NO_WAYPOINT: WaypointParts = { listeners: [], clusters: [], tables: [] }

const INTERNAL = 'main_internal'
/** To workloads that were dialled themselves. */
export const ENCAP = 'encap'

/**
 * `services`: those of this waypoint. `tables`: those of ports, with a virtual host for each of them. `workloads`: endpoints that go through this
 * waypoint when they themselves are dialled, of any port.
 */
export function waypointListeners(
  source: OutboundSource,
  services: readonly RegistryService[],
  tables: readonly RouteTable[],
  workloads: readonly Endpoint[],
): WaypointParts {
  const { world } = source
  const served = services.filter((s) => {
    const reached = rangesOf(s).length > 0
    if (!reached) noteUnreachable(world, s)
    return reached
  })
  const chains = served.flatMap((s) => s.ports.flatMap((port) => serviceChains(source, s, port)))
  const direct = workloads.length === 0 ? [] : directChains(world, workloads, chains)
  const cluster = workloads.length === 0 ? [] : [encap(world, workloads)]
  return {
    listeners: [connectTerminate(world, names(served)), mainInternal(world, [...chains, ...direct])],
    clusters: cluster,
    tables: [
      ...served.flatMap((s) => s.ports.filter((p) => isHttp(p.protocol)).flatMap((p) => tableOf(s, p, tables))),
      ...cluster.map((c) => applicationTable(ENCAP, c, null, c.origin)),
    ],
  }
}

/** HBONE is always mutual TLS. */
function connectTerminate(world: World, hosts: readonly TunnelName[]): Listener {
  const { port, origin, address } = world.bootstrap.waypoint
  const network = { kind: 'tunnel', to: INTERNAL, names: hosts } as const
  return {
    ...listener(world, 'connect_terminate'),
    address,
    port,
    bind: true,
    filterChains: [{ name: 'default', match: MATCH_EVERYTHING, tls: tunnelTls(), network, origin }],
  }
}

function mainInternal(world: World, filterChains: readonly FilterChain[]): Listener {
  return { ...listener(world, INTERNAL), filterChains }
}

/** Nobody dials it: only tunnels lead there. */
function listener(world: World, name: string): Listener {
  const { detectionTimeoutMs, origin } = world.bootstrap.waypoint
  return {
    name,
    direction: 'inbound',
    address: '',
    port: 0,
    bind: false,
    capture: 'none',
    handOver: false,
    otherAddresses: [],
    proxyProtocol: 'none',
    detectionTimeoutMs,
    originalDst: '',
    filterChains: [],
    defaultFilterChain: null,
    accessLogs: [],
    origin,
  }
}

/** Gateways of other networks know services by their names. */
function names(services: readonly RegistryService[]): TunnelName[] {
  return services.flatMap((s) => {
    const address = s.addresses.flatMap((a) => canonicalIp(a) ?? [])[0]
    return address === undefined ? [] : s.ports.map((p) => ({ host: s.hostname, from: p.number, address, port: p.number }))
  })
}

function tableOf(service: RegistryService, port: RegistryService['ports'][number], tables: readonly RouteTable[]): RouteTable[] {
  const table = sniffedTable(tables, service.hostname, port.number)
  if (table === null) return []
  return [{ ...table, name: chainName(service, port, 'http') }]
}

/** Whatever the port, and what is spoken there is found out. A port with chains of its own is asked for its own only, so that it gets these, too. */
function directChains(world: World, workloads: readonly Endpoint[], chains: readonly FilterChain[]): FilterChain[] {
  const { origin } = world.bootstrap.waypoint
  const destinationRanges = workloads.map(({ address }) => `${address}/${address.includes(':') ? 128 : 32}`)
  return [0, ...new Set(chains.map((c) => c.match.destinationPort))].flatMap((destinationPort): FilterChain[] => {
    const match = { ...MATCH_EVERYTHING, destinationPort, destinationRanges }
    const suffix = destinationPort === 0 ? '' : ` ${destinationPort}`
    const authorization = world.authorizations.filters({ kind: 'tcp', tunnelled: true, service: null })
    const tcp: TcpChain = {
      kind: 'tcp',
      clusters: [weighted(ENCAP, 1)],
      byServerName: false,
      tunnel: null,
      hashSourceIp: false,
      connectAttempts: 1,
      serverNamePort: 0,
      metrics: ALL_METRICS,
      idleTimeoutMs: null,
      maxDurationMs: null,
      accessLogs: [],
      authorization,
    }
    return sniffedChains(
      match,
      { name: `direct-http${suffix}`, network: httpChain(world, ENCAP, null) },
      { name: `direct-tcp${suffix}`, network: tcp },
      origin,
    )
  })
}

function encap(world: World, endpoints: readonly Endpoint[]): Cluster {
  const { origin } = world.bootstrap.waypoint
  const cluster = applicationCluster({
    name: ENCAP,
    endpoint: null,
    bind: null,
    protocol: 'client',
    service: null,
    port: 0,
    origin,
  })
  return { ...cluster, endpoints }
}

function noteUnreachable(world: World, { object, hostname }: RegistryService): void {
  world.verdicts.partly(
    object,
    [],
    `${hostname} has no address of its own, so that nobody comes to this waypoint for it: its clients dial its endpoints`,
    true,
  )
}
