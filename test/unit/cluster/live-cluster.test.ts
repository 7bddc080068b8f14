// Clusters as two workers live them: health out of memory that they share, warm-up by their clocks, requests in flight of both.
import t from 'tap'
import type { ClusterManager } from '../../../lib/cluster/cluster-manager.ts'
import { HostRows } from '../../../lib/cluster/host-rows.ts'
import type { BalancedCluster } from '../../../lib/cluster/lb/balanced-cluster.ts'
import type { LiveCluster } from '../../../lib/cluster/live-cluster.ts'
import {
  EJECTED_FLAG,
  FAILED_CHECK_FLAG,
  HEALTH,
  SharedHosts,
  sharedHostsBytes,
  UNCHECKED_FLAG,
} from '../../../lib/cluster/shared-hosts.ts'
import type { Cluster, Endpoint } from '../../../lib/state/cluster.ts'
import type { Io } from '../../../lib/transport/io.ts'
import { at, countsOf, keepBusy, percents } from '../../suite/balancer.ts'
import { aClusterManager, putClusters } from '../../support/clusters.ts'
import { cluster, endpoint } from '../route/world.ts'

const WORKERS = 2

class Workers {
  readonly managers: ClusterManager[]
  readonly ios: Io[]
  private readonly shared: SharedHosts
  private readonly rows: HostRows
  private config: Cluster

  constructor(config: Cluster) {
    const buffer = new SharedArrayBuffer(sharedHostsBytes(WORKERS))
    const limits = new SharedArrayBuffer(1 << 16)
    this.shared = new SharedHosts(buffer, -1, WORKERS)
    this.rows = new HostRows(this.shared, () => 0)
    this.managers = []
    this.ios = []
    this.config = config
    for (let i = 0; i < WORKERS; i++) {
      const manager = aClusterManager(new SharedHosts(buffer, i, WORKERS), limits, i, WORKERS)
      this.ios.push(manager.io)
      this.managers.push(manager)
    }
    this.clock(0)
    this.update(config.endpoints)
  }

  /** Monotonic ms of all workers. */
  clock(ms: number): void {
    for (const io of this.ios) io.clock.monotonicMs = ms
  }

  update(endpoints: readonly Endpoint[]): void {
    this.config = { ...this.config, endpoints }
    for (const manager of this.managers) putClusters(manager, [this.config], this.rows).refOf('c').live()
  }

  live(worker: number): LiveCluster {
    return [...(this.managers[worker] as ClusterManager).all()][0] as LiveCluster
  }

  of(worker: number): BalancedCluster {
    return this.live(worker).balanced
  }

  /** Sets the health of the first hosts, and lets all workers see it. */
  health(...flags: number[]): void {
    for (const [i, flag] of flags.entries()) {
      const row = this.rows.rowOf('c', this.live(0).hosts[i]?.address ?? '')
      this.shared.cells[this.shared.hostAt(row) + HEALTH] = flag
    }
    this.shared.changed(this.rows.clusterRowOf('c'))
    for (const manager of this.managers) manager.syncHealth()
  }
}

const endpoints = (n: number, priority = 0, from = 1): Endpoint[] =>
  Array.from({ length: n }, (_, i) => ({ ...endpoint(`10.0.${priority}.${from + i}`), priority }))

t.test('all workers fail over when local endpoints are ejected, and come back', async (t) => {
  const config = { ...cluster('c', 'LEAST_REQUEST', [...endpoints(4), ...endpoints(2, 1)]), panicThreshold: 0 }
  const workers = new Workers(config)
  const rows: [flags: number[], percents: number[]][] = [
    [[], [100, 0]],
    [[EJECTED_FLAG], [100, 0]],
    [
      [EJECTED_FLAG, FAILED_CHECK_FLAG],
      [70, 30],
    ],
    [
      [EJECTED_FLAG, EJECTED_FLAG, UNCHECKED_FLAG],
      [35, 65],
    ],
    [
      [EJECTED_FLAG, EJECTED_FLAG, EJECTED_FLAG, EJECTED_FLAG],
      [0, 100],
    ],
    [
      [0, 0, 0, 0],
      [100, 0],
    ],
  ]
  for (const [flags, expected] of rows) {
    workers.health(...flags)
    for (const worker of [0, 1]) t.same(percents(workers.of(worker), 2), expected, `${flags} in worker ${worker}`)
  }
  workers.health(1, 1, 1, 1, 1, 1)
  t.equal(workers.of(0).picker.pick(at(0)), null, 'nobody is left, and nobody panics')
})

t.test('who is said not to be well counts, and gets nothing', async (t) => {
  const ill = (list: readonly Endpoint[], n: number) => list.map((e, i) => ({ ...e, healthy: i >= n }))
  const workers = new Workers({
    ...cluster('c', 'LEAST_REQUEST', [...ill(endpoints(4), 2), ...endpoints(2, 1)]),
    panicThreshold: 0,
  })
  t.same(percents(workers.of(0), 2), [70, 30])
  t.same(
    workers.live(1).hosts.map((h) => h.available),
    [false, false, true, true, true, true],
  )
  workers.update([...endpoints(4), ...endpoints(2, 1)])
  t.same(percents(workers.of(1), 2), [100, 0], 'well again')
})

t.test('LEAST_REQUEST counts the requests of all workers', async (t) => {
  const workers = new Workers(cluster('c', 'LEAST_REQUEST', endpoints(2)))
  keepBusy(workers.live(0).hosts[0] as never, 3)
  // Both draws differ: the first names the busy one.
  const [busy, idle] = workers.live(1).hosts
  t.equal(busy?.active, 3)
  t.equal(workers.of(1).picker.pick(at(0, 0xffff_ffff)), idle)
  keepBusy(idle as never, 4)
  t.equal(workers.of(0).picker.pick(at(0, 0xffff_ffff)), workers.live(0).hosts[0])
})

t.test('a new endpoint warms up, its share growing with time, until the sweep after the window', async (t) => {
  const slowStart = { windowMs: 10_000, minimumPercent: 10, aggression: 1 }
  const workers = new Workers({ ...cluster('c', 'ROUND_ROBIN', endpoints(1)), slowStart })
  workers.clock(60_000)
  workers.update(endpoints(2))
  const share = (now: number): number => {
    workers.clock(now)
    for (const manager of workers.managers) manager.sweep()
    return Math.round((countsOf(workers.of(0).picker, 2, 1100, 1, now)[1] as number) / 11)
  }
  const rows: [ageMs: number, percent: number][] = [
    // 0.1, 0.25 and 0.8 beside 1.
    [100, 9],
    [2500, 20],
    [8000, 44],
    [10_000, 50],
  ]
  for (const [ageMs, percent] of rows) t.equal(share(60_000 + ageMs), percent, `after ${ageMs} ms`)
  t.equal(workers.of(0).picker.constructor.name, 'RotatingPicker')
})

t.test('passing its checks again is a new start, the end of an ejection is none', async (t) => {
  const slowStart = { windowMs: 10_000, minimumPercent: 10, aggression: 1 }
  const workers = new Workers({ ...cluster('c', 'ROUND_ROBIN', endpoints(2)), slowStart })
  workers.clock(60_000)
  workers.health(EJECTED_FLAG)
  workers.clock(70_000)
  workers.health(0)
  t.equal(workers.of(0).warmAtMs, 0)
  workers.health(FAILED_CHECK_FLAG)
  workers.clock(80_000)
  workers.health(0)
  t.equal(workers.of(0).warmAtMs, 90_000)
})
