// When who is asked, what the results do to the flags that the workers read, and what is left when it ends. Time is the test's.
import t from 'tap'
import { Attempt, type CheckResult } from '../../../../lib/cluster/health-checks/attempt.ts'
import { EndpointHealth } from '../../../../lib/cluster/health-checks/endpoint-health.ts'
import { HealthChecker } from '../../../../lib/cluster/health-checks/health-checker.ts'
import { HostRows } from '../../../../lib/cluster/host-rows.ts'
import { hostAddress } from '../../../../lib/cluster/lb/host.ts'
import {
  EJECTED_FLAG,
  FAILED_CHECK_FLAG,
  HEALTH,
  SharedHosts,
  sharedHostsBytes,
  UNCHECKED_FLAG,
} from '../../../../lib/cluster/shared-hosts.ts'
import type { Cluster, Endpoint } from '../../../../lib/state/cluster.ts'
import type { HealthCheck } from '../../../../lib/state/health-check.ts'
import { HealthCheckStats } from '../../../../lib/telemetry/health-check-stats.ts'
import { MetricsRegistry } from '../../../../lib/telemetry/metrics-registry.ts'
import { Metrics } from '../../../support/metrics.ts'
import { aCluster } from '../../../support/nouns.ts'
import { checkOf, endpointAt } from './kit.ts'

const PASS: CheckResult = { passed: true, seen: 'answered 200', network: false }
const FAIL: CheckResult = { passed: false, seen: 'answered 503, expected 200-299', network: false }
const LOST: CheckResult = { passed: false, seen: 'could not connect: ECONNREFUSED', network: true }
const CHECK = checkOf({ kind: 'tcp', port: 0 })
/** Clusters need no more of their configuration here. */
const clusterOf = (name: string, endpoints: readonly Endpoint[]) => aCluster({ name, endpoints })

t.test('thresholds: the first result decides alone, then so many of one kind in a row', async (t) => {
  type Row = [title: string, more: Partial<HealthCheck>, results: string, states: string]
  // p and f: a check that passed or failed. W, L and dot: what is known after it, well, left out, nothing.
  const rows: Row[] = [
    ['well at once', {}, 'p', 'W'],
    ['left out at once', {}, 'f', 'L'],
    ['one failure is forgiven', {}, 'pfpfp', 'WWWWW'],
    ['two are not', {}, 'pffp', 'WWLL'],
    ['two passes bring it back', {}, 'fpfpp', 'LLLLW'],
    ['one is enough', { unhealthyThreshold: 1, healthyThreshold: 1 }, 'pfpf', 'WLWL'],
    ['three and four', { unhealthyThreshold: 3, healthyThreshold: 4 }, 'pfffpppfpppp', 'WWWLLLLLLLLW'],
  ]
  for (const [title, more, results, states] of rows) {
    const health = new EndpointHealth({ ...CHECK, ...more })
    let seen = ''
    for (const r of results) {
      const before = health.healthy
      t.equal(health.note(r === 'p' ? PASS : FAIL), before !== health.healthy)
      seen += health.healthy === null ? '.' : health.healthy ? 'W' : 'L'
    }
    t.equal(seen, states, title)
  }
})

/** A checker whose endpoints answer what the test says when it says so. */
class World {
  readonly hosts: SharedHosts
  readonly rows: HostRows
  readonly checker: HealthChecker
  /** Checks under way, by address. */
  readonly running: Map<string, Attempt>
  /** Addresses in the order in which they were asked. */
  readonly asked: string[]
  readonly pauses: { readonly ms: number; readonly over: () => void }[]
  readonly log: string[]
  readonly passes: string[]
  readonly registry: MetricsRegistry
  nowMs: number
  private clusters: readonly Cluster[]

  constructor(random = 0.5) {
    this.hosts = new SharedHosts(new SharedArrayBuffer(sharedHostsBytes(1)), -1, 1)
    this.rows = new HostRows(this.hosts, () => 0)
    this.running = new Map()
    this.asked = []
    this.pauses = []
    this.log = []
    this.passes = []
    this.registry = new MetricsRegistry()
    this.nowMs = 1
    this.clusters = []
    const say = (level: string) => (message: string) => void this.log.push(`${level} ${message}`)
    this.checker = new HealthChecker({
      hosts: this.hosts,
      rows: this.rows,
      statsFor: (cluster) => new HealthCheckStats(this.registry.main, cluster),
      log: { debug: say('debug'), info: say('info'), warning: say('warning') },
      onPass: (cluster, address) => void this.passes.push(`${cluster} ${address}`),
      start: (check, endpoint) => this.start(check, endpoint),
      schedule: (callback, ms) => {
        const pause = { ms, over: callback }
        this.pauses.push(pause)
        return () => void (this.pauses.includes(pause) && this.pauses.splice(this.pauses.indexOf(pause), 1))
      },
      random: () => random,
      wallNow: () => this.nowMs,
    })
  }

