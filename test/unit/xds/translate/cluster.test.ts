// Clusters one field at a time: what each becomes, and what makes a cluster refused. Expected values are Envoy's documented defaults and Istio's names.
import t from 'tap'
import type { Cluster } from '../../../../lib/state/cluster.ts'
import { Cluster as ClusterMessage } from '../../../../lib/xds/proto/cluster.ts'
import { HeaderKeyFormat, Http1ProtocolOptions } from '../../../../lib/xds/proto/core.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { HttpProtocolOptions } from '../../../../lib/xds/proto/http-protocol-options.ts'
import { message, typeUrlOf } from '../../../../lib/xds/proto/schema.ts'
import { translateCluster } from '../../../../lib/xds/translate/cluster.ts'
import { clusterWaitsFor } from '../../../../lib/xds/translate/warming.ts'
import { assembled, clusterFrom, endpointAt, found, type Json } from './kit.ts'

const TYPE = 'type.googleapis.com/'
const LB = `${TYPE}envoy.extensions.load_balancing_policies`
const HTTP = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
const http = (options: Json): Json => ({ typed_extension_protocol_options: { [HTTP]: { '@type': TYPE + HTTP, ...options } } })
const policy = (type: string, config: Json = {}): Json => ({
  typed_extension_config: { name: type, typed_config: { '@type': `${LB}.${type}`, ...config } },
})

