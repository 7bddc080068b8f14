// Mirrored copies (Istio mirror): whole, marked, and without any effect on the request that they copy.
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { refusingPort } from '../support/free-port.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'
import { spelt } from '../support/versions.ts'

let upstream: Upstream
let shadow: Upstream
let other: Upstream
let proxy: HeddleProcess
let resources: string

t.before(async () => {
  upstream = await Upstream.start(t)
  shadow = await Upstream.start(t)
  other = await Upstream.start(t)
  const route = [{ destination: { host: 'web' } }]
  const on = (prefix: string, more: object) => ({ match: [{ uri: { prefix } }], route, retries: { attempts: 0 }, ...more })
  resources = yaml(
    service({ host: 'web', endpoints: [upstream] }),
    service({ host: 'shadow', port: 8080, endpoints: [shadow] }),
    service({ host: 'other', endpoints: [other] }),
    service({ host: 'down', endpoints: [{ address: `127.0.0.1:${await refusingPort()}` }] }),
    service({ host: 'empty', endpoints: [] }),
    virtualService(
      'web',
      ['web'],
      [
        on('/edited', {
          mirror: { host: 'shadow', port: { number: 8080 } },
          rewrite: { uri: '/rewritten' },
          headers: { request: { set: { 'x-set': 'yes' }, remove: ['x-gone'] } },
        }),
        on('/two', {
          mirrors: [{ destination: { host: 'shadow', port: { number: 8080 } } }, { destination: { host: 'other' } }],
        }),
        on('/never', { mirror: { host: 'shadow', port: { number: 8080 } }, mirrorPercentage: { value: 0 } }),
        on('/down', { mirror: { host: 'down' } }),
        on('/empty', { mirror: { host: 'empty' } }),
        on('/timed', { mirror: { host: 'shadow', port: { number: 8080 } }, timeout: '200ms' }),
        on('/faulty', {
          mirror: { host: 'shadow', port: { number: 8080 } },
          fault: { abort: { httpStatus: 500, percentage: { value: 100 } } },
        }),
        on('/', { mirror: { host: 'shadow', port: { number: 8080 } } }),
      ],
    ),
  )
  proxy = await startProxy(t, { resources })
})

t.beforeEach(() => {
  for (const u of [upstream, shadow, other]) u.startAfresh()
})

t.test('a copy arrives with body and trailers, marked as one', async (t) => {
  const client = await connectAny(t, proxy.port())
  client.expectMethod('POST')
  await client.write(
    'POST /a?b=c HTTP/1.1\r\nHost: web:80\r\nX-Request-Id: same\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
  )
  const original = await upstream.next()
  const copy = await shadow.next()
  t.equal((await copy.body()).toString(), 'hello')
  t.same(copy.request.trailers, spelt([['X-T', '1']]))
  t.same([copy.request.method, copy.request.target], ['POST', '/a?b=c'])
  t.equal(header(copy.request, 'host'), 'web-shadow:80', 'the suffix stands before the port')
  t.equal(header(original.request, 'host'), 'web:80')
  t.same(headerValues(copy.request, 'x-request-id'), ['same'])
  t.same(headerValues(copy.request, 'x-envoy-attempt-count'), ['1'])
  t.same(headerValues(copy.request, 'x-envoy-internal'), ['true'])
  t.equal(header(original.request, 'x-envoy-internal'), undefined)
  t.same(headerValues(copy.request, 'x-forwarded-for'), ['127.0.0.1'], 'our own address')
  await original.answer({ body: 'original' })
  await copy.answer({ status: 500, body: 'copy' })
  t.equal((await client.response()).body.toString(), 'original')
})

t.test('what was edited is edited in the copy too', async (t) => {
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web', target: '/edited/x', headers: { 'X-Gone': '1' } })
  const original = await upstream.next()
  const copy = await shadow.next()
  t.equal(copy.request.target, '/rewritten/x')
  t.equal(header(copy.request, 'x-set'), 'yes')
  t.equal(header(copy.request, 'x-gone'), undefined)
  await original.answer()
  await client.response()
})

t.test('several mirrors', async (t) => {
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web', target: '/two' })
  await (await upstream.next()).answer()
  t.same([(await shadow.next()).request.target, (await other.next()).request.target], ['/two', '/two'])
  await client.response()
})

