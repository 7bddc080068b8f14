// Which routes may repeat what is not known to be safe, what `check` says of the others, and retry budgets.
import t from 'tap'
import { destinationRule, service, virtualService, yaml } from '../../support/mesh.ts'
import { clusterOf, loadText, statusOf, tableOf } from './kit.ts'

const ANNOTATION = 'heddle.io/unsafe-retries'
const to = [{ destination: { host: 'web' } }]
const web = service({ host: 'web', endpoints: [{ address: '127.0.0.1:9000' }] })

/** A VirtualService with the annotation, if any. */
function annotated(value: string | null, http: readonly object[], name = 'web', hosts: readonly string[] = ['web']) {
  const object = virtualService(name, hosts, http as never) as { metadata: object }
  if (value === null) return object as never
  return { ...object, metadata: { ...object.metadata, annotations: { [ANNOTATION]: value } } } as never
}

/** Route name → whether unsafe retries are allowed; null: no retries. */
function unsafeOf(t: { teardown(fn: () => void): unknown }, exact: boolean, ...objects: readonly never[]) {
  const result = loadText(t, yaml(web, ...objects), { retries: exact ? 'exact' : 'guarded' })
  const routes = tableOf(result, 80).virtualHosts.flatMap((v) => (v.name === 'allow_any' ? [] : v.routes))
  return Object.fromEntries(
    routes.map((r) => [r.name, r.action.kind === 'forward' && r.action.retry !== null ? r.action.retry.unsafe : null]),
  )
}

const retries = { attempts: 2, retryOn: '5xx' }
const HTTP = [
  { name: 'one', match: [{ uri: { prefix: '/1' } }], route: to, retries },
  { name: 'two', match: [{ uri: { prefix: '/2' } }], route: to, retries },
  { name: 'none', match: [{ uri: { prefix: '/3' } }], route: to, retries: { attempts: 0 } },
  { name: 'default', match: [{ uri: { prefix: '/4' } }], route: to },
  { route: to, retries },
]

t.test('held back unless the annotation or the bootstrap says otherwise', (t) => {
  const held = { one: 'held-back', two: 'held-back', none: null, default: 'held-back', '': 'held-back' }
  const allowed = { one: 'allowed', two: 'allowed', none: null, default: 'allowed', '': 'allowed' }
  t.same(unsafeOf(t, false, annotated(null, HTTP)), held)
  t.same(unsafeOf(t, true, annotated(null, HTTP)), allowed)
  for (const value of ['allow', ' allow ']) t.same(unsafeOf(t, false, annotated(value, HTTP)), allowed, `"${value}"`)
  t.same(unsafeOf(t, false, annotated('allow: two', HTTP)), { ...held, two: 'allowed' })
  t.same(unsafeOf(t, false, annotated('allow:one , default', HTTP)), { ...held, one: 'allowed', default: 'allowed' })
  t.same(unsafeOf(t, false), { default: 'held-back' }, 'a service without rules')
  t.same(unsafeOf(t, true), { default: 'allowed' })
  t.end()
})

t.test('delegates: the object whose rule has the retries decides', (t) => {
  const root = (value: string | null, more: object) => annotated(value, [{ name: 'r', delegate: { name: 'leaf' }, ...more }])
  const leaf = (value: string | null, more: object) => annotated(value, [{ name: 'l', route: to, ...more }], 'leaf', [])
  const rows: readonly [root: string | null, inRoot: boolean, leaf: string | null, inLeaf: boolean, unsafe: string][] = [
    ['allow', true, null, false, 'allowed'],
    ['allow: r', true, null, false, 'allowed'],
    [null, true, 'allow', false, 'held-back'],
    [null, false, 'allow', true, 'allowed'],
    [null, false, 'allow: l', true, 'allowed'],
    ['allow', false, null, true, 'held-back'],
    ['allow', true, null, true, 'held-back'],
    [null, true, 'allow', true, 'allowed'],
    [null, false, 'allow', false, 'allowed'],
    ['allow', false, null, false, 'held-back'],
  ]
  for (const [inRootValue, inRoot, inLeafValue, inLeaf, unsafe] of rows) {
    const of = (has: boolean) => (has ? { retries } : {})
    const found = unsafeOf(t, false, root(inRootValue, of(inRoot)), leaf(inLeafValue, of(inLeaf)))
    t.same(found, { 'r-l': unsafe }, JSON.stringify([inRootValue, inRoot, inLeafValue, inLeaf]))
  }
  t.end()
})