const EDS: Json = { name: 'outbound|9080|v2|reviews.shop.svc.cluster.local', type: 'EDS' }
const DIALLED: Json = { name: 'd', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' }

function nounOf(resource: Json): Cluster {
  const { result, faults } = clusterFrom(resource)
  if (result === null || faults !== '') throw new Error(faults)
  return result.cluster
}

const proxied = (version: string, transport_socket: Json = raw): Json => ({
  name: 'p',
  typed_config: {
    '@type': `${TYPE}envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`,
    config: { version },
    transport_socket,
  },
})
const raw: Json = { name: 'r', typed_config: { '@type': `${TYPE}envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer` } }
const inside = (transport_socket: Json): Json => ({
  name: 'i',
  typed_config: {
    '@type': `${TYPE}envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport`,
    transport_socket,
  },
})

t.test('who is told of clients', async (t) => {
  const rows: readonly (readonly [fields: Json, told: string])[] = [
    [{}, 'none'],
    [{ transport_socket: raw }, 'none'],
    [{ transport_socket: proxied('V1') }, 'v1'],
    [{ transport_socket: proxied('V2') }, 'v2'],
    // A waypoint's, and a sidecar's that has HBONE.
    [{ transport_socket: inside(proxied('V2')) }, 'v2'],
    [
      {
        transport_socket_matches: [
          { name: 'hbone', match: { tunnel: 'http' }, transport_socket: proxied('V2', inside(raw)) },
          { name: 'tlsMode-disabled', match: {}, transport_socket: proxied('V2') },
        ],
      },
      'v2',
    ],
  ]
  for (const [fields, told] of rows) {
    const { result, faults } = clusterFrom({ ...EDS, ...fields })
    t.same([result?.cluster.proxyProtocol, faults], [told, ''], JSON.stringify(fields))
  }
})

t.test('what is not written is as Envoy has it', async (t) => {
  t.match(nounOf(EDS), {
    name: 'outbound|9080|v2|reviews.shop.svc.cluster.local',
    type: 'STATIC',
    loadBalancer: { kind: 'ROUND_ROBIN' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: 50,
    outlierDetection: null,
    tls: null,
    tlsReason: { why: 'off' },
    bind: null,
    protocol: 'http1',
    host: 'reviews.shop.svc.cluster.local',
    port: 9080,
    subset: 'v2',
    limits: {
      maxConnections: 1024,
      maxPendingRequests: 1024,
      maxRequests: 1024,
      maxRetries: 3,
      connectTimeoutMs: 5000,
      httpIdleTimeoutMs: 3_600_000,
      tcpKeepaliveSeconds: 0,
      retryBudget: null,
    },
  })
})

t.test('what is written', async (t) => {
  const none = 4_294_967_295
  const istio = (metadata: Json): Json => ({ metadata: { filter_metadata: { istio: metadata } } })
  const rows: [name: string, resource: Json, expected: object][] = [
    [
      'thresholds, where the largest number is none',
      {
        circuit_breakers: {
          thresholds: [{ max_connections: none, max_pending_requests: 7, max_requests: none, max_retries: 2 }],
        },
      },
      { limits: { maxConnections: 0, maxPendingRequests: 7, maxRequests: 0, maxRetries: 2 } },
    ],
    [
      'no retries at all are a budget of nothing',
      { circuit_breakers: { thresholds: [{ max_retries: 0 }] } },
      { limits: { maxRetries: 0, retryBudget: { percent: 0, minConcurrency: 0 } } },
    ],
    [
      'a retry budget with its defaults',
      { circuit_breakers: { thresholds: [{ retry_budget: {} }] } },
      { limits: { retryBudget: { percent: 20, minConcurrency: 3 } } },
    ],
    [
      'keepalive',
      { upstream_connection_options: { tcp_keepalive: { keepalive_probes: 3, keepalive_interval: 5 } } },
      { limits: { tcpKeepaliveSeconds: 7200, tcpKeepaliveIntervalSeconds: 5, tcpKeepaliveProbes: 3 } },
    ],
    ['a panic threshold without a value is 0', { common_lb_config: { healthy_panic_threshold: {} } }, { panicThreshold: 0 }],
    [
      'HTTP/2',
      http({ explicit_http_config: { http2_protocol_options: { max_concurrent_streams: 9 } } }),
      { protocol: 'http2', limits: { maxConcurrentStreams: 9 } },
    ],
    ["the client's protocol", http({ use_downstream_protocol_config: { http2_protocol_options: {} } }), { protocol: 'client' }],
    ['HTTP/1.1 written out', http({ explicit_http_config: { http_protocol_options: {} } }), { protocol: 'http1' }],
    [
      'idle and requests of a connection',
      http({
        common_http_protocol_options: { idle_timeout: '0s', max_requests_per_connection: 1, max_connection_duration: '9s' },
        explicit_http_config: { http_protocol_options: {} },
      }),
      { limits: { httpIdleTimeoutMs: 0, maxRequestsPerConnection: 1, maxConnectionDurationMs: 9000 } },
    ],
    [
      'least requests that start slowly',
      {
        lb_policy: 'LEAST_REQUEST',
        least_request_lb_config: {
          slow_start_config: {
            slow_start_window: '60s',
            aggression: { default_value: 2, runtime_key: 'a' },
            min_weight_percent: { value: 20 },
          },
        },
      },
      { loadBalancer: { kind: 'LEAST_REQUEST' }, slowStart: { windowMs: 60_000, minimumPercent: 20, aggression: 2 } },
    ],
    [
      'a ring',
      { lb_policy: 'RING_HASH', ring_hash_lb_config: { minimum_ring_size: 10, maximum_ring_size: 20 } },
      { loadBalancer: { kind: 'RING_HASH', minimumRingSize: 10, maximumRingSize: 20 } },
    ],
    [
      'maglev',
      { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: 101 } },
      { loadBalancer: { kind: 'MAGLEV', tableSize: 101 } },
    ],
    [
      'a policy as an extension, behind one that is not known',
      { load_balancing_policy: { policies: [policy('pick_first.v3.PickFirst'), policy('maglev.v3.Maglev')] } },
      { loadBalancer: { kind: 'MAGLEV', tableSize: 65_537 } },
    ],
    [
      'sources of connections',
      {
        upstream_bind_config: {
          source_address: { address: '127.0.0.6', port_value: 0 },
          extra_source_addresses: [{ address: { address: '::6', port_value: 0 } }],
          socket_options: [{ level: 1, name: 36, int_value: 1337 }],
        },
      },
      { bind: { source4: '127.0.0.6', source6: '::6', clientSource: false, mark: 1337 } },
    ],
    ['any source is none', { upstream_bind_config: { source_address: { address: '0.0.0.0', port_value: 0 } } }, { bind: null }],
    [
      'the service and who wrote the policy',
      istio({
        services: [{ host: 'reviews.shop.svc.cluster.local', name: 'reviews', namespace: 'shop' }],
        config: '/apis/networking.istio.io/v1/namespaces/shop/destination-rule/r',
      }),
      {
        host: 'reviews.shop.svc.cluster.local',
        serviceName: 'reviews',
        serviceNamespace: 'shop',
        origin: { kind: 'Service', namespace: 'shop', name: 'reviews' },
        policyOrigin: { kind: 'DestinationRule', namespace: 'shop', name: 'r' },
      },
    ],
    ['a service outside of the mesh', istio({ external: true }), { tlsReason: { why: 'external' } }],
    ['fields that are not known are passed over', { track_timeout_budgets: true, dns_jitter: '0.1s' }, {}],
  ]
  for (const [name, resource, expected] of rows) t.match(nounOf({ ...EDS, ...resource }), expected, name)
})

t.test('outlier detection', async (t) => {
  const of = (detection: Json) => nounOf({ ...EDS, outlier_detection: detection }).outlierDetection
  t.match(of({}), {
    consecutive5xx: 5,
    consecutiveGateway: 0,
    consecutiveLocalOrigin: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionMs: 300_000,
    maxEjectionPercent: 10,
    successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 1.9 },
    failurePercentage: null,
  })
  const istiod = {
    consecutive_5xx: 2,
    enforcing_consecutive_5xx: 100,
    enforcing_success_rate: 0,
    interval: '1s',
    base_ejection_time: '600s',
    max_ejection_percent: 50,
  }
  t.match(of(istiod), {
    consecutive5xx: 2,
    intervalMs: 1000,
    baseEjectionMs: 600_000,
    maxEjectionMs: 600_000,
    maxEjectionPercent: 50,
    successRate: null,
  })
  t.match(of({ consecutive_5xx: 2, enforcing_consecutive_5xx: 0 }), { consecutive5xx: 0 })
  t.match(of({ consecutive_gateway_failure: 3, enforcing_consecutive_gateway_failure: 100 }), { consecutiveGateway: 3 })
  t.match(of({ split_external_local_origin_errors: true }), { splitLocalOrigin: true, consecutiveLocalOrigin: 5 })
  t.match(of({ enforcing_failure_percentage: 100 }), { failurePercentage: { threshold: 85, minimumHosts: 5, requestVolume: 50 } })
})

