// Hot lane: one attempt to connect to an endpoint, with its timeout; the pool's connections and raw ones are made by it.
import net from 'node:net'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { type Connection, NOBODY } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import { type Keepalive, setKeepalive } from '../transport/keepalive.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { RESET_CONNECT_FAILURE, RESET_CONNECT_TIMEOUT } from './exchange.ts'

/** Exactly one of the two is called, in a later turn, unless the attempt is cancelled. */
export interface ConnectOwner {
  /** The connection is the owner's from now on, who makes itself its owner at once. */
  onConnected(connector: Connector, connection: Connection): void
  /** `reason` is one of the two connect resets of exchange.ts, `detail` the transport's words. */
  onConnectFailed(connector: Connector, reason: number, detail: string): void
}

export interface ConnectTarget {
  readonly io: Io
  readonly address: string
  readonly port: number
  readonly settings: { readonly connectTimeoutMs: number; readonly keepalive: Keepalive | null }
}

export class Connector implements DeadlineOwner {
  private readonly owner: ConnectOwner
  private readonly io: Io
  private readonly socket: net.Socket
  private readonly deadline: Deadline
  private done: boolean

  /** Begins at once. */
  constructor(target: ConnectTarget, owner: ConnectOwner) {
    const { io, settings } = target
    this.owner = owner
    this.io = io
    this.done = false
    this.deadline = new Deadline(this, 0)
    this.socket = net.connect({
      host: target.address,
      port: target.port,
      noDelay: true,
      allowHalfOpen: true,
    })
    const { keepalive } = settings
    this.socket.on('connect', () => {
      if (keepalive !== null) setKeepalive(this.socket, keepalive)
      this.finish('')
    })
    this.socket.on('error', (e: NodeJS.ErrnoException) => this.finish(connectErrorText(e.code ?? e.message)))
    if (settings.connectTimeoutMs > 0) io.timers.arm(this.deadline, settings.connectTimeoutMs)
  }

  /** `failure` is empty when the connection is there. */
  private finish(failure: string): void {
    if (this.done) return
    this.done = true
    const went = this.io.run('connect', () => {
      this.io.timers.cancel(this.deadline)
      if (failure === '') this.owner.onConnected(this, new SocketConnection(this.io, this.socket, NOBODY))
      else this.owner.onConnectFailed(this, RESET_CONNECT_FAILURE, failure)
    })
    if (!went) this.abandon()
  }

  /** A mistake in the owner costs this connection. */
  abandon(): void {
    this.socket.destroy()
  }

  onDeadline(): void {
    if (this.done) return
    this.done = true
    this.socket.destroy()
    this.owner.onConnectFailed(this, RESET_CONNECT_TIMEOUT, '')
  }

  /** Nobody waits for it any more. False when it is over already. */
  cancel(): boolean {
    if (this.done) return false
    this.done = true
    this.io.timers.cancel(this.deadline)
    this.socket.destroy()
    return true
  }
}

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Connection refused',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  ETIMEDOUT: 'Connection timed out',
  ECONNRESET: 'Connection reset by peer',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  EMFILE: 'Too many open files',
  EACCES: 'Permission denied',
}

/** As Envoy words a failed connect (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`). */
function connectErrorText(code: string): string {
  return `delayed connect error: ${ERRNO_TEXTS[code] ?? code}`
}
