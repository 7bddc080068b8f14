// WebSockets to upstreams of HTTP/2, by extended CONNECT (RFC 8441), from clients of either version. What Envoy does is the measure, but for what stands beside
// each difference.
import { createHash } from 'node:crypto'
import net from 'node:net'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { header, headerValues } from '../support/h1-reader.ts'
import { Http2Client } from '../support/http2-client.ts'
import { block, END, frame, frames, PREFACE, settings, u32, WHOLE } from '../support/http2-frames.ts'
import { Http2Server } from '../support/http2-server.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

const CANCEL = 8
const CONNECT_ERROR = 10
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
/** Of KEY (RFC 6455 §1.3). */
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

let offering: Http2Server
let plain: Http2Server
let proxy: HeddleProcess

t.before(async () => {
  offering = await Http2Server.start(t, { settings: { enableConnectProtocol: true } })
  plain = await Http2Server.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [offering], protocol: 'HTTP2' }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], timeout: '1s' }]),
      service({ host: 'plain', endpoints: [plain], protocol: 'HTTP2' }),
      destinationRule('plain', 'plain', {
        trafficPolicy: { outlierDetection: { consecutive5xxErrors: 1, interval: '1s', baseEjectionTime: '100s' } },
      }),
    ),
    bootstrap: { concurrency: 1 },
  })
})

t.beforeEach(() => {
  offering.handler = null
  plain.handler = null
})

const handshake = (target: string, host = 'web', more = {}) => ({
  target,
  host,
  headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': KEY, 'Sec-WebSocket-Version': '13', ...more },
})

async function openHttp1(t: Teardown, target: string) {
  const client = await RawClient.connect(t, proxy.port())
  await client.send(handshake(target))
  return { client, exchange: await offering.seen(target) }
}

async function openHttp2(t: Teardown, target: string, headers: Readonly<Record<string, string>> = {}, host = 'web') {
  const client = await Http2Client.connect(t, proxy.port())
  const call = client.call({
    method: 'CONNECT',
    host,
    pseudo: { ':protocol': 'websocket', ':scheme': 'http', ':path': target },
    headers: { 'sec-websocket-version': '13', ...headers },
    open: true,
  })
  return { client, call }
}

t.test('the Upgrade of a client of HTTP/1.1 is an extended CONNECT, and its 200 a 101', async (t) => {
  const { client, exchange } = await openHttp1(t, '/chat')
  const { headers } = exchange
  t.equal(headers[':method'], 'CONNECT')
  t.equal(headers[':protocol'], 'websocket')
  t.equal(headers[':scheme'], 'http')
  t.equal(headers[':authority'], 'web')
  t.equal(headers['sec-websocket-version'], '13')
  t.equal(headers['sec-websocket-key'], KEY, 'for a server of HTTP/1 behind the next proxy, as Envoy')
  for (const name of ['connection', 'upgrade', 'host', 'content-length', 'transfer-encoding'])
    t.equal(headers[name], undefined, name)
  exchange.stream.respond({ ':status': 200, 'sec-websocket-protocol': 'chat', 'content-length': '7' })
  const answer = await client.responseHead()
  t.equal(answer.status, 101)
  t.equal(header(answer, 'connection')?.toLowerCase(), 'upgrade')
  t.equal(header(answer, 'upgrade'), 'websocket')
  t.equal(header(answer, 'sec-websocket-accept'), ACCEPT, 'a browser insists on it; Envoy leaves it out')
  t.equal(header(answer, 'sec-websocket-protocol'), 'chat')
  t.equal(header(answer, 'content-length'), undefined, 'a tunnel has none (RFC 9110 §9.3.6)')
  exchange.read()
  await client.write('ping')
  await eventually('ping', () => exchange.body.toString() === 'ping')
  exchange.stream.write('pong')
  t.equal((await client.untilTunnelled(4)).toString(), 'pong')
  await client.write('bye')
  client.end()
  await eventually('the end', () => exchange.bodyEnded)
  t.equal(exchange.body.toString(), 'pingbye')
  exchange.stream.end(', and more')
  t.equal(await client.closed(), 'end')
  t.equal(client.tunnel.bytes.toString(), 'pong, and more')
  t.match(await proxy.logged({ path: '/chat' }), { protocol: 'HTTP/1.1', response_code: 101, bytes_received: 7, bytes_sent: 14 })
  await eventually('no reset of what has ended', () => exchange.stream.closed)
  t.equal(exchange.resetCode, null)
})

