import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
// Connections to endpoints: when one is used again, when it ends, and what a request meets that gets one which has just ended.
import t from 'tap'
import { eventually, pause } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { type AnswerSpec, type Exchange, Upstream } from '../support/upstream.ts'

let upstream: Upstream
let proxy: HeddleProcess
let blackhole: string

const POOLS: Readonly<Record<string, object>> = {
  plain: {},
  two: { http: { maxRequestsPerConnection: 2 } },
  single: { http: { maxRequestsPerConnection: 1 } },
  short: { http: { idleTimeout: '100ms' } },
  narrow: { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 1 } },
  busy: { http: { http2MaxRequests: 1 } },
}

t.before(async () => {
  upstream = await Upstream.start(t)
  blackhole = await fullBacklog(t)
  const hosts = Object.keys(POOLS)
  proxy = await startProxy(t, {
    resources: yaml(
      ...hosts.map((host) => service({ host, endpoints: [upstream] })),
      ...hosts.map((host) => destinationRule(host, host, { trafficPolicy: { connectionPool: POOLS[host] } })),
      ...hosts.map((host) => virtualService(host, [host], [{ route: [{ destination: { host } }], retries: { attempts: 0 } }])),
      service({ host: 'hole', endpoints: [{ address: blackhole }] }),
      destinationRule('hole', 'hole', { trafficPolicy: { connectionPool: { tcp: { connectTimeout: '200ms' } } } }),
      service({ host: 'patient', endpoints: [{ address: blackhole }] }),
      destinationRule('patient', 'patient', { trafficPolicy: { connectionPool: { tcp: { connectTimeout: '60s' } } } }),
      virtualService(
        'hole',
        ['hole'],
        [
          { match: [{ uri: { prefix: '/retried' } }], route: [{ destination: { host: 'hole' } }] },
          { route: [{ destination: { host: 'hole' } }], retries: { attempts: 0 } },
        ],
      ),
    ),
  })
})

t.beforeEach(() => upstream.startAfresh())

/** `address:port` of a listener whose queue is full: the kernel drops what wants to connect. */
async function fullBacklog(t: Teardown): Promise<string> {
  const code = `
    const server = require('node:net').createServer()
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port))`
  // A process of its own, so that it can be stopped: then nobody takes a connection out of the queue.
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const port = await new Promise<number>((resolve) => child.stdout.once('data', (line: Buffer) => resolve(Number(line))))
  child.kill('SIGSTOP')
  // A connection is made as long as there is room; the first that is not says that the queue is full.
  for (let i = 0; i < 16; i++) {
    const made = await RawClient.connect(t, { port, budgetMs: 500 }).then(
      () => true,
      () => false,
    )
    if (!made) return `127.0.0.1:${port}`
  }
  throw new Error('the queue does not fill')
}

/** A signal takes a moment to reach every thread. */
function stopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).every((id) => / T /.test(readFileSync(`${tasks}/${id}/stat`, 'latin1').replace(/^.*\)/s, '')))
}

async function round(client: RawClient, host: string, answer: AnswerSpec = {}): Promise<Exchange> {
  await client.send({ host })
  const exchange = await upstream.next()
  await exchange.answer(answer)
  await client.response()
  return exchange
}

const counter = async (name: string, host: string) =>
  (await proxy.metrics()).value(`envoy_cluster_upstream_${name}`, {
    cluster_name: `outbound|80||${host}.default.svc.cluster.local`,
  }) ?? 0

t.test('a connection serves one request after the other, of any client', async (t) => {
  const first = await round(await RawClient.connect(t, proxy.port()), 'plain')
  for (let i = 0; i < 5; i++) {
    const again = await round(await RawClient.connect(t, proxy.port()), 'plain')
    t.equal(again.connection, first.connection)
  }
  t.equal(await counter('cx_total', 'plain'), 1)
  t.equal(await counter('rq_total', 'plain'), 6)
})

t.test('requests at the same time have connections of their own', async (t) => {
  const clients = await Promise.all([1, 2, 3].map(() => RawClient.connect(t, proxy.port())))
  for (const c of clients) await c.send({ host: 'plain' })
  const exchanges = [await upstream.next(), await upstream.next(), await upstream.next()]
  t.equal(new Set(exchanges.map((e) => e.connection)).size, 3)
  for (const e of exchanges) await e.answer()
  for (const c of clients) await c.response()
})

t.test('maxRequestsPerConnection', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  const two: object[] = []
  for (let i = 0; i < 5; i++) two.push((await round(client, 'two')).connection)
  t.same(
    two.map((c) => two.indexOf(c)),
    [0, 0, 2, 2, 4],
  )
  t.equal(await upstream.exchanges.at(-5)?.connection.closed(), 'end', 'ended by us, in order')
  t.equal(await counter('cx_max_requests', 'two'), 2)
  const single = new Set()
  for (let i = 0; i < 3; i++) single.add((await round(client, 'single')).connection)
  t.equal(single.size, 3)
})

