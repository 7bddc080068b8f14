// The main thread's part: events, ends of ejections, growth, rates, configuration that changes, workers that die. Time is the test's.
import t from 'tap'
import * as E from '../../../lib/cluster/ejecting.ts'
import { HostRows } from '../../../lib/cluster/host-rows.ts'
import { hostAddress } from '../../../lib/cluster/lb/host.ts'
import { OutlierSweep } from '../../../lib/cluster/outlier-sweep.ts'
import {
  CONSECUTIVE_5XX,
  EJECTED,
  EJECTED_FLAG,
  FAILED_CHECK_FLAG,
  HEALTH,
  RESULTS,
  SharedHosts,
  SUCCESSES,
  sharedHostsBytes,
} from '../../../lib/cluster/shared-hosts.ts'
import type { Endpoint } from '../../../lib/state/cluster.ts'
import type { OutlierDetection } from '../../../lib/state/outlier-detection.ts'
import { Logger } from '../../../lib/telemetry/logger.ts'
import { OutlierStats } from '../../../lib/telemetry/outlier-stats.ts'
import { createSlabBuffer, MetricsSlab } from '../../../lib/telemetry/slab.ts'
import { aCluster, anEndpoint, anOutlierDetection } from '../../support/nouns.ts'

const INTERVAL = 10_000
const POLICY = anOutlierDetection({ consecutive5xx: 3, intervalMs: INTERVAL })

const endpoint = (n: number): Endpoint => anEndpoint({ address: `10.0.0.${n}`, port: 80 })

/** One cluster `c`; the hosts are known by their numbers. */
class World {
  readonly shared: SharedHosts
  readonly rows: HostRows
  readonly sweep: OutlierSweep
  readonly log: string[]
  readonly slab: MetricsSlab
  readonly timers: Map<number, () => void>
  remembered: E.FailedRequest[]
  nowMs: number

  constructor(hosts: readonly number[], policy: Partial<OutlierDetection> = {}) {
    this.shared = new SharedHosts(new SharedArrayBuffer(sharedHostsBytes(1)), -1, 1)
    this.nowMs = 0
    this.rows = new HostRows(this.shared, () => this.nowMs)
    this.log = []
    this.slab = new MetricsSlab(createSlabBuffer(1024), () => {}, 0)
    this.timers = new Map()
    this.remembered = []
    this.sweep = new OutlierSweep({
      shared: this.shared,
      rows: this.rows,
      slab: this.slab,
      log: new Logger({ level: 'info', write: (line) => this.log.push(line) }),
      evidence: async () => this.remembered,
      now: () => this.nowMs,
      wallNow: () => 1_000_000 + this.nowMs,
      every: (ms, run) => {
        this.timers.set(ms, run)
        return () => this.timers.delete(ms)
      },
    })
    this.configure(hosts, { ...POLICY, ...policy })
  }

  configure(hosts: readonly number[], policy: OutlierDetection | null): void {
    const cluster = aCluster({ name: 'c', endpoints: hosts.map(endpoint), outlierDetection: policy })
    this.rows.assignHosts('c', cluster.endpoints)
    this.sweep.follow(cluster)
    this.sweep.schedule()
  }

  at(n: number): number {
    return this.shared.hostAt(this.rows.rowOf('c', hostAddress(endpoint(n))))
  }

  /** As a worker does it. */
  eject(n: number): number {
    const row = this.rows.clusterRowOf('c')
    const answer = E.eject(this.shared, row, this.at(n), this.rows.hostsOf('c').size, 100, E.DETECTED_BY_5XX)
    if (answer === E.EJECTED_NOW) this.tell(n)
    return answer
  }

  tell(n: number): void {
    this.sweep.onEjected('c', hostAddress(endpoint(n)), E.DETECTED_BY_5XX, 1_000_000 + this.nowMs)
  }

  isEjected(n: number): boolean {
    return (this.shared.cells[this.at(n) + HEALTH]! & EJECTED_FLAG) !== 0
  }

  get ejected(): number {
    return this.shared.cells[this.shared.clusterAt(this.rows.clusterRowOf('c')) + EJECTED]!
  }

