// What an istiod would send to a mesh of every role, in few words: `reviews` has two pods with sidecars behind 10.96.0.1, `b` one pod of a node's tunnel behind a waypoint.
import { XDS } from '../../lib/xds/client/resource-types.ts'
import type { FakeControlPlane } from '../support/fake-control-plane.ts'
import { ADS, httpFilter, setResource, xdsCluster, xdsEndpoints } from '../support/xds-json.ts'

export const REVIEWS_VIP = '10.96.0.1'
export const B_VIP = '10.20.0.1'
export const B_HOST = 'b.default.svc.cluster.local'
export const APP_PORT = 8080
/** Of the gateway's certificate. */
export const SHOP = 'shop.example'
const ALL = 'outbound|80||reviews.default.svc.cluster.local'
const SUBSETS = ['v1', 'v2'].map((v) => `outbound|80|${v}|reviews.default.svc.cluster.local`) as [string, string]
const TO_APP = `inbound|${APP_PORT}||`

export const id = (account: string): string => `spiffe://cluster.local/ns/default/sa/${account}`

const router = httpFilter('http.router.v3.Router')
const inputOf = (name: string) => ({
  name,
  typed_config: { '@type': `type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.${name}` },
})

/** The workload's own certificate, from its agent. `validation`: of the peer. */
function ownTls(alpn: readonly string[], validation: object): object {
  const agent = { api_config_source: { api_type: 'GRPC', grpc_services: [{ envoy_grpc: { cluster_name: 'sds-grpc' } }] } }
  return {
    tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: agent }],
    combined_validation_context: {
      default_validation_context: validation,
      validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: agent },
    },
    alpn_protocols: alpn,
  }
}

function socket(kind: 'Downstream' | 'Upstream', config: object): object {
  const type = `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${kind}TlsContext`
  return { name: 'envoy.transport_sockets.tls', typed_config: { '@type': type, ...config } }
}

const fromMesh = { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { prefix: 'spiffe://cluster.local/' } }] }

function manager({
  http_filters: filters = [],
  ...more
}: {
  readonly http_filters?: readonly object[]
  readonly [field: string]: unknown
}): object {
  const http_filters = [...filters, router]
  return httpFilter('network.http_connection_manager.v3.HttpConnectionManager', { stat_prefix: 'x', ...more, http_filters })
}

function rbac(action: 'ALLOW' | 'DENY', policies: Readonly<Record<string, object>>): object {
  return httpFilter('http.rbac.v3.RBAC', { rules: { action, policies } })
}

const path = (prefix: string): object => ({ url_path: { path: { prefix } } })
const principal = (account: string): object => ({ authenticated: { principal_name: { exact: id(account) } } })
const anybody = [{ any: true }]

function routesOf(name: string, domains: readonly string[], routes: readonly object[]): object {
  return {
    name,
    virtual_hosts: [{ name: domains[0], domains, routes }],
    validate_clusters: false,
    ignore_port_in_host_matching: true,
  }
}

/** `pods`: addresses of the two. Sidecars and gateway reach them by mutual TLS. */
function setReviews(plane: FakeControlPlane, pods: readonly string[]): void {
  const tls = (validation: object) => socket('Upstream', { common_tls_context: ownTls(['istio'], validation), sni: 'reviews' })
  const matches = [
    {
      name: 'tlsMode-istio',
      match: { tlsMode: 'istio' },
      transport_socket: tls({ match_subject_alt_names: [{ exact: id('reviews') }] }),
    },
  ]
  const metadata = { filter_metadata: { 'envoy.transport_socket_match': { tlsMode: 'istio' } } }
  const clusters: readonly (readonly [string, readonly string[]])[] = [
    [ALL, pods],
    ...SUBSETS.map((name, i) => [name, pods.slice(i, i + 1)] as const),
  ]
  for (const [name, of] of clusters) {
    const outlier_detection = { consecutive_5xx: 2, interval: '10s', base_ejection_time: '60s', max_ejection_percent: 100 }
    setResource(plane, XDS.cluster, {
      ...xdsCluster(name),
      transport_socket_matches: matches,
      ...(name === ALL ? { outlier_detection: { ...outlier_detection, enforcing_consecutive_5xx: 100 } } : {}),
    })
    const lb_endpoints = of.map((address) => ({
      endpoint: { address: { socket_address: { address, port_value: APP_PORT } } },
      metadata,
    }))
    setResource(plane, XDS.endpoints, { cluster_name: name, endpoints: [{ lb_endpoints, load_balancing_weight: 1 }] })
  }
}

