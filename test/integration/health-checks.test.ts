// Endpoints that are asked how they are: who gets traffic, in all workers, and what operators see of it.
import net from 'node:net'
import t from 'tap'
import { askAny } from '../support/any-client.ts'
import { CheckedUpstream } from '../support/checked-upstream.ts'
import { DnsServer } from '../support/dns-server.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { GrpcHealthServer } from '../support/grpc-health-server.ts'
import { header } from '../support/h1-reader.ts'
import { startInProcess } from '../support/in-process.ts'
import { destinationRule, resource, service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(180_000)

const BUDGET_MS = 15_000
/** Quick, so that a test need not wait; the timeout is for a machine that is busy elsewhere. */
const QUICK = { interval: '20ms', timeout: '5s' }
const HTTP = { hosts: ['web'], http: { path: '/healthz' }, ...QUICK }

const start = (t: Teardown, resources: string, ...healthChecks: object[]): Promise<HeddleProcess> =>
  startProxy(t, { resources, bootstrap: { concurrency: 2, healthChecks } })

/** Who answers connections of their own, enough for both workers to have some. */
async function answering(t: Teardown, proxy: HeddleProcess, host = 'web'): Promise<string> {
  const answers = await Promise.all(Array.from({ length: 16 }, () => askAny(t, proxy.port(), { host })))
  return [...new Set(answers.map((a) => header(a, 'x-upstream') ?? String(a.status)))].sort().join()
}

t.test('HTTP: an endpoint that fails gets nothing, and comes back when it is well', async (t) => {
  const a = await CheckedUpstream.start(t, 'a')
  const b = await CheckedUpstream.start(t, 'b')
  b.health = 503
  const proxy = await start(t, yaml(service({ host: 'web', endpoints: [a, b] })), HTTP)
  t.equal(await answering(t, proxy), 'a', 'not even the first requests go to it')
  t.equal(b.requests, 0)
  t.match(a.lastCheck, { host: a.address, 'user-agent': 'heddle/health-check' })
  await proxy.said(
    new RegExp(
      `health check: ${b.address} of outbound\\|80\\|\\|web\\.default\\.svc\\.cluster\\.local is left out: GET http://${b.address}/healthz answered 503, expected 200-299; bootstrap default/healthChecks\\[0\\] \\(.*heddle\\.yaml:\\d+:\\d+\\)`,
    ),
  )
  const { body } = await proxy.admin('/clusters')
  t.match(body, `outbound|80||web.default.svc.cluster.local::${b.address}::health_flags::/failed_active_hc\n`)
  t.match(body, `outbound|80||web.default.svc.cluster.local::${a.address}::health_flags::healthy\n`)
  await askAny(t, proxy.port(), { host: 'web', headers: { 'x-request-id': 'without-b' } })
  const explanation = JSON.stringify(await proxy.explain('without-b'))
  t.match(
    explanation,
    `${b.address} failed its health check: GET http://${b.address}/healthz answered 503, expected 200-299; bootstrap default/healthChecks[0] (`,
  )
  b.health = 200
  await eventually('b to be used', async () => (await answering(t, proxy)) === 'a,b', BUDGET_MS)
  await proxy.said(/is used again: GET http:\S+ answered 200;/)
  a.health = 500
  await eventually('a to be left out', async () => (await answering(t, proxy)) === 'b', BUDGET_MS)
  await proxy.said(/is left out: GET http:\S+ answered 500, expected 200-299; .*2 failures in a row/)
  t.match(JSON.stringify(await proxy.explain('without-b')), /failed its health check: .* answered 503/, 'it is remembered')
  const metrics = await proxy.metrics()
  const cluster = { cluster_name: 'outbound|80||web.default.svc.cluster.local' }
  t.equal(metrics.value('envoy_cluster_health_check_healthy', cluster), 1)
  const attempts = metrics.value('envoy_cluster_health_check_attempt', cluster) ?? 0
  const passed = metrics.value('envoy_cluster_health_check_success', cluster) ?? 0
  t.equal(metrics.value('envoy_cluster_health_check_failure', cluster), attempts - passed)
  t.equal(metrics.value('envoy_cluster_health_check_network_failure', cluster), 0)
})

t.test('one that hangs', async (t) => {
  const a = await CheckedUpstream.start(t, 'a')
  const b = await CheckedUpstream.start(t, 'b')
  const proxy = await start(t, yaml(service({ host: 'web', endpoints: [a, b] })), { ...HTTP, timeout: '500ms' })
  await eventually('both to be used', async () => (await answering(t, proxy)) === 'a,b', BUDGET_MS)
  b.health = null
  await eventually('b to be left out', async () => (await answering(t, proxy)) === 'a', BUDGET_MS)
  await proxy.said(/is left out: GET \S+ had no whole answer within 500 ms/)
  t.ok(((await proxy.metrics()).value('envoy_cluster_health_check_network_failure') ?? 0) >= 2)
})

t.test('TCP', async (t) => {
  const a = await EchoUpstream.start(t, { name: 'a' })
  const b = await EchoUpstream.start(t, { name: 'b', host: '127.0.0.73' })
  const check = { hosts: ['*'], tcp: { port: 0 }, ...QUICK }
  const proxy = await start(t, yaml(service({ host: 'web', endpoints: [a, b] })), check)
  t.equal(await answering(t, proxy), 'a,b')
  await b.stop()
  await proxy.said(
    /127\.0\.0\.73:\d+ of \S+ is left out: TCP check of 127\.0\.0\.73:\d+ could not connect: ECONNREFUSED/,
    BUDGET_MS,
  )
  t.equal(await answering(t, proxy), 'a')
  await b.listen()
  await eventually('b to be used', async () => (await answering(t, proxy)) === 'a,b', BUDGET_MS)
})

t.test('gRPC, on a port of its own', async (t) => {
  const grpc = await GrpcHealthServer.start(t, '127.0.0.74')
  const other = await GrpcHealthServer.start(t, '127.0.0.75')
  const a = await EchoUpstream.start(t, { name: 'a', host: grpc.host })
  const b = await EchoUpstream.start(t, { name: 'b', host: other.host })
  grpc.statuses.set('shop.Cart', 'SERVING')
  const resources = yaml(service({ host: 'one', endpoints: [a, a] }), service({ host: 'two', endpoints: [b] }))
  const checks = [
    { hosts: ['one'], grpc: { service: 'shop.Cart', port: grpc.port }, ...QUICK },
    { hosts: ['two'], grpc: { port: other.port }, ...QUICK },
  ]
  const proxy = await start(t, resources, ...checks)
  t.equal(await answering(t, proxy, 'one'), 'a')
  t.equal(await answering(t, proxy, 'two'), 'b')
  t.ok(grpc.asked.every((s) => s === 'shop.Cart') && other.asked.every((s) => s === ''))
  grpc.statuses.set('shop.Cart', 'NOT_SERVING')
  await proxy.said(
    /is left out: gRPC health check of shop\.Cart at 127\.0\.0\.74:\d+ answered NOT_SERVING, expected SERVING/,
    BUDGET_MS,
  )
  grpc.statuses.set('shop.Cart', 'SERVING')
  await proxy.said(/is used again: gRPC health check of shop\.Cart/, BUDGET_MS)
})

t.test('a reload keeps what is known, asks about new endpoints, and nobody else', async (t) => {
  const [a, b, c] = [
    await CheckedUpstream.start(t, 'a'),
    await CheckedUpstream.start(t, 'b'),
    await CheckedUpstream.start(t, 'c'),
  ]
  b.health = 503
  const resources = (...endpoints: CheckedUpstream[]) => yaml(service({ host: 'web', endpoints }))
  // The interval is so long that each endpoint is asked once, unless something is wrong.
  const proxy = await start(t, resources(a, b), { ...HTTP, interval: '1h' })
  t.same([a.checks, b.checks], [1, 1])
  await proxy.reload({ 'mesh.yaml': resources(a, b, c) })
  await eventually('c to be asked', () => c.checks === 1)
  await eventually('c to be used', async () => (await answering(t, proxy)) === 'a,c', BUDGET_MS)
  t.same([a.checks, b.checks, c.checks], [1, 1, 1], 'those that stayed were not asked again')
  await proxy.reload({ 'mesh.yaml': resources(a, c) })
  await proxy.reload({ 'mesh.yaml': resources(a, b, c) })
  await eventually('b to be asked as a new one', () => b.checks === 2)
})

t.test('an endpoint that is gone is asked no more', async (t) => {
  const a = await CheckedUpstream.start(t, 'a')
  const b = await CheckedUpstream.start(t, 'b')
  const proxy = await start(t, yaml(service({ host: 'web', endpoints: [a, b] })), HTTP)
  await proxy.reload({ 'mesh.yaml': yaml(service({ host: 'web', endpoints: [a] })) })
  const [others, gone] = [a.checks, b.checks]
  await eventually('twenty more checks of the other', () => a.checks > others + 20, BUDGET_MS)
  // One may have been on its way.
  t.ok(b.checks <= gone + 1, `${b.checks} checks after ${gone}`)
})

t.test('the application behind an inbound listener is asked when the listener is named', async (t) => {
  const app = await CheckedUpstream.start(t, 'app')
  const listeners = [
    { name: 'in', direction: 'inbound', forwardTo: app.address },
    { name: 'out', direction: 'outbound' },
  ] as const
  const everything = { hosts: ['*'], http: { path: '/healthz' }, ...QUICK, interval: '1h' }
  const silent = await startProxy(t, { listeners, bootstrap: { healthChecks: [everything] } })
  t.equal(app.checks, 0, 'not by hosts')
  await silent.stop()
  const proxy = await startProxy(t, {
    listeners,
    bootstrap: { healthChecks: [{ listeners: ['in'], http: { path: '/healthz' }, ...QUICK }] },
  })
  t.ok(app.checks > 0)
  t.equal((await askAny(t, proxy.port('in'), {})).status, 200)
})

t.test('the probe of a WorkloadGroup is for its entries', async (t) => {
  const a = await CheckedUpstream.start(t, 'a', '127.0.0.76')
  const b = await CheckedUpstream.start(t, 'b', '127.0.0.77')
  b.health = 503
  const entry = (name: string, upstream: CheckedUpstream) => ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'WorkloadEntry',
    metadata: { name, namespace: 'default', annotations: { 'istio.io/autoRegistrationGroup': 'vms' } },
    spec: { address: upstream.host, labels: { app: 'vm' }, ports: { main: upstream.port } },
  })
  const group = (port: number) =>
    resource('WorkloadGroup', 'vms', {
      template: { labels: { app: 'vm' } },
      probe: { periodSeconds: 1, httpGet: { path: 'healthz', port, httpHeaders: [{ name: 'x-from', value: 'group' }] } },
    })
  const entries = resource('ServiceEntry', 'web', {
    hosts: ['web.default.svc.cluster.local'],
    location: 'MESH_INTERNAL',
    resolution: 'STATIC',
    ports: [{ number: 80, name: 'main', protocol: 'HTTP' }],
    workloadSelector: { labels: { app: 'vm' } },
  })
  // The group has one port for all its workloads: here that of the second one, whose neighbour does not listen there.
  const proxy = await start(t, yaml(entries, group(b.port), entry('a', a), entry('b', b)))
  await proxy.said(
    /127\.0\.0\.77:\d+ of \S+ is left out: GET http:\S+\/healthz answered 503, expected 200-399; WorkloadGroup default\/vms/,
  )
  await proxy.said(/127\.0\.0\.76:\d+ of \S+ is left out: GET http:\S+\/healthz could not connect: ECONNREFUSED/)
  t.match(b.lastCheck, { 'x-from': 'group' })
  b.health = 302
  await eventually('b to be used', async () => (await answering(t, proxy)) === 'b', BUDGET_MS)
})

