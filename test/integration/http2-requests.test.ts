// Requests of HTTP/2 clients to HTTP/1.1 upstreams: what is made of each part of a message, in both directions (RFC 9113 §8).
import t from 'tap'
import { header, headerValues } from '../support/h1-reader.ts'
import { Http2Client } from '../support/http2-client.ts'
import { Http2Wire, pseudo } from '../support/http2-wire.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 0 } }]),
    ),
  })
})

t.beforeEach(() => upstream.startAfresh())

t.test('GET', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const call = client.call({ host: 'web', target: '/a/b?c=d', headers: { accept: '*/*' } })
  const exchange = await upstream.next()
  const { request } = exchange
  t.equal(request.startLine, 'GET /a/b?c=d HTTP/1.1')
  t.same(headerValues(request, 'host'), ['web'], ':authority is Host')
  t.same(headerValues(request, 'x-forwarded-proto'), ['http'], 'of :scheme')
  t.same(headerValues(request, 'accept'), ['*/*'])
  t.notOk(
    request.headers.some(([n]) => n.startsWith(':')),
    'no pseudo-header',
  )
  t.equal(request.framing, 'none')
  await exchange.answer({ status: 203, headers: { 'X-Mixed-Case': 'Yes', Connection: 'keep-alive' }, body: 'hello' })
  const answer = await call.response()
  t.same([answer.status, answer.body.toString()], [203, 'hello'])
  t.same(headerValues(answer, 'x-mixed-case'), ['Yes'])
  t.same(headerValues(answer, 'content-length'), ['5'])
  t.same(headerValues(answer, 'server'), ['envoy'])
  for (const name of ['connection', 'keep-alive', 'transfer-encoding', 'proxy-connection', 'upgrade'])
    t.same(headerValues(answer, name), [], `${name} belongs to HTTP/1`)
  t.ok(
    answer.headers.every(([n]) => n === n.toLowerCase()),
    'names are lower case',
  )
  t.match(await proxy.logged({ path: '/a/b?c=d' }), {
    protocol: 'HTTP/2',
    method: 'GET',
    authority: 'web',
    response_code: 203,
    response_flags: '-',
    bytes_sent: 5,
    response_code_details: 'via_upstream',
  })
})

t.test('bodies of requests', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const rows: readonly [
    what: string,
    request: Parameters<Http2Client['call']>[0],
    framing: string,
    length: string | undefined,
  ][] = [
    ['with content-length', { method: 'POST', body: 'twelve bytes' }, 'length', '12'],
    ['POST that ends with its head', { method: 'POST' }, 'none', '0'],
    ['PUT that ends with its head', { method: 'PUT' }, 'none', '0'],
    ['DELETE that ends with its head', { method: 'DELETE' }, 'none', undefined],
    ['GET with a body', { method: 'GET', body: 'x' }, 'length', '1'],
  ]
  for (const [what, request, framing, length] of rows) {
    const call = client.call({ host: 'web', ...request })
    const exchange = await upstream.next()
    t.equal((await exchange.body()).toString(), request?.body ?? '', what)
    t.equal(header(exchange.request, 'content-length'), length, `${what}: content-length`)
    if (length !== '0') t.equal(exchange.request.framing, framing, `${what}: framing`)
    t.equal(header(exchange.request, 'transfer-encoding'), undefined, `${what}: no coding`)
    await exchange.answer({ body: 'ok' })
    t.equal((await call.response()).status, 200, what)
  }
  const call = client.call({ host: 'web', method: 'POST', open: true })
  const exchange = await upstream.next()
  t.equal(header(exchange.request, 'transfer-encoding'), 'chunked', 'no length is known: chunked')
  call.write('one')
  await exchange.bodyBytes(3)
  call.write('two')
  await exchange.bodyBytes(6)
  call.end('three')
  t.equal((await exchange.body()).toString(), 'onetwothree', 'as it comes')
  await exchange.answer({ body: 'ok' })
  await call.response()
})

t.test('trailers both ways', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const call = client.call({ host: 'web', method: 'POST', open: true, headers: { te: 'trailers' }, trailers: { 'x-sum': '7' } })
  call.end('body')
  const exchange = await upstream.next()
  await exchange.body()
  t.same(headerValues(exchange.request, 'te'), ['trailers'])
  t.same(
    exchange.request.trailers.map(([n, v]) => [n.toLowerCase(), v]),
    [['x-sum', '7']],
  )
  await exchange.answer({ chunks: ['a', 'b'], trailers: { 'X-Total': '2' } })
  const answer = await call.response()
  t.equal(answer.body.toString(), 'ab')
  t.same(answer.trailers, [['x-total', '2']])
  t.same(headerValues(answer, 'transfer-encoding'), [])
})

