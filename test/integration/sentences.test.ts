// Forty things about Istio's traffic management that are easy to get wrong. Each test carries the number of its sentence; those that belong to
// what is not built yet stand at the end with the reason, and a count holds the two together.
import t from 'tap'
import { clusterWith, grouped, percents } from '../suite/balancer.ts'
import { answering } from '../support/answering.ts'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { pause } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, resource, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { ROOT, runHeddle, startProxy } from '../support/proxy.ts'
import type { RequestSpec } from '../support/raw-client.ts'
import { filesBelow, readText } from '../support/source-text.ts'
import type { Teardown } from '../support/teardown.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

let a: Upstream
let b: Upstream
let echo: EchoUpstream
let proxy: HeddleProcess

const to = (host: string, more: object = {}) => ({ destination: { host }, ...more })
const all = { value: 100 }

t.before(async () => {
  a = await Upstream.start(t)
  b = await Upstream.start(t)
  echo = await EchoUpstream.start(t, { name: 'echo' })
  const echoToo = await EchoUpstream.start(t, { name: 'echo-too' })
  const rules: Readonly<Record<string, readonly object[]>> = {
    s1: [{ match: [{ uri: { prefix: '/foo' } }], route: [to('echo')] }],
    s3: [{ route: [to('echo', { weight: 0 })] }],
    s4: [{ route: [to('a', { weight: 0 }), to('echo', { weight: 1 })] }],
    s16: [{ route: [to('a')], fault: { abort: { httpStatus: 500 }, delay: { fixedDelay: '10s' } }, mirror: { host: 'b' } }],
    s17: [
      {
        route: [to('a')],
        fault: { delay: { fixedDelay: '60ms', percentage: all }, abort: { httpStatus: 500, percentage: all } },
      },
    ],
    s18: [
      {
        match: [{ uri: { exact: '/delayed' } }],
        route: [to('echo')],
        timeout: '50ms',
        fault: { delay: { fixedDelay: '150ms', percentage: all } },
      },
      {
        route: [to('a')],
        retries: { attempts: 3, retryOn: '5xx' },
        fault: { abort: { httpStatus: 503, percentage: all } },
      },
    ],
    s20: ['FORWARD', 'IGNORE'].map((unmatchedPreflights) => ({
      match: [{ uri: { exact: `/${unmatchedPreflights}` } }],
      route: [to('echo')],
      corsPolicy: { allowOrigins: [{ exact: 'http://ok.test' }], allowMethods: ['GET'], unmatchedPreflights },
    })),
    s21: [
      {
        match: [{ uri: { exact: '/one' } }],
        route: [to('echo', { headers: { request: { set: { 'x-set': 'destination' } } } })],
        headers: { request: { set: { 'x-set': 'route' } } },
      },
      {
        route: [
          to('echo', { weight: 1, headers: { request: { set: { 'x-set': 'destination' } } } }),
          to('echo', { weight: 1, headers: { request: { set: { 'x-set': 'destination' } } } }),
        ],
        headers: { request: { set: { 'x-set': 'route' } } },
      },
    ],
    s22: [{ route: [to('echo')], headers: { request: { set: { host: 'other.example' } } } }],
    s23: [
      { match: [{ uri: { regex: '/Items/[a-z]+' }, ignoreUriCase: true }], route: [to('echo')] },
      { match: [{ uri: { exact: '/Cased' }, ignoreUriCase: true }], route: [to('echo')] },
    ],
    s24: [{ match: [{ withoutHeaders: { x: { exact: 'a' } } }], route: [to('echo')] }],
    s25: [{ match: [{ queryParams: { k: { exact: '' } } }], route: [to('echo')] }],
    s37: [{ route: [to('full')], retries: { attempts: 3, retryOn: '5xx,connect-failure,reset' } }],
    s38: [
      { match: [{ uri: { exact: '/late' } }], route: [to('a')], timeout: '50ms' },
      { match: [{ uri: { exact: '/known' } }], route: [to('echo')] },
    ],
    s39: [{ route: [to('a')] }],
  }
  const hosts = Object.keys(rules)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'a', endpoints: [a] }),
      service({ host: 'b', endpoints: [b] }),
      service({ host: 'echo', endpoints: [echo] }),
      service({ host: 'full', endpoints: [a] }),
      destinationRule('full', 'full', {
        trafficPolicy: {
          connectionPool: { http: { http2MaxRequests: 1 } },
          outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100 },
        },
      }),
      service({ host: 's27', endpoints: [a] }),
      destinationRule('s27', 's27', {
        trafficPolicy: {
          connectionPool: { http: { maxRequestsPerConnection: 1 } },
          portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: 'RANDOM' } }],
        },
      }),
      service({ host: 's35', endpoints: [a, echo] }),
      service({ host: 's36', endpoints: [echo, echoToo] }),
      destinationRule('s36', 's36', { trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: 'x-user' } } } }),
      ...hosts.map((host) => service({ host, endpoints: [] })),
      ...hosts.map((host) => virtualService(host, [host], rules[host] as never)),
    ),
    bootstrap: { mesh: { outboundTrafficPolicy: 'REGISTRY_ONLY' } },
  })
})

