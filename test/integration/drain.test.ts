// How a proxy ends: in-flight requests finish, new ones go elsewhere, what is cut is reported.
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { service, yaml } from '../support/mesh.ts'
import { httpRequest, runHeddle, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import { DOWNSTREAM, ONCE } from '../support/versions.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

/** The last answer of a connection says so; HTTP/2 says it by GOAWAY. */
const CLOSE = DOWNSTREAM === 'http2' ? undefined : 'close'

const start = async (t: Teardown, deadline: string) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [upstream] })),
    bootstrap: { drain: { deadline }, concurrency: 2 },
  })
  return { upstream, proxy }
}

t.test('SIGTERM lets a request finish, says Connection: close, refuses new connections and ends with 0', async (t) => {
  const { upstream, proxy } = await start(t, '30s')
  const client = await connectAny(t, proxy.port())
  const idle = await connectAny(t, proxy.port())
  await client.send({ host: 'web' })
  const exchange = await upstream.next()
  proxy.signal('SIGTERM')
  await idle.closed()
  // One worker may be a moment behind the other.
  await eventually('new connections to be refused', () =>
    connectAny(t, proxy.port()).then(
      () => false,
      (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
    ),
  )
  await exchange.answer({ body: 'in time' })
  const response = await client.response()
  t.equal(response.body.toString(), 'in time')
  t.equal(header(response, 'connection')?.toLowerCase(), CLOSE)
  t.same(await proxy.exited, { code: 0, signal: null })
})

t.test('after SIGTERM new connections are taken for a while, and each answer is the last of its connection', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(service({ host: 'web', endpoints: [upstream] })),
    bootstrap: { drain: { accept: '2s', deadline: '30s' }, concurrency: 2 },
  })
  const health = Number(/health on 127\.0\.0\.1:(\d+)/.exec(proxy.stderr)?.[1])
  const idle = await connectAny(t, proxy.port())
  await idle.send({ host: 'web' })
  await (await upstream.next()).answer({ body: 'before' })
  t.equal(header(await idle.response(), 'connection'), undefined)
  proxy.signal('SIGTERM')
  await proxy.said(/draining: new connections for 2000 ms still, 30000 ms for what is in flight/)
  t.equal((await httpRequest(health, '/healthz/ready')).status, 503, 'readiness fails at once')
  // Who was there, and who comes; both workers hear of it within moments.
  const ask = async (client: typeof idle) => {
    await client.send({ host: 'web' })
    await (await upstream.next()).answer({ body: 'in time' })
    const response = await client.response()
    return [response.body.toString(), header(response, 'connection')?.toLowerCase()]
  }
  t.same(await ask(idle), ['in time', CLOSE])
  await idle.closed()
  const late = await connectAny(t, proxy.port())
  t.same(await ask(late), ['in time', CLOSE])
  await late.closed()
  const held = await connectAny(t, proxy.port())
  await held.send({ host: 'web' })
  const exchange = await upstream.next()
  const refused = () =>
    connectAny(t, proxy.port()).then(
      (client) => {
        client.destroy()
        return false
      },
      (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
    )
  await eventually('new connections to be refused', refused, 10_000)
  await exchange.answer({ body: 'behind it' })
  t.equal((await held.response()).body.toString(), 'behind it')
  t.same(await proxy.exited, { code: 0, signal: null })
})

t.test('SIGINT takes no new connections', { skip: ONCE }, async (t) => {
  const upstream = await Upstream.start(t)
  const resources = yaml(service({ host: 'web', endpoints: [upstream] }))
  const proxy = await startProxy(t, { resources, bootstrap: { drain: { accept: '20s', deadline: '30s' } } })
  proxy.signal('SIGINT')
  t.same(await proxy.exited, { code: 0, signal: null })
  t.match(proxy.stderr, /draining: no new connections/)
})

t.test('an answer that has begun is sent to its end, and then its connection closes', async (t) => {
  const { upstream, proxy } = await start(t, '30s')
  const client = await connectAny(t, proxy.port())
  client.expectMethod('POST')
  await client.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n')
  const exchange = await upstream.next()
  await exchange.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n')
  const response = await client.responseHead()
  proxy.signal('SIGTERM')
  await proxy.said(/draining/)
  await client.write('0123456789')
  t.equal((await exchange.body()).toString(), '0123456789', 'the rest of the request is carried as well')
  await exchange.write('5\r\nended\r\n0\r\n\r\n')
  t.equal((await client.completed(response)).body.toString(), 'begunended')
  t.equal(await client.closed(), 'end', 'an orderly end')
  t.same(await proxy.exited, { code: 0, signal: null })
})

