// Istio's standard metrics: names, label order and values (Istio standard metrics; contrib/istio istio_stats).
import t from 'tap'
import type { WorkloadIdentity } from '../../../lib/state/bootstrap-config.ts'
import type { Cluster, Endpoint } from '../../../lib/state/cluster.ts'
import { type MetricTerms, NO_METRICS } from '../../../lib/state/metric-terms.ts'
import { planOf } from '../../../lib/telemetry/metric-plan.ts'
import { MetricsRegistry } from '../../../lib/telemetry/metrics-registry.ts'
import { NO_GRPC_STATUS, NOT_GRPC, RequestMetrics } from '../../../lib/telemetry/request-metrics.ts'
import { DC, NR, UF, URX } from '../../../lib/telemetry/response-flags.ts'
import { createSlabBuffer, MetricsSlab } from '../../../lib/telemetry/slab.ts'
import { aCluster, anEndpoint, NO_WORKLOAD } from '../../support/nouns.ts'
import { type Page, parseExposition } from './exposition.ts'
import { accessRecord } from './record.ts'

const own: WorkloadIdentity = {
  namespace: 'shop',
  serviceAccount: 'web',
  name: 'web-v1',
  labels: {
    app: 'web',
    version: 'v1',
    'service.istio.io/canonical-name': 'web-canonical',
    'service.istio.io/canonical-revision': 'r1',
  },
  address: '10.0.0.1',
  locality: '',
}

const reviews = aCluster({
  name: 'outbound|9080|v2|reviews.prod.svc.cluster.local',
  host: 'reviews.prod.svc.cluster.local',
  serviceName: 'reviews',
  serviceNamespace: 'prod',
  subset: 'v2',
})

const passthrough: Cluster = {
  ...reviews,
  name: 'PassthroughCluster',
  host: '',
  serviceName: '',
  serviceNamespace: '',
  subset: '',
}

const endpoint = anEndpoint({
  address: '10.0.0.9',
  workload: {
    workload: 'reviews-v2',
    namespace: 'prod',
    app: 'reviews',
    version: 'v2',
    canonicalService: 'reviews',
    canonicalRevision: 'v2',
    cluster: '',
  },
})

const nameless: Endpoint = { ...endpoint, workload: NO_WORKLOAD }

interface World {
  readonly metrics: RequestMetrics
  page(): Page
}

function world(identity: WorkloadIdentity = own, maxSeries = 0, maxAuthorities?: number, isWaypoint = false): World {
  const registry = new MetricsRegistry()
  const buffer = createSlabBuffer(1 << 16)
  registry.addWorker(0, buffer)
  const slab = new MetricsSlab(buffer, (family, labels, slot) => registry.series(0, family, labels, slot), maxSeries)
  return {
    metrics: new RequestMetrics(slab, identity, 'Kubernetes', maxAuthorities, isWaypoint),
    page: () => parseExposition(registry.expose()),
  }
}

/** Labels of the only series of a metric. */
function labelsOf(page: Page, name: string): Readonly<Record<string, string>> {
  const found = page.samples.filter((s) => s.name === name)
  if (found.length !== 1) throw new Error(`${found.length} series of ${name}`)
  return (found[0] as (typeof found)[number]).labels
}

