// What the fields of a listener come to, what stays when it is sent again, and what it waits for.
import t from 'tap'
import type { HttpChain, HttpSettings, Listener, TcpChain } from '../../../../lib/state/listener.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { fromJson, type JsonObject } from '../../../../lib/xds/proto/json.ts'
import { HttpRbac } from '../../../../lib/xds/proto/rbac.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { type Any, typeUrlOf } from '../../../../lib/xds/proto/schema.ts'
import { combineListeners } from '../../../../lib/xds/translate/combine-listeners.ts'
import { findingsText } from '../../../../lib/xds/translate/findings.ts'
import { address, any, chains, filters, hcm, listener, rds, tcp, translated, typed, withFilters } from './listener-json.ts'

const HTTP = 'envoy.extensions.filters.http.'
const LISTENER = 'envoy.extensions.filters.listener.'

function noun(json: JsonObject): Listener {
  const { listener, faults } = translated(json)
  if (listener === null) throw new Error(findingsText(faults))
  return listener
}

const managed = (...list: JsonObject[]): HttpSettings =>
  (noun(filters(withFilters(...list))).filterChains[0]?.network as HttpChain).settings

t.test('listeners', async (t) => {
  const original = typed('o', `${LISTENER}original_dst.v3.OriginalDst`)
  const rows: readonly (readonly [JsonObject, Partial<Listener>])[] = [
    [{}, { name: 'l', direction: 'outbound', address: '0.0.0.0', port: 80, bind: true, capture: 'none', handOver: false }],
    [{ bind_to_port: false }, { bind: false }],
    [
      { traffic_direction: 'INBOUND', listener_filters: [original] },
      { direction: 'inbound', capture: 'redirect' },
    ],
    [{ traffic_direction: 'INBOUND', listener_filters: [original], transparent: true }, { capture: 'tproxy' }],
    // What goes out is redirected in either mode.
    [
      { use_original_dst: true, transparent: true },
      { capture: 'redirect', handOver: true },
    ],
    [{ use_original_dst: true, bind_to_port: false }, { capture: 'none' }],
    [{ additional_addresses: [{ address: address(80, '::') }] }, { address: '::', otherAddresses: [] }],
    // A service with addresses of both families.
    [
      { address: address(80, '10.0.0.1'), additional_addresses: [{ address: address(80, 'fd00::1') }], bind_to_port: false },
      { address: '10.0.0.1', otherAddresses: ['fd00::1'], bind: false },
    ],
    [{ listener_filters: [typed('h', `${LISTENER}http_inspector.v3.HttpInspector`)] }, { detectionTimeoutMs: 15_000 }],
    [
      { listener_filters: [typed('h', `${LISTENER}http_inspector.v3.HttpInspector`)], listener_filters_timeout: '0s' },
      { detectionTimeoutMs: 0 },
    ],
  ]
  for (const [fields, expected] of rows) t.match(noun(listener(fields)), expected, JSON.stringify(fields))
})

t.test('TPROXY: who the application sees', async (t) => {
  const filter = typed('s', `${LISTENER}original_src.v3.OriginalSrc`, { mark: 1337 })
  t.same(translated(listener({ listener_filters: [filter] })).originalSrc, { mark: 1337 })
  t.equal(translated(listener()).originalSrc, null)
})

