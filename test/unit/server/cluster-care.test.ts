import t from 'tap'
import { HealthChecker } from '../../../lib/cluster/health-checks/health-checker.ts'
import { HostRows } from '../../../lib/cluster/host-rows.ts'
import { ACTIVE } from '../../../lib/cluster/lb/host.ts'
import { OutlierSweep } from '../../../lib/cluster/outlier-sweep.ts'
import { HEALTH, SharedHosts, sharedHostsBytes, UNCHECKED_FLAG } from '../../../lib/cluster/shared-hosts.ts'
import { ClusterCare, namesOtherSecrets } from '../../../lib/server/cluster-care.ts'
import type { Cluster } from '../../../lib/state/cluster.ts'
import type { HealthCheck } from '../../../lib/state/health-check.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import { HealthCheckStats } from '../../../lib/telemetry/health-check-stats.ts'
import { Logger } from '../../../lib/telemetry/logger.ts'
import { createSlabBuffer, MetricsSlab } from '../../../lib/telemetry/slab.ts'
import { aClusterManager } from '../../support/clusters.ts'
import { aCluster, anEndpoint, anOutlierDetection } from '../../support/nouns.ts'

const CHECK: HealthCheck = {
  probe: { kind: 'tcp', port: 0 },
  intervalMs: 1000,
  timeoutMs: 1000,
  initialDelayMs: 0,
  healthyThreshold: 1,
  unhealthyThreshold: 1,
  origin: BUILT_IN,
}

const endpoint = (n: number) => anEndpoint({ address: `10.0.0.${n}` })
const clusterOf = (name: string, numbers: readonly number[], over: Partial<Cluster> = {}): Cluster =>
  aCluster({ name, endpoints: numbers.map(endpoint), ...over, limits: {} })

class World {
  readonly shared: SharedHosts
  readonly sharedBuffer: SharedArrayBuffer
  readonly rows: HostRows
  readonly sweeps: Set<number>
  readonly care: ClusterCare

  constructor(placesInAdvance: number) {
    this.sharedBuffer = new SharedArrayBuffer(sharedHostsBytes(1))
    this.shared = new SharedHosts(this.sharedBuffer, -1, 1)
    this.rows = new HostRows(this.shared, () => 0)
    this.sweeps = new Set()
    const slab = new MetricsSlab(createSlabBuffer(1024), () => {}, 0)
    const log = new Logger({ level: 'error', write: () => {} })
    const outliers = new OutlierSweep({
      shared: this.shared,
      rows: this.rows,
      slab,
      log,
      evidence: async () => [],
      now: () => 0,
      wallNow: () => 0,
      every: (ms) => {
        this.sweeps.add(ms)
        return () => this.sweeps.delete(ms)
      },
    })
    const checks = new HealthChecker({
      hosts: this.shared,
      rows: this.rows,
      statsFor: (cluster) => new HealthCheckStats(slab, cluster),
      log,
      onPass: () => {},
      // Nothing is asked in this test.
      start: () => ({ result: new Promise(() => {}), cancel: () => {} }) as never,
    })
    this.care = new ClusterCare({ rows: this.rows, outliers, checks }, placesInAdvance)
  }

  health(name: string, n: number): number {
    return this.shared.cells[this.shared.hostAt(this.rows.rowOf(name, `10.0.0.${n}:9080`)) + HEALTH] as number
  }
}

t.test('while few have places, all clusters get theirs at once', async (t) => {
  const { care, rows } = new World(4)
  const c = clusterOf('c', [1])
  care.use([clusterOf('a', [1, 2]), clusterOf('b', [1, 2]), c])
  t.same(
    ['a', 'b', 'c'].map((name) => rows.has(name)),
    [true, true, false],
  )
  care.use([c])
  t.same([rows.has('a'), rows.hosts, care.rowsOf('a')], [false, 0, null])
  care.use([clusterOf('c', [1, 2])])
  t.ok(rows.has('c'), 'now there is room')
})

t.test('beyond that a cluster is looked after once it is used', async (t) => {
  const { care, rows, sweeps } = new World(0)
  const policy = anOutlierDetection({ intervalMs: 7000 })
  care.use([clusterOf('a', [1, 2], { outlierDetection: policy }), clusterOf('b', [1])])
  t.same([rows.hosts, sweeps.size, care.rowsOf('a')], [0, 0, null])
  const given = care.firstUse('a')
  t.equal(given?.hosts.length, 2)
  t.same([...sweeps], [7000])
  t.equal(care.firstUse('a'), null, 'another worker was told too')
  t.equal(care.firstUse('x'), null, 'it is no more')
  care.use([clusterOf('a', [2, 3, 4], { outlierDetection: policy }), clusterOf('b', [1])])
  const after = care.rowsOf('a')
  t.same([after?.cluster, after?.hosts[0], after?.hosts.length], [given?.cluster, given?.hosts[1], 3])
  care.use([])
  t.same([rows.hosts, sweeps.size], [0, 0])
})

t.test('endpoints with a health check have places from the beginning', async (t) => {
  const world = new World(0)
  world.care.use([clusterOf('a', [], { endpoints: [{ ...endpoint(1), healthCheck: CHECK }, endpoint(2)] })])
  t.same([world.health('a', 1), world.health('a', 2)], [UNCHECKED_FLAG, 0])
  world.care.use([clusterOf('a', [1, 2])])
  t.equal(world.health('a', 1), 0)
})

t.test('what has changed is returned, with what it was', async (t) => {
  const { care } = new World(0)
  const [a, b, c] = [clusterOf('a', []), clusterOf('b', []), clusterOf('c', [])]
  t.same(care.use([a, b]), [
    [null, a],
    [null, b],
  ])
  const b2 = clusterOf('b', [1])
  t.same(care.use([b2, c]), [
    [a, null],
    [b, b2],
    [null, c],
  ])
  t.same(care.use([b2, c]), [])
})

t.test('other secrets', async (t) => {
  const tls = (certificate: string, trust: string) =>
    ({ ...clusterOf('a', []), tls: { certificate, trust } }) as unknown as Cluster
  const rows: [before: Cluster | null, after: Cluster | null, expected: boolean][] = [
    [null, clusterOf('a', []), false],
    [null, tls('x', ''), true],
    [tls('x', 'y'), tls('x', 'y'), false],
    [tls('x', 'y'), tls('x', 'z'), true],
    [tls('x', 'y'), null, true],
  ]
  for (const [before, after, expected] of rows) t.equal(namesOtherSecrets(before, after), expected)
})

t.test('a worker counts alone until it is told where, and takes along what it has counted', async (t) => {
  const world = new World(0)
  const config = clusterOf('a', [1, 2])
  world.care.use([config])
  const manager = aClusterManager(new SharedHosts(world.sharedBuffer, 0, 1), new SharedArrayBuffer(1 << 16))
  const first: [string, boolean][] = []
  manager.onFirstUse = ({ name }, hasRows) => first.push([name, hasRows])
  manager.put('a', { load: () => config }, world.care.rowsOf('a'))
  const target = manager.refOf('a')
  t.same(first, [], 'nobody has used it')
  const host = target.live()?.hosts[1]
  target.live()
  t.same(first, [['a', false]])
  host?.add(ACTIVE)
  const rows = world.care.firstUse('a')
  if (rows === null) throw new Error('no rows')
  manager.useRows('a', rows)
  const at = world.shared.hostAt(rows.hosts[1] as number)
  t.equal(world.shared.cells[at + ACTIVE], 1)
  host?.remove(ACTIVE)
  t.equal(world.shared.cells[at + ACTIVE], 0)
  t.equal(target.live()?.hosts[1], host)
})