t.test('an outbound request has all labels in Istio order', async (t) => {
  const { metrics, page } = world()
  metrics.record(
    metrics.seriesFor('source', reviews, endpoint),
    accessRecord({ responseCode: 200, durationMs: 12 }),
    300,
    2000,
    NOT_GRPC,
  )
  t.strictSame(Object.entries(labelsOf(page(), 'istio_requests_total')), [
    ['reporter', 'source'],
    ['source_workload', 'web-v1'],
    ['source_canonical_service', 'web-canonical'],
    ['source_canonical_revision', 'r1'],
    ['source_workload_namespace', 'shop'],
    ['source_principal', 'unknown'],
    ['source_app', 'web'],
    ['source_version', 'v1'],
    ['source_cluster', 'Kubernetes'],
    ['destination_workload', 'reviews-v2'],
    ['destination_workload_namespace', 'prod'],
    ['destination_principal', 'unknown'],
    ['destination_app', 'reviews'],
    ['destination_version', 'v2'],
    ['destination_service', 'reviews.prod.svc.cluster.local'],
    ['destination_canonical_service', 'reviews'],
    ['destination_canonical_revision', 'v2'],
    ['destination_service_name', 'reviews'],
    ['destination_service_namespace', 'prod'],
    ['destination_cluster', 'Kubernetes'],
    ['request_protocol', 'http'],
    ['response_code', '200'],
    ['grpc_response_status', ''],
    ['response_flags', '-'],
    ['connection_security_policy', 'unknown'],
  ])
  const p = page()
  t.equal(p.value('istio_requests_total', {}), 1)
  t.equal(p.value('istio_request_duration_milliseconds_sum', {}), 12)
  t.equal(p.value('istio_request_duration_milliseconds_bucket', { le: '10' }), 0)
  t.equal(p.value('istio_request_duration_milliseconds_bucket', { le: '25' }), 1)
  t.equal(p.value('istio_request_bytes_sum', {}), 300)
  t.equal(p.value('istio_request_bytes_bucket', { le: '250' }), 0)
  t.equal(p.value('istio_request_bytes_bucket', { le: '500' }), 1)
  t.equal(p.value('istio_response_bytes_sum', {}), 2000)
  t.equal(p.value('istio_response_bytes_count', {}), 1)
})

t.test('what is unknown says so', async (t) => {
  const rows: [
    what: string,
    reporter: 'source' | 'destination',
    cluster: Cluster | null,
    ep: Endpoint | null,
    expected: object,
  ][] = [
    [
      'an endpoint without workload',
      'source',
      reviews,
      nameless,
      {
        destination_workload: 'unknown',
        destination_app: 'unknown',
        destination_canonical_service: 'unknown',
        destination_canonical_revision: 'latest',
        destination_cluster: 'unknown',
        destination_service: 'reviews.prod.svc.cluster.local',
      },
    ],
    [
      'no healthy endpoint: the service is known all the same',
      'source',
      reviews,
      null,
      {
        destination_workload: 'unknown',
        destination_service: 'reviews.prod.svc.cluster.local',
        destination_service_name: 'reviews',
        destination_service_namespace: 'prod',
      },
    ],
    [
      'no route: the authority',
      'source',
      null,
      null,
      {
        destination_service: 'shop.example:8080',
        destination_service_name: 'shop.example:8080',
        destination_service_namespace: 'unknown',
      },
    ],
    [
      'PassthroughCluster is the name of the service',
      'source',
      passthrough,
      nameless,
      { destination_service: 'shop.example:8080', destination_service_name: 'PassthroughCluster' },
    ],
    [
      'inbound: the client is unknown, we are the destination',
      'destination',
      { ...reviews, name: 'inbound|9000||' },
      endpoint,
      {
        reporter: 'destination',
        source_workload: 'unknown',
        source_workload_namespace: 'unknown',
        source_canonical_revision: 'latest',
        source_cluster: 'unknown',
        destination_workload: 'web-v1',
        destination_workload_namespace: 'shop',
        destination_canonical_service: 'web-canonical',
        destination_cluster: 'Kubernetes',
        connection_security_policy: 'none',
      },
    ],
    [
      'inbound without a service: never the authority',
      'destination',
      { ...passthrough, name: 'inbound|9000||' },
      null,
      { destination_service: 'unknown', destination_service_name: 'unknown', destination_service_namespace: 'shop' },
    ],
  ]
  for (const [what, reporter, cluster, ep, expected] of rows) {
    const { metrics, page } = world()
    metrics.record(metrics.seriesFor(reporter, cluster, ep), accessRecord({ authority: 'shop.example:8080' }), 1, 1, NOT_GRPC)
    t.match(labelsOf(page(), 'istio_requests_total'), expected, what)
  }
})

t.test('a waypoint reports as one: the client by its tunnel, the endpoint as the destination', async (t) => {
  const { metrics, page } = world(own, 0, undefined, true)
  const client = 'spiffe://cluster.local/ns/shop/sa/client'
  const waypoint = 'spiffe://cluster.local/ns/shop/sa/waypoint'
  const unversioned = { ...endpoint, workload: { ...endpoint.workload, canonicalRevision: '' } }
  const record = accessRecord({ peerPrincipal: client, ownPrincipal: waypoint })
  for (const reporter of ['source', 'destination'] as const)
    metrics.record(metrics.seriesFor(reporter, reviews, unversioned), record, 1, 1, NOT_GRPC)
  t.match(labelsOf(page(), 'istio_requests_total'), {
    reporter: 'waypoint',
    source_workload: 'unknown',
    source_principal: client,
    destination_workload: endpoint.workload.workload,
    destination_principal: waypoint,
    destination_service: 'reviews.prod.svc.cluster.local',
    destination_canonical_revision: 'unknown',
    connection_security_policy: 'mutual_tls',
  })
})