t.test('`connection: close` of the upstream is obeyed, and not passed on', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'plain' })
  const one = await upstream.next()
  await one.answer({ headers: { Connection: 'Close' } })
  const response = await client.response()
  t.equal(header(response, 'connection'), undefined)
  await one.connection.closed()
  const two = await round(client, 'plain')
  t.not(two.connection, one.connection)
})

t.test('idleTimeout ends what nobody uses', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  const before = await counter('cx_idle_timeout', 'short')
  const { connection } = await round(client, 'short')
  t.equal(await connection.closed(), 'end')
  t.equal((await counter('cx_idle_timeout', 'short')) - before, 1)
})

t.test('a connection idle for too long is not used even if nobody has ended it yet', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  for (let i = 0; i < 4; i++) {
    const one = await round(client, 'short')
    // Time is what this is about: twice the idle timeout, a fifth of the time between two sweeps.
    await pause(200)
    const two = await round(client, 'short')
    t.not(two.connection, one.connection)
    await pause(200)
  }
})

t.test('`Keep-Alive: timeout` of the upstream is believed: we end the connection before it does', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  const { connection } = await round(client, 'plain', { headers: { Connection: 'keep-alive', 'Keep-Alive': 'max=5, timeout=2' } })
  t.equal(await connection.closed(), 'end')
})

t.test('an idle connection that the upstream ended costs no request', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  for (const end of ['end', 'reset'] as const) {
    const one = await round(client, 'plain')
    const active = await counter('cx_active', 'plain')
    if (end === 'end') one.connection.end()
    else one.connection.reset()
    await eventually('heddle to have noticed', async () => (await counter('cx_active', 'plain')) < active)
    const two = await round(client, 'plain')
    t.not(two.connection, one.connection, end)
  }
})

t.test(
  'a connection that was reset while heddle was looking elsewhere: nothing could be written, so another one is taken',
  async (t) => {
    const client = await RawClient.connect(t, proxy.port())
    await client.send({ host: 'plain', target: '/warm' })
    const one = await upstream.next()
    await one.answer()
    await client.response()
    // With the process stopped the request is in its socket before the reset is: it is read first, and lent the dead connection.
    proxy.signal('SIGSTOP')
    await eventually('all threads to stand still', async () => stopped(proxy.pid))
    await client.send({ host: 'plain', target: '/unwritten' })
    for (const c of upstream.connections) if (c.closedBy === null) c.reset()
    proxy.signal('SIGCONT')
    const two = await upstream.next()
    t.equal(two.request.target, '/unwritten')
    await two.answer({ body: 'fine' })
    t.equal((await client.response()).body.toString(), 'fine')
    t.match(await proxy.logged({ path: '/unwritten' }), { response_code: 200, response_flags: '-' })
  },
)

t.test(
  'connections that end at random under load: what was written fails as UC or is answered, nothing is mixed up',
  async (t) => {
    const closing = await Upstream.start(t, {
      handler: async (e) => {
        await e.answer({ body: e.request.target })
        const after = e.request.target.length % 3
        setTimeout(() => (after === 0 ? e.connection.end() : after === 1 ? e.connection.reset() : undefined), after)
      },
    })
    const own = await startProxy(t, {
      resources: yaml(
        service({ host: 'web', endpoints: [closing] }),
        virtualService(
          'web',
          ['web'],
          [
            {
              match: [{ uri: { prefix: '/safe' } }],
              route: [{ destination: { host: 'web' } }],
              retries: { attempts: 20, retryOn: 'reset' },
            },
            { route: [{ destination: { host: 'web' } }], retries: { attempts: 0 } },
          ],
        ),
      ),
    })
    for (const prefix of ['/safe', '/once']) {
      let failed = 0
      const run = async (n: number) => {
        const client = await RawClient.connect(t, own.port())
        for (let i = 0; i < 60; i++) {
          const target = `${prefix}/${n}/${i}${'.'.repeat((i * 7 + n) % 5)}`
          const response = await client.ask({ host: 'web', target })
          if (response.status === 200) t.equal(response.body.toString(), target)
          else {
            failed++
            t.match(await own.logged({ path: target }), {
              response_code: 503,
              response_flags: 'UC',
              upstream_host: closing.address,
            })
          }
        }
      }
      await Promise.all([0, 1, 2, 3, 4].map(run))
      if (prefix === '/safe') t.equal(failed, 0, 'with retryOn: reset nobody sees it')
      t.comment(`${prefix}: ${failed} of 300 met a connection that ended after the request had been written`)
    }
  },
)

t.test('connect timeout', async (t) => {
  const answer = await askOnce(t, proxy.port(), { host: 'hole', target: '/hole' })
  t.equal(answer.status, 503)
  t.equal(answer.body.toString(), 'upstream connect error or disconnect/reset before headers. reset reason: connection timeout')
  t.match(await proxy.logged({ path: '/hole' }), {
    response_flags: 'UF',
    response_code_details: 'upstream_reset_before_response_started{connection_timeout}',
  })
  t.equal(await counter('cx_connect_timeout', 'hole'), 1)
  t.equal(await counter('cx_connect_fail', 'hole'), 1)
})

