// A worker that dies takes its own connections with it and nothing else.
import t from 'tap'
import type { WorkerView } from '../../lib/server/messages.ts'
import { type AnyClient, askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually, within } from '../support/eventually.ts'
import { type InProcess, startInProcess } from '../support/in-process.ts'
import { Load } from '../support/load.ts'
import { destinationRule, service, yaml } from '../support/mesh.ts'
import type { Metrics } from '../support/metrics.ts'
import type { Teardown } from '../support/teardown.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

const connectionsOf = async (proxy: InProcess) => {
  const views = (await proxy.supervisor.pool.ask({ type: 'inspect' })) as WorkerView[]
  return views.map((v) => v.downstreamConnections)
}

const restarts = (proxy: InProcess) => proxy.metrics().value('heddle_worker_restarts_total')

/** Counters that are smaller than they were. */
function wentBack(before: Metrics, after: Metrics): string[] {
  return before.samples
    .filter((s) => /_total$|_count$|_bucket$|_sum$|^envoy_.*(_rq|_cx)_/.test(s.name) && !/_active$/.test(s.name))
    .filter((s) => before.type(s.name) !== 'gauge')
    .flatMap((s) => {
      const now = after.value(s.name, s.labels) ?? 0
      return now >= (before.value(s.name, s.labels) ?? 0)
        ? []
        : [`${s.name} ${JSON.stringify(s.labels)}: ${s.value}, then ${now}`]
    })
}

t.test('a crash under load loses the connections of that worker only', async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startInProcess(t, yaml(service({ host: 'web', endpoints: [echo] })))
  // The kernel chooses the worker: connections come until both have some.
  const idle: AnyClient[] = []
  while ((await connectionsOf(proxy)).some((n) => n < 3)) idle.push(await connectAny(t, proxy.port))
  const load = await Load.start(t, { port: proxy.port, clients: 12, request: (n) => ({ host: 'web', target: `/${n}` }) })
  await eventually('answers', () => load.answered > 200)
  const held = await connectionsOf(proxy)
  t.equal(held.length, 2)

  let last = proxy.metrics()
  const back: string[] = []
  const scrape = () => {
    const now = proxy.metrics()
    back.push(...wentBack(last, now))
    last = now
  }
  proxy.crash(0)
  await eventually('the crash to be counted', () => {
    scrape()
    return restarts(proxy) === 1
  })
  for (let i = 0; i < 20; i++) t.equal((await askAny(t, proxy.port, { host: 'web' })).status, 200, 'the port accepts')
  await eventually('a replacement', () => {
    scrape()
    return proxy.supervisor.pool.serving === 2
  })
  const goal = load.answered + 300
  await eventually('more answers', () => load.answered >= goal)
  await load.stop()
  scrape()

  const cut = [...idle, ...load.clients].filter((c) => c.closedBy !== null).length
  t.ok(held.includes(cut), `${cut} connections were cut; the workers had ${held}`)
  t.equal(load.lost.length, load.cut, 'each connection that was cut lost one request')
  t.same([...load.statuses.keys()], [200], 'nobody else noticed')
  const alive = idle.filter((c) => c.closedBy === null)
  for (const client of alive)
    t.equal((await client.ask({ host: 'web' })).status, 200, 'an idle connection of the other worker lives')
  t.same(back, [], 'no counter went backwards')
  t.match(proxy.log.join(''), /the test makes this worker die/, 'the log has the stack')
  t.match(proxy.log.join(''), /it is replaced at once/)
  t.equal(restarts(proxy), 1)
  t.equal(proxy.metrics().value('heddle_workers'), 2)
  t.equal(proxy.supervisor.state, 'LIVE')

  // The replacement takes its share, with the configuration of now.
  await eventually('both to have connections', async () => {
    await connectAny(t, proxy.port)
    return (await connectionsOf(proxy)).every((n) => n > 0)
  })
})

t.test('the places that a dead worker had in a circuit breaker are free at once', async (t) => {
  const LIMIT = 6
  const upstream = await Upstream.start(t)
  const proxy = await startInProcess(
    t,
    yaml(
      service({ host: 'web', endpoints: [upstream] }),
      destinationRule('web', 'web', { trafficPolicy: { connectionPool: { http: { http2MaxRequests: LIMIT } } } }),
    ),
  )
  const { busy, exchanges } = await fill(t, proxy, upstream, LIMIT)
  t.equal((await askAny(t, proxy.port, { host: 'web' })).status, 503, 'all places are taken')
  // Which one has requests the kernel knows; one of the two must.
  for (const index of [0, 1]) {
    const before = restarts(proxy) ?? 0
    proxy.crash(index)
    await eventually('the crash to be counted', () => restarts(proxy) === before + 1)
    if (busy.some((c) => c.closedBy !== null)) break
    await eventually('a replacement', () => proxy.supervisor.pool.serving === 2)
  }
  await eventually('the connections to be cut', () => busy.some((c) => c.closedBy !== null))
  await eventually('a replacement', () => proxy.supervisor.pool.serving === 2)
  const free = busy.filter((c) => c.closedBy !== null).length
  const more = await fill(t, proxy, upstream, free)
  const refused = await askAny(t, proxy.port, { host: 'web' })
  t.equal(refused.status, 503, `${free} places were free again, and not one more`)
  for (const exchange of [...exchanges, ...more.exchanges]) await exchange.answer({ body: 'done' }).catch(() => {})
  for (const client of [...busy, ...more.busy]) {
    if (client.closedBy === null) t.equal((await client.response()).status, 200)
  }
  await fill(t, proxy, upstream, LIMIT)
  t.pass('and when all are done there is room for as many again')
})

t.test('a replacement that is told to drain while it starts accepts nobody', async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startInProcess(t, yaml(service({ host: 'web', endpoints: [echo] })))
  const begun = replacementOf(proxy)
  proxy.crash(0)
  await within('a replacement to begin', begun)
  const drained = proxy.supervisor.drain()
  await eventually('the replacement to be there', () => proxy.supervisor.pool.serving === 2)
  t.same(await drained, [])
  for (let i = 0; i < 8; i++) await t.rejects(connectAny(t, proxy.port), /ECONNREFUSED/)
})

/** When the next worker is started: it is given its metrics then. */
function replacementOf({ supervisor: { registry } }: InProcess): Promise<void> {
  const addWorker = registry.addWorker.bind(registry)
  return new Promise((resolve) => {
    registry.addWorker = (index, buffer) => {
      addWorker(index, buffer)
      resolve()
    }
  })
}

/** So many requests at the upstream, none of them answered. */
async function fill(t: Teardown, proxy: InProcess, upstream: Upstream, count: number) {
  const busy: AnyClient[] = []
  const exchanges: Exchange[] = []
  for (let i = 0; i < count; i++) {
    const client = await connectAny(t, proxy.port)
    await client.send({ host: 'web' })
    exchanges.push(await upstream.next())
    busy.push(client)
  }
  return { busy, exchanges }
}
