// Header fields that the proxy makes, changes or takes away (Envoy header sanitising is where Envoy's rules are collected).
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient, type RequestSpec } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { type AnswerSpec, Upstream } from '../support/upstream.ts'
import { DOWNSTREAM, HTTP1_BOTH, HTTP1_ONLY } from '../support/versions.ts'

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      virtualService(
        'web',
        ['web'],
        [
          { match: [{ uri: { prefix: '/fixed' } }], directResponse: { status: 200, body: { string: 'fixed' } } },
          { match: [{ uri: { prefix: '/timed' } }], route: [{ destination: { host: 'web' } }], timeout: '7s' },
          { route: [{ destination: { host: 'web' } }] },
        ],
      ),
    ),
    listeners: [{ name: 'out' }, { name: 'in', direction: 'inbound', forwardTo: upstream.address }],
  })
})

t.beforeEach(() => upstream.startAfresh())

async function round(t: Teardown, request: RequestSpec, answer: AnswerSpec = {}, listener = 'out') {
  // An application is spoken to in its client's version, and this one knows HTTP/1.
  const client = await (listener === 'in' ? RawClient.connect : connectAny)(t, proxy.port(listener))
  await client.send({ host: 'web', ...request })
  const exchange = await upstream.next()
  await exchange.answer(answer)
  const response = await client.response()
  client.destroy()
  return { sent: exchange.request, response }
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

t.test('x-request-id is generated when missing, and kept otherwise', async (t) => {
  const one = await round(t, {})
  const two = await round(t, {})
  t.match(header(one.sent, 'x-request-id'), UUID)
  t.match(header(two.sent, 'x-request-id'), UUID)
  t.not(header(one.sent, 'x-request-id'), header(two.sent, 'x-request-id'))
  const kept = await round(t, { target: '/kept', headers: { 'X-Request-Id': 'mine' } })
  t.same(headerValues(kept.sent, 'x-request-id'), ['mine'])
  t.match(await proxy.logged({ path: '/kept' }), { request_id: 'mine' })
})

t.test('x-forwarded-proto is set when missing, and kept otherwise', async (t) => {
  t.same(headerValues((await round(t, {})).sent, 'x-forwarded-proto'), ['http'])
  t.same(headerValues((await round(t, { headers: { 'X-Forwarded-Proto': 'https' } })).sent, 'x-forwarded-proto'), ['https'])
})

t.test('x-forwarded-for is not touched', async (t) => {
  t.same(headerValues((await round(t, {})).sent, 'x-forwarded-for'), [])
  t.same(headerValues((await round(t, { headers: { 'x-forwarded-for': '1.2.3.4' } })).sent, 'x-forwarded-for'), ['1.2.3.4'])
})

const STRIPPED = [
  'x-envoy-retriable-status-codes',
  'x-envoy-retriable-header-names',
  'x-envoy-retry-on',
  'x-envoy-retry-grpc-on',
  'x-envoy-max-retries',
  'x-envoy-upstream-alt-stat-name',
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-upstream-rq-timeout-alt-response',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-force-trace',
  'x-envoy-ip-tags',
  'x-envoy-original-url',
  'x-envoy-hedge-on-per-try-timeout',
  'x-envoy-internal',
  'x-forwarded-client-cert',
  'proxy-connection',
  'keep-alive',
]

const PASSED = [
  'x-envoy-decorator-operation',
  'x-envoy-downstream-service-cluster',
  'x-envoy-external-address',
  'x-envoy-original-path',
  'x-envoy-original-host',
  'x-envoy-fault-delay-request',
  'x-envoy-something-unknown',
  'proxy-authorization',
  'traceparent',
  'b3',
  'via',
]

t.test('x-envoy-… of an untrusted client is taken away, each', async (t) => {
  for (const name of STRIPPED) {
    // Nobody can say these in HTTP/2.
    if (DOWNSTREAM === 'http2' && (name === 'proxy-connection' || name === 'keep-alive')) continue
    // In a spelling of its own: names have no case.
    const spelt = name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase())
    const { sent } = await round(t, { headers: { [spelt]: '5' } })
    t.same(headerValues(sent, name), [], name)
  }
})

t.test('what is nobody’s business here passes', async (t) => {
  const { sent } = await round(t, { headers: Object.fromEntries(PASSED.map((n) => [n, 'v'])) })
  for (const name of PASSED) t.same(headerValues(sent, name), ['v'], name)
})

