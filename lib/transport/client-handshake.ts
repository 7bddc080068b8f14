// Hot lane: the client's side of a TLS handshake on a connected socket. Once for each connection.
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import type { ClientTls, Session, UpstreamProtocol } from './client-tls.ts'
import { NOBODY } from './connection.ts'
import { type HandshakeFailure, type HandshakeOwner, OUR_FAULT } from './handshake.ts'
import type { Io } from './io.ts'
import { TlsConnection } from './tls-connection.ts'

export class ClientHandshake {
  private readonly io: Io
  private readonly socket: tls.TLSSocket
  private readonly context: ClientTls
  private readonly host: string
  private readonly owner: HandshakeOwner
  private readonly endpoint: string
  private readonly session: Session | null
  private done: boolean

  /** Begins at once; how long it may take is the owner's affair. `socket`: a socket, or another stream of bytes. `host`: for autoSni. `endpoint`: `ip:port`. */
  constructor(
    io: Io,
    socket: Duplex,
    context: ClientTls,
    protocol: UpstreamProtocol,
    host: string,
    endpoint: string,
    owner: HandshakeOwner,
  ) {
    this.io = io
    this.context = context
    this.host = host
    this.endpoint = endpoint
    this.owner = owner
    this.done = false
    this.session = context.sessionFor(host, endpoint, io.clock.wallMs)
    this.socket = tls.connect({
      ...context.options(protocol, host, this.session),
      socket,
      allowHalfOpen: true,
    } as tls.ConnectionOptions)
    this.socket.on('secureConnect', () => this.guarded(() => this.secure()))
    this.socket.on('error', this.onError)
    this.socket.on('close', this.onClose)
  }

  private readonly onError = (error: NodeJS.ErrnoException): void =>
    this.guarded(() => this.fail(this.context.failureOf(this.socket, this.host, error)))

  private readonly onClose = (): void => this.guarded(() => this.fail(this.context.failureOf(this.socket, this.host, null)))

  /** What is thrown over a peer's certificate costs its connection, not the worker. */
  private guarded(body: () => void): void {
    if (!this.io.run('handshake', body)) this.fail(OUR_FAULT)
  }

  private secure(): void {
    if (this.done) return
    const { io, socket } = this
    const verdict = this.context.verify(socket, this.host, this.session, io.clock.wallMs)
    if (!verdict.ok) {
      this.fail(verdict.failure)
      return
    }
    this.done = true
    const { facts, notAfterMs } = verdict
    const { context, host, endpoint } = this
    if (facts.version !== 'TLSv1.3') {
      const ticket = socket.getSession()
      if (ticket !== undefined) context.remember(ticket, facts, notAfterMs, host, endpoint)
    }
    // Tickets of TLS 1.3 come behind the handshake, when the connection has another owner.
    else socket.on('session', (ticket: Buffer) => context.remember(ticket, facts, notAfterMs, host, endpoint))
    socket.off('error', this.onError)
    socket.off('close', this.onClose)
    const went = io.run('handshake', () => this.owner.onSecure(new TlsConnection(io, socket, facts, context.side, NOBODY)))
    if (!went) socket.destroy()
  }

  private fail(failure: HandshakeFailure): void {
    if (this.done) return
    this.cancel()
    this.io.run('handshake', () => this.owner.onHandshakeFailed(failure))
  }

  /** Nobody waits for it any more; harmless once it is done. */
  cancel(): void {
    if (this.done) return
    this.done = true
    // What comes later is of no interest; an error without a listener would end the process.
    this.socket.on('error', () => {})
    this.socket.destroy()
  }
}
