// Endpoints that fail are left out for a while: two workers, one judgement.
import t from 'tap'
import type { WorkerView } from '../../lib/server/messages.ts'
import { type AnyClient, connectAny } from '../support/any-client.ts'
import { clusterMetric, ejectedOf } from '../support/ejections.ts'
import { eventually } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { type InProcess, startInProcess } from '../support/in-process.ts'
import { destinationRule, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { type Exchange, Upstream } from '../support/upstream.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(180_000)

const CLUSTER = 'outbound|80||web.default.svc.cluster.local'
/** An ejection that outlasts its test. */
const LONG = { interval: '1h', baseEjectionTime: '1h', maxEjectionPercent: 100 }

type Endpoints = Parameters<typeof service>[0]['endpoints']
type Resources = readonly ReturnType<typeof service>[]

const resources = (endpoints: Endpoints, outlierDetection: object, ...more: Resources): string =>
  yaml(
    service({ host: 'web', endpoints }),
    destinationRule('rule', 'web', { trafficPolicy: { loadBalancer: { simple: 'ROUND_ROBIN' }, outlierDetection } }),
    ...more,
  )

/** Answers what the request asks for in `x-want`. */
const obey = (exchange: Exchange): void => {
  const want = header(exchange.request, 'x-want') ?? '200'
  if (want === 'reset') void exchange.reset()
  else void exchange.answer({ status: Number(want) })
}

interface Reply {
  readonly status: number
}

async function ask(client: AnyClient, want: number | 'reset', id = ''): Promise<Reply> {
  const headers: Record<string, string> = { 'x-want': String(want) }
  if (id !== '') headers['x-request-id'] = id
  const { status } = await client.ask({ host: 'web', headers })
  return { status }
}

const ejected = (proxy: HeddleProcess) => ejectedOf(proxy, CLUSTER)
const metric = (proxy: HeddleProcess, name: string) => clusterMetric(proxy, CLUSTER, name)

/** One connection to each of two workers: the kernel chooses, so that some are made until each has one. */
async function oneEach(t: Teardown, proxy: InProcess): Promise<[AnyClient, AnyClient]> {
  const counts = async () => {
    const views = (await proxy.supervisor.pool.ask({ type: 'inspect' })) as WorkerView[]
    return views.map((v) => v.downstreamConnections)
  }
  const found: AnyClient[] = []
  for (;;) {
    const before = await counts()
    const client = await connectAny(t, proxy.port)
    await ask(client, 200)
    const after = await counts()
    // Answers come in the order in which workers answer: the one that has more is told by the sum of the other.
    const at = after.findIndex((n, i) => n > (before[i] ?? 0))
    if (at >= 0) found[at] ??= client
    const [first, second] = found
    if (first !== undefined && second !== undefined) return [first, second]
  }
}

t.test('five failures spread over two workers eject, once, for both', async (t) => {
  const bad = await Upstream.start(t, obey)
  const proxy = await startInProcess(t, resources([bad], LONG))
  const [first, second] = await oneEach(t, proxy)
  for (const [i, client] of [first, second, second, first].entries()) t.equal((await ask(client, 500, `failed-${i}`)).status, 500)
  t.same(proxy.supervisor.outliers.history.all, [], 'four are not enough')
  t.equal((await ask(second, 500, 'failed-4')).status, 500)
  const seen = bad.exchanges.length
  t.equal((await ask(first, 200)).status, 503, 'the very next request of the other worker finds nobody')
  t.equal((await ask(second, 200)).status, 503)
  t.equal(bad.exchanges.length, seen)
  await eventually('the event', () => proxy.log.some((l) => l.includes(`ejected ${bad.address}`)))
  const line = proxy.log.find((l) => l.includes(`ejected ${bad.address}`))
  for (let i = 0; i < 5; i++) t.match(line, `failed-${i}: 500`, 'evidence of both workers')
  t.match(line, /5 failures in a row object="DestinationRule default\/rule \(.*mesh\.yaml:\d+:\d+\)" detector=consecutive_5xx/)
  t.equal(proxy.metrics().value('envoy_cluster_outlier_detection_ejections_enforced_total', { cluster_name: CLUSTER }), 1)
  t.equal(proxy.metrics().value('envoy_cluster_outlier_detection_ejections_active', { cluster_name: CLUSTER }), 1)
})

t.test('a success of either worker ends a run', async (t) => {
  const upstream = await Upstream.start(t, obey)
  const proxy = await startInProcess(t, resources([upstream], { ...LONG, consecutive5xxErrors: 3 }))
  const [first, second] = await oneEach(t, proxy)
  for (let i = 0; i < 4; i++) {
    await ask(first, 503)
    await ask(first, 503)
    await ask(second, 200)
  }
  t.equal((await ask(first, 200)).status, 200)
  t.same(proxy.supervisor.outliers.history.all, [])
})

t.test('who fails is left out, the others go on; everywhere it shows', async (t) => {
  const [good, bad] = [await Upstream.start(t, (e) => e.answer()), await Upstream.start(t, (e) => e.answer({ status: 503 }))]
  const proxy = await startProxy(t, { resources: resources([good, bad], { ...LONG, consecutive5xxErrors: 3 }) })
  const client = await connectAny(t, proxy.port())
  const statuses: number[] = []
  for (let i = 0; i < 20; i++) statuses.push((await ask(client, 200, `request-${i}`)).status)
  t.equal(statuses.filter((s) => s === 503).length, 3, 'three, and no more')
  t.same(await ejected(proxy), [bad.address])
  t.equal(await metric(proxy, 'membership_total'), 2)
  t.equal(await metric(proxy, 'membership_healthy'), 1)
  t.equal(await metric(proxy, 'outlier_detection_ejections_active'), 1)
  t.equal(await metric(proxy, 'outlier_detection_ejections_detected_consecutive_5xx'), 1)
  t.equal(await metric(proxy, 'outlier_detection_ejections_enforced_consecutive_5xx'), 1)
  const host = async () => {
    const { cluster_statuses: all } = (await proxy.clusters()) as {
      cluster_statuses: { name: string; host_statuses: { health_status: object }[] }[]
    }
    return all.find((c) => c.name === CLUSTER)?.host_statuses.map((h) => h.health_status)
  }
  t.match(await host(), [{ eds_health_status: 'HEALTHY' }, { failed_outlier_check: true }])
  const { ejections } = (await proxy.adminJson('/ejections?format=json')) as { ejections: { requests: { id: string }[] }[] }
  t.match(ejections, [{ address: bad.address, cluster: CLUSTER, object: { kind: 'DestinationRule', name: 'rule' } }])
  const failed = statuses.flatMap((s, i) => (s === 503 ? [`request-${i}`] : []))
  t.same(
    ejections[0]?.requests.map((r) => r.id),
    failed,
    'these requests led to it',
  )
  const explained = await proxy.explain('request-19')
  t.match(explained, {
    unavailable: {
      count: 1,
      of: 2,
      endpoints: [
        {
          address: bad.address,
          why: 'ejected (consecutive_5xx): 3 failures in a row',
          requests: failed.map((id) => `${id}: 503`),
        },
      ],
    },
  })
  t.match(
    JSON.stringify(explained['steps']),
    /1 of 2 endpoints of .* was not well: .* ejected \(consecutive_5xx\).*since .* until /,
  )
  t.equal((await proxy.explain('request-0'))['unavailable'], null, 'then nobody was')
})

t.test('gateway errors and resets; what is split is counted apart', async (t) => {
  const upstream = await Upstream.start(t, obey)
  const client = async (outlierDetection: object) => {
    const proxy = await startProxy(t, {
      resources: resources([upstream], outlierDetection, {
        ...virtualService('web', ['web'], [{ retries: { attempts: 0 }, route: [{ destination: { host: 'web' } }] }]),
      }),
    })
    return { proxy, client: await connectAny(t, proxy.port()) }
  }
  const gateway = await client({ ...LONG, consecutive5xxErrors: 0, consecutiveGatewayErrors: 3 })
  for (const want of [503, 500, 502, 500, 504, 'reset', 500] as const) await ask(gateway.client, want)
  t.same(await ejected(gateway.proxy), [], 'a 500 ends each run')
  for (const want of [502, 'reset', 504] as const) await ask(gateway.client, want)
  t.same(await ejected(gateway.proxy), [upstream.address])
  t.equal(await metric(gateway.proxy, 'outlier_detection_ejections_enforced_consecutive_gateway_failure'), 1)

  const split = await client({
    ...LONG,
    consecutive5xxErrors: 3,
    splitExternalLocalOriginErrors: true,
    consecutiveLocalOriginFailures: 2,
  })
  // Each has a connection first, which ends the run of local failures, as in Envoy.
  for (const want of [500, 'reset', 500, 'reset', 'reset'] as const) await ask(split.client, want)
  t.same(await ejected(split.proxy), [])
  await ask(split.client, 500)
  t.same(await ejected(split.proxy), [upstream.address], 'the third 500, whatever was between')
})

t.test('connects that fail', async (t) => {
  const gone = { address: `127.0.0.1:${await refusingPort()}` }
  const rule = { ...LONG, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, consecutive5xxErrors: 0 }
  const http = await startProxy(t, {
    resources: resources(
      [gone],
      rule,
      virtualService('web', ['web'], [{ retries: { attempts: 0 }, route: [{ destination: { host: 'web' } }] }]),
    ),
  })
  const client = await connectAny(t, http.port())
  t.equal((await ask(client, 200, 'refused-0')).status, 503)
  t.same(await ejected(http), [])
  t.equal((await ask(client, 200, 'refused-1')).status, 503)
  t.same(await ejected(http), [gone.address])
  t.equal(await metric(http, 'outlier_detection_ejections_enforced_consecutive_local_origin_failure'), 1)
  await http.said(/refused-0: remote connection failure/)
  await ask(client, 200, 'left-out')
  t.equal((await http.logged({ request_id: 'left-out' }))['response_flags'], 'UH')

  const tcp = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', protocol: 'TCP', endpoints: [gone] }),
      destinationRule('rule', 'web', { trafficPolicy: { outlierDetection: { ...LONG, consecutive5xxErrors: 2 } } }),
    ),
    listeners: [{ name: 'out', protocol: 'tcp', destination: 'web.default.svc.cluster.local:80' }],
  })
  for (const flags of ['UF,URX', 'UF,URX', 'UH']) {
    const raw = await RawClient.connect(t, tcp.port())
    await eventually('it to be closed', () => raw.closedBy !== null)
    await tcp.logged({ response_flags: flags })
  }
  t.same(await ejected(tcp), [gone.address])
})