t.test('x-envoy-attempt-count is ours on the way out, and not touched on the way in', async (t) => {
  const out = await round(t, { headers: { 'x-envoy-attempt-count': '9' } })
  t.same(headerValues(out.sent, 'x-envoy-attempt-count'), ['1'])
  const inside = await round(t, { headers: { 'x-envoy-attempt-count': '9' } }, {}, 'in')
  t.same(headerValues(inside.sent, 'x-envoy-attempt-count'), ['9'])
  t.same(headerValues((await round(t, {}, {}, 'in')).sent, 'x-envoy-attempt-count'), [])
})

t.test('x-envoy-expected-rq-timeout-ms says the timeout of the route', async (t) => {
  t.equal(header((await round(t, { target: '/timed' })).sent, 'x-envoy-expected-rq-timeout-ms'), '7000')
  t.equal(header((await round(t, {})).sent, 'x-envoy-expected-rq-timeout-ms'), undefined)
})

t.test('server is ours, whatever the upstream says', async (t) => {
  for (const [listener, server] of [
    ['out', 'envoy'],
    ['in', 'istio-envoy'],
  ] as const) {
    t.same(headerValues((await round(t, {}, { headers: { Server: 'nginx' } }, listener)).response, 'server'), [server])
    t.same(headerValues((await round(t, {}, {}, listener)).response, 'server'), [server])
  }
})

t.test('date is the upstream’s, or ours when it has none', async (t) => {
  const date = 'Tue, 15 Nov 1994 08:12:31 GMT'
  t.same(headerValues((await round(t, {}, { headers: { Date: date } })).response, 'date'), [date])
  const ours = headerValues((await round(t, {})).response, 'date')
  t.equal(ours.length, 1)
  t.match(ours[0], /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/)
})

t.test('x-envoy-upstream-service-time is ours, and only where there was an upstream', async (t) => {
  const { response } = await round(t, {}, { headers: { 'x-envoy-upstream-service-time': '99999' } })
  const values = headerValues(response, 'x-envoy-upstream-service-time')
  t.equal(values.length, 1)
  t.match(values[0], /^\d{1,4}$/)
  const local = await askAny(t, proxy.port(), { host: 'web', target: '/fixed' })
  t.equal(header(local, 'x-envoy-upstream-service-time'), undefined)
})

t.test('hop-by-hop fields end here, in both directions, with those that Connection names', { skip: HTTP1_BOTH }, async (t) => {
  const { sent, response } = await round(
    t,
    {
      headers: [
        ['Connection', 'X-One, keep-alive'],
        ['Connection', 'x-two'],
        ['X-One', '1'],
        ['X-Two', '2'],
        ['X-Three', '3'],
        ['TE', 'gzip, trailers;q=0.5'],
        ['Keep-Alive', 'timeout=5'],
      ],
    },
    {
      headers: [
        ['Connection', 'x-four, X-Five'],
        ['X-Four', '4'],
        ['X-Five', '5'],
        ['X-Six', '6'],
        ['Keep-Alive', 'timeout=5'],
        ['Proxy-Connection', 'keep-alive'],
      ],
    },
  )
  for (const name of ['connection', 'x-one', 'x-two', 'keep-alive']) t.equal(header(sent, name), undefined, name)
  t.equal(header(sent, 'x-three'), '3')
  t.equal(header(sent, 'te'), 'trailers')
  for (const name of ['connection', 'x-four', 'x-five', 'keep-alive', 'proxy-connection'])
    t.equal(header(response, name), undefined, name)
  t.equal(header(response, 'x-six'), '6')
})

t.test('Connection may not nominate what others rely on', { skip: HTTP1_ONLY }, async (t) => {
  const rows: readonly [value: string, status: number][] = [
    ['x-forwarded-proto', 400],
    ['X-Forwarded-For', 400],
    ['host', 400],
    [Array.from({ length: 10 }, (_, i) => `h${i}`).join(', '), 400],
  ]
  for (const [value, status] of rows) {
    const answer = await askAny(t, proxy.port(), { host: 'web', target: '/fixed', headers: { Connection: value } })
    t.equal(answer.status, status, value)
  }
  const nine = Array.from({ length: 9 }, (_, i) => `h${i}`).join(', ')
  t.equal((await askAny(t, proxy.port(), { host: 'web', target: '/fixed', headers: { Connection: nine } })).status, 200)
})

t.test('spelling, order and repetition survive among the fields that are ours', { skip: HTTP1_BOTH }, async (t) => {
  const mine: [string, string][] = [
    ['X-B', '1'],
    ['x-a', ''],
    ['X-REQUEST-ID', 'id'],
    ['Cookie', 'a=1'],
    ['X-B', '2'],
    ['cookie', 'b=2'],
  ]
  const { sent } = await round(t, { headers: mine })
  const names = new Set(mine.map(([n]) => n.toLowerCase()))
  t.same(
    sent.headers.filter(([n]) => names.has(n.toLowerCase())),
    mine,
  )
})
