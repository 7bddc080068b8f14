// Hot lane: the HTTP/2 connections to one endpoint of one cluster: mostly one, which all requests of the worker share.
import type net from 'node:net'
import type { Host } from '../cluster/lb/host.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { Io } from '../transport/io.ts'
import { EndpointPool, type PoolSettings } from './endpoint-pool.ts'
import { Http2UpstreamConnection } from './http2-upstream-connection.ts'
import { Http2UpstreamStream } from './http2-upstream-stream.ts'
import type { Places } from './places.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** What one connection is taken to carry until the endpoint has said what it allows (RFC 9113 §6.5.2 recommends no less). */
const ASSUMED_STREAMS = 100

export class Http2Pool extends EndpointPool {
  /** Those that may get requests, oldest first. */
  private readonly open: Http2UpstreamConnection[]
  /** Those that end with the requests that they have. */
  private readonly leaving: Set<Http2UpstreamConnection>
  private lent: Http2UpstreamConnection | null

  constructor(io: Io, host: Host, settings: PoolSettings, places: Places, stats: ClusterStats, values: Float64Array) {
    super(io, host, settings, places, stats, values)
    this.open = []
    this.leaving = new Set()
    this.lent = null
  }

  get idleConnections(): number {
    return this.open.filter((c) => c.idle).length
  }

  protected get requestsPerConnection(): number {
    const own = this.settings.maxConcurrentStreams
    return own === 0 ? ASSUMED_STREAMS : Math.min(own, ASSUMED_STREAMS)
  }

  protected hasReady(): boolean {
    for (let i = 0; i < this.open.length; i++) {
      const c = this.open[i] as Http2UpstreamConnection
      if (this.isOld(c)) {
        this.values[this.stats.cxMaxDurationReached]!++
        this.leave(c)
        i--
      } else if (c.hasRoom) {
        this.lent = c
        return true
      }
    }
    return false
  }

  protected take(): UpstreamStream {
    const c = this.lent as Http2UpstreamConnection
    c.requests++
    const max = this.settings.maxRequestsPerConnection
    const stream = new Http2UpstreamStream(c)
    if (max !== 0 && c.requests >= max) {
      this.values[this.stats.cxMaxRequests]!++
      // It carries what it has, and this one.
      c.doomed = true
      this.remove(c)
      this.leaving.add(c)
    }
    return stream
  }

  protected abandonLent(): void {
    this.lent?.connection.destroy('internal_error')
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

  protected adopt(socket: net.Socket): void {
    const c = new Http2UpstreamConnection(this.io, socket, this, this.settings)
    this.open.push(c)
    this.serve()
    if (this.draining) this.leave(c)
    else if (this.seeking) this.connect()
  }

  /** From a connection: there may be room, or it is leaving. */
  hasNews(c: Http2UpstreamConnection): void {
    if (c.doomed) {
      this.remove(c)
      if (c.counted) this.leaving.add(c)
    } else if (c.idle && this.places.limited && this.waiting.length === 0 && this.yields()) {
      this.bePatient()
      this.leave(c)
      return
    }
    if (this.waiting.length === 0) return
    this.serve()
    if (this.seeking) this.connect()
  }

  private yields(): boolean {
    if (this.places.othersStarve(this.host)) return true
    return this.pooled + this.connecting.size > 1 && this.places.isWanted(true)
  }

  giveWay(own: boolean): void {
    const c = this.open.find((o) => o.idle)
    if (c === undefined) return
    const spare = this.pooled + this.connecting.size > 1 && this.places.isWanted(own)
    if (!spare && !this.places.othersStarve(this.host)) return
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
      }
    }
  }

  protected drainConnections(): void {
    for (const c of [...this.open]) this.leave(c)
  }
}
