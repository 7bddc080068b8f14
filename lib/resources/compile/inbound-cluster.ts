// Clusters that lead to the workload's own application.
import type { Cluster, Endpoint, UpstreamBind } from '../../state/cluster.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { RetryPolicy, RouteTable } from '../../state/route.ts'
import { forwardTo } from './route-action.ts'
import { MATCH_ALL } from './route-match.ts'
import { DEFAULT_POLICY, PANIC_THRESHOLD } from './traffic-policy.ts'
import { NO_TLS } from './upstream-tls.ts'
import type { World } from './world.ts'

/** The service that the application is an endpoint of, as telemetry names it. */
export interface ServedService {
  readonly host: string
  readonly name: string
  readonly namespace: string
}

export interface ApplicationOptions {
  readonly name: string
  /** null: where the client dialled. */
  readonly endpoint: Endpoint | null
  readonly bind: UpstreamBind | null
  readonly protocol: Cluster['protocol']
  readonly service: ServedService | null
  /** Of the service, where there is one. */
  readonly port: number
  readonly origin: Origin
}

export function applicationCluster(options: ApplicationOptions): Cluster {
  const { name, endpoint, bind, protocol, service, port, origin } = options
  return {
    name,
    type: endpoint === null ? 'ORIGINAL_DST' : 'STATIC',
    dnsNames: [],
    firstAddressOnly: false,
    dnsFamily: 'V4_PREFERRED',
    dialsHostAt: 0,
    endpoints: endpoint === null ? [] : [endpoint],
    loadBalancer: { kind: endpoint === null ? 'PASSTHROUGH' : 'ROUND_ROBIN' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: PANIC_THRESHOLD,
    outlierDetection: null,
    limits: DEFAULT_POLICY.limits,
    tls: null,
    tlsReason: NO_TLS,
    bind,
    proxyProtocol: 'none',
    peers: 'mesh',
    protocol,
    host: service?.host ?? '',
    serviceName: service?.name ?? '',
    serviceNamespace: service?.namespace ?? '',
    port,
    subset: '',
    origin,
    policyOrigin: BUILT_IN,
  }
}

/** The application at an address. */
export function applicationEndpoint(world: World, address: string, port: number, origin: Origin): Endpoint {
  const { namespace, name: workload, labels } = world.bootstrap.workload
  return {
    address,
    otherAddresses: [],
    port,
    weight: 1,
    locality: { region: '', zone: '', subzone: '' },
    priority: 0,
    workload: {
      workload,
      namespace,
      app: labels['app'] ?? '',
      version: labels['version'] ?? '',
      canonicalService: labels['service.istio.io/canonical-name'] ?? labels['app'] ?? workload,
      canonicalRevision: labels['service.istio.io/canonical-revision'] ?? labels['version'] ?? 'latest',
      cluster: '',
    },
    healthy: true,
    keepsSessions: true,
    healthCheck: null,
    tls: false,
    tlsReason: null,
    tunnel: null,
    origin,
  }
}

/** Everything goes to the cluster. */
export function applicationTable(name: string, cluster: Cluster, retry: RetryPolicy | null, origin: Origin): RouteTable {
  // What a call says of its time holds for the whole of it (istiod BuildDefaultHTTPInboundRoute).
  const action = { ...forwardTo(cluster.name, retry), maxStreamDurationMs: 0, grpcStreamMaxMs: 0 }
  const route = { name: 'default', origin, match: MATCH_ALL, action, requestEdits: [], responseEdits: [] }
  const virtualHost = { name: `inbound|http|${cluster.port}`, domains: ['*'], routes: [route], origin }
  return { name, port: cluster.port, ignorePort: true, virtualHosts: [virtualHost] }
}