  count(n: number, results: number, successes: number): void {
    Atomics.add(this.shared.cells, this.at(n) + RESULTS, results)
    Atomics.add(this.shared.cells, this.at(n) + SUCCESSES, successes)
  }

  /** Sweeps at each interval until the host is back; how long that took, in ms. */
  sweepUntilBack(n: number): number {
    const began = this.nowMs
    while (this.isEjected(n)) this.tick()
    return this.nowMs - began
  }

  tick(): void {
    this.nowMs += INTERVAL
    this.timers.get(INTERVAL)?.()
  }
}

t.test('an ejection ends at a sweep, and each further one is longer', async (t) => {
  const world = new World([1, 2])
  world.nowMs = 5000
  t.equal(world.eject(1), E.EJECTED_NOW)
  world.shared.cells[world.at(1) + CONSECUTIVE_5XX] = 2
  const lengths: number[] = []
  lengths.push(world.sweepUntilBack(1))
  t.equal(world.shared.cells[world.at(1) + CONSECUTIVE_5XX], 0, 'runs begin anew')
  for (let i = 0; i < 11; i++) {
    world.eject(1)
    lengths.push(world.sweepUntilBack(1))
  }
  // min(30 s · n, 300 s), whole intervals of 10 s. The eleventh may grow once more, which the longest time hides.
  t.same(
    lengths,
    [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300].map((s) => s * 1000),
  )
})

t.test('an ejection between two sweeps lasts until the one after its time', async (t) => {
  const world = new World([1])
  world.nowMs = 9000
  world.eject(1)
  world.nowMs = 10_000
  world.timers.get(INTERVAL)?.()
  const ends: number[] = []
  while (world.isEjected(1)) {
    world.tick()
    ends.push(world.nowMs)
  }
  t.same(ends, [20_000, 30_000, 40_000], '31 s')
})

t.test('a base time above five minutes is the longest one too', async (t) => {
  const world = new World([1], { baseEjectionMs: 600_000, maxEjectionMs: 600_000 })
  world.eject(1)
  t.equal(world.sweepUntilBack(1), 600_000)
  world.eject(1)
  t.equal(world.sweepUntilBack(1), 600_000)
})

t.test('each interval that it is well takes one from the growth', async (t) => {
  const world = new World([1])
  for (let i = 0; i < 3; i++) {
    world.eject(1)
    world.sweepUntilBack(1)
  }
  world.tick()
  world.tick()
  world.eject(1)
  t.equal(world.sweepUntilBack(1), 60_000, '3 - 2 + 1')
  for (let i = 0; i < 10; i++) world.tick()
  world.eject(1)
  t.equal(world.sweepUntilBack(1), 30_000, 'not below nothing')
})

t.test('growth that cannot lengthen an ejection any more does not grow', async (t) => {
  const world = new World([1])
  for (let i = 0; i < 20; i++) {
    world.eject(1)
    world.sweepUntilBack(1)
  }
  // It grows while n · 30 s is below 300 s + 30 s: up to 11.
  for (let i = 0; i < 10; i++) world.tick()
  world.eject(1)
  t.equal(world.sweepUntilBack(1), 60_000, '11 - 10 + 1')
})

t.test('the event: who, why, on which requests, and one line each way', async (t) => {
  const world = new World([1])
  const request = (id: string, atMs: number) => ({ id, status: 503, cause: '', atMs })
  world.remembered = [
    request('late', 2_000_000),
    request('c', 999_900),
    request('a', 999_000),
    request('b', 999_500),
    request('old', 1),
  ]
  world.eject(1)
  await Promise.resolve()
  const [ejection] = world.sweep.history.all
  t.match(ejection, {
    cluster: 'c',
    address: '10.0.0.1:80',
    detector: 'consecutive_5xx',
    reason: '3 failures in a row',
    durationMs: 30_000,
    multiplier: 1,
    sinceMs: 1_000_000,
    endedMs: 0,
  })
  t.same(
    ejection?.evidence.map((r) => r.id),
    ['a', 'b', 'c'],
    'the last three before it',
  )
  t.equal(world.log.length, 1)
  t.match(
    world.log[0],
    /warning ejected 10\.0\.0\.1:80 of c for at least 30000 ms: 3 failures in a row object="built-in default"/,
  )
  t.match(world.log[0], /requests=.*a: 503.*b: 503.*c: 503/)
  world.sweepUntilBack(1)
  t.equal(world.log.length, 2)
  t.match(world.log[1], /info {2}10\.0\.0\.1:80 of c is back after 30000 ms/)
  t.match(world.sweep.history.all[0], { endedMs: 1_030_000, ended: 'time' })
  t.same(world.sweep.history.at('c', 1_010_000).length, 1)
  t.same(world.sweep.history.at('c', 1_030_000).length, 0)
})

