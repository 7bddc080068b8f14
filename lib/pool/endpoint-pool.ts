// Hot lane: what the pools of one endpoint have in common, whatever HTTP they speak: requests that wait for a connection, connections under way,
// limits and counts. A pool of one version knows which connections it has and what it can lend of them.
import type { Host } from '../cluster/lb/host.ts'
import type { Cluster, UpstreamBind } from '../state/cluster.ts'
import type { UpstreamTls } from '../state/tls.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { UpstreamProtocol } from '../transport/client-tls.ts'
import type { Connection } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import type { Keepalive } from '../transport/keepalive.ts'
import { type ConnectOwner, Connector } from './connector.ts'
import { type PoolWaiter, RESET_CONNECT_TIMEOUT, RESET_OVERFLOW } from './exchange.ts'
import { type Limiter, PENDING, REQUESTS } from './limiter.ts'
import { PATIENCE_MS, type Places, type Seeker } from './places.ts'
import type { ToldClient } from './proxy-header.ts'
import type { UpstreamStream } from './upstream-stream.ts'

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
  /** HTTP/2: streams on one connection; 0: what the endpoint says. */
  readonly maxConcurrentStreams: number
  /** HTTP/2: a PING after so long without a byte; 0: never. */
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
  readonly maxHeaders: number
  readonly maxHeaderBytes: number
  /** For endpoints whose `tls` says so; null: plaintext. */
  readonly tls: UpstreamTls | null
  readonly bind: UpstreamBind | null
  readonly proxyProtocol: Cluster['proxyProtocol']
  /** Of the cluster: the server name where TLS asks for the host. */
  readonly serverName: string
}

export abstract class EndpointPool implements ConnectOwner, Seeker {
  readonly io: Io
  readonly host: Host
  /** Who its connections are for; null: for all. */
  private readonly told: ToldClient | null
  readonly address: string
  readonly port: number
  readonly places: Places
  readonly limiter: Limiter
  readonly stats: ClusterStats
  readonly values: Float64Array
  settings: PoolSettings
  /** Open connections, idle and lent, and those of TCP sessions. */
  connections: number
  requestsTotal: number
  connectFailures: number
  /** From Places. */
  looking: boolean
  protected waiting: PoolWaiter[]
  protected readonly connecting: Set<Connector>
  protected draining: boolean
  /** Those of `connections` that carry HTTP. */
  protected pooled: number
  /** Monotonic ms until which others go first, after a connection was given up for them. */
  protected patientUntilMs: number
  /** What `lend` lent last; null while it has not. */
  private lent: UpstreamStream | null

  constructor(
    io: Io,
    host: Host,
    settings: PoolSettings,
    places: Places,
    stats: ClusterStats,
    values: Float64Array,
    told: ToldClient | null,
  ) {
    this.io = io
    this.host = host
    this.told = told
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
    this.looking = false
    this.waiting = []
    this.connecting = new Set()
    this.draining = false
    this.pooled = 0
    this.patientUntilMs = 0
    this.lent = null
  }

  /** What its connections carry. */
  protected abstract get protocol(): UpstreamProtocol
  /** Connections that carry no request now. */
  abstract get idleConnections(): number
  /** Is there something to lend? What turns out to be dead or too old on the way is put away. */
  protected abstract hasReady(): boolean
  /** Lends it; only after `hasReady`. */
  protected abstract take(): UpstreamStream
  /** Requests that one connection under way will serve. */
  protected abstract get requestsPerConnection(): number
  /** A connection is there. */
  protected abstract adopt(connection: Connection): void
  /** Somebody waits for a place of this cluster: gives up an idle connection, if that helps. `own`: the place may be for a pool of this worker. */
  abstract giveWay(own: boolean): void
  /** Called about once a second: ends what has been idle too long, or is too old. */
  abstract sweep(): void
  /** Ends what carries nothing, at once, and the others when their requests are done. */
  protected abstract drainConnections(): void

  /** Lends to `waiter`, at once or when there is something. Exactly one of its two methods is called, perhaps before this returns. */
  acquire(waiter: PoolWaiter): void {
    if (this.hasReady()) {
      this.lend(waiter)
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

  private lend(waiter: PoolWaiter): void {
    this.lent = null
    if (!this.limiter.take(REQUESTS)) {
      this.values[this.stats.rqPendingOverflow]!++
      waiter.onPoolFailure(RESET_OVERFLOW, '')
      return
    }
    this.requestsTotal++
    this.values[this.stats.rqTotal]!++
    this.values[this.stats.rqActive]!++
    const stream = this.take()
    this.lent = stream
    waiter.onPoolReady(stream)
  }

  /** What is there goes to who has waited longest. */
  protected serve(): void {
    while (this.waiting.length > 0 && this.hasReady()) {
      const waiter = this.waiting.shift() as PoolWaiter
      this.leftQueue()
      // A mistake in it must not reach the request that gives the connection back.
      if (!this.io.run('connect', () => this.lend(waiter))) this.abandonLent()
    }
  }

  /** After an exception in who was lent to: it may not have it. */
  private abandonLent(): void {
    const { lent } = this
    if (lent !== null) this.io.run('connect', () => lent.abandon())
  }

  /** By the request that had a connection, once, whatever became of it. */
  requestDone(): void {
    this.limiter.give(REQUESTS)
    this.values[this.stats.rqActive]!--
  }

  protected connect(): void {
    if (this.tryConnect()) return
    this.values[this.stats.cxOverflow]!++
    this.places.lookFor(this)
  }

  protected tryConnect(): boolean {
    if (this.io.clock.monotonicMs < this.patientUntilMs || !this.places.take(this.host)) return false
    this.connecting.add(new Connector(this, this.protocol, this, this.host.clientAddress, this.told))
    if (this.looking) this.places.review(this)
    return true
  }

  get seeking(): boolean {
    return this.waiting.length > this.connecting.size * this.requestsPerConnection
  }

  /** No connection, none under way, nobody waits. */
  get unused(): boolean {
    return this.connections === 0 && this.connecting.size === 0 && this.waiting.length === 0
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

  protected bePatient(): void {
    this.patientUntilMs = this.io.clock.monotonicMs + PATIENCE_MS
  }

  onConnected(connector: Connector, connection: Connection): void {
    this.connecting.delete(connector)
    this.noteConnected()
    this.pooled++
    this.adopt(connection)
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

  /** A connection that carried HTTP is gone. */
  protected forget(bytesRead: number, bytesWritten: number): void {
    this.pooled--
    this.places.give(this.host)
    this.noteClosed(bytesRead, bytesWritten)
    if (this.seeking) this.connect()
  }

  /** The endpoint left the configuration, or the process ends. */
  drain(): void {
    this.draining = true
    this.drainConnections()
  }

  /** New configuration. Connections stay, unless they would not be made in this way any more. */
  useSettings(settings: PoolSettings): void {
    const before = this.settings
    this.settings = settings
    if (before.proxyProtocol !== settings.proxyProtocol || JSON.stringify(before.tls) !== JSON.stringify(settings.tls))
      this.drainConnections()
  }

  /** Connections that are open would not be made in this way any more: they end with what they carry. */
  renew(): void {
    this.drainConnections()
  }

  /** The endpoint is back before its pool was gone. */
  undrain(): void {
    this.draining = false
  }
}
