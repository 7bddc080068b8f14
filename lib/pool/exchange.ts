// The two faces that a pool knows of a request: one that waits for a connection, one that uses it.
import type { ClientEvents } from '../http/h1/client-codec.ts'
import type { UpstreamStream } from './upstream-stream.ts'

// Why an attempt has no response, or no whole one. Envoy: StreamResetReason and PoolFailureReason (Envoy router replies).
export const RESET_NONE = 0
/** The connection could not be made: refused, unreachable. */
export const RESET_CONNECT_FAILURE = 1
export const RESET_CONNECT_TIMEOUT = 2
/** An established connection ended. */
export const RESET_TERMINATION = 3
/** A limit of connectionPool. */
export const RESET_OVERFLOW = 4
/** What the upstream sent is not HTTP. */
export const RESET_PROTOCOL_ERROR = 5
/** We gave up: a timeout, a client that left. */
export const RESET_LOCAL = 6
/** HTTP/2: RST_STREAM with REFUSED_STREAM. The upstream has done nothing with the request (RFC 9113 §8.7). */
export const RESET_REFUSED_STREAM = 7
/** HTTP/2: a GOAWAY whose last stream is before this one: the upstream will do nothing with the request (RFC 9113 §6.8). */
export const RESET_GOAWAY = 8
/** HTTP/2: RST_STREAM with another code. */
export const RESET_REMOTE = 9

/** The endpoint does not offer extended CONNECT (RFC 8441 §3), which the request needs. Nothing was sent. */
export const RESET_NOT_OFFERED = 10

/** Words of reset reasons as they stand in response bodies; details use `_` for the blanks. */
export const RESET_WORDS: readonly string[] = [
  '',
  'remote connection failure',
  'connection timeout',
  'connection termination',
  'overflow',
  'protocol error',
  'local reset',
  'remote refused stream reset',
  // Envoy closes such a stream as a refused one.
  'remote refused stream reset',
  'remote reset',
  // As Envoy, which asks all the same and is told that this is none of HTTP/2.
  'protocol error',
]

export interface PoolWaiter {
  /** The stream is this request's own until it releases it. */
  onPoolReady(stream: UpstreamStream): void
  /** `detail` is the transport's reason, empty when there is none. */
  onPoolFailure(reason: number, detail: string): void
}

export interface Exchange extends ClientEvents {
  /** The connection ended before the response did. Nothing follows. */
  onUpstreamReset(reason: number, detail: string): void
  /** A connection that had been idle ended, and not one byte of the request has left. It is as if it had not been lent. */
  onNothingWritten(detail: string): void
  /** Tunnels only: the upstream will send nothing more. */
  onUpstreamEnd(): void
  /** The upstream takes bytes again. */
  onUpstreamWritable(): void
}
