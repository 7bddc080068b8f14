// How a connection behaves. Every limit has a default that is safe without settings.
import { ABUSE_LIMITS, type AbuseLimits } from './abuse-guard.ts'

export interface Http2Options {
  /** Streams at once: what a server lets its client open, and what a client opens though its server may allow more. */
  readonly maxConcurrentStreams: number
  /** A header list, by the rule of RFC 9113 §6.5.2; 0: no limit. */
  readonly maxHeaderBytes: number
  readonly maxHeaders: number
  /** Receive windows, bytes: where they begin, and what they may grow to while the consumer keeps up. */
  readonly initialStreamWindow: number
  readonly maxStreamWindow: number
  /** What the windows of all streams together may grow by. */
  readonly windowGrowth: number
  readonly initialConnectionWindow: number
  /** At least `maxConcurrentStreams` initial windows and `windowGrowth`: then streams whose consumers do not read leave something for the others. */
  readonly maxConnectionWindow: number
  /** Payload of one frame that we take. */
  readonly maxFrameSize: number
  /** Size of our decoder's dynamic table. */
  readonly headerTableSize: number
  /** Offer extended CONNECT (RFC 8441); servers only. */
  readonly extendedConnect: boolean
  /** Huffman-code what we send: fewer bytes, more time. */
  readonly huffman: boolean
  /** Time for the peer to acknowledge our SETTINGS. Milliseconds here and below, and 0 for no limit. */
  readonly settingsTimeoutMs: number
  /** Time for a header block, or another frame, to come whole. */
  readonly headerTimeoutMs: number
  /** A stream whose data could not move so long is reset. */
  readonly stallTimeoutMs: number
  /** A PING after so long without a byte from the peer, … */
  readonly keepaliveIntervalMs: number
  /** … and the end of the connection when it is not answered in time. */
  readonly keepaliveTimeoutMs: number
  readonly abuse: AbuseLimits
}

const KIB = 1024
const MIB = 1024 * KIB

export const HTTP2_DEFAULTS: Http2Options = {
  maxConcurrentStreams: 100,
  maxHeaderBytes: 60 * KIB,
  maxHeaders: 100,
  initialStreamWindow: 256 * KIB,
  maxStreamWindow: 4 * MIB,
  windowGrowth: 8 * MIB,
  initialConnectionWindow: MIB,
  // 25 MiB of a hundred streams that stand still, what they may have grown by, and one for who does not.
  maxConnectionWindow: 34 * MIB,
  maxFrameSize: 16 * KIB,
  headerTableSize: 4096,
  extendedConnect: false,
  huffman: false,
  settingsTimeoutMs: 10_000,
  headerTimeoutMs: 60_000,
  stallTimeoutMs: 30_000,
  keepaliveIntervalMs: 0,
  keepaliveTimeoutMs: 20_000,
  abuse: ABUSE_LIMITS,
}
