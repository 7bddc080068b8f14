// Hot lane: one raw connection to an endpoint, for TCP proxying and CONNECT: made once, never pooled, counted against the same limits.
import net from 'node:net'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { RESET_CONNECT_FAILURE, RESET_CONNECT_TIMEOUT, RESET_OVERFLOW } from './exchange.ts'
import { connectErrorText, type HostPool } from './host-pool.ts'
import { CONNECTIONS } from './limiter.ts'

export interface TcpConnectOwner {
  /** The caller makes a Connection of it. Afterwards `release` is to be called once, at its end. */
  onTcpConnected(socket: net.Socket): void
  onTcpFailed(reason: number, detail: string): void
}

export class TcpConnector implements DeadlineOwner {
  private readonly pool: HostPool
  private readonly owner: TcpConnectOwner
  private readonly deadline: Deadline
  private socket: net.Socket | null
  private done: boolean
  private counted: boolean

  constructor(pool: HostPool, owner: TcpConnectOwner) {
    this.pool = pool
    this.owner = owner
    this.deadline = new Deadline(this, 0)
    this.socket = null
    this.done = false
    this.counted = false
  }

  start(): void {
    const { pool } = this
    if (!pool.limiter.take(CONNECTIONS)) {
      pool.values[pool.stats.cxOverflow]!++
      this.done = true
      this.owner.onTcpFailed(RESET_OVERFLOW, '')
      return
    }
    this.counted = true
    const { tcpKeepaliveSeconds, connectTimeoutMs } = pool.settings
    this.socket = net.connect({
      host: pool.address,
      port: pool.port,
      noDelay: true,
      allowHalfOpen: true,
      keepAlive: tcpKeepaliveSeconds > 0,
      keepAliveInitialDelay: tcpKeepaliveSeconds * 1000,
    })
    this.socket.on('connect', () => this.finish(true, ''))
    this.socket.on('error', (e: NodeJS.ErrnoException) => this.finish(false, connectErrorText(e.code ?? e.message)))
    if (connectTimeoutMs > 0) pool.io.timers.arm(this.deadline, connectTimeoutMs)
  }

  private finish(connected: boolean, detail: string): void {
    const { pool, socket } = this
    if (this.done || socket === null) return
    this.done = true
    const went = pool.io.run('connect', () => {
      pool.io.timers.cancel(this.deadline)
      if (connected) {
        pool.connections++
        pool.requestsTotal++
        pool.values[pool.stats.cxTotal]!++
        pool.values[pool.stats.cxActive]!++
        this.owner.onTcpConnected(socket)
      } else this.fail(RESET_CONNECT_FAILURE, detail)
    })
    if (!went) this.abandon()
  }

  abandon(): void {
    this.socket?.destroy()
  }

  private fail(reason: number, detail: string): void {
    const { pool } = this
    pool.connectFailures++
    pool.values[pool.stats.cxConnectFail]!++
    if (reason === RESET_CONNECT_TIMEOUT) pool.values[pool.stats.cxConnectTimeout]!++
    this.giveBack()
    this.owner.onTcpFailed(reason, detail)
  }

  onDeadline(): void {
    if (this.done) return
    this.done = true
    this.socket?.destroy()
    this.fail(RESET_CONNECT_TIMEOUT, '')
  }

  /** The session is over. */
  release(bytesRead: number, bytesWritten: number): void {
    const { pool } = this
    pool.connections--
    pool.values[pool.stats.cxActive]!--
    pool.values[pool.stats.cxDestroy]!++
    pool.values[pool.stats.cxRxBytes]! += bytesRead
    pool.values[pool.stats.cxTxBytes]! += bytesWritten
    this.giveBack()
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    if (this.done) return
    this.done = true
    this.pool.io.timers.cancel(this.deadline)
    this.socket?.destroy()
    this.giveBack()
  }

  private giveBack(): void {
    if (!this.counted) return
    this.counted = false
    this.pool.limiter.give(CONNECTIONS)
  }
}