t.test('what a chain asks of connections', async (t) => {
  const tls = typed('t', `${LISTENER}tls_inspector.v3.TlsInspector`)
  const http = typed('h', `${LISTENER}http_inspector.v3.HttpInspector`)
  const matchOf = (match: JsonObject, filters: JsonObject[]): unknown =>
    noun(listener({ listener_filters: filters, filter_chains: [{ filters: [tcp()], filter_chain_match: match }] }))
      .filterChains[0]?.match
  t.match(
    matchOf(
      {
        destination_port: 80,
        prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }],
        server_names: ['A.example.com', '*.b'],
        transport_protocol: 'tls',
        application_protocols: ['h2'],
        direct_source_prefix_ranges: [{ address_prefix: 'fd00::', prefix_len: 8 }],
        source_type: 'EXTERNAL',
        source_prefix_ranges: [{ address_prefix: '192.0.2.1', prefix_len: 32 }],
        source_ports: [5000],
      },
      [tls],
    ),
    {
      destinationPort: 80,
      destinationRanges: ['10.0.0.0/8'],
      serverNames: ['a.example.com', '*.b'],
      transportProtocol: 'tls',
      applicationProtocols: ['h2'],
      directSourceRanges: ['fd00::/8'],
      sourceType: 'external',
      sourceRanges: ['192.0.2.1/32'],
      sourcePorts: [5000],
    },
  )
  // Where nobody looks for TLS all bytes are raw_buffer.
  t.match(matchOf({ transport_protocol: 'raw_buffer' }, []), { transportProtocol: '' })
  t.match(matchOf({ transport_protocol: 'raw_buffer' }, [tls]), { transportProtocol: 'raw_buffer' })
  const off = { ...tls, filter_disabled: { destination_port_range: { start: 80, end: 81 } } }
  t.match(matchOf({ transport_protocol: 'raw_buffer', destination_port: 80 }, [off]), { transportProtocol: '' })
  t.match(matchOf({ transport_protocol: 'raw_buffer', destination_port: 81 }, [off]), { transportProtocol: 'raw_buffer' })
  const h2c = { transport_protocol: 'raw_buffer', application_protocols: ['h2c'] }
  t.match(matchOf(h2c, [http]), { transportProtocol: 'raw_buffer', applicationProtocols: ['h2c'] })
  t.equal(matchOf(h2c, [tls]), undefined, 'nobody tells that it is h2c')
})

