// Upgrade (RFC 9110 §7.8, RFC 6455): a 101 makes a tunnel, whoever ends it; anything else stays HTTP.
import { createHash } from 'node:crypto'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { flood } from '../support/flood.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

let upstream: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], timeout: '300ms' }]),
    ),
  })
})

t.beforeEach(() => upstream.startAfresh())

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

async function open(t: Teardown): Promise<{ client: RawClient; exchange: Exchange }> {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({
    target: '/chat',
    host: 'web',
    headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': KEY, 'Sec-WebSocket-Version': '13' },
  })
  const exchange = await upstream.next()
  return { client, exchange }
}

/** An unmasked or masked text frame of less than 126 bytes (RFC 6455 §5.2). */
function frame(text: string, mask: readonly number[] | null): Buffer {
  const payload = Buffer.from(text)
  const head = [0x81, (mask === null ? 0 : 0x80) | payload.length]
  if (mask === null) return Buffer.concat([Buffer.from(head), payload])
  for (let i = 0; i < payload.length; i++) payload[i]! ^= mask[i % 4] as number
  return Buffer.concat([Buffer.from([...head, ...mask]), payload])
}

t.test('a WebSocket handshake passes unchanged, and frames are carried byte for byte', async (t) => {
  const { client, exchange } = await open(t)
  t.equal(header(exchange.request, 'connection')?.toLowerCase(), 'upgrade')
  t.equal(header(exchange.request, 'upgrade'), 'websocket')
  const accept = createHash('sha1')
    .update(`${header(exchange.request, 'sec-websocket-key')}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  await exchange.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
  exchange.connection.switchToTunnel()
  const answer = await client.responseHead()
  t.equal(answer.status, 101)
  t.equal(header(answer, 'sec-websocket-accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 'the value of RFC 6455 §1.3')
  t.equal(header(answer, 'upgrade'), 'websocket')
  t.equal(header(answer, 'connection')?.toLowerCase(), 'upgrade')
  const masked = frame('Hello', [0x37, 0xfa, 0x21, 0x3d])
  await client.write(masked)
  t.same(await exchange.connection.untilTunnelled(masked.length), masked)
  const plain = frame('Hello', null)
  await exchange.write(plain)
  t.same(await client.untilTunnelled(plain.length), plain)
})

t.test('what the upstream sends in the same segment as its 101 is not lost', async (t) => {
  const { client, exchange } = await open(t)
  await exchange.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst')
  await client.responseHead()
  t.equal((await client.untilTunnelled(5)).toString(), 'first')
})

t.test('a tunnel outlives the timeout of its route', async (t) => {
  const { client, exchange } = await open(t)
  await exchange.switchProtocols('websocket')
  await client.responseHead()
  // A second request runs into the timeout meanwhile: more than 300 ms have passed when it is answered.
  const other = await askOnce(t, proxy.port(), { host: 'web', target: '/slow' })
  t.equal(other.status, 504)
  await client.write('alive')
  t.equal((await exchange.connection.untilTunnelled(5)).toString(), 'alive')
})

t.test('the client ends first: what the upstream still says arrives', async (t) => {
  const { client, exchange } = await open(t)
  await exchange.switchProtocols('websocket')
  await client.responseHead()
  await client.write('bye')
  client.end()
  t.equal(await exchange.connection.closed(), 'end')
  t.equal(exchange.connection.tunnelled.toString(), 'bye')
  await exchange.write('last words')
  exchange.end()
  await client.closed()
  t.equal(client.tunnel.bytes.toString(), 'last words')
  const line = await proxy.logged({ path: '/chat', bytes_sent: 10 })
  t.match(line, { response_code: 101, bytes_received: 3, response_flags: 'DC' })
})

t.test('the upstream ends first: what the client still says arrives', async (t) => {
  const { client, exchange } = await open(t)
  await exchange.switchProtocols('websocket')
  await client.responseHead()
  await exchange.write('bye!')
  exchange.end()
  t.equal(await client.closed(), 'end')
  await client.write('and you')
  client.end()
  await exchange.connection.closed()
  t.equal(exchange.connection.tunnelled.toString(), 'and you')
  t.match(await proxy.logged({ path: '/chat', bytes_sent: 4 }), { response_code: 101, response_flags: '-' })
})

t.test('bytes that a slow upstream has not taken when the client ends still arrive', async (t) => {
  const { client, exchange } = await open(t)
  await exchange.switchProtocols('websocket')
  await client.responseHead()
  const side = exchange.connection
  side.pause()
  exchange.end()
  await client.closed()
  const bytes = Buffer.alloc(12 * 1024 * 1024, 'abcdefghijklmnop')
  const before = side.received.length
  const written = client.write(bytes)
  client.end()
  side.resume()
  await written
  await side.closed(20_000)
  t.equal(side.received.length - before, bytes.length)
})

t.test('what one end of a tunnel does not take, the other cannot send', async (t) => {
  const MIB = 1024 * 1024
  const piece = Buffer.alloc(65536, 'x')
  for (const slow of ['client', 'upstream'] as const) {
    const { client, exchange } = await open(t)
    await exchange.switchProtocols('websocket')
    await client.responseHead()
    const [from, into] = slow === 'client' ? [exchange.connection, client] : [client, exchange.connection]
    const before = into.received.length
    into.pause()
    const taken = await flood(from, piece, 96 * MIB)
    t.ok(taken < 48 * MIB, `${taken} bytes towards a slow ${slow}`)
    into.resume()
    await into.until('all that was taken', () => into.received.length - before >= taken, 30_000)
    client.destroy()
  }
})

t.test('a reset on one side ends the other', async (t) => {
  const one = await open(t)
  await one.exchange.switchProtocols('websocket')
  await one.client.responseHead()
  one.exchange.reset()
  await one.client.closed()
  const two = await open(t)
  await two.exchange.switchProtocols('websocket')
  await two.client.responseHead()
  two.client.reset()
  await two.exchange.connection.closed()
  t.pass('both sides are closed')
})

t.test('tunnels are counted while they are open', async (t) => {
  const active = async () => (await proxy.metrics()).value('envoy_http_downstream_cx_upgrades_active') ?? 0
  const before = await active()
  const { client, exchange } = await open(t)
  await exchange.switchProtocols('websocket')
  await client.responseHead()
  t.equal((await active()) - before, 1)
  client.end()
  exchange.end()
  await eventually('the gauge to fall', async () => (await active()) === before)
})

t.test('a protocol other than websocket is refused: 403', async (t) => {
  for (const protocol of ['foo', 'tls/1.0', 'websocket-2']) {
    const answer = await askOnce(t, proxy.port(), {
      host: 'web',
      target: `/${protocol}`,
      headers: { Connection: 'Upgrade', Upgrade: protocol },
    })
    t.equal(answer.status, 403, protocol)
    t.equal(header(answer, 'connection'), 'close')
    t.match(await proxy.logged({ path: `/${protocol}` }), { response_code_details: 'upgrade_failed', response_flags: '-' })
  }
  t.equal(upstream.exchanges.filter((e) => e.request.target === '/foo').length, 0)
})

t.test('the name of the protocol is compared without case', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', headers: { Connection: 'upgrade', Upgrade: 'WebSocket' } })
  const exchange = await upstream.next()
  t.equal(header(exchange.request, 'upgrade'), 'WebSocket')
  await exchange.switchProtocols('WebSocket')
  t.equal((await client.responseHead()).status, 101)
})

t.test('Upgrade without `Connection: upgrade` means nothing', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', headers: { Upgrade: 'websocket' } })
  const exchange = await upstream.next()
  t.equal(header(exchange.request, 'upgrade'), undefined)
  await exchange.answer({ body: 'plain' })
  t.equal((await client.response()).status, 200)
})

t.test('an upstream that answers 200 to an Upgrade is heard, and the connection goes on', async (t) => {
  const { client, exchange } = await open(t)
  await exchange.answer({ body: 'no sockets here' })
  const answer = await client.response()
  t.equal(answer.status, 200)
  t.equal(answer.body.toString(), 'no sockets here')
  await client.send({ host: 'web', target: '/next' })
  await (await upstream.next()).answer({ body: 'next' })
  t.equal((await client.response()).body.toString(), 'next')
})

t.test('a 101 that nobody asked for: 502 UPE', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'web', target: '/unasked' })
  await (await upstream.next()).write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nxx')
  t.equal((await client.response()).status, 502)
  t.match(await proxy.logged({ path: '/unasked' }), { response_flags: 'UPE' })
})
