// Hot lane: bytes in the body of a request that a proxy has taken as a tunnel, CONNECT or POST, on any version of HTTP: to whoever owns it a connection
// like others (Envoy TcpProxy tunneling_config).
import type { HeaderMap } from '../http/header-map.ts'
import { Connection, NOBODY } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import type { Exchange } from './exchange.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** Who waits for the answer. Exactly one of them is called, unless the connection is given up before. */
export interface TunnelAsker {
  /** With a 2xx: it is open, and the asker makes somebody its owner at once. */
  onTunnelAnswered(connection: HttpTunnelConnection): void
  /** `status` of another answer; 0: none, for `reason` of exchange.ts. The connection is closed. */
  onTunnelRefused(status: number, reason: number, detail: string): void
}

export class HttpTunnelConnection extends Connection implements Exchange {
  private readonly stream: UpstreamStream
  /** Its bytes are those of the connection, not of a body. */
  private readonly isConnect: boolean
  /** null: it has been answered, or is over. */
  private asker: TunnelAsker | null
  private released: boolean

  /** `stream` is to be assigned to it at once. */
  constructor(io: Io, stream: UpstreamStream, isConnect: boolean, peerAddress: string, asker: TunnelAsker) {
    super(io, NOBODY, peerAddress, stream.localAddress)
    this.tls = stream.tls
    this.stream = stream
    this.isConnect = isConnect
    this.asker = asker
    this.released = false
  }

  // ---- what a carrier does ---------------------------------------------------------------------------------------------

  protected get carried(): boolean {
    return !this.released
  }

  protected transmit(block: Buffer, length: number): void {
    this.send(block, 0, length)
    this.io.blocks.release(block)
  }

  /** Never busy. */
  protected postpone(block: Buffer, length: number): void {
    this.transmit(block, length)
  }

  /** Straight into the stream: bytes are not gathered twice. */
  override writeBytes(bytes: Buffer, start: number, end: number): void {
    if (this.closed || this.ended || this.released) return
    if (this.out !== null) this.flush()
    this.bytesWritten += end - start
    this.lastActiveMs = this.io.clock.monotonicMs
    this.send(bytes, start, end)
  }

  private send(bytes: Buffer, start: number, end: number): void {
    if (this.released) return
    if (this.isConnect) {
      const { sink } = this.stream
      sink.writeBytes(bytes, start, end)
      if (!sink.writable) this.blocked = true
    } else if (!this.stream.sendBody(bytes, start, end)) this.blocked = true
  }

  protected setReading(on: boolean): void {
    if (this.released) return
    if (on) this.stream.readEnable()
    else this.stream.readDisable()
  }

  protected finish(): void {
    if (this.released) return
    if (this.isConnect) this.stream.sink.end()
    else this.stream.sendEnd('')
    if (this.peerEnded) this.over(true)
  }

  protected drop(): void {
    this.over(this.ended && this.peerEnded && this.closeReason === '')
  }

  /** The stream goes back; `onClose` follows in a later turn. */
  private over(complete: boolean): void {
    if (!this.released) {
      this.released = true
      this.stream.release(complete)
    }
    setImmediate(closed, this)
  }

  /** For `closed`. */
  leave(): void {
    this.gone()
  }

  // ---- Exchange --------------------------------------------------------------------------------------------------------

  onInformational(): void {}

  onResponse(): void {
    const { asker, stream } = this
    this.asker = null
    if (asker === null) return
    const { status } = stream
    if (status >= 200 && status < 300) {
      if (this.isConnect) stream.openTunnel()
      else stream.takeHopByHop()
      asker.onTunnelAnswered(this)
      return
    }
    this.refused(asker, status, 0, '')
  }

  private refused(asker: TunnelAsker, status: number, reason: number, detail: string): void {
    this.released = true
    if (status !== 0) this.stream.release(false)
    this.destroy('refused')
    asker.onTunnelRefused(status, reason, detail)
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    this.onTunnelData(bytes, start, end)
  }

  onTunnelData(bytes: Buffer, start: number, end: number): void {
    if (this.released) return
    // Owners may put a sentinel behind what they are given, where something else may begin.
    const copy = Buffer.allocUnsafe(end - start + 1)
    bytes.copy(copy, 0, start, end)
    this.deliver(copy, end - start)
  }

  /** Trailers say nothing to a tunnel. */
  onResponseEnd(_trailers: HeaderMap | null): void {
    this.onUpstreamEnd()
  }

  onUpstreamEnd(): void {
    const { asker } = this
    this.asker = null
    if (asker !== null) return
    this.peerFinished()
    if (this.ended && this.peerEnded) this.over(true)
  }

  onResponseError(_code: number): void {
    if (!this.released) this.stream.protocolError()
  }

  onNothingWritten(detail: string): void {
    this.onUpstreamReset(0, detail)
  }

  onUpstreamReset(reason: number, detail: string): void {
    const { asker } = this
    this.asker = null
    if (asker !== null) {
      this.refused(asker, 0, reason, detail)
      return
    }
    this.released = true
    if (this.closeReason === '') this.closeReason = 'tunnel_reset'
    setImmediate(closed, this)
  }

  onUpstreamWritable(): void {
    this.unblock()
  }
}

function closed(c: HttpTunnelConnection): void {
  c.leave()
}
