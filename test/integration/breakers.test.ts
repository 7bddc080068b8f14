// Circuit breakers with two workers (connectionPool of a DestinationRule): a limit is one of the process, a request that waits for a place is
// answered whichever worker has it, and what is refused is refused in the documented way.
import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import t from 'tap'
import type { WorkerView } from '../../lib/server/messages.ts'
import { type AnyClient, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually, pause } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { type InProcess, startInProcess } from '../support/in-process.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import { HTTP1_UPSTREAM_ONLY, ONCE, UPSTREAM } from '../support/versions.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

const CLUSTER = { cluster_name: 'outbound|80||web.default.svc.cluster.local' }

const ON_LINUX = { skip: process.platform === 'linux' ? (false as const) : 'reads /proc' }

/** A signal takes a moment to reach every thread. */
function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).every((id) => / T /.test(readFileSync(`${tasks}/${id}/stat`, 'latin1').replace(/^.*\)/s, '')))
}

/** Answers every request after a moment, and knows how many connections it had at once. */
class Counting {
  readonly server: net.Server
  readonly sockets: Set<net.Socket>
  open: number
  most: number
  total: number
  /** Requests at once, and the most of them. */
  busy: number
  busiest: number
  /** Of each connection, its requests. */
  readonly requests: number[]
  private readonly delayMs: number

