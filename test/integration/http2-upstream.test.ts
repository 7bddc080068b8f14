// HTTP/2 towards upstreams: what is spoken to whom, how connections are shared, and what a request meets that an upstream turns down, resets or drops.
import { readdirSync, readFileSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { frame, frames } from '../support/http2-frames.ts'
import { Http2Server } from '../support/http2-server.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'

t.setTimeout(120_000)

const NEVER = { attempts: 0 }

interface Web {
  readonly upstream: { readonly address: string }
  readonly policy?: object
  readonly retries?: object
  readonly bootstrap?: object
  readonly protocol?: 'HTTP' | 'HTTP2' | 'GRPC' | 'TCP'
}

/** A proxy with one host, `web`, that speaks HTTP/2. */
function startWeb(
  t: Teardown,
  { upstream, policy = {}, retries = NEVER, bootstrap = {}, protocol = 'HTTP2' }: Web,
): Promise<HeddleProcess> {
  return startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream], protocol }),
      destinationRule('web', 'web', { trafficPolicy: policy }),
      virtualService('web', ['web'], [{ route: [{ destination: { host: 'web' } }], retries }]),
    ),
    bootstrap: { concurrency: 1, ...bootstrap },
  })
}

interface Reply {
  readonly status: number
  readonly headers: http2.IncomingHttpHeaders
  readonly body: Buffer
  readonly trailers: http2.IncomingHttpHeaders
  readonly interim: readonly number[]
  readonly reset: number
}

/** A client of HTTP/2, which is Node's. */
class Client {
  readonly session: http2.ClientHttp2Session

  constructor(t: Teardown, port: number) {
    this.session = http2.connect(`http://127.0.0.1:${port}`)
    this.session.on('error', () => {})
    t.teardown(() => this.session.destroy())
  }

  begin(path: string, headers: http2.OutgoingHttpHeaders = {}, endStream = true, waitForTrailers = false) {
    const stream = this.session.request({ ':path': path, ':authority': 'web', ...headers }, { endStream, waitForTrailers })
    stream.on('error', () => {})
    return stream
  }

  ask(path: string, headers: http2.OutgoingHttpHeaders = {}, body: Buffer | string | null = null): Promise<Reply> {
    const stream = this.begin(path, body === null ? headers : { ':method': 'POST', ...headers }, body === null)
    if (body !== null) stream.end(body)
    return replyOf(stream)
  }
}

function replyOf(stream: http2.ClientHttp2Stream): Promise<Reply> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    const interim: number[] = []
    let head: http2.IncomingHttpHeaders = {}
    let trailers: http2.IncomingHttpHeaders = {}
    stream.on('headers', (h) => interim.push(Number(h[':status'])))
    stream.on('response', (h) => {
      head = h
    })
    stream.on('trailers', (h) => {
      trailers = h
    })
    stream.on('data', (d: Buffer) => parts.push(d))
    stream.on('close', () => {
      const status = Number(head[':status'] ?? 0)
      resolve({ status, headers: head, body: Buffer.concat(parts), trailers, interim, reset: stream.rstCode ?? 0 })
    })
  })
}

const CLUSTER = { cluster_name: 'outbound|80||web.default.svc.cluster.local' }
const counted = async (proxy: HeddleProcess, name: string) =>
  (await proxy.metrics()).value(`envoy_cluster_upstream_${name}`, CLUSTER) ?? 0

// ---- what is spoken ----------------------------------------------------------------------------------------------------

t.test('what is declared of a port, and what a policy says, decides what its endpoints are spoken to', async (t) => {
  const h2 = await Http2Server.start(t)
  const h1 = await EchoUpstream.start(t)
  const upgrade = (h2UpgradePolicy: string) => ({ trafficPolicy: { connectionPool: { http: { h2UpgradePolicy } } } })
  const kubernetes = (name: string, upstream: { address: string }, port: object) => {
    const [address, number] = upstream.address.split(':')
    return [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace: 'default' },
        spec: { clusterIP: '10.9.9.9', ports: [{ port: 80, targetPort: Number(number), ...port }] },
      },
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        ports: [
          {
            port: Number(number),
            ...((port as { name?: string }).name === undefined ? {} : { name: (port as { name?: string }).name }),
          },
        ],
        endpoints: [{ addresses: [address] }],
      },
    ]
  }
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'declared-http2', endpoints: [h2], protocol: 'HTTP2' }),
      service({ host: 'declared-grpc', endpoints: [h2], protocol: 'GRPC' }),
      service({ host: 'declared-http', endpoints: [h1], protocol: 'HTTP' }),
      service({ host: 'upgraded', endpoints: [h2], protocol: 'HTTP' }),
      destinationRule('upgraded', 'upgraded', upgrade('UPGRADE')),
      service({ host: 'kept', endpoints: [h1], protocol: 'HTTP' }),
      destinationRule('kept', 'kept', upgrade('DO_NOT_UPGRADE')),
      service({ host: 'client', endpoints: [h1, h2], protocol: 'HTTP' }),
      destinationRule('client', 'client', {
        trafficPolicy: { connectionPool: { http: { useClientProtocol: true } } },
        subsets: [],
      }),
      ...kubernetes('named-http2', h2, { name: 'http2-web' }),
      ...kubernetes('named-grpc', h2, { name: 'grpc' }),
      ...kubernetes('named-http', h1, { name: 'http-web' }),
      ...kubernetes('app-h2c', h2, { name: 'web', appProtocol: 'kubernetes.io/h2c' }),
      ...kubernetes('unnamed-h1', h1, {}),
      ...kubernetes('unnamed-h2', h2, {}),
    ),
  })
  const one = await RawClient.connect(t, proxy.port())
  const two = new Client(t, proxy.port())
  /** What each version of client is answered; null: not asked, because its upstream would not understand it. */
  const cases: readonly (readonly [string, 'h1' | 'h2', boolean, boolean])[] = [
    ['declared-http2', 'h2', true, true],
    ['declared-grpc', 'h2', true, true],
    ['declared-http', 'h1', true, true],
    ['upgraded', 'h2', true, true],
    ['kept', 'h1', true, true],
    ['named-http2', 'h2', true, true],
    ['named-grpc', 'h2', true, true],
    ['named-http', 'h1', true, true],
    ['app-h2c', 'h2', true, true],
    ['unnamed-h1', 'h1', true, false],
    ['unnamed-h2', 'h2', false, true],
  ]
  for (const [host, spoken, byOne, byTwo] of cases) {
    const before = spoken === 'h2' ? () => h2.exchanges.length : () => h1.seen.length
    let n = before()
    if (byOne) {
      t.equal((await one.ask({ host, target: `/${host}/1` })).status, 200, `${host}, asked by HTTP/1.1`)
      t.equal(before(), ++n, `${host} is spoken to in ${spoken}`)
    }
    if (byTwo) {
      t.equal((await two.ask(`/${host}/2`, { ':authority': host })).status, 200, `${host}, asked by HTTP/2`)
      t.equal(before(), ++n, `${host} is spoken to in ${spoken}`)
    }
  }
  t.equal(h2.exchanges.find((e) => e.path === '/named-grpc/1')?.headers[':scheme'], 'http')
  t.equal(h2.exchanges.find((e) => e.path === '/named-grpc/1')?.headers[':authority'], 'named-grpc')
})