t.test('connection managers', async (t) => {
  const httpOf = (fields: JsonObject): HttpChain => noun(filters(hcm(fields))).filterChains[0]?.network as HttpChain
  t.match(httpOf({}), {
    kind: 'http',
    httpVersion: 'auto',
    routeTable: '80',
    allowConnect: false,
    clientCertificate: 'sanitize',
    edge: null,
  })
  t.match(httpOf({ codec_type: 'HTTP2' }), { httpVersion: 'http2' })
  t.match(httpOf({ use_remote_address: true, xff_num_trusted_hops: 2 }), { edge: { trustedProxies: 2 } })
  t.match(httpOf({ forward_client_cert_details: 'ALWAYS_FORWARD_ONLY' }), { clientCertificate: 'always_forward_only' })
  const rows: readonly (readonly [JsonObject, Partial<HttpSettings>])[] = [
    [
      {},
      { fault: false, cors: false, upgrades: false, pathNormalization: 'NONE', serverName: 'envoy', serverHeader: 'overwrite' },
    ],
    [{}, { http10: false, forwardsCertificate: false }],
    [{ http_protocol_options: { accept_http_10: true } }, { http10: true }],
    [{ set_current_client_cert_details: { cert: true } }, { forwardsCertificate: true }],
    [{}, { requestIds: true, forwardedPort: false, limits: { streamIdleTimeoutMs: 300_000 } }],
    [{ upgrade_configs: [{ upgrade_type: 'websocket' }] }, { upgrades: true }],
    [{ upgrade_configs: [{ upgrade_type: 'websocket', enabled: false }] }, { upgrades: false }],
    [{ normalize_path: true }, { pathNormalization: 'BASE' }],
    [{ normalize_path: true, merge_slashes: true }, { pathNormalization: 'MERGE_SLASHES' }],
    [
      { normalize_path: true, merge_slashes: true, path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' },
      { pathNormalization: 'DECODE_AND_MERGE_SLASHES' },
    ],
    [
      { server_name: 'istio-envoy', server_header_transformation: 'PASS_THROUGH' },
      { serverName: 'istio-envoy', serverHeader: 'pass_through' },
    ],
    [
      { generate_request_id: false, append_x_forwarded_port: true },
      { requestIds: false, forwardedPort: true },
    ],
    [
      {
        stream_idle_timeout: '0s',
        max_request_headers_kb: 96,
        common_http_protocol_options: { idle_timeout: '7s', max_headers_count: 9 },
      },
      { limits: { streamIdleTimeoutMs: 0, maxHeaderBytes: 98_304, connectionIdleTimeoutMs: 7000, maxHeaders: 9 } },
    ],
  ]
  for (const [fields, expected] of rows) t.match(httpOf(fields).settings, expected, JSON.stringify(fields))
  const both = withFilters(typed('f', `${HTTP}fault.v3.HTTPFault`), typed('c', `${HTTP}cors.v3.Cors`))
  t.match((noun(filters(both)).filterChains[0]?.network as HttpChain).settings, { fault: true, cors: true })
})

t.test('a waypoint that tells who its clients are', async (t) => {
  const value = 'By=%FILTER_STATE(io.istio.local_principal:PLAIN)%;URI=%FILTER_STATE(io.istio.peer_principal:PLAIN)%'
  const mutation = typed('x', `${HTTP}header_mutation.v3.HeaderMutation`, {
    mutations: { request_mutations: [{ append: { header: { key: 'x-forwarded-client-cert', value } } }] },
  })
  t.match(noun(filters(withFilters(mutation))).filterChains[0]?.network, { clientCertificate: 'identities' })
})

t.test('bytes', async (t) => {
  const tcpOf = (fields: JsonObject): TcpChain => noun(filters(tcp(fields))).filterChains[0]?.network as TcpChain
  t.match(tcpOf({}), { clusters: [{ cluster: 'c' }], hashSourceIp: false, idleTimeoutMs: 3_600_000, maxDurationMs: 0 })
  t.match(tcpOf({ idle_timeout: '0s', max_downstream_connection_duration: '5s' }), { idleTimeoutMs: 0, maxDurationMs: 5000 })
  t.match(tcpOf({ hash_policy: [{ source_ip: {} }] }), { hashSourceIp: true })
  t.match(tcpOf({}), { tunnel: null })
  const headers = [{ header: { key: 'X-A', value: '1' } }, { header: { key: 'x-b', value: '%REQ(x)%' } }]
  t.match(tcpOf({ tunneling_config: { hostname: 'a:1', use_post: true, post_path: '/p', headers_to_add: headers } }), {
    tunnel: { method: 'POST', authority: 'a:1', path: '/p', headers: [['x-a', '1']] },
  })
  t.match(
    tcpOf({ cluster: 'BlackHoleCluster' }),
    { kind: 'tcp', clusters: [{ cluster: 'BlackHoleCluster' }] },
    'counted and logged as such',
  )
})

const NAMED = { name: 'n', filters: [tcp()] }
const chainsOf = (...ports: number[]): JsonObject =>
  chains(...ports.map((p) => ({ ...NAMED, filter_chain_match: { destination_port: p } })))

t.test('several chains have one name: ours are those of what they ask for, whatever comes and goes', async (t) => {
  const names = (...ports: number[]) => noun(chainsOf(...ports)).filterChains.map((c) => c.name)
  t.same(names(80, 81), ['n 80', 'n 81'])
  t.same(names(81), ['n 81'])
  t.same(names(82, 81, 80), ['n 82', 'n 81', 'n 80'])
})

t.test('sent again: what did not change is the same object', async (t) => {
  const routes = (name: string, cluster: string): JsonObject => ({
    name,
    virtual_hosts: [{ name: 'h', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] }],
  })
  const world = (port: number, cluster: string): JsonObject =>
    chains(
      { name: 'a', filters: [tcp()] },
      { name: 'b', filters: [tcp()], filter_chain_match: { destination_port: port } },
      {
        name: 'c',
        filters: [
          typed('h', 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
            route_config: routes('in', cluster),
            http_filters: [typed('router', `${HTTP}router.v3.Router`)],
          }),
        ],
        filter_chain_match: { destination_port: 90 },
      },
    )
  const first = translated(world(80, 'x'))
  const again = translated(world(80, 'x'), first)
  for (const [i, chain] of (first.listener?.filterChains ?? []).entries()) t.equal(again.listener?.filterChains[i], chain)
  t.equal(again.inlineTables[0], first.inlineTables[0])
  const moved = translated(world(81, 'x'), again)
  t.equal(moved.listener?.filterChains[0], first.listener?.filterChains[0])
  t.not(moved.listener?.filterChains[1], first.listener?.filterChains[1])
  t.equal(moved.listener?.filterChains[2], first.listener?.filterChains[2])
  const routed = translated(world(81, 'y'), moved)
  t.equal(routed.listener?.filterChains[0], first.listener?.filterChains[0])
  t.not(routed.inlineTables[0], first.inlineTables[0])
  t.equal(routed.inlineTables[0]?.name, 'in')
})

