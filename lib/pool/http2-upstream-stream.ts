// Hot lane: one exchange on an HTTP/2 connection to an endpoint.
import { CANCEL, CONNECTION_LOST, GOAWAY_BEFORE, PROTOCOL_ERROR } from '../http/h2/error-codes.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import type { StreamEvents } from '../http/h2/stream-events.ts'
import { HeaderMap } from '../http/header-map.ts'
import { H_HOST } from '../http/known-headers.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { ByteSink } from '../transport/connection.ts'
import type { TlsFacts } from '../transport/tls-facts.ts'
import {
  type Exchange,
  RESET_GOAWAY,
  RESET_NOT_OFFERED,
  RESET_PROTOCOL_ERROR,
  RESET_REFUSED_STREAM,
  RESET_REMOTE,
  RESET_TERMINATION,
} from './exchange.ts'
import type { Http2UpstreamConnection } from './http2-upstream-connection.ts'
import type { UpstreamStream } from './upstream-stream.ts'

export class Http2UpstreamStream implements UpstreamStream, StreamEvents, ByteSink {
  private readonly owner: Http2UpstreamConnection
  private exchange: Exchange | null
  /** Null until the head is sent. */
  private http2: Http2Stream | null
  private method: string
  private requestEnded: boolean
  /** An extended CONNECT: what HTTP/1 asks for by Upgrade (RFC 8441 §5). */
  private extended: boolean
  /** Waits for the endpoint's SETTINGS; null when nothing does. */
  private unsent: RequestHead | null
  private unsentFields: string
  private tunnel: boolean
  private flowing: boolean
  /** `bytesWritten` of the connection before the head: as long as it is that, nothing of the request has left. */
  private bytesBefore: number

  constructor(owner: Http2UpstreamConnection) {
    this.owner = owner
    this.exchange = null
    this.http2 = null
    this.method = ''
    this.requestEnded = false
    this.extended = false
    this.unsent = null
    this.unsentFields = ''
    this.tunnel = false
    this.flowing = true
    this.bytesBefore = 0
  }

  get tls(): TlsFacts | null {
    return this.owner.connection.tls
  }

  get localAddress(): string {
    return this.owner.connection.localAddress
  }

  get protocol(): string {
    return 'HTTP/2'
  }

  get sink(): ByteSink {
    return this
  }

  get writable(): boolean {
    return this.flowing
  }

  /** A tunnel that is accepted by any 2xx (RFC 9110 §9.3.6) is a 101 in the words of HTTP/1. */
  get status(): number {
    if (this.http2 === null) return 0
    const { status } = this.http2
    return this.extended && status >= 200 && status < 300 ? 101 : status
  }

  get headers(): HeaderMap {
    return this.http2 === null ? NO_HEADERS : this.http2.headers
  }

  get hasBody(): boolean {
    return this.http2?.hasBody === true && this.method !== 'HEAD' && this.mayHaveBody
  }

  get neverIndexed(): string {
    return this.http2 === null ? '' : this.http2.neverIndexed
  }

  get bodyLength(): number {
    return this.http2 === null ? 0 : this.http2.bodyLength
  }

  get mayHaveBody(): boolean {
    const { status } = this
    return status >= 200 && status !== 204 && status !== 304
  }

  assign(exchange: Exchange, method: string): void {
    this.exchange = exchange
    this.method = method
  }

  sendHeaders(head: RequestHead, attempt: number, ended: boolean): void {
    const more = attempt === 0 ? '' : `x-envoy-attempt-count: ${attempt}\r\n`
    this.bytesBefore = this.owner.connection.bytesWritten
    if (head.upgrade === '') {
      this.requestEnded = ended
      this.send(head, head.method, more, ended)
      return
    }
    this.extended = true
    this.unsent = head
    this.unsentFields = more
    // Whether it may be asked for, the endpoint says in its SETTINGS (RFC 8441 §3).
    if (this.owner.codec.settled) this.onSettings()
    else this.owner.unsent.push(this)
  }

  private send(head: RequestHead, method: string, more: string, ended: boolean): void {
    const { headers, scheme, target, upgrade, neverIndexed } = head
    const authority = headers.known(H_HOST, 'host') ?? ''
    const { codec } = this.owner
    // Upgrade is compared without case, :protocol is not.
    const protocol = upgrade === '' ? '' : upgrade.toLowerCase()
    this.http2 = codec.request(this, method, scheme, authority, target, protocol, headers, more, neverIndexed, ended)
    if (this.owner.doomed) this.owner.retire()
    // The endpoint left between the lending and now: nothing was written.
    if (this.http2 === null) this.lose(RESET_REFUSED_STREAM, '')
  }

