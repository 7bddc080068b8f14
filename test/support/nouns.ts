// The nouns of a configuration (`lib/state`) for unit tests and micro-benchmarks: everything that a caller does not name has a
// default that turns it off. A field that a noun gains gets its default here, once.
//
// Of lib/ this imports types, and what says that nothing is asked for.
import type { XdsConfig } from '../../lib/state/bootstrap-config.ts'
import type { Cluster, ClusterLimits, Endpoint, EndpointWorkload } from '../../lib/state/cluster.ts'
import { type FilterChain, HTTP_SETTINGS, type HttpChain, type Listener, MATCH_EVERYTHING } from '../../lib/state/listener.ts'
import { BUILT_IN } from '../../lib/state/origin.ts'
import type { OutlierDetection } from '../../lib/state/outlier-detection.ts'
import {
  ANY_REQUEST,
  type ForwardAction,
  type RetryPolicy,
  type Route,
  type RouteTable,
  type VirtualHost,
  type WeightedCluster,
} from '../../lib/state/route.ts'
import type { Snapshot } from '../../lib/state/snapshot.ts'

/** Nothing is known of it. */
export const NO_WORKLOAD: EndpointWorkload = {
  workload: '',
  namespace: '',
  app: '',
  version: '',
  canonicalService: '',
  canonicalRevision: '',
  cluster: '',
}

/** 127.0.0.1:9080, weight 1, without locality, workload and health check. */
export function anEndpoint(over: Partial<Endpoint> = {}): Endpoint {
  return {
    address: '127.0.0.1',
    otherAddresses: [],
    port: 9080,
    weight: 1,
    locality: { region: '', zone: '', subzone: '' },
    priority: 0,
    workload: NO_WORKLOAD,
    healthy: true,
    keepsSessions: true,
    healthCheck: null,
    tls: false,
    tlsReason: null,
    tunnel: null,
    origin: BUILT_IN,
    ...over,
  }
}

/** No limits; the timeouts that Istio and Envoy have by default: ten seconds to connect, an hour idle. */
export function someLimits(over: Partial<ClusterLimits> = {}): ClusterLimits {
  return {
    maxConnections: 0,
    maxPendingRequests: 0,
    maxRequests: 0,
    maxRetries: 0,
    maxRequestsPerConnection: 0,
    connectTimeoutMs: 10_000,
    httpIdleTimeoutMs: 3_600_000,
    tcpIdleTimeoutMs: 3_600_000,
    maxConnectionDurationMs: 0,
    tcpKeepaliveSeconds: 0,
    tcpKeepaliveIntervalSeconds: 0,
    tcpKeepaliveProbes: 0,
    maxConcurrentStreams: 0,
    http2KeepaliveIntervalMs: 0,
    http2KeepaliveTimeoutMs: 0,
    retryBudget: null,
    ...over,
  }
}

