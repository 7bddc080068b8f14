// Istio's standard metrics as seen from outside: exact labels, and exactly as many as there were requests (Istio standard metrics).
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { eventually } from '../support/eventually.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { Metrics } from '../support/metrics.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'
import { ONCE } from '../support/versions.ts'

const SOURCE = {
  reporter: 'source',
  source_workload: 'web-v2',
  source_canonical_service: 'web',
  source_canonical_revision: 'v2',
  source_workload_namespace: 'default',
  source_principal: 'unknown',
  source_app: 'web',
  source_version: 'v2',
  source_cluster: 'Kubernetes',
}

const REVIEWS = {
  // An endpoint that is no WorkloadEntry goes by its app.
  destination_workload: 'reviews',
  destination_workload_namespace: 'default',
  destination_principal: 'unknown',
  destination_app: 'reviews',
  destination_version: 'v3',
  destination_service: 'reviews.default.svc.cluster.local',
  destination_canonical_service: 'reviews',
  destination_canonical_revision: 'v3',
  destination_service_name: 'reviews.default.svc.cluster.local',
  destination_service_namespace: 'default',
  destination_cluster: 'Kubernetes',
}

let upstream: Upstream
let raw: Upstream
let proxy: HeddleProcess

t.before(async () => {
  upstream = await Upstream.start(t, (e) =>
    e.answer({ body: '12345', status: Number(/\d{3}$/.exec(e.request.target)?.[0] ?? 200) }),
  )
  raw = await Upstream.start(t, { raw: true })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'reviews', endpoints: [{ address: upstream.address, labels: { app: 'reviews', version: 'v3' } }] }),
      service({ host: 'strict', endpoints: [upstream] }),
      virtualService('strict', ['strict'], [{ match: [{ uri: { exact: '/x' } }], route: [{ destination: { host: 'strict' } }] }]),
      service({
        host: 'db',
        port: 5432,
        protocol: 'TCP',
        endpoints: [{ address: raw.address, labels: { app: 'db', version: 'v9' } }],
      }),
    ),
    bootstrap: { concurrency: 2, workload: { namespace: 'default', name: 'web-v2', labels: { app: 'web', version: 'v2' } } },
    listeners: [{ name: 'out' }, { name: 'db', protocol: 'tcp', destination: 'db.default.svc.cluster.local:5432' }],
  })
})

/** The one series with these labels, all of them and no others. */
function only(m: Metrics, name: string, labels: Readonly<Record<string, string>>) {
  const found = m.samples.filter(
    (s) => s.name === name && JSON.stringify(Object.entries(s.labels).sort()) === JSON.stringify(Object.entries(labels).sort()),
  )
  if (found.length !== 1)
    throw new Error(
      `${found.length} of ${name}; there are:\n${m.text
        .split('\n')
        .filter((l) => l.startsWith(name))
        .join('\n')}`,
    )
  return found[0]?.value
}

t.test('istio_requests_total: labels as in Istio, one for each request, over all workers', async (t) => {
  const labels = (code: string) => ({
    ...SOURCE,
    ...REVIEWS,
    request_protocol: 'http',
    response_code: code,
    grpc_response_status: '',
    response_flags: '-',
    connection_security_policy: 'unknown',
  })
  for (let i = 0; i < 12; i++) await askAny(t, proxy.port('out'), { host: 'reviews', target: '/200' })
  for (let i = 0; i < 5; i++) await askAny(t, proxy.port('out'), { host: 'reviews', target: '/404' })
  await proxy.logged({ response_code: 404 })
  await eventually('all lines', () => proxy.accessLog().length === 17)
  const m = await proxy.metrics()
  t.equal(only(m, 'istio_requests_total', labels('200')), 12)
  t.equal(only(m, 'istio_requests_total', labels('404')), 5)
  t.equal(m.type('istio_requests_total'), 'counter')
  for (const name of ['istio_request_duration_milliseconds', 'istio_request_bytes', 'istio_response_bytes']) {
    t.equal(m.type(name), 'histogram')
    t.equal(only(m, `${name}_count`, labels('200')), 12, name)
    t.equal(only(m, `${name}_bucket`, { ...labels('200'), le: '+Inf' }), 12, name)
  }
  t.ok((only(m, 'istio_response_bytes_sum', labels('200')) as number) >= 12 * 5)
})

t.test('what got no upstream is counted too', async (t) => {
  await askAny(t, proxy.port('out'), { host: 'strict', target: '/nothing' })
  await proxy.logged({ path: '/nothing' })
  const m = await proxy.metrics()
  t.equal(m.value('istio_requests_total', { response_code: '404', response_flags: 'NR', reporter: 'source' }), 1)
})

t.test('gRPC: the protocol and the status', async (t) => {
  await askAny(t, proxy.port('out'), {
    method: 'POST',
    host: 'strict',
    target: '/grpc',
    headers: { 'Content-Type': 'application/grpc' },
  })
  await proxy.logged({ path: '/grpc' })
  const m = await proxy.metrics()
  t.equal(m.value('istio_requests_total', { request_protocol: 'grpc', grpc_response_status: '12', response_code: '200' }), 1)
})

t.test('what a client writes as Host becomes no label without end', async (t) => {
  const before = (await proxy.metrics()).find('istio_requests_total').length
  const client = await connectAny(t, proxy.port('out'))
  for (let i = 0; i < 300; i++) await client.ask({ host: `h${i}.example` })
  await eventually('the lines', () => proxy.accessLog().some((l) => l['authority'] === 'h299.example'))
  const after = (await proxy.metrics()).find('istio_requests_total').length
  t.ok(after - before < 250, `${after - before} new series for 300 names`)
})

t.test('TCP: opened, closed, and the bytes from the view of the client', { skip: ONCE }, async (t) => {
  const labels = {
    ...SOURCE,
    ...REVIEWS,
    destination_workload: 'db',
    destination_app: 'db',
    destination_version: 'v9',
    destination_canonical_service: 'db',
    destination_canonical_revision: 'v9',
    destination_service: 'db.default.svc.cluster.local',
    destination_service_name: 'db.default.svc.cluster.local',
    request_protocol: 'tcp',
    response_flags: '-',
    connection_security_policy: 'unknown',
  }
  const client = await RawClient.connect(t, proxy.port('db'))
  const side = await raw.nextConnection()
  await client.write('1234567')
  await side.untilReceived(7)
  await side.write('123')
  await client.untilReceived(3)
  const open = await proxy.metrics()
  t.equal(only(open, 'istio_tcp_connections_opened_total', labels), 1)
  client.end()
  side.end()
  await client.closed()
  await proxy.logged({ upstream_cluster: 'outbound|5432||db.default.svc.cluster.local' })
  const m = await proxy.metrics()
  t.equal(only(m, 'istio_tcp_connections_closed_total', labels), 1)
  t.equal(only(m, 'istio_tcp_received_bytes_total', labels), 7)
  t.equal(only(m, 'istio_tcp_sent_bytes_total', labels), 3)
})
