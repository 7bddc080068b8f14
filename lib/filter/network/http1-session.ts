// Hot lane: one downstream HTTP/1 connection: its codec, the request that it carries at the moment, and its end.

import { Deadline, type DeadlineOwner } from '../../base/timer-wheel.ts'
import {
  END_BY_CHUNKS,
  END_BY_CLOSE,
  END_BY_LENGTH,
  END_NONE,
  ServerCodec,
  type ServerEvents,
} from '../../http/h1/server-codec.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import { H_HOST, H_HTTP2_SETTINGS } from '../../http/known-headers.ts'
import { forwardedTrailers } from '../../http/trailers.ts'
import type { ByteSink, Connection, ConnectionOwner } from '../../transport/connection.ts'
import type { Downstream } from '../http/downstream.ts'
import { HttpStream } from '../http/http-stream.ts'
import * as R from '../http/reasons.ts'
import type { Tunnel } from '../http/tunnel.ts'
import { refusalOf } from './codec-refusal.ts'
import { h2cSettings, SWITCHING_TO_H2C } from './h2c-upgrade.ts'
import type { HttpConnectionManager } from './http-connection-manager.ts'
import type { HttpSession } from './http-session.ts'
import type { Http2Session } from './http2-session.ts'

// Kinds of deadlines.
const HEADERS = 1
const LINGER = 2

/** After our last byte the client may still be sending: its bytes are read and dropped this long, so that a reset does not destroy the answer. */
const LINGER_MS = 1000

/** `HTTP/1.1 200 OK` with its line end. */
const STATUS_LINE_BYTES = 17

/** A client that has just got an answer may be sending its next request; others lose nothing by the end of an old connection. */
const RETIRED_IDLE_MS = 2000

export class Http1Session implements ConnectionOwner, ServerEvents, DeadlineOwner, Downstream, HttpSession {
  readonly manager: HttpConnectionManager
  readonly connection: Connection
  readonly codec: ServerCodec
  /** The request in progress; null between two. */
  stream: HttpStream | null
  requests: number
  idleSinceMs: number
  private readonly openedMs: number
  /** It has been open for as long as it may. */
  private old: boolean
  private tunnel: Tunnel | null
  /** Who has taken the connection over, after an upgrade to HTTP/2. */
  private successor: Http2Session | null
  private paused: boolean
  private closing: boolean
  /** The end of the answer's body is the end of the connection. */
  private endsByClose: boolean
  private headDeadline: Deadline | null
  private lingerDeadline: Deadline | null

  /** Takes a connection over. */
  constructor(manager: HttpConnectionManager, connection: Connection) {
    this.manager = manager
    this.connection = connection
    connection.owner = this
    this.codec = new ServerCodec(this.connection, this, manager.limits)
    this.stream = null
    this.requests = 0
    this.idleSinceMs = manager.io.clock.monotonicMs
    this.openedMs = this.idleSinceMs
    this.old = false
    this.tunnel = null
    this.successor = null
    this.paused = false
    this.closing = false
    this.endsByClose = false
    this.headDeadline = null
    this.lingerDeadline = null
  }

  /** The answer in progress must say that it is the last one. */
  get lastRequest(): boolean {
    const max = this.manager.limits.maxRequestsPerConnection
    return (
      this.old ||
      this.manager.draining ||
      (max !== 0 && this.requests >= max) ||
      this.connection.peerEnded ||
      this.connection.retired
    )
  }

  /** For the drain report and the admin page: `idle`, `tunnel`, or the request. */
  get activity(): string {
    if (this.tunnel !== null) return 'tunnel'
    const { stream } = this
    return stream === null ? 'idle' : `${stream.method} ${stream.path} of ${stream.authority}`
  }

  // ---- ConnectionOwner -------------------------------------------------------------------------------------------------

  onData(bytes: Buffer, length: number): void {
    if (!this.closing) this.codec.execute(bytes, length)
  }

  onEnd(): void {
    if (this.tunnel !== null) {
      this.tunnel.onDownstreamEnd()
      return
    }
    const { stream } = this
    // Requests that wait until earlier answers are read; the next answer will say that it is the last.
    if (this.codec.stalled && !this.closing && this.manager.servesHalfClosed) return
    // A client that has said all it wants may half-close and wait for the answer; one that stops in the middle has given up.
    if (stream !== null && !this.closing && stream.requestEnded && this.manager.servesHalfClosed) return
    if (stream !== null) stream.onDownstreamGone()
    this.connection.end()
    if (stream !== null || !this.codec.idle) this.connection.destroy('')
  }