t.test('canonical labels fall back as the injector makes them', async (t) => {
  const rows: [labels: Record<string, string>, name: string, service: string, revision: string][] = [
    [{ 'app.kubernetes.io/name': 'k', app: 'a', 'app.kubernetes.io/version': '2', version: '1' }, 'w', 'k', '2'],
    [{ app: 'a', version: '1' }, 'w', 'a', '1'],
    [{}, 'w', 'w', 'latest'],
    [{}, 'unknown', 'unknown', 'latest'],
  ]
  for (const [labels, name, service, revision] of rows) {
    const { metrics, page } = world({ ...own, labels, name })
    metrics.record(metrics.seriesFor('source', reviews, endpoint), accessRecord({}), 1, 1, NOT_GRPC)
    t.match(labelsOf(page(), 'istio_requests_total'), { source_canonical_service: service, source_canonical_revision: revision })
  }
})

t.test('each outcome is a series', async (t) => {
  const { metrics, page } = world()
  const cache = metrics.seriesFor('source', reviews, endpoint)
  const rows: [code: number, flags: number, grpc: number, times: number, expected: Record<string, string>][] = [
    [200, 0, NOT_GRPC, 3, { request_protocol: 'http', response_code: '200', grpc_response_status: '', response_flags: '-' }],
    [503, UF | URX, NOT_GRPC, 2, { request_protocol: 'http', response_code: '503', response_flags: 'URX,UF' }],
    [0, DC, NOT_GRPC, 1, { response_code: '0', response_flags: 'DC' }],
    [404, NR, NOT_GRPC, 1, { response_code: '404', response_flags: 'NR' }],
    [200, 0, 0, 4, { request_protocol: 'grpc', response_code: '200', grpc_response_status: '0' }],
    [200, 0, 14, 1, { request_protocol: 'grpc', response_code: '200', grpc_response_status: '14' }],
    [200, 0, NO_GRPC_STATUS, 2, { request_protocol: 'grpc', response_code: '200', grpc_response_status: '' }],
    [999, 0, 16, 1, { response_code: '999', grpc_response_status: '16' }],
  ]
  // Interleaved, so that the last series used is not always the next.
  for (let round = 0; round < 4; round++) {
    for (const [responseCode, responseFlags, grpc, times] of rows) {
      if (round < times) metrics.record(cache, accessRecord({ responseCode, responseFlags }), 10, 20, grpc)
    }
  }
  const p = page()
  for (const [, , , times, labels] of rows) {
    t.equal(p.value('istio_requests_total', labels), times, JSON.stringify(labels))
    t.equal(p.value('istio_request_bytes_sum', labels), times * 10)
    t.equal(p.value('istio_response_bytes_sum', labels), times * 20)
  }
})

t.test('a status that gRPC does not have is one label, whatever it is', async (t) => {
  const { metrics, page } = world()
  const cache = metrics.seriesFor('source', reviews, endpoint)
  for (const status of [17, 99, 4711]) metrics.record(cache, accessRecord({}), 1, 1, status)
  t.equal(page().value('istio_requests_total', { grpc_response_status: '17' }), 3)
})

t.test('the same labels from two caches are one series', async (t) => {
  const { metrics, page } = world()
  for (let i = 0; i < 2; i++) metrics.record(metrics.seriesFor('source', reviews, endpoint), accessRecord({}), 1, 1, NOT_GRPC)
  t.equal(page().value('istio_requests_total', {}), 2)
})

t.test('a hundred thousand hosts of a client do not become labels', async (t) => {
  const { metrics, page } = world(own, 0, 3)
  const cache = metrics.seriesFor('source', null, null)
  for (let i = 0; i < 100_000; i++) {
    metrics.record(cache, accessRecord({ authority: `h${i}.example`, responseCode: 404 }), 1, 1, NOT_GRPC)
  }
  const p = page()
  t.strictSame(
    p.samples.filter((s) => s.name === 'istio_requests_total').map((s) => [s.labels['destination_service'], s.value]),
    [
      ['h0.example', 1],
      ['h1.example', 1],
      ['h2.example', 1],
      ['unknown', 99_997],
    ],
  )
  t.equal(cache.byAuthority?.size, 4, 'nor do they stay in memory')
})

