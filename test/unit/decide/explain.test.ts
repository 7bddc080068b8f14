import t from 'tap'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import { decide, type Facts, pickAgain } from '../../../lib/decide/decide.ts'
import { Decision, FORWARD } from '../../../lib/decide/decision.ts'
import { explain, explainRequest } from '../../../lib/decide/explain.ts'
import { hashText } from '../../../lib/decide/explain-hash.ts'
import { explainText } from '../../../lib/decide/explain-text.ts'
import { tlsText } from '../../../lib/decide/explain-tls.ts'
import { ATTEMPT, OUTCOME_CONNECT_FAILED, OUTCOME_OVERFLOW, StepRing } from '../../../lib/decide/steps.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import type { HashPolicy } from '../../../lib/state/route.ts'
import type { TlsReason } from '../../../lib/state/tls.ts'
import { aCluster, anEndpoint, anOutlierDetection, aRetryPolicy } from '../../support/nouns.ts'
import {
  cluster,
  endpoint,
  forward,
  header,
  origin,
  path,
  query,
  route,
  str,
  table,
  view,
  virtualHost,
  weighted,
  without,
  world,
} from '../route/world.ts'

const AUTOMATIC: TlsReason = { why: 'automatic', origin: BUILT_IN }

const at = (line: number) => origin('reviews', line)

const tables = world(
  [
    table(9080, [
      virtualHost(
        'reviews:9080',
        ['reviews', '*.wild.test'],
        [
          { ...route('api', path('prefix', '/api')), origin: at(8) },
          {
            ...route('canary', { ...path('prefix', '/'), headers: [header('x-canary', str('exact', 'true'))] }),
            origin: at(10),
          },
          {
            ...route('nobots', { headers: [without('x-bot', str('present'))], query: [query('v', str('regex', '[0-9]+'))] }),
            origin: at(14),
          },
          {
            ...route(
              'split',
              path('prefix', '/x'),
              forward({
                clusters: [weighted('v1', 90), weighted('v2', 10)],
                timeoutMs: 3000,
                timeoutOrigin: at(20),
                retry: aRetryPolicy({ on: ['5xx'], statusCodes: [409], perTryTimeoutMs: 250, unsafe: 'allowed', origin: at(22) }),
                pathRewrite: { kind: 'prefix', pattern: '', value: '/y' },
                hostRewrite: 'other',
              }),
            ),
            origin: at(18),
          },
        ],
      ),
    ]),
  ],
  [
    cluster('v1', 'ROUND_ROBIN', [endpoint('127.0.0.1')]),
    {
      ...cluster('v2', 'ROUND_ROBIN', [endpoint('127.0.0.2'), endpoint('127.0.0.3')]),
      policyOrigin: origin('reviews', 3, 'DestinationRule'),
      limits: { ...cluster('v2').limits, connectTimeoutMs: 1000 },
    },
  ],
)

function facts(target: string, headers: readonly (readonly [string, string])[] = [], authority = 'reviews:9080'): Facts {
  return {
    request: view(target, { authority, headers }),
    routeTable: '',
    draw: 92,
    pick: new PickContext(),
    context: null,
    session: 'routes',
    nowSeconds: 0,
  }
}

const wanted = facts('/x?q=1', [
  ['x-canary', 'false'],
  ['x-bot', 'yes'],
])

