// Tunnels on a stream of HTTP/2: CONNECT (RFC 9113 §8.5) and WebSockets by extended CONNECT (RFC 8441), to upstreams of HTTP/1.1.
import { createHash } from 'node:crypto'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { type Http2Call, Http2Client } from '../support/http2-client.ts'
import { Http2Wire, pseudo } from '../support/http2-wire.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

let upstream: Upstream
let db: Upstream
let proxy: HeddleProcess

const CONNECT_ERROR = 10

t.before(async () => {
  upstream = await Upstream.start(t)
  db = await Upstream.start(t, { raw: true })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'db', port: 5432, endpoints: [db] }),
      service({ host: 'down', port: 5432, endpoints: [{ address: `127.0.0.1:${await refusingPort()}` }] }),
      service({ host: 'fixed', endpoints: [upstream] }),
      virtualService('fixed', ['fixed'], [{ directResponse: { status: 200, body: { string: 'no tunnel' } } }]),
    ),
    listeners: [{ name: 'out' }, { name: 'open', connect: 'tunnel' }],
  })
})

t.beforeEach(() => {
  upstream.startAfresh()
  db.startAfresh()
})

const said = (call: Http2Call, text: string) => call.until(text, () => call.message.body.toString() === text)

async function connect(t: Teardown, target: string, listener = 'open'): Promise<{ client: Http2Client; call: Http2Call }> {
  const client = await Http2Client.connect(t, proxy.port(listener))
  return { client, call: client.call({ method: 'CONNECT', host: target, open: true }) }
}

t.test('CONNECT: bytes both ways, and each side ends by itself', async (t) => {
  const { client, call } = await connect(t, 'db:5432')
  // Before the answer: it waits for the tunnel.
  call.write('select 1')
  const side = await db.nextConnection()
  const answer = await call.responseHead()
  t.equal(answer.status, 200)
  t.equal(header(answer, 'content-length'), undefined)
  t.equal((await side.untilReceived(8)).toString(), 'select 1', 'the endpoint sees the bytes and no HTTP')
  await side.write('one row')
  await said(call, 'one row')
  call.end('bye')
  t.equal((await side.untilReceived(11)).toString(), 'select 1bye')
  t.equal(await side.closed(), 'end', 'END_STREAM is a FIN')
  await side.write(', and more')
  side.end()
  await said(call, 'one row, and more')
  t.equal(await call.ended(), null, 'and a FIN is END_STREAM')
  t.equal(client.isClosed, false)
  t.match(await proxy.logged({ method: 'CONNECT', bytes_received: 11 }), {
    protocol: 'HTTP/2',
    response_code: 200,
    bytes_sent: 17,
  })
})

t.test('CONNECT: a reset of the endpoint is RST_STREAM CONNECT_ERROR, one of the client ends the connection', async (t) => {
  const one = await connect(t, 'db:5432')
  const side = await db.nextConnection()
  await one.call.responseHead()
  await side.write('x')
  await said(one.call, 'x')
  side.reset()
  t.equal(await one.call.ended(), CONNECT_ERROR)
  t.equal(one.client.isClosed, false)
  const two = await connect(t, 'db:5432')
  const other = await db.nextConnection()
  await two.call.responseHead()
  two.call.reset()
  await other.closed()
  await eventually('no tunnel', async () => (await proxy.metrics()).value('envoy_http_downstream_cx_upgrades_active') === 0)
})

t.test('CONNECT that is refused', async (t) => {
  for (const [target, listener, status] of [
    ['db:5432', 'out', 404],
    ['nobody:5432', 'open', 404],
    ['db', 'open', 400],
    ['down:5432', 'open', 503],
  ] as const) {
    const { client, call } = await connect(t, target, listener)
    call.write('GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n')
    t.equal((await call.response()).status, status, `${target} on ${listener}`)
    t.equal(await call.ended(), null, 'NO_ERROR behind the answer')
    t.equal(client.isClosed, false)
  }
  t.equal(upstream.connections.length, 0)
})

t.test('CONNECT: a slow endpoint holds back its client, and no other stream', async (t) => {
  const { client, call } = await connect(t, 'db:5432')
  const side = await db.nextConnection()
  await call.responseHead()
  side.pause()
  const chunk = Buffer.alloc(64 * 1024, 'x')
  let total = 0
  await eventually('the window to be used up', () => {
    for (let i = 0; i < 16 && call.stream.writableLength < 2 ** 20; i++) {
      call.write(chunk)
      total += chunk.length
    }
    return call.stream.writableLength >= 2 ** 20
  })
  const other = client.call({ host: 'web' })
  await (await upstream.next()).answer({ body: 'meanwhile' })
  t.equal((await other.response()).body.toString(), 'meanwhile')
  side.resume()
  call.end()
  await side.closed(20000)
  t.equal(side.received.length, total, 'and nothing is lost')
  side.end()
  await call.ended()
})

