// Hot lane: the HTTP/2 connections to one endpoint of one cluster: mostly one, which all requests of the worker share.
import type { Host } from '../cluster/lb/host.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { UpstreamProtocol } from '../transport/client-tls.ts'
import type { Connection } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import type { Connector } from './connector.ts'
import { EndpointPool, type PoolSettings } from './endpoint-pool.ts'
import { Http2UpstreamConnection } from './http2-upstream-connection.ts'
import { Http2UpstreamStream } from './http2-upstream-stream.ts'
import { type Places, SLICE_MS } from './places.ts'
import type { ToldClient } from './proxy-header.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** What a connection is taken to carry until an endpoint has said for the first time what it allows (RFC 9113 §6.5.2 recommends no less). */
const ASSUMED_STREAMS = 100
/** While others starve, a connection takes no requests for so long: if all that it has are done by then, its place is theirs. … */
const HOLD_MS = 100
/** … Else it serves for so long before it tries again: who has long streams would stand still otherwise, and help nobody. */
const TURN_MS = 1000
/** Where no spare connection could be had, the next try is so long after. */
const SPARE_AGAIN_MS = 1000

export class Http2Pool extends EndpointPool {
  /** Those that may get requests, oldest first. */
  private readonly open: Http2UpstreamConnection[]
  /** Those that end with the requests that they have. */
  private readonly leaving: Set<Http2UpstreamConnection>
  /** What `hasReady` found. */
  private ready: Http2UpstreamConnection | null
  /** Streams on one connection, as the endpoint said last. */
  private allowed: number
  /** Monotonic ms. */
  private noSpareUntilMs: number

  constructor(
    io: Io,
    host: Host,
    settings: PoolSettings,
    places: Places,
    stats: ClusterStats,
    values: Float64Array,
    told: ToldClient | null = null,
  ) {
    super(io, host, settings, places, stats, values, told)
    this.open = []
    this.leaving = new Set()
    this.ready = null
    this.allowed = ASSUMED_STREAMS
    this.noSpareUntilMs = 0
  }

  protected get protocol(): UpstreamProtocol {
    return 'http2'
  }

  get idleConnections(): number {
    return this.open.filter((c) => c.idle).length
  }

  /** Streams that a connection is given before its endpoint's SETTINGS are here. An endpoint that allows none has to be asked again. */
  get assumedStreams(): number {
    return Math.max(1, Math.min(this.allowed, ASSUMED_STREAMS))
  }

  protected get requestsPerConnection(): number {
    const own = this.settings.maxConcurrentStreams
    const allowed = Math.max(1, this.allowed)
    return own === 0 ? allowed : Math.min(own, allowed)
  }

  protected hasReady(): boolean {
    let crowded: Http2UpstreamConnection | null = null
    for (let i = 0; i < this.open.length; i++) {
      const c = this.open[i] as Http2UpstreamConnection
      const old = this.isOld(c)
      if (old || c.codec.exhausted || c.connection.retired) {
        if (old) this.values[this.stats.cxMaxDurationReached]!++
        this.leave(c)
        i--
      } else if (c.hasRoom && !this.holdsBack(c)) {
        if (!c.crowded) {
          this.ready = c
          return true
        }
        if (crowded === null || c.codec.window.held < crowded.codec.window.held) crowded = c
      }
    }
    if (crowded === null) return false
    this.seekSpare()
    // Behind what stands still there is room, as long as there is no better place.
    if (crowded.choked && this.connecting.size > 0) return false
    this.ready = crowded
    return true
  }

  /** Connections whose responses stand still are enough to be in the way of others: another one is made, where that may be. */
  private seekSpare(): void {
    if (this.draining || this.connecting.size > 0 || this.io.clock.monotonicMs < this.noSpareUntilMs) return
    if (!this.tryConnect()) this.noSpareUntilMs = this.io.clock.monotonicMs + SPARE_AGAIN_MS
  }

  override onConnectFailed(connector: Connector, reason: number, detail: string): void {
    this.noSpareUntilMs = this.io.clock.monotonicMs + SPARE_AGAIN_MS
    this.connecting.delete(connector)
    // What waited for something better takes what there is.
    this.serve()
    super.onConnectFailed(connector, reason, detail)
  }