/** Of a sidecar whose application asks. */
export function setClient(plane: FakeControlPlane, pods: readonly string[]): void {
  setReviews(plane, pods)
  const passthrough = httpFilter('network.tcp_proxy.v3.TcpProxy', {
    stat_prefix: 'PassthroughCluster',
    cluster: 'PassthroughCluster',
  })
  setResource(plane, XDS.cluster, {
    name: 'PassthroughCluster',
    type: 'ORIGINAL_DST',
    lb_policy: 'CLUSTER_PROVIDED',
    connect_timeout: '10s',
  })
  setResource(plane, XDS.listener, {
    name: 'virtualOutbound',
    address: { socket_address: { address: '0.0.0.0', port_value: 15001 } },
    use_original_dst: true,
    traffic_direction: 'OUTBOUND',
    filter_chains: [{ name: 'virtualOutbound-catchall-tcp', filters: [passthrough] }],
  })
  setResource(plane, XDS.listener, {
    name: '0.0.0.0_80',
    address: { socket_address: { address: '0.0.0.0', port_value: 80 } },
    bind_to_port: false,
    traffic_direction: 'OUTBOUND',
    filter_chains: [{ filters: [manager({ rds: { config_source: ADS, route_config_name: '80' } })] }],
  })
  const [v1, v2] = SUBSETS
  const retry = { retry_on: 'connect-failure,retriable-status-codes', num_retries: 2, retriable_status_codes: [503] }
  const weighted = {
    clusters: [
      { name: v1, weight: 90 },
      { name: v2, weight: 10 },
    ],
  }
  setResource(
    plane,
    XDS.route,
    routesOf(
      '80',
      ['reviews', `${REVIEWS_VIP}`],
      [
        { name: 'split', match: { prefix: '/split' }, route: { weighted_clusters: weighted } },
        { name: 'once', match: { prefix: '/once' }, route: { cluster: v1, retry_policy: retry } },
        { name: 'boom', match: { prefix: '/boom' }, route: { cluster: ALL } },
        { name: 'rest', match: { prefix: '/' }, route: { cluster: v1 } },
      ],
    ),
  )
}

/** Of the sidecars of `reviews`: mutual TLS alone; `/admin` is denied to all, `web` may ask the rest, `gateway` only for `/shop`. */
export function setServer(plane: FakeControlPlane): void {
  setResource(plane, XDS.cluster, {
    name: TO_APP,
    type: 'ORIGINAL_DST',
    lb_policy: 'CLUSTER_PROVIDED',
    connect_timeout: '10s',
    upstream_bind_config: { source_address: { address: '127.0.0.6', port_value: 0 } },
  })
  const deny = rbac('DENY', {
    'ns[default]-policy[no-admin]-rule[0]': { permissions: [path('/admin')], principals: anybody },
  })
  const allow = rbac('ALLOW', {
    'ns[default]-policy[who]-rule[0]': { permissions: anybody, principals: [principal('web')] },
    'ns[default]-policy[who]-rule[1]': { permissions: [path('/shop')], principals: [principal('gateway')] },
  })
  const toApp = routesOf(TO_APP, ['*'], [{ name: 'default', match: { prefix: '/' }, route: { cluster: TO_APP } }])
  const http = manager({
    route_config: toApp,
    forward_client_cert_details: 'APPEND_FORWARD',
    set_current_client_cert_details: { uri: true },
    http_filters: [deny, allow],
  })
  setResource(plane, XDS.listener, {
    name: 'virtualInbound',
    address: { socket_address: { address: '0.0.0.0', port_value: 15006 } },
    traffic_direction: 'INBOUND',
    listener_filters: [httpFilter('listener.original_dst.v3.OriginalDst'), httpFilter('listener.tls_inspector.v3.TlsInspector')],
    filter_chains: [
      {
        name: `0.0.0.0_${APP_PORT}`,
        filter_chain_match: { destination_port: APP_PORT, transport_protocol: 'tls' },
        transport_socket: socket('Downstream', {
          common_tls_context: ownTls(['h2', 'http/1.1'], fromMesh),
          require_client_certificate: true,
        }),
        filters: [http],
      },
    ],
  })
}

/** HTTPS for `shop.example`, whose certificate comes over the stream. */
export function setGateway(plane: FakeControlPlane, pods: readonly string[], certificate: { chain: string; key: string }): void {
  setReviews(plane, pods)
  const name = 'kubernetes://shop'
  const common_tls_context = {
    tls_certificate_sds_secret_configs: [{ name, sds_config: ADS }],
    alpn_protocols: ['h2', 'http/1.1'],
  }
  setResource(plane, XDS.listener, {
    name: '0.0.0.0_8443',
    address: { socket_address: { address: '0.0.0.0', port_value: 8443 } },
    traffic_direction: 'OUTBOUND',
    listener_filters: [httpFilter('listener.tls_inspector.v3.TlsInspector')],
    filter_chains: [
      {
        filter_chain_match: { server_names: [SHOP] },
        transport_socket: socket('Downstream', { common_tls_context, require_client_certificate: false }),
        filters: [manager({ rds: { config_source: ADS, route_config_name: 'https.8443' } })],
      },
    ],
  })
  setResource(plane, XDS.route, routesOf('https.8443', [SHOP], [{ match: { prefix: '/' }, route: { cluster: SUBSETS[0] } }]))
  setResource(plane, XDS.secret, {
    name,
    tls_certificate: {
      certificate_chain: { inline_string: certificate.chain },
      private_key: { inline_string: certificate.key },
    },
  })
}