/** STATIC, without endpoints, ROUND_ROBIN, HTTP/1, of no service. Limits are given one by one. */
export function aCluster(over: Omit<Partial<Cluster>, 'limits'> & { readonly limits?: Partial<ClusterLimits> } = {}): Cluster {
  return {
    name: 'c',
    type: 'STATIC',
    dnsNames: [],
    firstAddressOnly: false,
    dnsFamily: 'V4_PREFERRED',
    endpoints: [],
    dialsHostAt: 0,
    loadBalancer: { kind: 'ROUND_ROBIN' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: 50,
    tls: null,
    tlsReason: { why: 'off', origin: BUILT_IN },
    bind: null,
    proxyProtocol: 'none',
    peers: 'mesh',
    outlierDetection: null,
    protocol: 'http1',
    host: '',
    serviceName: '',
    serviceNamespace: '',
    port: 9080,
    subset: '',
    origin: BUILT_IN,
    policyOrigin: BUILT_IN,
    ...over,
    limits: someLimits(over.limits),
  }
}

/** Ejects for nothing, anybody, for half a minute at first; looks every ten seconds. */
export function anOutlierDetection(over: Partial<OutlierDetection> = {}): OutlierDetection {
  return {
    consecutive5xx: 0,
    consecutiveGateway: 0,
    splitLocalOrigin: false,
    consecutiveLocalOrigin: 0,
    errorStatuses: [],
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionMs: 300_000,
    maxEjectionPercent: 100,
    successRate: null,
    failurePercentage: null,
    ...over,
  }
}

/** Two retries of nothing, held back where unsafe; intervals and host selection as Istio and Envoy have them by default. */
export function aRetryPolicy(over: Partial<RetryPolicy> = {}): RetryPolicy {
  return {
    on: [],
    statusCodes: [],
    attempts: 2,
    perTryTimeoutMs: 0,
    baseIntervalMs: 25,
    maxIntervalMs: 250,
    hostSelectionAttempts: 5,
    avoidPreviousHosts: true,
    remoteLocalities: false,
    responseHeaders: [],
    unsafe: 'held-back',
    origin: BUILT_IN,
    ...over,
  }
}

export function aDestination(cluster = 'c', weight = 1): WeightedCluster {
  return { cluster, clusterHeader: '', weight, requestEdits: [], responseEdits: [], hostRewrite: '', filters: null }
}

/** To cluster `c`, without anything else. `totalWeight` is that of the clusters. */
export function aForward(over: Partial<ForwardAction> = {}): ForwardAction {
  const clusters = over.clusters ?? [aDestination()]
  return {
    kind: 'forward',
    clusters,
    totalWeight: clusters.reduce((sum, c) => sum + c.weight, 0),
    timeoutMs: 0,
    timeoutOrigin: BUILT_IN,
    idleTimeoutMs: null,
    maxStreamDurationMs: null,
    grpcStreamMaxMs: null,
    hostRewriteFrom: null,
    countsAttempts: null,
    retry: null,
    hashPolicies: [],
    pathRewrite: null,
    hostRewrite: '',
    appendForwardedHost: false,
    mirrors: [],
    fault: null,
    cors: null,
    session: null,
    clusterNotFoundStatus: 503,
    ...over,
  }
}

/** Everything goes to cluster `c`. */
export function aRoute(over: Partial<Route> = {}): Route {
  return {
    name: 'default',
    origin: BUILT_IN,
    match: ANY_REQUEST,
    action: aForward(),
    requestEdits: [],
    responseEdits: [],
    ...over,
  }
}

/** All hosts, with one route. */
export function aVirtualHost(over: Partial<VirtualHost> = {}): VirtualHost {
  return { name: 'all', domains: ['*'], routes: [aRoute()], origin: BUILT_IN, ...over }
}

/** Of port 9080, named after its port, with one virtual host. */
export function aRouteTable(over: Partial<RouteTable> = {}): RouteTable {
  const port = over.port ?? 9080
  return { name: String(port), port, ignorePort: true, virtualHosts: [aVirtualHost()], ...over }
}

/** HTTP of either version; tables by the request's authority. */
export function anHttpChain(over: Partial<HttpChain> = {}): HttpChain {
  return {
    kind: 'http',
    httpVersion: 'auto',
    routeTable: '',
    allowConnect: false,
    clientCertificate: 'sanitize',
    edge: null,
    jwt: null,
    authorization: [],
    settings: HTTP_SETTINGS,
    ...over,
  }
}

/** For all connections, in plaintext. */
export function aFilterChain(over: Partial<FilterChain> = {}): FilterChain {
  return { name: 'default', match: MATCH_EVERYTHING, tls: null, network: anHttpChain(), origin: BUILT_IN, ...over }
}

/** Outbound HTTP of either version on a port that the system chooses; tables by the request's authority. */
export function aListener(over: Partial<Listener> = {}): Listener {
  return {
    name: 'out',
    direction: 'outbound',
    address: '127.0.0.1',
    port: 0,
    bind: true,
    capture: 'none',
    handOver: false,
    otherAddresses: [],
    proxyProtocol: 'none',
    detectionTimeoutMs: 0,
    originalDst: '',
    filterChains: [aFilterChain()],
    defaultFilterChain: null,
    accessLogs: [],
    origin: BUILT_IN,
    ...over,
  }
}

/** The first version of a world without anything. */
export function aSnapshot(over: Partial<Snapshot> = {}): Snapshot {
  return {
    version: 1,
    listeners: [],
    routeTables: [],
    defaultPorts: [],
    clusters: [],
    world: { workloads: [], services: [], policies: [] },
    ...over,
  }
}

/** No control plane. */
export const NO_XDS: XdsConfig = {
  address: '',
  protocol: 'delta',
  transport: 'tls',
  serverName: '',
  roots: '',
  token: '',
  clientCertificate: '',
  clientKey: '',
  clusterId: 'Kubernetes',
  headers: {},
  state: '',
  onDemand: false,
  nodeId: '',
  metadata: {},
  istioVersion: '1.29',
  podLabels: '/nowhere/labels',
  podAnnotations: '/nowhere/annotations',
}
