// Hot lane: the server's end of HBONE in a pod: one mTLS connection of another proxy, whose CONNECT streams are connections to the pod's application.
import type net from 'node:net'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { decideInbound } from '../decide/tunnel/inbound.ts'
import type { InboundDecision } from '../decide/tunnel/inbound-decision.ts'
import type { IpPort } from '../decide/tunnel/outbound-decision.ts'
import { forwardedHost } from '../decide/tunnel/tunnel-headers.ts'
import { SERVER_OPTIONS } from '../hbone/options.ts'
import { traceIdOf } from '../hbone/trace-context.ts'
import { TunnelConnection } from '../hbone/tunnel-connection.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../http/h2/server-connection.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import { addressText } from '../state/network-address.ts'
import { peerIdentityOf } from '../state/peer-identity.ts'
import { workloadIdentity } from '../state/workload.ts'
import { NOBODY } from '../transport/connection.ts'
import type { HandshakeFailure, HandshakeOwner } from '../transport/handshake.ts'
import { ServerHandshake } from '../transport/server-handshake.ts'
import type { TlsConnection } from '../transport/tls-connection.ts'
import { ConnectionRecord } from './connection-record.ts'
import { InboundSession } from './inbound-session.ts'
import type { IdentityWaiter } from './node-tunnel.ts'
import type { PodTunnel } from './pod-tunnel.ts'

/** ztunnel's. */
const IDENTITY_MS = 5000

const ignore = (): void => {}

export class InboundTunnel implements HandshakeOwner, Http2ServerEvents, DeadlineOwner, IdentityWaiter {
  private readonly pod: PodTunnel
  private readonly socket: net.Socket
  private readonly peer: IpPort
  /** Where it came to: an address of the pod. */
  private readonly local: IpPort
  private readonly deadline: Deadline
  private handshake: ServerHandshake | null
  private connection: TlsConnection | null
  private codec: Http2ServerConnection | null
  private draining: boolean

  /** Owns the socket from now on; the handshake begins. */
  constructor(pod: PodTunnel, socket: net.Socket, peer: IpPort, local: IpPort) {
    this.pod = pod
    this.socket = socket
    this.peer = peer
    this.local = local
    this.deadline = new Deadline(this, 0)
    this.handshake = null
    this.connection = null
    this.codec = null
    this.draining = false
  }

  /** Now, or as soon as it is known who the pod is and its certificate is there: what is told of a mesh does not reach all nodes at once. */
  begin(): void {
    if (this.beginHandshake()) return
    const { pod, socket } = this
    pod.tunnel.waitForIdentity(this)
    pod.parts.io.timers.arm(this.deadline, IDENTITY_MS)
    socket.on('error', ignore)
    socket.on('close', this.onGone)
  }

  private beginHandshake(): boolean {
    const { io } = this.pod.parts
    const tls = this.pod.serverTls()
    const context = tls === null ? null : io.tls.server(tls)
    if (context === null) return false
    io.timers.cancel(this.deadline)
    this.handshake = new ServerHandshake(io, this.socket, context, this)
    return true
  }

  identityMayBeKnown(): void {
    const { socket } = this
    this.stopWaiting()
    if (this.beginHandshake()) {
      socket.off('error', ignore)
      return
    }
    this.pod.tunnel.waitForIdentity(this)
    socket.on('close', this.onGone)
  }

  onDeadline(): void {
    const tls = this.pod.serverTls()
    this.stopWaiting()
    const whose = tls === null ? 'the workload is not known' : `the certificate ${tls.certificate} is not there yet`
    this.refuse(`identity error: ${whose}`, 'IDENTITY_ERROR')
    this.socket.destroy()
  }

  abandon(): void {
    this.socket.destroy()
  }

  private readonly onGone = (): void => {
    this.pod.parts.io.timers.cancel(this.deadline)
    this.stopWaiting()
    this.pod.tunnelOver(this)
  }

  private stopWaiting(): void {
    this.pod.tunnel.stopWaiting(this)
    this.socket.off('close', this.onGone)
  }

  onSecure(connection: TlsConnection): void {
    this.handshake = null
    this.connection = connection
    this.codec = new Http2ServerConnection(connection, this, SERVER_OPTIONS)
    connection.owner = this.codec
    connection.gathers = true
    if (this.draining) this.codec.shutdown()
  }

