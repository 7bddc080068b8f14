import type { TlsConnection } from './tls-connection.ts'

/** Exactly one of the two is called, in a later turn and inside of a boundary, unless the handshake is cancelled. */
export interface HandshakeOwner {
  /** The peer is who it has to be. The connection is the owner's, who makes itself its owner at once. */
  onSecure(connection: TlsConnection): void
  onHandshakeFailed(failure: HandshakeFailure): void
}

/** One record of what went wrong, for the log and for the access log's details. */
export interface HandshakeFailure {
  /** A word, for counters and flags: `timeout`, `no_certificate`, `untrusted`, `expired`, `wrong_identity`, `protocol`, `closed`, `not_ready`. */
  readonly reason: string
  /** In words, for people: what is wrong, and what was expected. */
  readonly text: string
  /** What is known: `sni`, `alpn`, `peer` (subjects and names of its chain), `validity`, `expected`, `seen`, `alert`. */
  readonly details: Readonly<Record<string, string>>
}

/** An exception of ours, which the log has; the connection is given up. */
export const OUR_FAULT: HandshakeFailure = {
  reason: 'internal_error',
  text: 'an exception of ours ended the handshake: see the record above',
  details: {},
}