t.test('tables that are carried', async (t) => {
  const manager = (name: string, cluster: string): JsonObject =>
    typed('h', 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
      route_config: {
        name,
        virtual_hosts: [{ name: 'h', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] }],
      },
      http_filters: [typed('router', `${HTTP}router.v3.Router`)],
    })
  const on = (port: number, filter: JsonObject): JsonObject => ({
    filters: [filter],
    filter_chain_match: { destination_port: port },
  })
  const l = translated(chains(on(1, manager('in', 'x')), on(2, manager('in', 'x')), on(3, manager('in', 'y'))))
  t.same(
    l.inlineTables.map((r) => r.name),
    ['in', 'in #2'],
    'one for those that are alike',
  )
  t.same(
    l.listener?.filterChains.map((c) => (c.network as HttpChain).routeTable),
    ['in', 'in', 'in #2'],
  )
  // Beside other listeners.
  const other = translated({ ...chains(on(1, manager('in', 'z'))), name: 'm' })
  const same = translated({ ...chains(on(1, manager('in', 'x'))), name: 'k' })
  const both = combineListeners([l, other, same])
  t.same(
    both.inlineTables.map((r) => r.name),
    ['in', 'in #2', 'in of m'],
  )
  t.equal((both.listeners[1]?.filterChains[0]?.network as HttpChain).routeTable, 'in of m')
  t.equal(both.listeners[0], l.listener, 'nothing to change')
  t.equal(both.listeners[2], same.listener)
  t.equal(combineListeners([l, other, same]).listeners[1], both.listeners[1], 'the same object each time')
  const fetches = translated({ ...listener({ filter_chains: [{ filters: [hcm({ rds: rds('in') })] }] }), name: 'f' })
  t.same(
    combineListeners([fetches, same]).inlineTables.map((r) => r.name),
    ['in of k'],
    'a name of RDS',
  )
})

t.test('extensions that come by themselves (ECDS)', async (t) => {
  const discovered = (fields: JsonObject = {}): JsonObject =>
    filters(
      withFilters({
        name: 'ext',
        config_discovery: {
          config_source: { ads: {} },
          type_urls: [typeUrlOf(HttpRbac), 'type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm'],
          ...fields,
        },
      }),
    )
  const rbac = (action: string): Any => ({
    typeUrl: typeUrlOf(HttpRbac),
    value: encode(HttpRbac, fromJson(HttpRbac, { rules: { action } }, REGISTRY)),
  })
  const waiting = translated(discovered())
  t.same([waiting.extensionNames, waiting.missingExtensions, waiting.listener], [['ext'], ['ext'], null])
  t.equal(findingsText(waiting.faults), '')

  // istiod puts such rules in place of a filter that cannot be fetched: nobody is let in.
  const denies = translated(discovered(), waiting, { extensions: new Map([['ext', rbac('ALLOW')]]) })
  t.match(denies.listener?.filterChains[0]?.network, { authorization: [{ rules: { action: 'ALLOW', policies: [] } }] })
  t.same(denies.missingExtensions, [])
  const same = translated(discovered(), denies, { extensions: new Map([['ext', rbac('ALLOW')]]) })
  t.equal(same.listener?.filterChains[0], denies.listener?.filterChains[0])
  const changed = translated(discovered(), denies, { extensions: new Map([['ext', rbac('DENY')]]) })
  t.match(changed.listener?.filterChains[0]?.network, { authorization: [{ rules: { action: 'DENY' } }] })

  const wrong = translated(discovered(), null, {
    extensions: new Map([['ext', { typeUrl: 'type.googleapis.com/x.Y', value: new Uint8Array(0) }]]),
  })
  t.match(findingsText(wrong.faults), /the extension ext is a x\.Y, which is none of /)

  const fallback = any('envoy.extensions.filters.http.rbac.v3.RBAC', { rules: { action: 'ALLOW' } })
  const early = translated(discovered({ default_config: fallback, apply_default_config_without_warming: true }))
  t.same(early.missingExtensions, [])
  t.match(early.listener?.filterChains[0]?.network, { authorization: [{ rules: { action: 'ALLOW' } }] })
  const late = translated(discovered({ default_config: fallback }))
  t.same(late.missingExtensions, ['ext'])
})