  onWritable(): void {
    if (this.stream !== null) this.stream.onDownstreamWritable()
    else if (!this.closing) this.codec.resume()
  }

  onClose(_reason: string): void {
    this.cancel(this.headDeadline)
    this.cancel(this.lingerDeadline)
    this.codec.close()
    this.closing = true
    if (this.tunnel !== null) this.tunnel.onDownstreamClosed()
    else if (this.stream !== null) this.stream.onDownstreamGone()
    this.manager.sessionClosed(this)
  }

  // ---- ServerEvents ----------------------------------------------------------------------------------------------------

  onHeadBegun(): void {
    const { headerTimeoutMs } = this.manager.limits
    if (headerTimeoutMs === 0 || (this.headDeadline !== null && this.headDeadline.slot >= 0)) return
    this.headDeadline ??= new Deadline(this, HEADERS)
    this.manager.io.timers.arm(this.headDeadline, headerTimeoutMs)
  }

  onRequest(): void {
    this.cancel(this.headDeadline)
    this.requests++
    const { manager, codec } = this
    if (codec.headers.firstKnown(H_HTTP2_SETTINGS) >= 0 && manager.takesH2c && this.becomeHttp2()) return
    manager.values[manager.stats.rqTotal]!++
    manager.values[manager.stats.rqActive]!++
    const stream = new HttpStream(manager, this)
    this.stream = stream
    stream.begin()
  }

  /** Answers an offer of h2c with 101, and gives connection and request to a session of HTTP/2. False: it is not taken. */
  private becomeHttp2(): boolean {
    const { manager, codec, connection } = this
    const { method, target, headers } = codec
    // Inside of TLS versions are agreed on by ALPN (RFC 7540 §3.3).
    if (codec.hasBody || method === 'CONNECT' || this.lastRequest || connection.tls !== null) return false
    const settings = h2cSettings(codec.minor, target, headers)
    if (settings === null) return false
    const authority = headers.valueAt(headers.firstKnown(H_HOST))
    headers.removeKnown(H_HOST)
    connection.writeText(SWITCHING_TO_H2C)
    this.closing = true
    codec.becomeTunnel()
    this.successor = manager.continueAsHttp2(this)
    this.successor.codec.upgrade(method, 'http', authority, target, headers, settings)
    return true
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    if (this.stream !== null) this.stream.onRequestBody(bytes, start, end)
  }

  onRequestEnd(trailers: HeaderMap | null): void {
    if (this.stream !== null) this.stream.onRequestEnd(trailers === null ? '' : forwardedTrailers(trailers))
  }

  onRequestError(code: number): void {
    const { manager, stream } = this
    const reason = refusalOf(code)
    manager.values[manager.stats.cxProtocolError]!++
    manager.noteRefusal(this, code)
    if (stream !== null) {
      stream.onRequestBroken(reason)
      return
    }
    this.cancel(this.headDeadline)
    this.refuse(reason)
  }

  onTunnelData(bytes: Buffer, start: number, end: number): void {
    if (this.tunnel !== null) this.tunnel.onDownstreamData(bytes, start, end)
    else if (this.successor !== null) this.successor.codec.onData(bytes.subarray(start, end), end - start)
  }

  // ---- Downstream, for the stream -------------------------------------------------------------------------------------------------

  get sink(): ByteSink {
    return this.connection
  }

  get method(): string {
    return this.codec.method
  }

  get target(): string {
    return this.codec.target
  }

  get minor(): number {
    return this.codec.minor
  }

  get protocol(): string {
    return this.codec.minor === 1 ? 'HTTP/1.1' : 'HTTP/1.0'
  }

  get headers(): HeaderMap {
    return this.codec.headers
  }

  get scheme(): string {
    return ''
  }

  get authority(): string {
    return ''
  }

  get neverIndexed(): string {
    return ''
  }

  markNeverIndexed(_names: string): void {}

  get headBytes(): number {
    return this.codec.headBytes
  }

  get hasBody(): boolean {
    return this.codec.hasBody
  }

  get bodyLength(): number {
    return this.codec.bodyLength
  }

  sendInformational(status: number, headers: HeaderMap): void {
    this.codec.sendInformational(status, headers.serialise())
  }

