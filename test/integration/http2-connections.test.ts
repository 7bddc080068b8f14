// Connections of HTTP/2 clients: how they are told from HTTP/1, what holds back what, and each way in which a stream or a connection ends.
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { Http2Client } from '../support/http2-client.ts'
import { block, frame, PREFACE, settings } from '../support/http2-frames.ts'
import { Http2Wire, pseudo } from '../support/http2-wire.ts'
import { startInProcess } from '../support/in-process.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(180_000)

let upstream: Upstream
let echo: EchoUpstream
let proxy: HeddleProcess

const routes = (more: object = {}) =>
  yaml(
    service({ host: 'web', endpoints: [upstream] }),
    service({ host: 'echo', endpoints: [echo] }),
    virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 0 }, ...more }]),
  )

t.before(async () => {
  upstream = await Upstream.start(t)
  echo = await EchoUpstream.start(t)
  proxy = await startProxy(t, {
    resources: routes(),
    listeners: [{ name: 'out' }, { name: 'one', protocol: 'http1' }, { name: 'two', protocol: 'http2' }],
  })
})

t.beforeEach(() => upstream.startAfresh())

const gone = (what: string, name: string) => eventually(what, async () => ((await proxy.metrics()).value(name) ?? 0) === 0)

const REQUEST = Buffer.concat([PREFACE, settings(), frame('HEADERS', 5, 1, block(...pseudo('GET', '/', 'echo')))])

t.test('the preface tells the versions apart, wherever it is split', async (t) => {
  const bytewise = await Http2Wire.connect(t, proxy.port())
  await bytewise.writeBytewise(REQUEST)
  await bytewise.untilTold(/^DATA 1 .*end/)
  bytewise.destroy()
  for (let at = 1; at < PREFACE.length; at++) {
    const wire = await Http2Wire.connect(t, proxy.port())
    await wire.writeSplit(REQUEST, [at])
    await wire.untilTold(/^DATA 1 .*end/)
    wire.destroy()
  }
  t.equal((await askOnce(t, proxy.port(), { host: 'echo' })).status, 200, 'and HTTP/1 on the same port')
  const post = await RawClient.connect(t, proxy.port())
  post.expectMethod('POST')
  const bytes = 'POST / HTTP/1.1\r\nHost: echo\r\nContent-Length: 2\r\n\r\nab'
  await post.writeBytewise(bytes)
  t.equal((await post.response()).status, 200, 'a method that begins as the preface does')
  const almost = await RawClient.connect(t, proxy.port())
  almost.expectMethod('GET')
  await almost.write('PRI * HTTP/1.1\r\nHost: echo\r\n\r\n')
  t.equal((await almost.response()).status, 400, 'a preface that is none')
})

t.test('a broken preface behind its first line ends the connection', async (t) => {
  const wire = await Http2Wire.connect(t, proxy.port())
  await wire.write('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n')
  await wire.untilTold(/GOAWAY .*code 1$/)
  await wire.closed()
})

t.test('protocol: http1 and http2 know one version only', async (t) => {
  const one = await RawClient.connect(t, proxy.port('one'))
  one.expectMethod('GET')
  await one.write(PREFACE)
  t.equal((await one.response()).status, 505)
  t.equal((await askOnce(t, proxy.port('one'), { host: 'echo' })).status, 200)
  const client = await Http2Client.connect(t, proxy.port('two'))
  t.equal((await client.ask({ host: 'echo' })).status, 200)
  const wire = await Http2Wire.connect(t, proxy.port('two'))
  await wire.write('GET / HTTP/1.1\r\nHost: echo\r\n\r\n')
  await wire.untilTold(/GOAWAY .*code 1$/)
  t.equal(await wire.closed(), 'end')
})

t.test('many streams at once, and many after another', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  for (let round = 0; round < 3; round++) {
    const bodies = await Promise.all(
      Array.from({ length: 90 }, async (_, i) => {
        const body = `${i}:`.padEnd(1 + 1000 * (i % 20), 'x')
        const answer = await client.ask({ host: 'echo', method: 'POST', body }, 20_000)
        return (JSON.parse(answer.body.toString()) as { body: string }).body === body
      }),
    )
    t.ok(bodies.every(Boolean), `each has its own answer (round ${round})`)
  }
})

t.test('large bodies both ways are not changed', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const bytes = Buffer.alloc(8 * 2 ** 20)
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32BE(i, i)
  const call = client.call({ host: 'web', method: 'POST', open: true })
  call.end(bytes)
  const exchange = await upstream.next()
  t.ok((await exchange.body(20_000)).equals(bytes))
  await exchange.answer({ body: bytes })
  t.ok((await call.response(20_000)).body.equals(bytes))
})