// ---- connections -------------------------------------------------------------------------------------------------------

t.test('one connection carries the requests of all clients at the same time', async (t) => {
  const upstream = await Http2Server.start(t)
  upstream.handler = null
  const proxy = await startWeb(t, { upstream })
  const first = new Client(t, proxy.port())
  const second = new Client(t, proxy.port())
  const old = await RawClient.connect(t, proxy.port())
  await old.send({ host: 'web', target: '/one' })
  const asked = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? first : second).ask(`/${i}`))
  await eventually('all at the upstream', () => upstream.exchanges.length === 41)
  t.equal(upstream.connections.length, 1)
  const page = JSON.parse((await proxy.admin('/clusters?format=json')).body) as {
    cluster_statuses: { name: string; host_statuses: { stats: { name: string; value?: string }[] }[] }[]
  }
  const stats = page.cluster_statuses.find((c) => c.name.includes('web'))?.host_statuses[0]?.stats ?? []
  const stat = (name: string) => Number(stats.find((s) => s.name === name)?.value ?? 0)
  t.same(
    [stat('cx_active'), stat('cx_http2'), stat('cx_idle'), stat('rq_active'), stat('rq_total')],
    [1, 1, 0, 41, 41],
    '/clusters',
  )
  // Answered from the last to the first: nothing is matched by order.
  for (const e of [...upstream.exchanges].reverse()) e.answer()
  for (const [i, reply] of (await Promise.all(asked)).entries()) t.equal(reply.body.toString(), `/${i}`)
  t.equal((await old.response()).body.toString(), '/one')
  t.equal(await counted(proxy, 'cx_http2_total'), 1)
  t.equal(await counted(proxy, 'cx_http1_total'), 0)
  t.equal(await counted(proxy, 'rq_active'), 0)
})

t.test('what is more than the upstream allows on a connection gets another one', async (t) => {
  const upstream = await Http2Server.start(t, { settings: { maxConcurrentStreams: 5 } })
  const proxy = await startWeb(t, { upstream })
  const client = new Client(t, proxy.port())
  t.equal((await client.ask('/first')).status, 200)
  upstream.handler = null
  const asked = Array.from({ length: 23 }, (_, i) => client.ask(`/${i}`))
  await eventually('all at the upstream', () => upstream.exchanges.length === 24)
  const loads = upstream.connections.map(
    (_, c) => upstream.exchanges.filter((e) => e.connection === c && e.path !== '/first').length,
  )
  t.same(
    loads,
    [5, 5, 5, 5, 3],
    'none was refused: what the first connection was told holds for the next ones from their beginning',
  )
  for (const e of upstream.exchanges) e.answer()
  t.same(new Set((await Promise.all(asked)).map((r) => r.status)), new Set([200]))
})