t.test('timeouts count as 504, of the route and of one attempt', async (t) => {
  const upstream = await Upstream.start(t)
  for (const rule of [
    { timeout: '100ms' },
    { timeout: '30s', retries: { attempts: 1, perTryTimeout: '100ms', retryOn: '5xx' } },
  ]) {
    const proxy = await startProxy(t, {
      resources: resources(
        [upstream],
        { ...LONG, consecutive5xxErrors: 0, consecutiveGatewayErrors: 2 },
        virtualService('web', ['web'], [{ ...rule, route: [{ destination: { host: 'web' } }] }]),
      ),
    })
    const client = await connectAny(t, proxy.port())
    // With one retry, the first request is two attempts; without, it takes a second one. An attempt whose time is over before it has a connection says nothing
    // of the endpoint, and another request has to.
    const attempts = 'retries' in rule ? 2 : 1
    t.equal((await ask(client, 200)).status, 504)
    if (attempts === 1) t.same(await ejected(proxy), [], 'one is not enough')
    await eventually('its ejection', async () => {
      if ((await ejected(proxy)).length === 1) return true
      await ask(client, 200)
      return false
    })
    t.same(await ejected(proxy), [upstream.address])
    await proxy.said(/requests=.*: timeout/)
  }
})

t.test('of gRPC the status in the headers counts', async (t) => {
  let grpcStatus = '5'
  const upstream = await Upstream.start(t, (e) =>
    e.answer({
      status: 200,
      headers: [
        ['content-type', 'application/grpc'],
        ['grpc-status', grpcStatus],
      ],
    }),
  )
  const proxy = await startProxy(t, { resources: resources([upstream], { ...LONG, consecutive5xxErrors: 2 }) })
  const client = await connectAny(t, proxy.port())
  const call = (type: string) => client.ask({ method: 'POST', host: 'web', headers: { 'content-type': type }, body: 'x' })
  for (let i = 0; i < 3; i++) await call('application/grpc')
  grpcStatus = '14'
  for (let i = 0; i < 3; i++) await call('application/json')
  t.same(await ejected(proxy), [], 'NOT_FOUND is a 404, and to who does not speak gRPC a 200 is a 200')
  for (let i = 0; i < 2; i++) await call('application/grpc+proto')
  t.same(await ejected(proxy), [upstream.address], 'UNAVAILABLE is a 503')
})

