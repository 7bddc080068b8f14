// Hot lane: the HTTP/1 connections to one endpoint of one cluster: a request has one for itself.
import type { Host } from '../cluster/lb/host.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { UpstreamProtocol } from '../transport/client-tls.ts'
import type { Connection } from '../transport/connection.ts'
import type { Io } from '../transport/io.ts'
import { EndpointPool, type PoolSettings } from './endpoint-pool.ts'
import { Http1UpstreamConnection } from './http1-upstream-connection.ts'
import { type Places, SLICE_MS } from './places.ts'
import type { ToldClient } from './proxy-header.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** A peer that says `timeout=5` closes after about 5 s: we stop using the connection this much earlier. */
const PEER_IDLE_MARGIN_MS = 1000

export class Http1Pool extends EndpointPool {
  private readonly idle: Http1UpstreamConnection[]

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
    this.idle = []
  }

  protected get protocol(): UpstreamProtocol {
    return 'http1'
  }

  get idleConnections(): number {
    return this.idle.length
  }

  protected get requestsPerConnection(): number {
    return 1
  }

  /** The connection used last is lent first: the others may age and go. */
  protected hasReady(): boolean {
    for (;;) {
      const c = this.idle.at(-1)
      if (c === undefined) return false
      if (!c.doomed && !c.connection.closed && !c.connection.peerEnded) {
        // The sweep comes once a second only; by now the peer may have said goodbye.
        const stale = this.isStale(c)
        if (!stale && !c.connection.retired && !this.isOld(c)) return true
        this.idle.pop()
        if (stale) this.expire(c)
        else this.retire(c)
      } else this.idle.pop()
    }
  }

  protected take(): UpstreamStream {
    return this.idle.pop() as Http1UpstreamConnection
  }

  /** Beyond maxConnectionDuration. */
  private isOld(c: Http1UpstreamConnection): boolean {
    const age = this.settings.maxConnectionDurationMs
    return age !== 0 && this.io.clock.monotonicMs - c.createdMs >= age
  }

  private retire(c: Http1UpstreamConnection): void {
    if (c.connection.retired) {
      this.end(c, 'certificate_expires')
      return
    }
    this.values[this.stats.cxMaxDurationReached]!++
    this.end(c, 'max_connection_duration')
  }

  /** It carries nothing now, and will not again. */
  private end(c: Http1UpstreamConnection, reason: string): void {
    c.doomed = true
    c.connection.dismiss(reason)
  }

  /** Idle for longer than we or the peer want. */
  private isStale(c: Http1UpstreamConnection): boolean {
    const own = this.settings.idleTimeoutMs
    const peer = c.peerIdleMs === 0 ? 0 : Math.max(c.peerIdleMs - PEER_IDLE_MARGIN_MS, c.peerIdleMs / 2)
    const limit = own === 0 ? peer : peer === 0 ? own : Math.min(own, peer)
    return limit !== 0 && this.io.clock.monotonicMs - c.idleSinceMs >= limit
  }

  private expire(c: Http1UpstreamConnection): void {
    this.values[this.stats.cxIdleTimeout]!++
    this.end(c, 'idle_timeout')
  }

  giveWay(own: boolean): void {
    const c = this.idle[0]
    if (c === undefined) return
    const spare = this.pooled + this.connecting.size > 1 && this.places.isWanted(own)
    if (!spare && !this.places.othersStarve(this)) return
    this.idle.shift()
    this.giveUp(c)
  }

  private giveUp(c: Http1UpstreamConnection): void {
    this.bePatient()
    this.end(c, 'gave_way')
  }

  /** Whether a connection that has become free is to be given up for others, who wait for its place. */
  private yields(c: Http1UpstreamConnection): boolean {
    const now = this.io.clock.monotonicMs
    if (now < this.patientUntilMs) return false
    if (this.places.othersStarve(this)) return this.waiting.length === 0 || now - c.createdMs >= SLICE_MS
    return this.waiting.length === 0 && this.pooled + this.connecting.size > 1 && this.places.isWanted(true)
  }

  protected adopt(connection: Connection): void {
    this.values[this.stats.cxHttp1Total]!++
    this.offer(new Http1UpstreamConnection(this.io, connection, this, this.settings))
  }

  /** A free connection goes to who has waited longest, else to the idle ones. */
  private offer(c: Http1UpstreamConnection): void {
    if (this.places.limited && this.yields(c)) {
      this.giveUp(c)
      return
    }
    c.idleSinceMs = this.io.clock.monotonicMs
    this.idle.push(c)
    if (this.waiting.length > 0) this.serve()
    if (this.draining) this.drainConnections()
  }

  /** From Http1UpstreamConnection: its request is complete and it may carry another. */
  returned(c: Http1UpstreamConnection): void {
    const max = this.settings.maxRequestsPerConnection
    if (max !== 0 && c.requests >= max) {
      this.values[this.stats.cxMaxRequests]!++
      this.end(c, 'max_requests')
    } else if (this.isOld(c)) this.retire(c)
    else this.offer(c)
  }

  /** From Http1UpstreamConnection, when it is closed or given up; called again it does nothing. */
  lost(c: Http1UpstreamConnection): void {
    if (!c.counted) return
    c.counted = false
    const i = this.idle.indexOf(c)
    if (i >= 0) this.idle.splice(i, 1)
    this.forget(c.connection.bytesRead, c.connection.bytesWritten)
  }

  sweep(): void {
    for (let i = this.idle.length - 1; i >= 0; i--) {
      const c = this.idle[i] as Http1UpstreamConnection
      const stale = this.isStale(c)
      if (!stale && !c.connection.retired && !this.isOld(c)) continue
      this.idle.splice(i, 1)
      if (stale) this.expire(c)
      else this.retire(c)
    }
  }

  protected drainConnections(): void {
    for (const c of this.idle.splice(0)) this.end(c, 'draining')
  }
}
