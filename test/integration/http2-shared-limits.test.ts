// connectionPool limits over HTTP/2 with two workers: a limit of N is N for the process, nobody starves, and what a dead worker held comes back.
import t from 'tap'
import { eventually, pause } from '../support/eventually.ts'
import { Http2Client } from '../support/http2-client.ts'
import { type Http2Exchange, Http2Server } from '../support/http2-server.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

t.setTimeout(120_000)

/** The kernel spreads them over the workers; that all end at one happens once in millions of times. */
const CLIENTS = 24

const start = (t: Teardown, upstream: { address: string }, connectionPool: object, protocol: 'HTTP' | 'HTTP2' = 'HTTP2') =>
  startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream], protocol }),
      destinationRule('web', 'web', { trafficPolicy: { connectionPool } }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 0 } }]),
    ),
    bootstrap: { concurrency: 2 },
  })

const connectAll = (t: Teardown, proxy: HeddleProcess) =>
  Promise.all(Array.from({ length: CLIENTS }, () => Http2Client.connect(t, proxy.port())))

t.test('http2MaxRequests: so many streams at the upstream at once, all others are answered 503', async (t) => {
  const LIMIT = 7
  const upstream = await Http2Server.start(t)
  upstream.handler = null
  const proxy = await start(t, upstream, { http: { http2MaxRequests: LIMIT } })
  const clients = await connectAll(t, proxy)
  for (let round = 0; round < 3; round++) {
    const begun = upstream.exchanges.length
    const asked = clients.flatMap((c) => [c.ask({ host: 'web' }), c.ask({ host: 'web' })])
    await eventually('the limit at the upstream', () => upstream.exchanges.length === begun + LIMIT)
    const early = await Promise.race([
      Promise.all(asked.map((a) => a.then(() => 1))).then(() => 'all'),
      eventually('the rest to be refused', async () => refusedBy(proxy, (round + 1) * (CLIENTS * 2 - LIMIT))).then(
        () => 'refused',
      ),
    ])
    t.equal(early, 'refused')
    for (const e of upstream.exchanges.slice(begun)) e.answer()
    const statuses = (await Promise.all(asked)).map((r) => r.status)
    t.equal(statuses.filter((s) => s === 200).length, LIMIT, `round ${round}`)
  }
  t.equal(upstream.exchanges.length, 3 * LIMIT, 'none of those refused was seen')
})

const refusedBy = async (proxy: HeddleProcess, count: number): Promise<boolean> =>
  (await proxy.metrics()).value('istio_requests_total', { response_code: '503', response_flags: 'UO' }) === count

t.test('maxConnections of one: two workers take turns, and there are never two connections', async (t) => {
  const upstream = await Http2Server.start(t)
  /** Requests that are not answered, by connection. */
  const open = new Map<number, number>()
  let together = 0
  upstream.handler = async (e) => {
    if ([...open].some(([connection, n]) => connection !== e.connection && n > 0)) together++
    open.set(e.connection, (open.get(e.connection) ?? 0) + 1)
    // Of different lengths, so that no connection is ever without a request.
    await pause(2 + ((upstream.exchanges.length * 7) % 40))
    e.answer()
    open.set(e.connection, (open.get(e.connection) ?? 0) - 1)
  }
  const proxy = await start(t, upstream, { tcp: { maxConnections: 1 } })
  const clients = await connectAll(t, proxy)
  // Each asks all the time.
  const until = performance.now() + 4000
  const answered = clients.map(() => 0)
  await Promise.all(
    clients.map(async (client, i) => {
      while (performance.now() < until) {
        const reply = await client.ask({ host: 'web', target: `/${i}` }, 20_000)
        if (reply.status === 200 && reply.body.toString() === `/${i}`) answered[i]!++
      }
    }),
  )
  t.ok(Math.min(...answered) * 4 > Math.max(...answered), `none far less than others: ${answered.join(' ')}`)
  t.ok(upstream.connections.length > 1, 'the place went from one worker to the other')
  t.equal(together, 0, 'no request came on one connection while another had any')
})

t.test('a long stream keeps its connection, and its worker goes on', async (t) => {
  const upstream = await Http2Server.start(t)
  const held: Http2Exchange[] = []
  upstream.handler = (e) => (e.path === '/long' ? held.push(e) : e.answer())
  const proxy = await start(t, upstream, { tcp: { maxConnections: 1 } })
  const clients = await connectAll(t, proxy)
  const long = (clients[0] as Http2Client).ask({ host: 'web', target: '/long' }, 60_000)
  await eventually('the long one', () => held.length === 1)
  let done = 0
  const rest = clients.slice(1).map((c) => c.ask({ host: 'web', target: '/short' }, 60_000).then(() => done++))
  await eventually('those of the same worker', () => done > 0)
  const before = done
  // Those of the other worker wait as long as it lasts.
  held[0]?.answer()
  t.equal((await long).status, 200)
  await Promise.all(rest)
  t.equal(done, CLIENTS - 1, `${before} of them at once`)
})

t.test('of two versions of HTTP to one endpoint none starves the other', async (t) => {
  const upstream = await Http2Server.start(t)
  // It takes both: Node's own choice by the first bytes is not to be had without TLS.
  const both = await bothVersions(t, upstream)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [both] }),
      destinationRule('web', 'web', {
        trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 }, http: { useClientProtocol: true } } },
      }),
    ),
    bootstrap: { concurrency: 1 },
  })
  const one = await RawClient.connect(t, proxy.port())
  const two = await Http2Client.connect(t, proxy.port())
  for (let i = 0; i < 5; i++) {
    t.equal((await one.ask({ host: 'web' })).body.toString(), 'HTTP/1')
    t.equal((await two.ask({ host: 'web', target: '/two' })).body.toString(), '/two')
  }
})

async function bothVersions(t: Teardown, upstream: Http2Server): Promise<{ address: string }> {
  const net = await import('node:net')
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (first) => {
      if (!first.toString('latin1').startsWith('PRI')) {
        const answer = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nHTTP/1')
        socket.on('data', answer)
        answer()
        return
      }
      const to = net.connect(upstream.port, '127.0.0.1')
      to.on('error', () => {})
      to.write(first)
      socket.pipe(to).pipe(socket)
    })
    t.teardown(() => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { address: `127.0.0.1:${(server.address() as { port: number }).port}` }
}