t.test('a worker that dies before it tells: the sweep finds what it did', async (t) => {
  const world = new World([1, 2])
  const row = world.rows.clusterRowOf('c')
  E.eject(world.shared, row, world.at(1), 2, 100, E.DETECTED_BY_GATEWAY)
  // It had not even said which detector it was.
  Atomics.or(world.shared.cells, world.at(2) + HEALTH, EJECTED_FLAG)
  Atomics.add(world.shared.cells, world.shared.clusterAt(row) + EJECTED, 1)
  world.tick()
  t.equal(world.sweep.ejectionOf('c', '10.0.0.1:80')?.detector, 'consecutive_gateway_failure')
  t.equal(world.sweep.ejectionOf('c', '10.0.0.2:80')?.detector, 'unknown')
  world.tick()
  await Promise.resolve()
  t.equal(world.log.length, 2, 'each is told once')
  t.match(world.log.join(''), /died before it could say/)
  t.equal(world.sweepUntilBack(1), 20_000, '30 s from the sweep that found it')
  world.sweepUntilBack(2)
  t.equal(world.ejected, 0)
})

t.test('a message that comes after a sweep has found the ejection tells nothing new', async (t) => {
  const world = new World([1])
  E.eject(world.shared, world.rows.clusterRowOf('c'), world.at(1), 1, 100, E.DETECTED_BY_5XX)
  world.tick()
  world.tell(1)
  await Promise.resolve()
  t.equal(world.log.length, 1)
  t.equal(world.sweep.history.all.length, 1)
})

t.test('a place that a dead worker had reserved is free again after two sweeps', async (t) => {
  const world = new World([1, 2])
  Atomics.add(world.shared.cells, world.shared.clusterAt(world.rows.clusterRowOf('c')) + EJECTED, 1)
  world.eject(1)
  world.tick()
  t.equal(world.ejected, 2, 'it may be taken in this moment')
  world.tick()
  t.equal(world.ejected, 1)
})

t.test('reloads', async (t) => {
  const world = new World([1, 2, 3])
  world.eject(1)
  world.eject(2)
  world.configure([2, 3, 4], { ...POLICY, consecutive5xx: 9 })
  t.equal(world.isEjected(2), true, 'who stays stays ejected')
  t.equal(world.ejected, 1, 'who left is not counted')
  t.match(world.sweep.history.all.find((e) => e.address === '10.0.0.1:80')?.ended, 'removed')
  t.equal(world.sweepUntilBack(2), 30_000)
  world.eject(3)
  world.configure([2, 3], null)
  t.equal(world.isEjected(3), false, 'without outlierDetection nobody is ejected')
  t.equal(world.ejected, 0)
  t.equal(world.sweep.history.all[0]?.ended, 'configuration')
  t.equal(world.timers.size, 0)
  // A worker that has not followed yet.
  world.eject(3)
  t.equal(world.isEjected(3), false, 'what it ejects now is undone')
  world.configure([1, 2, 3], POLICY)
  world.eject(1)
  t.equal(world.sweepUntilBack(1), 30_000, 'who comes back begins anew')
})

t.test('a timer that runs is not put off by a reload', async (t) => {
  const world = new World([1])
  const timer = world.timers.get(INTERVAL)
  world.configure([1, 2], POLICY)
  t.equal(world.timers.get(INTERVAL), timer)
  world.configure([1, 2], { ...POLICY, intervalMs: 77 })
  t.same([...world.timers.keys()], [77])
  world.sweep.close()
  t.equal(world.timers.size, 0)
})

