// What is not waited for: answers, attempts, idle streams, heads that do not come (Envoy timeouts).
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { pause } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import { HTTP1_ONLY } from '../support/versions.ts'

let upstream: Upstream
let proxy: HeddleProcess
let idle: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  const route = [{ destination: { host: 'web' } }]
  const on = (prefix: string, more: object) => ({ match: [{ uri: { prefix } }], route, ...more })
  const resources = yaml(
    service({ host: 'web', endpoints: [upstream] }),
    virtualService(
      'web',
      ['web'],
      [
        on('/route', { timeout: '300ms' }),
        on('/try-default', { timeout: '20s', retries: { attempts: 3, perTryTimeout: '100ms' } }),
        on('/try-5xx', { timeout: '20s', retries: { attempts: 2, perTryTimeout: '100ms', retryOn: '5xx' } }),
        on('/both', { timeout: '250ms', retries: { attempts: 50, perTryTimeout: '100ms', retryOn: '5xx', backoff: '1ms' } }),
        on('/longer-try', { timeout: '200ms', retries: { attempts: 3, perTryTimeout: '300ms', retryOn: '5xx' } }),
        { route, retries: { attempts: 0 } },
      ],
    ),
  )
  proxy = await startProxy(t, { resources, bootstrap: { limits: { headerTimeout: '300ms' } } })
  idle = await startProxy(t, { resources, bootstrap: { limits: { streamIdleTimeout: '300ms', connectionIdleTimeout: '300ms' } } })
})

t.beforeEach(() => upstream.startAfresh())

const connect = (t: Teardown, p = proxy) => connectAny(t, p.port())
const connectRaw = (t: Teardown, p = proxy) => connectAny(t, p.port())

const UT = { response_code: 504, response_flags: 'UT', response_code_details: 'response_timeout' }

t.test('an answer that does not come in time: 504 UT, and the request is cancelled', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web', target: '/route/none' })
  const exchange = await upstream.next()
  const answer = await client.response()
  t.equal(answer.status, 504)
  t.equal(answer.body.toString(), 'upstream request timeout')
  t.equal(header(answer, 'content-type'), 'text/plain')
  await exchange.over()
  t.match(await proxy.logged({ path: '/route/none' }), UT)
  await client.send({ host: 'web', target: '/' })
  await (await upstream.next()).answer({ body: 'next' })
  t.equal((await client.response()).body.toString(), 'next', 'the client’s connection goes on')
})

t.test(
  'an answer that begins in time and does not end: the connection is cut, the answer does not look complete',
  { skip: HTTP1_ONLY },
  async (t) => {
    const client = await connectRaw(t)
    await client.send({ host: 'web', target: '/route/half' })
    const exchange = await upstream.next()
    await exchange.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')
    const response = await client.responseHead()
    await client.closed()
    t.equal(response.complete, false)
    await exchange.over()
    t.match(await proxy.logged({ path: '/route/half' }), { response_code: 200, response_flags: 'UT' })
  },
)

t.test('the clock begins when the request is complete: a slow upload is not timed out', { skip: HTTP1_ONLY }, async (t) => {
  const client = await connectRaw(t)
  client.expectMethod('POST')
  await client.write('POST /route/upload HTTP/1.1\r\nHost: web\r\nContent-Length: 6\r\n\r\n')
  const exchange = await upstream.next()
  for (const c of 'abcdef') {
    // Twice the timeout altogether: being slow is what this client does.
    await pause(100)
    await client.write(c)
  }
  t.equal((await exchange.body()).toString(), 'abcdef')
  await exchange.answer({ body: 'got it' })
  t.equal((await client.response()).status, 200)
})

t.test('… and runs from then on', async (t) => {
  const client = await connect(t)
  await client.send({ method: 'POST', host: 'web', target: '/route/posted', body: 'all' })
  await (await upstream.next()).body()
  t.equal((await client.response()).status, 504)
})

t.test('per-try timeout with the default conditions: 504 after one attempt', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web', target: '/try-default' })
  t.equal((await client.response()).status, 504)
  t.match(await proxy.logged({ path: '/try-default' }), {
    response_code: 504,
    response_flags: 'UT',
    response_code_details: 'upstream_per_try_timeout',
  })
  t.equal(upstream.exchanges.filter((e) => e.request.target === '/try-default').length, 1)
})

t.test('per-try timeout that is retried: attempts + 1 tries, URX,UT', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web', target: '/try-5xx' })
  const answer = await client.response()
  t.equal(answer.status, 504)
  t.match(await proxy.logged({ path: '/try-5xx' }), {
    response_flags: 'URX,UT',
    response_code_details: 'upstream_per_try_timeout',
  })
  const tries = upstream.exchanges.filter((e) => e.request.target === '/try-5xx')
  t.same(
    tries.map((e) => header(e.request, 'x-envoy-attempt-count')),
    ['1', '2', '3'],
  )
  t.equal(header(tries[0]?.request as never, 'x-envoy-expected-rq-timeout-ms'), '100')
})

t.test('per-try timeout that is answered by a later attempt', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web', target: '/try-5xx/later' })
  await upstream.next()
  await (await upstream.next()).answer({ body: 'second' })
  t.equal((await client.response()).body.toString(), 'second')
  t.match(await proxy.logged({ path: '/try-5xx/later' }), { response_code: 200, response_flags: '-' })
})