  sendHeaders(status: number, headers: HeaderMap, bodyLength: number, withBody: boolean, last: boolean): number {
    const { codec } = this
    let fields = headers.serialise()
    const end = !withBody ? END_NONE : bodyLength >= 0 ? END_BY_LENGTH : codec.minor === 1 ? END_BY_CHUNKS : END_BY_CLOSE
    this.endsByClose = end === END_BY_CLOSE
    if (last || this.endsByClose) fields += 'connection: close\r\n'
    else if (codec.minor === 0) fields += 'connection: keep-alive\r\n'
    codec.sendHeaders(status, fields, end)
    return fields.length + STATUS_LINE_BYTES
  }

  sendBody(bytes: Buffer, start: number, end: number): boolean {
    return this.codec.sendBody(bytes, start, end)
  }

  sendText(text: string): void {
    this.connection.writeText(text)
  }

  sendEnd(trailers: string): void {
    this.codec.sendEnd(trailers)
  }

  openTunnel(status: number, headers: HeaderMap, tunnel: Tunnel): number {
    const fields = headers.serialise()
    this.codec.sendHeaders(status, fields, END_NONE)
    this.tunnel = tunnel
    this.unpause()
    this.codec.becomeTunnel()
    // The client may have closed its side before the answer came.
    if (this.connection.peerEnded) tunnel.onDownstreamEnd()
    return fields.length
  }

  /** Reads nothing more until `unpause`; called again it does nothing. */
  pause(): void {
    if (this.paused) return
    this.paused = true
    this.connection.readDisable()
  }

  unpause(): void {
    if (!this.paused) return
    this.paused = false
    this.connection.readEnable()
  }

  done(closes: boolean): void {
    const { manager } = this
    manager.values[manager.stats.rqActive]!--
    this.stream = null
    this.unpause()
    this.idleSinceMs = manager.io.clock.monotonicMs
    if (this.closing || this.connection.closed) return
    if (closes || this.endsByClose || this.connection.peerEnded) this.closeAfterFlush()
    else {
      this.codec.nextRequest()
      if (manager.draining && this.stream === null && this.codec.idle) this.closeAfterFlush()
    }
  }

  /** Sends what is queued, then FIN; what the client still sends is dropped for a moment. */
  closeAfterFlush(): void {
    if (this.closing) return
    this.closing = true
    this.codec.close()
    this.connection.end()
    if (this.connection.peerEnded) return
    this.lingerDeadline = new Deadline(this, LINGER)
    this.manager.io.timers.arm(this.lingerDeadline, LINGER_MS)
  }

  /** What was queued leaves, then the connection goes without an orderly end of the message. */
  cut(reason: string): void {
    this.closing = true
    this.codec.close()
    this.connection.flush()
    this.connection.destroy(reason)
  }

  onDeadline(kind: number): void {
    if (kind === LINGER) {
      this.connection.destroy('')
      return
    }
    const { manager } = this
    manager.values[manager.stats.rqHeaderTimeout]!++
    this.codec.close()
    this.refuse(R.HEADER_TIMEOUT)
  }

  abandon(): void {
    this.connection.destroy('internal_error')
  }

  sweep(nowMs: number): void {
    const { manager, codec, stream } = this
    const { connectionIdleTimeoutMs } = manager.limits
    const { maxConnectionDurationMs } = manager.config.settings
    if (maxConnectionDurationMs > 0 && nowMs - this.openedMs >= maxConnectionDurationMs) this.old = true
    if (stream === null) {
      if (this.old) this.drain()
      if (this.connection.retired && nowMs - this.idleSinceMs >= RETIRED_IDLE_MS) this.drain()
      if (connectionIdleTimeoutMs === 0 || (!codec.idle && !codec.stalled) || nowMs - this.idleSinceMs < connectionIdleTimeoutMs)
        return
      manager.values[manager.stats.cxIdleTimeout]!++
      this.closeAfterFlush()
    } else if (stream.idleTimeoutMs !== 0 && nowMs - this.connection.lastActiveMs >= stream.idleTimeoutMs) {
      manager.values[manager.stats.rqIdleTimeout]!++
      stream.reply(stream.requestComplete ? { ...R.STREAM_IDLE, status: 504 } : R.STREAM_IDLE)
    }
  }

  drain(): void {
    if (this.stream === null && this.codec.idle) this.closeAfterFlush()
  }

  /** Answers what never became a request. */
  private refuse(reason: R.Reason): void {
    const { manager } = this
    this.requests++
    manager.values[manager.stats.rqTotal]!++
    manager.values[manager.stats.rqActive]!++
    const broken = new HttpStream(manager, this)
    this.stream = broken
    broken.reply(reason)
  }

  private cancel(d: Deadline | null): void {
    if (d !== null) this.manager.io.timers.cancel(d)
  }
}