t.test('types', async (t) => {
  const load_assignment = (address: string): Json => ({
    load_assignment: { cluster_name: 'd', endpoints: [{ lb_endpoints: [endpointAt(address)] }] },
  })
  t.match(assembled({ name: 's', type: 'STATIC', ...load_assignment('10.0.0.1') }).cluster, {
    type: 'STATIC',
    endpoints: [{ address: '10.0.0.1', port: 80 }],
  })
  for (const [type, firstAddressOnly] of [
    ['STRICT_DNS', false],
    ['LOGICAL_DNS', true],
  ] as const)
    t.match(assembled({ name: 'd', type, ...load_assignment('e.example') }).cluster, {
      type: 'DNS',
      firstAddressOnly,
      endpoints: [],
      dnsNames: [{ host: 'e.example', port: 80, endpoint: { address: 'e.example' } }],
    })
  t.match(assembled({ ...DIALLED, original_dst_lb_config: { upstream_port_override: 9080 } }).cluster, {
    type: 'ORIGINAL_DST',
    endpoints: [{ address: '', port: 9080, weight: 1, tls: false, tunnel: null }],
  })
  t.match(nounOf(DIALLED), { type: 'ORIGINAL_DST', loadBalancer: { kind: 'PASSTHROUGH' }, endpoints: [] })
  t.match(nounOf({ name: 'BlackHoleCluster', type: 'STATIC' }), { type: 'STATIC', endpoints: [] })
})