const NETWORK_INPUTS = 'envoy.extensions.matching.common_inputs.network.v3.'
const input = (name: string, fields: JsonObject = {}): JsonObject => typed(name, `${NETWORK_INPUTS}${name}`, fields)
const to = (chain: string): JsonObject => ({
  action: { name: chain, typed_config: any('google.protobuf.StringValue', { value: chain }) },
})
const exact = (name: string, map: JsonObject, otherwise?: JsonObject): JsonObject => ({
  matcher: {
    matcher_tree: { input: input(name), exact_match_map: { map } },
    ...(otherwise === undefined ? {} : { on_no_match: otherwise }),
  },
})

t.test("a waypoint's matcher", async (t) => {
  const ip = (address_prefix: string): JsonObject => ({ address_prefix, prefix_len: 32 })
  const json: JsonObject = {
    name: 'main_internal',
    internal_listener: {},
    filter_chains: ['http', 'tcp', 'only', 'direct', 'far'].map((name) => ({ name, filters: [tcp({ cluster: name })] })),
    filter_chain_matcher: {
      matcher_tree: {
        input: input('FilterStateInput', { key: 'io.istio.connect_authority' }),
        exact_match_map: { map: { 'a.shop:80': to('only'), 'far.shop:81': to('far') } },
      },
      on_no_match: {
        matcher: {
          matcher_tree: {
            input: input('DestinationIPInput'),
            custom_match: typed('ip', 'xds.type.matcher.v3.IPMatcher', {
              range_matchers: [
                {
                  ranges: [ip('10.0.0.1'), ip('10.0.0.2')],
                  on_match: exact('DestinationPortInput', {
                    80: to('only'),
                    90: exact('ApplicationProtocolInput', { "'http/1.1'": to('http'), "'h2c'": to('http') }, to('tcp')),
                  }),
                },
                { ranges: [ip('10.9.9.9')], on_match: to('direct') },
              ],
            }),
          },
        },
      },
    },
  }
  const made = translated(json)
  t.equal(findingsText(made.faults), '')
  t.match(made.listener, { name: 'main_internal', direction: 'inbound', address: '', port: 0, bind: false })
  const lines = made.listener?.filterChains.map(({ name, match: m }) =>
    [name, m.destinationPort, m.destinationRanges.join(), m.transportProtocol, m.applicationProtocols.join()].join(' '),
  )
  const [both, far] = ['10.0.0.1/32,10.0.0.2/32', made.authorities[1]]
  t.same(lines, [
    `only 80 ${both}  `,
    `http 90 ${both} raw_buffer http/1.1,h2c`,
    `tcp 90 ${both} raw_buffer `,
    `tcp tls 90 ${both}  `,
    'direct 0 10.9.9.9/32  ',
    // A port that has chains of its own is asked for these alone.
    'direct 80 80 10.9.9.9/32  ',
    'direct 90 90 10.9.9.9/32  ',
    `far far.shop:81 81 ${far?.address}/32  `,
  ])
  t.same(made.authorities, [
    { host: 'a.shop', from: 80, address: '10.0.0.1', port: 80 },
    { host: 'far.shop', from: 81, address: far?.address, port: 81 },
  ])
  t.match(far?.address, /^240\./, 'an address that nobody has')
})