t.test('a client that does not read one stream holds back that one only', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const slow = client.call({ host: 'web', target: '/slow' })
  slow.stream.pause()
  const exchange = await upstream.next()
  await exchange.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  let chunks = 0
  // Until the kernel takes no more, for the proxy reads no more.
  await eventually('the upstream to be held back', () => {
    while (chunks < 1000 && exchange.connection.socket.writableLength < 2 ** 20) {
      void exchange.write(chunk)
      chunks++
    }
    return exchange.connection.socket.writableLength >= 2 ** 20
  })
  const others = await Promise.all(Array.from({ length: 20 }, () => client.ask({ host: 'echo' })))
  t.ok(others.every((o) => o.status === 200))
  void exchange.write('0\r\n\r\n')
  slow.stream.resume()
  t.equal((await slow.response(20_000)).body.length, chunks * 0x10000, 'and nothing of it is lost')
})

t.test('a slow upstream holds back the stream of its request only', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const call = client.call({ host: 'web', method: 'POST', open: true })
  const exchange = await upstream.next()
  exchange.connection.pause()
  const chunk = Buffer.alloc(2 ** 16, 'y')
  let sent = 0
  await eventually('the client to be held back', () => {
    while (sent < 1000 && call.stream.writableLength < 2 ** 20) {
      call.write(chunk)
      sent++
    }
    return call.stream.writableLength >= 2 ** 20
  })
  const others = await Promise.all(
    Array.from({ length: 20 }, () => client.ask({ host: 'echo', method: 'POST', body: 'z'.repeat(50_000) })),
  )
  t.ok(
    others.every((o) => o.status === 200),
    'bodies of others pass',
  )
  exchange.connection.resume()
  call.end()
  t.equal((await exchange.body(20_000)).length, sent * chunk.length)
  await exchange.answer({ body: 'ok' })
  t.equal((await call.response()).status, 200)
})

t.test('a client resets a stream: its attempt is given up, the connection goes on (DR)', async (t) => {
  const client = await Http2Client.connect(t, proxy.port())
  const waiting = client.call({ host: 'web', target: '/reset-1' })
  const one = await upstream.next()
  waiting.reset()
  await one.connection.closed()
  t.match(await proxy.logged({ path: '/reset-1' }), {
    response_code: 0,
    response_flags: 'DR',
    response_code_details: 'downstream_remote_reset',
  })
  const reading = client.call({ host: 'web', target: '/reset-2' })
  const two = await upstream.next()
  await two.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome')
  await reading.until('a part', () => reading.message.body.length === 4)
  reading.reset()
  await two.connection.closed()
  t.match(await proxy.logged({ path: '/reset-2' }), { response_code: 200, response_flags: 'DR' })
  const writing = client.call({ host: 'web', target: '/reset-3', method: 'POST', open: true })
  const three = await upstream.next()
  writing.write('part')
  await three.bodyBytes(4)
  writing.reset()
  await three.connection.closed()
  t.match(await proxy.logged({ path: '/reset-3' }), { response_code: 0, response_flags: 'DR', bytes_received: 4 })
  t.equal((await client.ask({ host: 'echo' })).status, 200)
  await gone('requests', 'envoy_http_downstream_rq_active')
})

t.test('a client goes away: all of its requests are given up (DC)', async (t) => {
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(1, pseudo('GET', '/away-1', 'web'))
  await wire.ask(3, pseudo('POST', '/away-2', 'web'), false)
  const exchanges = [await upstream.next(), await upstream.next()]
  wire.destroy()
  for (const e of exchanges) await e.connection.closed()
  for (const path of ['/away-1', '/away-2'])
    t.match(await proxy.logged({ path }), {
      response_code: 0,
      response_flags: 'DC',
      response_code_details: 'downstream_remote_disconnect',
    })
  await gone('requests', 'envoy_http_downstream_rq_active')
})

t.test('a client that says GOAWAY gets the answers that it waits for', async (t) => {
  const wire = await Http2Wire.greeted(t, proxy.port())
  await wire.ask(1, pseudo('GET', '/', 'web'))
  const exchange = await upstream.next()
  await wire.write(frame('GOAWAY', 0, 0, Buffer.alloc(8)))
  await exchange.answer({ body: 'bye' })
  await wire.untilTold('DATA 1 3 end')
  await wire.closed()
  t.ok(wire.told().every((s) => !s.startsWith('RST')))
})