t.test('no suffix when mirror.hostSuffix is empty', async (t) => {
  const plain = await startProxy(t, { resources, bootstrap: { mirror: { hostSuffix: '' } } })
  const client = await connectAny(t, plain.port())
  await client.send({ host: 'web' })
  t.equal(header((await shadow.next()).request, 'host'), 'web')
  // So that it does not come in the middle of the next test.
  await (await upstream.next()).answer()
})

t.test('nobody is mirrored to: 0 percent, a fault, no endpoints', async (t) => {
  const client = await connectAny(t, proxy.port())
  const before = shadow.exchanges.length
  for (const target of ['/never', '/empty']) {
    await client.send({ host: 'web', target })
    await (await upstream.next()).answer({ body: target })
    t.equal((await client.response()).body.toString(), target)
  }
  t.equal((await client.ask({ host: 'web', target: '/faulty' })).status, 500)
  // One that is mirrored comes behind them: had they been, they would have come before it.
  await client.send({ host: 'web', target: '/last' })
  t.equal((await shadow.next()).request.target, '/last')
  t.equal(shadow.exchanges.length, before + 1)
  await (await upstream.next()).answer()
  await client.response()
})

t.test('a mirror that fails, stalls, answers first or says nonsense does not touch the request', async (t) => {
  const client = await connectAny(t, proxy.port())
  const round = async (target: string) => {
    const original = await upstream.next()
    await original.answer({ body: target })
    const response = await client.response()
    t.same([response.status, response.body.toString()], [200, target])
    const line = await proxy.logged({ path: target })
    t.match(line, { response_flags: '-', upstream_host: upstream.address })
  }
  await client.send({ host: 'web', target: '/down' })
  await round('/down')
  for (const act of ['stall', 'reset', 'nonsense', 'early'] as const) {
    await client.send({ method: 'POST', host: 'web', target: `/${act}`, body: 'body' })
    const copy = await shadow.next()
    if (act === 'reset') copy.reset()
    else if (act === 'nonsense') await copy.write('nonsense\r\n\r\n')
    else if (act === 'early') await copy.answerEarly({ status: 503 })
    await round(`/${act}`)
  }
})

t.test('the request does not wait for its mirror to take the body', async (t) => {
  const client = await connectAny(t, proxy.port())
  const body = 'm'.repeat(20 * 1024 * 1024)
  client.expectMethod('POST')
  await client.write(`POST /big HTTP/1.1\r\nHost: web\r\nContent-Length: ${body.length}\r\n\r\n`)
  const original = await upstream.next()
  const copy = await shadow.next()
  copy.pause()
  await client.write(body)
  t.equal((await original.body(20_000)).length, body.length)
  await original.answer({ body: 'done' })
  t.equal((await client.response()).status, 200)
  copy.resume()
  await copy.over()
  t.equal(copy.request.complete, false, 'given up beyond the buffer limit, and not made to look complete')
})

t.test('a mirror that keeps up gets a body of any size', async (t) => {
  const client = await connectAny(t, proxy.port())
  const body = 'm'.repeat(3 * 1024 * 1024)
  await client.send({ method: 'POST', host: 'web', target: '/3mb', body })
  const original = await upstream.next()
  const copy = await shadow.next()
  t.equal((await copy.body(20_000)).length, body.length)
  await original.answer()
  await client.response()
})

t.test('a copy that is never answered ends with the timeout of the route', async (t) => {
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web', target: '/timed' })
  await (await upstream.next()).answer()
  await client.response()
  await (await shadow.next()).over()
  t.pass('closed')
})

t.test('a copy outlives its original: the client’s answer does not cancel it', async (t) => {
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web', target: '/quick' })
  const copy = await shadow.next()
  await (await upstream.next()).answer()
  await client.response()
  client.destroy()
  await proxy.logged({ path: '/quick' })
  await copy.answer({ body: 'late' })
  const next = await connectAny(t, proxy.port())
  await next.send({ host: 'web', target: '/again' })
  const second = await shadow.next()
  t.equal(second.connection, copy.connection, 'its connection has gone back to the pool')
  await (await upstream.next()).answer()
  await next.response()
})