t.test('a request that has not happened', async (t) => {
  const e = explainRequest(tables, wanted, 'id-1')
  t.match(e, {
    id: 'id-1',
    verdict: 'forward',
    virtualHost: 'reviews:9080',
    route: { kind: 'VirtualService', namespace: 'default', name: 'reviews', file: 'mesh.yaml', line: 18, route: 'split' },
    cluster: 'v2',
    endpoint: '127.0.0.2:9080',
    sends: { path: '/y?q=1', authority: 'other' },
    answer: null,
    attempts: [],
  })
  t.strictSame(
    e.steps.map((s) => s.text),
    [
      'route table 9080: the port of authority "reviews:9080"',
      'virtual host reviews:9080: "reviews:9080" is one of its names',
      'route api does not fit: uri: seen "/x", wanted prefix "/api"',
      'route canary does not fit: headers[x-canary]: seen "false", wanted exact "true"',
      'route nobots does not fit: withoutHeaders[x-bot]: seen "yes", wanted no such header',
      'route split fits',
      'drew 92 of 100: destination 2 of 2, which has 90 to 99',
      'cluster v2',
      'picked 127.0.0.2:9080 of 2 endpoints in v2',
      'forward',
    ],
  )
  t.strictSame(e.steps[3]?.condition, { field: 'headers[x-canary]', seen: '"false"', wanted: 'exact "true"' })
  t.match(e.steps[3]?.object, { file: 'mesh.yaml', line: 10 })
  t.strictSame(e.weight?.destinations, [
    { cluster: 'v1', weight: 90, from: 0, to: 90, chosen: false },
    { cluster: 'v2', weight: 10, from: 90, to: 100, chosen: true },
  ])
})

t.test('timers and retries, and who set them', async (t) => {
  const e = explainRequest(tables, wanted, '')
  t.strictSame(
    e.timers.map((x) => [x.name, x.ms, x.setBy.kind, x.setBy.line]),
    [
      ['timeout', 3000, 'VirtualService', 20],
      ['perTryTimeout', 250, 'VirtualService', 22],
      ['connectTimeout', 1000, 'DestinationRule', 3],
      ['idleTimeout', 3_600_000, 'default', 0],
    ],
  )
  t.match(e.retry, { attempts: 2, on: ['5xx', '409'], setBy: { line: 22 } })
  t.strictSame(
    e.objects.map((o) => [o.role, o.kind, o.line]),
    [
      ['virtual host', 'VirtualService', 1],
      ['route', 'VirtualService', 18],
      ['service', 'Service', 5],
      ['traffic policy', 'DestinationRule', 3],
      ['endpoint', 'EndpointSlice', 9],
    ],
  )
})

t.test('conditions of the query', async (t) => {
  const e = explainRequest(tables, facts('/z?v=a'), '')
  t.strictSame(
    e.steps.map((s) => s.condition).filter((c) => c !== null),
    [
      { field: 'uri', seen: '"/z"', wanted: 'prefix "/api"' },
      { field: 'headers[x-canary]', seen: 'nothing', wanted: 'exact "true"' },
      { field: 'queryParams[v]', seen: '"a"', wanted: 'regex "[0-9]+"' },
      { field: 'uri', seen: '"/z"', wanted: 'prefix "/x"' },
    ],
  )
  t.equal(e.verdict, 'no-route')
  t.equal(e.route, null)
  t.equal(e.steps.at(-2)?.text, 'none of the 4 routes of virtual host reviews:9080 fits')
})

t.test('why there is no table, no virtual host, no cluster', async (t) => {
  const rows: [authority: string, verdict: string, text: string][] = [
    ['reviews:1', 'no-virtual-host', 'there is no route table for port 1: no service has it'],
    ['reviews:x', 'no-virtual-host', 'what stands behind the colon of the authority is no port'],
    ['other:9080', 'no-virtual-host', 'no virtual host of table 9080 has "other:9080"'],
    ['a.wild.test:9080', 'no-cluster', 'virtual host reviews:9080: "a.wild.test:9080" ends as one of its *.suffixes'],
  ]
  for (const [authority, verdict, text] of rows) {
    const e = explainRequest(tables, facts('/api', [], authority), '')
    t.equal(e.verdict, verdict, authority)
    t.ok(
      e.steps.some((s) => s.text === text),
      e.steps.map((s) => s.text).join('\n'),
    )
  }
})