t.test('the overall timeout covers all attempts and their back-off', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web', target: '/both' })
  t.equal((await client.response()).status, 504)
  t.match(await proxy.logged({ path: '/both' }), UT)
  const tries = upstream.exchanges.filter((e) => e.request.target === '/both').length
  t.ok(tries >= 1 && tries <= 4, `${tries} tries`)
})

t.test('a per-try timeout that is not below the overall one does not count', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web', target: '/longer-try' })
  t.equal((await client.response()).status, 504)
  t.match(await proxy.logged({ path: '/longer-try' }), UT)
  const tries = upstream.exchanges.filter((e) => e.request.target === '/longer-try')
  t.equal(tries.length, 1)
  t.equal(header(tries[0]?.request as never, 'x-envoy-expected-rq-timeout-ms'), '200')
})

t.test('grpc-timeout', async (t) => {
  const rows: readonly [target: string, timeout: string, type: string, overall: string | undefined][] = [
    ['/route/g1', '200m', 'application/grpc', '200'],
    ['/route/g2', '30S', 'application/grpc', '300'],
    ['/g3', '3S', 'application/grpc', '3000'],
    ['/g4', '3S', 'text/plain', undefined],
  ]
  for (const [target, timeout, type, overall] of rows) {
    const client = await connect(t)
    await client.send({ method: 'POST', host: 'web', target, headers: { 'Grpc-Timeout': timeout, 'Content-Type': type } })
    const exchange = await upstream.next()
    t.equal(header(exchange.request, 'x-envoy-expected-rq-timeout-ms'), overall, target)
    if (type === 'text/plain') t.equal(header(exchange.request, 'grpc-timeout'), timeout, 'untouched')
    await exchange.answer()
    await client.response()
  }
  const client = await connect(t)
  await client.send({
    method: 'POST',
    host: 'web',
    target: '/g5',
    headers: { 'Grpc-Timeout': '100m', 'Content-Type': 'application/grpc' },
  })
  const answer = await client.response()
  t.same([answer.status, header(answer, 'grpc-status'), header(answer, 'grpc-message')], [200, '14', 'upstream request timeout'])
})

t.test('a head that does not come: 408, and the connection ends', { skip: HTTP1_ONLY }, async (t) => {
  const client = await connectRaw(t)
  await client.write('GET / HTTP/1.1\r\nHost: web\r\nX-Slow: ')
  const answer = await client.response()
  t.equal(answer.status, 408)
  t.equal(answer.body.toString(), 'request header timeout')
  t.equal(header(answer, 'connection'), 'close')
  t.equal(await client.closed(), 'end')
  t.match(await proxy.logged({ response_code: 408 }), { response_code_details: 'request_header_timeout', response_flags: '-' })
})

t.test('a head that trickles does not move the deadline', { skip: HTTP1_ONLY }, async (t) => {
  const client = await connectRaw(t)
  let over = false
  const ended = client.closed().then(() => {
    over = true
  })
  await client.write('GET / HTTP/1.1\r\nHost: web\r\n')
  for (let i = 0; i < 100 && !over; i++) {
    await client.write(`X-${i}: 1\r\n`)
    await pause(50)
  }
  await ended
  t.equal(client.responses[0]?.status, 408)
})

t.test('the second request of a connection has a header deadline too', { skip: HTTP1_ONLY }, async (t) => {
  const client = await connectRaw(t)
  await client.send({ host: 'web' })
  await (await upstream.next()).answer()
  await client.response()
  await client.write('GET')
  t.equal((await client.response()).status, 408)
})

t.test('a stream on which nothing moves', async (t) => {
  await t.test('request complete: 504 SI', async (t) => {
    const client = await connect(t, idle)
    await client.send({ host: 'web', target: '/idle' })
    const exchange = await upstream.next()
    const answer = await client.response()
    t.same([answer.status, answer.body.toString()], [504, 'stream timeout'])
    await exchange.over()
    t.match(await idle.logged({ path: '/idle' }), { response_flags: 'SI', response_code_details: 'stream_idle_timeout' })
  })
  await t.test('request not complete: 408 SI', { skip: HTTP1_ONLY }, async (t) => {
    const client = await connectRaw(t, idle)
    client.expectMethod('POST')
    await client.write('POST /idle-post HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nab')
    const answer = await client.response()
    t.same([answer.status, answer.body.toString()], [408, 'stream timeout'])
    t.match(await idle.logged({ path: '/idle-post' }), { response_flags: 'SI' })
  })
  await t.test('answer begun: cut', { skip: HTTP1_ONLY }, async (t) => {
    const client = await connectRaw(t, idle)
    await client.send({ host: 'web', target: '/idle-half' })
    const exchange = await upstream.next()
    await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')
    const response = await client.responseHead()
    await client.closed()
    t.equal(response.complete, false)
    await exchange.over()
    t.match(await idle.logged({ path: '/idle-half' }), { response_code: 200, response_flags: 'SI' })
  })
  await t.test('a stream on which something moves goes on', async (t) => {
    const client = await connect(t, idle)
    await client.send({ host: 'web', target: '/moving' })
    const exchange = await upstream.next()
    await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n')
    for (let i = 0; i < 20; i++) {
      await pause(100)
      await exchange.write('x')
    }
    t.equal((await client.response()).body.length, 20)
  })
})

t.test('a connection without a request ends after its idle timeout', { skip: HTTP1_ONLY }, async (t) => {
  const fresh = await connectRaw(t, idle)
  const used = await connectRaw(t, idle)
  await used.send({ host: 'web' })
  await (await upstream.next()).answer()
  await used.response()
  t.equal(await fresh.closed(), 'end')
  t.equal(await used.closed(), 'end')
})