t.test('maxConcurrentStreams and maxConnections: the rest waits; http1MaxPendingRequests limits who waits', async (t) => {
  const upstream = await Http2Server.start(t)
  upstream.handler = null
  const proxy = await startWeb(t, {
    upstream,
    policy: { connectionPool: { tcp: { maxConnections: 2 }, http: { maxConcurrentStreams: 3, http1MaxPendingRequests: 4 } } },
  })
  const client = new Client(t, proxy.port())
  // A connection under way is counted for what it will carry; to fill both needs requests that do not come all at once.
  const running = [0, 1, 2].map((i) => client.ask(`/a${i}`))
  await eventually('three', () => upstream.exchanges.length === 3)
  running.push(...[0, 1, 2].map((i) => client.ask(`/b${i}`)))
  await eventually('six', () => upstream.exchanges.length === 6)
  running.push(...[0, 1, 2, 3].map((i) => client.ask(`/c${i}`)))
  await eventually('four wait', async () => (await counted(proxy, 'rq_pending_active')) === 4)
  const refused = await client.ask('/refused')
  t.equal(refused.status, 503)
  t.match(await proxy.logged({ path: '/refused' }), { response_flags: 'UO' })
  t.equal(upstream.exchanges.length, 6)
  t.equal(upstream.connections.length, 2)
  upstream.exchanges[1]?.answer()
  await eventually('one of those that waited', () => upstream.exchanges.length === 7)
  t.equal(upstream.exchanges[6]?.path, '/c0', 'who has waited longest')
  upstream.handler = (e) => e.answer()
  for (const e of upstream.exchanges) e.answer()
  t.same(new Set((await Promise.all(running)).map((r) => r.status)), new Set([200]))
})

t.test('http2MaxRequests', async (t) => {
  const upstream = await Http2Server.start(t)
  upstream.handler = null
  const proxy = await startWeb(t, { upstream, policy: { connectionPool: { http: { http2MaxRequests: 3 } } } })
  const client = new Client(t, proxy.port())
  const asked = [0, 1, 2].map((i) => client.ask(`/${i}`))
  await eventually('three', () => upstream.exchanges.length === 3)
  t.equal((await client.ask('/more')).status, 503)
  t.match(await proxy.logged({ path: '/more' }), { response_flags: 'UO' })
  for (const e of upstream.exchanges) e.answer()
  await Promise.all(asked)
  upstream.handler = (e) => e.answer()
  t.equal((await client.ask('/again')).status, 200)
})

t.test('maxRequestsPerConnection, maxConnectionDuration and idleTimeout lose no request', async (t) => {
  const upstream = await Http2Server.start(t)
  const two = await startWeb(t, { upstream, policy: { connectionPool: { http: { maxRequestsPerConnection: 10 } } } })
  const client = new Client(t, two.port())
  const replies = await Promise.all(Array.from({ length: 95 }, (_, i) => client.ask(`/${i}`)))
  t.same(new Set(replies.map((r) => r.status)), new Set([200]))
  const loads = upstream.connections.map((_, c) => upstream.exchanges.filter((e) => e.connection === c).length)
  t.same([Math.max(...loads), loads.reduce((a, b) => a + b)], [10, 95])
  await eventually('nine of them to have ended', () => upstream.openSockets === 1)
  t.equal(await counted(two, 'cx_max_requests'), 9)

  const old = await Http2Server.start(t)
  const aged = await startWeb(t, { upstream: old, policy: { connectionPool: { tcp: { maxConnectionDuration: '200ms' } } } })
  const asker = new Client(t, aged.port())
  old.handler = null
  const long = asker.ask('/long')
  const first = await old.seen('/long')
  await eventually('its connection to be too old', async () => (await counted(aged, 'cx_max_duration_reached')) === 1)
  old.handler = (e) => e.answer()
  t.equal((await asker.ask('/next')).status, 200)
  t.not((await old.seen('/next')).connection, first.connection)
  first.answer()
  t.equal((await long).body.toString(), '/long')
  await eventually('the old connection to have ended', () => first.stream.session === undefined || old.connections[0]?.destroyed)

  const idle = await Http2Server.start(t)
  const short = await startWeb(t, { upstream: idle, policy: { connectionPool: { http: { idleTimeout: '100ms' } } } })
  const patient = new Client(t, short.port())
  idle.handler = null
  const slow = patient.ask('/slow')
  const held = await idle.seen('/slow')
  // Two sweeps: it is not idle while it carries a request.
  await eventually('a second', async () => (await short.admin('/ready')).status === 200 && performance.now() - begun > 1500)
  held.answer()
  t.equal((await slow).status, 200)
  await eventually('the idle connection to end', () => idle.openSockets === 0)
  t.equal(await counted(short, 'cx_idle_timeout'), 1)
})
const begun = performance.now()

t.test('http2KeepAlive: a connection whose upstream is silent is given up, and its requests fail as UC', async (t) => {
  const sockets: net.Socket[] = []
  // Takes everything and says no more than its SETTINGS.
  const silent = net.createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.resume()
    socket.write(Buffer.from('000000040000000000', 'hex'))
  })
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    silent.close()
    for (const s of sockets) s.destroy()
  })
  const address = `127.0.0.1:${(silent.address() as net.AddressInfo).port}`
  const proxy = await startWeb(t, {
    upstream: { address },
    policy: { connectionPool: { http: { http2KeepAlive: { interval: '100ms', timeout: '100ms' } } } },
  })
  const client = new Client(t, proxy.port())
  t.equal((await client.ask('/lost')).status, 503)
  t.match(await proxy.logged({ path: '/lost' }), { response_flags: 'UC' })
})

t.test('connect failures and connect timeouts', async (t) => {
  const proxy = await startWeb(t, { upstream: { address: '127.0.0.1:1' } })
  const client = new Client(t, proxy.port())
  const replies = await Promise.all([0, 1, 2].map((i) => client.ask(`/${i}`)))
  t.same(
    replies.map((r) => r.status),
    [503, 503, 503],
  )
  t.match(await proxy.logged({ path: '/1' }), { response_flags: 'UF' })
  t.equal(await counted(proxy, 'cx_connect_fail'), 1, 'all that waited for one connection hear of it')
})