t.test('refused, in words that name field and value', async (t) => {
  const rows: [resource: Json, faults: string][] = [
    [{ ...EDS, lb_policy: 7 }, 'lb_policy: LOAD_BALANCING_POLICY_CONFIG is not understood'],
    [{ ...EDS, lb_policy: 4 }, 'lb_policy: #4 is not understood'],
    [{ ...EDS, lb_policy: 'CLUSTER_PROVIDED' }, 'lb_policy: CLUSTER_PROVIDED goes only with a cluster of type ORIGINAL_DST'],
    [{ name: 'd', type: 'ORIGINAL_DST' }, 'lb_policy: ROUND_ROBIN does not go with a cluster of type ORIGINAL_DST'],
    [
      { ...EDS, load_balancing_policy: { policies: [policy('pick_first.v3.PickFirst')] } },
      'load_balancing_policy: none of its policies is understood: pick_first.v3.PickFirst',
    ],
    [
      { name: 'x', cluster_type: { name: 'envoy.clusters.redis' } },
      'cluster_type: envoy.clusters.redis is not understood; STATIC, STRICT_DNS, LOGICAL_DNS, EDS and ORIGINAL_DST are',
    ],
    [{ name: 'x', type: 9 }, 'type: #9 is not understood; STATIC, STRICT_DNS, LOGICAL_DNS, EDS and ORIGINAL_DST are'],
    [{ type: 'STATIC' }, 'name: a cluster needs a name'],
    [
      {
        ...EDS,
        transport_socket: {
          name: 'q',
          typed_config: { '@type': `${TYPE}envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate` },
        },
      },
      `transport_socket: the transport socket q (${TYPE}envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate) is not understood`,
    ],
    [{ ...EDS, transport_socket: { name: 'tls' } }, 'transport_socket: the transport socket tls has no typed_config'],
    [
      {
        ...EDS,
        transport_socket_matches: [
          { name: 'a', match: { a: 'b' }, transport_socket: proxied('V1') },
          { name: 'b', match: {}, transport_socket: proxied('V2') },
        ],
      },
      'transport_socket_matches: some endpoints of one cluster told of clients, and others not, is not carried out; all alike are',
    ],
    [
      { ...EDS, circuit_breakers: { thresholds: [{ max_requests: 0 }] } },
      'circuit_breakers.thresholds[0].max_requests: 0 lets nothing through, which is not carried out; 1 is the least',
    ],
    [
      { ...DIALLED, original_dst_lb_config: { use_http_header: true } },
      'original_dst_lb_config.use_http_header: a client may not choose the endpoint by a header',
    ],
    [
      { ...EDS, upstream_bind_config: { source_address: { address: 'lo', port_value: 0 } } },
      'upstream_bind_config.source_address: "lo" is no IP address',
    ],
    [
      { ...EDS, filters: [{ name: 'x.codec', typed_config: { '@type': `${TYPE}${HTTP}` } }] },
      'filters[0]: the filter x.codec is not understood',
    ],
    [
      { ...EDS, ...http({ explicit_http_config: { http3_protocol_options: {} } }) },
      'typed_extension_protocol_options.explicit_http_config: HTTP/3 is not spoken',
    ],
    [
      {
        ...EDS,
        health_checks: [
          {
            timeout: '1s',
            interval: '5s',
            unhealthy_threshold: 2,
            healthy_threshold: 1,
            custom_health_check: { name: 'envoy.health_checkers.redis' },
          },
        ],
      },
      'health_checks[0]: the checker envoy.health_checkers.redis is not understood',
    ],
    [
      {
        ...EDS,
        health_checks: [
          {
            timeout: '1s',
            interval: '5s',
            unhealthy_threshold: 2,
            healthy_threshold: 1,
            http_health_check: { path: '/', method: 'POST' },
          },
        ],
      },
      'health_checks[0].http_health_check.method: POST is not carried out; GET is',
    ],
  ]
  for (const [resource, faults] of rows) t.equal(clusterFrom(resource).faults, faults, faults)
  t.equal(
    clusterFrom({
      ...EDS,
      ...http({
        http_filters: [{ name: 'credentials' }, { name: 'envoy.filters.http.upstream_codec' }, { name: 'x', is_optional: true }],
      }),
    }).faults,
    'typed_extension_protocol_options.http_filters[0]: the filter credentials is not understood',
  )
  const both = clusterFrom({
    ...EDS,
    lb_policy: 4,
    upstream_bind_config: { source_address: { address: 'lo', port_value: 0 } },
  }).faults
  t.equal(both.split('; ').length, 2, 'all faults at once')
})

t.test('names of headers keep their case, which is what is asked for or told', async (t) => {
  const preserve = typeUrlOf(message('envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig', {}))
  const of = (format: Partial<typeof HeaderKeyFormat.empty>): string => {
    const header_key_format = { ...HeaderKeyFormat.empty, ...format }
    const http_protocol_options = { ...Http1ProtocolOptions.empty, header_key_format }
    const explicit_http_config = { http_protocol_options, http2_protocol_options: null, http3_protocol_options: null }
    const value = encode(HttpProtocolOptions, { ...HttpProtocolOptions.empty, explicit_http_config })
    const options = new Map([[HTTP, { typeUrl: typeUrlOf(HttpProtocolOptions), value }]])
    const cluster = { ...ClusterMessage.empty, name: 'c', typed_extension_protocol_options: options }
    return found((f) => translateCluster(encode(ClusterMessage, cluster), '', f)).notes
  }
  t.equal(of({ stateful_formatter: { name: 'preserve_case', typed_config: { typeUrl: preserve, value: new Uint8Array() } } }), '')
  t.match(of({ proper_case_words: {} }), /header_key_format is not carried out/)
})

