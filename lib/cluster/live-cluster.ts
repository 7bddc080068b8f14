// A cluster as one worker lives it: hosts with their pools, limits and counters. It outlives snapshots: what a snapshot no longer
// names drains, what it names anew is the same object as before.

import { HostPool, type PoolSettings } from '../pool/host-pool.ts'
import { CONNECTIONS, type Limiter, PENDING, REQUESTS, RETRIES } from '../pool/limiter.ts'
import type { Cluster, Endpoint } from '../state/cluster.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { SeriesCache } from '../telemetry/request-metrics.ts'
import type { Io } from '../transport/io.ts'
import { BalancedCluster } from './lb/balanced-cluster.ts'
import { Host } from './lb/host.ts'

/** Every Host that a worker makes is one of these; the pure rooms see the Host only. */
export class LiveHost extends Host {
  readonly pool: HostPool
  /** Telemetry series of requests to this endpoint. */
  series: SeriesCache

  constructor(id: number, endpoint: Endpoint, pool: HostPool, series: SeriesCache) {
    super(id, endpoint)
    this.pool = pool
    this.series = series
  }
}

/** What a live cluster needs of its worker. */
export interface ClusterContext {
  readonly io: Io
  readonly values: Float64Array
  readonly limits: { readonly maxHeaders: number; readonly maxHeaderBytes: number }
  nextHostId(): number
  seriesFor(cluster: Cluster, endpoint: Endpoint | null): SeriesCache
}

export class LiveCluster {
  readonly balanced: BalancedCluster
  readonly limiter: Limiter
  readonly stats: ClusterStats
  /** Series of requests that got no endpoint. */
  seriesWithoutHost: SeriesCache
  private readonly context: ClusterContext
  private readonly byAddress: Map<string, LiveHost>
  private settings: PoolSettings

  constructor(id: number, config: Cluster, context: ClusterContext, limiter: Limiter, stats: ClusterStats) {
    this.balanced = new BalancedCluster(id, config)
    this.context = context
    this.limiter = limiter
    this.stats = stats
    this.seriesWithoutHost = context.seriesFor(config, null)
    this.byAddress = new Map()
    this.settings = settingsOf(config, context.limits)
    this.update(config)
  }

  get hosts(): readonly LiveHost[] {
    return this.balanced.hosts as readonly LiveHost[]
  }

  update(config: Cluster): void {
    const { limits } = config
    this.settings = settingsOf(config, this.context.limits)
    this.limiter.setMax(CONNECTIONS, limits.maxConnections)
    this.limiter.setMax(PENDING, limits.maxPendingRequests)
    this.limiter.setMax(REQUESTS, limits.maxRequests)
    this.limiter.setMax(RETRIES, limits.maxRetries)
    this.reconcile(config, config.endpoints)
  }

  /** A name was looked up anew. */
  updateEndpoints(endpoints: readonly Endpoint[]): void {
    this.reconcile({ ...this.balanced.config, endpoints }, endpoints)
  }

  /** An address that configuration does not list: the one that a client dialled. */
  hostAt(endpoint: Endpoint): LiveHost {
    return this.hostFor(endpoint, this.balanced.config)
  }

  private reconcile(config: Cluster, endpoints: readonly Endpoint[]): void {
    const before = new Set(this.byAddress.values())
    const hosts: LiveHost[] = []
    for (const endpoint of endpoints) {
      const host = this.hostFor(endpoint, config)
      // An address that is listed twice is one host; Envoy counts it once too.
      if (!hosts.includes(host)) hosts.push(host)
      before.delete(host)
    }
    for (const host of before) {
      if (config.type === 'ORIGINAL_DST') continue
      this.byAddress.delete(host.address)
      host.pool.drain()
    }
    for (const host of this.byAddress.values()) host.pool.settings = this.settings
    this.balanced.update(config, hosts)
  }

  private hostFor(endpoint: Endpoint, config: Cluster): LiveHost {
    const key = endpoint.address.includes(':') ? `[${endpoint.address}]:${endpoint.port}` : `${endpoint.address}:${endpoint.port}`
    const known = this.byAddress.get(key)
    if (known !== undefined) {
      if (JSON.stringify(known.endpoint.workload) !== JSON.stringify(endpoint.workload)) {
        known.series = this.context.seriesFor(config, endpoint)
      }
      known.endpoint = endpoint
      known.weight = Math.max(1, endpoint.weight)
      known.pool.undrain()
      return known
    }
    const { io, values } = this.context
    const pool = new HostPool(io, endpoint.address, endpoint.port, this.settings, this.limiter, this.stats, values)
    const host = new LiveHost(this.context.nextHostId(), endpoint, pool, this.context.seriesFor(config, endpoint))
    this.byAddress.set(key, host)
    return host
  }

  sweep(): void {
    for (const host of this.byAddress.values()) host.pool.sweep()
  }

  /** The cluster left the configuration, or the worker ends. */
  drain(): void {
    for (const host of this.byAddress.values()) host.pool.drain()
  }
}

function settingsOf(config: Cluster, limits: { readonly maxHeaders: number; readonly maxHeaderBytes: number }): PoolSettings {
  return {
    connectTimeoutMs: config.limits.connectTimeoutMs,
    idleTimeoutMs: config.limits.httpIdleTimeoutMs,
    maxRequestsPerConnection: config.limits.maxRequestsPerConnection,
    maxConnectionDurationMs: config.limits.maxConnectionDurationMs,
    tcpKeepaliveSeconds: config.limits.tcpKeepaliveSeconds,
    maxHeaders: limits.maxHeaders,
    maxHeaderBytes: limits.maxHeaderBytes,
  }
}