// ---- what upstreams do -------------------------------------------------------------------------------------------------

const { NGHTTP2_REFUSED_STREAM: REFUSED, NGHTTP2_INTERNAL_ERROR: INTERNAL, NGHTTP2_CANCEL: CANCEL } = http2.constants

t.test('REFUSED_STREAM: nothing was done, so that a POST may be repeated; other codes are not known to be so', async (t) => {
  const upstream = await Http2Server.start(t)
  const refusing = (code: number) => {
    const seen = new Set<string>()
    upstream.handler = async (e) => {
      if (seen.has(e.path)) return e.whole().then(() => e.answer(200, Buffer.concat([Buffer.from(`${e.path} `), e.body])))
      seen.add(e.path)
      e.stream.close(code)
    }
  }
  const proxy = await startWeb(t, { upstream, retries: { attempts: 2, retryOn: 'refused-stream,reset' } })
  const client = new Client(t, proxy.port())
  refusing(REFUSED)
  t.equal((await client.ask('/post-refused', {}, 'body')).body.toString(), '/post-refused body')
  t.match(await proxy.logged({ path: '/post-refused' }), { response_code: 200 })
  refusing(INTERNAL)
  const failed = await client.ask('/post-internal', {}, 'body')
  t.equal(failed.status, 503)
  t.equal(failed.body.toString(), 'upstream connect error or disconnect/reset before headers. reset reason: remote reset')
  t.match(await proxy.logged({ path: '/post-internal' }), { response_flags: 'UR' })
  t.equal((await client.ask('/get-internal')).body.toString(), '/get-internal ', 'a GET may be repeated whatever the code')
  t.equal(upstream.exchanges.filter((e) => e.path === '/post-internal').length, 1, 'never one too many')
  t.equal(upstream.connections.length, 1, 'a reset costs its stream only')
})

t.test(
  'GOAWAY: what stands above its last stream is repeated elsewhere, also a POST; what stands below is completed',
  async (t) => {
    const upstream = await Http2Server.start(t)
    upstream.handler = null
    const proxy = await startWeb(t, { upstream, retries: { attempts: 1, retryOn: 'refused-stream' } })
    const client = new Client(t, proxy.port())
    const below = client.ask('/below', {}, 'b')
    const kept = await upstream.seen('/below')
    const above = [0, 1, 2].map((i) => client.ask(`/above${i}`, {}, `${i}`))
    await upstream.seen('/above2')
    upstream.handler = async (e) => {
      await e.whole()
      e.answer(200, `${e.path} ${e.body}`)
    }
    upstream.connections[0]?.goaway(0, kept.stream.id as number)
    t.same(
      (await Promise.all(above)).map((r) => r.body.toString()),
      ['/above0 0', '/above1 1', '/above2 2'],
    )
    for (const i of [0, 1, 2]) t.equal(upstream.exchanges.filter((e) => e.path === `/above${i}` && e.connection === 1).length, 1)
    await kept.whole()
    kept.answer(200, 'kept')
    t.equal((await below).body.toString(), 'kept')
    t.match(await proxy.logged({ path: '/below' }), { response_code: 200 })
    t.equal(await counted(proxy, 'cx_close_notify'), 1)
  },
)

t.test('without a policy a GOAWAY above a request is told as a refusal', async (t) => {
  const upstream = await Http2Server.start(t)
  upstream.handler = null
  const proxy = await startWeb(t, { upstream })
  const client = new Client(t, proxy.port())
  const first = client.ask('/first')
  const kept = await upstream.seen('/first')
  const asked = client.ask('/turned-down')
  await upstream.seen('/turned-down')
  // Node takes 0 for the last stream that it has seen.
  upstream.connections[0]?.goaway(0, kept.stream.id as number)
  const reply = await asked
  t.equal(reply.status, 503)
  t.equal(
    reply.body.toString(),
    'upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset',
  )
  t.match(await proxy.logged({ path: '/turned-down' }), { response_flags: 'UR' })
  kept.answer()
  t.equal((await first).status, 200)
})

t.test('a connection that breaks under many requests: each is judged by itself', async (t) => {
  const upstream = await Http2Server.start(t)
  upstream.handler = null
  const proxy = await startWeb(t, { upstream, retries: { attempts: 1, retryOn: 'reset' } })
  const client = new Client(t, proxy.port())
  const gets = Array.from({ length: 10 }, (_, i) => client.ask(`/get${i}`))
  const posts = Array.from({ length: 10 }, (_, i) => client.ask(`/post${i}`, {}, 'x'))
  const begun = client.ask('/begun')
  await eventually('all', () => upstream.exchanges.length === 21)
  const { stream } = await upstream.seen('/begun')
  stream.respond({ ':status': 200 })
  stream.write('half')
  await eventually('the half', async () => (await counted(proxy, 'rq_2xx')) >= 0 && upstream.exchanges.length === 21)
  await new Promise((resolve) => stream.write('', resolve))
  upstream.handler = (e) => e.answer()
  upstream.cut()
  t.same(
    (await Promise.all(gets)).map((r) => r.body.toString()),
    gets.map((_, i) => `/get${i}`),
  )
  for (const [i, reply] of (await Promise.all(posts)).entries()) {
    t.equal(reply.status, 503)
    t.match(await proxy.logged({ path: `/post${i}` }), { response_flags: 'UC' })
  }
  t.not((await begun).reset, 0)
  for (let i = 0; i < 10; i++) t.equal(upstream.exchanges.filter((e) => e.path === `/post${i}`).length, 1)
})

