// A service as the tunnel sees it: addresses that stand for workloads (istio.workload Service).
import type { GatewayAddress, NetworkAddress, NetworkPrefix } from './network-address.ts'
import type { Origin } from './origin.ts'
import type { PortMapping } from './workload.ts'

export type LoadBalancingScope = 'REGION' | 'ZONE' | 'SUBZONE' | 'NODE' | 'CLUSTER' | 'NETWORK'

export interface LoadBalancing {
  /** What an endpoint should share with the client, the widest first. */
  readonly scopes: readonly LoadBalancingScope[]
  /**
   * STANDARD: scopes do not count. STRICT: only endpoints that share all of them. FAILOVER: those that share most.
   * PASSTHROUGH: none is picked, traffic goes on to where it was sent.
   */
  readonly mode: 'STANDARD' | 'STRICT' | 'FAILOVER' | 'PASSTHROUGH'
  readonly healthPolicy: 'ONLY_HEALTHY' | 'ALLOW_ALL'
}

/** One that the service itself lists; most endpoints are told by their workloads (`ServiceMembership`). */
export interface ListedEndpoint {
  readonly workloadUid: string
  readonly ports: readonly PortMapping[]
  readonly healthy: boolean
}

export interface WeightedWaypoint {
  readonly destination: GatewayAddress
  readonly weight: number
}

export interface MeshService {
  readonly name: string
  readonly namespace: string
  /** Fully qualified. Several namespaces may define the same. */
  readonly hostname: string
  /** Empty for headless services. */
  readonly vips: readonly NetworkAddress[]
  readonly prefixVips: readonly NetworkPrefix[]
  readonly ports: readonly PortMapping[]
  readonly endpoints: readonly ListedEndpoint[]
  /** Identities to accept from its endpoints, beside their own. */
  readonly subjectAltNames: readonly string[]
  /** What is addressed to the service goes through it. */
  readonly waypoint: GatewayAddress | null
  /** One is drawn for each connection, before `waypoint`. */
  readonly weightedWaypoints: readonly WeightedWaypoint[]
  readonly loadBalancing: LoadBalancing | null
  /** Families of addresses that its endpoints are reached by; null: any. */
  readonly ipFamilies: 'DUAL' | 'IPV4' | 'IPV6' | null
  /** Before others of the same host name or address in other namespaces. */
  readonly canonical: boolean
  /** NAMESPACE: clients elsewhere do not see it. */
  readonly visibility: 'PUBLIC' | 'NAMESPACE'
  readonly origin: Origin
}

/** What it is found by: `namespace/hostname`. */
export function serviceKey(s: Pick<MeshService, 'namespace' | 'hostname'>): string {
  return `${s.namespace}/${s.hostname}`
}
