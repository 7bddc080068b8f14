import t from 'tap'
import type { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import { decide, type Facts, pickAgain } from '../../../lib/decide/decide.ts'
import { Decision, VERDICT_WORDS } from '../../../lib/decide/decision.ts'
import { StepRing } from '../../../lib/decide/steps.ts'
import type { Tables } from '../../../lib/route/compile.ts'
import type { RetryPolicy } from '../../../lib/state/route.ts'
import { aRetryPolicy } from '../../support/nouns.ts'
import { cluster, endpoint, forward, path, route, table, view, virtualHost, weighted, world } from '../route/world.ts'

const RETRY = aRetryPolicy({ on: ['connect-failure'], unsafe: 'allowed' })

function facts(target: string, authority: string, over: Partial<Facts> = {}): Facts {
  return {
    request: view(target, { authority }),
    routeTable: '',
    draw: 0,
    pick: new PickContext(),
    context: null,
    session: 'routes',
    nowSeconds: 0,
    ...over,
  }
}

function decided(tables: Tables, f: Facts, ring = new StepRing(256)): Decision {
  const decision = new Decision()
  decide(tables, f, decision, ring)
  return decision
}

const clusters = [
  cluster('a', 'ROUND_ROBIN', [endpoint('127.0.0.1'), endpoint('127.0.0.2'), endpoint('127.0.0.3')]),
  cluster('b', 'ROUND_ROBIN', [endpoint('127.0.1.1')]),
  cluster('empty'),
]

const tables = world(
  [
    table(9080, [
      virtualHost(
        'a:9080',
        ['a'],
        [
          route('redirect', path('prefix', '/r'), {
            kind: 'redirect',
            code: 301,
            scheme: '',
            authority: '',
            port: 0,
            portFromListener: false,
            path: '/new',
            prefixRewrite: null,
            regexRewrite: null,
            stripQuery: false,
          }),
          route('direct', path('prefix', '/d'), { kind: 'direct', status: 418, body: 'teapot' }),
          route('gone', path('prefix', '/gone'), forward({ clusters: [weighted('nosuch')] })),
          route('empty', path('prefix', '/empty'), forward({ clusters: [weighted('empty')] })),
          route('split', path('prefix', '/split'), forward({ clusters: [weighted('a', 70), weighted('b', 30)] })),
          route('zero', path('prefix', '/zero'), forward({ clusters: [weighted('b', 0)] })),
          route('half', path('prefix', '/half'), forward({ clusters: [weighted('a', 1), weighted('nosuch', 1)] })),
          route('api', path('prefix', '/api'), forward({ clusters: [weighted('a')], retry: RETRY })),
        ],
      ),
    ]),
    table(80, [virtualHost('b:80', ['b'], [route('b', {}, forward({ clusters: [weighted('b')] }))]), virtualHost('any', ['*'])]),
    table(8081, [virtualHost('in', ['*'], [route('in')])], 'inbound|8081'),
  ],
  clusters,
  [['a', 9080]],
)

t.test('verdicts', async (t) => {
  const rows: [target: string, authority: string, verdict: string, routeName: string | null, clusterName: string | null][] = [
    ['/r/x', 'a:9080', 'redirect', 'redirect', null],
    ['/d', 'a:9080', 'direct-response', 'direct', null],
    ['/gone', 'a:9080', 'no-cluster', 'gone', null],
    ['/empty', 'a:9080', 'no-healthy-upstream', 'empty', 'empty'],
    ['/zero', 'a:9080', 'forward', 'zero', 'b'],
    ['/api', 'a:9080', 'forward', 'api', 'a'],
    ['/nothing', 'a:9080', 'no-route', null, null],
    ['/', 'c:9080', 'no-virtual-host', null, null],
    ['/', 'a:1234', 'no-virtual-host', null, null],
    ['/', 'a:x', 'no-virtual-host', null, null],
    ['/', 'a:8081', 'no-virtual-host', null, null],
    ['/api', 'a', 'forward', 'api', 'a'],
    ['/api', 'A:', 'forward', 'api', 'a'],
    ['/', 'b', 'forward', 'b', 'b'],
    ['/', 'whatever', 'forward', 'all', 'a'],
  ]
  for (const [target, authority, verdict, routeName, clusterName] of rows) {
    const d = decided(tables, facts(target, authority))
    t.equal(VERDICT_WORDS[d.verdict], verdict, `${authority}${target}`)
    t.equal(d.route?.config.name ?? null, routeName)
    t.equal(d.cluster?.name ?? null, clusterName)
    t.equal(d.host !== null, verdict === 'forward')
  }
})

t.test('a listener with a table of its own does not look at the port of the authority', async (t) => {
  t.equal(decided(tables, facts('/api', 'a:1', { routeTable: '9080' })).route?.config.name, 'api')
  t.equal(decided(tables, facts('/api', 'a:9080', { routeTable: 'inbound|8081' })).route?.config.name, 'in')
  t.equal(VERDICT_WORDS[decided(tables, facts('/', 'a', { routeTable: 'nosuch' })).verdict], 'no-virtual-host')
})

t.test('a table that does not ignore ports knows whole authorities', async (t) => {
  const hosts = [
    virtualHost('with', ['a:9080', '*.test:9080'], [route('with')]),
    virtualHost('without', ['a'], [route('without')]),
  ]
  const exact = world([{ ...table(9080, hosts), ignorePort: false }], clusters)
  const rows: [authority: string, routeName: string | null][] = [
    ['a:9080', 'with'],
    ['A:9080', 'with'],
    ['x.test:9080', 'with'],
    ['a', 'without'],
    ['a:80', null],
    ['x.test', null],
  ]
  for (const [authority, name] of rows)
    t.equal(decided(exact, facts('/', authority, { routeTable: '9080' })).route?.config.name ?? null, name, authority)
})

t.test('weights are half-open intervals of the draw modulo their sum', async (t) => {
  const rows: [draw: number, clusterName: string, value: number][] = [
    [0, 'a', 0],
    [69, 'a', 69],
    [70, 'b', 70],
    [99, 'b', 99],
    [100, 'a', 0],
    [0xffff_ffff, 'b', 0xffff_ffff % 100],
  ]
  for (const [draw, clusterName, value] of rows) {
    const d = decided(tables, facts('/split', 'a:9080', { draw }))
    t.equal(d.cluster?.name, clusterName, String(draw))
    t.equal(d.weightDraw, value)
  }
  let first = 0
  for (let draw = 0; draw < 1000; draw++) {
    if (decided(tables, facts('/split', 'a:9080', { draw })).cluster?.name === 'a') first++
  }
  t.equal(first, 700, 'all draws of ten rounds')
})

t.test('a destination that is not known fails only what it draws', async (t) => {
  t.equal(VERDICT_WORDS[decided(tables, facts('/half', 'a:9080', { draw: 0 })).verdict], 'forward')
  t.equal(VERDICT_WORDS[decided(tables, facts('/half', 'a:9080', { draw: 1 })).verdict], 'no-cluster')
})

t.test('a single destination draws nothing', async (t) => {
  t.equal(decided(tables, facts('/api', 'a:9080', { draw: 5 })).weightDraw, -1)
})

t.test('another attempt stays on the cluster and avoids hosts that were tried', async (t) => {
  const ring = new StepRing(256)
  const f = facts('/api', 'a:9080')
  const d = decided(tables, f, ring)
  const tried: Host[] = []
  for (let attempt = 1; attempt <= 3; attempt++) {
    t.notOk(tried.includes(d.host as Host), `attempt ${attempt} goes to a new host`)
    tried.push(d.host as Host)
    f.pick.tried = tried
    if (attempt < 3) t.ok(pickAgain(d, f.pick, ring))
  }
  t.ok(pickAgain(d, f.pick, ring), 'when all have been tried, the last pick is used all the same')
  t.ok(tried.includes(d.host as Host))
  t.equal(d.cluster?.name, 'a')
})

t.test('a hash chooses the endpoint, for every attempt; where nothing is to be hashed it is drawn', async (t) => {
  const five = [1, 2, 3, 4, 5].map((n) => endpoint(`127.0.9.${n}`, 8080))
  const ring = { kind: 'RING_HASH', minimumRingSize: 1024, maximumRingSize: 8_388_608 } as const
  const hashPolicies = [{ kind: 'header', name: 'x-key' }] as const
  const to = (name: string, retry: RetryPolicy) =>
    route(name, path('prefix', `/${name}`), forward({ clusters: [weighted('h')], hashPolicies, retry }))
  const mine = world(
    [
      table(80, [
        virtualHost(
          'v',
          ['*'],
          [
            to('stay', { ...RETRY, avoidPreviousHosts: false }),
            to('leave', RETRY),
            route('least', path('prefix', '/least'), forward({ clusters: [weighted('plain')], hashPolicies })),
          ],
        ),
      ]),
    ],
    [{ ...cluster('h', 'RANDOM', five), loadBalancer: ring }, cluster('plain', 'LEAST_REQUEST', five)],
  )
  const steps = new StepRing(256)
  const asked = (target: string, key: string | null) => ({
    ...facts(target, 'x'),
    request: view(target, { headers: key === null ? [] : [['x-key', key]] }),
  })
  // Of Envoy 1.40: the first attempt and three retries of a request that fails.
  const rows: [target: string, key: string, attempts: string][] = [
    ['/leave', 'u1', '2134'],
    ['/leave', 'deadbeef', '5314'],
    ['/stay', 'u1', '2222'],
    ['/stay', 'deadbeef', '5555'],
  ]
  for (const [target, key, attempts] of rows) {
    const f = asked(target, key)
    const d = decided(mine, f, steps)
    const tried: Host[] = []
    while (tried.push(d.host as Host) < 4) {
      // Others have been decided meanwhile: the context is new each time.
      pickAgain(d, Object.assign(new PickContext(), { tried, draw: 0x1234_5678 * tried.length }), steps)
    }
    t.equal(tried.map((h) => h.endpoint.address.slice(-1)).join(''), attempts, `${target} ${key}`)
  }
  t.equal(decided(mine, asked('/stay', null), steps).hashed, false)
  t.equal(decided(mine, asked('/least', 'u1'), steps).hashed, false, 'a balancer that does not hash does not ask')
})

t.test('another attempt when the hosts have gone', async (t) => {
  const mine = world([table(80, [virtualHost('v', ['*'], [route('r', {}, forward({ retry: RETRY }))])])], [clusters[0] as never])
  const ring = new StepRing(64)
  const f = facts('/', 'x')
  const d = decided(mine, f, ring)
  d.cluster?.update(cluster('a'), [], 0)
  t.notOk(pickAgain(d, f.pick, ring))
  t.equal(VERDICT_WORDS[d.verdict], 'no-healthy-upstream')
})

t.test('a decision is used again', async (t) => {
  const d = decided(tables, facts('/split', 'a:9080', { draw: 1 }))
  d.reset()
  t.strictSame({ ...d }, { ...new Decision() })
})
