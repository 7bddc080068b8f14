// A cluster as one worker lives it: hosts with their pools, limits and counters. It outlives snapshots: what a snapshot no longer
// names drains, what it names anew is the same object as before.

import { ipOf } from '../base/ip-address.ts'
import type { PoolSettings } from '../pool/endpoint-pool.ts'
import { CONNECTIONS, type Limiter, PENDING, REQUESTS, RETRIES } from '../pool/limiter.ts'
import { Places } from '../pool/places.ts'
import type { Cluster, ClusterLimits, Endpoint } from '../state/cluster.ts'
import type { ClusterStats } from '../telemetry/data-path-stats.ts'
import type { OutlierStats } from '../telemetry/outlier-stats.ts'
import type { SeriesCache } from '../telemetry/request-metrics.ts'
import type { Io } from '../transport/io.ts'
import type { Keepalive } from '../transport/keepalive.ts'
import { dialledEndpoint } from './dialled-endpoint.ts'
import type { FailedRequest } from './ejecting.ts'
import { BalancedCluster } from './lb/balanced-cluster.ts'
import { hostAddress } from './lb/host.ts'
import { LiveHost, type PoolContext } from './live-host.ts'
import { ClusterDetection, OutlierDetector, type ReportEjection } from './outlier-detector.ts'
import { type ClusterRows, EJECTED_FLAG, HEALTH, type SharedHosts, VERSION } from './shared-hosts.ts'

/** What a live cluster needs of its worker. */
export interface ClusterContext {
  readonly io: Io
  readonly values: Float64Array
  readonly limits: { readonly maxHeaders: number; readonly maxHeaderBytes: number }
  /** null: every host counts for itself. */
  readonly sharedHosts: SharedHosts | null
  nextHostId(): number
  /** Tells the other workers that a place for a connection of this cluster would be welcome. */
  askForPlace(cluster: string): void
  readonly reportEjection: ReportEjection
  outlierStatsFor(cluster: string): OutlierStats
  seriesFor(cluster: Cluster, endpoint: Endpoint | null): SeriesCache
}

/** Hosts that clients have asked for by name, at once (Envoy DnsCacheConfig.max_hosts). */
const MAX_ASKED_HOSTS = 1024

export class LiveCluster {
  readonly balanced: BalancedCluster
  readonly limiter: Limiter
  private readonly pools: PoolContext
  readonly stats: ClusterStats
  /** Series of requests that got no endpoint. */
  seriesWithoutHost: SeriesCache
  private readonly context: ClusterContext
  private readonly byAddress: Map<string, LiveHost>
  private settings: PoolSettings
  /** Row in shared-hosts.ts; -1: none. */
  row: number
  /** VERSION of the row that `hosts` show. */
  private seenVersion: number
  private detection: ClusterDetection | null
  /** PEAK_EWMA: attempts tell how long their answers took; 0: another policy, nobody asks. */
  latencyDecayMs: number

  constructor(id: number, config: Cluster, context: ClusterContext, limiter: Limiter, stats: ClusterStats) {
    this.balanced = new BalancedCluster(id, config, (address, client) => this.dialled(address, client))
    this.context = context
    this.limiter = limiter
    this.stats = stats
    const { io, values } = context
    this.pools = { io, places: new Places(io, limiter, () => this.askForPlace()), stats, values }
    this.seriesWithoutHost = context.seriesFor(config, null)
    this.byAddress = new Map()
    this.settings = settingsOf(config, context.limits)
    this.row = -1
    this.seenVersion = 0
    this.detection = null
    this.latencyDecayMs = decayOf(config)
  }

  get hosts(): readonly LiveHost[] {
    return this.balanced.hosts as readonly LiveHost[]
  }

  /** `rows`: where its hosts count; null: each for itself. */
  update(config: Cluster, rows: ClusterRows | null): void {
    const { limits } = config
    this.settings = settingsOf(config, this.context.limits)
    this.latencyDecayMs = decayOf(config)
    this.limiter.setMax(CONNECTIONS, limits.maxConnections)
    this.limiter.setMax(PENDING, limits.maxPendingRequests)
    this.limiter.setMax(REQUESTS, limits.maxRequests)
    this.limiter.setMax(RETRIES, limits.maxRetries)
    const budget = limits.retryBudget
    this.limiter.setRetryBudget(budget === null ? -1 : budget.percent, budget === null ? 0 : budget.minConcurrency)
    this.reconcile(config, config.endpoints, rows)
  }

