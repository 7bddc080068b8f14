// Hot lane: one HTTP/1 connection to an endpoint: idle in its pool, or lent to one request.
import { ClientCodec, type ClientEvents } from '../http/h1/client-codec.ts'
import type { HeaderMap } from '../http/header-map.ts'
import { H_KEEP_ALIVE } from '../http/known-headers.ts'
import type { RequestHead } from '../http/request-head.ts'
import type { ByteSink, Connection, ConnectionOwner } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import type { TlsFacts } from '../transport/tls-facts.ts'
import { type Exchange, RESET_PROTOCOL_ERROR, RESET_TERMINATION } from './exchange.ts'
import { stripHopByHop } from './hop-by-hop.ts'
import type { Http1Pool } from './http1-pool.ts'
import type { UpstreamStream } from './upstream-stream.ts'

export class Http1UpstreamConnection implements ConnectionOwner, UpstreamStream {
  readonly pool: Http1Pool
  readonly connection: Connection
  readonly codec: ClientCodec
  /** Who uses it now; null while idle. */
  exchange: Exchange | null
  /** Requests begun on it. */
  requests: number
  readonly createdMs: number
  idleSinceMs: number
  /** What the upstream announced (`Keep-Alive: timeout=5`), ms; 0: nothing. */
  peerIdleMs: number
  /** It will not be used again. */
  doomed: boolean
  /** Still in its pool's counts. */
  counted: boolean
  /** The upstream said `connection: close` in this response. */
  private closing: boolean
  /** `bytesWritten` when the exchange began: as long as it is that, nothing of the request has left. */
  private bytesBefore: number
  private tunnel: boolean
  private requestEnded: boolean

  constructor(io: Io, connection: Connection, pool: Http1Pool, limits: { maxHeaders: number; maxHeaderBytes: number }) {
    this.pool = pool
    this.connection = connection
    connection.owner = this
    this.codec = new ClientCodec(this.connection, NOBODY, limits)
    this.exchange = null
    this.requests = 0
    this.createdMs = io.clock.monotonicMs
    this.idleSinceMs = this.createdMs
    this.peerIdleMs = 0
    this.doomed = false
    this.counted = true
    this.closing = false
    this.requestEnded = false
    this.bytesBefore = 0
    this.tunnel = false
    this.requestEnded = false
  }

  get localAddress(): string {
    return this.connection.localAddress
  }

  get tls(): TlsFacts | null {
    return this.connection.tls
  }

  get protocol(): string {
    return 'HTTP/1.1'
  }

  get sink(): ByteSink {
    return this.connection
  }

  get writable(): boolean {
    return this.connection.writable
  }

  get status(): number {
    return this.codec.status
  }

  get headers(): HeaderMap {
    return this.codec.headers
  }

  get hasBody(): boolean {
    return this.codec.hasBody
  }

  get neverIndexed(): string {
    return ''
  }

  get bodyLength(): number {
    return this.codec.bodyLength
  }

  get mayHaveBody(): boolean {
    return this.codec.mayHaveBody
  }

  assign(exchange: Exchange, method: string): void {
    this.exchange = exchange
    this.requests++
    this.closing = false
    this.bytesBefore = this.connection.bytesWritten
    this.codec.begin(exchange, method)
  }

  sendHeaders(head: RequestHead, attempt: number, ended: boolean): void {
    this.requestEnded = ended
    const fields = attempt === 0 ? head.fields : `${head.fields}x-envoy-attempt-count: ${attempt}\r\n`
    this.codec.sendHeaders(head.method, head.target, fields, head.chunked && !ended)
  }

  sendBody(bytes: Buffer, start: number, end: number): boolean {
    return this.codec.sendBody(bytes, start, end)
  }

  sendEnd(trailers: string): void {
    this.requestEnded = true
    this.codec.sendEnd(trailers)
  }

  takeHopByHop(): void {
    this.noteKeepAlive(this.codec.headers)
    this.closing = stripHopByHop(this.codec.headers)
    if (this.closing) this.pool.values[this.pool.stats.cxCloseNotify]!++
  }

  readDisable(): void {
    this.connection.readDisable()
  }

  readEnable(): void {
    this.connection.readEnable()
  }

  openTunnel(): void {
    this.tunnel = true
  }

  /** An answer before the end of its request leaves the connection in the middle of a message: it cannot be used again. */
  release(complete: boolean): void {
    const reusable = complete && this.requestEnded && !this.closing && this.codec.keepAlive
    this.exchange = null
    if (reusable && !this.doomed && !this.connection.closed && !this.connection.peerEnded) {
      this.connection.resetReadPauses()
      this.pool.returned(this)
      return
    }
    this.codec.close()
    this.doomed = true
    // A tunnel that has ended both ways closes by itself, once what it was given last has left.
    if (!this.tunnel || !this.connection.ended || !this.connection.peerEnded) this.connection.destroy('released')
    this.pool.lost(this)
  }

  /** To be asked before anybody edits the fields. */
  private noteKeepAlive(headers: HeaderMap): void {
    const i = headers.firstKnown(H_KEEP_ALIVE)
    if (i < 0) return
    const found = /(?:^|[,\s])timeout=(\d{1,6})/i.exec(headers.valueAt(i))
    if (found !== null) this.peerIdleMs = Number(found[1]) * 1000
  }

  onData(bytes: Buffer, length: number): void {
    // Bytes that nobody asked for: whoever sends them is not trusted with another request (response-queue poisoning).
    if (this.exchange === null) {
      // It closes in a later turn; until then the pool must not lend it.
      this.doomed = true
      this.connection.destroy('unsolicited')
    } else this.codec.execute(bytes, length)
  }

  onEnd(): void {
    const exchange = this.exchange
    if (exchange === null) {
      this.connection.destroy('')
      return
    }
    if (this.tunnel) {
      exchange.onUpstreamEnd()
      return
    }
    if (this.codec.finish()) return
    // Nothing can follow: the response is cut, or never began.
    this.doomed = true
    this.connection.destroy('')
  }

  onWritable(): void {
    if (this.exchange !== null) this.exchange.onUpstreamWritable()
  }

  onClose(reason: string): void {
    const exchange = this.exchange
    this.doomed = true
    this.exchange = null
    this.pool.lost(this)
    if (exchange === null) return
    // It was dead before it was lent, and only writing showed it.
    if (this.requests > 1 && this.connection.bytesWritten === this.bytesBefore) exchange.onNothingWritten(reason)
    else exchange.onUpstreamReset(RESET_TERMINATION, this.connection.transportFailure || reason)
  }

  abandon(): void {
    this.connection.destroy('internal_error')
  }

  /** The response was not HTTP, or bytes came that nobody asked for. */
  protocolError(): void {
    const exchange = this.exchange
    this.exchange = null
    this.doomed = true
    this.connection.destroy('protocol_error')
    this.pool.lost(this)
    if (exchange !== null) exchange.onUpstreamReset(RESET_PROTOCOL_ERROR, '')
  }
}

/** Events of a connection that nobody has borrowed: whatever it says, it is over. */
const NOBODY: ClientEvents = {
  onInformational: () => {},
  onResponse: () => {},
  onBody: () => {},
  onResponseEnd: () => {},
  onResponseError: () => {},
  onTunnelData: () => {},
}
