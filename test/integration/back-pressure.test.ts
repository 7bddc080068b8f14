// Streaming with back-pressure from end to end: what one side does not take, the other side does not get rid of.
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { flood } from '../support/flood.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

const MIB = 1024 * 1024
/** What two kernels' buffers on both hops and heddle's own may hold together. The kernel gives a connection that has been read quickly up to 32 MiB, so none is used again. */
const HELD = 32 * MIB
/** What is written if nobody stops the writer. */
const ALL = 40 * MIB
/** More than one hop's buffers and what the test takes for growth of memory hold together. */
const MIRRORED = 64 * MIB

const PIECE = Buffer.alloc(64 * 1024, 'p')
const CHUNK = Buffer.concat([Buffer.from(`${PIECE.length.toString(16)}\r\n`), PIECE, Buffer.from('\r\n')])

/** Each request has a connection of its own. */
const ONCE = { connectionPool: { http: { maxRequestsPerConnection: 1 } } }

let upstream: Upstream
let slow: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t)
  slow = await Upstream.start(t)
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'slow', endpoints: [slow] }),
      destinationRule('web', 'web', { trafficPolicy: ONCE }),
      destinationRule('slow', 'slow', { trafficPolicy: ONCE }),
      virtualService(
        'web',
        ['web'],
        [
          {
            match: [{ uri: { prefix: '/retried' } }],
            route: [{ destination: { host: 'web' } }],
            retries: { attempts: 3, retryOn: '5xx' },
          },
          {
            match: [{ uri: { prefix: '/mirrored' } }],
            route: [{ destination: { host: 'web' } }],
            mirror: { host: 'slow' },
            retries: { attempts: 0 },
          },
          { route: [{ destination: { host: 'web' } }], retries: { attempts: 0 } },
        ],
      ),
    ),
  })
})

t.beforeEach(() => {
  upstream.startAfresh()
  slow.startAfresh()
})

const rss = async () => (await proxy.metrics()).value('process_resident_memory_bytes') as number

t.test('the first chunk arrives before the body is complete, in both directions', async (t) => {
  const client = await connectAny(t, proxy.port())
  client.expectMethod('POST')
  await client.write('POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n')
  const exchange = await upstream.next()
  t.equal((await exchange.bodyBytes(5)).toString(), 'first')
  t.equal(exchange.request.complete, false)
  await exchange.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello')
  const response = await client.responseHead()
  await client.until('the first half', () => response.body.toString() === 'hello')
  t.equal(response.complete, false)
  await client.write('0\r\n\r\n')
  await exchange.body()
  await exchange.write('world')
  t.equal((await client.completed(response)).body.toString(), 'helloworld')
})

for (const framing of ['chunked', 'by length'] as const) {
  t.test(`a slow reader stops the upstream (${framing}), and gets every byte once it reads`, async (t) => {
    const client = await connectAny(t, proxy.port())
    await client.send({ host: 'web', target: '/big' })
    const exchange = await upstream.next()
    const before = await rss()
    const count = ALL / PIECE.length
    const head = framing === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${ALL}`
    await exchange.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`)
    await client.responseHead()
    client.pause()
    const piece = framing === 'chunked' ? CHUNK : PIECE
    const taken = await flood(exchange, piece, ALL)
    t.ok(taken < HELD, `the upstream could write ${taken} bytes`)
    t.ok((await rss()) - before < 32 * MIB, 'memory of the proxy')
    client.resume()
    // One piece was handed to the socket and has not been taken.
    const sent = Math.round(taken / piece.length) + 1
    for (let i = sent; i < count; i++) await exchange.write(piece)
    if (framing === 'chunked') await exchange.write('0\r\n\r\n')
    const response = await client.completed(client.responses[0] as never, 60_000)
    t.equal(response.body.length, ALL)
    client.destroy()
  })
}

for (const target of ['/plain', '/retried', '/mirrored']) {
  t.test(`a slow upstream stops the client: ${target}`, async (t) => {
    const client = await connectAny(t, proxy.port())
    client.expectMethod('POST')
    const before = await rss()
    await client.write(`POST ${target} HTTP/1.1\r\nHost: web\r\nContent-Length: ${ALL}\r\n\r\n`)
    const exchange = await upstream.next()
    exchange.pause()
    const taken = await flood(client, PIECE, ALL)
    t.ok(taken < HELD, `the client could write ${taken} bytes`)
    t.ok((await rss()) - before < 32 * MIB, 'memory of the proxy')
    exchange.resume()
    for (let i = taken / PIECE.length + 1; i < ALL / PIECE.length; i++) await client.write(PIECE)
    t.equal((await exchange.body(60_000)).length, ALL)
    await exchange.answer({ body: 'got it' })
    t.equal((await client.response()).body.toString(), 'got it')
    client.destroy()
  })
}

t.test('a mirror that does not read is given up; the request is not held up by it', async (t) => {
  const client = await connectAny(t, proxy.port())
  client.expectMethod('POST')
  await client.write(`POST /mirrored HTTP/1.1\r\nHost: web\r\nContent-Length: ${MIRRORED}\r\n\r\n`)
  const exchange = await upstream.next()
  const copy = await slow.next()
  copy.pause()
  const before = await rss()
  const taken = await flood(client, PIECE, MIRRORED)
  t.equal(taken, MIRRORED)
  t.equal((await exchange.body(60_000)).length, MIRRORED)
  t.ok((await rss()) - before < 48 * MIB, 'memory of the proxy')
  await exchange.answer({ body: 'done' })
  t.equal((await client.response()).status, 200)
})

t.test('one slow reader does not hold up another client of the same upstream', async (t) => {
  const stuck = await connectAny(t, proxy.port())
  await stuck.send({ host: 'web', target: '/stuck' })
  const first = await upstream.next()
  await first.write(`HTTP/1.1 200 OK\r\nContent-Length: ${ALL}\r\n\r\n`)
  await stuck.responseHead()
  stuck.pause()
  await flood(first, PIECE, ALL)
  const quick = await connectAny(t, proxy.port())
  await quick.send({ host: 'web', target: '/quick' })
  await (await upstream.next()).answer({ body: 'quick' })
  t.equal((await quick.response()).body.toString(), 'quick')
  stuck.destroy()
})
