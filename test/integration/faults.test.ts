// Fault injection (Istio HTTPFaultInjection and Envoy fault filter): delay first, then abort, each with its own draw; the upstream never sees an aborted request.
import t from 'tap'
import { Rng } from '../../lib/base/rng.ts'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { DOWNSTREAM, HTTP1_ONLY } from '../support/versions.ts'

let upstream: EchoUpstream
let proxy: HeddleProcess

const half = { value: 50 }
const all = { value: 100 }

t.before(async () => {
  upstream = await EchoUpstream.start(t)
  const on = (prefix: string, fault: object, more: object = {}) => ({
    match: [{ uri: { prefix } }],
    fault,
    route: [{ destination: { host: 'web' } }],
    ...more,
  })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      virtualService(
        'web',
        ['web'],
        [
          on('/abort', { abort: { httpStatus: 418, percentage: all } }),
          on('/never', {
            abort: { httpStatus: 418, percentage: { value: 0 } },
            delay: { fixedDelay: '10s', percentage: { value: 0 } },
          }),
          on('/unset', { abort: { httpStatus: 418 }, delay: { fixedDelay: '10s' } }),
          on('/grpc', { abort: { grpcStatus: 'RESOURCE_EXHAUSTED', percentage: all } }),
          on('/delay', { delay: { fixedDelay: '150ms', percentage: all } }),
          on('/both', { delay: { fixedDelay: '150ms', percentage: all }, abort: { httpStatus: 503, percentage: all } }),
          on(
            '/timed',
            { delay: { fixedDelay: '300ms', percentage: all } },
            { timeout: '100ms', retries: { attempts: 3, retryOn: '5xx' } },
          ),
          on('/held', { delay: { fixedDelay: '2s', percentage: all } }),
          on(
            '/retried',
            { abort: { httpStatus: 503, percentage: all } },
            { retries: { attempts: 3, retryOn: '5xx' }, headers: { response: { set: { 'x-edit': 'yes' } } } },
          ),
          on('/mixed', { delay: { fixedDelay: '1ms', percentage: half }, abort: { httpStatus: 500, percentage: half } }),
          { route: [{ destination: { host: 'web' } }] },
        ],
      ),
    ),
  })
})

const ask = (target: string, more: object = {}) => askAny(t, proxy.port(), { host: 'web', target, ...more })

t.test('an abort: its status, the text, FI, and nothing at the upstream', async (t) => {
  const before = upstream.seen.length
  const answer = await ask('/abort')
  t.same([answer.status, answer.body.toString()], [418, 'fault filter abort'])
  t.match(await proxy.logged({ path: '/abort' }), {
    response_code: 418,
    response_flags: 'FI',
    response_code_details: 'fault_filter_abort',
    upstream_host: null,
  })
  t.equal(upstream.seen.length, before)
})

t.test('0 percent, and no percentage at all, never inject', async (t) => {
  for (const target of ['/never', '/unset']) {
    for (let i = 0; i < 20; i++) t.equal((await ask(target)).status, 200, target)
  }
})

t.test('a delay holds the request, with its body, and lets it go on: DI', async (t) => {
  const began = performance.now()
  const answer = await ask('/delay', { method: 'POST', body: 'kept meanwhile' })
  // A lower bound is what a delay promises; the wheel turns in steps of 5 ms.
  t.ok(performance.now() - began >= 140)
  t.equal((JSON.parse(answer.body.toString()) as { body: string }).body, 'kept meanwhile')
  t.match(await proxy.logged({ path: '/delay' }), { response_code: 200, response_flags: 'DI' })
})

t.test('both hit the same request, delay first: DI,FI', async (t) => {
  const began = performance.now()
  const answer = await ask('/both')
  t.ok(performance.now() - began >= 140)
  t.equal(answer.status, 503)
  t.match(await proxy.logged({ path: '/both' }), { response_flags: 'DI,FI' })
})

t.test('timeouts do not run while a request is held', async (t) => {
  t.equal((await ask('/timed')).status, 200)
})

t.test('an abort is not retried; edits of the response apply to it', async (t) => {
  const answer = await ask('/retried')
  t.equal(answer.status, 503)
  t.equal(header(answer, 'x-edit'), 'yes')
  t.match(await proxy.logged({ path: '/retried' }), { response_flags: 'FI' })
})

t.test('a gRPC abort', async (t) => {
  const answer = await ask('/grpc', { method: 'POST', headers: { 'Content-Type': 'application/grpc+proto' } })
  t.same([answer.status, header(answer, 'grpc-status'), answer.body.length], [200, '8', 0])
  t.equal(header(answer, 'content-type'), 'application/grpc')
  t.equal(header(answer, 'grpc-message'), 'fault filter abort')
  const plain = await ask('/grpc')
  t.same([plain.status, plain.body.toString(), header(plain, 'grpc-status')], [200, 'fault filter abort', undefined])
  const mapped = await ask('/abort', { method: 'POST', headers: { 'Content-Type': 'application/grpc' } })
  t.same([mapped.status, header(mapped, 'grpc-status')], [200, '2'], 'a status of HTTP becomes one of gRPC')
})

t.test('delay and abort are drawn independently', async (t) => {
  const seen = new Set<string>()
  const client = await connectAny(t, proxy.port())
  for (let i = 0; i < 120; i++) await client.ask({ host: 'web', target: `/mixed/${i}` })
  await proxy.logged({ path: '/mixed/119' })
  for (const line of proxy.accessLog()) if (String(line['path']).startsWith('/mixed')) seen.add(String(line['response_flags']))
  // Each of the four has a quarter: that one of them is missing among 120 has odds below one in 10^14.
  t.same([...seen].sort(), ['-', 'DI', 'DI,FI', 'FI'])
})