t.beforeEach(() => {
  a.startAfresh()
  b.startAfresh()
})

const ask = (t: Teardown, request: RequestSpec) => askAny(t, proxy.port(), request)

const GRPC = { method: 'POST', headers: { 'Content-Type': 'application/grpc' } }

t.test('1: the uri prefix /foo of a VirtualService matches /foobar', async (t) => {
  for (const target of ['/foo', '/foobar', '/foo/bar']) t.equal((await ask(t, { host: 's1', target })).status, 200, target)
  t.equal((await ask(t, { host: 's1', target: '/fo' })).status, 404)
})

t.test('3: one destination takes everything, with weight 0 too', async (t) => {
  for (let i = 0; i < 5; i++) t.equal(header(await ask(t, { host: 's3' }), 'x-upstream'), 'echo')
})

t.test('4: weight 0 beside others gets nothing; a route of zeros is refused', async (t) => {
  for (let i = 0; i < 50; i++) t.equal(header(await ask(t, { host: 's4' }), 'x-upstream'), 'echo')
  const { state, reason } = await judge(
    t,
    virtualService('zero', ['zero'], [{ route: [to('a', { weight: 0 }), to('b', { weight: 0 })] }]),
  )
  t.equal(state, 'refused')
  t.match(reason, /weight/)
})

t.test('16: a fault without percentage injects nothing, a mirror without percentage mirrors everything', async (t) => {
  for (let i = 0; i < 20; i++) {
    const { response, seen } = await answering(t, proxy.port(), [a], { body: 'ok' }, { host: 's16', target: `/16/${i}` })
    t.same([response.status, seen.length], [200, 1])
    t.equal((await b.next()).request.target, `/16/${i}`)
  }
})

t.test('17: delay and abort may hit the same request, the delay first', async (t) => {
  const began = performance.now()
  t.equal((await ask(t, { host: 's17', target: '/17' })).status, 500)
  t.ok(performance.now() - began >= 55, 'held before it was refused')
  t.match(await proxy.logged({ path: '/17' }), { response_flags: 'DI,FI' })
})

t.test('18: faults happen at the client’s proxy alone, and neither retries nor timeouts see them', async (t) => {
  t.equal((await ask(t, { host: 's18', target: '/delayed' })).status, 200)
  const before = a.exchanges.length
  t.equal((await ask(t, { host: 's18', target: '/18' })).status, 503)
  t.match(await proxy.logged({ path: '/18' }), { response_flags: 'FI' })
  t.equal(a.exchanges.length, before)
  const server = await startProxy(t, {
    resources: yaml(
      service({ host: 's18', endpoints: [echo] }),
      virtualService('s18', ['s18'], [{ route: [to('s18')], fault: { abort: { httpStatus: 503, percentage: all } } }]),
    ),
    listeners: [{ name: 'in', direction: 'inbound', forwardTo: echo.address }],
  })
  t.equal((await askAny(t, server.port(), { host: 's18' })).status, 200)
})

