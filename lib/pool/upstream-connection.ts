// Hot lane: one HTTP/1 connection to an endpoint: idle in its pool, or lent to one request.
import type net from 'node:net'
import { ClientCodec, type ClientEvents } from '../http/h1/client-codec.ts'
import type { HeaderMap } from '../http/header-map.ts'
import { H_KEEP_ALIVE } from '../http/known-headers.ts'
import { Connection, type ConnectionOwner } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import { type Exchange, RESET_PROTOCOL_ERROR, RESET_TERMINATION } from './exchange.ts'
import type { HostPool } from './host-pool.ts'

export class UpstreamConnection implements ConnectionOwner {
  readonly pool: HostPool
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
  closing: boolean
  /** `bytesWritten` when the exchange began: as long as it is that, nothing of the request has left. */
  private bytesBefore: number
  /** It carries bytes for a tunnel: either direction may end before the other. */
  tunnel: boolean

  constructor(io: Io, socket: net.Socket, pool: HostPool, limits: { maxHeaders: number; maxHeaderBytes: number }) {
    this.pool = pool
    this.connection = new Connection(io, socket, this)
    this.codec = new ClientCodec(this.connection, NOBODY, limits)
    this.exchange = null
    this.requests = 0
    this.createdMs = io.clock.monotonicMs
    this.idleSinceMs = this.createdMs
    this.peerIdleMs = 0
    this.doomed = false
    this.counted = true
    this.closing = false
    this.bytesBefore = 0
    this.tunnel = false
  }

  /** Lends the connection to a request. */
  assign(exchange: Exchange, method: string): void {
    this.exchange = exchange
    this.requests++
    this.closing = false
    this.bytesBefore = this.connection.bytesWritten
    this.codec.begin(exchange, method)
  }

  /** The request is done with it. `reusable`: request and response are complete and nothing forbids another. */
  release(reusable: boolean): void {
    this.exchange = null
    if (reusable && this.codec.keepAlive && !this.doomed && !this.connection.closed && !this.connection.peerEnded) {
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

  /** What the response head says of the connection; to be asked before anybody edits its fields. */
  noteKeepAlive(headers: HeaderMap): void {
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
    else exchange.onUpstreamReset(RESET_TERMINATION, reason)
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
