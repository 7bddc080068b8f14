// A tunnel inside of a tunnel: to a workload of another network, whose gateway ends the outer one only. TLS and HTTP/2 once more, for one CONNECT: it is
// never shared, since the gateway has chosen a workload for this stream alone.
import { Http2ClientConnection } from '../http/h2/client-connection.ts'
import type { Http2Events } from '../http/h2/http2-connection.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import { HeaderMap } from '../http/header-map.ts'
import type { UpstreamTls } from '../state/tls.ts'
import { ClientHandshake } from '../transport/client-handshake.ts'
import { type Connection, NOBODY } from '../transport/connection.ts'
import { ConnectionDuplex } from '../transport/connection-duplex.ts'
import type { HandshakeFailure, HandshakeOwner } from '../transport/handshake.ts'
import type { TlsConnection } from '../transport/tls-connection.ts'
import { CLIENT_OPTIONS } from './options.ts'
import type { PendingTunnel, TunnelFailure, TunnelOwner, TunnelRequest } from './tunnel-client.ts'
import { TunnelConnection } from './tunnel-connection.ts'
import { TunnelOpening } from './tunnel-opening.ts'

const NO_HEADERS = new HeaderMap()

export class InnerTunnel implements HandshakeOwner, Http2Events {
  private readonly outer: Connection
  private readonly pending: PendingTunnel
  private readonly handshake: ClientHandshake | null
  private http2: Http2ClientConnection | null
  private done: boolean

  /**
   * Begins at once, over a tunnel that is open; how long it may take is the owner's affair. Of `request` the route says nothing but in `tls`, which is
   * `tls` here. `owner`: as of `TunnelClient.open`.
   */
  constructor(outer: Connection, tls: UpstreamTls, request: TunnelRequest, owner: TunnelOwner) {
    const { io } = outer
    this.outer = outer
    this.http2 = null
    this.done = false
    this.pending = { request, owner, cancelled: false, tries: 1, link: null, stream: null }
    const context = io.tls.client(tls)
    const duplex = new ConnectionDuplex(outer)
    this.handshake =
      context === null
        ? null
        : new ClientHandshake(io, duplex, context, 'http2', '', `${request.authority} through a gateway`, this)
    if (context === null)
      setImmediate(() => io.run('tunnel', () => this.fail('certificate', `the certificate ${tls.certificate} is not there yet`)))
  }

  /** Nobody waits for it any more; harmless once it is answered. */
  cancel(): void {
    if (this.done) return
    this.done = true
    this.pending.cancelled = true
    this.handshake?.cancel()
    this.outer.destroy('')
  }

  onSecure(connection: TlsConnection): void {
    const { pending } = this
    if (this.done) {
      connection.destroy('')
      return
    }
    this.http2 = new Http2ClientConnection(connection, this, CLIENT_OPTIONS)
    connection.owner = this.http2
    const { outer } = this
    const opened = (stream: Http2Stream): void => {
      this.done = true
      pending.owner.onTunnelOpen(new TunnelConnection(stream, NOBODY, outer.peerAddress, outer.localAddress, connection.tls))
    }
    const opening = new TunnelOpening(pending, this, opened)
    const { authority, fields } = pending.request
    pending.stream = this.http2.request(opening, 'CONNECT', '', authority, '', '', NO_HEADERS, fields, '', false)
    // It ends with this one stream.
    this.http2.retire()
  }

  onHandshakeFailed(failure: HandshakeFailure): void {
    this.outer.io.tls.report('client', `${this.pending.request.authority} through ${this.outer.peerAddress}`, failure)
    this.fail('tls', `tls error: ${failure.text}`)
  }

  /** The workload has not looked at it. Another one would be another outer tunnel, and that is the owner's to open. */
  again(_pending: PendingTunnel, text: string): void {
    this.fail('http2', text)
  }

  private fail(failure: TunnelFailure, text: string): void {
    if (this.done) return
    this.done = true
    this.outer.destroy('')
    this.pending.owner.onTunnelFailed(failure, 0, text)
  }

  // ---- Http2Events -----------------------------------------------------------------------------------------------------

  onSettings(): void {}

  onStreamClosed(stream: Http2Stream): void {
    if (stream.events instanceof TunnelConnection) stream.events.onStreamClosed()
  }

  onGoaway(): void {}

  onConnectionError(): void {}

  onClose(): void {}
}
