// What a request and its answer look like on the other side: framing, order, spelling, tunnels, early answers.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { service, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { chunked, RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import { HTTP1_BOTH, HTTP1_ONLY, HTTP1_UPSTREAM_ONLY, PROTOCOL, spelt, UPSTREAM } from '../support/versions.ts'

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  proxy = await startProxy(t, { resources: yaml(service({ host: 'web', endpoints: [upstream] })) })
})

t.beforeEach(() => upstream.startAfresh())

const connect = (t: Teardown) => connectAny(t, proxy.port())

t.test('spelling, order and repetition of headers are kept in both directions', { skip: HTTP1_BOTH }, async (t) => {
  const client = await connect(t)
  await client.send({
    host: 'web',
    headers: [
      ['X-Mixed-CASE', '1'],
      ['x-multi', 'a'],
      ['Accept', '*/*'],
      ['X-Multi', 'b'],
    ],
  })
  const exchange = await upstream.next()
  const sent = exchange.request.headers.filter(([n]) => /^(x-m|accept$)/i.test(n))
  t.same(sent, [
    ['X-Mixed-CASE', '1'],
    ['x-multi', 'a'],
    ['Accept', '*/*'],
    ['X-Multi', 'b'],
  ])
  await exchange.answer({
    headers: [
      ['ETag', '"x"'],
      ['Set-Cookie', 'a=1'],
      ['X-ODD', '1'],
      ['set-cookie', 'b=2'],
    ],
  })
  const response = await client.response()
  t.same(
    response.headers.filter(([n]) => /^(etag|set-cookie|x-odd)$/i.test(n)),
    [
      ['ETag', '"x"'],
      ['Set-Cookie', 'a=1'],
      ['X-ODD', '1'],
      ['set-cookie', 'b=2'],
    ],
  )
})

t.test('connections are kept alive on both sides', async (t) => {
  const client = await connect(t)
  const before = upstream.connections.length
  for (let i = 0; i < 3; i++) {
    await client.send({ host: 'web', target: `/${i}` })
    await (await upstream.next()).answer({ body: String(i) })
    t.equal((await client.response()).body.toString(), String(i))
  }
  t.ok(upstream.connections.length - before <= 1, 'at most one new connection to the upstream')
})

t.test('pipelined requests are answered in order', { skip: HTTP1_ONLY }, async (t) => {
  const client = await connect(t)
  for (let i = 0; i < 3; i++) client.expectMethod('GET')
  await client.write(['/p1', '/p2', '/p3'].map((p) => `GET ${p} HTTP/1.1\r\nHost: web\r\n\r\n`).join(''))
  for (const target of ['/p1', '/p2', '/p3']) {
    const exchange = await upstream.next()
    t.equal(exchange.request.target, target)
    await exchange.answer({ body: target })
    t.equal((await client.response()).body.toString(), target)
  }
})

t.test('a request body is framed as the client framed it', async (t) => {
  const client = await connect(t)
  await client.send({ method: 'POST', host: 'web', body: 'with a length' })
  const first = await upstream.next()
  t.equal((await first.body()).toString(), 'with a length')
  t.equal(header(first.request, 'content-length'), '13')
  await first.answer()
  await client.response()
  client.expectMethod('POST')
  await client.writeBytewise(`POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('abc', 'de')}`)
  const second = await upstream.next()
  t.equal((await second.body()).toString(), 'abcde')
  t.same(headerValues(second.request, 'transfer-encoding'), UPSTREAM === 'http2' ? [] : ['chunked'])
  await second.answer()
  await client.response()
})

t.test('trailers are forwarded in both directions', async (t) => {
  const client = await connect(t)
  client.expectMethod('POST')
  await client.write(
    'POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 1\r\n\r\n',
  )
  const exchange = await upstream.next()
  await exchange.body()
  t.same(exchange.request.trailers, spelt([['X-Up', '1']]))
  await exchange.answer({ chunks: ['x'], trailers: { 'X-Down': '2' } })
  t.same((await client.response()).trailers, spelt([['X-Down', '2']]))
})

t.test('a chunked answer arrives as it is produced', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web' })
  const exchange = await upstream.next()
  await exchange.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n')
  const response = await client.responseHead()
  await client.until('the first chunk', () => response.body.toString() === 'one')
  t.equal(response.complete, false)
  await exchange.trickle('3\r\ntwo\r\n0\r\n\r\n')
  t.equal((await client.completed(response)).body.toString(), 'onetwo')
})

t.test('an answer that ends with its connection reaches the client complete, and its connection can go on', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web' })
  await (await upstream.next()).answer({ body: 'until the end', untilClose: true })
  t.equal((await client.response()).body.toString(), 'until the end')
})

t.test('an answer cut short is not made to look complete', async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web' })
  const exchange = await upstream.next()
  await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
  await client.responseHead()
  exchange.close()
  await client.over()
  t.equal(client.responses[0]?.complete, false)
})

t.test('HEAD, 204 and 304 have no body, whatever their headers say', async (t) => {
  const client = await connect(t)
  await client.send({ method: 'HEAD', host: 'web' })
  await (await upstream.next()).answer({ headers: { 'Content-Length': '5' } })
  const head = await client.response()
  t.equal(header(head, 'content-length'), '5')
  for (const status of [204, 304]) {
    await client.send({ host: 'web' })
    await (await upstream.next()).answer({ status })
    t.equal((await client.response()).status, status)
  }
  await client.send({ host: 'web' })
  await (await upstream.next()).answer({ body: 'next' })
  t.equal((await client.response()).body.toString(), 'next')
})

