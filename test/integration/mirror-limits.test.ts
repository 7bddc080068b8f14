// What bounds mirrored copies, and that nothing of it reaches the requests that they copy: mirror.maxRequests over all workers, the buffer
// of a copy, the breaker of its cluster.
import t from 'tap'
import { connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { Upstream } from '../support/upstream.ts'

let echo: EchoUpstream
let upstream: Upstream
let shadow: Upstream
let narrow: Upstream
let proxy: HeddleProcess

const LIMIT = 3

t.before(async () => {
  echo = await EchoUpstream.start(t)
  upstream = await Upstream.start(t)
  shadow = await Upstream.start(t)
  narrow = await Upstream.start(t)
  const to = (host: string) => [{ destination: { host } }]
  const on = (prefix: string, more: object) => ({
    match: [{ uri: { prefix } }],
    route: to('web'),
    retries: { attempts: 0 },
    ...more,
  })
  const mirror = { host: 'shadow' }
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [echo] }),
      service({ host: 'slow', endpoints: [upstream] }),
      service({ host: 'shadow', endpoints: [shadow] }),
      service({ host: 'narrow', endpoints: [narrow] }),
      service({ host: 'empty', endpoints: [] }),
      destinationRule('narrow', 'narrow', { trafficPolicy: { connectionPool: { http: { http2MaxRequests: 1 } } } }),
      virtualService(
        'web',
        ['web'],
        [
          on('/copied', { mirror }),
          on('/half', { mirror: { host: 'empty' }, mirrorPercentage: { value: 50 } }),
          on('/narrow', { mirror: { host: 'narrow' } }),
          on('/gone', { mirrors: [{ destination: { host: 'gone' } }, { destination: { host: 'empty' } }] }),
          on('/held', { mirror, fault: { delay: { fixedDelay: '50ms', percentage: { value: 100 } } } }),
          on('/early', { mirror, route: to('slow') }),
          on('/unhealthy', { mirror, route: to('empty') }),
          on('/direct', { mirror, route: undefined, retries: undefined, directResponse: { status: 200 } }),
          on('/redirect', { mirror, route: undefined, retries: undefined, redirect: { uri: '/x' } }),
          { route: to('web') },
        ],
      ),
    ),
    bootstrap: { concurrency: 2, mirror: { maxRequests: LIMIT } },
  })
})

const dropped = async (reason: string) => (await proxy.metrics()).value('heddle_mirrors_dropped_total', { reason }) ?? 0

/** All copies that are there are answered, and their places are free. */
async function finishCopies(): Promise<void> {
  for (const exchange of shadow.exchanges) if (!exchange.answered && !exchange.isOver) await exchange.answer()
  const name = { cluster_name: 'outbound|80||shadow.default.svc.cluster.local' }
  await eventually('no copy', async () => (await proxy.metrics()).value('envoy_cluster_upstream_rq_active', name) === 0)
}

t.test('mirror.maxRequests: so many copies at once in both workers, and no request notices', async (t) => {
  const clients = await Promise.all(Array.from({ length: 12 }, () => connectAny(t, proxy.port())))
  for (let round = 1; round <= 2; round++) {
    const before = shadow.exchanges.length
    const answers = await Promise.all(clients.map((c) => c.ask({ host: 'web', target: '/copied' })))
    t.ok(answers.every((a) => a.status === 200))
    await eventually('the copies', () => shadow.exchanges.length === before + LIMIT)
    t.equal(await dropped('max_requests'), round * (12 - LIMIT))
    await finishCopies()
  }
})

t.test('a copy that its cluster’s breaker refuses', async (t) => {
  const client = await connectAny(t, proxy.port())
  for (let i = 0; i < 3; i++) t.equal((await client.ask({ host: 'web', target: `/narrow/${i}` })).status, 200)
  await eventually('the copies', async () => (await dropped('overflow')) === 2)
  t.equal(narrow.exchanges.length, 1)
  t.match(await proxy.logged({ path: '/narrow/2' }), { response_flags: '-', response_code: 200 })
  await narrow.exchanges[0]!.answer()
})

