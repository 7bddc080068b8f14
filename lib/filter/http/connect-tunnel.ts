// Hot lane: CONNECT (RFC 9110 §9.3.6): a raw connection to an endpoint of the service that the authority names, then a tunnel.
//
// CONNECTING → OPEN (200 sent, see tunnel.ts) → OVER. The request is routed as one for `/`; what is not a configured service is not reached.

import { ACTIVE } from '../../cluster/lb/host.ts'
import type { LiveHost } from '../../cluster/live-host.ts'
import * as D from '../../decide/decision.ts'
import * as S from '../../decide/steps.ts'
import { HeaderMap } from '../../http/header-map.ts'
import { type TcpConnectOwner, TcpConnector } from '../../pool/tcp-connector.ts'
import { NO_PORT, portOf } from '../../route/authority.ts'
import type { Connection, ConnectionOwner } from '../../transport/connection.ts'
import { resetReply } from '../../upstream/reset-reply.ts'
import type { Carrier, HttpStream } from './http-stream.ts'
import * as R from './reasons.ts'
import { noteFailedConnect, outcomeOf } from './router-terms.ts'
import { Tunnel, type TunnelHolder } from './tunnel.ts'

/** Why a CONNECT is not carried; null when its decision may be executed. */
export function connectRefusal(stream: HttpStream): R.Reason | null {
  const { decision } = stream
  if (!stream.manager.allowConnect) return R.CONNECT_REFUSED
  // RFC 9110 §9.3.6: the target has a port, and there is no default one.
  if (portOf(stream.authority) === NO_PORT) return R.MALFORMED
  if (decision.verdict === D.REDIRECT || decision.verdict === D.DIRECT_RESPONSE) return R.CONNECT_REFUSED
  // Pass-through would make an open proxy of us.
  if (decision.cluster !== null && decision.cluster.config.type === 'ORIGINAL_DST') return R.CONNECT_REFUSED
  return null
}

export class ConnectTunnel implements Carrier, TcpConnectOwner, ConnectionOwner, TunnelHolder {
  private readonly stream: HttpStream
  private readonly host: LiveHost
  private readonly connector: TcpConnector
  private connection: Connection | null
  private tunnel: Tunnel | null
  private paused: boolean

  constructor(stream: HttpStream) {
    this.stream = stream
    this.host = stream.decision.host as LiveHost
    this.connector = new TcpConnector(this.host.pool, this)
    this.connection = null
    this.tunnel = null
    this.paused = false
  }

  start(): void {
    const { stream } = this
    stream.attempts = 1
    stream.upstreamHost = this.host.address
    this.connector.start(stream.session.connection.peerAddress, stream.downstreamLocalAddress)
  }

  onTcpConnected(connection: Connection): void {
    const { stream, host } = this
    const { manager } = stream
    this.connection = connection
    connection.owner = this
    host.add(ACTIVE)
    if (host.detector !== null) host.detector.onTcpConnected()
    stream.upstreamLocalAddress = this.connection.localAddress
    stream.upstreamTls = this.connection.tls
    stream.responseCode = 200
    stream.responseCodeDetails = 'via_upstream'
    manager.steps.addTo(stream.decision.steps, S.ATTEMPT, 1, 200)
    const headers = new HeaderMap()
    headers.append('date', manager.io.clock.httpDate())
    headers.append('server', manager.serverName)
    stream.responseHeaders = headers
    this.tunnel = new Tunnel(stream, this, this.connection)
    this.tunnel.open(200, headers)
  }

  onTcpFailed(reason: number, detail: string): void {
    const { stream, host } = this
    stream.upstreamTransportFailureReason = detail
    noteFailedConnect(host, reason, this)
    stream.manager.steps.addTo(stream.decision.steps, S.ATTEMPT, 1, outcomeOf(reason))
    stream.reply(resetReply(reason, detail, false))
  }

  requestId(): string {
    return this.stream.requestHeader('x-request-id') ?? ''
  }

  // ---- Carrier: a CONNECT has no body; what follows it goes through the session to the tunnel -------------------------------

  onRequestBody(): void {}

  onRequestEnd(): void {}

  onDownstreamWritable(): void {
    if (this.tunnel !== null) this.tunnel.onDownstreamWritable()
  }

  stop(): void {
    if (this.connection === null) this.connector.cancel()
    else this.connection.destroy('')
  }

  // ---- TunnelHolder -------------------------------------------------------------------------------------------------------

  pause(): void {
    if (this.paused || this.connection === null) return
    this.paused = true
    this.connection.readDisable()
  }

  resume(): void {
    if (!this.paused || this.connection === null) return
    this.paused = false
    this.connection.readEnable()
  }

  cancel(): void {
    const c = this.connection
    // Ended both ways, it closes by itself once all has left.
    if (c !== null && (!c.ended || !c.peerEnded)) c.destroy('')
  }

  // ---- ConnectionOwner: the endpoint's side ----------------------------------------------------------------------------------

  onData(bytes: Buffer, length: number): void {
    if (this.tunnel !== null) this.tunnel.onUpstreamData(bytes, 0, length)
  }

  onEnd(): void {
    if (this.tunnel !== null) this.tunnel.onUpstreamEnd()
  }

  onWritable(): void {
    if (this.tunnel !== null) this.tunnel.onUpstreamWritable()
  }

  onClose(reason: string): void {
    const c = this.connection as Connection
    this.host.remove(ACTIVE)
    this.connector.release(c.bytesRead, c.bytesWritten)
    if (reason !== '' && this.tunnel !== null) this.tunnel.onUpstreamReset()
  }
}