const WEBSOCKET = { ':protocol': 'websocket', ':path': '/chat', ':scheme': 'http' }

async function webSocket(t: Teardown, host = 'web', protocol = 'websocket') {
  const client = await Http2Client.connect(t, proxy.port('out'))
  const call = client.call({
    method: 'CONNECT',
    host,
    pseudo: { ...WEBSOCKET, ':protocol': protocol },
    headers: { 'sec-websocket-version': '13', 'sec-websocket-protocol': 'chat' },
    open: true,
  })
  return { client, call }
}

async function accept(exchange: Exchange): Promise<void> {
  const key = header(exchange.request, 'sec-websocket-key') ?? ''
  const value = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  await exchange.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${value}\r\nSec-WebSocket-Protocol: chat\r\n\r\n`,
  )
  exchange.connection.switchToTunnel()
}

t.test('extended CONNECT is offered', async (t) => {
  const client = await Http2Client.connect(t, proxy.port('out'))
  t.equal(client.session.remoteSettings.enableConnectProtocol, true)
})

t.test('a WebSocket by extended CONNECT is an Upgrade for its upstream, and its 101 is a 200', async (t) => {
  const { client, call } = await webSocket(t)
  call.write('early')
  const exchange = await upstream.next()
  const { request } = exchange
  t.equal(request.startLine, 'GET /chat HTTP/1.1')
  t.same(headerValues(request, 'host'), ['web'])
  t.same(headerValues(request, 'connection'), ['upgrade'])
  t.same(headerValues(request, 'upgrade'), ['websocket'])
  t.same(headerValues(request, 'sec-websocket-version'), ['13'])
  t.same(headerValues(request, 'sec-websocket-protocol'), ['chat'])
  t.same(headerValues(request, 'content-length'), [])
  t.same(headerValues(request, 'transfer-encoding'), [])
  t.equal(Buffer.from(header(request, 'sec-websocket-key') ?? '', 'base64').length, 16, 'a key that the client did not have')
  await accept(exchange)
  const answer = await call.responseHead()
  t.equal(answer.status, 200)
  t.same(headerValues(answer, 'sec-websocket-protocol'), ['chat'])
  for (const name of ['sec-websocket-accept', 'upgrade', 'connection']) t.same(headerValues(answer, name), [], name)
  t.equal((await exchange.connection.untilTunnelled(5)).toString(), 'early', 'bytes from before the answer come behind it')
  await exchange.write('pong')
  await said(call, 'pong')
  call.end('bye')
  t.equal((await exchange.connection.untilTunnelled(8)).toString(), 'earlybye')
  await exchange.connection.closed()
  exchange.end()
  t.equal(await call.ended(), null)
  t.equal(client.isClosed, false)
  await proxy.logged({ path: '/chat', protocol: 'HTTP/2', response_code: 101, bytes_received: 8, bytes_sent: 4 })
})

t.test('a WebSocket that does not come about', async (t) => {
  const refused = await webSocket(t)
  await (await upstream.next()).answer({ status: 403, body: 'not you' })
  const answer = await refused.call.response()
  t.same([answer.status, answer.body.toString()], [403, 'not you'], 'the answer of the upstream')
  const ignored = await webSocket(t)
  await (await upstream.next()).answer({ body: 'what upgrade?' })
  t.equal((await ignored.call.response()).status, 502, 'a 200 that is no tunnel must not look like one')
  t.equal((await (await webSocket(t, 'fixed')).call.response()).status, 403)
  t.equal((await (await webSocket(t, 'web', 'connect-udp')).call.response()).status, 403, 'another protocol')
  t.equal((await (await webSocket(t, 'nobody')).call.response()).status, 404)
  t.equal((await proxy.metrics()).value('heddle_requests_refused_total', { reason: 'upgrade_not_taken' }), 1)
})

t.test('a WebSocket whose upstream is cut is reset', async (t) => {
  const { call } = await webSocket(t)
  const exchange = await upstream.next()
  await accept(exchange)
  await call.responseHead()
  exchange.reset()
  t.equal(await call.ended(), CONNECT_ERROR)
})

t.test(':protocol without CONNECT, and CONNECT with what it must not have, are malformed', async (t) => {
  for (const [what, fields] of [
    [':protocol with GET', [...pseudo('GET', '/', 'web'), [':protocol', 'websocket']]],
    ['CONNECT with :path', pseudo('CONNECT', '/', 'web:80')],
    [
      'extended CONNECT without :path',
      [
        [':method', 'CONNECT'],
        [':protocol', 'websocket'],
        [':authority', 'web'],
        [':scheme', 'http'],
      ],
    ],
  ] as const) {
    const wire = await Http2Wire.greeted(t, proxy.port('open'))
    await wire.ask(1, fields as never)
    t.equal(await wire.untilTold(/RST_STREAM/), 'RST_STREAM 1 code 1', what)
    wire.destroy()
  }
})
