// Hot lane: the HTTP/1 connections to one endpoint of one cluster: idle ones, lent ones, and the requests that wait for one.
import type net from 'node:net'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { Io } from '../transport/io.ts'
import { type ConnectOwner, Connector } from './connector.ts'
import { type PoolWaiter, RESET_CONNECT_TIMEOUT, RESET_OVERFLOW } from './exchange.ts'
import { CONNECTIONS, type Limiter, PENDING, REQUESTS } from './limiter.ts'
import { UpstreamConnection } from './upstream-connection.ts'

/** What configuration says of a cluster's connections. Replaced, never edited; connections that are there stay. */
export interface PoolSettings {
  readonly connectTimeoutMs: number
  /** 0: never. */
  readonly idleTimeoutMs: number
  /** 0: no limit. */
  readonly maxRequestsPerConnection: number
  /** 0: no limit. */
  readonly maxConnectionDurationMs: number
  /** 0: no SO_KEEPALIVE. */
  readonly tcpKeepaliveSeconds: number
  readonly maxHeaders: number
  readonly maxHeaderBytes: number
}

/** A peer that says `timeout=5` closes after about 5 s: we stop using the connection this much earlier. */
const PEER_IDLE_MARGIN_MS = 1000

export class HostPool implements ConnectOwner {
  readonly io: Io
  readonly address: string
  readonly port: number
  readonly limiter: Limiter
  readonly stats: ClusterStats
  readonly values: Float64Array
  settings: PoolSettings
  /** Open connections, idle and lent. */
  connections: number
  requestsTotal: number
  connectFailures: number
  private readonly idle: UpstreamConnection[]
  private waiting: PoolWaiter[]
  private readonly connecting: Set<Connector>
  private draining: boolean

  constructor(
    io: Io,
    address: string,
    port: number,
    settings: PoolSettings,
    limiter: Limiter,
    stats: ClusterStats,
    values: Float64Array,
  ) {
    this.io = io
    this.address = address
    this.port = port
    this.settings = settings
    this.limiter = limiter
    this.stats = stats
    this.values = values
    this.connections = 0
    this.requestsTotal = 0
    this.connectFailures = 0
    this.idle = []
    this.waiting = []
    this.connecting = new Set()
    this.draining = false
  }

  get idleConnections(): number {
    return this.idle.length
  }

  /** Lends a connection to `waiter`, at once or when one is there. Exactly one of its two methods is called, perhaps before this returns. */
  acquire(waiter: PoolWaiter): void {
    const c = this.usable()
    if (c !== null) {
      this.lend(c, waiter)
      return
    }
    if (!this.limiter.take(PENDING)) {
      this.values[this.stats.rqPendingOverflow]!++
      waiter.onPoolFailure(RESET_OVERFLOW, '')
      return
    }
    this.values[this.stats.rqPendingTotal]!++
    this.values[this.stats.rqPendingActive]!++
    this.waiting.push(waiter)
    if (this.connecting.size < this.waiting.length) this.connect()
  }

  /** A waiter that does not want any more. */
  cancel(waiter: PoolWaiter): void {
    const i = this.waiting.indexOf(waiter)
    if (i < 0) return
    this.waiting.splice(i, 1)
    this.leftQueue()
  }

  private leftQueue(): void {
    this.limiter.give(PENDING)
    this.values[this.stats.rqPendingActive]!--
  }

  /** The connection used last: the others may age and go. */
  private usable(): UpstreamConnection | null {
    for (;;) {
      const c = this.idle.pop()
      if (c === undefined) return null
      if (c.doomed || c.connection.closed || c.connection.peerEnded) continue
      // The sweep comes once a second only; by now the peer may have said goodbye.
      if (!this.isStale(c)) return c
      this.expire(c)
    }
  }

  /** Idle for longer than we or the peer want. */
  private isStale(c: UpstreamConnection): boolean {
    const own = this.settings.idleTimeoutMs
    const peer = c.peerIdleMs === 0 ? 0 : Math.max(c.peerIdleMs - PEER_IDLE_MARGIN_MS, c.peerIdleMs / 2)
    const limit = own === 0 ? peer : peer === 0 ? own : Math.min(own, peer)
    return limit !== 0 && this.io.clock.monotonicMs - c.idleSinceMs >= limit
  }

  private expire(c: UpstreamConnection): void {
    this.values[this.stats.cxIdleTimeout]!++
    c.doomed = true
    c.connection.destroy('idle_timeout')
  }

  private lend(c: UpstreamConnection, waiter: PoolWaiter): void {
    if (!this.limiter.take(REQUESTS)) {
      this.idle.push(c)
      this.values[this.stats.rqPendingOverflow]!++
      waiter.onPoolFailure(RESET_OVERFLOW, '')
      return
    }
    this.requestsTotal++
    this.values[this.stats.rqTotal]!++
    this.values[this.stats.rqActive]!++
    waiter.onPoolReady(c)
  }

