// Hot lane: the HTTP/1 connections to one endpoint of one cluster: idle ones, lent ones, and the requests that wait for one.
import type net from 'node:net'
import type { Host } from '../cluster/lb/host.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { Io } from '../transport/io.ts'
import type { Keepalive } from '../transport/keepalive.ts'
import { type ConnectOwner, Connector } from './connector.ts'
import { type PoolWaiter, RESET_CONNECT_TIMEOUT, RESET_OVERFLOW } from './exchange.ts'
import { type Limiter, PENDING, REQUESTS } from './limiter.ts'
import { PATIENCE_MS, type Places, type Seeker, SLICE_MS } from './places.ts'
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
  /** null: no SO_KEEPALIVE. */
  readonly keepalive: Keepalive | null
  readonly maxHeaders: number
  readonly maxHeaderBytes: number
}

/** A peer that says `timeout=5` closes after about 5 s: we stop using the connection this much earlier. */
const PEER_IDLE_MARGIN_MS = 1000

export class HostPool implements ConnectOwner, Seeker {
  readonly io: Io
  readonly host: Host
  readonly address: string
  readonly port: number
  readonly places: Places
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
  /** From Places. */
  looking: boolean
  /** Those of `connections` that carry HTTP. */
  private pooled: number
  /** Monotonic ms until which others go first, after a connection was given up for them. */
  private patientUntilMs: number

  constructor(io: Io, host: Host, settings: PoolSettings, places: Places, stats: ClusterStats, values: Float64Array) {
    this.io = io
    this.host = host
    this.address = host.endpoint.address
    this.port = host.endpoint.port
    this.settings = settings
    this.places = places
    this.limiter = places.limiter
    this.stats = stats
    this.values = values
    this.connections = 0
    this.requestsTotal = 0
    this.connectFailures = 0
    this.idle = []
    this.waiting = []
    this.connecting = new Set()
    this.draining = false
    this.looking = false
    this.pooled = 0
    this.patientUntilMs = 0
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
    if (this.seeking) this.connect()
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
    if (this.looking) this.places.review(this)
  }

  /** The connection used last: the others may age and go. */
  private usable(): UpstreamConnection | null {
    for (;;) {
      const c = this.idle.pop()
      if (c === undefined) return null
      if (c.doomed || c.connection.closed || c.connection.peerEnded) continue
      // The sweep comes once a second only; by now the peer may have said goodbye.
      if (this.isStale(c)) this.expire(c)
      else if (this.isOld(c)) this.retire(c)
      else return c
    }
  }

  /** Beyond maxConnectionDuration. */
  private isOld(c: UpstreamConnection): boolean {
    const age = this.settings.maxConnectionDurationMs
    return age !== 0 && this.io.clock.monotonicMs - c.createdMs >= age
  }

  private retire(c: UpstreamConnection): void {
    this.values[this.stats.cxMaxDurationReached]!++
    this.end(c, 'max_connection_duration')
  }

  /** It carries nothing now, and will not again. */
  private end(c: UpstreamConnection, reason: string): void {
    c.doomed = true
    c.connection.destroy(reason)
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
    this.end(c, 'idle_timeout')
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
    if (this.tryConnect()) return
    this.values[this.stats.cxOverflow]!++
    this.places.lookFor(this)
  }

  private tryConnect(): boolean {
    if (this.io.clock.monotonicMs < this.patientUntilMs || !this.places.take(this.host)) return false
    this.connecting.add(new Connector(this, this))
    if (this.looking) this.places.review(this)
    return true
  }

  get seeking(): boolean {
    return this.waiting.length > this.connecting.size
  }

  get bare(): boolean {
    return this.pooled + this.connecting.size === 0
  }

  seek(): boolean {
    let found = false
    while (this.seeking && this.tryConnect()) found = true
    if (this.seeking) this.places.lookFor(this)
    return found
  }

  /**
   * Somebody waits for a place of this cluster: gives up an idle connection, if that helps. `own`: the place may be for a pool of this worker.
   */
  giveWay(own: boolean): void {
    const c = this.idle[0]
    if (c === undefined) return
    const spare = this.pooled + this.connecting.size > 1 && this.places.isWanted(own)
    if (!spare && !this.places.othersStarve(this.host)) return
    this.idle.shift()
    this.giveUp(c)
  }

  private giveUp(c: UpstreamConnection): void {
    this.patientUntilMs = this.io.clock.monotonicMs + PATIENCE_MS
    this.end(c, 'gave_way')
  }

  /** Whether a connection that has become free is to be given up for others, who wait for its place. */
  private yields(c: UpstreamConnection): boolean {
    const now = this.io.clock.monotonicMs
    if (now < this.patientUntilMs) return false
    if (this.places.othersStarve(this.host)) return this.waiting.length === 0 || now - c.createdMs >= SLICE_MS
    return this.waiting.length === 0 && this.pooled + this.connecting.size > 1 && this.places.isWanted(true)
  }

  onConnected(connector: Connector, socket: net.Socket): void {
    this.connecting.delete(connector)
    this.noteConnected()
    this.pooled++
    const c = new UpstreamConnection(this.io, socket, this, this.settings)
    this.offer(c)
  }

  /** All that wait hear of it: whether to try again is theirs to decide (as Envoy does). */
  onConnectFailed(connector: Connector, reason: number, detail: string): void {
    this.connecting.delete(connector)
    this.places.give(this.host)
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
    if (this.places.limited && this.yields(c)) {
      this.giveUp(c)
      return
    }
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
      this.end(c, 'draining')
      return
    }
    c.idleSinceMs = this.io.clock.monotonicMs
    this.idle.push(c)
  }

  /** From UpstreamConnection: its request is complete and it may carry another. */
  returned(c: UpstreamConnection): void {
    const max = this.settings.maxRequestsPerConnection
    if (max !== 0 && c.requests >= max) {
      this.values[this.stats.cxMaxRequests]!++
      this.end(c, 'max_requests')
    } else if (this.isOld(c)) this.retire(c)
    else this.offer(c)
  }

  /** From UpstreamConnection, when it is closed or given up; called again it does nothing. */
  lost(c: UpstreamConnection): void {
    if (!c.counted) return
    c.counted = false
    this.pooled--
    this.places.give(this.host)
    this.noteClosed(c.connection.bytesRead, c.connection.bytesWritten)
    const i = this.idle.indexOf(c)
    if (i >= 0) this.idle.splice(i, 1)
    if (this.seeking) this.connect()
  }

  /** Called about once a second: closes what has been idle too long, or is too old. */
  sweep(): void {
    for (let i = this.idle.length - 1; i >= 0; i--) {
      const c = this.idle[i] as UpstreamConnection
      const stale = this.isStale(c)
      if (!stale && !this.isOld(c)) continue
      this.idle.splice(i, 1)
      if (stale) this.expire(c)
      else this.retire(c)
    }
  }

  /** The endpoint left the configuration, or the process ends: idle connections close now, lent ones when their request is done. */
  drain(): void {
    this.draining = true
    for (const c of this.idle.splice(0)) this.end(c, 'draining')
  }

  /** The endpoint is back before its pool was gone. */
  undrain(): void {
    this.draining = false
  }
}
