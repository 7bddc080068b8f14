// Clusters and their endpoints as configuration (envoy.config.cluster.v3). The live host, with its connections, its health
// and its counters, is in `cluster/`.
import type { Origin } from './origin.ts'

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
}

export interface Endpoint {
  /** IP address, or a host name while a DNS cluster is not resolved yet. */
  readonly address: string
  readonly port: number
  readonly weight: number
  readonly locality: Locality
  readonly workload: EndpointWorkload
  readonly origin: Origin
}

export interface LoadBalancerPolicy {
  readonly kind: 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM' | 'PASSTHROUGH'
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
}

export interface Cluster {
  /** `outbound|9080|v2|reviews.prod.svc.cluster.local`, `PassthroughCluster`, `inbound|9000||`. */
  readonly name: string
  /** Where the endpoints come from: as written, by name lookup, or the address that the client dialled. */
  readonly type: 'STATIC' | 'DNS' | 'ORIGINAL_DST'
  /** DNS only: names to look up, and addresses among them. `endpoints` holds what all of them resolved to. */
  readonly dnsNames: readonly { readonly host: string; readonly port: number; readonly endpoint: Endpoint }[]
  /** LOGICAL_DNS (DNS_ROUND_ROBIN): only the first address is used. */
  readonly firstAddressOnly: boolean
  readonly endpoints: readonly Endpoint[]
  readonly loadBalancer: LoadBalancerPolicy
  readonly limits: ClusterLimits
  /** What the upstream speaks. */
  readonly protocol: 'http1' | 'http2' | 'tcp'
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
