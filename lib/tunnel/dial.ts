// Hot lane: one TCP connection from inside of a pod's network namespace, within a timeout.
import type net from 'node:net'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import type { IpPort } from '../decide/tunnel/outbound-decision.ts'
import { connectFrom, type OutboundOptions } from '../sys/outbound-socket.ts'
import { NOBODY } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import { SocketConnection } from '../transport/socket-connection.ts'

/** Exactly one of the two is called, in a later turn, unless it is cancelled. */
export interface DialOwner {
  /** The connection is the owner's, who makes itself its owner at once. */
  onDialled(connection: SocketConnection): void
  /** `why`: `ECONNREFUSED`, `timed out`. */
  onDialFailed(why: string): void
}

export const DIAL_MS = 10_000
/** ztunnel's: 180 s idle. */
export const KEEPALIVE_MS = 180_000

export class Dial implements DeadlineOwner {
  private readonly io: Io
  private readonly owner: DialOwner
  private readonly deadline: Deadline
  private readonly socket: net.Socket
  private done: boolean

  /** Begins at once. */
  constructor(io: Io, options: OutboundOptions, to: IpPort, owner: DialOwner) {
    this.io = io
    this.owner = owner
    this.deadline = new Deadline(this, 0)
    this.done = false
    this.socket = connectFrom(options, to.ip, to.port)
    this.socket.on('connect', () => this.io.run('connect', () => this.connected()))
    this.socket.on('error', (error: NodeJS.ErrnoException) =>
      this.io.run('connect', () => this.fail(error.code ?? error.message)),
    )
    io.timers.arm(this.deadline, DIAL_MS)
  }

  private connected(): void {
    if (this.over()) return
    this.socket.setKeepAlive(true, KEEPALIVE_MS)
    this.owner.onDialled(new SocketConnection(this.io, this.socket, NOBODY))
  }

  private fail(why: string): void {
    if (this.over()) return
    this.socket.destroy()
    this.owner.onDialFailed(why)
  }

  onDeadline(): void {
    this.fail('timed out')
  }

  abandon(): void {
    this.cancel()
  }

  /** Nobody waits for it any more; harmless once it is over. */
  cancel(): void {
    if (!this.over()) this.socket.destroy()
  }

  /** True: it was over already. */
  private over(): boolean {
    if (this.done) return true
    this.done = true
    this.io.timers.cancel(this.deadline)
    return false
  }
}
