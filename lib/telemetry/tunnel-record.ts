// What the access log and the metrics of a node's tunnel are made of: one connection, as ztunnel describes it.
import type { MeshService } from '../state/mesh-service.ts'
import type { Workload } from '../state/workload.ts'

/** ztunnel's response_flags; empty: nothing went wrong. */
export type TunnelFlag =
  | ''
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'CERT_REVOKED'

export interface TunnelRecord {
  /** 32 hex digits: the trace id of the connection, the same at both ends of a tunnel. */
  readonly id: string
  /** outbound: of a client on this node. */
  readonly direction: 'inbound' | 'outbound'
  readonly startTimeMs: number
  readonly durationMs: number
  /** `ip:port`. */
  readonly sourceAddress: string
  /** null: not known. */
  readonly source: Workload | null
  /** SPIFFE id; empty: it did not come, or does not go, through mTLS. */
  readonly sourceIdentity: string
  /** What is dialled: of HBONE its port; empty: it did not come to that. */
  readonly destinationAddress: string
  /** The authority of a CONNECT; empty: no tunnel. */
  readonly hboneAddress: string
  readonly destination: Workload | null
  readonly destinationIdentity: string
  readonly service: MeshService | null
  /** From the view of the side that this is the tunnel of: the client's outbound, the server's inbound. */
  readonly bytesSent: number
  readonly bytesReceived: number
  /** ztunnel's words; empty: an orderly end. */
  readonly error: string
  readonly flag: TunnelFlag
  /** Nobody was looked for: it was refused before. */
  readonly refusedEarly: boolean
}
