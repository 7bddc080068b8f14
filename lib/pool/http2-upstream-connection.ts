// Hot lane: one HTTP/2 connection to an endpoint: it carries as many requests at once as both sides allow.
import { Http2ClientConnection } from '../http/h2/client-connection.ts'
import type { Http2Events } from '../http/h2/http2-connection.ts'
import { HTTP2_DEFAULTS, type Http2Options } from '../http/h2/options.ts'
import type { Connection } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import type { PoolSettings } from './endpoint-pool.ts'
import type { Http2Pool } from './http2-pool.ts'
import type { Http2UpstreamStream } from './http2-upstream-stream.ts'

export class Http2UpstreamConnection implements Http2Events {
  readonly pool: Http2Pool
  readonly connection: Connection
  readonly codec: Http2ClientConnection
  /** Requests begun on it. */
  requests: number
  /** Requests that cannot be sent before the endpoint's SETTINGS are here. */
  readonly unsent: Http2UpstreamStream[]
  readonly createdMs: number
  idleSinceMs: number
  /** No further request: it is too old, or the endpoint is leaving. */
  doomed: boolean
  /** Still in its pool's counts. */
  counted: boolean
  // Of http2-pool.ts: it takes no requests until then, so that others may get its place; and when it may do so again. Monotonic ms.
  holdsUntilMs: number
  mayHoldMs: number

  constructor(io: Io, connection: Connection, pool: Http2Pool, settings: PoolSettings) {
    this.pool = pool
    this.connection = connection
    this.codec = new Http2ClientConnection(this.connection, this, optionsOf(settings))
    this.requests = 0
    this.unsent = []
    this.createdMs = io.clock.monotonicMs
    this.idleSinceMs = this.createdMs
    this.doomed = false
    this.counted = true
    this.holdsUntilMs = 0
    this.mayHoldMs = 0
    this.connection.owner = this.codec
    this.connection.gathers = true
  }

  get hasRoom(): boolean {
    const { codec } = this
    if (this.doomed || !codec.hasRoom || this.connection.closed) return false
    return codec.settled || codec.streams.size + this.unsent.length < this.pool.assumedStreams
  }

  /** Responses that nobody takes hold a good part of what the endpoint may send: others had better go elsewhere. */
  get crowded(): boolean {
    return this.codec.window.held * 4 >= this.codec.options.maxConnectionWindow
  }

  /** They hold most of it. */
  get choked(): boolean {
    return this.codec.window.held * 4 >= this.codec.options.maxConnectionWindow * 3
  }

  get idle(): boolean {
    return this.codec.streams.size === 0 && this.unsent.length === 0
  }

  /** No further request; it ends with the last that it has. */
  retire(): void {
    this.doomed = true
    this.codec.retire()
  }

  // ---- Http2Events -----------------------------------------------------------------------------------------------------

  /** The endpoint may allow more streams than we took for granted, or fewer. */
  onSettings(): void {
    for (const stream of this.unsent.splice(0)) stream.onSettings()
    this.pool.allows(this, this.codec.peer.maxConcurrentStreams)
  }

  onStreamClosed(): void {
    if (this.idle) this.idleSinceMs = this.codec.nowMs
    this.pool.hasNews(this)
  }

  onGoaway(): void {
    this.doomed = true
    this.pool.values[this.pool.stats.cxCloseNotify]!++
    this.pool.hasNews(this)
  }

  onConnectionError(): void {
    this.doomed = true
    this.pool.values[this.pool.stats.cxProtocolError]!++
  }

  onClose(): void {
    this.doomed = true
    for (const stream of this.unsent.splice(0)) stream.onNeverSettled()
    this.pool.lost(this)
  }
}

function optionsOf(settings: PoolSettings): Http2Options {
  const { maxConcurrentStreams } = settings
  return {
    ...HTTP2_DEFAULTS,
    maxConcurrentStreams: maxConcurrentStreams === 0 ? 0x7fff_ffff : maxConcurrentStreams,
    maxHeaderBytes: settings.maxHeaderBytes,
    maxHeaders: settings.maxHeaders,
    headerTimeoutMs: 0,
    // An endpoint that takes nothing for long may have its reasons, and the route has timeouts.
    stallTimeoutMs: 0,
    keepaliveIntervalMs: settings.keepaliveIntervalMs,
    keepaliveTimeoutMs: settings.keepaliveTimeoutMs,
  }
}