/** Of the waypoint of `b`: `/teapot` it answers itself, `/admin` is denied. */
export function setWaypoint(plane: FakeControlPlane, pod: string): void {
  const cluster = `inbound-vip|80|http|${B_HOST}`
  const internal = (name: string, more: object) => ({ name, internal_listener: {}, traffic_direction: 'INBOUND', ...more })
  const raw = {
    name: 'raw_buffer',
    typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer' },
  }
  const inner = {
    name: 'internal_upstream',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport',
      passthrough_metadata: ['envoy.filters.listener.original_dst', 'istio'].map((name) => ({ kind: { host: {} }, name })),
      transport_socket: raw,
    },
  }
  setResource(plane, XDS.cluster, { ...xdsCluster(cluster), transport_socket: inner })
  const endpoint = {
    endpoint: {
      address: { envoy_internal_address: { server_listener_name: 'connect_originate', endpoint_id: `${pod}:${APP_PORT}` } },
    },
    metadata: { filter_metadata: { 'envoy.filters.listener.original_dst': { local: `${pod}:${APP_PORT}` } } },
  }
  setResource(plane, XDS.endpoints, { ...xdsEndpoints(cluster), endpoints: [{ lb_endpoints: [endpoint] }] })

  const connect = {
    match: { connect_matcher: {} },
    route: { cluster: 'main_internal', upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }] },
  }
  setResource(plane, XDS.listener, {
    name: 'connect_terminate',
    address: { socket_address: { address: '0.0.0.0', port_value: 15008 } },
    filter_chains: [
      {
        name: 'default',
        transport_socket: socket('Downstream', {
          common_tls_context: ownTls(['h2'], fromMesh),
          require_client_certificate: true,
        }),
        filters: [
          manager({
            route_config: routesOf('default', ['*'], [connect]),
            http2_protocol_options: { allow_connect: true },
            upgrade_configs: [{ upgrade_type: 'CONNECT' }],
            http_filters: [connectAuthority()],
          }),
        ],
      },
    ],
  })
  const routes = [
    { name: 'teapot', match: { path: '/teapot' }, direct_response: { status: 418, body: { inline_string: 'by the waypoint' } } },
    { name: 'rest', match: { prefix: '/' }, route: { cluster } },
  ]
  const deny = rbac('DENY', { 'ns[default]-policy[no-admin]-rule[0]': { permissions: [path('/admin')], principals: anybody } })
  const port80 = {
    '80': {
      action: { name: cluster, typed_config: { '@type': 'type.googleapis.com/google.protobuf.StringValue', value: cluster } },
    },
  }
  const byPort = { matcher: { matcher_tree: { input: inputOf('DestinationPortInput'), exact_match_map: { map: port80 } } } }
  const ranges = [{ ranges: [{ address_prefix: B_VIP, prefix_len: 32 }], on_match: byPort }]
  const custom_match = {
    name: 'ip',
    typed_config: { '@type': 'type.googleapis.com/xds.type.matcher.v3.IPMatcher', range_matchers: ranges },
  }
  setResource(
    plane,
    XDS.listener,
    internal('main_internal', {
      listener_filters: [httpFilter('listener.original_dst.v3.OriginalDst')],
      filter_chain_matcher: { matcher_tree: { input: inputOf('DestinationIPInput'), custom_match } },
      filter_chains: [
        { name: cluster, filters: [manager({ route_config: routesOf(cluster, ['*'], routes), http_filters: [deny] })] },
      ],
    }),
  )
  const tunneling_config = { hostname: '%DOWNSTREAM_LOCAL_ADDRESS%' }
  const tcp = httpFilter('network.tcp_proxy.v3.TcpProxy', { stat_prefix: 'x', cluster: 'connect_originate', tunneling_config })
  setResource(plane, XDS.listener, internal('connect_originate', { filter_chains: [{ filters: [tcp] }] }))
}

/** What of a CONNECT is known behind it. */
function connectAuthority(): object {
  const values: Readonly<Record<string, string>> = {
    'envoy.filters.listener.original_dst.local_ip': '%REQ(:AUTHORITY)%',
    'io.istio.connect_authority': '%REQ(:AUTHORITY)%',
    'envoy.filters.listener.original_dst.remote_ip': '%DOWNSTREAM_REMOTE_ADDRESS%',
    'io.istio.peer_principal': '%DOWNSTREAM_PEER_URI_SAN%',
    'io.istio.local_principal': '%DOWNSTREAM_LOCAL_URI_SAN%',
  }
  const on_request_headers = Object.entries(values).map(([object_key, inline_string]) => ({
    object_key,
    ...(object_key.startsWith('io.') ? { factory_key: 'istio.hashable_string' } : {}),
    format_string: { text_format_source: { inline_string } },
    shared_with_upstream: 'ONCE',
  }))
  return httpFilter('http.set_filter_state.v3.Config', { on_request_headers })
}
