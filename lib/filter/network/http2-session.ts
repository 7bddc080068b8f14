// Hot lane: one downstream HTTP/2 connection: its requests are streams, each with an HttpStream of its own.
import { CONNECTION_LOST, ENHANCE_YOUR_CALM } from '../../http/h2/error-codes.ts'
import { FAULTS, TOO_LARGE, TOO_MANY } from '../../http/h2/message-head.ts'
import { HTTP2_DEFAULTS, type Http2Options } from '../../http/h2/options.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../../http/h2/server-connection.ts'
import { takeMap } from '../../http/h2/spare-maps.ts'
import { Http2Stream } from '../../http/h2/stream.ts'
import type { Limits } from '../../state/bootstrap-config.ts'
import type { Connection } from '../../transport/connection.ts'
import * as R from '../http/reasons.ts'
import type { HttpConnectionManager } from './http-connection-manager.ts'
import type { HttpSession } from './http-session.ts'
import { Http2Downstream } from './http2-downstream.ts'

export class Http2Session implements Http2ServerEvents, HttpSession {
  readonly manager: HttpConnectionManager
  readonly connection: Connection
  readonly codec: Http2ServerConnection
  /** Not a Set: see http/h2/stream-table.ts. */
  readonly requests: Http2Downstream[]
  /** What requests that are over have for a stream; null before the first. */
  private ended: Http2Stream | null
  private taken: number
  private idleSinceMs: number
  private readonly openedMs: number

  /** Takes a connection over; nothing of it has been read by anybody. */
  constructor(manager: HttpConnectionManager, connection: Connection) {
    this.manager = manager
    this.connection = connection
    this.codec = new Http2ServerConnection(connection, this, optionsOf(manager.limits))
    this.requests = []
    this.ended = null
    this.taken = 0
    this.idleSinceMs = manager.io.clock.monotonicMs
    this.openedMs = this.idleSinceMs
    connection.owner = this.codec
    connection.gathers = true
  }

  get activity(): string {
    const first = this.requests[0]
    if (first === undefined) return 'idle'
    return this.requests.length === 1 ? first.activity : `${first.activity} and ${this.requests.length - 1} more`
  }

  // ---- Http2ServerEvents -----------------------------------------------------------------------------------------------

  onRequest(stream: Http2Stream): void {
    const { manager } = this
    const down = this.take(stream)
    const max = manager.limits.maxRequestsPerConnection
    this.taken++
    if (manager.draining || this.taken === max) this.codec.shutdown()
    // Nobody is asked for: as Envoy, not a request.
    if (stream.authority === '') down.refuse()
    else down.begin()
  }

  /** A head that is too large is answered; what is malformed is reset (RFC 9113 §8.1.1), and logged all the same. */
  onRefusedRequest(stream: Http2Stream): void {
    const { manager } = this
    manager.values[manager.stats.cxProtocolError]!++
    this.noteRefusal(FAULTS[stream.fault] ?? `fault ${stream.fault}`)
    const request = this.take(stream).stream
    if (stream.fault === TOO_LARGE) request.reply(R.HTTP2_HEADERS_TOO_LARGE)
    else if (stream.fault === TOO_MANY) request.reply(R.HTTP2_TOO_MANY_HEADERS)
    else request.giveUp(R.HTTP2_MALFORMED)
  }

  private take(stream: Http2Stream): Http2Downstream {
    const { manager } = this
    manager.values[manager.stats.rqTotal]!++
    manager.values[manager.stats.rqActive]!++
    const down = new Http2Downstream(this, stream)
    down.place = this.requests.push(down) - 1
    return down
  }

  /** From the request: it is over. */
  requestDone(down: Http2Downstream): void {
    const { requests } = this
    const last = requests[requests.length - 1]
    if (down.place < 0 || last === undefined) return
    requests[down.place] = last
    last.place = down.place
    down.place = -1
    requests.pop()
    const { manager } = this
    manager.values[manager.stats.rqActive]!--
    this.idleSinceMs = manager.io.clock.monotonicMs
  }

  endedStream(): Http2Stream {
    if (this.ended === null) {
      this.ended = new Http2Stream(this.codec, 0, takeMap())
      this.ended.closed = true
    }
    return this.ended
  }

  onSettings(): void {}

  onStreamClosed(_stream: Http2Stream): void {}

  onGoaway(_code: number, _debug: string): void {}

  onConnectionError(code: number, why: string): void {
    const { manager } = this
    manager.values[manager.stats.cxProtocolError]!++
    if (code !== CONNECTION_LOST)
      manager.worker.connectionCut(code === ENHANCE_YOUR_CALM ? 'http2_abuse' : 'http2_protocol_error')
    this.noteRefusal(why)
  }

  onClose(_reason: string): void {
    this.manager.sessionClosed(this)
  }

  private noteRefusal(why: string): void {
    const { logger } = this.manager.parts
    if (!logger.enabled('debug') || !logger.every(`http2 ${why}`, 1000, this.manager.io.clock.monotonicMs)) return
    logger.debug(`refused HTTP/2: ${why}`, { listener: this.manager.listener.name, peer: this.connection.peerAddress })
  }

  // ---- HttpSession -----------------------------------------------------------------------------------------------------

  sweep(nowMs: number): void {
    const { manager } = this
    const { connectionIdleTimeoutMs } = manager.limits
    const { maxConnectionDurationMs } = manager.config.settings
    const old = maxConnectionDurationMs > 0 && nowMs - this.openedMs >= maxConnectionDurationMs
    if (old || this.connection.retired) this.codec.shutdown()
    if (this.requests.length === 0) {
      if (connectionIdleTimeoutMs === 0 || nowMs - this.idleSinceMs < connectionIdleTimeoutMs) return
      manager.values[manager.stats.cxIdleTimeout]!++
      this.codec.shutdown()
      return
    }
    for (const down of [...this.requests]) down.sweep(nowMs)
  }

  drain(): void {
    this.codec.shutdown()
  }
}

function optionsOf(limits: Limits): Http2Options {
  return {
    ...HTTP2_DEFAULTS,
    maxHeaderBytes: limits.maxHeaderBytes,
    maxHeaders: limits.maxHeaders,
    headerTimeoutMs: limits.headerTimeoutMs,
    stallTimeoutMs: limits.streamStallTimeoutMs,
    // An HTTP/1 client may ask for a WebSocket as well, without a setting.
    extendedConnect: true,
  }
}