t.test('endpoints that were not well', async (t) => {
  const ring = new StepRing(256)
  const decision = new Decision()
  decide(tables, wanted, decision, ring)
  const { cluster } = decision
  if (cluster === null) throw new Error('no cluster')
  const told = (d: Decision) => {
    const e = explain({
      id: 'x',
      request: wanted.request,
      steps: ring.read(d.steps) ?? new Int32Array(0),
      tables,
      dialled: '',
      answer: null,
    })
    return { unavailable: e.unavailable, text: e.steps.filter((s) => s.step === 'health').map((s) => s.text) }
  }
  t.strictSame(told(decision), { unavailable: null, text: [] })
  const before = cluster.hosts.map((h) => h.available)
  for (const host of cluster.hosts) host.available = false
  cluster.refresh(0)
  const second = new Decision()
  decide(tables, wanted, second, ring)
  const n = cluster.hosts.length
  t.strictSame(told(second).unavailable, { count: n, of: n, endpoints: [] })
  t.match(told(second).text[0], `${n} of ${n} endpoint`)
  for (const [i, host] of cluster.hosts.entries()) host.available = before[i] as boolean
  cluster.refresh(0)
  const third = new Decision()
  decide(tables, wanted, third, ring)
  t.strictSame(told(third).unavailable, null)
  // It was to be forwarded, and when another endpoint was wanted there was none.
  t.equal(third.verdict, FORWARD)
  const { hosts } = cluster
  cluster.update(cluster.config, [], 0)
  t.notOk(pickAgain(third, new PickContext(), ring))
  const verdict = (d: Decision) =>
    explain({
      id: 'x',
      request: wanted.request,
      steps: ring.read(d.steps) ?? new Int32Array(0),
      tables,
      dialled: '',
      answer: null,
    }).verdict
  t.equal(verdict(third), 'no-healthy-upstream')
  cluster.update(cluster.config, hosts, 0)
  t.ok(pickAgain(third, new PickContext(), ring))
  t.equal(verdict(third), 'forward')
  t.strictSame(told(second).unavailable?.count, n, 'what was true then stays told')
})

t.test('a request that has happened', async (t) => {
  const ring = new StepRing(256)
  const decision = new Decision()
  decide(tables, wanted, decision, ring)
  const other = new Decision()
  decide(tables, facts('/api'), other, ring)
  ring.addTo(decision.steps, ATTEMPT, 1, OUTCOME_CONNECT_FAILED)
  ring.addTo(decision.steps, ATTEMPT, 2, 200)
  const steps = ring.read(decision.steps)
  if (steps === null) throw new Error('steps are gone')
  const answer = { status: 200, flags: '-', details: 'via_upstream' }
  const e = explain({ id: 'x', request: wanted.request, steps, tables, dialled: '', answer })
  t.strictSame(
    e.attempts.map((a) => [a.number, a.endpoint, a.status, a.outcome]),
    [
      [1, decision.host?.address, 0, 'connect-failed'],
      [2, decision.host?.address, 200, '200'],
    ],
  )
  t.strictSame(e.answer, answer)
  t.equal(e.verdict, 'forward')
  decision.cluster?.update(decision.cluster.config, [], 0)
  t.match(explain({ id: 'x', request: wanted.request, steps, tables, dialled: '', answer }).endpoint, /no longer in the cluster/)
})