/** An upstream that answers the first request with bytes as given, after its SETTINGS. */
async function rawUpstream(t: Teardown, answer: Buffer): Promise<{ address: string }> {
  const server = net.createServer((socket) => {
    let got = Buffer.alloc(0)
    let answered = false
    socket.on('error', () => {})
    socket.write(Buffer.from('000000040000000000', 'hex'))
    socket.on('data', (d) => {
      got = Buffer.concat([got, d])
      if (answered || !frames(got).some((f) => f.type === 'HEADERS')) return
      answered = true
      socket.write(answer)
    })
    t.teardown(() => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return { address: `127.0.0.1:${(server.address() as net.AddressInfo).port}` }
}

const OK = Buffer.from([0x88])
const literal = (name: string, value: string) =>
  Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)])

t.test('an upstream that breaks the protocol is answered for with 502', async (t) => {
  const cases: readonly (readonly [string, Buffer])[] = [
    ['bytes of HTTP/1.1', Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')],
    ['DATA before HEADERS', frame('DATA', 1, 1, Buffer.from('x'))],
    ['a header block that is no HPACK', frame('HEADERS', 5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))],
    ['an upper-case field', frame('HEADERS', 5, 1, Buffer.concat([OK, literal('X-Upper', 'a')]))],
    ['no status', frame('HEADERS', 5, 1, literal('a', 'b'))],
    ['a connection header', frame('HEADERS', 5, 1, Buffer.concat([OK, literal('connection', 'close')]))],
    ['101', frame('HEADERS', 4, 1, literal(':status', '101'))],
    ['PUSH_PROMISE', frame('PUSH_PROMISE', 4, 1, Buffer.concat([Buffer.from([0, 0, 0, 2]), OK]))],
    ['a response to nothing', frame('HEADERS', 5, 7, OK)],
    ['a length that is not kept', Buffer.concat([frame('HEADERS', 5, 1, Buffer.concat([OK, literal('content-length', '5')]))])],
    ['an interim response that ends', frame('HEADERS', 5, 1, literal(':status', '103'))],
    ['a frame that is too long', frame('DATA', 0, 1, Buffer.alloc(16385))],
    ['WINDOW_UPDATE of nothing', frame('WINDOW_UPDATE', 0, 0, Buffer.alloc(4))],
    [
      'trailers without an end',
      Buffer.concat([frame('HEADERS', 4, 1, literal(':status', '103')), frame('HEADERS', 5, 1, literal(':status', '42'))]),
    ],
  ]
  const hosts = cases.map((_, i) => `broken${i}`)
  const upstreams = await Promise.all(cases.map(([, bytes]) => rawUpstream(t, bytes)))
  const proxy = await startProxy(t, {
    resources: yaml(
      ...hosts.map((host, i) => service({ host, endpoints: [upstreams[i] as { address: string }], protocol: 'HTTP2' })),
      ...hosts.map((host) => virtualService(host, [host], [{ route: [{ destination: { host } }], retries: NEVER }])),
    ),
    bootstrap: { concurrency: 1 },
  })
  const client = await RawClient.connect(t, proxy.port())
  for (const [i, [what]] of cases.entries()) {
    const reply = await client.ask({ host: hosts[i] as string, target: `/broken${i}` })
    t.equal(reply.status, 502, what)
    t.match(await proxy.logged({ path: `/broken${i}` }), { response_flags: 'UPE' }, what)
  }
})

// ---- translation -------------------------------------------------------------------------------------------------------

t.test('HTTP/1.1 to HTTP/2', async (t) => {
  const upstream = await Http2Server.start(t)
  const proxy = await startWeb(t, { upstream })
  const client = await RawClient.connect(t, proxy.port())
  const ask = async (spec: Parameters<RawClient['send']>[0]) => {
    const message = await client.ask({ host: 'web:80', ...spec })
    return { message, exchange: upstream.exchanges.at(-1) as NonNullable<ReturnType<typeof upstream.exchanges.at>> }
  }
  {
    const { exchange } = await ask({
      target: '/a?b=c',
      headers: [
        ['Cookie', 'a=1'],
        ['Cookie', 'b=2'],
        ['TE', 'trailers, deflate'],
        ['Connection', 'x-mine, te'],
        ['X-Mine', 'gone'],
        ['Keep-Alive', 'timeout=5'],
        ['Proxy-Connection', 'keep-alive'],
        ['X-Mixed-Case', 'Value'],
        ['X-Twice', '1'],
        ['X-Twice', '2'],
      ],
    })
    const names = exchange.fields.map(([name]) => name)
    t.same(exchange.fields.filter(([name]) => name.startsWith(':')).sort(), [
      [':authority', 'web:80'],
      [':method', 'GET'],
      [':path', '/a?b=c'],
      [':scheme', 'http'],
    ])
    for (const gone of ['host', 'connection', 'x-mine', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])
      t.notOk(names.includes(gone), `no ${gone}`)
    t.equal(exchange.headers['cookie'], 'a=1; b=2')
    t.equal(exchange.headers['x-mixed-case'], 'Value')
    t.same(
      exchange.fields.filter(([name]) => name === 'x-twice').map(([, value]) => value),
      ['1', '2'],
    )
    t.ok(exchange.headers['te'] === undefined || exchange.headers['te'] === 'trailers')
  }
  {
    await client.write(
      'POST /chunked HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n3\r\nabc\r\n0\r\nX-T: yes\r\n\r\n',
    )
    t.equal((await client.response()).body.toString(), '/chunked')
    const exchange = await upstream.seen('/chunked')
    t.equal(exchange.body.toString(), 'abc')
    t.equal(exchange.headers['content-length'], undefined)
    t.equal(exchange.headers['transfer-encoding'], undefined)
    t.match(exchange.trailers, { 'x-t': 'yes' })
  }
  {
    const { exchange } = await ask({ method: 'POST', target: '/sized', body: 'four' })
    t.equal(exchange.headers['content-length'], '4')
    t.equal(exchange.body.toString(), 'four')
  }
  upstream.handler = async (e) => {
    e.stream.additionalHeaders({ ':status': 100 })
    await e.whole()
    e.answer()
  }
  await client.write('POST /expects HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n')
  await client.until('100', () => client.received.toString('latin1').includes('100 Continue'))
  await client.write('yes')
  t.equal((await client.response()).body.toString(), '/expects')
  t.equal((await upstream.seen('/expects')).headers['expect'], '100-continue')
})