t.test('metrics', async (t) => {
  const stats = (fields: JsonObject): JsonObject => typed('istio.stats', 'stats.PluginConfig', fields)
  const alpn = typed('istio.alpn', 'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig')
  const metricsOf = (...list: JsonObject[]) => managed(...list).metrics
  const ALL = { on: true, changes: [], tcpReportMs: 5000 }
  t.same(metricsOf(alpn, stats({})), ALL)
  t.same(metricsOf(alpn), { ...ALL, on: false }, 'istiod says nothing where it wants none')
  t.same(metricsOf(), ALL, 'others never do')
  t.same(metricsOf(stats({ tcp_reporting_duration: '10s' })).tcpReportMs, 10_000)
  const rows: readonly (readonly [string, object])[] = [
    ["'a'", { kind: 'text', text: 'a' }],
    ['"a b"', { kind: 'text', text: 'a b' }],
    ['request.host', { kind: 'request', what: 'host' }],
    ['request.url_path', { kind: 'request', what: 'url_path' }],
    ['request.headers["X-Tenant"]', { kind: 'header', name: 'x-tenant' }],
    ["request.headers['x-tenant']", { kind: 'header', name: 'x-tenant' }],
    ['request.referer', { kind: 'header', name: 'referer' }],
    ['string(destination.port)', { kind: 'port' }],
    ['string(response.code)', { kind: 'code' }],
    ["has(request.host) ? request.host : 'unknown'", { kind: 'request', what: 'host' }],
    ['xds.route_name', { kind: 'route' }],
    // Not evaluated, and noted.
    ['request.headers["a"] + request.host', { kind: 'text', text: 'unknown' }],
    ['cluster_name', { kind: 'text', text: 'unknown' }],
  ]
  for (const [expression, expected] of rows) {
    const json = filters(withFilters(stats({ metrics: [{ name: 'requests_total', dimensions: { a: expression } }] })))
    t.same(
      (noun(json).filterChains[0]?.network as HttpChain).settings.metrics.changes,
      [{ metric: 'requests_total', drop: false, remove: [], set: [['a', expected]] }],
      expression,
    )
    t.equal(translated(json).notes.length, (expected as { text?: string }).text === 'unknown' ? 1 : 0, expression)
  }
  t.same(metricsOf(stats({ metrics: [{ name: 'request_bytes', drop: true, tags_to_remove: ['b'] }] })).changes, [
    { metric: 'request_bytes', drop: true, remove: ['b'], set: [] },
  ])
  const tcpMetrics = (...list: JsonObject[]) => (noun(filters(...list)).filterChains[0]?.network as TcpChain).metrics
  t.same(tcpMetrics(stats({}), tcp()), ALL)
  t.same(tcpMetrics(tcp()), ALL)
  t.equal(tcpMetrics(tcp({ cluster: 'outbound|80||a.b' })).on, false)
  const weighted = { clusters: [{ name: 'outbound|80||a.b', weight: 1 }] }
  t.equal(tcpMetrics(tcp({ cluster: undefined, weighted_clusters: weighted } as never)).on, false)
  t.equal(managed(typed('g', `${HTTP}grpc_stats.v3.FilterConfig`)).grpcMessages, true)
  t.equal(managed().grpcMessages, false)
})

t.test('who proxies tell who they are', async (t) => {
  const exchange = (value: JsonObject): JsonObject =>
    typed('istio.metadata_exchange', 'udpa.type.v1.TypedStruct', {
      type_url: 'type.googleapis.com/io.istio.http.peer_metadata.Config',
      value,
    })
  const headers = [{ istio_headers: {} }]
  const lookUp = [{ workload_discovery: {} }]
  const rows: readonly (readonly [JsonObject, object | null])[] = [
    [
      { downstream_discovery: [...headers, ...lookUp], downstream_propagation: headers },
      { clients: true, upstreams: 'never', readsUpstreams: false },
    ],
    [
      { upstream_discovery: [...headers, ...lookUp], upstream_propagation: headers },
      { clients: false, upstreams: 'always', readsUpstreams: true },
    ],
    [
      { upstream_discovery: headers, upstream_propagation: [{ istio_headers: { skip_external_clusters: true } }] },
      { clients: false, upstreams: 'mesh', readsUpstreams: true },
    ],
    // Of a waypoint.
    [{ downstream_discovery: lookUp, shared_with_upstream: true }, null],
    [{}, null],
    [{ downstream_discovery: 7, upstream_discovery: ['x', null], upstream_propagation: [{ istio_headers: 1 }] }, null],
  ]
  for (const [value, expected] of rows) t.same(managed(exchange(value)).peers, expected, JSON.stringify(value))
})
