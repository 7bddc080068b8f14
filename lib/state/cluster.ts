// Clusters and their endpoints as configuration (envoy.config.cluster.v3). The live host, with its connections, its health
// and its counters, is in `cluster/`.
import type { HealthCheck } from './health-check.ts'
import type { Origin } from './origin.ts'
import type { OutlierDetection } from './outlier-detection.ts'
import type { TlsReason, UpstreamTls } from './tls.ts'

export interface Locality {
  readonly region: string
  readonly zone: string
  readonly subzone: string
}

/** What the telemetry labels of an endpoint are made of (Istio standard labels). Empty: unknown. */
export interface EndpointWorkload {
  readonly workload: string
  readonly namespace: string
  readonly app: string
  readonly version: string
  readonly canonicalService: string
  readonly canonicalRevision: string
  /** Of Kubernetes; empty: the proxy's own. */
  readonly cluster: string
}

/** An endpoint that is reached by a CONNECT stream through a proxy that speaks HBONE. */
export interface EndpointTunnel {
  /** Who is dialled: the endpoint's own address, a waypoint's, a gateway's. */
  readonly address: string
  /** 15008. */
  readonly port: number
  /** SPIFFE ids: the proxy has to be one of them. Empty: any of the mesh. */
  readonly identities: readonly string[]
  /** `:authority` of the CONNECT; empty: the endpoint's `address:port`. */
  readonly authority: string
  /** Further fields of the CONNECT that are the same for all connections, lines with CRLF: baggage. */
  readonly fields: string
  /**
   * null: there is one tunnel. Otherwise it ends at the gateway of another network, and a second one within it, to the same authority and with these further
   * fields, ends at a workload that the gateway picks (double HBONE).
   */
  readonly innerFields: string | null
}

/** Which addresses of a name count (Envoy DnsLookupFamily): of the other family only where there are none of the first, or never, or both. */
export type DnsFamily = 'V4_PREFERRED' | 'V4_ONLY' | 'V6_ONLY' | 'AUTO' | 'ALL'

export interface Endpoint {
  /** IP address, or a host name while a DNS cluster is not resolved yet. */
  readonly address: string
  /** Of the same endpoint, with the same port: tried where the first does not answer soon (Envoy additional_addresses). */
  readonly otherAddresses: readonly string[]
  readonly port: number
  readonly weight: number
  readonly locality: Locality
  /** 0 is preferred; the next one takes what the healthy endpoints of those before cannot (Envoy priority levels). */
  readonly priority: number
  readonly workload: EndpointWorkload
  /** false: who knows it says that it is not well (EDS health_status): it gets nothing, but counts where the healthy ones are counted. */
  readonly healthy: boolean
  /** Requests of sessions that it has are sent to it, also while it is not healthy (Envoy override_host_status). */
  readonly keepsSessions: boolean
  /** null: nobody asks it how it is. */
  readonly healthCheck: HealthCheck | null
  /** It is spoken to with its cluster's TLS, where that has any; false: in plaintext (Envoy transport_socket_matches). */
  readonly tls: boolean
  /** null: as its cluster. */
  readonly tlsReason: TlsReason | null
  /** null: it is dialled. */
  readonly tunnel: EndpointTunnel | null
  readonly origin: Origin
}