t.test('HTTP/2 responses to clients of HTTP/1.1', async (t) => {
  const upstream = await Http2Server.start(t)
  const proxy = await startWeb(t, { upstream })
  const client = await RawClient.connect(t, proxy.port())
  const answers: Readonly<Record<string, (e: Parameters<NonNullable<typeof upstream.handler>>[0]) => void>> = {
    '/empty': (e) => e.stream.respond({ ':status': 200 }, { endStream: true }),
    '/open': (e) => {
      e.stream.respond({ ':status': 200 })
      e.stream.end('open')
    },
    '/sized': (e) => e.answer(200, 'sized', { 'content-length': 5 }),
    '/head': (e) => e.stream.respond({ ':status': 200, 'content-length': 77 }, { endStream: true }),
    '/head-late': (e) => {
      e.stream.respond({ ':status': 200, 'content-length': 77 }, { endStream: false })
      e.stream.end()
    },
    '/204': (e) => e.stream.respond({ ':status': 204 }, { endStream: true }),
    '/304': (e) => e.stream.respond({ ':status': 304, etag: '"a"', 'content-length': 9 }, { endStream: true }),
    '/trailers': (e) => {
      e.stream.respond({ ':status': 200 }, { waitForTrailers: true })
      e.stream.on('wantTrailers', () => e.stream.sendTrailers({ 'x-trailer': 'yes' }))
      e.stream.end('body')
    },
    '/interim': (e) => {
      e.stream.additionalHeaders({ ':status': 103, link: '</a>' })
      e.answer(200, 'after')
    },
    '/cookies': (e) => e.answer(200, '', { 'set-cookie': ['a=1', 'b=2'] }),
  }
  upstream.handler = (e) => answers[e.path]?.(e)
  const empty = await client.ask({ host: 'web', target: '/empty' })
  t.same([empty.status, header(empty, 'content-length'), empty.body.length], [200, '0', 0])
  const open = await client.ask({ host: 'web', target: '/open' })
  t.same([open.framing, open.body.toString()], ['chunked', 'open'])
  const sized = await client.ask({ host: 'web', target: '/sized' })
  t.same([header(sized, 'content-length'), sized.body.toString()], ['5', 'sized'])
  for (const target of ['/head', '/head-late']) {
    const head = await client.ask({ host: 'web', target, method: 'HEAD' })
    t.same([head.status, header(head, 'content-length'), head.body.length], [200, '77', 0], target)
  }
  t.equal((await client.ask({ host: 'web', target: '/204' })).status, 204)
  t.equal((await client.ask({ host: 'web', target: '/304' })).status, 304)
  const trailers = await client.ask({ host: 'web', target: '/trailers', headers: { TE: 'trailers' } })
  t.same(
    trailers.trailers.map(([n, v]) => [n.toLowerCase(), v]),
    [['x-trailer', 'yes']],
  )
  const interim = await client.ask({ host: 'web', target: '/interim' })
  t.same(
    interim.informational.map((i) => i.status),
    [103],
  )
  t.equal(interim.body.toString(), 'after')
  const cookies = await client.ask({ host: 'web', target: '/cookies' })
  t.same(
    cookies.headers.filter(([n]) => n.toLowerCase() === 'set-cookie').map(([, v]) => v),
    ['a=1', 'b=2'],
  )
})

t.test('HTTP/2 to HTTP/1.1 and back', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startWeb(t, { upstream, protocol: 'HTTP' })
  const client = new Client(t, proxy.port())
  {
    const stream = client.begin('/post', { ':method': 'POST', cookie: ['a=1', 'b=2'], te: 'trailers' }, false, true)
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-t': 'yes' }))
    const reply = replyOf(stream)
    stream.end('body')
    const exchange = await upstream.next()
    await eventually('the body', () => exchange.request.complete)
    t.equal(exchange.request.framing, 'chunked')
    t.equal(exchange.request.body.toString(), 'body')
    t.same(
      exchange.request.trailers.map(([n, v]) => [n.toLowerCase(), v]),
      [['x-t', 'yes']],
    )
    t.equal(header(exchange.request, 'host'), 'web')
    t.equal(header(exchange.request, 'cookie'), 'a=1; b=2')
    await exchange.write(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\r\n2\r\nok\r\n0\r\nx-r: t\r\n\r\n',
    )
    const answer = await reply
    t.equal(answer.body.toString(), 'ok')
    for (const gone of ['connection', 'x-hop', 'keep-alive', 'transfer-encoding']) t.equal(answer.headers[gone], undefined, gone)
    t.match(answer.trailers, { 'x-r': 't' })
  }
})