t.test('the policy of the destination, and which limit an attempt can have met', async (t) => {
  const plain = cluster('web', 'LEAST_REQUEST', [endpoint('10.0.0.1', 8080)])
  const limits = { ...plain.limits, maxRequests: 2, maxPendingRequests: 1, maxConnections: 7, maxRetries: 4 }
  const detection = anOutlierDetection({
    consecutive5xx: 5,
    consecutiveGateway: 3,
    consecutiveLocalOrigin: 9,
    maxEjectionPercent: 50,
  })
  const one = (config: Partial<typeof plain>) =>
    world(
      [
        table(80, [
          virtualHost('web:80', ['web'], [{ ...route('all', {}, forward({ clusters: [weighted('web')] })), origin: at(4) }]),
        ]),
      ],
      [{ ...plain, policyOrigin: at(6), ...config }],
    )
  const texts = (config: Partial<typeof plain>) =>
    explainRequest(one(config), facts('/', [], 'web'), '').policy.map((p) => [p.name, p.text, p.setBy.line])
  t.strictSame(texts({}), [['load balancer', 'LEAST_REQUEST', 0]])
  t.strictSame(texts({ limits, outlierDetection: detection, loadBalancer: { kind: 'MAGLEV', tableSize: 97 } }), [
    ['load balancer', 'MAGLEV', 6],
    ['limits', 'maxConnections 7, http1MaxPendingRequests 1, http2MaxRequests 2, maxRetries 4', 6],
    ['outlier detection', '5 5xx in a row or 3 gateway errors in a row, for 30s at first, at most 50 % of the endpoints', 6],
  ])
  const budget = texts({ limits: { ...limits, retryBudget: { percent: 20, minConcurrency: 3 } } })[1]?.[1]
  t.match(budget, /http2MaxRequests 2, retryBudget 20 %, at least 3$/)
  const outcome = (config: Partial<typeof plain>) => {
    const [tables, ring, decision] = [one(config), new StepRing(256), new Decision()]
    const { request } = facts('/', [], 'web')
    decide(tables, facts('/', [], 'web'), decision, ring)
    ring.addTo(decision.steps, ATTEMPT, 1, OUTCOME_OVERFLOW)
    return explain({ id: '', request, steps: ring.read(decision.steps) as Int32Array, tables, dialled: '', answer: null })
      .attempts[0]?.outcome
  }
  t.equal(outcome({ limits }), 'overflow of http1MaxPendingRequests 1 or http2MaxRequests 2')
  t.equal(outcome({ limits: { ...limits, maxPendingRequests: 0 } }), 'overflow of http2MaxRequests 2')
})

t.test('for people', async (t) => {
  const small = world(
    [
      table(80, [
        virtualHost(
          'web:80',
          ['web'],
          [{ ...route('all', {}, forward({ clusters: [weighted('web')], timeoutOrigin: BUILT_IN })), origin: at(4) }],
        ),
      ]),
    ],
    [cluster('web', 'ROUND_ROBIN', [endpoint('10.0.0.1', 8080)])],
  )
  const e = explainRequest(small, facts('/', [], 'web'), 'r1')
  t.strictSame(explainText(e).split('\n'), [
    'request       GET web/',
    'id            r1',
    'verdict       forward',
    'virtual host  web:80',
    'route         all, VirtualService default/reviews (mesh.yaml:4:3)',
    'cluster       web',
    'endpoint      10.0.0.1:8080',
    '',
    'why',
    '  route table 80: authority "web" names no port: its host\'s HTTP port, or 80 for an unknown host',
    '  virtual host web:80: "web" is one of its names  [mesh.yaml:1:3]',
    '  route all fits  [mesh.yaml:4:3]',
    '  cluster web  [mesh.yaml:5:3]',
    '  picked 10.0.0.1:8080 of 1 endpoint in web  [mesh.yaml:9:3]',
    '  forward',
    '',
    'in force',
    '  timeout         off, built-in default',
    '  connectTimeout  10s, built-in default',
    '  idleTimeout     1h, built-in default',
    '  load balancer   ROUND_ROBIN, built-in default',
    '',
    'objects',
    '  virtual host  VirtualService default/web:80 (mesh.yaml:1:3)',
    '  route         VirtualService default/reviews (mesh.yaml:4:3)',
    '  service       Service default/web (mesh.yaml:5:3)',
    '  endpoint      EndpointSlice default/slice (mesh.yaml:9:3)',
    '',
  ])
})