t.test('19: the Host of a mirrored copy: with -shadow as plain Envoy, or as it is as current Istio', async (t) => {
  for (const [hostSuffix, host] of [
    ['-shadow', 'm-shadow:80'],
    ['', 'm:80'],
  ] as const) {
    const own = await startProxy(t, {
      resources: yaml(
        service({ host: 'm', endpoints: [echo] }),
        service({ host: 'b', endpoints: [b] }),
        virtualService('m', ['m'], [{ route: [to('m')], mirror: { host: 'b' } }]),
      ),
      bootstrap: { mirror: { hostSuffix } },
    })
    await askAny(t, own.port(), { host: 'm:80' })
    t.equal(header((await b.next()).request, 'host'), host)
  }
})

t.test('20: a preflight of another origin is forwarded under FORWARD, 200 without allow-origin under IGNORE', async (t) => {
  const asked = (target: string) =>
    ask(t, {
      host: 's20',
      method: 'OPTIONS',
      target,
      headers: { Origin: 'http://bad.test', 'Access-Control-Request-Method': 'GET' },
    })
  const forwarded = await asked('/FORWARD')
  t.same([forwarded.status, header(forwarded, 'x-upstream')], [200, 'echo'])
  const ignored = await asked('/IGNORE')
  t.same([ignored.status, ignored.body.length, header(ignored, 'x-upstream')], [200, 0, undefined])
  t.same([header(ignored, 'access-control-allow-origin'), header(ignored, 'access-control-allow-methods')], [undefined, 'GET'])
})

t.test('21: several destinations: the route’s set wins; one destination: its own wins', async (t) => {
  const sent = async (target: string) =>
    (JSON.parse((await ask(t, { host: 's21', target })).body.toString()) as { headers: [string, string][] }).headers.filter(
      ([n]) => n === 'x-set',
    )
  t.same(await sent('/one'), [['x-set', 'destination']])
  for (let i = 0; i < 5; i++) t.same(await sent('/two'), [['x-set', 'route']])
})

t.test('22: set: {host: x} changes the authority; twice in one level is refused', async (t) => {
  const { body } = await ask(t, { host: 's22' })
  const { headers } = JSON.parse(body.toString()) as { headers: [string, string][] }
  t.same(
    headers.filter(([n]) => n.toLowerCase() === 'host').map(([, v]) => v),
    ['other.example'],
  )
  const { state } = await judge(
    t,
    virtualService(
      'twice',
      ['twice'],
      [{ route: [to('a')], rewrite: { authority: 'x' }, headers: { request: { set: { host: 'y' } } } }],
    ),
  )
  t.equal(state, 'refused')
})

t.test('23: ignoreUriCase does nothing to a regex, and a regex has to match the whole path', async (t) => {
  const rows = { '/Items/abc': 200, '/items/abc': 404, '/Items/abc/d': 404, '/x/Items/abc': 404, '/cASED': 200 }
  for (const [target, status] of Object.entries(rows)) t.equal((await ask(t, { host: 's23', target })).status, status, target)
})

t.test('24: withoutHeaders {x: exact a} matches where x is missing', async (t) => {
  t.equal((await ask(t, { host: 's24' })).status, 200)
  t.equal((await ask(t, { host: 's24', headers: { x: 'b' } })).status, 200)
  t.equal((await ask(t, { host: 's24', headers: { x: 'a' } })).status, 404)
})

t.test('25: queryParams {k: exact ""} matches ?k and ?k=, not a missing k', async (t) => {
  const rows = { '/?k': 200, '/?k=': 200, '/?a=1&k=': 200, '/?k=v': 404, '/?kk': 404, '/': 404 }
  for (const [target, status] of Object.entries(rows)) t.equal((await ask(t, { host: 's25', target })).status, status, target)
})

t.test('27: portLevelSettings replace what stands at the destination, they inherit nothing', async (t) => {
  const one = await answering(t, proxy.port(), [a], {}, { host: 's27' })
  const two = await answering(t, proxy.port(), [a], {}, { host: 's27' })
  t.equal(one.seen[0]?.connection, two.seen[0]?.connection, 'maxRequestsPerConnection: 1 does not hold for this port')
})