// ---- bodies ------------------------------------------------------------------------------------------------------------

t.test('large bodies both ways at once, on one connection', async (t) => {
  const upstream = await Http2Server.start(t, {
    handler: (e) => {
      e.stream.respond({ ':status': 200 })
      e.stream.pipe(e.stream)
    },
  })
  const proxy = await startWeb(t, { upstream })
  const client = new Client(t, proxy.port())
  const bodies = [0, 1, 2].map((n) => {
    const b = Buffer.alloc(3_000_000)
    for (let i = 0; i < b.length; i += 4) b.writeUInt32LE((i * (n + 1)) >>> 0, i)
    return b
  })
  const replies = await Promise.all(bodies.map((b, i) => client.ask(`/${i}`, {}, b)))
  for (const [i, reply] of replies.entries())
    t.ok(reply.body.equals(bodies[i] as Buffer), `body ${i}: ${reply.body.length} bytes`)
})

t.test('a slow reader holds back its own stream only', async (t) => {
  const upstream = await Http2Server.start(t)
  upstream.handler = (e) => (e.path === '/endless' ? endless(e.stream) : e.answer())
  const proxy = await startWeb(t, { upstream })
  const client = new Client(t, proxy.port())
  const slow = client.begin('/endless')
  await new Promise<void>((resolve) => void slow.once('response', () => resolve()))
  slow.pause()
  const exchange = await upstream.seen('/endless')
  let last = -1
  await eventually('the upstream to be held back', async () => {
    const now = sentBy.get(exchange.stream) ?? 0
    const still = now === last
    last = now
    await new Promise((resolve) => setTimeout(resolve, 100))
    return still
  })
  t.ok(last < 40_000_000, `${last} bytes were taken`)
  for (let i = 0; i < 20; i++) t.equal((await client.ask(`/quick${i}`)).body.toString(), `/quick${i}`)
  slow.close(CANCEL)
  await eventually('the upstream to hear of it', () => exchange.resetCode === CANCEL)
  t.equal(upstream.connections.length, 1)
})

const sentBy = new Map<http2.ServerHttp2Stream, number>()
function endless(stream: http2.ServerHttp2Stream): void {
  stream.respond({ ':status': 200 })
  const chunk = Buffer.alloc(65536)
  const go = () => {
    while (!stream.destroyed) {
      sentBy.set(stream, (sentBy.get(stream) ?? 0) + chunk.length)
      if (!stream.write(chunk)) {
        stream.once('drain', go)
        return
      }
    }
  }
  go()
}

t.test('an answer before the end of its request', async (t) => {
  const upstream = await Http2Server.start(t)
  upstream.handler = (e) => e.answer(413, 'too much')
  const proxy = await startWeb(t, { upstream })
  const client = new Client(t, proxy.port())
  const stream = client.begin('/early', { ':method': 'POST' }, false)
  const reply = replyOf(stream)
  stream.write(Buffer.alloc(1000))
  t.equal((await reply).status, 413)
  const exchange = await upstream.seen('/early')
  await eventually('the upstream to be told', () => exchange.stream.destroyed)
  upstream.handler = (e) => e.answer()
  t.equal((await client.ask('/next')).status, 200)
  t.equal(upstream.connections.length, 1, 'the connection goes on')
})

