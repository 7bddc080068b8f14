// Runs of failures as Envoy counts them, in memory that several workers share.
import t from 'tap'
import { DETECTOR_NAMES } from '../../../lib/cluster/ejecting.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { ClusterDetection, OutlierDetector, statusOfGrpc } from '../../../lib/cluster/outlier-detector.ts'
import {
  EJECTED,
  EJECTED_FLAG,
  EJECTIONS_OVERFLOW,
  HEALTH,
  SharedHosts,
  sharedHostsBytes,
} from '../../../lib/cluster/shared-hosts.ts'
import type { OutlierDetection } from '../../../lib/state/outlier-detection.ts'
import { OutlierStats } from '../../../lib/telemetry/outlier-stats.ts'
import { createSlabBuffer, MetricsSlab } from '../../../lib/telemetry/slab.ts'
import { anEndpoint, anOutlierDetection } from '../../support/nouns.ts'

const WORKERS = 2

/** A cluster of `total` hosts, seen by two workers; the host under test has row 0. */
class World {
  readonly shared: SharedHosts
  readonly detectors: OutlierDetector[]
  readonly hosts: Host[]
  readonly reports: string[]
  readonly slabs: MetricsSlab[]
  readonly total: number
  private requests: number

  constructor(policy: Partial<OutlierDetection>, total = 1) {
    const buffer = new SharedArrayBuffer(sharedHostsBytes(WORKERS))
    this.shared = new SharedHosts(buffer, -1, WORKERS)
    this.reports = []
    this.detectors = []
    this.hosts = []
    this.slabs = []
    this.total = total
    this.requests = 0
    for (let worker = 0; worker < WORKERS; worker++) this.addWorker(buffer, worker, anOutlierDetection(policy))
  }

  private addWorker(buffer: SharedArrayBuffer, worker: number, policy: OutlierDetection): void {
    const shared = new SharedHosts(buffer, worker, WORKERS)
    const slab = new MetricsSlab(createSlabBuffer(1024), () => {}, 0)
    const stats = new OutlierStats(slab, 'c')
    const report = (_cluster: string, address: string, detector: number): void => {
      this.reports.push(`${address} ${DETECTOR_NAMES[detector]} by worker ${worker}`)
    }
    const cluster = new ClusterDetection('c', policy, shared, stats, slab.values, report, { wallMs: 1000 })
    cluster.update(policy, 0, this.total)
    const host = new Host(0, anEndpoint({ address: '10.0.0.1', port: 80 }))
    host.move(shared.cells, shared.hostAt(0), shared.ownAt(0))
    this.hosts.push(host)
    this.slabs.push(slab)
    this.detectors.push(new OutlierDetector(cluster, host))
  }

  /**
   * One result a word: a status, `timeout`, `reset`, `connected` (HTTP), `tcp` (a session's connect); behind `@` the worker, 0 unless said.
   * Returns the position of the result that ejected, from 1; 0: none did.
   */
  play(results: string): number {
    for (const [i, word] of results.split(' ').entries()) {
      const [what = '', worker = '0'] = word.split('@')
      this.tell(this.detectors[Number(worker)] as OutlierDetector, what)
      if (this.ejected) return i + 1
    }
    return 0
  }

  private tell(detector: OutlierDetector, what: string): void {
    const request = { requestId: () => `r${++this.requests}` }
    if (what === 'timeout') detector.onLocalFailure(504, 'timeout', request)
    else if (what === 'reset') detector.onLocalFailure(503, 'connection termination', request)
    else if (what === 'connected') detector.onConnected()
    else if (what === 'tcp') detector.onTcpConnected()
    else detector.onStatus(Number(what), request)
  }

  get ejected(): boolean {
    return (this.shared.cells[this.shared.hostAt(0) + HEALTH]! & EJECTED_FLAG) !== 0
  }

  clusterCell(cell: number): number {
    return this.shared.cells[this.shared.clusterAt(0) + cell]!
  }

  metric(name: 'enforcedTotal' | 'overflow'): number {
    return this.slabs.reduce((sum, slab) => sum + slab.values[new OutlierStats(slab, 'c')[name]]!, 0)
  }
}

interface Row {
  readonly name: string
  readonly policy: Partial<OutlierDetection>
  readonly results: string
  /** Which result ejects, from 1; 0: none. */
  readonly ejects: number
  readonly by?: string
}

const SPLIT: Partial<OutlierDetection> = { splitLocalOrigin: true, consecutiveLocalOrigin: 3, consecutive5xx: 3 }