  private start(check: HealthCheck, endpoint: Endpoint): Attempt {
    const attempt = new Attempt(check.timeoutMs)
    const address = hostAddress(endpoint)
    if (this.running.has(address)) throw new Error(`${address} is asked twice at once`)
    this.asked.push(address)
    this.running.set(address, attempt)
    attempt.atEnd(() => this.running.delete(address))
    return attempt
  }

  update(...clusters: Cluster[]): void {
    for (const { name } of this.clusters) {
      if (clusters.some((c) => c.name === name)) continue
      this.rows.release(name)
      this.checker.remove(name)
    }
    for (const { name, endpoints } of clusters) {
      this.rows.assignHosts(name, endpoints)
      this.checker.updateEndpoints(name, endpoints)
    }
    this.clusters = clusters
  }

  async answer(address: string, result: CheckResult): Promise<void> {
    const attempt = this.running.get(address)
    if (attempt === undefined) throw new Error(`${address} is not asked; ${[...this.running.keys()].join()} are`)
    if (result.passed) attempt.pass(result.seen)
    else if (result.network) attempt.broke(Object.assign(new Error(), { code: 'ECONNREFUSED' }))
    else attempt.fail(result.seen)
    await turn()
  }

  /** The only pause is over. */
  next(): number {
    const [pause, ...others] = this.pauses.splice(0)
    if (pause === undefined || others.length > 0) throw new Error(`there are ${others.length + 1} pauses`)
    pause.over()
    return pause.ms
  }

  flags(cluster: string, address: string): number {
    return this.hosts.cells[this.hosts.hostAt(this.rows.rowOf(cluster, address)) + HEALTH] as number
  }

  metric(name: string): number | null {
    return new Metrics(this.registry.expose()).value(`envoy_cluster_health_check_${name}`)
  }
}

/** What a result sets off has happened. */
const turn = () => new Promise((resolve) => setImmediate(resolve))
const A = '127.0.0.1:1'
const B = '127.0.0.1:2'

t.test('a new endpoint is not used before its first result; changes are told to the workers', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1, CHECK), endpointAt(3)]))
  t.equal(w.flags('c', A), UNCHECKED_FLAG)
  t.equal(w.flags('c', '127.0.0.1:3'), 0, 'one without a check')
  t.same(w.asked, [A])
  let version = w.hosts.version
  const changed = () => {
    const before = version
    version = w.hosts.version
    return version !== before
  }
  await w.answer(A, PASS)
  t.equal(w.flags('c', A), 0)
  t.ok(changed())
  t.equal(w.next(), 1000, 'then the interval')
  await w.answer(A, FAIL)
  t.equal(w.flags('c', A), 0)
  t.notOk(changed(), 'one failure changes nothing')
  w.next()
  await w.answer(A, FAIL)
  t.equal(w.flags('c', A), FAILED_CHECK_FLAG)
  t.ok(changed())
  w.next()
  await w.answer(A, PASS)
  t.equal(w.flags('c', A), FAILED_CHECK_FLAG)
  w.next()
  await w.answer(A, PASS)
  t.equal(w.flags('c', A), 0)
  t.ok(changed())
  t.same(w.log, [
    'debug health check: 127.0.0.1:1 of c is used: TCP check of 127.0.0.1:1 answered 200; built-in default',
    'warning health check: 127.0.0.1:1 of c is left out: TCP check of 127.0.0.1:1 answered 503, expected 200-299; built-in default; 2 failures in a row',
    'info health check: 127.0.0.1:1 of c is used again: TCP check of 127.0.0.1:1 answered 200; built-in default',
  ])
})