t.test('thousands of requests at once with headers and bodies of their own: nothing is mixed up', async (t) => {
  const upstream = await Http2Server.start(t, { settings: { maxConcurrentStreams: 50 } })
  upstream.handler = async (e) => {
    const body = await e.whole(30_000)
    const mark = String(e.headers['x-mark'])
    // Some come late, some with a body of their own, some are refused first.
    if (e.headers['x-refuse'] !== undefined && e.headers['x-envoy-attempt-count'] === '1') {
      e.stream.close(REFUSED)
      return
    }
    if (mark.length % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
    e.answer(200, Buffer.concat([Buffer.from(`${mark} `), body]), { 'x-mark': mark, [`x-of-${mark.slice(0, 4)}`]: mark })
  }
  const proxy = await startWeb(t, {
    upstream,
    retries: { attempts: 4, retryOn: 'refused-stream' },
    bootstrap: { concurrency: 2 },
  })
  const clients = [0, 1, 2, 3].map(() => new Client(t, proxy.port()))
  const olds = await Promise.all([0, 1, 2, 3].map(() => RawClient.connect(t, proxy.port())))
  let wrong = 0
  const check = (mark: string, body: string, got: string, status: number, echoed: unknown) => {
    if (status === 200 && got === `${mark} ${body}` && echoed === mark) return
    wrong++
    t.comment(`${mark}: ${status} ${got.slice(0, 80)} ${String(echoed)}`)
  }
  const run = async (c: number, n: number) => {
    const client = clients[c] as Client
    for (let i = 0; i < n; i++) {
      const asked = Array.from({ length: 20 }, async (_, k) => {
        const mark = `${c}-${i}-${k}-${'m'.repeat((i * k) % 50)}`
        const body = k % 2 === 0 ? 'b'.repeat((i * 37 + k) % 3000) : ''
        const more = k % 7 === 0 ? { 'x-refuse': '1' } : {}
        const reply = await client.ask(`/${mark}`, { 'x-mark': mark, ...more }, body === '' ? null : body)
        check(mark, body, reply.body.toString(), reply.status, reply.headers['x-mark'])
      })
      await Promise.all(asked)
    }
  }
  const runOld = async (c: number, n: number) => {
    for (let i = 0; i < n; i++) {
      const mark = `old-${c}-${i}`
      const body = i % 2 === 0 ? 'c'.repeat(i) : ''
      const more: Record<string, string> = i % 5 === 0 ? { 'x-refuse': '1' } : {}
      const spec = { host: 'web', target: `/${mark}`, method: body === '' ? 'GET' : 'PUT', headers: { 'x-mark': mark, ...more } }
      const reply = await (olds[c] as RawClient).ask(body === '' ? spec : { ...spec, body }, 30_000)
      check(mark, body, reply.body.toString(), reply.status, header(reply, 'x-mark'))
    }
  }
  await Promise.all([...clients.map((_, c) => run(c, 25)), ...olds.map((_, c) => runOld(c, 100))])
  t.equal(wrong, 0)
  t.equal(upstream.exchanges.filter((e) => e.headers['x-refuse'] === undefined).length, 4 * 25 * 17 + 4 * 80, 'each once')
})

t.test('an endpoint that leaves the configuration: its requests are completed, then its connection ends', async (t) => {
  const first = await Http2Server.start(t)
  const second = await Http2Server.start(t)
  first.handler = null
  const mesh = (upstream: { address: string }) => yaml(service({ host: 'web', endpoints: [upstream], protocol: 'HTTP2' }))
  const proxy = await startProxy(t, { resources: { 'mesh.yaml': mesh(first) }, bootstrap: { concurrency: 1 } })
  const client = new Client(t, proxy.port())
  const asked = [0, 1, 2].map((i) => client.ask(`/${i}`))
  await eventually('all', () => first.exchanges.length === 3)
  await proxy.reload({ 'mesh.yaml': mesh(second) })
  await eventually('the new endpoint', async () => (await client.ask('/new')).status === 200 && second.exchanges.length > 0)
  for (const e of first.exchanges) e.answer()
  t.same(
    (await Promise.all(asked)).map((r) => r.status),
    [200, 200, 200],
  )
  await eventually('its connection to end', () => first.openSockets === 0)
})

// ---- what other rooms see of it ----------------------------------------------------------------------------------------

t.test(
  'a connection that was reset while heddle was looking elsewhere: nothing could be written, so another one is taken',
  async (t) => {
    const upstream = await Http2Server.start(t)
    const proxy = await startWeb(t, { upstream })
    const client = await RawClient.connect(t, proxy.port())
    t.equal((await client.ask({ host: 'web', target: '/warm' })).status, 200)
    proxy.signal('SIGSTOP')
    await eventually('all threads to stand still', () => stopped(proxy.pid))
    // A POST without a policy for retries: it is written once or not at all.
    await client.send({ host: 'web', target: '/unwritten', method: 'POST' })
    upstream.cut()
    proxy.signal('SIGCONT')
    t.equal((await client.response()).body.toString(), '/unwritten')
    t.match(await proxy.logged({ path: '/unwritten' }), { response_code: 200, response_flags: '-' })
    t.equal(upstream.exchanges.filter((e) => e.path === '/unwritten').length, 1)
  },
)

/** A signal takes a moment to reach every thread. */
function stopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).every((id) => / T /.test(readFileSync(`${tasks}/${id}/stat`, 'latin1').replace(/^.*\)/s, '')))
}

t.test('outlier detection counts statuses and resets of streams; copies go out as HTTP/2', async (t) => {
  const good = await Http2Server.start(t)
  const bad = await Http2Server.start(t)
  const copies = await Http2Server.start(t)
  const detection = { consecutive5xxErrors: 3, interval: '60s', baseEjectionTime: '60s', maxEjectionPercent: 100 }
  for (const kind of ['status', 'reset'] as const) {
    bad.handler = (e) => (kind === 'status' ? e.answer(503) : e.stream.close(INTERNAL))
    const proxy = await startProxy(t, {
      resources: yaml(
        service({ host: 'web', endpoints: [good, bad], protocol: 'HTTP2' }),
        destinationRule('web', 'web', {
          trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' }, outlierDetection: detection },
        }),
        service({ host: 'copy', endpoints: [copies], protocol: 'HTTP2' }),
        virtualService(
          'web',
          ['web'],
          [
            {
              route: [{ destination: { host: 'web' } }],
              retries: NEVER,
              mirror: { host: 'copy' },
              mirrorPercentage: { value: 100 },
            },
          ],
        ),
      ),
      bootstrap: { concurrency: 1 },
    })
    const client = new Client(t, proxy.port())
    const before = bad.exchanges.length
    for (let i = 0; i < 20; i++) await client.ask(`/${kind}/${i}`, {}, `body ${i}`)
    t.equal(bad.exchanges.length - before, 3, `${kind}: ejected after three`)
    const copy = await copies.seen(`/${kind}/19`)
    t.equal((await copy.whole()).toString(), 'body 19')
    t.equal(copy.headers[':authority'], 'web-shadow')
  }
  t.equal(copies.connections.length, 2, 'one connection for each proxy')
})
