// The bootstrap's explicit listeners, with the tables and clusters that inbound ones need.
import { canonicalIp } from '../../base/ip-address.ts'
import { effectiveMtls, mtlsRuleOf, type WorkloadMtls } from '../../policy/peer-authentication.ts'
import type { ListenerConfig } from '../../state/bootstrap-config.ts'
import type { Cluster } from '../../state/cluster.ts'
import {
  type FilterChain,
  HTTP_SETTINGS,
  type HttpChain,
  type Listener,
  MATCH_EVERYTHING,
  type TcpChain,
} from '../../state/listener.ts'
import { ALL_METRICS } from '../../state/metric-terms.ts'
import { addressText } from '../../state/network-address.ts'
import type { PeerAuthentication } from '../../state/peer-authentication.ts'
import type { RouteTable, WeightedCluster } from '../../state/route.ts'
import { inboundAuthorization, inboundChains } from './capture/inbound-chains.ts'
import { PASSTHROUGH_CLUSTER } from './clusters.ts'
import type { DestinationHashes } from './hash-policies.ts'
import { hasLabels } from './host-names.ts'
import { applicationCluster, applicationEndpoint, applicationTable } from './inbound-cluster.ts'
import { peerAuthentications } from './peer-authentications.ts'
import { findByDomain, type Registry, type RegistryService } from './registry.ts'
import { INBOUND_RETRY } from './retry-policy.ts'
import type { VirtualServiceRules } from './rules.ts'
import { tcpTarget, weighted } from './tcp-routes.ts'
import type { World } from './world.ts'

export interface BuiltListeners {
  readonly listeners: readonly Listener[]
  readonly clusters: readonly Cluster[]
  readonly tables: readonly RouteTable[]
  /** By which the mTLS modes of inbound ones were found. */
  readonly policies: readonly PeerAuthentication[]
}

export function buildListeners(
  world: World,
  registry: Registry,
  virtualServices: readonly VirtualServiceRules[],
  hashes: DestinationHashes,
  captured: readonly Cluster[],
): BuiltListeners {
  const listeners: Listener[] = []
  const taken = new Map(captured.map((c) => [c.name, c]))
  const clusters = new Map<string, Cluster>()
  const tables: RouteTable[] = []
  const { namespace, labels } = world.client
  const mtls = effectiveMtls(peerAuthentications(world), namespace, labels)
  for (const config of world.bootstrap.listeners) {
    if (config.direction === 'inbound') {
      const cluster = inboundCluster(world, registry, config, new Map([...taken, ...clusters]))
      clusters.set(cluster.name, cluster)
      if (config.protocol === 'http') tables.push(applicationTable(tableName(config), cluster, INBOUND_RETRY, config.origin))
      listeners.push(inboundListener(world, config, cluster, mtls))
    } else
      listeners.push(
        config.protocol === 'http' ? outboundHttp(config) : outboundTcp(world, registry, virtualServices, hashes, config),
      )
  }
  const policies = clusters.size > 0 ? mtls.applied : []
  return { listeners, clusters: [...clusters.values()], tables, policies }
}

function outboundHttp(config: ListenerConfig): Listener {
  const routeTable = config.destinationPort === 0 ? '' : String(config.destinationPort)
  return explicit(config, httpChain(config, routeTable), config.destination)
}

function outboundTcp(
  world: World,
  registry: Registry,
  virtualServices: readonly VirtualServiceRules[],
  hashes: DestinationHashes,
  config: ListenerConfig,
): Listener {
  const { host, port } = splitHostPort(config.destination)
  const service = findByDomain(registry, host, world)
  if (service !== undefined) {
    return explicit(config, tcpTarget(world, service, port, virtualServices, hashes), '')
  }
  const address = /^[\d.]+$|:/.test(host)
  const allowed = address && world.scope.outboundTrafficPolicy === 'ALLOW_ANY'
  const clusters: WeightedCluster[] = allowed ? [weighted(PASSTHROUGH_CLUSTER, 1)] : []
  return explicit(
    config,
    {
      kind: 'tcp',
      clusters,
      byServerName: false,
      tunnel: null,
      hashSourceIp: false,
      connectAttempts: 1,
      serverNamePort: 0,
      metrics: ALL_METRICS,
      idleTimeoutMs: null,
      maxDurationMs: null,
      accessLogs: [],
      authorization: [],
    },
    address ? config.destination : '',
  )
}

/**
 * Peers of the mesh speak mutual TLS to it, as the application's PeerAuthentication says. Without an identity there is only plaintext, and where
 * that is not enough nobody is let in.
 */