t.test('28: the DestinationRule of the client’s namespace, else of the service’s, else of the root; never merged', async (t) => {
  const host = 'pay.shop.svc.cluster.local'
  const rule = (namespace: string, limit: number) =>
    yaml(
      resource(
        'DestinationRule',
        'pay',
        {
          host,
          trafficPolicy:
            limit === 0
              ? { loadBalancer: { simple: 'RANDOM' } }
              : { connectionPool: { http: { maxRequestsPerConnection: limit } } },
        },
        namespace,
      ),
    )
  const own = await startProxy(t, {
    resources: {
      'service.yaml': yaml(service({ host, endpoints: [a] })).replace('namespace: default', 'namespace: shop'),
      'client.yaml': rule('default', 0),
      'service-rule.yaml': rule('shop', 1),
      'root.yaml': rule('istio-system', 2),
    },
  })
  const connections = async () => {
    const client = await connectAny(t, own.port())
    const used = new Set<unknown>()
    for (let i = 0; i < 4; i++) {
      await client.send({ host })
      const exchange = await a.next()
      used.add(exchange.connection)
      await exchange.answer()
      await client.response()
    }
    client.destroy()
    return used.size
  }
  t.equal(await connections(), 1, 'the client’s, without the limit of the others')
  await own.reload({ 'client.yaml': null })
  t.ok((await connections()) >= 3, 'the service’s: one request for each connection')
  await own.reload({ 'service-rule.yaml': null })
  t.equal(await connections(), 2, 'the root’s')
})

t.test('29: under REGISTRY_ONLY an unknown host is answered 502 with an empty body', async (t) => {
  const answer = await ask(t, { host: 'unknown.example', target: '/29' })
  t.same([answer.status, answer.body.length], [502, 0])
  t.match(await proxy.logged({ path: '/29' }), { response_flags: '-', response_code_details: 'direct_response' })
})

t.test(
  '30 and 37: http2MaxRequests holds for HTTP/1.1; overflow is 503 with x-envoy-overloaded, not retried, no failure',
  async (t) => {
    const first = await connectAny(t, proxy.port())
    await first.send({ host: 's37' })
    const held = await a.next()
    const answer = await ask(t, { host: 's37', target: '/37' })
    t.same([answer.status, header(answer, 'x-envoy-overloaded')], [503, 'true'])
    t.match(await proxy.logged({ path: '/37' }), { response_flags: 'UO' })
    const metrics = await proxy.metrics()
    const labels = { cluster_name: 'outbound|80||full.default.svc.cluster.local' }
    t.equal(metrics.value('envoy_cluster_upstream_rq_retry', labels) ?? 0, 0)
    // One failure would be enough.
    t.equal(metrics.value('envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx', labels) ?? 0, 0)
    await held.answer()
    await first.response()
  },
)

t.test('34: failover needs outlierDetection; with it, 7 of 10 local endpoints healthy still keep 98 %', async (t) => {
  const localityLbSetting = { failover: [{ from: 'us', to: 'eu' }] }
  const known = service({ host: 'a', endpoints: [{ address: '10.0.0.1:80' }] })
  const rule = (policy: object) =>
    destinationRule('failover', 'a', { trafficPolicy: { loadBalancer: { localityLbSetting }, ...policy } })
  t.match((await judge(t, rule({}), known)).reason, /localityLbSetting\.failover: has no effect without `outlierDetection`/)
  t.notMatch((await judge(t, rule({ outlierDetection: {} }), known)).reason, /no effect/)
  const all = grouped([
    { priority: 0, healthy: 7, total: 10 },
    { priority: 1, healthy: 10, total: 10 },
  ])
  t.same(percents(clusterWith(all, { loadBalancer: { kind: 'LEAST_REQUEST' }, panicThreshold: 0 }), 2), [98, 2])
})

t.test('35: LEAST_REQUEST is the default, two draws with replacement: who is busy still gets a quarter', async (t) => {
  const busy = await connectAny(t, proxy.port())
  let held: Exchange | null = null
  while (held === null) {
    const before = a.exchanges.length
    await busy.send({ host: 's35', target: '/hold' })
    const came = await Promise.race([a.next().then((e) => e), busy.response().then(() => null)])
    if (came !== null) held = came
    else t.equal(a.exchanges.length, before)
    if (held === null) a.startAfresh()
  }
  const from = a.exchanges.length
  const timer = setInterval(() => {
    for (const e of a.exchanges.slice(from)) if (!e.answered) void e.answer()
  }, 1)
  const client = await connectAny(t, proxy.port())
  const count = 300
  for (let i = 0; i < count; i++) await client.ask({ host: 's35' })
  clearInterval(timer)
  const share = a.exchanges.length - from
  // Binomial(300, 1/4): 75 ± 7.5, six deviations each way. Round robin and random would give 150, and draws without replacement none.
  t.ok(share > 30 && share < 120, `${share} of ${count}`)
  await held.answer()
})