t.test('a client that leaves a held request', { skip: HTTP1_ONLY }, async (t) => {
  const before = upstream.seen.length
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web', target: '/held/left' })
  // A reset that is there before the connection is accepted leaves no request at all.
  await eventually('the request to be held', async () => (await proxy.metrics()).value('envoy_http_downstream_rq_active') === 1)
  client.reset()
  t.match(await proxy.logged({ path: '/held/left' }), { response_code: 0, response_flags: 'DI,DC' })
  t.equal((await ask('/held')).status, 200, 'longer than the delay')
  t.equal(upstream.seen.length, before + 1)
})

t.test('percentages to the millionth: 99.9999 is nearly always, 0.0001 nearly never', async (t) => {
  const rng = new Rng(1)
  let [rare, usual] = [0, 0]
  const draws = 4_000_000
  for (let i = 0; i < draws; i++) {
    if (rng.percent(0.0001)) rare++
    if (!rng.percent(99.9999)) usual++
  }
  // Poisson(4): 0 and more than 15 have odds of 2 % and 10^-5; the seed is fixed.
  for (const hits of [rare, usual]) t.ok(hits > 0 && hits <= 15, `${hits} of ${draws}`)
  t.equal([rng.percent(0), rng.percent(100)].join(), 'false,true')
})

t.test('explain and metrics tell of it', async (t) => {
  const before = await proxy.metrics()
  await ask('/both', { headers: { 'x-request-id': 'fault-1' } })
  await ask('/grpc', { headers: { 'x-request-id': 'fault-2' } })
  await proxy.logged({ request_id: 'fault-2' })
  const steps = async (id: string) => {
    const explanation = (await proxy.adminJson(`/explain?id=${id}`)) as { steps: { step: string; text: string }[] }
    return explanation.steps.filter((s) => s.step === 'fault').map((s) => s.text)
  }
  t.same(await steps('fault-1'), ['fault injection held it for 150 ms', 'fault injection answered 503'])
  t.same(await steps('fault-2'), ['fault injection answered with grpc-status 8'])
  const after = await proxy.metrics()
  const grown = (name: string) => (after.value(name) ?? 0) - (before.value(name) ?? 0)
  t.equal(grown('envoy_http_fault_delays_injected'), 1)
  t.equal(grown('envoy_http_fault_aborts_injected'), 2)
  t.equal(after.value('envoy_http_fault_active_faults'), 0)
})

t.test('headers that ask for faults are passed on, and nothing else, unless the bootstrap allows them', async (t) => {
  const answer = await ask('/plain', { headers: { 'x-envoy-fault-abort-request': '418', 'x-envoy-fault-delay-request': '5000' } })
  t.equal(answer.status, 200)
  t.ok(upstream.seen.at(-1)?.headers.some(([name, value]) => name === 'x-envoy-fault-abort-request' && value === '418'))
})

t.test('faults.headers: allow', async (t) => {
  const web = [{ destination: { host: 'web' } }]
  const asking = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      virtualService(
        'web',
        ['web'],
        [
          { match: [{ uri: { prefix: '/limited' } }], fault: { abort: { httpStatus: 500 } }, route: web },
          { match: [{ uri: { prefix: '/direct' } }], directResponse: { status: 200 } },
          { route: web },
        ],
      ),
    ),
    listeners: [{ name: 'out' }, { name: 'in', direction: 'inbound', forwardTo: upstream.address }],
    bootstrap: { faults: { headers: 'allow' } },
  })
  const askOf = (name: string, target: string, headers: Record<string, string>) =>
    askAny(t, asking.port(name), { host: 'web', target, headers })
  const abort = { 'x-envoy-fault-abort-request': '418' }
  t.equal((await askOf('out', '/a', abort)).status, 418)
  t.match(await asking.logged({ path: '/a' }), { response_flags: 'FI', response_code_details: 'fault_filter_abort' })
  t.equal((await askOf('out', '/a', {})).status, 200)
  t.equal((await askOf('out', '/limited', abort)).status, 200, 'as often as the policy of the route, which is never')
  t.equal((await askOf('out', '/direct', abort)).status, 200)
  // An application is spoken to in its client's version, and this one knows HTTP/1.
  if (DOWNSTREAM === 'http1') t.equal((await askOf('in', '/a', abort)).status, 200, 'the proxy of a service never injects')
  const began = performance.now()
  const held = await askOf('out', '/held', { 'x-envoy-fault-delay-request': '150' })
  t.ok(performance.now() - began >= 140)
  t.equal(held.status, 200)
  t.match(await asking.logged({ path: '/held' }), { response_flags: 'DI' })
})

t.test('a request that was held goes to an endpoint that is there when it goes on', async (t) => {
  const [old, young] = [await EchoUpstream.start(t, { name: 'old' }), await EchoUpstream.start(t, { name: 'young' })]
  const resources = (endpoints: readonly EchoUpstream[]) =>
    yaml(
      service({ host: 'web', endpoints }),
      virtualService(
        'web',
        ['web'],
        [{ route: [{ destination: { host: 'web' } }], fault: { delay: { fixedDelay: '2s', percentage: all } } }],
      ),
    )
  const moving = await startProxy(t, { resources: { 'web.yaml': resources([old]) } })
  const client = await connectAny(t, moving.port())
  await client.send({ host: 'web', target: '/held' })
  await eventually('it to be held', async () => (await moving.metrics()).value('envoy_http_fault_active_faults') === 1)
  await moving.reload({ 'web.yaml': resources([young]) })
  t.equal(header(await client.response(), 'x-upstream'), 'young')
})
