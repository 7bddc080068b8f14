// Hot lane: one mTLS HTTP/2 connection to another proxy, with the tunnels that wait for it and those that it carries.
import type net from 'node:net'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { Http2ClientConnection } from '../http/h2/client-connection.ts'
import type { Http2Events } from '../http/h2/http2-connection.ts'
import type { Http2Stream } from '../http/h2/stream.ts'
import { HeaderMap } from '../http/header-map.ts'
import { connectFrom } from '../sys/outbound-socket.ts'
import { ClientHandshake } from '../transport/client-handshake.ts'
import type { HandshakeFailure, HandshakeOwner } from '../transport/handshake.ts'
import type { Io } from '../transport/io.ts'
import type { TlsConnection } from '../transport/tls-connection.ts'
import { CLIENT_OPTIONS } from './options.ts'
import type { PendingTunnel, TunnelClient, TunnelFailure, TunnelRoute } from './tunnel-client.ts'
import { TunnelConnection } from './tunnel-connection.ts'
import { TunnelOpening } from './tunnel-opening.ts'

const NO_FIELDS = new HeaderMap()

// CONNECTING → OPEN → LEAVING → GONE: LEAVING takes no further tunnels and goes with its last one.
const CONNECTING = 0
const OPEN = 1
const LEAVING = 2
const GONE = 3

export class TunnelLink implements Http2Events, HandshakeOwner, DeadlineOwner {
  private readonly io: Io
  private readonly route: TunnelRoute
  private readonly client: TunnelClient
  private readonly onGone: (link: TunnelLink) => void
  private readonly socket: net.Socket
  private readonly deadline: Deadline
  private handshake: ClientHandshake | null
  private http2: Http2ClientConnection | null
  private secure: TlsConnection | null
  private state: number
  private waiting: PendingTunnel[]
  private idleSinceMs: number
  /** It was told to take no more before it was there. */
  private retired: boolean

  /** Begins to connect. `onGone`: it takes no further tunnels. */
  constructor(io: Io, route: TunnelRoute, client: TunnelClient, onGone: (link: TunnelLink) => void) {
    this.io = io
    this.route = route
    this.client = client
    this.onGone = onGone
    this.deadline = new Deadline(this, 0)
    this.handshake = null
    this.http2 = null
    this.secure = null
    this.state = CONNECTING
    this.waiting = []
    this.idleSinceMs = io.clock.monotonicMs
    this.retired = false
    const { address, port } = route
    this.socket = connectFrom(route, address, port)
    this.socket.on('connect', () => io.run('connect', () => this.onSocketConnected()))
    this.socket.on('error', (e: NodeJS.ErrnoException) => {
      if (this.handshake === null)
        io.run('connect', () => this.fail('connect', `cannot connect to ${address}:${port}: ${e.code ?? e.message}`))
    })
    if (route.connectTimeoutMs > 0) io.timers.arm(this.deadline, route.connectTimeoutMs)
  }

  get hasRoom(): boolean {
    if (this.state === CONNECTING) return this.waiting.length < CLIENT_OPTIONS.maxConcurrentStreams
    return this.state === OPEN && this.http2 !== null && this.http2.hasRoom
  }

  idleMs(nowMs: number): number {
    if (this.state !== OPEN || this.http2 === null || this.http2.streams.size > 0) return 0
    return nowMs - this.idleSinceMs
  }

  take(pending: PendingTunnel): void {
    if (this.state === OPEN) this.begin(pending)
    else this.waiting.push(pending)
  }

  /** Before it was begun. */
  drop(pending: PendingTunnel): void {
    const i = this.waiting.indexOf(pending)
    if (i >= 0) this.waiting.splice(i, 1)
  }

  private onSocketConnected(): void {
    const { route, io } = this
    if (this.state !== CONNECTING) return
    this.socket.setNoDelay(true)
    this.socket.setKeepAlive(true, 180_000)
    const context = io.tls.client(route.tls)
    if (context === null) {
      this.fail('certificate', `the certificate ${route.tls.certificate} is not there yet`)
      return
    }
    const endpoint = `${route.address}:${route.port}`
    this.handshake = new ClientHandshake(io, this.socket, context, 'http2', '', endpoint, this)
  }

  onSecure(connection: TlsConnection): void {
    if (this.state !== CONNECTING) {
      connection.destroy('')
      return
    }
    this.io.timers.cancel(this.deadline)
    this.state = OPEN
    this.secure = connection
    this.http2 = new Http2ClientConnection(connection, this, CLIENT_OPTIONS)
    connection.owner = this.http2
    connection.gathers = true
    for (const pending of this.waiting.splice(0)) if (!pending.cancelled) this.begin(pending)
    if (this.retired) this.retire()
  }

  onHandshakeFailed(failure: HandshakeFailure): void {
    this.io.tls.report('client', `${this.route.address}:${this.route.port}`, failure)
    this.fail('tls', `tls error: ${failure.text}`)
  }

  private begin(pending: PendingTunnel): void {
    const { http2, secure } = this
    const { request, owner } = pending
    if (http2 === null || secure === null) return
    const opening = new TunnelOpening(pending, this.client, (stream) =>
      owner.onTunnelOpen(new TunnelConnection(stream, NOBODY_YET, secure.peerAddress, secure.localAddress, secure.tls)),
    )
    const stream = http2.request(opening, 'CONNECT', '', request.authority, '', '', NO_FIELDS, request.fields, '', false)
    // Its limit became smaller meanwhile.
    if (stream === null) this.client.again(pending, 'the other end takes no more streams')
    else pending.stream = stream
  }

  private fail(failure: TunnelFailure, text: string): void {
    if (this.state !== CONNECTING) return
    this.leave(GONE)
    this.io.timers.cancel(this.deadline)
    this.socket.destroy()
    for (const { owner, cancelled } of this.waiting.splice(0))
      if (!cancelled) this.io.run('tunnel', () => owner.onTunnelFailed(failure, 0, text))
  }

  onDeadline(): void {
    this.handshake?.cancel()
    const { address, port } = this.route
    this.fail('timeout', `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${port}: ${address}`)
  }

  abandon(): void {
    this.socket.destroy()
  }

  private leave(state: number): void {
    const before = this.state
    this.state = state
    if (before === CONNECTING || before === OPEN) this.onGone(this)
  }

  /** No further tunnels. */
  retire(): void {
    this.retired = true
    if (this.state !== OPEN) return
    this.leave(LEAVING)
    this.http2?.retire()
  }

  // ---- Http2Events -----------------------------------------------------------------------------------------------------

  onSettings(): void {}

  onStreamClosed(stream: Http2Stream): void {
    this.idleSinceMs = this.io.clock.monotonicMs
    if (stream.events instanceof TunnelConnection) stream.events.onStreamClosed()
  }

  onGoaway(): void {
    this.leave(LEAVING)
  }

  onConnectionError(): void {
    this.leave(LEAVING)
  }

  onClose(): void {
    this.leave(GONE)
  }
}

const NOBODY_YET = { onData: () => {}, onEnd: () => {}, onWritable: () => {}, onClose: () => {} }
