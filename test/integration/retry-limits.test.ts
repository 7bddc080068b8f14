// What ends or narrows retries: their limits and budgets, the body that is kept for them, an answer that has begun, and the time that is left.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { eventually, pause } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

t.test('maxRetries: the breaker is full, the original answer stands with UO', async (t) => {
  const held: Exchange[] = []
  const busy = await Upstream.start(t, (e) =>
    header(e.request, 'x-envoy-attempt-count') === '1' ? e.answer({ status: 503, body: 'first' }) : held.push(e),
  )
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [busy] }),
      destinationRule('web', 'web', { trafficPolicy: { connectionPool: { http: { maxRetries: 1 } } } }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 2, retryOn: '5xx' } }]),
    ),
  })
  const one = await connectAny(t, own.port())
  await one.send({ host: 'web', target: '/one' })
  await busy.next()
  await busy.next()
  const two = await askAny(t, own.port(), { host: 'web', target: '/two' })
  t.same([two.status, two.body.toString()], [503, 'first'])
  t.match(await own.logged({ path: '/two' }), { response_flags: 'UO', response_code_details: 'via_upstream' })
  await held[0]?.answer({ body: 'second' })
  t.equal((await one.response()).body.toString(), 'second')
  busy.startAfresh()
  const three = await connectAny(t, own.port())
  await three.send({ host: 'web', target: '/three' })
  await busy.next()
  await busy.next()
  await held[1]?.answer({ body: 'again' })
  t.equal((await three.response()).body.toString(), 'again', 'the place has been given back')
})

t.test('retryBudget: a share of what is in flight, in all workers together', async (t) => {
  const CLIENTS = 12
  const busy = await Upstream.start(t)
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [busy] }),
      destinationRule('web', 'web', { trafficPolicy: { retryBudget: { percent: 50, minRetryConcurrency: 1 } } }),
      virtualService(
        'web',
        ['web'],
        [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 1, retryOn: '5xx', backoff: '1ms' } }],
      ),
    ),
    bootstrap: { concurrency: 2 },
  })
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connectAny(t, own.port())))
  await Promise.all(clients.map((c) => c.send({ host: 'web', target: '/budget' })))
  const firsts = await Promise.all(clients.map(() => busy.next()))
  const refused = () => clients.filter((c) => c.responses.length > 0)
  for (const [i, exchange] of firsts.entries()) {
    await exchange.answer({ status: 503, body: 'first' })
    // As many are in flight again before the next one fails.
    await eventually('a retry or an answer', () => busy.exchanges.length - CLIENTS + refused().length === i + 1)
  }
  // Twelve in flight allow six; each that is refused leaves one fewer in flight, and never room for another.
  t.equal(busy.exchanges.length - CLIENTS, 6)
  t.equal(refused().length, 6)
  for (const client of refused()) t.equal((await client.response()).body.toString(), 'first')
  t.match(await own.logged({ path: '/budget' }), { response_flags: 'UO', response_code_details: 'via_upstream' })
  const overflow = (await own.metrics()).value('envoy_cluster_upstream_rq_retry_overflow', {
    cluster_name: 'outbound|80||web.default.svc.cluster.local',
  })
  t.equal(overflow, 6)
  const { body } = await own.admin('/clusters')
  t.match(body, /::budget_percent::50\n.*::min_retry_concurrency::1\n/)
  t.notMatch(body, /web\.default.*max_retries/, 'the budget takes its place')
  for (const exchange of busy.exchanges.slice(CLIENTS)) await exchange.answer({ body: 'second' })
  for (const client of clients.filter((c) => c.responses.length === 0))
    t.equal((await client.response()).body.toString(), 'second')
})

t.test('a 100 Continue that went to the client was the last moment for another try', async (t) => {
  const slow = await Upstream.start(t)
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [slow] }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 2, retryOn: '5xx' } }]),
    ),
    bootstrap: { retries: 'exact' },
  })
  const client = await connectAny(t, own.port())
  client.expectMethod('POST')
  await client.write('POST /continue HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
  const exchange = await slow.next()
  await exchange.write('HTTP/1.1 100 Continue\r\n\r\n')
  await client.untilInformational(100)
  await client.write('body')
  await exchange.body()
  await exchange.answerEarly({ status: 503, body: 'no' })
  t.equal((await client.response()).status, 503)
  t.equal(slow.exchanges.length, 1)
  t.match(await own.logged({ path: '/continue' }), { response_flags: '-', response_code_details: 'via_upstream' })
})

