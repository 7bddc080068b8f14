// Circuit-breaker limits hold for the process, not for each worker: with two workers a limit of N is N.
import type { Test } from 'tap'
import t from 'tap'
import { type AnyClient, connectAny } from '../support/any-client.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import { HTTP1_ONLY, HTTP1_UPSTREAM_ONLY } from '../support/versions.ts'

const CLIENTS = 24

const start = async (t: Teardown, upstream: Upstream | { address: string }, connectionPool: object, bootstrap: object = {}) =>
  startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      destinationRule('web', 'web', { trafficPolicy: { connectionPool } }),
    ),
    bootstrap: { concurrency: 2, ...bootstrap },
  })

/** The kernel spreads them over the workers; that all end at one happens once in millions of times. */
const connectAll = (t: Teardown, proxy: HeddleProcess) =>
  Promise.all(Array.from({ length: CLIENTS }, () => connectAny(t, proxy.port())))

async function isRefused(t: Pick<Test, 'equal'>, client: AnyClient, id: string, proxy: HeddleProcess): Promise<void> {
  const response = await client.response()
  t.equal(response.status, 503)
  t.equal(header(response, 'x-envoy-overloaded'), 'true')
  t.equal((await proxy.logged({ request_id: id }))['response_flags'], 'UO')
}

const answered = (clients: readonly AnyClient[]) => clients.filter((c) => c.responses.length > 0)

t.test('http2MaxRequests: so many requests at the upstream at once, all others are answered 503 UO', async (t) => {
  const LIMIT = 5
  const upstream = await Upstream.start(t)
  const proxy = await start(t, upstream, { http: { http2MaxRequests: LIMIT } })
  const clients = await connectAll(t, proxy)
  for (let round = 0; round < 3; round++) {
    const begun = upstream.exchanges.length
    const before = clients.map((c) => c.responses.length)
    const ids = clients.map((_, i) => `max-requests-${round}-${i}`)
    await Promise.all(clients.map((c, i) => c.send({ host: 'web', headers: { 'x-request-id': ids[i]! } })))
    const refused = () => clients.filter((c, i) => c.responses.length > before[i]!)
    await eventually('all to be decided', () => refused().length === CLIENTS - LIMIT)
    await eventually('the rest at the upstream', () => upstream.exchanges.length === begun + LIMIT)
    for (const client of refused()) await isRefused(t, client, ids[clients.indexOf(client)]!, proxy)
    const waiting = clients.filter((c, i) => c.responses.length === before[i])
    t.equal(waiting.length, LIMIT, `round ${round}`)
    for (const exchange of upstream.exchanges.slice(begun)) await exchange.answer()
    for (const client of waiting) t.equal((await client.response()).status, 200)
  }
  t.equal(upstream.exchanges.length, 3 * LIMIT, 'none of those refused was seen')
  const metrics = await proxy.metrics()
  t.equal(
    metrics.value('istio_requests_total', { response_code: '503', response_flags: 'UO' }),
    3 * (CLIENTS - LIMIT),
    'each is counted',
  )
})

t.test(
  'maxConnections: further requests wait, and http1MaxPendingRequests of them in all workers together',
  { skip: HTTP1_UPSTREAM_ONLY },
  async (t) => {
    const [CONNECTIONS, PENDING] = [4, 6]
    const upstream = await Upstream.start(t)
    const proxy = await start(t, upstream, {
      tcp: { maxConnections: CONNECTIONS },
      http: { http1MaxPendingRequests: PENDING },
    })
    const clients = await connectAll(t, proxy)
    // One after another, so that all connections are there before anybody has to wait.
    const ids = clients.map((_, i) => `max-connections-${i}`)
    for (const [i, client] of clients.entries()) {
      await client.send({ host: 'web', headers: { 'x-request-id': ids[i]! } })
      const isDecided = async () => upstream.exchanges.length + answered(clients).length + (await pending(proxy)) === i + 1
      await eventually('it to be carried, to wait or to be refused', isDecided)
    }
    t.equal(upstream.exchanges.length, CONNECTIONS)
    t.equal(upstream.openConnections, CONNECTIONS)
    t.equal(await pending(proxy), PENDING)
    t.equal(answered(clients).length, CLIENTS - CONNECTIONS - PENDING)
    for (const client of answered(clients)) await isRefused(t, client, ids[clients.indexOf(client)]!, proxy)
    // Each connection that is free takes one that waits in its worker.
    const waiting = clients.filter((c) => c.responses.length === 0)
    for (const _ of waiting) {
      const exchange = await upstream.next()
      t.ok(upstream.openConnections <= CONNECTIONS, `${upstream.openConnections} connections`)
      await exchange.answer()
    }
    for (const client of waiting) t.equal((await client.response()).status, 200)
    t.equal(await pending(proxy), 0)
  },
)

const pending = async (proxy: HeddleProcess) =>
  (await proxy.metrics()).value('envoy_cluster_upstream_rq_pending_active', {
    cluster_name: 'outbound|80||web.default.svc.cluster.local',
  }) ?? 0

t.test('limits.maxConnections: so many downstream connections of the process', { skip: HTTP1_ONLY }, async (t) => {
  const LIMIT = 7 // no multiple of the workers
  const upstream = await Upstream.start(t, (exchange) => exchange.answer())
  const proxy = await start(t, upstream, {}, { limits: { maxConnections: LIMIT } })
  const clients = await connectAll(t, proxy)
  const closed = () => clients.filter((c) => c.closedBy !== null).length
  await eventually('those beyond the limit to be closed', () => closed() >= CLIENTS - LIMIT)
  const alive = clients.filter((c) => c.closedBy === null)
  for (const client of alive) t.equal((await client.ask({ host: 'web' })).status, 200)
  t.equal(alive.length, LIMIT)
  t.equal((await proxy.metrics()).value('heddle_connections_cut_total', { reason: 'max_connections' }), CLIENTS - LIMIT)
  // Three go, three may come, at whichever worker.
  for (const client of alive.slice(0, 3)) client.destroy()
  const isServed = async () => {
    const client = await connectAny(t, proxy.port())
    return client.ask({ host: 'web' }).then(
      (r) => r.status === 200,
      () => false,
    )
  }
  for (let i = 0; i < 3; i++) await eventually('room for another', isServed)
  t.equal(await isServed(), false, 'and not for one more')
})
