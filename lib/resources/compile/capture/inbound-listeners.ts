// What dials the application, as istiod makes it: one listener for all of its ports, and one for HBONE with what comes out of its tunnels.
import { effectiveMtls, type MtlsRule, mtlsRuleOf, type WorkloadMtls } from '../../../policy/peer-authentication.ts'
import type { Cluster, UpstreamBind } from '../../../state/cluster.ts'
import { type FilterChain, type Listener, MATCH_EVERYTHING } from '../../../state/listener.ts'
import { BUILT_IN } from '../../../state/origin.ts'
import type { MtlsMode, PeerAuthentication } from '../../../state/peer-authentication.ts'
import type { RouteTable } from '../../../state/route.ts'
import { PASSTHROUGH_IDLE_MS } from '../clusters.ts'
import { applicationCluster, applicationEndpoint, applicationTable } from '../inbound-cluster.ts'
import { peerAuthentications } from '../peer-authentications.ts'
import { clusterProtocol } from '../protocol.ts'
import type { Registry } from '../registry.ts'
import { INBOUND_RETRY } from '../retry-policy.ts'
import type { World } from '../world.ts'
import { inboundAuthorization, inboundChains, kindOf } from './inbound-chains.ts'
import { type InboundPort, inboundPorts } from './inbound-ports.ts'
import { tunnelTls } from './mesh-tls.ts'
import { blackHole } from './outbound-listeners.ts'

export interface InboundCapture {
  readonly listeners: readonly Listener[]
  readonly clusters: readonly Cluster[]
  readonly tables: readonly RouteTable[]
  /** By which the mTLS modes were found. */
  readonly policies: readonly PeerAuthentication[]
}

const NOTHING: InboundCapture = { listeners: [], clusters: [], tables: [], policies: [] }

/** Of the application, as Istio's rules know it: packets from here are not captured again. */
const SOURCE_IPV4 = '127.0.0.6'
const SOURCE_IPV6 = '::6'
/** Packets with it find their way back under TPROXY. */
const TPROXY_MARK = 1337

const PASSTHROUGH = 'InboundPassthroughCluster'
export const TUNNELLED_LISTENER = 'main_internal'

export function inboundCapture(world: World, registry: Registry): InboundCapture {
  const { capture } = world.bootstrap
  const tunnels = capture.mode !== 'none' && capture.tunnelPort !== 0 && world.meshIdentity
  if (!world.capturesInbound && !tunnels) return NOTHING
  const ports = inboundPorts(world, registry)
  const { namespace, labels } = world.client
  const mtls = effectiveMtls(peerAuthentications(world), namespace, labels)
  const application = [passthroughApplication(world), ...ports.map((port) => applicationOf(world, port))]
  const listeners: Listener[] = []
  if (world.capturesInbound) listeners.push(virtualInbound(world, ports, mtls))
  if (tunnels) listeners.push(connectTerminate(world), mainInternal(world, ports))
  return {
    listeners,
    clusters: application.map((a) => a.cluster),
    tables: application.flatMap((a) => a.table),
    policies: world.capturesInbound ? mtls.applied : [],
  }
}

function virtualInbound(world: World, ports: readonly InboundPort[], mtls: WorkloadMtls): Listener {
  const { mode, inboundPort, origin } = world.bootstrap.capture
  const served = new Set(ports.map((p) => p.port))
  // A port of the policy that nobody serves is passed through by its own mode.
  const site = { world, tunnelled: false }
  const unserved = [...mtls.ports.keys()].filter((port) => !served.has(port))
  return {
    ...listener(world, 'virtualInbound', inboundPort),
    bind: true,
    capture: mode === 'tproxy' ? 'tproxy' : 'redirect',
    filterChains: [
      blackHole('virtualInbound-blackhole', inboundPort, origin),
      ...passthroughChains(site, 0, mtls.rule),
      ...unserved.flatMap((port) => passthroughChains(site, port, mtlsRuleOf(mtls, port))),
      ...ports.flatMap((port) => portChains(site, port, mtlsRuleOf(mtls, port.port).mode)),
    ],
  }
}