t.test('when an endpoint was left out, and why, is remembered', async (t) => {
  const w = new World()
  const absent = (atMs: number) =>
    w.checker
      .absentAt('c', atMs)
      .map((a) => `${a.address} ${a.sinceMs}-${a.untilMs === 0 ? '' : a.untilMs} ${a.failure ?? 'no result'}`)
  w.nowMs = 100
  w.update(clusterOf('c', [endpointAt(1, CHECK), endpointAt(2, CHECK)]))
  t.same(absent(99), [])
  t.same(absent(100), [`${A} 100- no result`, `${B} 100- no result`])
  w.nowMs = 110
  await w.answer(A, LOST)
  await w.answer(B, PASS)
  t.equal(w.flags('c', A), FAILED_CHECK_FLAG)
  t.same(absent(105), [`${A} 100-110 no result`, `${B} 100-110 no result`])
  t.same(absent(115), [`${A} 110- TCP check of ${A} could not connect: ECONNREFUSED`])
  w.checker.updateEndpoints('c', [endpointAt(1, CHECK)])
  w.nowMs = 120
  w.next()
  await w.answer(A, FAIL)
  const failure = `TCP check of ${A} answered 503, expected 200-299`
  t.same(absent(115), [`${A} 110- ${failure}`], 'the newest reason')
  w.nowMs = 130
  w.next()
  await w.answer(A, PASS)
  t.same(absent(130), [`${A} 110- ${failure}`], 'one pass is not enough')
  w.nowMs = 140
  w.next()
  await w.answer(A, PASS)
  t.same(absent(139), [`${A} 110-140 ${failure}`])
  t.same(absent(141), [])
  w.next()
  await w.answer(A, FAIL)
  t.same(absent(141), [], 'one failure is not enough')
  t.same(w.checker.absentAt('d', 141), [])
  t.same(
    ['attempt', 'success', 'failure', 'network_failure', 'healthy'].map((name) => w.metric(name)),
    [6, 3, 3, 1, 1],
  )
  for (let i = 0; i < 40; i++) {
    w.nowMs++
    w.next()
    await w.answer(A, i % 4 < 2 ? FAIL : PASS)
  }
  t.equal(
    Array.from({ length: 300 }, (_, at) => absent(at))
      .flat()
      .filter((text, i, all) => all.indexOf(text) === i).length,
    8,
    'the last eight',
  )
})

t.test('pauses differ a little', async (t) => {
  for (const [random, ms] of [
    [0, 900],
    [1, 1100],
  ] as const) {
    const w = new World(random)
    w.update(clusterOf('c', [endpointAt(1, CHECK)]))
    await w.answer(A, PASS)
    t.equal(Math.round(w.next()), ms)
  }
})

t.test('an update keeps what is known of endpoints that stay, and asks about the others', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1, CHECK)]), clusterOf('d', [endpointAt(1, CHECK)].slice(1)))
  await w.answer(A, FAIL)
  const moved = { ...CHECK, origin: { ...CHECK.origin, line: 7 } }
  w.update(clusterOf('c', [endpointAt(1, moved), endpointAt(2, moved)]))
  t.equal(w.flags('c', A), FAILED_CHECK_FLAG, 'it stays left out')
  t.equal(w.flags('c', B), UNCHECKED_FLAG)
  t.same(w.asked, [A, B], 'a line that moved is no reason to ask anew')
  await w.answer(B, PASS)
  t.equal(w.pauses.length, 2)
  w.update(clusterOf('c', [endpointAt(2, CHECK)]))
  t.equal(w.pauses.length, 1, 'one that is gone is asked no more')
  t.same(w.checker.absentAt('c', 0), [])
  w.update()
  t.equal(w.pauses.length, 0, 'nor are those of a cluster that is gone')
  t.equal(w.metric('healthy'), 0)
})

t.test('an endpoint that is gone while it is asked', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1, CHECK)]))
  w.update(clusterOf('c', []))
  t.equal(w.running.size, 0, 'the check is given up')
  await turn()
  t.equal(w.pauses.length, 0, 'and not repeated')
  t.equal(w.metric('attempt') ?? 0, 0, 'nor counted')
})

t.test('an endpoint in use stays in use until its first result', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1)]))
  w.update(clusterOf('c', [endpointAt(1, { ...CHECK, initialDelayMs: 5000 })]))
  t.equal(w.flags('c', A), 0)
  t.same(w.asked, [A], 'it has been running for long: at once')
  await w.answer(A, FAIL)
  t.equal(w.flags('c', A), FAILED_CHECK_FLAG)
  w.update(clusterOf('c', [endpointAt(1)]))
  t.equal(w.flags('c', A), 0, 'without a check nothing is held against it')
})

