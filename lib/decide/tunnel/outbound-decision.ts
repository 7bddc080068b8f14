// Where a connection of a workload goes, as data: carrying it out is a switch over the verdict.
import type { MeshService } from '../../state/mesh-service.ts'
import type { Workload, WorkloadInfo } from '../../state/workload.ts'
import type { TunnelStep } from './tunnel-steps.ts'

export interface IpPort {
  /** Canonical. */
  readonly ip: string
  readonly port: number
}

/** Uniform in 0 … 2³²−1 each. The same ones again when a decision is repeated with an address that was looked up. */
export interface OutboundDraws {
  /** Of several waypoints of a service by weight. */
  readonly waypoint: number
  /** The endpoint of the service, or of the service that the waypoint is. */
  readonly endpoint: number
  /** The endpoint of the service that the gateway of another network is. */
  readonly gateway: number
  /** Of several addresses of one name. */
  readonly address: number
}

export interface OutboundFacts {
  /** The workload whose network namespace the connection came from; null: it has not been told yet. */
  readonly source: Workload | null
  readonly sourceInfo: WorkloadInfo
  readonly sourceIp: string
  /** What the client dialled. */
  readonly destination: IpPort
  /** Ports of the tunnel itself, 15001, 15006, 15008: a loop if one of them was dialled on loopback. */
  readonly ownPorts: readonly number[]
  /** Where other tunnels take HBONE: 15008. */
  readonly hbonePort: number
  readonly draws: OutboundDraws
  /** Addresses of host names that an earlier decision asked for; null: the look-up failed. */
  readonly resolved: ReadonlyMap<string, readonly string[] | null>
  /** Names that the control plane has been asked for since the connection came, where it tells on demand only; null: all that there is is known. */
  readonly asked: ReadonlySet<string> | null
}

/** Why there is no way; in the access log the text says more. */
export type OutboundRefusal =
  | 'self-call'
  | 'unknown-source'
  | 'unknown-waypoint'
  | 'unknown-gateway'
  | 'no-healthy-upstream'
  | 'no-destination'
  | 'not-resolved'

export interface OutboundDecision {
  /**
   * tcp: dial `dial` and copy. hbone: a tunnel to `dial`, in it a CONNECT to `authority`. double-hbone: in that tunnel another one,
   * with the same authority, whose server has one of `innerIdentities`. resolve: look `lookup` up and decide again. ask: the control plane may
   * know `lookup`, a `network/ip` or `namespace/hostname`; decide again when it has answered.
   */
  readonly verdict: 'deny' | 'resolve' | 'ask' | 'tcp' | 'hbone' | 'double-hbone'
  readonly refusal: OutboundRefusal | null
  /** ztunnel's words for the access log; empty unless denied. */
  readonly error: string
  readonly dial: IpPort | null
  /** `:authority` of the CONNECT: `10.0.0.1:80`, `[::1]:80`, `host:80`; empty for tcp. */
  readonly authority: string
  /** SPIFFE ids; the server at `dial` must have one of them. */
  readonly serverIdentities: readonly string[]
  readonly innerIdentities: readonly string[]
  readonly source: Workload | null
  /** At `dial`: the waypoint or gateway where there is one. null: nobody that is known. */
  readonly workload: Workload | null
  /** That the client addressed. */
  readonly service: MeshService | null
  readonly lookup: string
  readonly steps: readonly TunnelStep[]
}