t.test('a health check that passes ends an ejection; other flags stay', async (t) => {
  const world = new World([1])
  world.eject(1)
  Atomics.or(world.shared.cells, world.at(1) + HEALTH, FAILED_CHECK_FLAG)
  world.sweep.onCheckPassed('c', '10.0.0.1:80')
  t.equal(world.shared.cells[world.at(1) + HEALTH], FAILED_CHECK_FLAG)
  t.equal(world.sweep.history.all[0]?.ended, 'health check')
  Atomics.store(world.shared.cells, world.at(1) + CONSECUTIVE_5XX, 2)
  world.sweep.onCheckPassed('c', '10.0.0.1:80')
  t.equal(world.shared.cells[world.at(1) + CONSECUTIVE_5XX], 2, 'a run goes on')
})

t.test('success rate', async (t) => {
  const hosts = [1, 2, 3, 4, 5]
  const world = new World(hosts, { successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 1.9 } })
  // 100, 100, 100, 100 and 50 %: below 52 %.
  for (const n of hosts) world.count(n, 200, n === 5 ? 100 : 200)
  world.tick()
  t.same(
    hosts.filter((n) => world.isEjected(n)),
    [5],
  )
  t.match(world.sweep.ejectionOf('c', '10.0.0.5:80'), {
    detector: 'success_rate',
    reason: 'a success rate of 50 % of 200 results is below 52 %, the mean 90 % less 1.9 times 20 %',
  })
  t.same(world.sweep.ratesOf('c', '10.0.0.5:80'), { external: 50, local: null })
  const stats = new OutlierStats(world.slab, 'c')
  t.same(
    [stats.detected(4), stats.enforced(4), stats.enforcedTotal, stats.overflow].map((slot) => world.slab.values[slot]),
    [1, 1, 1, 0],
  )
  world.tick()
  t.same(world.sweep.ratesOf('c', '10.0.0.1:80'), { external: null, local: null }, 'each interval is counted by itself')
})

t.test('success rate: one just above the threshold stays', async (t) => {
  const hosts = [1, 2, 3, 4, 5]
  const world = new World(hosts, { successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 2 } })
  // 90 - 2 · 20 = 50, and 50 is not below 50.
  for (const n of hosts) world.count(n, 200, n === 5 ? 100 : 200)
  world.tick()
  t.same(
    hosts.filter((n) => world.isEjected(n)),
    [],
  )
})

t.test('failure percentage, and the limit', async (t) => {
  const hosts = [1, 2, 3, 4, 5]
  const policy = { failurePercentage: { threshold: 85, minimumHosts: 5, requestVolume: 50 } }
  const world = new World(hosts, { ...policy, maxEjectionPercent: 40 })
  // 85 % and more fail at four of them; 40 % of five are two.
  for (const n of hosts) world.count(n, 100, n === 1 ? 16 : 15)
  world.tick()
  t.same(
    hosts.filter((n) => world.isEjected(n)),
    [2, 3],
  )
  t.equal(world.slab.values[new OutlierStats(world.slab, 'c').overflow], 2)
  t.equal(world.sweep.ejectionOf('c', '10.0.0.2:80')?.reason, '85 % of 100 results were failures, and 85 % are too many')
  const quiet = new World(hosts, policy)
  for (const n of hosts) quiet.count(n, 49, 0)
  quiet.tick()
  t.same(
    hosts.filter((n) => quiet.isEjected(n)),
    [],
    'too few results',
  )
})

t.test('the history keeps the last hundred, and all that last', async (t) => {
  const world = new World([1, 2], { baseEjectionMs: 1, maxEjectionMs: 1 })
  world.configure([1, 2], { ...POLICY, baseEjectionMs: 1e9, maxEjectionMs: 1e9 })
  world.eject(2)
  world.configure([1, 2], { ...POLICY, baseEjectionMs: 1, maxEjectionMs: 1 })
  for (let i = 0; i < 150; i++) {
    world.eject(1)
    world.tick()
  }
  const { all } = world.sweep.history
  t.equal(all.length, 101)
  t.equal(all.at(-1)?.address, '10.0.0.2:80')
})