t.test('an authority that is no host is no label', async (t) => {
  const { metrics, page } = world()
  const cache = metrics.seriesFor('source', null, null)
  for (const authority of ['a"b', 'a\nb', 'a b', 'é', 'x'.repeat(129), '']) {
    metrics.record(cache, accessRecord({ authority }), 1, 1, NOT_GRPC)
  }
  t.equal(page().value('istio_requests_total', { destination_service: 'unknown' }), 6)
})

t.test('beyond maxSeries requests are still counted', async (t) => {
  const { metrics, page } = world(own, 8) // two series of four metrics
  const cache = metrics.seriesFor('source', reviews, endpoint)
  for (let code = 200; code < 210; code++) metrics.record(cache, accessRecord({ responseCode: code }), 1, 1, NOT_GRPC)
  const p = page()
  t.equal(p.value('istio_requests_total', { overflow: 'true' }), 8)
  t.equal(p.value('istio_request_duration_milliseconds_count', { overflow: 'true' }), 8)
  t.equal(p.value('heddle_metric_overflow_total', {}), 8)
})

t.test('a TCP session has no code and no gRPC status', async (t) => {
  const { metrics, page } = world()
  const cache = metrics.seriesFor('source', reviews, endpoint)
  const session = { ...accessRecord({ responseFlags: 0 }), plan: null }
  metrics.tcpOpened(cache, session)
  metrics.tcpBytes(cache, session, 5, 7)
  metrics.tcpClosed(cache, session, 10, 100)
  const p = page()
  t.equal(p.value('istio_tcp_connections_opened_total', {}), 1)
  t.equal(p.value('istio_tcp_connections_closed_total', {}), 1)
  t.equal(p.value('istio_tcp_received_bytes_total', {}), 15, 'from the client')
  t.equal(p.value('istio_tcp_sent_bytes_total', {}), 107, 'to the client')
  t.strictSame(Object.keys(labelsOf(p, 'istio_tcp_sent_bytes_total')).slice(19), [
    'destination_cluster',
    'request_protocol',
    'response_flags',
    'connection_security_policy',
  ])
  t.match(labelsOf(p, 'istio_tcp_sent_bytes_total'), { request_protocol: 'tcp', response_flags: '-' })
  const failed = { ...session, responseFlags: UF | URX }
  metrics.tcpOpened(cache, failed)
  metrics.tcpClosed(cache, failed, 0, 0)
  t.equal(page().value('istio_tcp_connections_closed_total', { response_flags: 'URX,UF' }), 1)
})

