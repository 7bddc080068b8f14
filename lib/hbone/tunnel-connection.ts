// Hot lane: one CONNECT stream as a connection: to everybody above it is what a socket is, on either end of a tunnel.
import { CANCEL, CONNECT_ERROR, NO_ERROR } from '../http/h2/error-codes.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import type { StreamEvents } from '../http/h2/stream-events.ts'
import type { HeaderMap } from '../http/header-map.ts'
import { Connection, type ConnectionOwner } from '../transport/connection.ts'
import type { TlsFacts } from '../transport/tls-facts.ts'

export class TunnelConnection extends Connection implements StreamEvents {
  readonly stream: Http2Stream
  private dismissed: boolean

  /**
   * Owns the events of the stream from now on. `peerAddress`, `localAddress`: what stands for the two ends, `ip:port`. `tls`: of the tunnel: its
   * identities are those of the connection inside.
   */
  constructor(stream: Http2Stream, owner: ConnectionOwner, peerAddress: string, localAddress: string, tls: TlsFacts | null) {
    super(stream.connection.connection.io, owner, peerAddress, localAddress)
    this.stream = stream
    this.dismissed = false
    this.tls = tls
    stream.events = this
  }

  // ---- what a carrier does ---------------------------------------------------------------------------------------------

  protected get carried(): boolean {
    return !this.stream.closed
  }

  protected transmit(block: Buffer, length: number): void {
    if (!this.stream.sendBody(block, 0, length)) this.blocked = true
    this.io.blocks.release(block)
  }

  /** Never busy. */
  protected postpone(block: Buffer, length: number): void {
    this.transmit(block, length)
  }

  /** Straight into frames: a tunnel's bytes are not gathered twice. */
  override writeBytes(bytes: Buffer, start: number, end: number): void {
    if (this.closed || this.ended) return
    if (this.out !== null) this.flush()
    this.bytesWritten += end - start
    this.lastActiveMs = this.io.clock.monotonicMs
    if (!this.stream.sendBody(bytes, start, end)) this.blocked = true
  }

  protected setReading(on: boolean): void {
    if (on) this.stream.resume()
    else this.stream.pause()
  }

  protected finish(): void {
    this.stream.sendEnd('')
  }

  /** END_STREAM, to which the peer has a second to answer with its own: a reset would be told as a failure by proxies in between. */
  override dismiss(reason: string): void {
    this.dismissed = true
    this.destroy(reason)
  }

  protected drop(): void {
    if (this.dismissed && !this.aborting && !this.stream.closed) {
      this.stream.stopReceiving()
      this.stream.sendEnd('')
      setImmediate(closed, this)
      return
    }
    this.stream.reset(this.aborting ? CONNECT_ERROR : this.peerEnded && this.closeReason === '' ? NO_ERROR : CANCEL)
    setImmediate(closed, this)
  }

  // ---- StreamEvents: of a stream that is open in both directions --------------------------------------------------------

  onInformational(): void {}

  onResponse(): void {}

  onBody(bytes: Buffer, start: number, end: number): void {
    const n = end - start
    if (end < bytes.length) {
      // Owners may put a sentinel behind what they are given: there the next frame begins.
      const next = bytes[end] as number
      this.deliver(bytes.subarray(start, end + 1), n)
      bytes[end] = next
      return
    }
    // Held back for a while, in a buffer of its own size.
    const copy = Buffer.allocUnsafe(n + 1)
    bytes.copy(copy, 0, start, end)
    this.deliver(copy, n)
  }

  /** Trailers say nothing to a tunnel. */
  onEnd(_trailers: HeaderMap | null): void {
    this.peerFinished()
    // It may have been paused when the stream came to its end.
    if (this.stream.closed) setImmediate(closed, this)
  }

  onReset(code: number): void {
    // An end that was not announced is one only where the peer says that nothing went wrong.
    if (this.closeReason === '' && !this.peerEnded && code !== NO_ERROR) this.closeReason = 'tunnel_reset'
    setImmediate(closed, this)
  }

  onWritable(): void {
    this.unblock()
  }

  /** From who has the HTTP/2 connection: both directions have ended, or it was reset. */
  onStreamClosed(): void {
    if (this.peerEnded) setImmediate(closed, this)
  }

  /** For `closed`. */
  over(): void {
    this.gone()
  }
}

function closed(c: TunnelConnection): void {
  c.over()
}