const ROWS: readonly Row[] = [
  { name: 'five 5xx', policy: { consecutive5xx: 5 }, results: '500 503 599 502 501', ejects: 5, by: 'consecutive_5xx' },
  { name: 'five over two workers', policy: { consecutive5xx: 5 }, results: '500@0 500@1 500@1 500@0 500@1', ejects: 5 },
  { name: 'four are not enough', policy: { consecutive5xx: 5 }, results: '500 500 500 500', ejects: 0 },
  { name: 'a success of the other worker', policy: { consecutive5xx: 3 }, results: '500@0 500@0 200@1 500@0 500@0', ejects: 0 },
  { name: 'a 404 is a success', policy: { consecutive5xx: 2 }, results: '500 404 500', ejects: 0 },
  { name: 'a 600 is no 5xx', policy: { consecutive5xx: 2 }, results: '500 600 500', ejects: 0 },
  { name: 'timeouts and resets', policy: { consecutive5xx: 3 }, results: 'timeout reset 500', ejects: 3 },
  { name: 'switched off', policy: {}, results: '500 500 500 500 500 500 500', ejects: 0 },
  {
    name: 'gateway errors',
    policy: { consecutiveGateway: 3 },
    results: '502 503 504',
    ejects: 3,
    by: 'consecutive_gateway_failure',
  },
  {
    name: 'another 5xx ends a run of gateway errors',
    policy: { consecutiveGateway: 3 },
    results: '502 503 500 504 502',
    ejects: 0,
  },
  {
    name: 'but not that of 5xx',
    policy: { consecutiveGateway: 3, consecutive5xx: 5 },
    results: '502 503 500 504 502',
    ejects: 5,
    by: 'consecutive_5xx',
  },
  { name: 'timeouts and resets are gateway errors', policy: { consecutiveGateway: 2 }, results: 'reset timeout', ejects: 2 },
  {
    name: 'split: local failures',
    policy: SPLIT,
    results: 'reset timeout reset',
    ejects: 3,
    by: 'consecutive_local_origin_failure',
  },
  { name: 'split: not mixed with statuses', policy: SPLIT, results: 'reset 500 reset 500', ejects: 0 },
  { name: 'split: a connection ends the local run', policy: SPLIT, results: 'reset reset connected reset reset', ejects: 0 },
  { name: 'split: but not the run of statuses', policy: SPLIT, results: '500 connected 500 connected 500', ejects: 5 },
  { name: 'split: a good status does not end the local run', policy: SPLIT, results: 'reset reset 200 reset', ejects: 4 },
  { name: 'no split: a connection is no success', policy: { consecutive5xx: 2 }, results: 'reset connected reset', ejects: 3 },
  { name: 'no split: a TCP session is one', policy: { consecutive5xx: 2 }, results: 'reset tcp reset', ejects: 0 },
  { name: 'split: so is it there', policy: { ...SPLIT, consecutiveLocalOrigin: 2 }, results: 'reset tcp reset', ejects: 0 },
  {
    name: 'own error statuses',
    policy: { consecutive5xx: 2, errorStatuses: [{ from: 429, to: 429 }] },
    results: '500 429 503 429 429',
    ejects: 5,
  },
  {
    name: 'own error statuses: what is a gateway error stays one',
    policy: { consecutiveGateway: 2, errorStatuses: [{ from: 400, to: 599 }] },
    results: '503 429 503 503',
    ejects: 4,
  },
  {
    name: 'own error statuses do not hide resets',
    policy: { consecutive5xx: 2, errorStatuses: [{ from: 429, to: 429 }] },
    results: 'reset reset',
    ejects: 2,
  },
]

t.test('runs', async (t) => {
  for (const row of ROWS) {
    const world = new World(row.policy)
    t.equal(world.play(row.results), row.ejects, row.name)
    if (row.by !== undefined) t.match(world.reports[0], row.by, row.name)
    t.equal(world.reports.length, row.ejects === 0 ? 0 : 1, `${row.name}: told once`)
    t.equal(world.clusterCell(EJECTED), row.ejects === 0 ? 0 : 1, `${row.name}: counted`)
  }
})

t.test('maxEjectionPercent is strict, over all hosts of the cluster', async (t) => {
  for (const [percent, total, may] of [
    [10, 5, false],
    [10, 9, false],
    [10, 10, true],
    [50, 2, true],
    [49, 2, false],
    [0, 1, false],
    [100, 1, true],
  ] as const) {
    const world = new World({ consecutive5xx: 2, maxEjectionPercent: percent }, total)
    t.equal(world.play('500 500') > 0, may, `${percent} % of ${total}`)
    t.equal(world.metric('overflow'), may ? 0 : 1)
    t.equal(world.clusterCell(EJECTIONS_OVERFLOW), may ? 0 : 1)
    t.equal(world.metric('enforcedTotal'), may ? 1 : 0)
  }
})

t.test('a run that the limit forbade begins anew', async (t) => {
  const world = new World({ consecutive5xx: 3, maxEjectionPercent: 10 }, 5)
  world.play('500 500 500 500 500')
  t.equal(world.metric('overflow'), 1, 'three, and two of the next run')
  world.play('500')
  t.equal(world.metric('overflow'), 2)
})

t.test('what comes while it is ejected neither ejects again nor is told', async (t) => {
  const world = new World({ consecutive5xx: 2, consecutiveGateway: 3 })
  t.equal(world.play('503 503'), 2)
  world.play('503@1')
  world.play('503@1')
  t.equal(world.reports.length, 1)
  t.equal(world.clusterCell(EJECTED), 1)
})

t.test('the newest failures are remembered by each worker', async (t) => {
  const world = new World({ consecutive5xx: 100 })
  for (let i = 0; i < 10; i++) world.play('500@0 200@0 reset@1')
  const [first, second] = world.detectors
  t.same(
    first?.failures.map((f) => f.id),
    ['r5', 'r7', 'r9', 'r11', 'r13', 'r15', 'r17', 'r19'],
    'a success leaves nothing',
  )
  t.same(first?.failures[0], { id: 'r5', status: 500, cause: '', atMs: 1000 })
  t.match(second?.failures.at(-1), { id: 'r20', status: 0, cause: 'connection termination' })
})

t.test('grpc-status as HTTP status', async (t) => {
  const table = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]
  for (const [grpc, http] of table.entries()) t.equal(statusOfGrpc(grpc), http, String(grpc))
  t.equal(statusOfGrpc(99), 500, 'unknown')
})
