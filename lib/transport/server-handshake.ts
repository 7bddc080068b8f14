// Hot lane: the server's side of a TLS handshake on an accepted socket. Once for each connection.
import type net from 'node:net'
import tls from 'node:tls'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { NOBODY } from './connection.ts'
import { type HandshakeFailure, type HandshakeOwner, OUR_FAULT } from './handshake.ts'
import type { Io } from './io.ts'
import type { ServerTls } from './server-tls.ts'
import { TlsConnection } from './tls-connection.ts'

export class ServerHandshake implements DeadlineOwner {
  private readonly io: Io
  private readonly socket: tls.TLSSocket
  private readonly context: ServerTls
  private readonly owner: HandshakeOwner
  private readonly deadline: Deadline
  private done: boolean

  /** Begins at once. `socket`: what was read of it is in its buffer again. */
  constructor(io: Io, socket: net.Socket, context: ServerTls, owner: HandshakeOwner) {
    this.io = io
    this.context = context
    this.owner = owner
    this.done = false
    this.deadline = new Deadline(this, 0)
    this.socket = new tls.TLSSocket(socket, { ...context.options, allowHalfOpen: true } as tls.TLSSocketOptions)
    this.socket.on('secure', this.onSecure)
    this.socket.on('error', this.onError)
    this.socket.on('close', this.onClose)
    // Half-open sockets stay when the peer has gone.
    this.socket.on('end', this.onClose)
    io.timers.arm(this.deadline, context.config.handshakeTimeoutMs)
  }

  private readonly onError = (error: NodeJS.ErrnoException): void =>
    this.guarded(() => this.fail(this.context.failureOf(this.socket, error)))

  private readonly onClose = (): void => this.guarded(() => this.fail(this.context.failureOf(this.socket, null)))

  private readonly onSecure = (): void => this.guarded(() => this.secure())

  /** What is thrown over a peer's certificate costs its connection, not the worker. */
  private guarded(body: () => void): void {
    if (!this.io.run('handshake', body)) this.fail(OUR_FAULT)
  }

  private secure(): void {
    if (this.done) return
    const verdict = this.context.verify(this.socket, this.io.clock.wallMs)
    if (!verdict.ok) {
      this.fail(verdict.failure)
      return
    }
    this.end()
    this.socket.off('secure', this.onSecure)
    this.socket.off('error', this.onError)
    this.socket.off('close', this.onClose)
    this.socket.off('end', this.onClose)
    const went = this.io.run('handshake', () =>
      this.owner.onSecure(new TlsConnection(this.io, this.socket, verdict.facts, this.context.side, NOBODY)),
    )
    if (!went) this.socket.destroy()
  }

  private fail(failure: HandshakeFailure): void {
    if (this.done) return
    this.end()
    // What comes later is of no interest; an error without a listener would end the process.
    this.socket.on('error', () => {})
    this.socket.destroy()
    this.io.run('handshake', () => this.owner.onHandshakeFailed(failure))
  }

  onDeadline(): void {
    this.fail({
      reason: 'timeout',
      text: `the handshake took longer than ${this.context.config.handshakeTimeoutMs / 1000} s`,
      details: {},
    })
  }

  abandon(): void {
    this.cancel()
  }

  cancel(): void {
    if (this.done) return
    this.end()
    this.socket.on('error', () => {})
    this.socket.destroy()
  }

  private end(): void {
    this.done = true
    this.io.timers.cancel(this.deadline)
  }
}