t.test('a copy whose upstream does not read is given up at limits.bufferBytes, and its place is free', async (t) => {
  const client = await connectAny(t, proxy.port())
  const body = 'm'.repeat(12 * 1024 * 1024)
  client.expectMethod('POST')
  await client.write(`POST /copied/big HTTP/1.1\r\nHost: web\r\nx-body-bytes: 2\r\nContent-Length: ${body.length}\r\n\r\n`)
  await eventually('the copy', () => shadow.exchanges.at(-1)?.request.target === '/copied/big')
  const copy = shadow.exchanges.at(-1)!
  copy.pause()
  await client.write(body)
  t.equal((await client.response(20_000)).status, 200)
  t.equal(echo.seen.at(-1)!.body.length, body.length)
  t.equal(await dropped('buffer'), 1)
  copy.resume()
  await copy.over()
  await finishCopies()
})

t.test('no endpoint, no cluster: counted, and nothing else', async (t) => {
  const client = await connectAny(t, proxy.port())
  t.equal((await client.ask({ host: 'web', target: '/gone', headers: { 'x-request-id': 'mirror-1' } })).status, 200)
  t.same([await dropped('no_cluster'), await dropped('no_endpoint')], [1, 1])
  await proxy.logged({ path: '/gone' })
  const { steps } = (await proxy.adminJson('/explain?id=mirror-1')) as { steps: { step: string; text: string }[] }
  t.same(
    steps.filter((s) => s.step === 'mirror').map((s) => s.text),
    [
      'no copy to outbound|80||gone.default.svc.cluster.local: there is no such cluster',
      'no copy to outbound|80||empty.default.svc.cluster.local: none of its endpoints is available',
    ],
  )
})

t.test('mirrorPercentage: each request is drawn', async (t) => {
  const client = await connectAny(t, proxy.port())
  const before = await dropped('no_endpoint')
  for (let i = 0; i < 200; i++) await client.ask({ host: 'web', target: '/half' })
  const drawn = (await dropped('no_endpoint')) - before
  // Binomial(200, 1/2): 100 ± 7, seven deviations each way.
  t.ok(drawn > 50 && drawn < 150, `${drawn} of 200`)
})

t.test('a request that a delay held is copied with the body that came meanwhile', async (t) => {
  const client = await connectAny(t, proxy.port())
  t.equal((await client.ask({ host: 'web', method: 'POST', target: '/held', body: 'kept' })).status, 200)
  await eventually('the copy', () => shadow.exchanges.at(-1)?.request.target === '/held')
  t.equal((await shadow.exchanges.at(-1)!.body()).toString(), 'kept')
  await finishCopies()
})

t.test('a request that is answered before its end leaves no copy that waits for the rest', async (t) => {
  const client = await connectAny(t, proxy.port())
  client.expectMethod('POST')
  await client.write('POST /early HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nhalf ')
  const original = await upstream.next()
  await eventually('the copy', () => shadow.exchanges.at(-1)?.request.target === '/early')
  await original.answerEarly({ status: 413 })
  t.equal((await client.response()).status, 413)
  const copy = shadow.exchanges.at(-1)!
  await copy.over()
  t.equal(copy.request.complete, false)
  await finishCopies()
})

t.test('no copy of what is not forwarded', async (t) => {
  const client = await connectAny(t, proxy.port())
  const before = shadow.exchanges.length
  for (const [target, status] of [
    ['/unhealthy', 503],
    ['/direct', 200],
    ['/redirect', 301],
  ] as const)
    t.equal((await client.ask({ host: 'web', target })).status, status)
  // One that is mirrored comes behind them: had they been, they would have come before it.
  await client.ask({ host: 'web', target: '/copied/last' })
  await eventually('the copy', () => shadow.exchanges.length > before)
  t.equal(shadow.exchanges[before]!.request.target, '/copied/last')
  await finishCopies()
})