t.test('hosts that are looked up when they are asked for', async (t) => {
  const cache = { dns_cache_config: { name: 'x', dns_lookup_family: 'V4_ONLY' } }
  const asked = (config: Json = cache, more: Json = {}): Json => ({
    name: 'inbound-vip|443|http|*.example.com',
    lb_policy: 'CLUSTER_PROVIDED',
    cluster_type: {
      name: 'envoy.clusters.dynamic_forward_proxy',
      typed_config: {
        '@type': `${TYPE}envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig`,
        ...config,
      },
    },
    ...more,
  })
  t.match(nounOf(asked()), { type: 'ORIGINAL_DST', loadBalancer: { kind: 'PASSTHROUGH' }, dialsHostAt: 80 })
  const tls = { name: 'tls', typed_config: { '@type': `${TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext` } }
  t.equal(nounOf(asked(cache, { transport_socket: tls })).dialsHostAt, 443)
  t.equal(nounOf({ ...EDS }).dialsHostAt, 0)
  t.equal(
    clusterFrom(asked({ sub_clusters_config: {} })).faults,
    'cluster_type.sub_clusters_config: a cluster for each host is not made',
  )
  t.match(
    clusterFrom(asked(cache, { lb_policy: 'ROUND_ROBIN' })).faults,
    /does not go with a cluster of type ORIGINAL_DST|CLUSTER_PROVIDED/,
  )
})

t.test('what is accepted without effect is told', async (t) => {
  const rows: readonly (readonly [Json, string])[] = [
    [
      { common_http_protocol_options: { max_stream_duration: '1s' } },
      'common_http_protocol_options.max_stream_duration: how long a request may take is said by routes and listeners',
    ],
    [{ close_connections_on_host_health_failure: true }, 'connections to endpoints are not cut when endpoints fail or change'],
    [
      { common_lb_config: { close_connections_on_host_set_change: true } },
      'connections to endpoints are not cut when endpoints fail or change',
    ],
    [
      { common_lb_config: { ignore_new_hosts_until_first_hc: true } },
      'common_lb_config: new endpoints are used when their first check is over, or half a second',
    ],
  ]
  for (const [fields, note] of rows) t.equal(clusterFrom({ ...EDS, ...fields }).notes, note)
})

t.test('which family of addresses a name is looked up for', async (t) => {
  for (const family of ['V4_ONLY', 'V6_ONLY', 'V4_PREFERRED', 'AUTO', 'ALL'])
    t.equal(nounOf({ name: 'd', type: 'STRICT_DNS', dns_lookup_family: family }).dnsFamily, family)
  t.equal(nounOf({ name: 'd', type: 'STRICT_DNS' }).dnsFamily, 'AUTO')
})

t.test('health checks of other control planes', async (t) => {
  const check = { timeout: '1s', interval: '5s', unhealthy_threshold: 2, healthy_threshold: 1 }
  const of = (kind: Json, own: Json = {}): unknown =>
    assembled(
      { ...EDS, health_checks: [{ ...check, ...kind }] },
      {
        cluster_name: 'x',
        endpoints: [
          { lb_endpoints: [{ endpoint: { ...(endpointAt('10.0.0.1')['endpoint'] as Json), health_check_config: own } }] },
        ],
      },
    ).cluster.endpoints[0]?.healthCheck
  t.match(of({ http_health_check: { path: '/up', expected_statuses: [{ start: 200, end: 300 }] } }, { port_value: 9000 }), {
    intervalMs: 5000,
    timeoutMs: 1000,
    unhealthyThreshold: 2,
    healthyThreshold: 1,
    probe: { kind: 'http', path: '/up', port: 9000, statuses: [{ from: 200, to: 299 }] },
  })
  t.match(of({ tcp_health_check: {} }), { probe: { kind: 'tcp', port: 0 } })
  t.match(of({ grpc_health_check: { service_name: 's' } }), { probe: { kind: 'grpc', service: 's' } })
  t.equal(of({ tcp_health_check: {} }, { disable_active_health_check: true }), null)
})

t.test('what it waits for', async (t) => {
  const sds = (name: string): Json => ({ name, sds_config: { ads: {} } })
  const tls = {
    '@type': `${TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
    common_tls_context: {
      tls_certificate_sds_secret_configs: [sds('default')],
      validation_context_sds_secret_config: sds('kubernetes://ca-cacert'),
    },
  }
  const { result } = clusterFrom({
    ...EDS,
    eds_cluster_config: { service_name: 'other' },
    transport_socket: { name: 'tls', typed_config: tls },
  })
  t.equal(result?.edsName, 'other')
  t.same(result?.secretNames, ['default', 'kubernetes://ca-cacert'])
  const arrived = (assignments: string[], secrets: string[]) => ({ assignments: new Set(assignments), secrets: new Set(secrets) })
  t.same(clusterWaitsFor(result!, arrived([], [])), [
    'the endpoints other',
    "the workload's own certificate (secret default)",
    'the secret kubernetes://ca-cacert from the control plane',
  ])
  t.same(clusterWaitsFor(result!, arrived(['other'], ['default', 'kubernetes://ca-cacert'])), [])
})
