// The clusters of one worker. One that configuration has is dormant, a name and a few bytes, until a request needs it; then it becomes live, and stays
// so. Clear lane: it runs when configuration changes, when a cluster is first used, and once a second.
import type { Cluster, Endpoint } from '../state/cluster.ts'
import { ClusterStats } from '../telemetry/data-path-stats.ts'
import { OutlierStats } from '../telemetry/outlier-stats.ts'
import type { RequestMetrics, SeriesCache } from '../telemetry/request-metrics.ts'
import type { MetricsSlab } from '../telemetry/slab.ts'
import type { Io } from '../transport/io.ts'
import type { FailedRequest } from './ejecting.ts'
import type { BalancedCluster } from './lb/balanced-cluster.ts'
import { type ClusterDirectory, type ClusterOwner, ClusterRef } from './lb/cluster-ref.ts'
import { type ClusterContext, LiveCluster } from './live-cluster.ts'
import type { ReportEjection } from './outlier-detector.ts'
import type { ClusterRows, SharedHosts } from './shared-hosts.ts'
import type { SharedLimits } from './shared-limits.ts'

/** A cluster as configuration has it, in whatever form it is kept. */
export interface ClusterSource {
  /** Made anew by each call. */
  load(): Cluster
}

/** Of names that nothing is known of. */
const MIN_MISSING = 256

class Entry extends ClusterRef {
  /** null: not in the configuration. */
  source: ClusterSource | null
  /** null: the main thread has not told where its hosts count. */
  rows: ClusterRows | null
  /** Once it was used; also when it is not in the configuration any more: requests in flight may hold it, and what comes back is the same as before. */
  made: LiveCluster | null

  constructor(name: string, owner: ClusterOwner) {
    super(name, owner)
    this.source = null
    this.rows = null
    this.made = null
  }
}

export class ClusterManager implements ClusterContext, ClusterDirectory, ClusterOwner {
  readonly io: Io
  readonly values: Float64Array
  readonly limits: { readonly maxHeaders: number; readonly maxHeaderBytes: number }
  private readonly slab: MetricsSlab
  private readonly shared: SharedLimits
  readonly sharedHosts: SharedHosts | null
  /** `version` of `sharedHosts` that the clusters show. */
  private seenHealth: number
  private readonly metrics: RequestMetrics
  /** All that configuration has, and what was used before it left. */
  private readonly entries: Map<string, Entry>
  /** Those that are not there, and were never used: kept as long as a route names them. */
  private readonly missing: Map<string, WeakRef<Entry>>
  /** How many of `missing` make it worth a look. */
  private missingLimit: number
  /** Those that are live and in the configuration. */
  private readonly byName: Map<string, LiveCluster>
  /** By `BalancedCluster.id`, retired ones too. */
  private readonly byId: LiveCluster[]
  private hostIds: number
  /** Whoever owns the worker sets it before traffic comes. */
  reportEjection: ReportEjection
  /** Likewise. */
  askForPlace: (cluster: string) => void
  /** Likewise: a cluster has become live, with rows or without. */
  onFirstUse: (config: Cluster, hasRows: boolean) => void

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
    this.entries = new Map()
    this.missing = new Map()
    this.missingLimit = MIN_MISSING
    this.byId = []
    this.hostIds = 0
    this.reportEjection = () => {}
    this.askForPlace = () => {}
    this.onFirstUse = () => {}
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

  refOf(name: string): ClusterRef {
    return this.entryOf(name)
  }

  /** As `refOf`, for names that peers say: what is not known is not remembered. */
  knownRef(name: string): ClusterRef | null {
    return this.entries.get(name) ?? null
  }

  private entryOf(name: string): Entry {
    const known = this.entries.get(name) ?? this.missing.get(name)?.deref()
    if (known !== undefined) return known
    const entry = new Entry(name, this)
    this.miss(entry)
    return entry
  }

  private miss(entry: Entry): void {
    this.missing.set(entry.name, new WeakRef(entry))
    if (this.missing.size < this.missingLimit) return
    for (const [name, ref] of this.missing) if (ref.deref() === undefined) this.missing.delete(name)
    this.missingLimit = Math.max(MIN_MISSING, 2 * this.missing.size)
  }

  private entryToBe(name: string): Entry {
    const entry = this.entryOf(name)
    this.entries.set(name, entry)
    this.missing.delete(name)
    return entry
  }

  /** A cluster that is new, or other than it was. `rows`: null where the main thread has none for it yet. */
  put(name: string, source: ClusterSource, rows: ClusterRows | null): void {
    const entry = this.entryToBe(name)
    entry.source = source
    entry.rows = rows
    if (entry.made === null) entry.dormant = true
    else this.revive(entry, entry.made, source.load())
  }

  /** What configuration has, live or not; null: it has no such cluster. */
  configForTest(name: string): Cluster | null {
    return this.entries.get(name)?.source?.load() ?? null
  }

  /** As `put`, where a live cluster's new configuration can be made from its old one for less. */
  change(name: string, source: ClusterSource, rows: ClusterRows | null, made: (before: Cluster) => Cluster): void {
    const entry = this.entryOf(name)
    if (entry.made === null || entry.cluster === null) this.put(name, source, rows)
    else {
      entry.source = source
      entry.rows = rows
      entry.made.update(made(entry.cluster.config), rows)
    }
  }

  /** It is the same as before, kept elsewhere. */
  moveTo(name: string, source: ClusterSource): void {
    this.entryOf(name).source = source
  }

  /** Configuration has it no more. */
  remove(name: string): void {
    const entry = this.entries.get(name)
    if (entry === undefined) return
    entry.source = null
    entry.rows = null
    entry.dormant = false
    entry.cluster = null
    this.byName.delete(name)
    if (entry.made !== null) entry.made.drain()
    else {
      this.entries.delete(name)
      this.miss(entry)
    }
  }

  /** Where its hosts count. */
  useRows(name: string, rows: ClusterRows): void {
    const entry = this.entries.get(name)
    if (entry === undefined || entry.source === null) return
    entry.rows = rows
    if (entry.cluster !== null) entry.made?.update(entry.cluster.config, rows)
  }

  wake(ref: ClusterRef): BalancedCluster | null {
    const entry = ref as Entry
    entry.dormant = false
    if (entry.source === null) return null
    const config = entry.source.load()
    const live = this.add(config)
    entry.made = live
    this.revive(entry, live, config)
    this.onFirstUse(config, entry.rows !== null)
    return live.balanced
  }

  private revive(entry: Entry, live: LiveCluster, config: Cluster): void {
    live.update(config, entry.rows)
    entry.cluster = live.balanced
    entry.last = live.balanced
    this.byName.set(entry.name, live)
  }

  /** Before each decision: one load as long as no endpoint's health has changed anywhere. */
  syncHealth(): void {
    const shared = this.sharedHosts
    if (shared === null || shared.version === this.seenHealth) return
    this.seenHealth = shared.version
    for (const live of this.byName.values()) live.syncHealth()
  }

  private add(config: Cluster): LiveCluster {
    const id = this.byId.length
    const live = new LiveCluster(id, config, this, this.shared.limiterFor(config.name), new ClusterStats(this.slab, config.name))
    this.byId.push(live)
    return live
  }

  /** The live side of what a decision points to. */
  liveOf(cluster: BalancedCluster): LiveCluster {
    return this.byId[cluster.id] as LiveCluster
  }

  get missingForTest(): number {
    return this.missing.size
  }

  /** Names of all that were ever used. */
  used(): string[] {
    return this.byId.map((live) => live.balanced.name)
  }

  /** Those that are live and in the configuration. */
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
