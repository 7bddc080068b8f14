// How HTTP/2 connections behave that carry tunnels: windows and frames for bulk (frames and limits are those of ztunnel).
import { ABUSE_LIMITS } from '../http/h2/abuse-guard.ts'
import { HTTP2_DEFAULTS, type Http2Options } from '../http/h2/options.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** Where HBONE is spoken. */
export const HBONE_PORT = 15008

/** A pooled connection carries so many streams at most, whatever its server allows. */
const STREAMS_PER_CONNECTION = 100

const BULK: Http2Options = {
  ...HTTP2_DEFAULTS,
  // Grows to ztunnel's 4 MiB where bytes are read as they come. From the start 16 streams that stand still would hold up all others of a connection:
  // of 200 they take 50 MiB, what they may have grown by 8, and there is room for one that does not.
  initialStreamWindow: 256 * KIB,
  maxStreamWindow: 4 * MIB,
  initialConnectionWindow: 16 * MIB,
  maxConnectionWindow: 64 * MIB,
  maxFrameSize: MIB,
  // A tunnel may be silent for as long as what it carries.
  stallTimeoutMs: 0,
  keepaliveIntervalMs: 10_000,
  keepaliveTimeoutMs: 20_000,
  // A stream is a connection of somebody else's application, which may reset it as it likes; and who opens them has shown a certificate.
  abuse: { ...ABUSE_LIMITS, resetsFrom: 10_000, resetShare: 0.9 },
}

export const CLIENT_OPTIONS: Http2Options = { ...BULK, maxConcurrentStreams: STREAMS_PER_CONNECTION, maxHeaderBytes: 16 * KIB }
export const SERVER_OPTIONS: Http2Options = { ...BULK, maxConcurrentStreams: 200, maxHeaderBytes: 64 * KIB }
