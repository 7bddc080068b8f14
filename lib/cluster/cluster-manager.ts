// The live clusters of one worker, by name and by id. Clear lane: it runs when configuration changes and once a second.
import type { Cluster, Endpoint } from '../state/cluster.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { ClusterStats } from '../telemetry/data-path-stats.ts'
import { OutlierStats } from '../telemetry/outlier-stats.ts'
import type { RequestMetrics, SeriesCache } from '../telemetry/request-metrics.ts'
import type { MetricsSlab } from '../telemetry/slab.ts'
import type { Io } from '../transport/io.ts'
import type { FailedRequest } from './ejecting.ts'
import type { BalancedCluster } from './lb/balanced-cluster.ts'
import { type ClusterContext, LiveCluster } from './live-cluster.ts'
import type { ReportEjection } from './outlier-detector.ts'
import type { ClusterRows, RowMap, SharedHosts } from './shared-hosts.ts'
import type { SharedLimits } from './shared-limits.ts'

export class ClusterManager implements ClusterContext {
  readonly io: Io
  readonly values: Float64Array
  readonly limits: { readonly maxHeaders: number; readonly maxHeaderBytes: number }
  private readonly slab: MetricsSlab
  private readonly shared: SharedLimits
  readonly sharedHosts: SharedHosts | null
  /** `version` of `sharedHosts` that the clusters show. */
  private seenHealth: number
  private readonly metrics: RequestMetrics
  private readonly byName: Map<string, LiveCluster>
  /** Left the configuration. Requests in flight may hold them, and what comes back is the same as before. */
  private readonly retired: Map<string, LiveCluster>
  /** By `BalancedCluster.id`, retired ones too. */
  private readonly byId: LiveCluster[]
  private hostIds: number
  /** Whoever owns the worker sets it before traffic comes. */
  reportEjection: ReportEjection
  /** Likewise. */
  askForPlace: (cluster: string) => void

  constructor(
    io: Io,
    slab: MetricsSlab,
    shared: SharedLimits,
    sharedHosts: SharedHosts | null,
    metrics: RequestMetrics,
    limits: { readonly maxHeaders: number; readonly maxHeaderBytes: number },
  ) {
    this.io = io
    this.values = slab.values
    this.limits = limits
    this.slab = slab
    this.shared = shared
    this.sharedHosts = sharedHosts
    this.seenHealth = 0
    this.metrics = metrics
    this.byName = new Map()
    this.retired = new Map()
    this.byId = []
    this.hostIds = 0
    this.reportEjection = () => {}
    this.askForPlace = () => {}
  }

  /** Requests of another worker find no place for a connection under maxConnections. */
  giveWay(cluster: string): void {
    this.byName.get(cluster)?.giveWay(false)
  }

  nextHostId(): number {
    return this.hostIds++
  }

  seriesFor(cluster: Cluster, endpoint: Endpoint | null): SeriesCache {
    return this.metrics.seriesFor(cluster.name.startsWith('inbound|') ? 'destination' : 'source', cluster, endpoint)
  }

  outlierStatsFor(cluster: string): OutlierStats {
    return new OutlierStats(this.slab, cluster)
  }

  /** What this worker remembers of failures of an endpoint. */
  failuresOf(cluster: string, address: string): readonly FailedRequest[] {
    return this.byName.get(cluster)?.failuresOf(address) ?? []
  }

  /** Makes the clusters be those of the snapshot, and returns them for `compileTables`. */
  update(snapshot: Snapshot, rows: RowMap): ReadonlyMap<string, BalancedCluster> {
    const wanted = new Map<string, BalancedCluster>()
    for (const config of snapshot.clusters) {
      const live = this.byName.get(config.name) ?? this.recall(config.name) ?? this.add(config)
      live.update(config, rows.get(config.name) ?? null)
      wanted.set(config.name, live.balanced)
    }
    for (const [name, live] of this.byName) {
      if (wanted.has(name)) continue
      live.drain()
      this.byName.delete(name)
      this.retired.set(name, live)
    }
    return wanted
  }

  updateEndpoints(name: string, endpoints: readonly Endpoint[], rows: ClusterRows): void {
    this.byName.get(name)?.updateEndpoints(endpoints, rows)
  }

  /** Before each decision: one load as long as no endpoint's health has changed anywhere. */
  syncHealth(): void {
    const shared = this.sharedHosts
    if (shared === null || shared.version === this.seenHealth) return
    this.seenHealth = shared.version
    for (const live of this.byName.values()) live.syncHealth()
  }

  private recall(name: string): LiveCluster | null {
    const live = this.retired.get(name)
    if (live === undefined) return null
    this.retired.delete(name)
    this.byName.set(name, live)
    return live
  }

  private add(config: Cluster): LiveCluster {
    const id = this.byId.length
    const live = new LiveCluster(id, config, this, this.shared.limiterFor(config.name), new ClusterStats(this.slab, config.name))
    this.byName.set(config.name, live)
    this.byId.push(live)
    return live
  }

  /** The live side of what a decision points to. */
  liveOf(cluster: BalancedCluster): LiveCluster {
    return this.byId[cluster.id] as LiveCluster
  }

  all(): Iterable<LiveCluster> {
    return this.byName.values()
  }

  /** About once a second. */
  sweep(): void {
    for (const live of this.byName.values()) live.sweep()
  }

  drain(): void {
    for (const live of this.byName.values()) live.drain()
  }
}