t.test('another question is asked at once; until its answer the old one counts', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1, CHECK)]))
  await w.answer(A, FAIL)
  w.next()
  t.equal(w.running.size, 1)
  const other = { ...CHECK, probe: { kind: 'tcp', port: 9 } as const }
  w.update(clusterOf('c', [endpointAt(1, other)]))
  await turn()
  t.equal(w.flags('c', A), FAILED_CHECK_FLAG)
  t.same(w.asked, [A, A, A])
  t.equal(w.pauses.length, 0)
  await w.answer(A, PASS)
  t.equal(w.flags('c', A), 0, 'the first result decides alone')
  t.equal(w.pauses.length, 1, 'one loop goes on, not two')
  w.next()
  w.update(clusterOf('c', [endpointAt(1, CHECK)]))
  w.update(clusterOf('c', [endpointAt(1, other)]))
  await turn()
  t.equal(w.flags('c', A), 0, 'a check that was given up says nothing, not even when its question is asked again')
  await w.answer(A, PASS)
  t.equal(w.pauses.length, 1)
  w.update(clusterOf('c', [endpointAt(1, { ...other, intervalMs: 50 })]))
  t.equal(w.pauses.length, 0, 'not the old pause')
  await w.answer(A, PASS)
  t.equal(w.next(), 50)
})

t.test('the initial delay; settled waits for those that can have a result', async (t) => {
  const w = new World()
  const late = { ...CHECK, initialDelayMs: 5000 }
  w.update(clusterOf('c', [endpointAt(1, CHECK), endpointAt(2, late)]))
  t.same(w.asked, [A])
  t.equal(w.flags('c', B), UNCHECKED_FLAG)
  t.equal(w.checker.unchecked(3000), 1)
  let done = false
  const settled = w.checker.settled(3000).then(() => {
    done = true
  })
  await turn()
  t.notOk(done)
  t.same(
    w.pauses.map((p) => p.ms),
    [5000, 3000],
  )
  await w.answer(A, FAIL)
  await settled
  t.same(
    w.pauses.map((p) => p.ms),
    [5000, 1000],
    'its limit is gone',
  )
  t.equal(w.checker.unchecked(3000), 0)
  await w.checker.settled(3000)
  const [delay] = w.pauses.splice(0, 1)
  delay?.over()
  t.same(w.asked, [A, B])
})

t.test('settled ends with its limit, and with stop', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1, CHECK)]))
  const limited = w.checker.settled(3000)
  t.equal(w.next(), 3000)
  await limited
  const stopped = w.checker.settled(3000)
  w.checker.stop()
  await stopped
  t.equal(w.running.size + w.pauses.length, 0)
  await turn()
  w.update(clusterOf('c', [endpointAt(2, CHECK)]))
  t.same(w.asked, [A], 'nobody is asked after the end')
  t.equal(w.running.size + w.pauses.length, 0)
})

t.test('not more than 256 at once', async (t) => {
  const w = new World()
  w.update(
    clusterOf(
      'c',
      Array.from({ length: 600 }, (_, i) => endpointAt(i + 1, CHECK)),
    ),
  )
  t.equal(w.running.size, 256)
  await w.answer(A, PASS)
  t.equal(w.running.size, 256)
  t.equal(w.asked.length, 257)
  w.checker.stop()
  await turn()
  t.equal(w.running.size, 0)
  t.equal(w.asked.length, 257, 'those that waited are not asked any more')
})

t.test('who is well says so with each check that passes; other flags are left alone', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1, CHECK)]))
  await w.answer(A, PASS)
  t.same(w.passes, [`c ${A}`])
  Atomics.or(w.hosts.cells, w.hosts.hostAt(w.rows.rowOf('c', A)) + HEALTH, EJECTED_FLAG)
  for (const flags of [EJECTED_FLAG, EJECTED_FLAG | FAILED_CHECK_FLAG]) {
    w.next()
    await w.answer(A, FAIL)
    t.equal(w.flags('c', A), flags)
  }
  w.next()
  await w.answer(A, PASS)
  t.equal(w.passes.length, 1, 'not well yet')
  w.next()
  await w.answer(A, PASS)
  t.equal(w.passes.length, 2)
  t.equal(w.flags('c', A), EJECTED_FLAG)
})

t.test('the same endpoint in two clusters is asked for each', async (t) => {
  const w = new World()
  w.update(clusterOf('c', [endpointAt(1, CHECK)]))
  await w.answer(A, FAIL)
  w.update(clusterOf('c', [endpointAt(1, CHECK)]), clusterOf('d', [endpointAt(1, CHECK), endpointAt(1, CHECK)]))
  t.equal(w.asked.length, 2, 'and once where it is listed twice')
  await w.answer(A, PASS)
  t.equal(w.flags('c', A), FAILED_CHECK_FLAG)
  t.equal(w.flags('d', A), 0)
})