  constructor(delayMs: number) {
    this.delayMs = delayMs
    this.sockets = new Set()
    this.open = 0
    this.most = 0
    this.total = 0
    this.busy = 0
    this.busiest = 0
    this.requests = []
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.accept(socket))
  }

  static async start(t: Teardown, delayMs: number): Promise<Counting> {
    const upstream = new Counting(delayMs)
    t.teardown(() => upstream.stop())
    await new Promise<void>((resolve) => upstream.server.listen(0, '127.0.0.1', resolve))
    return upstream
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as net.AddressInfo).port}`
  }

  private async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve))
    for (const s of this.sockets) s.destroy()
    await closed
  }

  private accept(socket: net.Socket): void {
    const nth = this.total++
    this.requests[nth] = 0
    this.sockets.add(socket)
    this.open++
    this.most = Math.max(this.most, this.open)
    let there = true
    const gone = () => {
      if (there) this.open--
      there = false
    }
    socket.on('error', () => {})
    socket.on('close', () => {
      gone()
      this.sockets.delete(socket)
    })
    // The other side has closed: from here on the connection is none any more.
    socket.on('end', () => {
      gone()
      socket.end()
    })
    let text = ''
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
      if (!text.endsWith('\r\n\r\n')) return
      text = ''
      this.requests[nth]!++
      this.busiest = Math.max(this.busiest, ++this.busy)
      setTimeout(() => {
        this.busy--
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      }, this.delayMs)
    })
  }
}

const resources = (upstreams: readonly { readonly address: string }[], connectionPool: object, more: object = {}) =>
  yaml(
    service({ host: 'web', endpoints: upstreams }),
    destinationRule('web', 'web', { trafficPolicy: { connectionPool, ...more } }),
    virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 0 } }]),
  )

const viewsOf = async (proxy: InProcess) => (await proxy.supervisor.pool.ask({ type: 'inspect' })) as WorkerView[]

/** Clients of both workers, `each` at least of either, and not equally many. */
async function clientsOfBoth(t: Teardown, proxy: InProcess, each: number): Promise<AnyClient[]> {
  const clients: AnyClient[] = []
  for (;;) {
    const counts = (await viewsOf(proxy)).map((v) => v.downstreamConnections)
    const sum = counts.reduce((n, c) => n + c, 0)
    if (sum === clients.length) {
      if (counts.every((n) => n >= each) && counts[0] !== counts[1]) return clients
      clients.push(await connectAny(t, proxy.port))
    }
  }
}

/** The clients of either worker. Which one a client has shows by whose count of requests grows. */
async function byWorker(proxy: InProcess, clients: readonly AnyClient[]): Promise<AnyClient[][]> {
  const requests = async () =>
    new Map(
      (await viewsOf(proxy)).map((v) => [
        v.downstreamConnections,
        v.clusters.flatMap((c) => c.hosts).reduce((n, h) => n + h.requestsTotal, 0),
      ]),
    )
  const found = new Map<number, AnyClient[]>()
  for (const client of clients) {
    const before = await requests()
    await client.ask({ host: 'web' })
    for (const [worker, count] of await requests())
      if (count !== before.get(worker)) found.set(worker, [...(found.get(worker) ?? []), client])
  }
  return [...found.values()]
}

/** Every client asks so often, one request after the other. Statuses. */
async function askAll(clients: readonly AnyClient[], times: number): Promise<number[]> {
  const statuses: number[] = []
  await Promise.all(
    clients.map(async (client) => {
      for (let i = 0; i < times; i++) statuses.push((await client.ask({ host: 'web', target: `/${i}` }, 60_000)).status)
    }),
  )
  return statuses
}

t.test(
  'maxConnections 1: never two at once, and every request of both workers is answered',
  { skip: HTTP1_UPSTREAM_ONLY },
  async (t) => {
    const upstream = await Counting.start(t, 3)
    const proxy = await startInProcess(t, resources([upstream], { tcp: { maxConnections: 1 } }))
    const clients = await clientsOfBoth(t, proxy, 3)
    const statuses = await askAll(clients, 15)
    t.equal(statuses.length, clients.length * 15)
    t.ok(statuses.every((s) => s === 200))
    t.equal(upstream.most, 1)
    t.ok(upstream.total > 1, 'the workers took turns')
  },
)

t.test('an idle connection is given up for the other worker', { skip: HTTP1_UPSTREAM_ONLY }, async (t) => {
  const upstream = await Counting.start(t, 0)
  const proxy = await startInProcess(t, resources([upstream], { tcp: { maxConnections: 1 } }))
  const clients = await clientsOfBoth(t, proxy, 1)
  // One request at a time: each other worker finds the place taken by an idle connection.
  for (let round = 0; round < 3; round++) for (const client of clients) t.equal((await client.ask({ host: 'web' })).status, 200)
  t.equal(upstream.most, 1)
  t.ok(upstream.total > 1)
})

t.test('places that one worker does not use go to the other', { skip: HTTP1_UPSTREAM_ONLY }, async (t) => {
  const upstream = await Counting.start(t, 20)
  const proxy = await startInProcess(t, resources([upstream], { tcp: { maxConnections: 4 } }))
  const clients = await clientsOfBoth(t, proxy, 6)
  t.ok((await askAll(clients, 4)).every((s) => s === 200))
  t.equal(upstream.most, 4, 'all places are used, and no more')
  for (const some of await byWorker(proxy, clients)) {
    t.ok(some.length >= 6)
    // Whoever had the places, four of these requests are at the upstream at once before long.
    upstream.busiest = 0
    t.ok((await askAll(some, 12)).every((s) => s === 200))
    t.equal(upstream.most, 4)
    t.ok(upstream.busiest >= 3, `${upstream.busiest} at once`)
  }
})

t.test('several endpoints: each gets one connection, beyond the limit if need be', { skip: HTTP1_UPSTREAM_ONLY }, async (t) => {
  const upstreams = [await Counting.start(t, 3), await Counting.start(t, 3), await Counting.start(t, 3)]
  const proxy = await startInProcess(
    t,
    resources(upstreams, { tcp: { maxConnections: 1 } }, { loadBalancer: { simple: 'ROUND_ROBIN' } }),
  )
  const clients = await clientsOfBoth(t, proxy, 3)
  t.ok((await askAll(clients, 10)).every((s) => s === 200))
  t.same(
    upstreams.map((u) => u.most),
    [1, 1, 1],
  )
})

t.test('a worker that dies gives its places back', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startInProcess(t, resources([upstream], { tcp: { maxConnections: 1 }, http: { http2MaxRequests: 1 } }))
  const clients = await clientsOfBoth(t, proxy, 1)
  await clients[0]!.send({ host: 'web' })
  await upstream.next()
  // Which worker has it shows when it is dead.
  proxy.crash(0)
  await eventually('a crash', () => proxy.metrics().value('heddle_worker_restarts_total') === 1)
  await eventually('the replacement', () => proxy.supervisor.pool.serving === 2)
  if (clients[0]!.closedBy === null) {
    proxy.crash(1)
    await eventually('the other crash', () => proxy.metrics().value('heddle_worker_restarts_total') === 2)
    await eventually('the replacement', () => proxy.supervisor.pool.serving === 2)
  }
  const before = upstream.exchanges.length
  for (let i = 0; i < 6; i++) {
    const client = await connectAny(t, proxy.port)
    await client.send({ host: 'web' })
    await eventually('it', () => upstream.exchanges.length === before + i + 1)
    await upstream.exchanges.at(-1)!.answer()
    t.equal((await client.response()).status, 200)
  }
})

t.test(
  'ten at once, maxConnections 1 and http1MaxPendingRequests 1: one answer on a cold pool, two on a warm one',
  { skip: HTTP1_UPSTREAM_ONLY || ON_LINUX.skip },
  async (t) => {
    const upstream = await Upstream.start(t)
    const proxy = await startProxy(t, {
      resources: resources([upstream], { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 1 } }),
      bootstrap: { concurrency: 1 },
    })
    for (const [answers, prefix] of [
      [1, '/cold'],
      [2, '/warm'],
    ] as const) {
      const clients = await Promise.all(Array.from({ length: 10 }, () => connectAny(t, proxy.port())))
      await eventually(
        'all to be accepted',
        async () => (await proxy.metrics()).value('envoy_http_downstream_cx_active') === (prefix === '/cold' ? 10 : 20),
      )
      // All ten stand in their sockets when the first is read: no connection can be made in between.
      proxy.signal('SIGSTOP')
      await eventually('all threads to stand still', () => isStopped(proxy.pid))
      await Promise.all(clients.map((c, i) => c.send({ host: 'web', target: `${prefix}/${i}` })))
      proxy.signal('SIGCONT')
      const refused = () => clients.filter((c) => c.responses.length > 0)
      await eventually('the others to be refused', () => refused().length === 10 - answers)
      for (const client of refused()) {
        const response = await client.response()
        t.same([response.status, header(response, 'x-envoy-overloaded')], [503, 'true'])
        t.equal(response.body.toString(), 'upstream connect error or disconnect/reset before headers. reset reason: overflow')
      }
      for (let i = 0; i < answers; i++) await (await upstream.next()).answer()
      await eventually('all answers', () => refused().length === 10)
      await eventually(
        'all lines',
        () =>
          proxy.accessLog().filter((l) => String(l['path']).startsWith(prefix) && l['response_flags'] === 'UO').length ===
          10 - answers,
      )
    }
    const metrics = await proxy.metrics()
    t.equal(metrics.value('envoy_cluster_upstream_rq_pending_overflow', CLUSTER), 17)
    t.equal(metrics.value('heddle_requests_refused_total', { reason: 'overflow' }), 17)
  },
)

t.test('overflow is no failure of the endpoint', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: resources(
      [upstream],
      { http: { http2MaxRequests: 1 } },
      { outlierDetection: { consecutive5xxErrors: 1, consecutiveGatewayErrors: 1, interval: '100ms', maxEjectionPercent: 100 } },
    ),
  })
  const [busy, other] = [await connectAny(t, proxy.port()), await connectAny(t, proxy.port())]
  await busy.send({ host: 'web' })
  const held = await upstream.next()
  for (let i = 0; i < 5; i++) t.equal((await other.ask({ host: 'web' })).status, 503)
  await held.answer()
  await busy.response()
  // Beyond several sweeps: an ejection would be there by now.
  await pause(300)
  await other.send({ host: 'web' })
  await (await upstream.next()).answer()
  t.equal((await other.response()).status, 200)
  t.equal(upstream.exchanges.length, 2)
})

t.test('overflow to gRPC; a retry that its breaker refuses is no overload', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      destinationRule('web', 'web', { trafficPolicy: { connectionPool: { http: { http2MaxRequests: 2, maxRetries: 1 } } } }),
      virtualService(
        'web',
        ['web'],
        [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 1, retryOn: 'reset', backoff: '1ms' } }],
      ),
    ),
    bootstrap: { retries: 'exact' },
  })
  const [a, b, c] = (await connect(t, proxy, 3)) as [AnyClient, AnyClient, AnyClient]
  await a.send({ host: 'web', target: '/a' })
  const first = await upstream.next()
  await b.send({ host: 'web', target: '/b' })
  const second = await upstream.next()
  const refused = await c.ask({ host: 'web', target: '/c', method: 'POST', headers: { 'content-type': 'application/grpc' } })
  t.same([refused.status, header(refused, 'grpc-status'), header(refused, 'x-envoy-overloaded')], [200, '14', 'true'])
  // The first takes the only place for retries; the second gets none, and what happened to it stands.
  first.reset()
  await upstream.next()
  second.reset()
  const answer = await b.response()
  t.same([answer.status, header(answer, 'x-envoy-overloaded')], [503, undefined])
  t.match(await proxy.logged({ path: '/b' }), { response_flags: 'UC,UO' })
})

t.test('maxRetries: so many retries at once in both workers', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      destinationRule('web', 'web', { trafficPolicy: { connectionPool: { http: { maxRetries: 3 } } } }),
      virtualService(
        'web',
        ['web'],
        [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 1, retryOn: '5xx', backoff: '1ms' } }],
      ),
    ),
    bootstrap: { concurrency: 2, retries: 'exact' },
  })
  const clients = await Promise.all(Array.from({ length: 12 }, () => connectAny(t, proxy.port())))
  await Promise.all(clients.map((c, i) => c.send({ host: 'web', target: `/${i}` })))
  await eventually('first attempts', () => upstream.exchanges.length === 12)
  for (const exchange of upstream.exchanges.slice(0, 12)) await exchange.answer({ status: 503 })
  // The others have no place: what the upstream said stands.
  await eventually('nine answers', () => clients.filter((c) => c.responses.length > 0).length === 9)
  await eventually('three retries', () => upstream.exchanges.length === 15)
  for (const exchange of upstream.exchanges.slice(12)) await exchange.answer()
  const statuses = await Promise.all(clients.map(async (c) => (await c.response()).status))
  t.same([statuses.filter((s) => s === 200).length, statuses.filter((s) => s === 503).length], [3, 9])
  await eventually('lines', () => proxy.accessLog().filter((l) => l['response_flags'] === 'UO').length === 9)
  t.equal((await proxy.metrics()).value('envoy_cluster_upstream_rq_retry_overflow', CLUSTER), 9)
})

t.test('maxRequestsPerConnection 1: no connection is used twice', { skip: HTTP1_UPSTREAM_ONLY }, async (t) => {
  const upstream = await Counting.start(t, 0)
  const proxy = await startProxy(t, { resources: resources([upstream], { http: { maxRequestsPerConnection: 1 } }) })
  const clients = await connect(t, proxy, 8)
  t.ok((await askAll(clients, 5)).every((s) => s === 200))
  t.equal(upstream.total, 40)
  t.ok(upstream.requests.every((n) => n === 1))
})

t.test('maxConnectionDuration: an old connection carries nothing new, and an idle one ends', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, { resources: resources([upstream], { tcp: { maxConnectionDuration: '200ms' } }) })
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web' })
  const first = await upstream.next()
  // Older than that while it carries a request: that is answered.
  await pause(250)
  await first.answer()
  t.equal((await client.response()).status, 200)
  await eventually('the connection to end', () => first.connection.closedBy !== null)
  await client.send({ host: 'web' })
  const second = await upstream.next()
  t.not(second.connection, first.connection)
  await second.answer()
  t.equal((await client.response()).status, 200)
  await eventually('the connection to end', () => second.connection.closedBy !== null)
  t.equal((await proxy.metrics()).value('envoy_cluster_upstream_cx_max_duration_reached', CLUSTER), 2)
})

t.test('TCP: so many sessions at once in both workers, the others are closed: UO', { skip: ONCE }, async (t) => {
  const upstream = await Counting.start(t, 0)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'db', port: 5432, protocol: 'TCP', endpoints: [upstream] }),
      destinationRule('db', 'db', { trafficPolicy: { connectionPool: { tcp: { maxConnections: 3 } } } }),
    ),
    listeners: [{ name: 'db', protocol: 'tcp', destination: 'db.default.svc.cluster.local:5432' }],
  })
  const clients = await connect(t, proxy, 16, 'db')
  await eventually('thirteen to be closed', () => clients.filter((c) => c.closedBy !== null).length === 13)
  await eventually('lines', () => proxy.accessLog().filter((l) => l['response_flags'] === 'UO').length === 13)
  t.equal(upstream.most, 3)
})

t.test('tcpKeepalive: the system watches connections to the endpoint', ON_LINUX, async (t) => {
  const upstream = await EchoUpstream.start(t)
  /** The timer of our side of the connection: `00` none, `02` keepalive (proc(5), /proc/net/tcp). */
  const timer = () => {
    const port = upstream.port.toString(16).toUpperCase().padStart(4, '0')
    const rows = readFileSync('/proc/net/tcp', 'latin1')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
    // Established, the endpoint's port on the other side.
    return rows.filter((r) => r[2]?.endsWith(`:${port}`) && r[3] === '01').map((r) => r[5]?.slice(0, 2))
  }
  for (const [tcpKeepalive, wanted] of [
    [undefined, '00'],
    [{ time: '30s', interval: '5s', probes: 3 }, '02'],
  ] as const) {
    const proxy = await startProxy(t, {
      resources: resources([upstream], { tcp: tcpKeepalive === undefined ? {} : { tcpKeepalive } }),
    })
    const client = await connectAny(t, proxy.port())
    t.equal((await client.ask({ host: 'web' })).status, 200)
    // While the acknowledgement of the last byte is awaited, it is that timer which shows.
    await eventually(`timer ${wanted}`, () => timer().join() === wanted)
    await proxy.stop()
    await eventually('the connection to go', () => timer().length === 0)
  }
})

t.test('/clusters tells limits and what is in use', async (t) => {
  const upstream = await EchoUpstream.start(t)
  const proxy = await startProxy(t, {
    resources: resources([upstream], {
      tcp: { maxConnections: 7 },
      http: { http1MaxPendingRequests: 8, http2MaxRequests: 9, maxRetries: 2 },
    }),
  })
  const clients = await connect(t, proxy, 3)
  const asked = clients.map((c) => c.ask({ host: 'web', target: '/?delay-ms=400' }))
  const name = CLUSTER.cluster_name
  const lines = async () => (await proxy.admin('/clusters')).body.split('\n')
  await eventually('three in flight', async () => (await lines()).includes(`${name}::default_priority::requests::3`))
  const text = await lines()
  for (const line of ['max_connections::7', 'max_pending_requests::8', 'max_requests::9', 'max_retries::2'])
    t.ok(text.includes(`${name}::default_priority::${line}`), line)
  // Requests of one worker share a connection of HTTP/2.
  t.match(text.join('\n'), UPSTREAM === 'http2' ? /::connections::[12]\n/ : /::connections::3\n/)
  t.ok(text.includes(`${name}::default_priority::pending_requests::0`))
  t.ok(text.includes(`${name}::default_priority::retries::0`))
  await Promise.all(asked)
})

const connect = (t: Teardown, proxy: HeddleProcess, count: number, listener?: string) =>
  Promise.all(Array.from({ length: count }, () => connectAny(t, proxy.port(listener))))