t.test('bytes that come with the request wait for the tunnel', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send(handshake('/early', 'web', { Upgrade: 'WebSocket' }))
  await client.write('early')
  const exchange = await offering.seen('/early')
  t.equal(exchange.headers[':protocol'], 'websocket', 'in the one form that servers of HTTP/2 know')
  exchange.read()
  exchange.stream.respond({ ':status': 200 })
  t.equal(header(await client.responseHead(), 'upgrade'), 'WebSocket')
  await eventually('early', () => exchange.body.toString() === 'early')
})

t.test('an accept of the upstream is the one that the client gets', async (t) => {
  const { client, exchange } = await openHttp1(t, '/accept')
  exchange.stream.respond({ ':status': 200, 'sec-websocket-accept': 'of-the-server' })
  t.same(headerValues(await client.responseHead(), 'sec-websocket-accept'), ['of-the-server'])
})

t.test('extended CONNECT to extended CONNECT', async (t) => {
  const { call } = await openHttp2(t, '/h2')
  call.write('early')
  const exchange = await offering.seen('/h2')
  exchange.read()
  t.equal(exchange.headers[':protocol'], 'websocket')
  t.equal(exchange.headers['sec-websocket-key'], undefined, 'none that nobody has asked for')
  exchange.stream.respond({ ':status': 200, 'sec-websocket-protocol': 'chat' })
  const answer = await call.responseHead()
  t.equal(answer.status, 200)
  t.same(headerValues(answer, 'sec-websocket-protocol'), ['chat'])
  for (const name of ['sec-websocket-accept', 'connection', 'upgrade']) t.same(headerValues(answer, name), [], name)
  await eventually('early', () => exchange.body.toString() === 'early')
  exchange.stream.end('bye')
  await call.until('bye', () => call.message.body.toString() === 'bye')
  call.end('!')
  t.equal(await call.ended(), null)
  await eventually('the end', () => exchange.bodyEnded)
  t.equal(exchange.body.toString(), 'early!')
})

t.test('a key that a client of HTTP/2 sends, as Envoy does, goes and comes back', async (t) => {
  const { call } = await openHttp2(t, '/key', { 'sec-websocket-key': KEY })
  const exchange = await offering.seen('/key')
  t.equal(exchange.headers['sec-websocket-key'], KEY)
  exchange.stream.respond({ ':status': 200 })
  t.same(headerValues(await call.responseHead(), 'sec-websocket-accept'), [
    createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64'),
  ])
})

t.test('an answer that is no tunnel is passed on', async (t) => {
  const { client, exchange } = await openHttp1(t, '/no')
  exchange.stream.respond({ ':status': 403, 'content-length': '7' })
  exchange.stream.end('not you')
  const answer = await client.response()
  t.same([answer.status, answer.body.toString()], [403, 'not you'])
  await eventually('the end of the stream', () => exchange.stream.closed)
  const { call } = await openHttp2(t, '/no-2')
  const second = await offering.seen('/no-2')
  second.stream.respond({ ':status': 302, location: '/elsewhere' }, { endStream: true })
  t.equal((await call.response()).status, 302)
})

