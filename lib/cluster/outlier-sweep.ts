// The main thread's part of outlier detection. Workers eject in the middle of a request and tell; here it becomes an event with its evidence,
// and here alone it ends: each cluster is swept at its interval (Envoy outlier detection).
//
// An endpoint is well → ejected (by a worker, or by the sweep for its rates) → well, at the first sweep after its time. The time is the base
// times a multiplier, which grows by one with each ejection and shrinks by one with each sweep that finds the endpoint well.

import type { Cluster } from '../state/cluster.ts'
import type { OutlierDetection } from '../state/outlier-detection.ts'
import type { Logger } from '../telemetry/logger.ts'
import { OutlierStats } from '../telemetry/outlier-stats.ts'
import type { MetricsSlab } from '../telemetry/slab.ts'
import * as E from './ejecting.ts'
import { type Ejection, EjectionHistory, ejectionFields, ejectionText, selectEvidence } from './ejection.ts'
import type { HostRows } from './host-rows.ts'
import { type Outlier, type RatedHost, sweepRates } from './rate-sweep.ts'
import { EJECTED, EJECTED_BY, EJECTED_FLAG, HEALTH, type SharedHosts } from './shared-hosts.ts'

export interface OutlierSweepOptions {
  readonly shared: SharedHosts
  readonly rows: HostRows
  readonly slab: MetricsSlab
  readonly log: Logger
  /** What all workers remember of failures of an endpoint. */
  readonly evidence: (cluster: string, address: string) => Promise<readonly E.FailedRequest[]>
  /** Monotonic ms. */
  readonly now: () => number
  /** Epoch ms. */
  readonly wallNow: () => number
  /** Calls `run` every `ms`, until what it returns is called. */
  readonly every: (ms: number, run: () => void) => () => void
}

/** What is known of a host besides its row. */
interface Watched extends RatedHost {
  multiplier: number
  /** null: well, as far as anybody has said. */
  ejection: Ejection | null
  /** Monotonic ms. */
  ejectedAtMs: number
  /** The log has it. */
  told: boolean
}

interface WatchedCluster {
  config: Cluster
  policy: OutlierDetection
  row: number
  /** By address. */
  hosts: Map<string, Watched>
  readonly stats: OutlierStats
  /** By how much EJECTED was off at the last sweep. */
  drift: number
}

export class OutlierSweep {
  readonly history: EjectionHistory
  private readonly options: OutlierSweepOptions
  private readonly clusters: Map<string, WatchedCluster>
  /** What stops the timer, by interval in ms. */
  private readonly timers: Map<number, () => void>

  constructor(options: OutlierSweepOptions) {
    this.history = new EjectionHistory()
    this.options = options
    this.clusters = new Map()
    this.timers = new Map()
  }

  // ---- configuration -----------------------------------------------------------------------------------------------------

  /** A cluster that is new or another, whose rows have been assigned. What stays keeps its ejections. `schedule` is to follow. */
  follow(config: Cluster): void {
    if (config.outlierDetection === null) this.forget(config.name)
    else this.watch(config, config.outlierDetection)
  }

  /** The cluster is gone, or is no longer to be watched. `schedule` is to follow. */
  forget(name: string): void {
    const cluster = this.clusters.get(name)
    if (cluster === undefined) return
    this.clusters.delete(name)
    for (const [address, host] of cluster.hosts) this.letGo(cluster, address, host)
  }

  close(): void {
    for (const stop of this.timers.values()) stop()
    this.timers.clear()
  }

  private watch(config: Cluster, policy: OutlierDetection): void {
    const { rows, slab } = this.options
    const row = rows.clusterRowOf(config.name)
    let cluster = this.clusters.get(config.name)
    // No row was left: workers have no place where they could agree.
    if (row < 0) return
    if (cluster === undefined) {
      cluster = { config, policy, row, hosts: new Map(), stats: new OutlierStats(slab, config.name), drift: 0 }
      this.clusters.set(config.name, cluster)
    }
    cluster.config = config
    cluster.policy = policy
    const wanted = rows.hostsOf(config.name)
    for (const [address, host] of cluster.hosts) {
      if (wanted.get(address) === host.row) continue
      cluster.hosts.delete(address)
      this.letGo(cluster, address, host)
    }
    for (const [address, hostRow] of wanted) {
      if (hostRow < 0 || cluster.hosts.has(address)) continue
      cluster.hosts.set(address, {
        row: hostRow,
        multiplier: 0,
        ejection: null,
        ejectedAtMs: 0,
        told: false,
        successRate: null,
        localSuccessRate: null,
      })
    }
  }