t.test('what a control plane changes of them (istio.stats)', async (t) => {
  const REQUEST_METRICS = [
    'istio_requests_total',
    'istio_request_duration_milliseconds_count',
    'istio_request_bytes_count',
    'istio_response_bytes_count',
  ]
  const names = (page: Page): string[] =>
    [...new Set(page.samples.map((s) => s.name))].filter((n) => /^istio_(?!build)/.test(n) && !/_(?:sum|bucket)$/.test(n))
  const asked = (
    changes: MetricTerms['changes'],
    over: Partial<Parameters<typeof accessRecord>[0]> & { readonly requestHeaders?: { get(name: string): string | null } } = {},
  ): Page => {
    const { metrics, page } = world()
    const { requestHeaders, ...parts } = over
    const rec = { ...accessRecord(parts), ...(requestHeaders === undefined ? {} : { requestHeaders }) }
    const cache = metrics.seriesFor('source', reviews, endpoint)
    const plan = planOf({ on: true, changes, tcpReportMs: 5000 })
    // The second one finds its series.
    for (const code of [1, 2]) metrics.record(cache, rec, code, code, NOT_GRPC, plan)
    return page()
  }
  const none = { metric: '', drop: false, remove: [], set: [] } as const

  t.same(names(asked([])), REQUEST_METRICS)
  t.same(names(asked([{ ...none, metric: 'request_bytes', drop: true }])), [
    'istio_requests_total',
    'istio_request_duration_milliseconds_count',
    'istio_response_bytes_count',
  ])
  t.same(names(asked([{ ...none, drop: true }])), [])
  const removed = asked([{ ...none, metric: 'requests_total', remove: ['destination_principal', 'no_such_label'] }])
  t.same(names(removed), REQUEST_METRICS)
  t.notOk('destination_principal' in labelsOf(removed, 'istio_requests_total'))
  t.ok('destination_principal' in labelsOf(removed, 'istio_request_bytes_count'), 'of the others it is there')
  t.equal(removed.value('istio_requests_total', {}), 2)

  const set = asked(
    [
      {
        ...none,
        set: [
          ['z_last', { kind: 'text', text: 'z' }],
          ['request_host', { kind: 'request', what: 'host' }],
          ['request_method', { kind: 'request', what: 'method' }],
          ['request_path', { kind: 'request', what: 'url_path' }],
          ['tenant', { kind: 'header', name: 'x-tenant' }],
          ['absent', { kind: 'header', name: 'x-none' }],
          ['port', { kind: 'port' }],
          ['destination_version', { kind: 'text', text: 'other' }],
        ],
      },
    ],
    { requestHeaders: { get: (name) => (name === 'x-tenant' ? 'blue "1"' : null) } },
  )
  const labels = labelsOf(set, 'istio_requests_total')
  t.equal(labels['destination_version'], 'other', 'in its place')
  t.same(Object.entries(labels).slice(25), [
    ['absent', 'unknown'],
    ['port', '8080'],
    ['request_host', 'reviews:9080'],
    ['request_method', 'GET'],
    ['request_path', '/reviews'],
    ['tenant', 'blue "1"'],
    ['z_last', 'z'],
  ])

  const { metrics, page } = world()
  metrics.record(metrics.seriesFor('source', reviews, endpoint), accessRecord({}), 1, 1, NOT_GRPC, planOf(NO_METRICS))
  const session = { ...accessRecord({ responseFlags: 0 }), plan: planOf(NO_METRICS) }
  metrics.tcpOpened(metrics.seriesFor('source', reviews, endpoint), session)
  t.same(names(page()), [])
  const tcp = world()
  const opened = planOf({ on: true, changes: [{ ...none, metric: 'tcp_sent_bytes_total', drop: true }], tcpReportMs: 5000 })
  const cache = tcp.metrics.seriesFor('source', reviews, endpoint)
  tcp.metrics.tcpOpened(cache, { ...session, plan: opened })
  tcp.metrics.tcpClosed(cache, { ...session, plan: opened }, 3, 4)
  t.same(names(tcp.page()), [
    'istio_tcp_connections_opened_total',
    'istio_tcp_connections_closed_total',
    'istio_tcp_received_bytes_total',
  ])
})

t.test('two requests whose labels differ by their own values are two series', async (t) => {
  const { metrics, page } = world()
  const cache = metrics.seriesFor('source', reviews, endpoint)
  const host = [['request_host', { kind: 'request', what: 'host' }]] as const
  const plan = planOf({ on: true, changes: [{ metric: '', drop: false, remove: [], set: host }], tcpReportMs: 5000 })
  for (const authority of ['a', 'b', 'a']) metrics.record(cache, accessRecord({ authority }), 1, 1, NOT_GRPC, plan)
  t.equal(page().value('istio_requests_total', { request_host: 'a' }), 2)
  t.equal(page().value('istio_requests_total', { request_host: 'b' }), 1)
})

t.test('messages of gRPC', async (t) => {
  const { metrics, page } = world()
  const cache = metrics.seriesFor('source', reviews, endpoint)
  for (const request of [1, 4]) metrics.record(cache, accessRecord({}), 1, 1, 0, null, { request, response: 2 })
  t.equal(page().value('istio_request_messages_total', { grpc_response_status: '0', request_protocol: 'grpc' }), 5)
  t.equal(page().value('istio_response_messages_total', {}), 4)
  const changes = [{ metric: 'response_messages_total', drop: true, remove: [], set: [] }]
  const dropped = world()
  dropped.metrics.record(
    dropped.metrics.seriesFor('source', reviews, endpoint),
    accessRecord({}),
    1,
    1,
    0,
    planOf({ on: true, changes, tcpReportMs: 5000 }),
    { request: 1, response: 2 },
  )
  t.equal(dropped.page().value('istio_request_messages_total', {}), 1)
  t.notOk(dropped.page().samples.some((s) => s.name === 'istio_response_messages_total'))
})