t.test('any other value is an error at the annotation', (t) => {
  const rows: readonly [value: string, reason: RegExp][] = [
    ['true', /expected `allow`, or `allow: route-a, route-b`.*found "true"/],
    ['', /expected `allow`/],
    ['Allow', /expected `allow`/],
    ['allow two', /expected `allow`/],
    ['deny', /expected `allow`/],
    ['allow:', /expected a name/],
    ['allow: one,,two', /expected a name/],
    ['allow: onee', /no http route has the name `onee`; did you mean `one`\?/],
    ['allow: one, elsewhere', /no http route has the name `elsewhere`; there are: one, two, none, default/],
  ]
  for (const [value, reason] of rows) {
    const text = yaml(annotated(value, HTTP))
    const line = text.split('\n').findIndex((l) => l.includes(ANNOTATION)) + 1
    const status = statusOf(loadText(t, text), 'web')
    t.match(status, { state: 'refused', line, reason }, value)
    t.equal(status.column, text.split('\n')[line - 1]!.indexOf(':') + 3, 'at the value')
    t.match(status.reason, /metadata\.annotations\["heddle\.io\/unsafe-retries"\]/)
  }
  const nameless = statusOf(loadText(t, yaml(annotated('allow: one', [{ route: to }]))), 'web')
  t.match(nameless, { state: 'refused', reason: /none of its http routes has a name/ })
  t.end()
})

const SERVICES = [
  service({ host: 'web', endpoints: [{ address: '127.0.0.1:9000' }] }),
  service({ host: 'rpc', protocol: 'GRPC', port: 81, endpoints: [{ address: '127.0.0.1:9001' }] }),
]

function notesOf(
  t: { teardown(fn: () => void): unknown },
  http: readonly object[],
  exact = false,
  annotation: string | null = null,
) {
  const result = loadText(t, yaml(annotated(annotation, http), ...SERVICES), { retries: exact ? 'exact' : 'guarded' })
  return { notes: result.notes, states: result.statuses.map((s) => s.state) }
}

t.test('check lists where the guard and Istio differ', (t) => {
  const on = (retryOn: string, method?: object) => [
    {
      name: 'r',
      match: [{ uri: { prefix: '/' }, ...(method === undefined ? {} : { method }) }],
      route: to,
      retries: { attempts: 1, retryOn },
    },
  ]
  const any = 'methods that are not idempotent'
  const rows: readonly [what: string, http: readonly object[], about: readonly [words: string, methods: string] | null][] = [
    ['5xx', on('5xx'), ['5xx', any]],
    ['gateway-error and reset', on('gateway-error,reset'), ['gateway-error, reset', any]],
    ['what was not written', on('connect-failure,refused-stream,reset-before-request,http3-post-connect-failure'), null],
    ['what is safe beside what is not', on('connect-failure,retriable-4xx'), ['retriable-4xx', any]],
    ['codes', on('503,429'), ['503, 429', any]],
    ['lists that are empty', on('retriable-status-codes,retriable-headers'), null],
    ['gRPC words, written', on('unavailable,cancelled'), ['unavailable, cancelled', any]],
    ['limited', on('envoy-ratelimited'), ['envoy-ratelimited', any]],
    ['GET alone', on('5xx', { exact: 'GET' }), null],
    ['POST alone', on('5xx', { exact: 'POST' }), ['5xx', 'POST']],
    ['a method that nobody knows', on('5xx', { exact: 'PURGE' }), ['5xx', 'PURGE']],
    ['some that are idempotent', on('5xx', { regex: 'GET|HEAD|PUT|DELETE' }), null],
    ['one that is not among them', on('5xx', { regex: 'GET|PATCH' }), ['5xx', 'PATCH']],
    ['what begins with P', on('5xx', { prefix: 'P' }), ['5xx', 'P, POST, PATCH']],
    ['no retries', [{ name: 'r', route: to, retries: { attempts: 0 } }], null],
    ['the default policy, HTTP', [{ name: 'r', route: to }], null],
    ['its words without retryOn, HTTP', [{ name: 'r', route: to, retries: { attempts: 5 } }], null],
    ['a redirect', [{ name: 'r', redirect: { uri: '/x' } }], null],
  ]
  for (const [what, http, about] of rows) {
    const { notes, states } = notesOf(t, http)
    const own = notes.filter((n) => n.kind === 'VirtualService')
    t.same(states, ['in-force', 'in-force', 'in-force'], `${what}: no state changes`)
    if (about === null) t.same(own, [], what)
    else {
      t.equal(own.length, 1, what)
      t.match(own[0], { name: 'web', namespace: 'default', route: 'r' }, what)
      t.match(own[0]?.message, `retries on ${about[0]} are held back for ${about[1]}, which`, what)
    }
    t.same(notesOf(t, http, true).notes, [], `${what}: retries: exact differs nowhere`)
    t.same(
      notesOf(t, http, false, 'allow').notes.filter((n) => n.kind === 'VirtualService'),
      [],
      `${what}: allowed`,
    )
  }
  t.end()
})