function inboundListener(world: World, config: ListenerConfig, cluster: Cluster, mtls: WorkloadMtls): Listener {
  const authorization = inboundAuthorization(world, false)
  const tcp: TcpChain = {
    kind: 'tcp',
    clusters: [weighted(cluster.name, 1)],
    byServerName: false,
    tunnel: null,
    hashSourceIp: false,
    connectAttempts: 1,
    serverNamePort: 0,
    metrics: ALL_METRICS,
    idleTimeoutMs: null,
    maxDurationMs: null,
    accessLogs: [],
    authorization: authorization.tcp,
  }
  const { jwt } = authorization
  const http: HttpChain = { ...httpChain(config, tableName(config)), jwt, authorization: authorization.http }
  const plain = explicit(config, config.protocol === 'http' ? http : tcp, dialledText(world, config))
  const { mode } = mtlsRuleOf(mtls, splitHostPort(config.forwardTo).port)
  if (mode === 'DISABLE' || (mode === 'PERMISSIVE' && !world.meshIdentity)) return plain
  const filterChains = inboundChains({
    name: 'default',
    port: 0,
    kind: config.protocol,
    mode,
    cluster: cluster.name,
    routeTable: tableName(config),
    httpVersion: config.httpVersion,
    minVersion: world.bootstrap.mesh.minTlsVersion,
    authorization,
    origin: config.origin,
  })
  return { ...plain, filterChains, detectionTimeoutMs: world.bootstrap.capture.detectionTimeoutMs }
}

/** The port of the application, which is what policies speak of, at the workload's address. */
function dialledText({ bootstrap }: World, { forwardTo }: ListenerConfig): string {
  return addressText(canonicalIp(bootstrap.workload.address) ?? '127.0.0.1', splitHostPort(forwardTo).port)
}

function httpChain({ httpVersion, allowConnect }: ListenerConfig, routeTable: string): HttpChain {
  return {
    kind: 'http',
    httpVersion,
    routeTable,
    allowConnect,
    clientCertificate: 'sanitize',
    edge: null,
    jwt: null,
    authorization: [],
    settings: HTTP_SETTINGS,
  }
}

/** A listener that clients dial: one filter chain takes all its connections. */
function explicit(config: ListenerConfig, network: FilterChain['network'], originalDst: string): Listener {
  const { name, direction, address, port, origin } = config
  const chain: FilterChain = { name: 'default', match: MATCH_EVERYTHING, tls: null, network, origin }
  return {
    name,
    direction,
    address,
    port,
    bind: true,
    capture: 'none',
    handOver: false,
    otherAddresses: [],
    proxyProtocol: 'none',
    detectionTimeoutMs: 0,
    originalDst,
    filterChains: [chain],
    defaultFilterChain: null,
    accessLogs: [],
    origin,
  }
}

function tableName(config: ListenerConfig): string {
  return `inbound|${config.name}`
}

/** `inbound|9000||`; a second application on the same port of another address gets the listener's name in between. */
function inboundCluster(world: World, registry: Registry, config: ListenerConfig, taken: ReadonlyMap<string, Cluster>): Cluster {
  const { host, port } = splitHostPort(config.forwardTo)
  const plain = `inbound|${port}||`
  const other = taken.get(plain)
  const own = ownService(world, registry, port)
  return applicationCluster({
    name: other === undefined || other.endpoints[0]?.address === host ? plain : `inbound|${port}|${config.name}|`,
    endpoint: applicationEndpoint(world, host, port, config.origin),
    bind: null,
    protocol: config.protocol === 'http' ? 'client' : 'tcp',
    service: own === undefined ? null : { host: own.service.hostname, name: own.service.name, namespace: own.service.namespace },
    port: own?.port ?? port,
    origin: config.origin,
  })
}

/** The service that this workload answers for on `port` of the application: its selector picks the workload's labels. */
function ownService(world: World, registry: Registry, port: number): { service: RegistryService; port: number } | undefined {
  const { namespace, labels } = world.bootstrap.workload
  for (const service of registry.values()) {
    if (service.object.kind !== 'Service' || service.namespace !== namespace) continue
    const selector = service.object.spec.selector ?? {}
    if (Object.keys(selector).length === 0 || !hasLabels(labels, selector)) continue
    const found = service.object.spec.ports?.find((p) => (typeof p.targetPort === 'number' ? p.targetPort : p.port) === port)
    if (found !== undefined) return { service, port: found.port }
  }
  return undefined
}

/** `db.default:5432`, `[::1]:9000`. Without a port 0. */
function splitHostPort(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':')
  if (colon < 0 || text.endsWith(']')) return { host: text.replace(/^\[|\]$/g, ''), port: 0 }
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
}
