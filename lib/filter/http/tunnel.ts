// Hot lane: after a 101 there is no HTTP any more: bytes both ways, each direction ends by itself (RFC 9110 §7.8).
import type { HeaderMap } from '../../http/header-map.ts'
import type { UpstreamConnection } from '../../pool/upstream-connection.ts'
import * as F from '../../telemetry/response-flags.ts'
import type { UpstreamRequest } from '../../upstream/upstream-request.ts'
import { END_NONE } from '../../http/h1/server-codec.ts'
import type { HttpStream } from './http-stream.ts'

export class Tunnel {
  private readonly stream: HttpStream
  private readonly attempt: UpstreamRequest
  private readonly upstream: UpstreamConnection
  private downstreamEnded: boolean
  private upstreamEnded: boolean
  private over: boolean

  constructor(stream: HttpStream, attempt: UpstreamRequest, upstream: UpstreamConnection) {
    this.stream = stream
    this.attempt = attempt
    this.upstream = upstream
    this.downstreamEnded = false
    this.upstreamEnded = false
    this.over = false
  }

  /** Passes the 101 on; from here on the session brings its bytes to `onDownstreamData`. */
  open(headers: HeaderMap): void {
    const { stream } = this
    this.upstream.tunnel = true
    const fields = headers.serialise()
    stream.state = 1
    stream.responseWireBytes += fields.length
    stream.session.codec.sendHeaders(101, fields, END_NONE)
    stream.manager.values[stream.manager.stats.cxUpgradesActive]!++
    stream.session.becomeTunnel(this)
  }

  onDownstreamData(bytes: Buffer, start: number, end: number): void {
    if (this.over) return
    this.stream.bytesReceived += end - start
    const c = this.upstream.connection
    c.writeBytes(bytes, start, end)
    if (!c.writable) this.stream.session.pause()
  }

  onUpstreamData(bytes: Buffer, start: number, end: number): void {
    if (this.over) return
    this.stream.bytesSent += end - start
    const c = this.stream.session.connection
    c.writeBytes(bytes, start, end)
    if (!c.writable) this.attempt.pause()
  }

  onUpstreamWritable(): void {
    this.stream.session.unpause()
  }

  onDownstreamWritable(): void {
    this.attempt.resume()
  }

  onDownstreamEnd(): void {
    this.downstreamEnded = true
    // Who ends first is who is logged (Envoy logs DC for an upgraded stream that the client ends).
    if (!this.upstreamEnded) {
      this.stream.responseFlags |= F.DC
      this.stream.responseCodeDetails = 'downstream_remote_disconnect'
    }
    if (this.upstreamEnded) this.close('')
    else this.upstream.connection.end()
  }

  onUpstreamEnd(): void {
    this.upstreamEnded = true
    if (this.downstreamEnded) this.close('')
    else this.stream.session.connection.end()
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
    this.attempt.cancel()
    if (reason !== '') stream.manager.worker.connectionCut(reason)
    stream.finishTunnel()
  }
}
