// Hot lane: after a 101, or the 200 of a CONNECT, there is no HTTP any more: bytes both ways, each direction ends by itself (RFC 9110 §7.8,
// §9.3.6).

import type { HeaderMap } from '../../http/header-map.ts'
import * as F from '../../telemetry/response-flags.ts'
import type { ByteSink } from '../../transport/connection.ts'
import type { HttpStream } from './http-stream.ts'

/** Who holds the upstream's connection: an attempt whose request was an Upgrade, or a CONNECT. */
export interface TunnelHolder {
  pause(): void
  resume(): void
  /** Gives the connection up. One that has ended both ways still sends what is queued. */
  cancel(): void
}

export class Tunnel {
  private readonly stream: HttpStream
  private readonly holder: TunnelHolder
  private readonly upstream: ByteSink
  private downstreamEnded: boolean
  private upstreamEnded: boolean
  private over: boolean

  constructor(stream: HttpStream, holder: TunnelHolder, upstream: ByteSink) {
    this.stream = stream
    this.holder = holder
    this.upstream = upstream
    this.downstreamEnded = false
    this.upstreamEnded = false
    this.over = false
  }

  /** Says `status` to the client; from here on the session brings its bytes to `onDownstreamData`. */
  open(status: number, headers: HeaderMap): void {
    const { stream } = this
    stream.state = 1
    stream.manager.values[stream.manager.stats.cxUpgradesActive]!++
    stream.responseWireBytes += stream.session.openTunnel(status, headers, this)
  }

  onDownstreamData(bytes: Buffer, start: number, end: number): void {
    if (this.over) return
    this.stream.bytesReceived += end - start
    this.upstream.writeBytes(bytes, start, end)
    if (!this.upstream.writable) this.stream.session.pause()
  }

  onUpstreamData(bytes: Buffer, start: number, end: number): void {
    if (this.over) return
    this.stream.bytesSent += end - start
    const c = this.stream.session.sink
    c.writeBytes(bytes, start, end)
    if (!c.writable) this.holder.pause()
  }

  onUpstreamWritable(): void {
    this.stream.session.unpause()
  }

  onDownstreamWritable(): void {
    this.holder.resume()
  }

  onDownstreamEnd(): void {
    this.downstreamEnded = true
    // Who ends first is who is logged (Envoy logs DC for an upgraded stream that the client ends).
    if (!this.upstreamEnded) {
      this.stream.responseFlags |= F.DC
      this.stream.responseCodeDetails = 'downstream_remote_disconnect'
    }
    this.upstream.end()
    if (this.upstreamEnded) this.close('')
  }

  onUpstreamEnd(): void {
    this.upstreamEnded = true
    this.stream.session.sink.end()
    if (this.downstreamEnded) this.close('')
  }

  /** The client's connection is gone. */
  onDownstreamClosed(): void {
    if (this.over) return
    if (!this.upstreamEnded) {
      this.stream.responseFlags |= F.DC
      this.stream.responseCodeDetails = 'downstream_remote_disconnect'
    }
    this.close('')
  }

  onUpstreamReset(): void {
    if (this.over) return
    this.upstreamEnded = true
    this.close('upstream_reset')
  }

  /** Ends both sides. `reason` is empty for an orderly end. */
  close(reason: string): void {
    if (this.over) return
    this.over = true
    const { stream } = this
    stream.manager.values[stream.manager.stats.cxUpgradesActive]!--
    this.holder.cancel()
    if (reason !== '') stream.manager.worker.connectionCut(reason)
    stream.finishTunnel()
  }
}
