// The sentences about outlier detection, see sentences.test.ts.
import t from 'tap'
import { type AnyClient, connectAny } from '../support/any-client.ts'
import { clusterMetric, ejectedOf } from '../support/ejections.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { destinationRule, service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

const CLUSTER = 'outbound|80||web.default.svc.cluster.local'
/** An ejection that outlasts its test. */
const LONG = { interval: '1h', baseEjectionTime: '1h', maxEjectionPercent: 100 }

interface EjectionJson {
  readonly since: string
  readonly until: string
  readonly duration_ms: number
  readonly multiplier: number
}

const resources = (endpoints: readonly Upstream[], outlierDetection: object): string =>
  yaml(
    service({ host: 'web', endpoints }),
    destinationRule('rule', 'web', { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' }, outlierDetection } }),
  )

/** Answers what the request asks for in `x-want`. */
const obey = (exchange: Exchange): void => {
  const want = header(exchange.request, 'x-want') ?? '200'
  void exchange.answer({ status: Number(want) })
}

async function ask(client: AnyClient, want: number, id = ''): Promise<{ readonly status: number }> {
  const headers: Record<string, string> = { 'x-want': String(want) }
  if (id !== '') headers['x-request-id'] = id
  return client.ask({ host: 'web', headers })
}

const ejected = (proxy: HeddleProcess) => ejectedOf(proxy, CLUSTER)
const metric = (proxy: HeddleProcess, name: string) => clusterMetric(proxy, CLUSTER, name)

t.test('31: maxEjectionPercent 10 of five endpoints is none', async (t) => {
  const upstreams = await Promise.all(Array.from({ length: 5 }, () => Upstream.start(t, obey)))
  const { maxEjectionPercent: _, ...rest } = LONG
  const proxy = await startProxy(t, { resources: resources(upstreams, { ...rest, consecutive5xxErrors: 1 }) })
  const client = await connectAny(t, proxy.port())
  for (let i = 0; i < 10; i++) t.equal((await ask(client, 500)).status, 500)
  t.same(await ejected(proxy), [])
  t.equal(await metric(proxy, 'outlier_detection_ejections_overflow'), 10)
  t.equal(await metric(proxy, 'outlier_detection_ejections_enforced_total'), 0)
})

t.test('32: an ejection ends at a sweep, and the next one is longer', async (t) => {
  const upstream = await Upstream.start(t, obey)
  const proxy = await startProxy(t, {
    resources: resources([upstream], {
      consecutive5xxErrors: 1,
      interval: '100ms',
      baseEjectionTime: '200ms',
      maxEjectionPercent: 100,
    }),
  })
  const client = await connectAny(t, proxy.port())
  const round = async (id: string) => {
    t.equal((await ask(client, 500, id)).status, 500)
    t.equal((await ask(client, 200)).status, 503, 'left out')
    await eventually('it to be back', async () => (await ask(client, 200)).status === 200)
  }
  const events = async () => {
    const { ejections } = (await proxy.adminJson('/ejections?format=json')) as { ejections: EjectionJson[] }
    return ejections.reverse()
  }
  // A sweep that comes between two rounds finds it well, and takes the growth back: on a busy machine it takes more of them.
  let growth = 0
  for (let i = 0; growth < 2 && i < 20; i++) {
    await round(`round-${i}`)
    growth = Math.max(...(await events()).map((e) => e.multiplier))
  }
  t.equal(growth, 2, 'ejected again soon, it stays away twice as long')
  const all = await events()
  t.match(all[0], { multiplier: 1, duration_ms: 200, ended: 'time', requests: [{ id: 'round-0', status: 500 }] })
  for (const e of all) {
    t.equal(e.duration_ms, 200 * e.multiplier)
    t.ok(Date.parse(e.until) - Date.parse(e.since) >= e.duration_ms - 2, 'not before its time')
  }
  await proxy.said(/is back after \d+ ms of ejection detector=consecutive_5xx why=time/)
})

t.test('33: all ejected: 503 UH, no panic', async (t) => {
  const upstreams = [await Upstream.start(t, obey), await Upstream.start(t, obey)]
  const proxy = await startProxy(t, { resources: resources(upstreams, { ...LONG, consecutive5xxErrors: 2 }) })
  const client = await connectAny(t, proxy.port())
  for (let i = 0; i < 4; i++) t.equal((await ask(client, 500)).status, 500)
  t.equal((await ejected(proxy)).length, 2)
  const before = upstreams.map((u) => u.exchanges.length)
  t.equal((await ask(client, 200, 'nobody')).status, 503)
  t.match(await proxy.logged({ request_id: 'nobody' }), { response_flags: 'UH', response_code_details: 'no_healthy_upstream' })
  t.same(
    upstreams.map((u) => u.exchanges.length),
    before,
  )
  t.match(await proxy.explain('nobody'), { unavailable: { count: 2, of: 2, endpoints: { length: 2 } } })
})