  /** By the request that had a connection, once, whatever became of it. */
  requestDone(): void {
    this.limiter.give(REQUESTS)
    this.values[this.stats.rqActive]!--
  }

  private connect(): void {
    if (!this.limiter.take(CONNECTIONS)) {
      this.values[this.stats.cxOverflow]!++
      // A host without any connection gets one, or its requests would wait for ever.
      if (this.connections + this.connecting.size > 0) return
      this.limiter.takeAnyway(CONNECTIONS)
    }
    this.connecting.add(new Connector(this, this))
  }

  onConnected(connector: Connector, socket: net.Socket): void {
    this.connecting.delete(connector)
    this.noteConnected()
    const c = new UpstreamConnection(this.io, socket, this, this.settings)
    this.offer(c)
  }

  /** All that wait hear of it: whether to try again is theirs to decide (as Envoy does). */
  onConnectFailed(connector: Connector, reason: number, detail: string): void {
    this.connecting.delete(connector)
    this.limiter.give(CONNECTIONS)
    this.noteConnectFailed(reason)
    const waiting = this.waiting
    this.waiting = []
    for (let i = 0; i < waiting.length; i++) {
      this.leftQueue()
      this.values[this.stats.rqPendingFailureEject]!++
      // A mistake in one of them is not the others'.
      this.io.run('connect', () => (waiting[i] as PoolWaiter).onPoolFailure(reason, detail))
    }
  }

  /** One more connection is open, pooled or raw. */
  noteConnected(): void {
    this.connections++
    this.values[this.stats.cxTotal]!++
    this.values[this.stats.cxActive]!++
  }

  noteConnectFailed(reason: number): void {
    this.connectFailures++
    this.values[this.stats.cxConnectFail]!++
    if (reason === RESET_CONNECT_TIMEOUT) this.values[this.stats.cxConnectTimeout]!++
  }

  /** A connection is gone; its place is given back by who reserved it. */
  noteClosed(bytesRead: number, bytesWritten: number): void {
    this.connections--
    this.values[this.stats.cxActive]!--
    this.values[this.stats.cxDestroy]!++
    this.values[this.stats.cxRxBytes]! += bytesRead
    this.values[this.stats.cxTxBytes]! += bytesWritten
  }

  /** A free connection goes to who has waited longest, else to the idle ones. */
  private offer(c: UpstreamConnection): void {
    while (this.waiting.length > 0) {
      const waiter = this.waiting.shift() as PoolWaiter
      this.leftQueue()
      const before = c.requests
      // A mistake in it must not reach the request that gives the connection back.
      if (!this.io.run('connect', () => this.lend(c, waiter))) c.connection.destroy('internal_error')
      if (c.exchange !== null || c.requests !== before || c.doomed) return
      // The limit refused this one, and `lend` has put the connection back.
      this.idle.pop()
    }
    if (this.draining) {
      c.doomed = true
      c.connection.destroy('draining')
      return
    }
    c.idleSinceMs = this.io.clock.monotonicMs
    this.idle.push(c)
  }

  /** From UpstreamConnection: its request is complete and it may carry another. */
  returned(c: UpstreamConnection): void {
    const max = this.settings.maxRequestsPerConnection
    const age = this.settings.maxConnectionDurationMs
    const spent = max !== 0 && c.requests >= max
    if (spent) this.values[this.stats.cxMaxRequests]!++
    if (spent || (age !== 0 && this.io.clock.monotonicMs - c.createdMs >= age)) {
      c.doomed = true
      c.connection.destroy('spent')
      return
    }
    this.offer(c)
  }

  /** From UpstreamConnection, when it is closed or given up; called again it does nothing. */
  lost(c: UpstreamConnection): void {
    if (!c.counted) return
    c.counted = false
    this.limiter.give(CONNECTIONS)
    this.noteClosed(c.connection.bytesRead, c.connection.bytesWritten)
    const i = this.idle.indexOf(c)
    if (i >= 0) this.idle.splice(i, 1)
    if (this.waiting.length > this.connecting.size) this.connect()
  }

  /** Called about once a second: closes what has been idle too long. */
  sweep(): void {
    for (let i = this.idle.length - 1; i >= 0; i--) {
      const c = this.idle[i] as UpstreamConnection
      if (!this.isStale(c)) continue
      this.idle.splice(i, 1)
      this.expire(c)
    }
  }

  /** The endpoint left the configuration, or the process ends: idle connections close now, lent ones when their request is done. */
  drain(): void {
    this.draining = true
    for (const c of this.idle.splice(0)) {
      c.doomed = true
      c.connection.destroy('draining')
    }
  }

  /** The endpoint is back before its pool was gone. */
  undrain(): void {
    this.draining = false
  }
}
