// How it stands with a control plane, for admin pages and readiness: plain data, made when it is asked for.
import type { Interest } from './subscriptions.ts'

export interface AdsStatus {
  /** `istiod.istio-system.svc:15012`. */
  readonly address: string
  readonly nodeId: string
  readonly protocol: 'delta' | 'sotw'
  /** connected: it has answered on the stream that is open. connecting: it has not yet. waiting: before the next try. */
  readonly state: 'stopped' | 'connecting' | 'connected' | 'waiting'
  /** Epoch ms: of the connection, or since when there has been none; 0 before the first try. */
  readonly sinceMs: number
  /** Of the last stream that ended; '' when none has, or when its end was to be expected. */
  readonly lastError: string
  /** What it says of itself, as it came. */
  readonly controlPlane: string
  /** Streams begun, and tries that failed since the last answer. */
  readonly streams: number
  readonly failures: number
  /** In the order in which they are asked for. */
  readonly types: readonly TypeStatus[]
}

export interface TypeStatus {
  readonly typeUrl: string
  /** `CDS`. */
  readonly short: string
  readonly interest: Interest
  /** Names asked for; 0 of a wildcard. */
  readonly names: number
  /** Accepted and held. */
  readonly resources: number
  /** Of the last response. */
  readonly version: string
  readonly nonce: string
  /** What became of the last response; waiting: none has come on any stream. */
  readonly answer: 'waiting' | 'ACK' | 'NACK'
  /** Where what is held came from; disk until the stream has answered. */
  readonly source: 'none' | 'disk' | 'stream'
  /** Epoch ms; 0: never. */
  readonly lastResponseMs: number
  readonly lastNack: { readonly text: string; readonly atMs: number } | null
  /** Resources whose last version was refused. */
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
  readonly responses: number
  readonly bytes: number
  readonly acks: number
  readonly nacks: number
}
