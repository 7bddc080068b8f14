// Hot lane: the client's side of one request of an HTTP/2 connection.
import { CONNECT_ERROR, INTERNAL_ERROR, PROTOCOL_ERROR } from '../../http/h2/error-codes.ts'
import { STALLED } from '../../http/h2/message-head.ts'
import type { Http2Stream } from '../../http/h2/stream.ts'
import type { StreamEvents } from '../../http/h2/stream-events.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import { forwardedTrailers } from '../../http/trailers.ts'
import type { ByteSink, Connection } from '../../transport/connection.ts'
import type { Downstream } from '../http/downstream.ts'
import { HttpStream } from '../http/http-stream.ts'
import * as R from '../http/reasons.ts'
import type { Tunnel } from '../http/tunnel.ts'
import type { Http2Session } from './http2-session.ts'

export class Http2Downstream implements Downstream, StreamEvents, ByteSink {
  readonly stream: HttpStream
  readonly method: string
  readonly headers: HeaderMap
  readonly hasBody: boolean
  readonly bodyLength: number
  readonly neverIndexed: string
  /** Among the requests of its session; -1: not there. */
  place: number
  private readonly session: Http2Session
  /** Once the request is over, one that is closed: what `explain` keeps of a request must not keep the codec's part of it. */
  private http2: Http2Stream
  private tunnel: Tunnel | null
  private tunnelEnded: boolean
  /** The client has taken all that was given to it so far. */
  private flowing: boolean
  private lastActiveMs: number

  constructor(session: Http2Session, http2: Http2Stream) {
    this.place = -1
    this.session = session
    this.http2 = http2
    // RFC 8441 §5: what HTTP/1 asks for with GET and Upgrade.
    this.method = http2.protocol === '' ? http2.method : 'GET'
    this.headers = http2.headers
    // What follows a CONNECT of either kind is no body.
    this.hasBody = http2.hasBody && http2.method !== 'CONNECT'
    this.bodyLength = http2.method === 'CONNECT' ? 0 : http2.bodyLength
    this.neverIndexed = http2.neverIndexed
    this.tunnel = null
    this.tunnelEnded = false
    this.flowing = true
    this.lastActiveMs = http2.openedMs
    // One form for all versions: who is asked for is in `host`.
    if (http2.authority !== '') this.headers.append('host', http2.authority)
    this.stream = new HttpStream(session.manager, this)
  }

  begin(): void {
    const { http2 } = this
    http2.events = this
    // Bytes for a tunnel wait until it is open.
    if (http2.method === 'CONNECT') http2.pause()
    this.stream.upgrade = http2.protocol
    this.stream.begin()
  }

  /** It is malformed beyond what the codec looks at. */
  refuse(): void {
    this.http2.reset(PROTOCOL_ERROR)
    this.stream.giveUp(R.HTTP2_MALFORMED)
  }

  get activity(): string {
    const { stream } = this
    return this.tunnel === null ? `${stream.method} ${stream.path} of ${stream.authority}` : 'tunnel'
  }

  /** Gives up when nothing has moved for too long. */
  sweep(nowMs: number): void {
    const { idleTimeoutMs } = this.stream
    if (idleTimeoutMs === 0 || nowMs - this.lastActiveMs < idleTimeoutMs) return
    const { manager } = this.session
    manager.values[manager.stats.rqIdleTimeout]!++
    this.stream.reply(this.stream.requestComplete ? { ...R.STREAM_IDLE, status: 504 } : R.STREAM_IDLE)
  }

  // ---- StreamEvents ----------------------------------------------------------------------------------------------------

  onInformational(): void {}

  onResponse(): void {}

  onBody(bytes: Buffer, start: number, end: number): void {
    this.lastActiveMs = this.http2.connection.nowMs
    if (this.tunnel === null) this.stream.onRequestBody(bytes, start, end)
    else this.tunnel.onDownstreamData(bytes, start, end)
  }

  onEnd(trailers: HeaderMap | null): void {
    if (this.tunnel !== null) this.tunnel.onDownstreamEnd()
    else this.stream.onRequestEnd(trailers === null ? '' : forwardedTrailers(trailers))
  }

  onReset(_code: number): void {
    if (this.tunnel !== null) this.tunnel.onDownstreamClosed()
    else if (this.http2.fault === STALLED) this.stream.giveUp(R.HTTP2_STALLED)
    else if (this.http2.fault !== 0) this.stream.giveUp(R.HTTP2_MALFORMED)
    else if (this.session.codec.closed) this.stream.onDownstreamGone()
    else this.stream.onDownstreamReset()
  }

  onWritable(): void {
    this.flowing = true
    this.stream.onDownstreamWritable()
  }

  // ---- Downstream --------------------------------------------------------------------------------------------------------

  get connection(): Connection {
    return this.session.connection
  }

  get sink(): ByteSink {
    return this
  }

  get target(): string {
    return this.http2.path === '' ? this.http2.authority : this.http2.path
  }

  get minor(): number {
    return 1
  }

  get protocol(): string {
    return 'HTTP/2'
  }

  get scheme(): string {
    return this.http2.scheme
  }

  get authority(): string {
    return this.http2.authority
  }

  markNeverIndexed(names: string): void {
    this.http2.responseNeverIndexed = names
  }

  get headBytes(): number {
    return this.headers.block.length
  }

  get lastRequest(): boolean {
    return false
  }

  sendInformational(status: number, headers: HeaderMap): void {
    this.http2.sendInformational(status, headers.serialise())
  }

  sendHeaders(status: number, headers: HeaderMap, _bodyLength: number, withBody: boolean, _last: boolean): number {
    return this.http2.sendHead(status, headers, !withBody)
  }

  sendBody(bytes: Buffer, start: number, end: number): boolean {
    this.lastActiveMs = this.http2.connection.nowMs
    this.flowing = this.http2.sendBody(bytes, start, end)
    return this.flowing
  }

  sendText(text: string): void {
    const bytes = Buffer.from(text, 'latin1')
    this.http2.sendBody(bytes, 0, bytes.length)
  }

  sendEnd(trailers: string): void {
    this.http2.sendEnd(trailers)
  }

  pause(): void {
    this.http2.pause()
  }

  unpause(): void {
    this.http2.resume()
  }

  openTunnel(status: number, headers: HeaderMap, tunnel: Tunnel): number {
    this.tunnel = tunnel
    // RFC 9113 §8.6: HTTP/2 has no 101.
    const bytes = this.http2.sendHead(status === 101 ? 200 : status, headers, false)
    this.http2.resume()
    return bytes
  }

  cut(_reason: string): void {
    this.http2.reset(INTERNAL_ERROR)
  }

  done(_closes: boolean): void {
    const { http2, session } = this
    session.requestDone(this)
    // RFC 9113 §8.5: a tunnel whose other side was cut ends so too.
    if (this.tunnel !== null && !this.tunnelEnded) http2.reset(CONNECT_ERROR)
    // What the client still sends of a request that has been answered is not wanted (RFC 9113 §8.1).
    if (!http2.closed && !http2.remoteEnded) http2.stopReceiving()
    else session.codec.recycle(http2)
    this.http2 = session.endedStream()
  }

  abandon(): void {
    this.http2.reset(INTERNAL_ERROR)
    this.stream.onDownstreamGone()
  }

  // ---- ByteSink: the bytes of a tunnel -----------------------------------------------------------------------------------

  get writable(): boolean {
    return this.flowing
  }

  writeBytes(bytes: Buffer, start: number, end: number): void {
    this.sendBody(bytes, start, end)
  }

  end(): void {
    this.tunnelEnded = true
    this.http2.sendEnd('')
  }
}