t.test('what was hashed', async (t) => {
  const cookie = (ttlSeconds: number): HashPolicy => ({ kind: 'cookie', name: 'c', path: '', ttlSeconds, attributes: [] })
  const header: HashPolicy = { kind: 'header', name: 'x-a' }
  const query: HashPolicy = { kind: 'query', name: 'k' }
  const rows: [policies: readonly HashPolicy[], used: number, made: number, text: string][] = [
    [[header], 1, 0, 'the hash of header x-a chooses the endpoint'],
    [[header], 0, 0, 'nothing to hash, there is no header x-a: the endpoint is drawn'],
    [[cookie(-1)], 0, 0, 'nothing to hash, there is no cookie c: the endpoint is drawn'],
    [[cookie(0)], 0, 0, "nothing to hash, cookie c is made of the client's address, which is not known: the endpoint is drawn"],
    [[cookie(0)], 1, 1, 'the hash of cookie c, which the request did not bring and the response sets, chooses the endpoint'],
    [[{ kind: 'sourceIp' }], 1, 0, "the hash of the client's address chooses the endpoint"],
    [
      [{ kind: 'sourceIp' }],
      0,
      0,
      "nothing to hash, the client's address is not known (-H 'x-forwarded-for: ADDRESS' tells it): the endpoint is drawn",
    ],
    [
      [header, query, cookie(-1)],
      3,
      0,
      'the hash of header x-a and query parameter k chooses the endpoint; there is no cookie c',
    ],
    [[header, query], 0, 0, 'nothing to hash, there is no header x-a and there is no query parameter k: the endpoint is drawn'],
  ]
  for (const [policies, used, made, text] of rows) t.equal(hashText(policies, used, made), text)
})

t.test('which TLS an endpoint is spoken to with, and why', async (t) => {
  const mesh = {
    certificate: 'default',
    trust: 'ROOTCA',
    sni: 'outbound_.80_._.a',
    autoSni: false,
    subjectAltNames: ['spiffe://cluster.local/ns/default/sa/a'],
    subjectAltNamePrefixes: [],
    alpn: [],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
  } as const
  const simple = { ...mesh, certificate: '', trust: 'file-root:system', sni: '', autoSni: true, subjectAltNames: [] }
  const peer = origin('strict', 4)
  const rule = origin('rule', 9)
  const rows: [
    tls: typeof mesh | typeof simple | null,
    of: TlsReason,
    own: TlsReason | null,
    secure: boolean,
    text: string | null,
    by: string,
  ][] = [
    [null, { why: 'off', origin: BUILT_IN }, null, false, null, ''],
    [
      mesh,
      AUTOMATIC,
      AUTOMATIC,
      true,
      'by mutual TLS with server name outbound_.80_._.a, to spiffe://cluster.local/ns/default/sa/a: it has a sidecar',
      '',
    ],
    [
      mesh,
      AUTOMATIC,
      { why: 'automatic', origin: peer },
      true,
      'to spiffe://cluster.local/ns/default/sa/a: it has a sidecar, and its PeerAuthentication lets mutual TLS in',
      'strict',
    ],
    [
      mesh,
      AUTOMATIC,
      { why: 'no-sidecar', origin: BUILT_IN },
      false,
      'in plaintext: it has no sidecar (label security.istio.io/tlsMode: istio)',
      '',
    ],
    [
      mesh,
      AUTOMATIC,
      { why: 'disabled', origin: peer },
      false,
      'in plaintext: its PeerAuthentication lets only plaintext in',
      'strict',
    ],
    [
      simple,
      { why: 'rule', origin: rule },
      null,
      true,
      'by TLS with the host as server name: its DestinationRule says so',
      'rule',
    ],
    [
      { ...simple, trust: '' },
      { why: 'rule', origin: rule },
      null,
      true,
      'by TLS with the host as server name, whoever answers: its DestinationRule says so',
      'rule',
    ],
    [null, { why: 'rule', origin: rule }, null, false, 'in plaintext: its DestinationRule says so', 'rule'],
    [null, { why: 'external', origin: BUILT_IN }, null, false, 'in plaintext: it is not of the mesh', ''],
  ]
  for (const [tls, tlsReason, own, secure, text, by] of rows) {
    const told = tlsText(aCluster({ tls, tlsReason }), anEndpoint({ tls: secure, tlsReason: own }))
    if (text === null) t.equal(told, null)
    else t.ok(told?.text.includes(text), `${told?.text} has ${text}`)
    t.equal(told?.origin?.name ?? '', by, told?.text ?? 'nothing')
  }
})