  /** The host has left, or nobody watches it any more. Its row may still be in use: then it must be well again. */
  private letGo(cluster: WatchedCluster, address: string, host: Watched): void {
    const { rows } = this.options
    const stays = rows.rowOf(cluster.config.name, address) === host.row
    this.end(cluster, host, stays ? 'configuration' : 'removed')
  }

  /** Sweeps of the clusters that are there now. */
  schedule(): void {
    const wanted = new Set([...this.clusters.values()].map((c) => c.policy.intervalMs))
    for (const [ms, stop] of this.timers) {
      if (wanted.has(ms)) continue
      stop()
      this.timers.delete(ms)
    }
    // A timer that runs already goes on: who reloads often must not put off every sweep.
    for (const ms of wanted)
      if (!this.timers.has(ms))
        this.timers.set(
          ms,
          this.options.every(ms, () => this.sweep(ms)),
        )
  }

  // ---- ejections -----------------------------------------------------------------------------------------------------------

  /** A worker has ejected. */
  onEjected(name: string, address: string, detector: number, atMs: number): void {
    const cluster = this.clusters.get(name)
    const host = cluster?.hosts.get(address)
    if (cluster === undefined || host === undefined) {
      this.undoLate(name, address)
      return
    }
    // By now it may have ended, or a sweep may have found it first.
    if (!this.isEjected(host) || host.told) return
    const ejection = host.ejection ?? this.begin(cluster, address, host, atMs)
    ejection.detector = E.DETECTOR_NAMES[detector] as string
    const run = runOf(cluster.policy, detector)
    ejection.reason = `${run} failures in a row`
    this.tell(host, ejection, run)
  }

  /** It passed an active health check, whose word counts more (Envoy successful_active_health_check_uneject_host). */
  onCheckPassed(name: string, address: string): void {
    const cluster = this.clusters.get(name)
    const host = cluster?.hosts.get(address)
    if (cluster !== undefined && host !== undefined && this.isEjected(host)) this.end(cluster, host, 'health check')
  }

  /** A worker that had an older configuration ejected what is not to be ejected any more. */
  private undoLate(name: string, address: string): void {
    const { rows, shared } = this.options
    const row = rows.rowOf(name, address)
    if (row >= 0) E.uneject(shared, rows.clusterRowOf(name), shared.hostAt(row))
  }

  private begin(cluster: WatchedCluster, address: string, host: Watched, atMs: number): Ejection {
    const { baseEjectionMs, maxEjectionMs } = cluster.policy
    if (host.multiplier * baseEjectionMs < maxEjectionMs + baseEjectionMs) host.multiplier++
    host.ejectedAtMs = this.options.now()
    host.told = false
    host.ejection = {
      cluster: cluster.config.name,
      address,
      detector: E.DETECTOR_NAMES[0] as string,
      reason: 'the worker that ejected it died before it could say why',
      policy: cluster.config.policyOrigin,
      sinceMs: atMs,
      durationMs: Math.min(baseEjectionMs * host.multiplier, maxEjectionMs),
      multiplier: host.multiplier,
      evidence: [],
      endedMs: 0,
      ended: '',
    }
    this.history.add(host.ejection)
    return host.ejection
  }

  /** `run`: so many failures led to it. */
  private tell(host: Watched, ejection: Ejection, run: number): void {
    host.told = true
    const { evidence, log } = this.options
    void evidence(ejection.cluster, ejection.address).then((remembered) => {
      ejection.evidence = selectEvidence(remembered, ejection.sinceMs, run)
      log.warning(ejectionText(ejection), ejectionFields(ejection))
    })
  }

  private end(cluster: WatchedCluster, host: Watched, why: Exclude<Ejection['ended'], ''>): void {
    const { shared, log } = this.options
    const was = E.uneject(shared, cluster.row, shared.hostAt(host.row))
    const { ejection } = host
    host.ejection = null
    host.told = false
    if (ejection === null) {
      if (was) log.info(`an endpoint of ${cluster.config.name} is back before its ejection was told`)
      return
    }
    ejection.endedMs = this.options.wallNow()
    ejection.ended = why
    const { address, sinceMs, endedMs, detector } = ejection
    const text = why === 'removed' ? 'left the configuration' : 'is back'
    log.info(`${address} of ${ejection.cluster} ${text} after ${endedMs - sinceMs} ms of ejection`, { detector, why })
  }