t.test('what is not done at the deadline is cut, and the log says what and why', { skip: ONCE }, async (t) => {
  const upstream = await Upstream.start(t)
  const raw = await Upstream.start(t, { raw: true })
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'db', port: 5432, protocol: 'TCP', endpoints: [raw] }),
    ),
    listeners: [{ name: 'out' }, { name: 'db', protocol: 'tcp', destination: 'db.default.svc.cluster.local:5432' }],
    bootstrap: { drain: { deadline: '300ms' }, concurrency: 2 },
  })
  const request = await RawClient.connect(t, proxy.port('out'))
  await request.send({ host: 'web', target: '/never' })
  await upstream.next()
  const tunnel = await RawClient.connect(t, proxy.port('out'))
  await tunnel.send({ host: 'web', target: '/socket', headers: { connection: 'Upgrade', upgrade: 'websocket' } })
  await (await upstream.next()).switchProtocols('websocket')
  await tunnel.until('101', () => tunnel.text.includes('101'))
  const session = await RawClient.connect(t, proxy.port('db'))
  await session.write('select 1')
  await (await raw.nextConnection()).untilReceived('select 1')
  proxy.signal('SIGTERM')
  await Promise.all([request.closed(), tunnel.closed(), session.closed()])
  t.same(await proxy.exited, { code: 0, signal: null }, 'having to cut is no failure')
  t.match(proxy.stderr, /3 connections were cut/)
  const lines = proxy.stderr.split('\n').filter((line) => /cut: /.test(line))
  t.equal(lines.length, 3)
  for (const [what, client] of [
    [/GET \/never of web/, request],
    [/tunnel/, tunnel],
    [/tcp session/, session],
  ] as const) {
    const line = lines.find((l) => what.test(l)) ?? ''
    t.match(line, /drain_deadline/, `${what}: why`)
    t.ok(line.includes(client.localAddress), `${what}: whose`)
  }
})

t.test('a second SIGTERM ends it at once', async (t) => {
  const { upstream, proxy } = await start(t, '60s')
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web' })
  await upstream.next()
  proxy.signal('SIGTERM')
  await proxy.said(/draining/)
  proxy.signal('SIGTERM')
  t.same(await proxy.exited, { code: 5, signal: null })
})

t.test('nothing listens any more after the end, and nobody is left', async (t) => {
  const { proxy } = await start(t, '1s')
  const children = descendants(proxy.pid)
  const health = Number(/health on 127\.0\.0\.1:(\d+)/.exec(proxy.stderr)?.[1])
  t.ok(health > 0)
  t.same(await proxy.stop(), { code: 0, signal: null })
  for (const port of [proxy.port(), proxy.adminPort, health]) {
    await t.rejects(connectAny(t, port), /ECONNREFUSED/, 'the port is free')
  }
  t.same(children, [], 'it never had child processes')
})

t.test('/quitquitquit ends it as SIGTERM does, but only by POST', async (t) => {
  const { upstream, proxy } = await start(t, '30s')
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web' })
  const exchange = await upstream.next()
  t.equal((await proxy.admin('/quitquitquit')).status, 405)
  t.equal((await proxy.admin('/ready')).status, 200)
  t.equal((await proxy.admin('/quitquitquit', 'POST')).status, 200)
  await proxy.said(/draining/)
  await exchange.answer({ body: 'in time' })
  t.equal((await client.response()).body.toString(), 'in time')
  t.same(await proxy.exited, { code: 0, signal: null })
})