  /** A name was looked up anew. */
  updateEndpoints(endpoints: readonly Endpoint[], rows: ClusterRows | null): void {
    this.reconcile({ ...this.balanced.config, endpoints }, endpoints, rows)
  }

  /**
   * ORIGINAL_DST: the host of the address that a client dialled, made when it is first dialled. Where the endpoint is to see its client's address,
   * each client has one of its own, since a connection from there is of use to nobody else (Envoy original_src).
   */
  private dialled(address: string, client: string): LiveHost | null {
    const { config } = this.balanced
    const source = config.bind?.clientSource === true ? ipOf(client) : ''
    const key = source === '' ? address : `${address} from ${source}`
    const known = this.byAddress.get(key)
    if (known !== undefined) return known
    const asked = config.dialsHostAt !== 0
    if (asked && this.byAddress.size >= MAX_ASKED_HOSTS) return null
    const endpoint = dialledEndpoint(address, config)
    return endpoint === null ? null : this.makeHost(key, endpoint, config, source, asked ? endpoint.address : '')
  }

  /** Reads from shared memory which hosts may be used, if that has changed. */
  syncHealth(): void {
    const shared = this.context.sharedHosts
    if (shared === null || this.row < 0) return
    const version = Atomics.load(shared.cells, shared.clusterAt(this.row) + VERSION)
    if (version === this.seenVersion) return
    this.seenVersion = version
    this.readHealth(this.hosts)
    this.balanced.refresh(this.context.io.clock.monotonicMs)
  }

  private readHealth(hosts: readonly LiveHost[]): void {
    const now = this.context.io.clock.monotonicMs
    for (const host of hosts) {
      const health = host.count(HEALTH)
      const available = health === 0 && host.endpoint.healthy
      if (available && (host.health & ~EJECTED_FLAG) !== 0) host.availableSinceMs = now
      host.health = health
      host.available = available
    }
  }

  private reconcile(config: Cluster, endpoints: readonly Endpoint[], rows: ClusterRows | null): void {
    const before = new Set(this.byAddress.values())
    // An address that is listed twice is one host; Envoy counts it once too.
    const found = new Set<LiveHost>()
    this.row = rows === null ? -1 : rows.cluster
    // Of an ORIGINAL_DST cluster they are made when they are dialled.
    for (const [i, endpoint] of config.type === 'ORIGINAL_DST' ? [] : endpoints.entries()) {
      const host = this.hostFor(endpoint, config)
      host.place(this.context.sharedHosts, rows?.hosts[i] ?? -1)
      found.add(host)
      before.delete(host)
    }
    const hosts = [...found]
    for (const host of before) {
      if (config.type === 'ORIGINAL_DST') continue
      this.byAddress.delete(host.address)
      // Its row will be another's; requests that it still has are counted elsewhere.
      host.place(null, -1)
      host.drain()
    }
    const { settings } = this
    for (const host of this.byAddress.values())
      host.useSettings(config.dialsHostAt === 0 ? settings : { ...settings, serverName: host.endpoint.address })
    this.detect(config, hosts)
    this.readHealth(hosts)
    this.balanced.update(config, hosts, this.context.io.clock.monotonicMs)
  }

  /** Outlier detection as `config` asks for it. Without a row there is no place where workers could agree: then there is none. */
  private detect(config: Cluster, hosts: readonly LiveHost[]): void {
    const policy = config.outlierDetection
    const { sharedHosts, values, reportEjection } = this.context
    if (policy === null || sharedHosts === null || this.row < 0) {
      for (const host of this.byAddress.values()) host.detector = null
      return
    }
    this.detection ??= new ClusterDetection(
      config.name,
      policy,
      sharedHosts,
      this.context.outlierStatsFor(config.name),
      values,
      reportEjection,
      this.context.io.clock,
    )
    this.detection.update(policy, this.row, hosts.length)
    for (const host of hosts) host.detector ??= new OutlierDetector(this.detection, host)
  }

