// The kit against itself: a raw client talks to the upstreams without a proxy between them.
import t from 'tap'
import { EchoUpstream } from './echo-upstream.ts'
import { eventually } from './eventually.ts'
import { header } from './h1-reader.ts'
import { Metrics } from './metrics.ts'
import { askOnce, chunked, exchangeUntilClosed, RawClient } from './raw-client.ts'
import { Upstream } from './upstream.ts'

t.test('an upstream answers when the test says so, and shows what it received', async (t) => {
  const upstream = await Upstream.start(t)
  const client = await RawClient.connect(t, upstream.port)
  await client.send({ method: 'POST', target: '/a?b', headers: [['X-Odd-Case', '1']], body: 'hello' })
  const exchange = await upstream.next()
  t.equal(exchange.request.method, 'POST')
  t.equal(exchange.request.target, '/a?b')
  t.equal((await exchange.body()).toString(), 'hello')
  t.same(exchange.request.headers[1], ['X-Odd-Case', '1'])
  await exchange.answer({ status: 201, headers: { 'X-A': '1' }, body: 'yes' })
  const response = await client.response()
  t.equal(response.status, 201)
  t.equal(header(response, 'x-a'), '1')
  t.equal(response.body.toString(), 'yes')
})

t.test('responses are read one byte at a time, in sequence, with interim ones, chunks and trailers', async (t) => {
  const upstream = await Upstream.start(t, async (ex) => {
    await ex.trickle(
      `HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n`,
    )
  })
  const client = await RawClient.connect(t, upstream.port)
  await client.send()
  const response = await client.response()
  t.equal(response.informational[0]?.status, 103)
  t.equal(response.body.toString(), 'abc')
  t.same(response.trailers, [['T', '1']])
  t.same(response.chunks, [3])
})

t.test('pipelined requests are answered in order, HEAD without a body', async (t) => {
  const upstream = await Upstream.start(t)
  const client = await RawClient.connect(t, upstream.port)
  await client.send({ method: 'HEAD', target: '/1' })
  await client.send({ target: '/2' })
  for (let i = 0; i < 2; i++) await (await upstream.next()).answer({ body: 'four' })
  t.equal((await client.response()).body.length, 0)
  t.equal((await client.response()).body.toString(), 'four')
})

t.test('a chunked request arrives as sent, byte by byte', async (t) => {
  const upstream = await Upstream.start(t, (ex) => ex.answer({ chunks: ['one', 'two'], trailers: { 'X-T': 'v' } }))
  const client = await RawClient.connect(t, upstream.port)
  await client.writeBytewise(`PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('abc', 'defg')}`)
  const response = await client.response()
  t.equal(response.body.toString(), 'onetwo')
  t.same(response.trailers, [['X-T', 'v']])
  t.same(upstream.requests[0]?.chunks, [3, 4])
  t.equal(upstream.requests[0]?.body.toString(), 'abcdefg')
})

t.test('FIN and RST are told apart', async (t) => {
  const upstream = await Upstream.start(t, (ex) => (ex.request.target === '/fin' ? ex.end() : ex.reset()))
  const first = await RawClient.connect(t, upstream.port)
  await first.send({ target: '/fin' })
  t.equal(await first.closed(), 'end')
  const second = await RawClient.connect(t, upstream.port)
  await second.send({ target: '/rst' })
  t.equal(await second.closed(), 'reset')
  await t.rejects(second.response(), /closed \(reset\)/)
})

t.test('tunnels: CONNECT and Upgrade', async (t) => {
  const upstream = await Upstream.start(t, async (ex) => {
    if (ex.request.method === 'CONNECT') await ex.write('HTTP/1.1 200 OK\r\n\r\n')
    else await ex.switchProtocols('echo')
    await ex.connection.untilTunnelled(4)
    await ex.write(ex.connection.tunnelled)
  })
  for (const request of [{ method: 'CONNECT', target: 'a:1' }, { headers: { Connection: 'upgrade', Upgrade: 'echo' } }]) {
    const client = await RawClient.connect(t, upstream.port)
    await client.send(request)
    await client.responseHead()
    await client.write('ping')
    t.equal((await client.untilTunnelled(4)).toString(), 'ping')
  }
})

t.test('a stopped upstream refuses connections and comes back on its port', async (t) => {
  const upstream = await Upstream.start(t, (ex) => ex.answer({ close: true, body: 'back' }))
  const { port } = upstream
  await upstream.stop()
  await t.rejects(RawClient.connect(t, port), /ECONNREFUSED/)
  await upstream.listen()
  t.match(await exchangeUntilClosed(t, port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'), /back$/)
})

t.test('what is no HTTP is reported, not repaired', async (t) => {
  const upstream = await Upstream.start(t)
  const client = await RawClient.connect(t, upstream.port)
  await client.write('GET / HTTP/1.1\nHost: a\n\n\r\n\r\n')
  const connection = await upstream.nextConnection()
  await eventually('the parse error', () => connection.parseError)
  t.match(connection.parseError?.message, /not a request line/)
})

t.test('the echo upstream says what it saw and obeys', async (t) => {
  const echo = await EchoUpstream.start(t, { name: 'v1' })
  const plain = await askOnce(t, echo.port, { method: 'POST', target: '/p', headers: [['X-B', '2']], body: 'in' })
  const said = JSON.parse(plain.body.toString())
  t.match(said, { upstream: 'v1', method: 'POST', target: '/p', body: 'in' })
  t.equal((await askOnce(t, echo.port, { target: '/?status=503' })).status, 503)
  const big = await askOnce(t, echo.port, { headers: { 'x-body-bytes': '70000', 'x-chunked': '1' } })
  t.equal(big.body.length, 70000)
  t.equal(big.framing, 'chunked')
  t.equal(echo.seen.length, 3)
})

t.test('metrics are read with their labels', async (t) => {
  const m = new Metrics('# TYPE a_total counter\na_total{x="1",y="q\\"z"} 2\na_total{x="2",y=""} 3\nb 0.5\n')
  t.equal(m.value('a_total'), 5)
  t.equal(m.value('a_total', { x: '1' }), 2)
  t.equal(m.find('a_total')[0]?.labels['y'], 'q"z')
  t.equal(m.value('c'), null)
  t.equal(m.type('a_total'), 'counter')
})