t.test('any 2xx opens a tunnel (RFC 9110 §9.3.6), also one that ends at once', async (t) => {
  const { client, exchange } = await openHttp1(t, '/201')
  exchange.stream.respond({ ':status': 201 })
  exchange.stream.end('bytes')
  t.equal((await client.responseHead()).status, 101)
  t.equal((await client.untilTunnelled(5)).toString(), 'bytes')
  const over = await openHttp1(t, '/over')
  over.exchange.stream.respond({ ':status': 200 }, { endStream: true })
  t.equal((await over.client.responseHead()).status, 101)
  t.equal(await over.client.closed(), 'end')
})

t.test('an endpoint that does not offer it is not asked: 502 UPE, and it is not to blame', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send(handshake('/unoffered', 'plain'))
  const answer = await client.response()
  t.same(
    [answer.status, answer.body.toString()],
    [502, 'upstream connect error or disconnect/reset before headers. reset reason: protocol error'],
    'as Envoy',
  )
  t.match(await proxy.logged({ path: '/unoffered' }), {
    response_flags: 'UPE',
    response_code_details: 'upstream_reset_before_response_started{protocol_error}',
    upstream_transport_failure_reason: 'the endpoint does not offer extended CONNECT',
  })
  const { call } = await openHttp2(t, '/unoffered-2', {}, 'plain')
  t.equal((await call.response()).status, 502)
  t.equal(plain.exchanges.length, 0)
  plain.handler = (e) => e.answer()
  const other = await RawClient.connect(t, proxy.port())
  t.equal(
    (await other.ask({ host: 'plain', target: '/fine' })).status,
    200,
    'the connection is as it was, the endpoint not ejected',
  )
  t.equal(plain.connections.length, 1)
  t.equal((await proxy.metrics()).value('heddle_requests_refused_total', { reason: 'no_extended_connect' }), 2)
})

t.test('an Upgrade that cannot be a CONNECT is left out, and the request served (RFC 9110 §7.8)', async (t) => {
  plain.handler = async (e) => e.answer(200, `${e.headers[':method']} ${(await e.whole()).toString()}`)
  const client = await RawClient.connect(t, proxy.port())
  const { headers } = handshake('/', 'plain')
  const posted = await client.ask({ method: 'POST', host: 'plain', headers, body: 'x' })
  t.equal(posted.body.toString(), 'POST x')
  t.equal((await client.ask({ host: 'plain', headers, body: 'y' })).body.toString(), 'GET y')
})

t.test('either end may be cut', async (t) => {
  const active = async () => (await proxy.metrics()).value('envoy_http_downstream_cx_upgrades_active') ?? 0
  const before = await active()
  const one = await openHttp1(t, '/cut-1')
  one.exchange.stream.respond({ ':status': 200 })
  await one.client.responseHead()
  one.exchange.stream.close(2)
  await one.client.closed()
  const two = await openHttp1(t, '/cut-2')
  two.exchange.stream.respond({ ':status': 200 })
  await two.client.responseHead()
  two.client.reset()
  await eventually('the end of the stream', () => two.exchange.stream.closed)
  t.equal(two.exchange.resetCode, CANCEL)
  const three = await openHttp2(t, '/cut-3')
  const exchange = await offering.seen('/cut-3')
  exchange.stream.respond({ ':status': 200 })
  await three.call.responseHead()
  t.ok((await active()) > 0)
  offering.cut()
  t.equal(await three.call.ended(), CONNECT_ERROR)
  await eventually('no more tunnels', async () => (await active()) <= before)
})

/** An endpoint whose bytes are the test's. */
async function startRaw(t: Teardown) {
  const sockets: net.Socket[] = []
  const server = net.createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const s of sockets) s.destroy()
    server.close()
  })
  const { port } = server.address() as net.AddressInfo
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'raw', endpoints: [{ address: `127.0.0.1:${port}` }], protocol: 'HTTP2' })),
    bootstrap: { concurrency: 1 },
  })
  let taken = 0
  /** The next connection, once the preface is there. */
  const next = async () => {
    const n = taken++
    const socket = (await eventually('a connection', () => sockets[n])) as net.Socket
    const parts: Buffer[] = []
    socket.on('data', (d: Buffer) => parts.push(d))
    const bytes = () => Buffer.concat(parts)
    await eventually('the preface', () => bytes().subarray(0, PREFACE.length).equals(PREFACE))
    return { socket, bytes, frames: () => frames(bytes()) }
  }
  return { proxy, next }
}

