// Priorities and localities as a request meets them: the sentences of `explain`, and which priorities retries avoid.
import t from 'tap'
import type { BalancedCluster } from '../../../lib/cluster/lb/balanced-cluster.ts'
import type { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import { pickAgain } from '../../../lib/decide/decide.ts'
import { Decision } from '../../../lib/decide/decision.ts'
import { explain, explainRequest } from '../../../lib/decide/explain.ts'
import { StepRing } from '../../../lib/decide/steps.ts'
import type { Tables } from '../../../lib/route/compile.ts'
import type { CompiledRoute } from '../../../lib/route/compiled-route.ts'
import type { Cluster } from '../../../lib/state/cluster.ts'
import type { RetryPolicy } from '../../../lib/state/route.ts'
import { zoneWeight } from '../../suite/balancer.ts'
import { aRetryPolicy } from '../../support/nouns.ts'
import { cluster, endpoint, forward, route, table, view, virtualHost, world } from '../route/world.ts'

const RETRY = aRetryPolicy({ on: ['5xx'], attempts: 9, avoidPreviousHosts: false, remoteLocalities: true, unsafe: 'allowed' })

interface Group {
  readonly priority?: number
  readonly zone?: string
  readonly healthy: number
  readonly total: number
}

function worldOf(groups: readonly Group[], over: Partial<Cluster> = {}, retry: RetryPolicy | null = null): Tables {
  const endpoints = groups.flatMap(({ priority = 0, zone = '', total }, g) =>
    Array.from({ length: total }, (_, i) => ({
      ...endpoint(`10.0.${g}.${i}`),
      priority,
      locality: { region: 'r', zone, subzone: '' },
    })),
  )
  const tables = world(
    [table(9080, [virtualHost('a', ['a'], [route('all', {}, forward({ retry }))])])],
    [{ ...cluster('a', 'RANDOM', endpoints), panicThreshold: 0, ...over }],
  )
  const made = clusterIn(tables)
  let at = 0
  for (const { healthy, total } of groups) {
    for (let i = 0; i < total; i++) (made.hosts[at++] as Host).available = i < healthy
  }
  made.refresh(0)
  return tables
}

const routeIn = (tables: Tables) => tables.list[0]?.virtualHosts[0]?.routes[0] as CompiledRoute
const clusterIn = (tables: Tables) => routeIn(tables).weighted[0]?.target.live() as BalancedCluster

/** What `explain` says of priority and locality, for a draw. */
function said(tables: Tables, draw: number): string[] {
  const pick = Object.assign(new PickContext(), { draw })
  const explanation = explainRequest(
    tables,
    { request: view('/', { authority: 'a:9080' }), routeTable: '', draw: 0, pick, context: null, session: 'none', nowSeconds: 0 },
    'x',
  )
  return explanation.steps.filter((s) => s.step === 'priority' || s.step === 'locality').map((s) => s.text)
}

t.test('sentences', async (t) => {
  const far = { priority: 1, healthy: 2, total: 2 }
  const rows: [groups: Group[], over: Partial<Cluster>, draw: number, sentences: string[]][] = [
    [[{ healthy: 3, total: 4 }], {}, 0, []],
    [
      [{ healthy: 1, total: 4 }, far],
      {},
      35,
      ['priority 1, because of the 4 endpoints of priority 0 one is healthy (35 % of the load)'],
    ],
    [[{ healthy: 1, total: 4 }, far], {}, 34, ['priority 0, which has 35 % of the load: of its 4 endpoints one is healthy']],
    [[{ healthy: 4, total: 4 }, far], {}, 0, ['priority 0, which has 100 % of the load: all of its 4 endpoints are healthy']],
    [
      [
        { healthy: 0, total: 1 },
        { priority: 1, healthy: 2, total: 4 },
        { priority: 2, healthy: 1, total: 1 },
      ],
      {},
      99,
      [
        'priority 2, because of the 1 endpoint of priority 0 none is healthy (0 % of the load), and of the 4 endpoints of priority 1 2 are healthy (70 % of the load)',
      ],
    ],
    [
      [{ healthy: 1, total: 4 }],
      { panicThreshold: 50 },
      0,
      ['priority 0 is in panic: of its 4 endpoints one is healthy, which is less than 50 %, so all of them are used'],
    ],
    [
      [
        { zone: 'a', healthy: 0, total: 1 },
        { zone: 'b', healthy: 1, total: 1 },
        { zone: 'c', healthy: 2, total: 4 },
      ],
      { localityWeights: [zoneWeight('a', 10), zoneWeight('b', 30), zoneWeight('c', 100)] },
      0,
      // 30 and 100 × 0.7.
      ['priority 0, which has 100 % of the load: of its 6 endpoints 3 are healthy', 'locality r/c, which has 70 % of the weight'],
    ],
  ]
  for (const [groups, over, draw, sentences] of rows) t.same(said(worldOf(groups, over), draw), sentences)
})

t.test('retryRemoteLocalities: after every second attempt the priorities tried are avoided, until none is left', async (t) => {
  const groups = [
    { priority: 0, healthy: 2, total: 2 },
    { priority: 1, healthy: 2, total: 2 },
  ]
  const rows: [remoteLocalities: boolean, priorities: number[]][] = [
    [false, [0, 0, 0, 0, 0, 0, 0]],
    // Attempts 3 and 4 avoid priority 0. Before attempt 5 both are tried: forgotten, and it begins anew.
    [true, [0, 0, 1, 1, 0, 0, 1]],
  ]
  for (const [remoteLocalities, expected] of rows) {
    const tables = worldOf(groups, {}, { ...RETRY, remoteLocalities })
    const made = clusterIn(tables)
    const decision = Object.assign(new Decision(), { route: routeIn(tables), cluster: made })
    const steps = new StepRing(64)
    decision.steps = steps.begin()
    const tried: Host[] = [made.hosts[0] as Host]
    while (tried.length < expected.length) {
      const ctx = Object.assign(new PickContext(), { draw: 100 * tried.length, tried })
      t.ok(pickAgain(decision, ctx, steps))
      tried.push(decision.host as Host)
    }
    t.same(
      tried.map((h) => h.endpoint.priority),
      expected,
      `retryRemoteLocalities: ${remoteLocalities}`,
    )
  }
})

t.test('explain says that a retry avoids a priority', async (t) => {
  const tables = worldOf(
    [
      { priority: 0, healthy: 2, total: 2 },
      { priority: 1, healthy: 1, total: 1 },
    ],
    {},
    RETRY,
  )
  const made = clusterIn(tables)
  const steps = new StepRing(64)
  const decision = Object.assign(new Decision(), { route: routeIn(tables), cluster: made, steps: steps.begin() })
  const tried = [made.hosts[0], made.hosts[1]] as Host[]
  pickAgain(decision, Object.assign(new PickContext(), { tried }), steps)
  const read = steps.read(decision.steps) as Int32Array
  const told = explain({ id: 'x', request: view('/'), steps: read, tables, dialled: '', answer: null }).steps
  t.match(told[0], { step: 'priority', text: 'priority 1, because the retry avoids priority 0, which was tried' })
})