t.test('responses without a body', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  for (const [method, spec, status, length] of [
    ['GET', { status: 204 }, 204, undefined],
    ['GET', { status: 304, headers: { ETag: '"x"' } }, 304, undefined],
    ['HEAD', { status: 200, headers: { 'Content-Length': '1000' } }, 200, '1000'],
    ['HEAD', { status: 200, chunks: ['x'] }, 200, undefined],
    ['GET', { status: 200, headers: { 'Content-Length': '0' } }, 200, '0'],
  ] as const) {
    const call = client.call({ host: 'web', method })
    await (await upstream.next()).answer(spec)
    const answer = await call.response()
    t.same([answer.status, header(answer, 'content-length'), answer.body.length], [status, length, 0], `${method} ${status}`)
    t.equal(header(answer, 'transfer-encoding'), undefined)
    t.equal(await call.ended(), null, 'an orderly end')
  }
})

t.test('a response that ends with its connection is whole; one that is cut is reset', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const whole = client.call({ host: 'web' })
  await (await upstream.next()).answer({ body: 'until the end', untilClose: true })
  t.equal((await whole.response()).body.toString(), 'until the end')
  const cut = client.call({ host: 'web', target: '/cut' })
  const exchange = await upstream.next()
  await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart')
  await cut.until('a part', () => cut.message.body.length === 4)
  exchange.reset()
  t.equal(await cut.ended(), 2, 'INTERNAL_ERROR')
  t.notOk(cut.message.complete)
  t.match(await proxy.logged({ path: '/cut' }), { response_code: 200, bytes_sent: 4, response_flags: 'UPE' })
  t.equal(client.isClosed, false, 'the connection goes on')
  const after = client.call({ host: 'web' })
  await (await upstream.next()).answer({ body: 'fine' })
  t.equal((await after.response()).body.toString(), 'fine')
})

t.test('interim responses', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const call = client.call({
    host: 'web',
    method: 'POST',
    open: true,
    headers: { expect: '100-continue', 'content-length': '4' },
  })
  const exchange = await upstream.next()
  t.same(headerValues(exchange.request, 'expect'), ['100-continue'])
  await exchange.write('HTTP/1.1 100 Continue\r\n\r\n')
  await call.until('100', () => call.message.informational.length === 1)
  call.end('body')
  t.equal((await exchange.body()).toString(), 'body')
  await exchange.write('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: close\r\n\r\n')
  await exchange.answer({ body: 'done' })
  const answer = await call.response()
  t.equal(answer.body.toString(), 'done')
  t.same(
    answer.informational.map((i) => [i.status, headerValues(i, 'link'), headerValues(i, 'connection')]),
    [
      [100, [], []],
      [103, ['</a.css>'], []],
    ],
  )
  const other = client.call({ host: 'web', method: 'POST', open: true, headers: { expect: 'a miracle' } })
  t.equal((await other.response()).status, 417)
})

t.test('cookies: crumbs are one field again (RFC 9113 §8.2.3); set-cookie stays apart', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const call = client.call({
    host: 'web',
    headers: [
      ['cookie', 'a=1'],
      ['x-between', '1'],
      ['cookie', 'b=2'],
      ['cookie', 'c=3'],
    ],
  })
  const exchange = await upstream.next()
  t.same(headerValues(exchange.request, 'cookie'), ['a=1; b=2; c=3'])
  await exchange.answer({
    headers: [
      ['Set-Cookie', 'x=1'],
      ['Set-Cookie', 'y=2'],
    ],
  })
  t.same(headerValues(await call.response(), 'set-cookie'), ['x=1', 'y=2'])
})