t.test('what our own limits refuse counts for nobody', async (t) => {
  const upstream = await Upstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      destinationRule('rule', 'web', {
        trafficPolicy: {
          outlierDetection: { ...LONG, consecutive5xxErrors: 1 },
          connectionPool: { http: { http2MaxRequests: 1 } },
        },
      }),
    ),
  })
  const first = await connectAny(t, proxy.port())
  await first.send({ host: 'web' })
  const exchange = await upstream.next()
  const second = await connectAny(t, proxy.port())
  t.equal((await ask(second, 200)).status, 503)
  t.same(await ejected(proxy), [])
  await exchange.answer()
  t.equal((await first.response()).status, 200)
})

t.test('a reload keeps ejections, and takes them back when nothing asks for them', async (t) => {
  const [good, bad] = [await Upstream.start(t, (e) => e.answer()), await Upstream.start(t, (e) => e.answer({ status: 500 }))]
  const proxy = await startProxy(t, { resources: resources([good, bad], { ...LONG, consecutive5xxErrors: 2 }) })
  const client = await connectAny(t, proxy.port())
  for (let i = 0; i < 8; i++) await ask(client, 200)
  t.same(await ejected(proxy), [bad.address])
  const third = await Upstream.start(t, (e) => e.answer())
  await proxy.reload({ 'mesh.yaml': resources([third, bad, good], { ...LONG, consecutive5xxErrors: 2 }) })
  t.same(await ejected(proxy), [bad.address])
  const before = bad.exchanges.length
  for (let i = 0; i < 6; i++) t.equal((await ask(client, 200)).status, 200)
  t.equal(bad.exchanges.length, before, 'also with another list of endpoints')
  await proxy.reload({ 'mesh.yaml': yaml(service({ host: 'web', endpoints: [good, bad] })) })
  t.same(await ejected(proxy), [])
  await eventually('it to be asked again', async () => {
    await ask(client, 200)
    return bad.exchanges.length > before
  })
})

t.test('a worker that dies leaves its ejections to the others', async (t) => {
  const [good, bad] = [await Upstream.start(t, (e) => e.answer()), await Upstream.start(t, obey)]
  const proxy = await startInProcess(t, resources([good, bad], { ...LONG, consecutive5xxErrors: 2, interval: '50ms' }))
  const client = await connectAny(t, proxy.port)
  await eventually('an ejection', async () => {
    await ask(client, 500)
    return proxy.supervisor.outliers.history.all.length > 0
  })
  for (const index of [0, 1]) {
    proxy.crash(index)
    await eventually('the crash', () => proxy.metrics().value('heddle_worker_restarts_total') === index + 1)
    await eventually('a replacement', () => proxy.supervisor.pool.serving === 2)
  }
  const before = bad.exchanges.length
  for (let i = 0; i < 10; i++) {
    const fresh = await connectAny(t, proxy.port)
    t.equal((await ask(fresh, 200)).status, 200)
    fresh.destroy()
  }
  t.equal(bad.exchanges.length, before, 'the replacements leave it out too')
  t.equal(proxy.metrics().value('envoy_cluster_outlier_detection_ejections_active', { cluster_name: CLUSTER }), 1)
})