t.test('more of a body than may be kept, between two tries: 507', async (t) => {
  const early = await Upstream.start(t)
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [early] }),
      // Hours: the next try does not come before the test is over.
      virtualService(
        'web',
        ['web'],
        [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 1, retryOn: '5xx', backoff: '100h' } }],
      ),
    ),
    bootstrap: { retries: 'exact', limits: { bufferBytes: '64KiB' } },
  })
  const client = await connectAny(t, own.port())
  client.expectMethod('POST')
  await client.write('POST /507 HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nbegin')
  const exchange = await early.next()
  await exchange.bodyBytes(5)
  await exchange.answerEarly({ status: 503 })
  await exchange.over()
  await client.write('x'.repeat(200_000))
  const response = await client.response()
  t.same([response.status, response.body.toString()], [507, 'exceeded request buffer limit while retrying upstream'])
  t.match(await own.logged({ path: '/507' }), {
    response_code: 507,
    response_flags: '-',
    response_code_details: 'request_payload_exceeded_retry_buffer_limit',
  })
  t.equal(early.exchanges.length, 1)
})

t.test('each try is told how long it has: no more than what is left, for gRPC in grpc-timeout too', async (t) => {
  const told = await Upstream.start(t)
  const rule = (prefix: string, more: object) => ({
    match: [{ uri: { prefix } }],
    route: [{ destination: { host: 'web' } }],
    ...more,
  })
  const again = { attempts: 2, retryOn: '5xx', backoff: '1ms' }
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [told] }),
      virtualService(
        'web',
        ['web'],
        [
          rule('/overall', { timeout: '20s', retries: again }),
          rule('/per-try', { timeout: '20s', retries: { ...again, perTryTimeout: '4s' } }),
          rule('/none', { retries: again }),
        ],
      ),
    ),
    bootstrap: { retries: 'exact' },
  })
  const sent = async (target: string, headers: Record<string, string>, holdMs: number) => {
    const client = await connectAny(t, own.port())
    await client.send({ method: 'POST', host: 'web', target, headers, body: 'x' })
    const first = await told.next()
    // So that there is something to take away.
    if (holdMs > 0) await pause(holdMs)
    await first.answer({ status: 503 })
    const second = await told.next()
    await second.answer()
    await client.response()
    return [first, second].map((e) => [header(e.request, 'x-envoy-expected-rq-timeout-ms'), header(e.request, 'grpc-timeout')])
  }
  const [[overall], [left]] = (await sent('/overall', {}, 30)) as [string[], string[]]
  t.equal(overall, '20000')
  t.ok(Number(left) <= 20_000 - 30 && Number(left) > 0, `${left} ms are left`)
  t.same(await sent('/per-try', {}, 0), [
    ['4000', undefined],
    ['4000', undefined],
  ])
  t.same(await sent('/none', {}, 0), [
    [undefined, undefined],
    [undefined, undefined],
  ])
  const grpc = { 'Content-Type': 'application/grpc' }
  const [[expected, timeout], [less, lessTimeout]] = (await sent('/overall', { ...grpc, 'grpc-timeout': '10S' }, 30)) as [
    string[],
    string[],
  ]
  t.same([expected, timeout, lessTimeout], ['10000', '10000m', `${less}m`])
  t.ok(Number(less) < 10_000)
  t.same((await sent('/overall', grpc, 0))[0], ['20000', '20000m'])
  t.same((await sent('/none', { ...grpc, 'grpc-timeout': '99999999S' }, 0))[0], ['99999999000', '99999999S'])
  t.same((await sent('/none', { ...grpc, 'grpc-timeout': '0m' }, 0))[0], [undefined, '0m'], 'for ever')
})
