// CONNECT (RFC 9110 §9.3.6): a tunnel to a configured service where the listener allows it, and nowhere else.
import t from 'tap'
import { refusingPort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'

let db: Upstream
let stranger: Upstream
let proxy: HeddleProcess

t.before(async () => {
  db = await Upstream.start(t, { raw: true })
  stranger = await Upstream.start(t, { raw: true })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'db', port: 5432, endpoints: [db] }),
      service({ host: 'down', port: 5432, endpoints: [{ address: `127.0.0.1:${await refusingPort()}` }] }),
      service({ host: 'empty', port: 5432, endpoints: [] }),
      service({ host: 'fixed', port: 5432, endpoints: [db] }),
      virtualService('fixed', ['fixed'], [{ directResponse: { status: 200 } }]),
    ),
    listeners: [
      { name: 'open', connect: 'tunnel' },
      { name: 'through', connect: 'tunnel', destination: stranger.address },
      { name: 'closed' },
    ],
  })
})

t.beforeEach(() => {
  db.startAfresh()
  stranger.startAfresh()
})

const connect = async (t: Teardown, target: string, listener = 'open') => {
  const client = await RawClient.connect(t, proxy.port(listener))
  await client.send({ method: 'CONNECT', target, host: target })
  return client
}

t.test('the service that the authority names is connected, and bytes go both ways', async (t) => {
  const client = await connect(t, 'db:5432')
  const side = await db.nextConnection()
  const answer = await client.responseHead()
  t.equal(answer.status, 200)
  t.equal(header(answer, 'content-length'), undefined, 'RFC 9110 §9.3.6: no framing fields')
  t.equal(header(answer, 'transfer-encoding'), undefined)
  t.equal(header(answer, 'connection'), undefined)
  await client.write('select 1')
  t.equal((await side.untilReceived(8)).toString(), 'select 1', 'the endpoint sees the bytes and no HTTP')
  await side.write('one row')
  t.equal((await client.untilTunnelled(7)).toString(), 'one row')
  side.end()
  client.end()
  t.equal(await client.closed(), 'end')
  const line = await proxy.logged({ method: 'CONNECT', authority: 'db:5432', bytes_sent: 7 })
  t.match(line, { response_code: 200, bytes_received: 8, upstream_host: db.address, response_flags: '-' })
})

t.test('what was sent along with the CONNECT arrives first', async (t) => {
  const client = await RawClient.connect(t, proxy.port('open'))
  client.expectMethod('CONNECT')
  const early = 'x'.repeat(200_000)
  await client.write(`CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n${early}`)
  const side = await db.nextConnection()
  await side.untilReceived(early.length)
  await client.write('more')
  t.equal((await side.untilReceived(early.length + 4)).toString(), `${early}more`)
})

t.test('each direction ends by itself', async (t) => {
  await t.test('the client ends first', async (t) => {
    const client = await connect(t, 'db:5432')
    const side = await db.nextConnection()
    await client.responseHead()
    await client.write('question')
    client.end()
    t.equal(await side.closed(), 'end')
    t.equal(side.text, 'question')
    await side.write('answer')
    side.end()
    await client.closed()
    t.equal(client.tunnel.bytes.toString(), 'answer')
  })
  await t.test('the endpoint ends first', async (t) => {
    const client = await connect(t, 'db:5432')
    const side = await db.nextConnection()
    await client.responseHead()
    await side.write('bye')
    side.end()
    t.equal(await client.closed(), 'end')
    await client.write('still talking')
    client.end()
    await side.closed()
    t.equal(side.text, 'still talking')
  })
  await t.test('a reset ends both', async (t) => {
    const client = await connect(t, 'db:5432')
    const side = await db.nextConnection()
    await client.responseHead()
    side.reset()
    await client.closed()
    const other = await connect(t, 'db:5432')
    const otherSide = await db.nextConnection()
    await other.responseHead()
    other.reset()
    await otherSide.closed()
    t.pass('closed on both sides')
  })
})

t.test('bytes that a slow endpoint has not taken when the client ends still arrive', async (t) => {
  const client = await connect(t, 'db:5432')
  const side = await db.nextConnection()
  await client.responseHead()
  side.pause()
  side.end()
  await client.closed()
  const bytes = Buffer.alloc(12 * 1024 * 1024, 'abcdefghijklmnop')
  const written = client.write(bytes)
  client.end()
  side.resume()
  await written
  await side.closed(20_000)
  t.equal(side.received.length, bytes.length)
  t.ok(side.received.equals(bytes))
})

t.test('an endpoint that refuses: 503 UF', async (t) => {
  const answer = await askOnce(t, proxy.port('open'), { method: 'CONNECT', target: 'down:5432', host: 'down:5432' })
  t.equal(answer.status, 503)
  t.match(answer.body.toString(), /reset reason: remote connection failure$/)
  const line = await proxy.logged({ method: 'CONNECT', authority: 'down:5432' })
  t.match(line, {
    response_code: 503,
    response_flags: 'UF',
    response_code_details:
      'upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}',
  })
})

t.test('a service without endpoints: 503 UH', async (t) => {
  const answer = await askOnce(t, proxy.port('open'), { method: 'CONNECT', target: 'empty:5432', host: 'empty:5432' })
  t.equal(answer.status, 503)
  t.equal(answer.body.toString(), 'no healthy upstream')
})

t.test('what was sent along with a CONNECT that fails is not read as a request', async (t) => {
  const client = await RawClient.connect(t, proxy.port('open'))
  client.expectMethod('CONNECT')
  await client.write('CONNECT down:5432 HTTP/1.1\r\nHost: down:5432\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: fixed:5432\r\n\r\n')
  const answer = await client.response()
  t.equal(answer.status, 503)
  t.equal(header(answer, 'connection'), 'close')
  t.equal(await client.closed(), 'end')
  t.equal(client.responses.length, 1)
})

t.test('what is no configured service is not reached', async (t) => {
  const before = db.connections.length
  const rows: readonly [listener: string, target: string, status: number][] = [
    ['open', stranger.address, 404],
    ['open', 'unknown.example:443', 404],
    ['open', 'db:1', 404],
    ['open', 'db', 400],
    ['open', 'fixed:5432', 404],
    ['through', stranger.address, 404],
    ['through', 'unknown.example:443', 404],
    // A port that has routes: here an unknown host would be passed through to the listener's destination.
    ['through', 'unknown.example:5432', 404],
    ['open', 'unknown.example:5432', 404],
    ['closed', 'db:5432', 404],
  ]
  for (const [listener, target, status] of rows) {
    const answer = await askOnce(t, proxy.port(listener), { method: 'CONNECT', target, host: target })
    t.equal(answer.status, status, `${listener}: CONNECT ${target}`)
    t.equal(header(answer, 'connection'), 'close')
  }
  t.equal(stranger.connections.length, 0)
  t.equal(db.connections.length, before)
})