  onHandshakeFailed(failure: HandshakeFailure): void {
    const { parts } = this.pod
    parts.io.tls.report('server', addressText(this.peer.ip, this.peer.port), failure)
    this.refuse(`tls error: ${failure.text}`, 'TLS_FAILURE')
  }

  /** It did not come to a stream. */
  private refuse(error: string, flag: 'TLS_FAILURE' | 'IDENTITY_ERROR'): void {
    const { pod, peer } = this
    const record = new ConnectionRecord(pod.parts, 'inbound', addressText(peer.ip, peer.port), '')
    record.destination = pod.local
    record.failed(error, flag)
    record.finish(0, 0)
    pod.tunnelOver(this)
  }

  get streams(): number {
    return this.codec === null ? 0 : this.codec.streams.size
  }

  /** GOAWAY; streams go on. */
  drain(): void {
    this.draining = true
    this.codec?.shutdown()
  }

  cut(): void {
    if (this.connection !== null) this.connection.destroy('drain_deadline')
    else {
      this.handshake?.cancel()
      this.socket.destroy()
    }
  }

  // ---- Http2ServerEvents -----------------------------------------------------------------------------------------------

  onRequest(stream: Http2Stream): void {
    const { pod, peer, local, connection } = this
    if (connection === null) return
    const { parts, tunnel } = pod
    const record = new ConnectionRecord(
      parts,
      'inbound',
      addressText(peer.ip, peer.port),
      traceIdOf(stream.headers.get('traceparent')),
    )
    const identity = connection.tls?.peerIdentity ?? ''
    record.sourceIdentity = identity
    const decision = decideInbound(tunnel.index, tunnel.authorizer, {
      method: stream.method,
      authority: stream.authority,
      local: pod.local,
      localInfo: pod.config,
      source: peer,
      destination: local,
      ownPorts: tunnel.ownPorts,
      keepSource: parts.config.keepSource,
      localTunnel: parts.config.localTunnel,
      identity: identity === '' ? null : peerIdentityOf(identity),
      forwardedNetwork: stream.headers.get('x-forwarded-network') ?? '',
      forwardedHost: forwardedHost(stream.headers.get('forwarded') ?? ''),
    })
    note(record, decision, stream.authority)
    if (decision.verdict === 'refuse') {
      this.answer(stream, record, decision.status, decision.error, decision.flag)
      return
    }
    if (!pod.takePlace()) {
      this.answer(stream, record, 503, 'too many connections: limits.maxConnections', 'CONNECT')
      return
    }
    record.opened()
    const inner = new TunnelConnection(stream, NOBODY, connection.peerAddress, connection.localAddress, connection.tls)
    inner.originalDst = stream.authority
    pod.sessionBegun(new InboundSession(pod, inner, stream, record, decision), true)
  }

  onRefusedRequest(stream: Http2Stream): void {
    const { pod, peer } = this
    const record = new ConnectionRecord(pod.parts, 'inbound', addressText(peer.ip, peer.port), '')
    this.answer(stream, record, 400, `malformed request (fault ${stream.fault})`, '')
  }

  private answer(
    stream: Http2Stream,
    record: ConnectionRecord,
    status: number,
    error: string,
    flag: ConnectionRecord['flag'],
  ): void {
    stream.sendHeaders(status, '', true)
    stream.stopReceiving()
    record.failed(error, flag)
    record.finish(0, 0)
  }

  onSettings(): void {}

  onStreamClosed(stream: Http2Stream): void {
    if (stream.events instanceof TunnelConnection) stream.events.onStreamClosed()
  }

  onGoaway(): void {}

  onConnectionError(): void {
    this.pod.parts.stats.connectionCut('http2_protocol_error')
  }

  onClose(): void {
    this.pod.tunnelOver(this)
  }
}

/** What the decision says of who is at the two ends. */
export function note(record: ConnectionRecord, decision: InboundDecision, authority: string): void {
  const { target, workload } = decision
  record.inbound = decision
  record.source = decision.source
  record.service = decision.service
  record.destination = workload
  record.hboneAddress = authority
  if (target !== null) record.destinationAddress = addressText(target.ip, target.port)
  if (record.sourceIdentity !== '' && workload !== null) record.destinationIdentity = workloadIdentity(workload)
}