  private isEjected(host: Watched): boolean {
    const { shared } = this.options
    return (Atomics.load(shared.cells, shared.hostAt(host.row) + HEALTH) & EJECTED_FLAG) !== 0
  }

  // ---- sweeps --------------------------------------------------------------------------------------------------------------

  /** All clusters with this interval. */
  sweep(intervalMs: number): void {
    for (const cluster of this.clusters.values()) if (cluster.policy.intervalMs === intervalMs) this.sweepCluster(cluster)
  }

  private sweepCluster(cluster: WatchedCluster): void {
    for (const [address, host] of cluster.hosts) this.sweepHost(cluster, address, host)
    for (const outlier of sweepRates(cluster.hosts, cluster.policy, this.options.shared)) this.eject(cluster, outlier)
    this.correct(cluster)
  }

  private sweepHost(cluster: WatchedCluster, address: string, host: Watched): void {
    host.successRate = null
    host.localSuccessRate = null
    if (!this.isEjected(host)) {
      // Nobody has put it back but us; the record of one that is well is a mistake of somebody else's.
      host.ejection = null
      if (host.multiplier > 0) host.multiplier--
      return
    }
    const { ejection } = host
    if (ejection === null || !host.told) this.findEjected(cluster, address, host)
    else if (this.options.now() - host.ejectedAtMs >= ejection.durationMs) this.end(cluster, host, 'time')
  }

  /** Ejected, and nobody has told: the message is still on its way, or the worker died. */
  private findEjected(cluster: WatchedCluster, address: string, host: Watched): void {
    const { shared, wallNow } = this.options
    const by = Atomics.load(shared.cells, shared.hostAt(host.row) + EJECTED_BY)
    const { ejection } = host
    if (by !== 0) this.onEjected(cluster.config.name, address, by, wallNow())
    else if (ejection === null) this.begin(cluster, address, host, wallNow())
    // A whole interval later it is certain that nobody will say more.
    else this.tell(host, ejection, Number.POSITIVE_INFINITY)
  }

  private eject(cluster: WatchedCluster, { address, detector, reason }: Outlier): void {
    const { shared, slab, wallNow } = this.options
    const host = cluster.hosts.get(address) as Watched
    const { values } = slab
    const { stats, policy } = cluster
    values[stats.detected(detector)]!++
    const at = shared.hostAt(host.row)
    const answer = E.eject(shared, cluster.row, at, cluster.hosts.size, policy.maxEjectionPercent, detector)
    if (answer === E.OVER_LIMIT) values[stats.overflow]!++
    if (answer !== E.EJECTED_NOW) return
    values[stats.enforcedTotal]!++
    values[stats.enforced(detector)]!++
    const ejection = this.begin(cluster, address, host, wallNow())
    ejection.detector = E.DETECTOR_NAMES[detector] as string
    ejection.reason = reason
    this.tell(host, ejection, Number.POSITIVE_INFINITY)
  }

  /**
   * A worker that dies between reserving a place and taking it would keep it for ever. Being off by the same number at two sweeps in a row,
   * while an ejection takes microseconds, can mean nothing else.
   */
  private correct(cluster: WatchedCluster): void {
    const { shared } = this.options
    const at = shared.clusterAt(cluster.row) + EJECTED
    const counted = Atomics.load(shared.cells, at)
    const drift = counted - [...cluster.hosts.values()].filter((host) => this.isEjected(host)).length
    if (drift !== 0 && drift === cluster.drift) {
      Atomics.sub(shared.cells, at, drift)
      cluster.drift = 0
    } else cluster.drift = drift
  }

  // ---- for who asks --------------------------------------------------------------------------------------------------------

  /** Percent of the last interval; null: not judged. */
  ratesOf(cluster: string, address: string): { readonly external: number | null; readonly local: number | null } {
    const host = this.clusters.get(cluster)?.hosts.get(address)
    return { external: host?.successRate ?? null, local: host?.localSuccessRate ?? null }
  }

  /** The ejection that lasts; null: it is well, or not watched. */
  ejectionOf(cluster: string, address: string): Ejection | null {
    return this.clusters.get(cluster)?.hosts.get(address)?.ejection ?? null
  }
}

function runOf(policy: OutlierDetection, detector: number): number {
  if (detector === E.DETECTED_BY_GATEWAY) return policy.consecutiveGateway
  return detector === E.DETECTED_BY_LOCAL ? policy.consecutiveLocalOrigin : policy.consecutive5xx
}