  /** What this worker remembers of failures at an address. */
  failuresOf(address: string): readonly FailedRequest[] {
    return this.byAddress.get(address)?.detector?.failures ?? []
  }

  private hostFor(endpoint: Endpoint, config: Cluster): LiveHost {
    const key = hostAddress(endpoint)
    const known = this.byAddress.get(key)
    if (known !== undefined) {
      if (JSON.stringify(known.endpoint.workload) !== JSON.stringify(endpoint.workload)) {
        known.series = this.context.seriesFor(config, endpoint)
      }
      known.useEndpoint(endpoint)
      known.weight = Math.max(1, endpoint.weight)
      known.undrain()
      return known
    }
    return this.makeHost(key, endpoint, config, '')
  }

  /** `serverName`: in place of the cluster's host; empty: that. */
  private makeHost(key: string, endpoint: Endpoint, config: Cluster, clientAddress: string, serverName = ''): LiveHost {
    const { context, pools } = this
    const settings = serverName === '' ? this.settings : { ...this.settings, serverName }
    const series = context.seriesFor(config, endpoint)
    const host = new LiveHost(context.nextHostId(), endpoint, pools, settings, series, clientAddress)
    host.availableSinceMs = context.io.clock.monotonicMs
    this.byAddress.set(key, host)
    return host
  }

  private askForPlace(): void {
    this.giveWay(true)
    this.context.askForPlace(this.balanced.name)
  }

  /** Somebody waits for a place of maxConnections. `own`: it may be this worker. */
  giveWay(own: boolean): void {
    for (const host of this.byAddress.values()) host.giveWay(own)
  }

  sweep(): void {
    const { balanced, context } = this
    if (balanced.warmAtMs !== 0 && balanced.warmAtMs <= context.io.clock.monotonicMs)
      balanced.refresh(context.io.clock.monotonicMs)
    for (const host of this.byAddress.values()) host.sweep()
    if (balanced.config.type === 'ORIGINAL_DST') this.forgetUnused()
  }

  /** Anybody may dial anything: addresses to which nothing is open are not kept. */
  private forgetUnused(): void {
    for (const [address, host] of this.byAddress) if (host.unused) this.byAddress.delete(address)
  }

  /** The cluster left the configuration, or the worker ends. */
  drain(): void {
    this.row = -1
    for (const host of this.byAddress.values()) {
      host.place(null, -1)
      host.drain()
    }
  }
}

function decayOf({ loadBalancer }: Cluster): number {
  return loadBalancer.kind === 'PEAK_EWMA' ? loadBalancer.decayMs : 0
}

function settingsOf(config: Cluster, limits: { readonly maxHeaders: number; readonly maxHeaderBytes: number }): PoolSettings {
  return {
    connectTimeoutMs: config.limits.connectTimeoutMs,
    idleTimeoutMs: config.limits.httpIdleTimeoutMs,
    maxRequestsPerConnection: config.limits.maxRequestsPerConnection,
    maxConnectionDurationMs: config.limits.maxConnectionDurationMs,
    keepalive: keepaliveOf(config.limits),
    maxConcurrentStreams: config.limits.maxConcurrentStreams,
    keepaliveIntervalMs: config.limits.http2KeepaliveIntervalMs,
    keepaliveTimeoutMs: config.limits.http2KeepaliveTimeoutMs,
    maxHeaders: limits.maxHeaders,
    maxHeaderBytes: limits.maxHeaderBytes,
    tls: config.tls,
    bind: config.bind,
    proxyProtocol: config.proxyProtocol,
    serverName: config.host.startsWith('*') ? '' : config.host,
  }
}

function keepaliveOf(limits: ClusterLimits): Keepalive | null {
  if (limits.tcpKeepaliveSeconds === 0) return null
  return {
    idleSeconds: limits.tcpKeepaliveSeconds,
    intervalSeconds: limits.tcpKeepaliveIntervalSeconds,
    probes: limits.tcpKeepaliveProbes,
  }
}