t.test('limits of time and of requests end connections with GOAWAY, and streams with 408 or 504', async (t) => {
  const few = await startProxy(t, {
    resources: routes(),
    bootstrap: {
      limits: { maxRequestsPerConnection: 3, connectionIdleTimeout: '1s', headerTimeout: '1s', streamIdleTimeout: '1500ms' },
    },
  })
  const client = await Http2Client.connect(t, few.port())
  for (let i = 0; i < 3; i++) t.equal((await client.ask({ host: 'echo' })).status, 200)
  await eventually('the end', () => client.isClosed)
  t.equal(client.goawayCode, 0)

  const idle = await Http2Client.connect(t, few.port())
  t.equal((await idle.ask({ host: 'echo' })).status, 200)
  await eventually('the end of an idle connection', () => idle.isClosed)
  t.equal(idle.goawayCode, 0)
  t.equal((await few.metrics()).value('envoy_http_downstream_cx_idle_timeout'), 1)

  const silent = await RawClient.connect(t, few.port())
  await silent.closed()
  t.equal(silent.text, '', 'a client that sends nothing is let go')
  const half = await RawClient.connect(t, few.port())
  await half.write(PREFACE.subarray(0, 8))
  await half.closed()
  t.equal(half.text, '', 'and one that stops in the preface')
  const slow = await Http2Wire.greeted(t, few.port())
  await slow.write(frame('HEADERS', 0, 1, block(...pseudo('GET', '/', 'echo'))))
  await slow.untilTold(/GOAWAY .*code 11$/)
  await slow.closed()

  upstream.startAfresh()
  const still = await Http2Client.connect(t, few.port())
  t.equal((await still.ask({ host: 'web', target: '/idle' })).status, 504, 'nothing moves: the upstream is late')
  const open = still.call({ host: 'web', target: '/idle-open', method: 'POST', open: true })
  t.equal((await open.response()).status, 408, 'nothing moves: the client is')
  t.match(await few.logged({ path: '/idle' }), { response_flags: 'SI' })
})

t.test('drain: GOAWAY, what has begun is finished, and the process ends with 0', async (t) => {
  const own = await startProxy(t, { resources: routes(), bootstrap: { drain: { deadline: '30s' }, concurrency: 2 } })
  const client = await Http2Client.connect(t, own.port())
  const idle = await Http2Client.connect(t, own.port())
  const begun = client.call({ host: 'web', target: '/begun' })
  const exchange = await upstream.next()
  await exchange.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n')
  await begun.responseHead()
  const waiting = client.call({ host: 'web', method: 'POST', open: true })
  const other = await upstream.next()
  own.signal('SIGTERM')
  await eventually('GOAWAY', () => client.goawayCode === 0 && idle.isClosed)
  waiting.end('the rest')
  t.equal((await other.body()).toString(), 'the rest')
  await other.answer({ body: 'in time' })
  await exchange.write('5\r\nended\r\n0\r\n\r\n')
  t.equal((await begun.response()).body.toString(), 'begunended')
  t.equal((await waiting.response()).body.toString(), 'in time')
  t.same(await own.exited, { code: 0, signal: null })
  t.notMatch(own.stderr, /were cut/)
})

t.test('drain: what is not done at the deadline is cut, and the log says what', async (t) => {
  const own = await startProxy(t, { resources: routes(), bootstrap: { drain: { deadline: '300ms' } } })
  const client = await Http2Client.connect(t, own.port())
  client.call({ host: 'web', target: '/never' })
  await upstream.next()
  own.signal('SIGTERM')
  t.same(await own.exited, { code: 0, signal: null })
  t.match(own.stderr, /GET \/never of web/)
})

t.test('reloads under load lose no stream', async (t) => {
  const own = await startInProcess(t, routes())
  const clients = await Promise.all(Array.from({ length: 4 }, () => Http2Client.connect(t, own.port)))
  let stop = false
  let answered = 0
  const lost: string[] = []
  const running = clients.flatMap((client) =>
    Array.from({ length: 8 }, async (_, i) => {
      while (!stop) {
        const answer = await client
          .ask({ host: 'echo', ...(i % 2 === 0 ? { method: 'POST', body: 'x'.repeat(20_000) } : {}) }, 20_000)
          .catch((e: Error) => e)
        if (answer instanceof Error || answer.status !== 200)
          lost.push(String(answer instanceof Error ? answer.message : answer.status))
        else answered++
      }
    }),
  )
  for (let i = 0; i < 5; i++) {
    const goal = answered + 100
    await own.reload(routes({ name: `generation-${i}` }))
    await eventually('answers', () => answered >= goal, 20_000)
  }
  stop = true
  await Promise.all(running)
  t.same(lost, [])
})

t.test('a worker that dies ends its connections; the next one serves', async (t) => {
  const own = await startInProcess(t, routes(), { bootstrap: { concurrency: 1 } })
  const client = await Http2Client.connect(t, own.port)
  const call = client.call({ host: 'web', target: '/crash' })
  const exchange = await upstream.next()
  own.crash(0)
  await eventually('the end of the connection', () => client.isClosed)
  t.notOk(call.message.complete)
  await exchange.connection.closed()
  await eventually('another worker', async () => {
    const next = await Http2Client.connect(t, own.port)
    return (await next.ask({ host: 'echo' })).status === 200
  })
})