t.test('preStop of a sidecar container: clients go elsewhere, all else goes on until the signal', async (t) => {
  const upstream = await Upstream.start(t)
  const statusPort = await freePort()
  const services = service({ host: 'web', endpoints: [upstream] })
  const proxy = await startProxy(t, {
    resources: yaml(services),
    bootstrap: { concurrency: 1, drain: { accept: '60s', deadline: '60s' }, agent: { address: '127.0.0.1', statusPort } },
  })
  const drain = ['request', `--debug-port=${statusPort}`]
  const get = await runHeddle([...drain, 'GET', 'drain'])
  t.not(get.code, 0)
  t.match(get.stderr, /405: POST only/)
  const client = await connectAny(t, proxy.port())
  const ask = async (c: typeof client) => {
    await c.send({ host: 'web' })
    await (await upstream.next()).answer({ body: 'served' })
    const response = await c.response()
    return [response.body.toString(), header(response, 'connection')?.toLowerCase()]
  }
  t.same(await ask(client), ['served', undefined])

  const post = await runHeddle([...drain, 'POST', 'drain'])
  t.same([post.code, post.stdout, post.stderr], [0, 'OK\n', ''])
  await proxy.said(/\/drain: clients are asked to go elsewhere/)
  t.equal((await httpRequest(statusPort, '/healthz/ready')).status, 503)
  t.same(await ask(client), ['served', CLOSE], 'who was there')
  t.same(await ask(await connectAny(t, proxy.port())), ['served', CLOSE], 'who comes')
  proxy.signal('SIGTERM')
  t.same(await proxy.exited, { code: 0, signal: null }, 'and does not wait for more')
})

t.test('/healthcheck/fail is readiness alone, and /healthcheck/ok takes it back', async (t) => {
  const { upstream, proxy } = await start(t, '30s')
  const health = Number(/health on 127\.0\.0\.1:(\d+)/.exec(proxy.stderr)?.[1])
  const readiness = async () => [
    (await httpRequest(health, '/healthz/ready')).status,
    (await proxy.admin('/ready')).body,
    (await proxy.metrics()).value('envoy_server_live'),
  ]
  t.equal((await proxy.admin('/healthcheck/fail')).status, 405)
  t.same(await readiness(), [200, 'LIVE\n', 1])
  t.same((await proxy.admin('/healthcheck/fail', 'POST')).body, 'OK\n')
  t.same(await readiness(), [503, 'DRAINING\n', 0])
  t.match((await httpRequest(health, '/healthz/ready')).body, /healthcheck\/ok/, 'it says why')
  const client = await connectAny(t, proxy.port())
  await client.send({ host: 'web' })
  await (await upstream.next()).answer({ body: 'served' })
  t.equal((await client.response()).body.toString(), 'served')
  t.same((await proxy.admin('/healthcheck/ok', 'POST')).body, 'OK\n')
  t.same(await readiness(), [200, 'LIVE\n', 1])
})

t.test('/drain_listeners stops accepting, finishes what is in flight, and the process stays', async (t) => {
  const { upstream, proxy } = await start(t, '30s')
  const client = await connectAny(t, proxy.port())
  const idle = await connectAny(t, proxy.port())
  await client.send({ host: 'web' })
  const exchange = await upstream.next()
  const health = Number(/health on 127\.0\.0\.1:(\d+)/.exec(proxy.stderr)?.[1])
  t.equal((await httpRequest(health, '/healthz/ready')).status, 200)
  t.equal((await proxy.admin('/drain_listeners')).status, 405)
  t.equal((await proxy.admin('/drain_listeners', 'POST')).status, 200)
  await idle.closed()
  // Each worker closes its own socket when it hears of it.
  await eventually('no listener', () =>
    connectAny(t, proxy.port()).then(
      () => false,
      (error: Error) => /ECONNREFUSED/.test(error.message),
    ),
  )
  const ready = await proxy.admin('/ready')
  t.same([ready.status, ready.body], [503, 'DRAINING\n'])
  t.equal((await httpRequest(health, '/healthz/ready')).status, 503)
  t.equal((await proxy.metrics()).value('envoy_server_state'), 1)
  await exchange.answer({ body: 'in time' })
  const response = await client.response()
  t.same([response.body.toString(), header(response, 'connection')?.toLowerCase()], ['in time', CLOSE])
  await proxy.said(/nothing was cut/)
  t.ok(proxy.isRunning)
  t.same(await proxy.stop(), { code: 0, signal: null })
})

/** Pids of child processes, and of theirs. */
function descendants(pid: number): number[] {
  const tasks = readdirSync(`/proc/${pid}/task`)
  const own = tasks.flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' '))
  return own.filter((p) => p !== '').flatMap((p) => [Number(p), ...descendants(Number(p))])
}