  /** Whether a busy connection waits for its end, because elsewhere requests wait without any. */
  private holdsBack(c: Http2UpstreamConnection): boolean {
    if (!this.places.limited) return false
    const now = this.io.clock.monotonicMs
    if (now < c.holdsUntilMs) return true
    if (c.idle || now < c.mayHoldMs || !this.places.othersStarve(this)) return false
    c.holdsUntilMs = now + HOLD_MS
    c.mayHoldMs = now + HOLD_MS + TURN_MS
    return true
  }

  /** One that held back may serve again before there is a place for another. */
  override seek(): boolean {
    this.serve()
    return super.seek()
  }

  protected take(): UpstreamStream {
    const c = this.ready as Http2UpstreamConnection
    c.requests++
    const max = this.settings.maxRequestsPerConnection
    if (max !== 0 && c.requests >= max) {
      this.values[this.stats.cxMaxRequests]!++
      // It carries what it has, and this one.
      c.doomed = true
      this.remove(c)
      this.leaving.add(c)
    }
    return new Http2UpstreamStream(c)
  }

  private isOld(c: Http2UpstreamConnection): boolean {
    const age = this.settings.maxConnectionDurationMs
    return age !== 0 && this.io.clock.monotonicMs - c.createdMs >= age
  }

  private remove(c: Http2UpstreamConnection): void {
    const i = this.open.indexOf(c)
    if (i >= 0) this.open.splice(i, 1)
  }

  private leave(c: Http2UpstreamConnection): void {
    this.remove(c)
    this.leaving.add(c)
    c.retire()
  }

  protected adopt(connection: Connection): void {
    this.values[this.stats.cxHttp2Total]!++
    const c = new Http2UpstreamConnection(this.io, connection, this, this.settings)
    c.mayHoldMs = c.createdMs + SLICE_MS
    this.open.push(c)
    this.serve()
    if (this.draining) this.leave(c)
    else if (this.seeking) this.connect()
  }

  /** From a connection: what its endpoint allows now. */
  allows(c: Http2UpstreamConnection, streams: number): void {
    this.allowed = streams
    this.hasNews(c)
  }

  /** From a connection: there may be room, or it is leaving. */
  hasNews(c: Http2UpstreamConnection): void {
    if (c.doomed) {
      this.remove(c)
      if (c.counted) this.leaving.add(c)
    } else if (c.idle && this.isOfNoUse(c)) {
      this.leave(c)
      return
    }
    if (this.waiting.length === 0) return
    this.serve()
    if (this.seeking) this.connect()
  }

  /** It carries nothing now. */
  private isOfNoUse(c: Http2UpstreamConnection): boolean {
    // Nobody knows when it will take requests again, and each that comes would get a connection of its own.
    if (c.codec.settled && c.codec.peer.maxConcurrentStreams === 0) return true
    if (!this.places.limited || !this.yields(c)) return false
    this.bePatient()
    return true
  }

  private yields(c: Http2UpstreamConnection): boolean {
    const now = this.io.clock.monotonicMs
    if (now < this.patientUntilMs) return false
    const unused = this.waiting.length === 0
    if (this.places.othersStarve(this)) return unused || now < c.holdsUntilMs || now - c.createdMs >= SLICE_MS
    return unused && this.pooled + this.connecting.size > 1 && this.places.isWanted(true)
  }

  giveWay(own: boolean): void {
    const c = this.open.find((o) => o.idle)
    if (c === undefined) return
    const spare = this.pooled + this.connecting.size > 1 && this.places.isWanted(own)
    if (!spare && !this.places.othersStarve(this)) return
    this.bePatient()
    this.leave(c)
  }

  /** From a connection, when it is closed; called again it does nothing. */
  lost(c: Http2UpstreamConnection): void {
    if (!c.counted) return
    c.counted = false
    this.remove(c)
    this.leaving.delete(c)
    this.forget(c.connection.bytesRead, c.connection.bytesWritten)
  }

  sweep(): void {
    const now = this.io.clock.monotonicMs
    const { idleTimeoutMs } = this.settings
    for (const c of this.leaving) if (c.idle) c.retire()
    for (const c of [...this.open]) {
      if (idleTimeoutMs !== 0 && c.idle && now - c.idleSinceMs >= idleTimeoutMs) {
        this.values[this.stats.cxIdleTimeout]!++
        this.leave(c)
      } else if (this.isOld(c)) {
        this.values[this.stats.cxMaxDurationReached]!++
        this.leave(c)
      } else if (c.connection.retired) this.leave(c)
    }
  }

  protected drainConnections(): void {
    for (const c of [...this.open]) this.leave(c)
  }
}