t.test('a check that passes ends an ejection', async (t) => {
  const a = await CheckedUpstream.start(t, 'a')
  const b = await CheckedUpstream.start(t, 'b')
  b.status = 500
  const resources = yaml(
    service({ host: 'web', endpoints: [a, b] }),
    destinationRule('web', 'web', {
      trafficPolicy: {
        outlierDetection: { consecutive5xxErrors: 1, interval: '1h', baseEjectionTime: '1h', maxEjectionPercent: 100 },
      },
    }),
  )
  const proxy = await start(t, resources, HTTP)
  await eventually('b to be ejected', async () => {
    await answering(t, proxy)
    return /ejected/.test(proxy.stderr)
  })
  await proxy.said(new RegExp(`${b.address} of outbound\\|80\\S+ is back after .*why="health check"`), BUDGET_MS)
})

t.test('endpoints that are names are asked at their addresses', async (t) => {
  const a = await CheckedUpstream.start(t, 'a', '127.0.0.78')
  const b = await CheckedUpstream.start(t, 'b', '127.0.0.79')
  b.health = 503
  const dns = await DnsServer.start(t, {
    'a.example': { addresses: [a.host], ttl: 1 },
    'b.example': { addresses: [b.host], ttl: 3600 },
  })
  const endpoints = [{ address: `a.example:${a.port}` }, { address: `b.example:${b.port}` }]
  const resources = yaml(service({ host: 'web', resolution: 'DNS', endpoints }))
  const proxy = await startProxy(t, {
    resources,
    bootstrap: { concurrency: 2, healthChecks: [HTTP], mesh: { dnsServers: [dns.address] } },
  })
  t.equal(await answering(t, proxy), 'a')
  dns.records.set('a.example', { addresses: ['127.0.0.80'], ttl: 3600 })
  await proxy.said(/127\.0\.0\.80:\d+ of \S+ is left out: GET \S+ could not connect: ECONNREFUSED/, BUDGET_MS)
  const asked = a.checks
  const others = b.checks
  await eventually('checks of the others', () => b.checks > others + 5, BUDGET_MS)
  t.ok(a.checks <= asked + 1, 'the address of before is asked no more')
})

t.test('nothing is left when the proxy ends, whatever is under way', async (t) => {
  const silent = net.createServer(() => {})
  const sockets = new Set<net.Socket>()
  silent.on('connection', (socket) => {
    sockets.add(socket.on('close', () => sockets.delete(socket)))
    socket.resume()
  })
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const { port } = silent.address() as net.AddressInfo
  const address = `127.0.0.1:${port}`
  const healthChecks = [
    { hosts: ['web'], http: {}, timeout: '1h' },
    { hosts: ['rpc'], grpc: {}, timeout: '1h' },
  ]
  const before = process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCPSocket')).length
  const proxy = await startInProcess(
    t,
    yaml(service({ host: 'web', endpoints: [{ address }] }), service({ host: 'rpc', endpoints: [{ address }] })),
    { bootstrap: { healthChecks } },
  )
  await eventually('two checks under way', () => sockets.size === 2)
  await proxy.supervisor.shutdown('the test is over')
  await eventually('their connections to end', () => sockets.size === 0)
  const open = () => process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCPSocket')).length
  // Those of tests before may go meanwhile.
  await eventually('no more sockets than before', () => open() <= before)
})
