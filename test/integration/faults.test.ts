// Fault injection (Istio HTTPFaultInjection and Envoy fault filter): delay first, then abort, each with its own draw; the upstream never sees an aborted request.
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'

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

const ask = (target: string, more: object = {}) => askOnce(t, proxy.port(), { host: 'web', target, ...more })

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
  const client = await RawClient.connect(t, proxy.port())
  for (let i = 0; i < 120; i++) await client.ask({ host: 'web', target: `/mixed/${i}` })
  await proxy.logged({ path: '/mixed/119' })
  for (const line of proxy.accessLog()) if (String(line['path']).startsWith('/mixed')) seen.add(String(line['response_flags']))
  // Each of the four has a quarter: that one of them is missing among 120 has odds below one in 10^14.
  t.same([...seen].sort(), ['-', 'DI', 'DI,FI', 'FI'])
})

t.test('a client that leaves a held request', async (t) => {
  const before = upstream.seen.length
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', target: '/timed/left' })
  // A reset that is there before the connection is accepted leaves no request at all.
  await eventually('the request to be held', async () => (await proxy.metrics()).value('envoy_http_downstream_rq_active') === 1)
  client.reset()
  t.match(await proxy.logged({ path: '/timed/left' }), { response_code: 0, response_flags: 'DI,DC' })
  t.equal((await ask('/timed')).status, 200, 'longer than the delay')
  t.equal(upstream.seen.length, before + 1)
})