/** SETTINGS_ENABLE_CONNECT_PROTOCOL, and the acknowledgement. */
const OFFERED = Buffer.concat([settings([8, 1]), frame('SETTINGS', 1, 0)])

t.test('before SETTINGS it is not known what is offered: the request waits for them', async (t) => {
  const { proxy, next } = await startRaw(t)
  const asked = async (target: string) => {
    const client = await RawClient.connect(t, proxy.port())
    await client.send(handshake(target, 'raw'))
    return { client, ...(await next()) }
  }
  const first = await asked('/late')
  t.notMatch(first.bytes().toString('latin1'), /websocket/, 'nothing is asked yet')
  first.socket.write(OFFERED)
  await eventually('the request', () => first.bytes().includes('websocket'))
  first.socket.destroy()
  t.equal((await first.client.response()).status, 503)
  const gone = await asked('/gone')
  gone.socket.destroy()
  t.equal((await gone.client.response()).status, 503, 'an end before SETTINGS')
  const left = await asked('/left')
  left.client.reset()
  await proxy.logged({ path: '/left', response_flags: 'DC' })
  left.socket.write(OFFERED)
  await eventually('SETTINGS ack', () => left.bytes().includes(frame('SETTINGS', 1, 0)))
  t.notMatch(left.bytes().toString('latin1'), /websocket/, 'nobody waits for an answer any more')
})

t.test('what the endpoint has not taken when both sides have ended still arrives', async (t) => {
  const { proxy, next } = await startRaw(t)
  const client = await RawClient.connect(t, proxy.port())
  await client.send(handshake('/queued', 'raw'))
  const side = await next()
  side.socket.write(OFFERED)
  await eventually('the request', () => side.bytes().includes('websocket'))
  side.socket.write(frame('HEADERS', END | WHOLE, 1, block([':status', '200'])))
  t.equal((await client.responseHead()).status, 101)
  const written = client.write(Buffer.alloc(100_000, 'x'))
  client.end()
  const data = () => side.frames().filter((f) => f.type === 'DATA')
  const came = () => data().reduce((n, f) => n + f.payload.length, 0)
  // All that the windows allow at first (RFC 9113 §6.9.2).
  await eventually('65,535 bytes', () => came() === 65_535)
  await written
  await proxy.logged({ path: '/queued', bytes_received: 100_000 })
  side.socket.write(Buffer.concat([frame('WINDOW_UPDATE', 0, 0, u32(100_000)), frame('WINDOW_UPDATE', 0, 1, u32(100_000))]))
  await eventually('the end', () => data().some((f) => (f.flags & END) !== 0))
  t.equal(came(), 100_000)
  t.same(
    side.frames().filter((f) => f.type === 'RST_STREAM'),
    [],
  )
})

t.test('a reset behind the end of an endpoint cuts the tunnel, unless it is none', async (t) => {
  const { proxy, next } = await startRaw(t)
  const client = await RawClient.connect(t, proxy.port())
  await client.send(handshake('/reset', 'raw'))
  const side = await next()
  side.socket.write(OFFERED)
  await eventually('the request', () => side.bytes().includes('websocket'))
  side.socket.write(
    Buffer.concat([frame('HEADERS', END | WHOLE, 1, block([':status', '200'])), frame('RST_STREAM', 0, 1, u32(CONNECT_ERROR))]),
  )
  t.equal((await client.responseHead()).status, 101)
  await client.closed()
  await proxy.logged({ path: '/reset' })
})