  /** From the connection: it is known what the endpoint offers. */
  onSettings(): void {
    const head = this.unsent
    this.unsent = null
    if (head === null) return
    if (this.owner.codec.peer.connectProtocol) this.send(head, 'CONNECT', this.unsentFields, false)
    else this.lose(RESET_NOT_OFFERED, NOT_OFFERED)
  }

  /** From the connection: it ended before anything could be sent. */
  onNeverSettled(): void {
    this.unsent = null
    this.lose(RESET_TERMINATION, '')
  }

  sendBody(bytes: Buffer, start: number, end: number): boolean {
    if (this.http2 === null) return true
    this.flowing = this.http2.sendBody(bytes, start, end)
    return this.flowing
  }

  sendEnd(trailers: string): void {
    this.requestEnded = true
    if (this.http2 !== null) this.http2.sendEnd(trailers)
  }

  /** There is nothing of the kind in HTTP/2; the codec has refused what pretends to be. */
  takeHopByHop(): void {}

  readDisable(): void {
    if (this.http2 !== null) this.http2.pause()
  }

  readEnable(): void {
    if (this.http2 !== null) this.http2.resume()
  }

  openTunnel(): void {
    this.tunnel = true
  }

  protocolError(): void {
    if (this.http2 !== null) this.http2.reset(PROTOCOL_ERROR)
    this.lose(RESET_PROTOCOL_ERROR, '')
  }

  /** An answer before the end of its request: the rest is not sent (RFC 9113 §8.1). */
  release(complete: boolean): void {
    this.exchange = null
    const { http2, owner } = this
    if (this.unsent !== null) {
      this.unsent = null
      owner.unsent.splice(owner.unsent.indexOf(this), 1)
    }
    if (http2 === null) return
    // A tunnel that has ended both ways still sends what is queued.
    if (this.tunnel && this.requestEnded && http2.remoteEnded) return
    if (!complete || !this.requestEnded || !http2.localEnded) http2.reset(CANCEL)
    else this.owner.codec.recycle(http2)
  }

  abandon(): void {
    if (this.http2 !== null) this.http2.reset(CANCEL)
    this.lose(RESET_TERMINATION, 'internal_error')
  }

  private lose(reason: number, detail: string): void {
    const { exchange } = this
    this.exchange = null
    if (exchange !== null) exchange.onUpstreamReset(reason, detail)
  }

  // ---- StreamEvents ----------------------------------------------------------------------------------------------------

  onInformational(status: number, headers: HeaderMap): void {
    if (this.exchange !== null) this.exchange.onInformational(status, headers)
  }

  onResponse(): void {
    if (this.exchange !== null) this.exchange.onResponse()
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    if (this.exchange === null) return
    if (this.tunnel) this.exchange.onTunnelData(bytes, start, end)
    else this.exchange.onBody(bytes, start, end)
  }

  onEnd(trailers: HeaderMap | null): void {
    if (this.exchange === null) return
    if (this.tunnel) this.exchange.onUpstreamEnd()
    else this.exchange.onResponseEnd(trailers)
  }

  onReset(code: number): void {
    const { http2, owner, exchange } = this
    if (http2 === null) return
    if (code === CONNECTION_LOST && owner.codec.settled && owner.connection.bytesWritten === this.bytesBefore) {
      // The connection was good, and dead before anything of this request could leave.
      this.exchange = null
      if (exchange !== null) exchange.onNothingWritten('')
      return
    }
    this.lose(this.resetReason(http2, code), code === CONNECTION_LOST ? owner.connection.transportFailure : '')
  }

  private resetReason(http2: Http2Stream, code: number): number {
    if (http2.fault !== 0) return RESET_PROTOCOL_ERROR
    if (code === GOAWAY_BEFORE) return RESET_GOAWAY
    if (http2.unprocessed) return RESET_REFUSED_STREAM
    if (code === CONNECTION_LOST) return RESET_TERMINATION
    // What the endpoint sent on the connection, not on this stream.
    return this.owner.codec.closed ? RESET_PROTOCOL_ERROR : RESET_REMOTE
  }

  onWritable(): void {
    this.flowing = true
    if (this.exchange !== null) this.exchange.onUpstreamWritable()
  }

  // ---- ByteSink: the bytes of a tunnel -----------------------------------------------------------------------------------

  writeBytes(bytes: Buffer, start: number, end: number): void {
    this.sendBody(bytes, start, end)
  }

  end(): void {
    this.sendEnd('')
  }
}

const NO_HEADERS = new HeaderMap()

/** In access logs. */
const NOT_OFFERED = 'the endpoint does not offer extended CONNECT'