t.test('Expect: 100-continue: the upstream says when to go on', async (t) => {
  const client = await connect(t)
  client.expectMethod('POST')
  await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n')
  const exchange = await upstream.next()
  t.equal(header(exchange.request, 'expect'), '100-continue')
  await exchange.write('HTTP/1.1 100 Continue\r\n\r\n')
  await client.untilInformational(100)
  await client.write('body')
  t.equal((await exchange.body()).toString(), 'body')
  await exchange.answer()
  const response = await client.response()
  t.same(
    response.informational.map((i) => i.status),
    [100],
  )
})

t.test('Expect: 100-continue: an upstream that declines is heard at once', async (t) => {
  const client = await connect(t)
  client.expectMethod('POST')
  await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n')
  await (await upstream.next()).answerEarly({ status: 417, close: true })
  t.equal((await client.response()).status, 417)
})

t.test('an answer before the end of the request is delivered', async (t) => {
  const client = await connect(t)
  client.expectMethod('POST')
  await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000\r\n\r\nfirst part')
  const exchange = await upstream.next()
  await exchange.answerEarly({ status: 413, close: true, body: 'enough' })
  const response = await client.response()
  t.equal(response.status, 413)
  t.equal(response.body.toString(), 'enough')
})

t.test('a client that has sent its request may close its half', { skip: HTTP1_ONLY }, async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web' })
  client.end()
  await (await upstream.next()).answer({ body: 'still here' })
  t.equal((await client.response()).body.toString(), 'still here')
})

t.test('Upgrade becomes a tunnel, with what was sent along', { skip: HTTP1_BOTH }, async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', headers: { Connection: 'Upgrade', Upgrade: 'websocket' } })
  const exchange = await upstream.next()
  t.equal(header(exchange.request, 'upgrade'), 'websocket')
  await exchange.switchProtocols('websocket')
  t.equal((await client.responseHead()).status, 101)
  await client.write('ping')
  await exchange.connection.untilTunnelled(4)
  await exchange.write('pong')
  t.equal((await client.untilTunnelled(4)).toString(), 'pong')
  client.end()
  t.equal(await exchange.over(), 'end', 'half-close passes')
  await exchange.write('last')
  exchange.end()
  t.equal((await client.untilTunnelled(8)).toString(), 'ponglast')
})

t.test(
  'HTTP/1.0 is carried: an answer with a length, and no connection kept unless asked for',
  { skip: HTTP1_BOTH },
  async (t) => {
    const client = await connect(t)
    await client.send({ version: 'HTTP/1.0', host: 'web' })
    const exchange = await upstream.next()
    t.equal(exchange.request.version, 'HTTP/1.1')
    await exchange.answer({ chunks: ['a', 'b'] })
    const response = await client.response()
    t.equal(response.body.toString(), 'ab')
    t.not(response.framing, 'chunked', 'RFC 9112 §6.1: no chunked to a 1.0 client')
    await client.closed()
  },
)

t.test('hop-by-hop headers end here', { skip: HTTP1_BOTH }, async (t) => {
  const client = await connect(t)
  await client.send({
    host: 'web',
    headers: [
      ['Connection', 'keep-alive, X-Hop'],
      ['X-Hop', '1'],
      ['Keep-Alive', 'timeout=5'],
      ['Proxy-Connection', 'keep-alive'],
    ],
  })
  const exchange = await upstream.next()
  for (const name of ['x-hop', 'keep-alive', 'proxy-connection']) t.equal(header(exchange.request, name), undefined, name)
  await exchange.answer({ headers: { Connection: 'X-Down', 'X-Down': '1', 'Keep-Alive': 'timeout=9' } })
  const response = await client.response()
  for (const name of ['x-down', 'keep-alive']) t.equal(header(response, name), undefined, name)
})

// libuv calls a reset that comes together with the last bytes an end, which would make such a body look complete.
t.test('a reset is not the end of a body that ends with its connection', { skip: HTTP1_UPSTREAM_ONLY }, async (t) => {
  for (let i = 0; i < 20; i++) {
    const client = await connect(t)
    await client.send({ host: 'web', target: `/reset/${i}` })
    const { socket } = (await upstream.next()).connection
    socket.write('HTTP/1.1 200 OK\r\n\r\npart of it')
    socket.write('', () => socket.resetAndDestroy())
    await client.over()
    t.not(client.responses[0]?.complete, true)
    t.match(await proxy.logged({ path: `/reset/${i}` }), { response_flags: /^(UPE|UC)$/ })
  }
})

t.test('an idle connection that the upstream closed costs no request', { skip: HTTP1_UPSTREAM_ONLY }, async (t) => {
  const client = await connect(t)
  await client.send({ host: 'web' })
  const first = await upstream.next()
  await first.answer()
  await client.response()
  first.connection.end()
  await first.over()
  await client.send({ host: 'web', target: '/again' })
  const second = await upstream.next()
  t.ok(second.connection !== first.connection, 'another connection')
  await second.answer({ body: 'fine' })
  t.equal((await client.response()).body.toString(), 'fine')
})

t.test('each request has a line in the access log', async (t) => {
  const asked = askAny(t, proxy.port(), { host: 'web', target: '/logged', headers: { 'User-Agent': 'kit' } })
  await (await upstream.next()).answer({ status: 202, body: '12345' })
  await asked
  const line = await proxy.logged({ path: '/logged' })
  t.match(line, {
    method: 'GET',
    response_code: 202,
    response_flags: '-',
    response_code_details: 'via_upstream',
    bytes_sent: 5,
    bytes_received: 0,
    authority: 'web',
    protocol: PROTOCOL,
    user_agent: 'kit',
    upstream_host: upstream.address,
    upstream_cluster: 'outbound|80||web.default.svc.cluster.local',
  })
})