/** HBONE. Always mutual TLS, whatever the policy says. */
function connectTerminate(world: World): Listener {
  const { tunnelPort, origin } = world.bootstrap.capture
  const network = { kind: 'tunnel', to: TUNNELLED_LISTENER, names: [] } as const
  return {
    ...listener(world, 'connect_terminate', tunnelPort),
    bind: true,
    filterChains: [{ name: 'default', match: MATCH_EVERYTHING, tls: tunnelTls(), network, origin }],
  }
}

/** What comes out of tunnels has had its TLS. */
function mainInternal(world: World, ports: readonly InboundPort[]): Listener {
  const { inboundPort, outboundPort, tunnelPort, origin } = world.bootstrap.capture
  const site = { world, tunnelled: true }
  return {
    ...listener(world, TUNNELLED_LISTENER, 0),
    // Nobody dials it: only tunnels lead here.
    address: '',
    filterChains: [
      ...[inboundPort, outboundPort, tunnelPort]
        .filter((port) => port !== 0)
        .map((port) => blackHole(`${TUNNELLED_LISTENER}-blackhole ${port}`, port, origin)),
      ...passthroughChains(site, 0, { mode: 'DISABLE', setBy: BUILT_IN }),
      ...ports.flatMap((port) => portChains(site, port, 'DISABLE')),
    ],
  }
}

function listener(world: World, name: string, port: number): Listener {
  const { address, detectionTimeoutMs, origin } = world.bootstrap.capture
  return {
    name,
    direction: 'inbound',
    address,
    port,
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

interface Site {
  readonly world: World
  /** What comes out of tunnels. */
  readonly tunnelled: boolean
}

function passthroughChains({ world, tunnelled }: Site, port: number, { mode, setBy: origin }: MtlsRule): FilterChain[] {
  const { minTlsVersion: minVersion } = world.bootstrap.mesh
  const name = port === 0 ? 'virtualInbound' : `virtualInbound ${port}`
  return inboundChains({
    name,
    port,
    kind: 'auto',
    mode,
    cluster: PASSTHROUGH,
    routeTable: PASSTHROUGH,
    httpVersion: 'auto',
    minVersion,
    authorization: inboundAuthorization(world, tunnelled),
    origin,
  })
}

function portChains({ world, tunnelled }: Site, { port, protocol, origin }: InboundPort, mode: MtlsMode): FilterChain[] {
  const { minTlsVersion: minVersion } = world.bootstrap.mesh
  const cluster = clusterNameOf(port)
  const name = `0.0.0.0_${port}`
  return inboundChains({
    name,
    port,
    kind: kindOf(protocol),
    mode,
    cluster,
    routeTable: cluster,
    httpVersion: 'auto',
    minVersion,
    authorization: inboundAuthorization(world, tunnelled),
    origin,
  })
}

interface Application {
  readonly cluster: Cluster
  readonly table: readonly RouteTable[]
}

function applicationOf(world: World, { port, protocol, service, servicePort, at, origin }: InboundPort): Application {
  const cluster = applicationCluster({
    name: clusterNameOf(port),
    endpoint: at === null ? null : applicationEndpoint(world, at.address, at.port, origin),
    // On the loopback the application is reached as it is.
    bind: at === null ? bindOf(world) : null,
    protocol: clusterProtocol(protocol),
    service,
    port: servicePort,
    origin,
  })
  // A call of gRPC is repeated by its client.
  const retry = protocol === 'GRPC' ? null : INBOUND_RETRY
  return { cluster, table: kindOf(protocol) === 'tcp' ? [] : [applicationTable(cluster.name, cluster, retry, origin)] }
}

function passthroughApplication(world: World): Application {
  const { origin } = world.bootstrap.capture
  const bind = bindOf(world)
  const made = applicationCluster({ name: PASSTHROUGH, endpoint: null, bind, protocol: 'client', service: null, port: 0, origin })
  const cluster = { ...made, limits: { ...made.limits, httpIdleTimeoutMs: PASSTHROUGH_IDLE_MS } }
  return { cluster, table: [applicationTable(PASSTHROUGH, cluster, INBOUND_RETRY, origin)] }
}

function bindOf(world: World): UpstreamBind {
  const transparent = world.bootstrap.capture.mode === 'tproxy'
  return { source4: SOURCE_IPV4, source6: SOURCE_IPV6, clientSource: transparent, mark: transparent ? TPROXY_MARK : 0 }
}

function clusterNameOf(port: number): string {
  return `inbound|${port}||`
}
