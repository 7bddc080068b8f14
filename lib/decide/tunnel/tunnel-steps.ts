// What led a tunnel to its decision, in order. Records, not numbers: a connection takes few, and the sentences are made in
// explain-tunnel.ts when somebody asks.
import type { L4Verdict, WorkloadPolicies } from '../../policy/l4-authorizer.ts'
import type { L4Connection } from '../../policy/l4-match.ts'
import type { MeshService } from '../../state/mesh-service.ts'
import type { GatewayAddress, NetworkPrefix } from '../../state/network-address.ts'
import type { Workload } from '../../state/workload.ts'

/** Why endpoints of a service were not among those to pick from. */
export interface Balanced {
  readonly service: MeshService
  readonly endpoints: number
  readonly unhealthy: number
  /** It does not have the port. */
  readonly withoutPort: number
  /** It has no address, and no gateway that leads to it. */
  readonly unreachable: number
  /** Shares fewer scopes with the client than others do, or not all of them where the mode is STRICT. */
  readonly farther: number
  /** Those that are left, by weight. */
  readonly candidates: number
  /** Scopes that they share with the client. */
  readonly shared: number
}

export type TunnelStep =
  | { readonly kind: 'source'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: MeshService; readonly ip: string; readonly prefix: NetworkPrefix | null }
  | { readonly kind: 'workload'; readonly workload: Workload; readonly ip: string }
  | { readonly kind: 'stranger'; readonly ip: string; readonly network: string }
  | {
      readonly kind: 'weighted-waypoint'
      readonly service: MeshService
      readonly waypoint: GatewayAddress
      readonly weight: number
      readonly total: number
    }
  | { readonly kind: 'waypoint'; readonly of: MeshService | Workload; readonly waypoint: GatewayAddress }
  /** The client is the waypoint of the workload that it addresses. */
  | { readonly kind: 'from-waypoint'; readonly workload: Workload }
  /** A workload that was addressed by a service has a waypoint of its own. */
  | { readonly kind: 'waypoint-not-used'; readonly workload: Workload; readonly service: MeshService }
  | { readonly kind: 'balanced'; readonly outcome: Balanced; readonly port: number }
  | { readonly kind: 'picked'; readonly workload: Workload; readonly ip: string | null; readonly port: number }
  | { readonly kind: 'resolved'; readonly workload: Workload; readonly ip: string; readonly of: number }
  | { readonly kind: 'remote'; readonly workload: Workload; readonly gateway: GatewayAddress }
  | { readonly kind: 'passthrough'; readonly service: MeshService | null }
  | {
      readonly kind: 'authority'
      readonly authority: string
      readonly why: 'own-address' | 'application-tunnel' | 'waypoint' | 'hostname'
    }
  | {
      readonly kind: 'target'
      readonly workload: Workload
      readonly ip: string
      readonly port: number
      readonly service: MeshService | null
    }
  | { readonly kind: 'application-tunnel'; readonly workload: Workload; readonly port: number }
  | {
      readonly kind: 'policy'
      readonly workload: Workload
      readonly verdict: L4Verdict
      readonly policies: WorkloadPolicies
      readonly connection: L4Connection
    }
  | { readonly kind: 'refused'; readonly error: string }