export type LoadBalancerPolicy =
  | { readonly kind: 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM' | 'PASSTHROUGH' }
  /** Entries of the ring, at least one for each endpoint. */
  | { readonly kind: 'RING_HASH'; readonly minimumRingSize: number; readonly maximumRingSize: number }
  /** A prime. */
  | { readonly kind: 'MAGLEV'; readonly tableSize: number }
  /** The better of two draws by latency and requests in flight; a sample weighs half after `decayMs`·ln 2. */
  | { readonly kind: 'PEAK_EWMA'; readonly decayMs: number }

/** Whether a hash of the request chooses the endpoint. */
export function balancesByHash(policy: LoadBalancerPolicy): boolean {
  return policy.kind === 'RING_HASH' || policy.kind === 'MAGLEV'
}

/** Istio warmup, Envoy slow start: a new endpoint's share grows during the window. ROUND_ROBIN and LEAST_REQUEST only. */
export interface SlowStart {
  readonly windowMs: number
  /** 0–100, share at the start. */
  readonly minimumPercent: number
  /** Above 0; 1 is linear. */
  readonly aggression: number
}

/** Share of a locality among those of its priority. */
export interface LocalityWeight {
  readonly locality: Locality
  readonly priority: number
  /** 0: gets nothing. */
  readonly weight: number
}

/** Concurrent retries are at most `percent` of the requests in flight and waiting, but `minConcurrency` always may. */
export interface RetryBudget {
  readonly percent: number
  readonly minConcurrency: number
}

/** connectionPool, Istio ConnectionPoolSettings. A limit of 0 means none; durations of 0 mean off. */
export interface ClusterLimits {
  readonly maxConnections: number
  readonly maxPendingRequests: number
  readonly maxRequests: number
  readonly maxRetries: number
  readonly maxRequestsPerConnection: number
  readonly connectTimeoutMs: number
  /** A pooled connection without a request. */
  readonly httpIdleTimeoutMs: number
  /** A TCP session without bytes. */
  readonly tcpIdleTimeoutMs: number
  readonly maxConnectionDurationMs: number
  /** Seconds until the first probe; 0: no SO_KEEPALIVE. */
  readonly tcpKeepaliveSeconds: number
  /** Seconds between probes; 0: the system's. */
  readonly tcpKeepaliveIntervalSeconds: number
  /** Unanswered probes that end a connection; 0: the system's. */
  readonly tcpKeepaliveProbes: number
  /** HTTP/2: streams on one connection; 0: what the endpoint allows. */
  readonly maxConcurrentStreams: number
  /** HTTP/2: a PING after so long without a byte, and how long its answer may take. 0: none. */
  readonly http2KeepaliveIntervalMs: number
  readonly http2KeepaliveTimeoutMs: number
  /** Takes the place of `maxRetries`; null: none. */
  readonly retryBudget: RetryBudget | null
}

/** Where connections to a cluster's endpoints come from (Envoy upstream_bind_config, original_src). */
export interface UpstreamBind {
  /** An address of this machine for each family; empty: the system's choice. Istio's inbound clusters: 127.0.0.6 and ::6. */
  readonly source4: string
  readonly source6: string
  /** The client's own address is the source (TPROXY, node tunnels): for TCP connections, which nobody shares. Needs CAP_NET_ADMIN. */
  readonly clientSource: boolean
  /** SO_MARK; 0: none. */
  readonly mark: number
}

export interface Cluster {
  /** `outbound|9080|v2|reviews.prod.svc.cluster.local`, `PassthroughCluster`, `inbound|9000||`. */
  readonly name: string
  /** Where the endpoints come from: as written, by name lookup, or the address that the client dialled. */
  readonly type: 'STATIC' | 'DNS' | 'ORIGINAL_DST'
  /** DNS only: names to look up, and addresses among them. `endpoints` holds what all of them resolved to. */
  readonly dnsNames: readonly { readonly host: string; readonly port: number; readonly endpoint: Endpoint }[]
  /** LOGICAL_DNS (DNS_ROUND_ROBIN): only the first address is used, of `ALL` the others where it does not answer. */
  readonly firstAddressOnly: boolean
  readonly dnsFamily: DnsFamily
  /**
   * ORIGINAL_DST: what is known of addresses that may be dialled; a port of 0 stands for all of the address. An empty address stands for all that are not
   * listed (its port is what is dialled in place of theirs), an empty one of its tunnel for the same that is dialled.
   */
  readonly endpoints: readonly Endpoint[]
  /**
   * ORIGINAL_DST: the host that a request or the client's TLS asks for is dialled, by a name that is looked up then (Envoy dynamic_forward_proxy). A request that names no
   * port means this one. 0: what the client dialled is.
   */
  readonly dialsHostAt: number
  readonly loadBalancer: LoadBalancerPolicy
  readonly slowStart: SlowStart | null
  /** null: localities are not told apart. Otherwise one entry for each locality and priority that has endpoints. */
  readonly localityWeights: readonly LocalityWeight[] | null
  /** Percent; a priority with a smaller share of healthy endpoints uses all of them. 0: never. Envoy's default is 50. */
  readonly panicThreshold: number
  readonly outlierDetection: OutlierDetection | null
  readonly limits: ClusterLimits
  /** null: plaintext. Otherwise for the endpoints whose `tls` says so. */
  readonly tls: UpstreamTls | null
  /** Of `tls`, and of the endpoints that have no reason of their own. */
  readonly tlsReason: TlsReason
  /** null: the system's choice. */
  readonly bind: UpstreamBind | null
  /** Endpoints are told of the client first, by the PROXY protocol: connections are for one client each. */
  readonly proxyProtocol: 'none' | 'v1' | 'v2'
  /** What the upstream is spoken to; `client`: what the client speaks (useClientProtocol, and the application behind an inbound listener). */
  readonly protocol: 'http1' | 'http2' | 'client' | 'tcp'
  /** Of whom its endpoints are: proxies outside of the mesh may not, and some never have to be told who we are (Istio `external`, `disable_mx`). */
  readonly peers: 'mesh' | 'outside' | 'never'
  /** Fully qualified host, or empty. */
  readonly host: string
  readonly serviceName: string
  readonly serviceNamespace: string
  readonly port: number
  readonly subset: string
  /** The object that declares the service. */
  readonly origin: Origin
  /** The DestinationRule in force for it, or BUILT_IN. */
  readonly policyOrigin: Origin
}
