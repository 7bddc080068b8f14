// Streams that stand still must not be in the way of others on the same connection: their bytes wait here, and what waits has its share of the connection's window
// and no more.
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { Http2Client } from '../support/http2-client.ts'
import { block, frame, PREFACE, settings, u32 } from '../support/http2-frames.ts'
import { Http2Server } from '../support/http2-server.ts'
import { Http2Wire, pseudo } from '../support/http2-wire.ts'
import { destinationRule, service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'

t.setTimeout(120_000)

const KIB = 1024
const BODY = Buffer.alloc(400 * KIB, 'x')

function start(t: Teardown, upstream: { address: string }, policy: object = {}): Promise<HeddleProcess> {
  return startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream], protocol: 'HTTP2' }),
      destinationRule('web', 'web', { trafficPolicy: policy }),
    ),
    bootstrap: { concurrency: 1, limits: { streamStallTimeout: '0s' } },
  })
}

/** Bodies that are larger than a stream's first window. */
function startLarge(t: Teardown): Promise<Http2Server> {
  return Http2Server.start(t, {
    settings: { maxConcurrentStreams: 1000 },
    handler: (e) => e.answer(200, e.path.startsWith('/large') ? BODY : 'small'),
  })
}

/** A client that asks for `count` bodies and takes nothing of them. */
async function standStill(t: Teardown, proxy: HeddleProcess, count: number): Promise<Http2Wire> {
  const wire = await Http2Wire.connect(t, proxy.port())
  await wire.write(Buffer.concat([PREFACE, settings([4, 0]), frame('SETTINGS', 1, 0)]))
  await wire.untilTold('SETTINGS ack')
  for (let i = 0; i < count; i++) await wire.write(frame('HEADERS', 5, 2 * i + 1, block(...pseudo('GET', `/large/${i}`, 'web'))))
  await wire.until('all answers to begin', () => wire.told().filter((s) => s.startsWith('HEADERS')).length === count)
  return wire
}

const connections = async (proxy: HeddleProcess) =>
  (await proxy.metrics()).value('envoy_cluster_upstream_cx_active', {
    cluster_name: 'outbound|80||web.default.svc.cluster.local',
  })

t.test('responses that nobody takes: other requests go on, on another connection', async (t) => {
  const upstream = await startLarge(t)
  const proxy = await start(t, upstream)
  const quick = await Http2Client.connect(t, proxy.port())
  t.equal((await quick.ask({ host: 'web' })).status, 200)
  t.equal(await connections(proxy), 1)
  // 90 first windows are 22.5 MiB.
  await standStill(t, proxy, 90)
  for (let i = 0; i < 20; i++) t.equal((await quick.ask({ host: 'web', target: `/${i}` })).status, 200)
  await eventually('a second connection', async () => (await connections(proxy)) === 2)
  t.equal((await quick.ask({ host: 'web', target: '/last' })).status, 200)
  t.equal(upstream.exchanges.at(-1)?.connection, 1)
  // What began on the first connection is not cut off from it: 8 MB that are taken.
  const all = await Promise.all(
    Array.from({ length: 20 }, (_, i) => quick.ask({ host: 'web', target: `/large/again/${i}` }, 20_000)),
  )
  t.same(new Set(all.map((a) => a.body.length)), new Set([BODY.length]))
  t.equal(await connections(proxy), 2)
})

t.test('where no other connection may be made, they go on beside those that stand still', async (t) => {
  const upstream = await startLarge(t)
  const proxy = await start(t, upstream, { connectionPool: { tcp: { maxConnections: 1 } } })
  await standStill(t, proxy, 90)
  const quick = await Http2Client.connect(t, proxy.port())
  for (let i = 0; i < 20; i++) t.equal((await quick.ask({ host: 'web', target: `/${i}` })).status, 200)
  t.equal(await connections(proxy), 1)
})

t.test('where another connection cannot be made, they go on beside those that stand still', async (t) => {
  const port = await freePort()
  const upstream = await Http2Server.start(t, {
    port,
    handler: (e) => e.answer(200, e.path.startsWith('/large') ? BODY : 'small'),
  })
  const proxy = await start(t, upstream)
  await standStill(t, proxy, 90)
  upstream.stopListening()
  const quick = await Http2Client.connect(t, proxy.port())
  for (let i = 0; i < 20; i++) t.equal((await quick.ask({ host: 'web', target: `/${i}` })).status, 200)
  t.equal(await connections(proxy), 1)
})

t.test('uploads that an upstream does not take do not hold up the others of their client', async (t) => {
  const upstream = await Http2Server.start(t, {
    settings: { maxConcurrentStreams: 1000 },
    handler: (e) => (e.path === '/taken' ? void e.whole(20_000).then((body) => e.answer(200, String(body.length))) : undefined),
  })
  const proxy = await start(t, upstream)
  const client = await Http2Client.connect(t, proxy.port())
  // All but one of the streams that a client may have: 25 MiB, until the client has no window left for any of them.
  for (let i = 0; i < 99; i++) client.call({ method: 'POST', host: 'web', target: '/left', body: BODY })
  await upstream.seen('/left')
  await eventually('all to have begun', () => upstream.exchanges.length === 99)
  const answer = await client.ask({ method: 'POST', host: 'web', target: '/taken', body: BODY }, 20_000)
  t.equal(answer.body.toString(), String(BODY.length))
  const other = await Http2Client.connect(t, proxy.port())
  t.equal((await other.ask({ method: 'POST', host: 'web', target: '/taken', body: 'x' }, 20_000)).body.toString(), '1')
})

t.test('a client that takes its time, then all: nothing is lost, and no window beyond what was announced', async (t) => {
  const upstream = await startLarge(t)
  const proxy = await start(t, upstream)
  const wire = await standStill(t, proxy, 8)
  await wire.write(
    Buffer.concat([
      frame('WINDOW_UPDATE', 0, 0, u32(2 ** 30)),
      ...Array.from({ length: 8 }, (_, i) => frame('WINDOW_UPDATE', 0, 2 * i + 1, u32(2 ** 20))),
    ]),
  )
  await wire.until('all bodies', () => wire.told().filter((s) => /^DATA .* end$/.test(s)).length === 8, 20_000)
  const bytes = wire.frames().reduce((n, f) => n + (f.type === 'DATA' ? f.payload.length : 0), 0)
  t.equal(bytes, 8 * BODY.length)
  t.same(
    wire.told().filter((s) => /RST_STREAM|GOAWAY/.test(s)),
    [],
  )
})