t.test('a connect timeout is a connect failure to the default retry policy', async (t) => {
  const answer = await askOnce(t, proxy.port(), { host: 'hole', target: '/retried' })
  t.match(answer.body.toString(), /retried and the latest reset reason: connection timeout$/)
  t.match(await proxy.logged({ path: '/retried' }), { response_flags: 'URX,UF' })
})

t.test('a client that leaves while its request waits for a connection', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  await client.send({ host: 'patient', target: '/left' })
  await eventually('the request to wait', async () => (await counter('rq_pending_active', 'patient')) === 1)
  client.reset()
  t.match(await proxy.logged({ path: '/left' }), { response_code: 0, response_flags: 'DC' })
  t.equal(await counter('rq_pending_active', 'patient'), 0)
})

t.test('maxConnections queues, http1MaxPendingRequests refuses: 503 UO', async (t) => {
  const clients = await Promise.all([1, 2, 3].map(() => RawClient.connect(t, proxy.port())))
  const [a, b, c] = clients as [RawClient, RawClient, RawClient]
  await a.send({ host: 'narrow', target: '/a' })
  const first = await upstream.next()
  await b.send({ host: 'narrow', target: '/b' })
  await eventually('the second to wait', async () => (await counter('rq_pending_active', 'narrow')) === 1)
  const refused = await c.ask({ host: 'narrow', target: '/c' })
  t.equal(refused.status, 503)
  t.equal(header(refused, 'x-envoy-overloaded'), 'true')
  t.equal(refused.body.toString(), 'upstream connect error or disconnect/reset before headers. reset reason: overflow')
  t.match(await proxy.logged({ path: '/c' }), {
    response_flags: 'UO',
    response_code_details: 'upstream_reset_before_response_started{overflow}',
  })
  await first.answer()
  await a.response()
  const second = await upstream.next()
  t.equal(second.request.target, '/b')
  t.equal(second.connection, first.connection, 'the one connection')
  await second.answer()
  await b.response()
})

t.test('http2MaxRequests bounds what is active, also over HTTP/1.1', async (t) => {
  const a = await RawClient.connect(t, proxy.port())
  await a.send({ host: 'busy', target: '/a' })
  const first = await upstream.next()
  const refused = await askOnce(t, proxy.port(), { host: 'busy', target: '/over' })
  t.equal(refused.status, 503)
  t.match(await proxy.logged({ path: '/over' }), { response_flags: 'UO' })
  await first.answer()
  await a.response()
  await round(a, 'busy')
})

t.test('the connection of a response that is retried serves on, when its rest is short and comes soon', async (t) => {
  const failing = await Upstream.start(t)
  const own = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [failing] }),
      virtualService(
        'web',
        ['web'],
        [{ route: [{ destination: { host: 'web' } }], retries: { attempts: 1, retryOn: '5xx', backoff: '1ms' } }],
      ),
    ),
  })
  const client = await RawClient.connect(t, own.port())
  const retried = async (target: string, first: (exchange: Exchange) => Promise<void>) => {
    await client.send({ host: 'web', target })
    const failed = await failing.next()
    await first(failed)
    const second = await failing.next()
    await second.answer({ body: 'second' })
    t.equal((await client.response()).body.toString(), 'second', target)
    return { failed: failed.connection, second: second.connection }
  }
  const head = (length: number) => `HTTP/1.1 503 Failed\r\nContent-Length: ${length}\r\n\r\n`
  for (const spec of [{ body: 'sorry' }, { body: '' }, { chunks: ['so', 'rry'] }]) {
    const { failed, second } = await retried('/short', (e) => e.answer({ status: 503, ...spec }))
    t.equal(second, failed, JSON.stringify(spec))
  }
  t.equal(failing.connections.length, 1)

  const long = await retried('/long', (e) => e.write(head(65_537)))
  t.not(long.second, long.failed)
  await eventually('the long one to go', () => failing.openConnections === 1)

  const endless = await retried('/endless', async (e) => {
    await e.write('HTTP/1.1 503 Failed\r\nTransfer-Encoding: chunked\r\n\r\n')
    await e.write(`10001\r\n${'x'.repeat(65_537)}\r\n`)
  })
  t.not(endless.second, endless.failed)
  await eventually('the endless one to go', () => failing.openConnections === 1)

  // The rest never comes: nobody waits for it, and not for long.
  const stalled = await retried('/stalled', (e) => e.write(head(5)))
  t.not(stalled.second, stalled.failed)
  await eventually('the stalled one to go', () => failing.openConnections === 1)

  const cut = await retried('/cut', async (e) => {
    await e.write(head(5))
    e.reset()
  })
  t.not(cut.second, cut.failed)
  const metrics = await own.metrics()
  const labels = { cluster_name: 'outbound|80||web.default.svc.cluster.local' }
  t.equal(metrics.value('envoy_cluster_upstream_rq_active', labels), 0)
  t.equal(metrics.value('envoy_cluster_upstream_rq_retry', labels), 7)
})