t.test('36: consistent hash without the header present balances randomly instead of failing', async (t) => {
  const client = await connectAny(t, proxy.port())
  const seen = new Set<string | undefined>()
  for (let i = 0; i < 30; i++) {
    const response = await client.ask({ host: 's36' })
    t.equal(response.status, 200)
    seen.add(header(response, 'x-upstream'))
  }
  t.equal(seen.size, 2, 'both endpoints')
  const hashed = new Set<string | undefined>()
  for (let i = 0; i < 8; i++) hashed.add(header(await client.ask({ host: 's36', headers: { 'x-user': 'u1' } }), 'x-upstream'))
  t.equal(hashed.size, 1, 'with it always the same')
})

t.test('38: a local reply to gRPC is 200 with grpc-status: 504 is 14, 404 is 12', async (t) => {
  const late = await ask(t, { host: 's38', target: '/late', ...GRPC })
  t.same([late.status, header(late, 'grpc-status'), late.body.length], [200, '14', 0])
  const none = await ask(t, { host: 's38', target: '/none', ...GRPC })
  t.same([none.status, header(none, 'grpc-status'), none.body.length], [200, '12', 0])
})

t.test('39: x-envoy-upstream-rq-timeout-ms of an application is stripped and has no effect', async (t) => {
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 's39', headers: { 'x-envoy-upstream-rq-timeout-ms': '50' } })
  const exchange = await a.next()
  t.equal(header(exchange.request, 'x-envoy-upstream-rq-timeout-ms'), undefined)
  t.equal(header(exchange.request, 'x-envoy-expected-rq-timeout-ms'), undefined)
  // Three times what was asked for: the answer is late on purpose.
  await pause(150)
  await exchange.answer({ body: 'late' })
  t.equal((await client.response()).body.toString(), 'late')
})

/** Number of the sentence → why it has no test here. Of 1, 3 and 29 the part about Gateway API and Sidecar is missing likewise. */
const ABSENT: Readonly<Record<number, string>> = {
  2: 'Gateway API',
  26: 'waypoint role',
  40: 'Gateway API',
}

t.test('all forty have a test or a reason', (t) => {
  // A group with a file of its own is `sentences-GROUP.test.ts`; titles begin with the numbers: `30 and 37: …`.
  const files = filesBelow(ROOT, 'test/integration', ['.ts']).filter((f) => /\/sentences[\w-]*\.test\.ts$/.test(f))
  const titles = files.flatMap((f) => [...readText(ROOT, f).matchAll(/^t\.test\(\s*['"`](\d+(?: and \d+)*):/gm)])
  const tested = titles.flatMap((title) => (title[1] as string).split(' and ').map(Number))
  const absent = Object.keys(ABSENT).map(Number)
  t.same(
    [...tested, ...absent].sort((x, y) => x - y),
    Array.from({ length: 40 }, (_, i) => i + 1),
  )
  for (const [number, reason] of Object.entries(ABSENT)) t.comment(`${number} is absent: ${reason}`)
  t.end()
})

/** What `heddle check` says of one object. */
async function judge(
  t: Teardown & { testdir(files: Record<string, string>): string },
  object: { readonly [key: string]: unknown },
  ...others: readonly { readonly [key: string]: unknown }[]
) {
  const dir = t.testdir({ 'object.yaml': yaml(object, ...others) })
  const { stdout } = await runHeddle(['check', dir, '--json'])
  const { resources } = JSON.parse(stdout) as { resources: { name: string; state: string; reason: string }[] }
  const name = (object['metadata'] as { name: string }).name
  const found = resources.find((r) => r.name === name)
  if (found === undefined) throw new Error(stdout)
  return found
}