t.test('a note stands at the retries, or at the rule that has none; gRPC ports are told of the default policy', (t) => {
  const text = yaml(
    ...SERVICES,
    virtualService(
      'web',
      ['web'],
      [
        { name: 'a', match: [{ uri: { prefix: '/a' } }, { uri: { prefix: '/b' } }], route: to, retries },
        { name: 'b', route: [{ destination: { host: 'rpc', port: { number: 81 } } }] },
      ],
    ),
  )
  const lines = text.split('\n')
  const at = (needle: string) => lines.findIndex((l) => l.includes(needle)) + 1
  const { notes } = loadText(t, text, { retries: 'guarded' })
  t.match(notes, [
    { kind: 'ServiceEntry', name: 'rpc', route: 'default', message: /^retries on unavailable, cancelled are held back/ },
    { kind: 'VirtualService', name: 'web', route: 'a', line: at('retries:') + 1 },
    { kind: 'VirtualService', name: 'web', route: 'b', line: at('name: b'), message: /unavailable, cancelled/ },
  ])
  t.equal(notes.length, 3, 'one for a rule, however many matches and ports it has')
  t.notMatch(notes[0]?.message, ANNOTATION, 'a service cannot be annotated')
  t.match(notes[1]?.message, ANNOTATION)
  t.end()
})

t.test('retryBudget: defaults, the subset’s before the destination’s, ports keep it', (t) => {
  const budget = (trafficPolicy: object, subset?: object) => {
    const rule = destinationRule('web', 'web', {
      trafficPolicy,
      ...(subset === undefined ? {} : { subsets: [{ name: 's', labels: {}, trafficPolicy: subset }] }),
    })
    const result = loadText(t, yaml(web, rule))
    t.match(
      statusOf({ ...result, statuses: result.statuses.filter((s) => s.kind === 'DestinationRule') }, 'web').state,
      'in-force',
    )
    return clusterOf(result, `outbound|80|${subset === undefined ? '' : 's'}|web.default.svc.cluster.local`).limits.retryBudget
  }
  t.same(budget({ retryBudget: {} }), { percent: 20, minConcurrency: 3 })
  t.same(budget({ retryBudget: { percent: 12.5, minRetryConcurrency: 7 } }), { percent: 12.5, minConcurrency: 7 })
  t.same(budget({ retryBudget: { percent: 0, minRetryConcurrency: 0 } }), { percent: 0, minConcurrency: 3 })
  t.same(budget({ connectionPool: { http: { maxRetries: 1 } } }), null)
  t.same(budget({ retryBudget: { percent: 5 } }, { retryBudget: { percent: 6 } }), { percent: 6, minConcurrency: 3 })
  t.same(budget({ retryBudget: { percent: 5 } }, { loadBalancer: { simple: 'RANDOM' } }), { percent: 5, minConcurrency: 3 })
  const ports = { portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: 'RANDOM' } }] }
  t.same(budget({ retryBudget: { percent: 5 }, ...ports }), { percent: 5, minConcurrency: 3 })
  t.end()
})

t.test('retryBudget: what is refused, and what is not carried out', (t) => {
  const judged = (retryBudget: object) => {
    const { statuses } = loadText(t, yaml(web, destinationRule('rule', 'web', { trafficPolicy: { retryBudget } })))
    return statuses.find((s) => s.name === 'rule')
  }
  t.match(judged({ percent: 101 }), {
    state: 'refused',
    reason: /retryBudget\.percent: expected a number from 0 to 100, found 101/,
  })
  t.match(judged({ percent: -1 }), { state: 'refused' })
  t.match(judged({ minRetryConcurrency: -1 }), { state: 'refused', reason: /minRetryConcurrency/ })
  t.match(judged({ budgetInterval: '10s' }), { state: 'partly', reason: /budgetInterval: is not carried out yet/ })
  t.match(judged({ budgetInterval: '0s' }), { state: 'in-force' })
  t.end()
})