t.test('who is asked for (RFC 9113 §8.3.1)', async (t) => {
  const rows: readonly [what: string, fields: readonly (readonly [string, string])[], host: string | null][] = [
    ['host without :authority', [...pseudo('GET', '/', '').slice(0, 3), ['host', 'web']], 'web'],
    ['both, and the same', [...pseudo('GET', '/', 'web'), ['host', 'web']], 'web'],
    ['both, and different', [...pseudo('GET', '/', 'web'), ['host', 'other']], null],
    ['neither', pseudo('GET', '/', '').slice(0, 3), null],
    ['a user in :authority', pseudo('GET', '/', 'me@web'), null],
    ['a path in :authority', pseudo('GET', '/', 'web/x'), null],
    ['host twice', [...pseudo('GET', '/', '').slice(0, 3), ['host', 'web'], ['host', 'web']], null],
  ]
  for (const [what, fields, host] of rows) {
    const before = upstream.requests.length
    const wire = await Http2Wire.greeted(t, proxy.port())
    await wire.ask(1, fields)
    if (host === null) {
      t.equal(await wire.untilTold(/RST_STREAM/), 'RST_STREAM 1 code 1', what)
      t.equal(upstream.requests.length, before, what)
    } else {
      const exchange = await upstream.next()
      t.same(headerValues(exchange.request, 'host'), [host], what)
      await exchange.answer()
    }
    wire.destroy()
  }
})

t.test('x-forwarded-proto is of the connection, whatever :scheme says (Envoy)', async (t) => {
  for (const scheme of ['https', 'http', 'ftp']) {
    const wire = await Http2Wire.greeted(t, proxy.port())
    await wire.ask(1, pseudo('GET', '/', 'web', scheme))
    const exchange = await upstream.next()
    t.same(headerValues(exchange.request, 'x-forwarded-proto'), ['http'], scheme)
    await exchange.answer()
    wire.destroy()
  }
})

t.test('targets', async (t) => {
  for (const [what, method, path, status] of [
    ['asterisk', 'OPTIONS', '*', 404],
    ['a NUL, escaped', 'GET', '/a%00b', 400],
  ] as const) {
    const client = await Http2Client.connect(t, proxy.port())
    t.equal((await client.ask({ host: 'web', method, target: path })).status, status, what)
  }
  const client = await Http2Client.connect(t, proxy.port())
  const call = client.call({ host: 'web', target: '/a/./b/../c?x=/../' })
  const exchange = await upstream.next()
  t.equal(exchange.request.target, '/a/c?x=/../', 'dots are resolved as for HTTP/1')
  await exchange.answer()
  await call.response()
  for (const path of ['http://web/x', 'x', '', '*']) {
    const wire = await Http2Wire.greeted(t, proxy.port())
    await wire.ask(1, pseudo('GET', path, 'web'))
    t.equal(await wire.untilTold(/RST_STREAM/), 'RST_STREAM 1 code 1', JSON.stringify(path))
    wire.destroy()
  }
})

t.test('explain and metrics know an HTTP/2 request', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const before = await proxy.metrics()
  const call = client.call({ host: 'web', target: '/explained', headers: { 'x-request-id': 'h2-explained' } })
  await (await upstream.next()).answer({ body: 'ok' })
  await call.response()
  await proxy.logged({ path: '/explained' })
  const told = JSON.stringify(await proxy.explain('h2-explained'))
  for (const part of ['/explained', 'web']) t.ok(told.includes(part), `${part} in ${told}`)
  const after = await proxy.metrics()
  const rose = (name: string) => (after.value(name) ?? 0) - (before.value(name) ?? 0)
  t.equal(rose('envoy_http_downstream_rq_total'), 1)
  t.equal(rose('envoy_http_downstream_rq_completed'), 1)
  t.equal(after.value('envoy_http_downstream_rq_active'), 0)
})

t.test(
  'an answer before the end of its request: whole, then the rest of the request is not wanted (RFC 9113 §8.1)',
  async (t) => {
    const client = await Http2Client.connect(t, proxy.port())
    const call = client.call({ host: 'web', method: 'POST', target: '/early', open: true })
    call.write('part')
    const exchange = await upstream.next()
    await exchange.bodyBytes(4)
    await exchange.answerEarly({ status: 413, body: 'x'.repeat(200_000) })
    const answer = await call.response()
    t.same([answer.status, answer.body.length], [413, 200_000])
    t.equal(await call.ended(), null, 'NO_ERROR')
    t.equal(client.isClosed, false)
    const again = client.call({ host: 'web' })
    await (await upstream.next()).answer({ body: 'ok' })
    t.equal((await again.response()).status, 200, 'the connection goes on')
  },
)
