// What is refused of a listener, in the words that the control plane gets, and what is accepted without effect.
import t from 'tap'
import type { JsonObject } from '../../../../lib/xds/proto/json.ts'
import { findingsText } from '../../../../lib/xds/translate/findings.ts'
import { translateListener } from '../../../../lib/xds/translate/listener.ts'
import {
  address,
  any,
  chains,
  filters,
  hcm,
  listener,
  rds,
  router,
  TERMS,
  tcp,
  translated,
  typed,
  withFilters,
} from './listener-json.ts'

const HTTP = 'envoy.extensions.filters.http.'
const NETWORK = 'envoy.extensions.filters.network.'
const LISTENER = 'envoy.extensions.filters.listener.'
const TLS = 'envoy.extensions.transport_sockets.tls.v3.'

const inHcm = (fields: JsonObject): JsonObject => filters(hcm(fields))
const inHttp = (...list: JsonObject[]): JsonObject => filters(withFilters(...list))
const FILTER = 'filter_chains[0].filters[0]'

const wasm = (fields: JsonObject): JsonObject => typed('w', `${HTTP}wasm.v3.Wasm`, { config: { name: 'w', ...fields } })

const FAULTS: readonly (readonly [title: string, json: JsonObject, fault: string])[] = [
  ['no address', listener({ address: {} }), 'address: an address with a port is expected'],
  [
    'a name for an address',
    listener({ address: { socket_address: { address: 'localhost', port_value: 80 } } }),
    'address: an IP address is expected, not "localhost"',
  ],
  ['no port', listener({ address: { socket_address: { address: '0.0.0.0', port_value: 65_536 } } }), 'address: 65536 is no port'],
  ['a pipe', listener({ address: { pipe: { path: '/x' } } }), 'address: an address with a port is expected'],
  [
    'UDP',
    listener({ address: { socket_address: { protocol: 'UDP', address: '::', port_value: 443 } } }),
    'address: UDP (HTTP/3) is not listened for',
  ],
  [
    'a second address with another port',
    listener({ additional_addresses: [{ address: address(81, '10.0.0.1') }] }),
    'additional_addresses[0].address: port 81 beside 80 is not listened on',
  ],
  [
    'an internal listener that nobody knows',
    listener({ name: 'mine', internal_listener: {} }),
    'the internal listener mine is none of connect_terminate, main_internal, connect_originate, inner_connect_originate, outer_connect_originate, forward_inner_connect, which heddle knows',
  ],
  [
    'one version of the PROXY protocol',
    listener({ listener_filters: [typed('p', `${LISTENER}proxy_protocol.v3.ProxyProtocol`, { disallowed_versions: ['V1'] })] }),
    'listener_filters[0].disallowed_versions[0]: V1 cannot be refused by itself',
  ],
  [
    'a listener filter that nobody knows',
    listener({ listener_filters: [typed('x', 'google.protobuf.Empty')] }),
    'listener_filters[0]: the listener filter x (google.protobuf.Empty) is not understood',
  ],
  [
    'two chains that ask for the same',
    chains({ name: 'a', filters: [tcp()] }, { name: 'b', filters: [tcp()] }),
    'filter_chains[1].filter_chain_match: it asks for the same as filter_chains[0]',
  ],
  [
    'a range that is none',
    chains({ filters: [tcp()], filter_chain_match: { prefix_ranges: [{ address_prefix: 'here', prefix_len: 8 }] } }),
    'filter_chains[0].filter_chain_match.prefix_ranges[0]: here/8 is no range of addresses',
  ],
  [
    'a transport that nobody has',
    chains({ filters: [tcp()], filter_chain_match: { transport_protocol: 'quic' } }),
    'filter_chains[0].filter_chain_match.transport_protocol: `quic` is neither tls nor raw_buffer',
  ],
  [
    'a server name with a star within',
    chains({ filters: [tcp()], filter_chain_match: { server_names: ['a.*.b'] } }),
    'filter_chains[0].filter_chain_match.server_names[0]: `a.*.b` is neither a name nor `*.` and a name',
  ],
  [
    'a transport socket that nobody knows',
    chains({ filters: [tcp()], transport_socket: typed('q', 'google.protobuf.Empty') }),
    'filter_chains[0].transport_socket: the transport socket q (google.protobuf.Empty) is not understood; TLS or plaintext is expected',
  ],
  [
    'a server without a certificate',
    chains({ filters: [tcp()], transport_socket: typed('t', `${TLS}DownstreamTlsContext`) }),
    'filter_chains[0].transport_socket.common_tls_context: a server needs a certificate',
  ],
  [
    'no filter that takes connections',
    filters(),
    'filter_chains[0].filters: no filter takes the connection; http_connection_manager or tcp_proxy is expected at the end',
  ],
  [
    'a filter behind the last',
    filters(tcp(), tcp()),
    'filter_chains[0].filters[1]: the filter tcp is behind one that takes the connection',
  ],
  [
    'a network filter that nobody knows',
    filters(typed('x', 'google.protobuf.Empty'), tcp()),
    `${FILTER}: the filter x (google.protobuf.Empty) is not understood`,
  ],
  ['a filter without configuration', filters({ name: 'x' }, tcp()), `${FILTER}: the filter x has no configuration`],
  [
    'an authorizer of connections',
    filters(
      {
        name: 'a',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz', value: '' },
      },
      tcp(),
    ),
    `${FILTER}: authorizers outside of the proxy (CUSTOM) are not asked yet`,
  ],
  ['no cluster', filters(tcp({ cluster: '' })), `${FILTER}.cluster: a cluster is missing`],
  [
    'weights of nothing',
    filters(typed('tcp', `${NETWORK}tcp_proxy.v3.TcpProxy`, { weighted_clusters: { clusters: [{ name: 'a' }] } })),
    `${FILTER}.weighted_clusters: all weights are 0`,
  ],
  [
    'TCP in a tunnel by a rule',
    filters(tcp({ tunneling_config: { hostname: '%REQUESTED_SERVER_NAME%:1' } })),
    `${FILTER}.tunneling_config.hostname: a host with its port is expected, without operators, not "%REQUESTED_SERVER_NAME%:1"`,
  ],
  ['HTTP/3', inHcm({ codec_type: 'HTTP3' }), `${FILTER}.codec_type: HTTP3 is not spoken; AUTO, HTTP1 or HTTP2 is expected`],
  ['routes without a name', inHcm({ rds: rds('') }), `${FILTER}.rds.route_config_name: a name is missing`],
  [
    'routes from elsewhere',
    inHcm({ rds: { config_source: { path: '/x' }, route_config_name: 'r' } }),
    `${FILTER}.rds.config_source: routes come over the same stream as listeners (ads), not from elsewhere`,
  ],
  ['no router', inHcm({ http_filters: [] }), `${FILTER}.http_filters: the last filter has to be the router`],
  [
    'a filter behind the router',
    inHcm({ http_filters: [router, typed('c', `${HTTP}cors.v3.Cors`)] }),
    `${FILTER}.http_filters[1]: the filter c is behind the router, which has to be the last`,
  ],
  [
    'an HTTP filter that nobody knows',
    inHttp(typed('x', 'google.protobuf.Empty')),
    `${FILTER}.http_filters[0]: the filter x (google.protobuf.Empty) is not understood`,
  ],
  [
    'WebAssembly that nobody may do without',
    inHttp(wasm({})),
    `${FILTER}.http_filters[0]: the WebAssembly filter w cannot be run, and nothing may pass without it`,
  ],
  [
    'filter state that nobody knows',
    inHttp(typed('s', `${HTTP}set_filter_state.v3.Config`, { on_request_headers: [{ object_key: 'mine' }] })),
    `${FILTER}.http_filters[0].on_request_headers[0]: the filter state \`mine\` is not understood`,
  ],
  [
    'headers changed for all routes',
    inHttp(typed('h', `${HTTP}header_mutation.v3.HeaderMutation`, { mutations: { request_mutations: [{ remove: 'x-user' }] } })),
    `${FILTER}.http_filters[0].request_mutations[0]: the header x-user is changed for all routes, which heddle can do for a route only`,
  ],
  [
    'paths with escaped slashes refused',
    inHcm({ normalize_path: true, path_with_escaped_slashes_action: 'REJECT_REQUEST' }),
    `${FILTER}.path_with_escaped_slashes_action: REJECT_REQUEST is not carried out; KEEP_UNCHANGED or UNESCAPE_AND_FORWARD is expected`,
  ],
  [
    'escaped slashes without the rest',
    inHcm({ path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' }),
    `${FILTER}.path_with_escaped_slashes_action: escaped slashes are decoded only where paths are normalised and slashes are merged`,
  ],
  [
    'proxies in front without use_remote_address',
    inHcm({ xff_num_trusted_hops: 1 }),
    `${FILTER}.xff_num_trusted_hops: proxies in front are counted only with use_remote_address`,
  ],
  [
    'names with underscores',
    inHcm({ common_http_protocol_options: { headers_with_underscores_action: 'REJECT_REQUEST' } }),
    `${FILTER}.common_http_protocol_options.headers_with_underscores_action: REJECT_REQUEST is not carried out: names with underscores are let through`,
  ],
  [
    'a matcher that leads nowhere',
    listener({
      name: 'main_internal',
      internal_listener: {},
      filter_chain_matcher: {
        on_no_match: { action: { name: 'x', typed_config: any('google.protobuf.StringValue', { value: 'x' }) } },
      },
    }),
    'filter_chain_matcher: there is no filter chain x',
  ],
  [
    'the end of tunnels without mutual TLS',
    { name: 'connect_terminate', address: address(15008), filter_chains: [{ filters: [] }] },
    'filter_chains[0].transport_socket: HBONE is mutual TLS: a certificate of the client has to be required',
  ],
  [
    'a tunnel with another authority',
    {
      name: 'connect_originate',
      internal_listener: {},
      filter_chains: [{ filters: [tcp({ tunneling_config: { hostname: 'elsewhere:1' } })] }],
    },
    'filter_chains[0].filters[0].tunneling_config.hostname: `elsewhere:1` is not the `%DOWNSTREAM_LOCAL_ADDRESS%` that connect_originate asks with',
  ],
]

t.test('what is refused is named with its place', async (t) => {
  for (const [title, json, fault] of FAULTS) {
    const { faults, listener: noun } = translated(json)
    t.equal(findingsText(faults), fault, title)
    t.equal(noun, null, `${title}: nothing of it is in force`)
  }
})

t.test('all faults are told at once', async (t) => {
  const { faults } = translated(
    listener({ address: {}, filter_chains: [{ filters: [tcp({ cluster: '' })] }, { filters: [hcm({ codec_type: 'HTTP3' })] }] }),
  )
  t.equal(
    findingsText(faults),
    'filter_chains[0].filters[0].cluster: a cluster is missing; filter_chains[1].filters[0].codec_type: HTTP3 is not spoken; AUTO, HTTP1 or HTTP2 is expected; filter_chains[1].filter_chain_match: it asks for the same as filter_chains[0]; address: an address with a port is expected',
  )
})

t.test('bytes that are no listener', async (t) => {
  const { faults, listener: noun } = translateListener(Uint8Array.of(0xff), null, TERMS)
  t.match(findingsText(faults), /^its bytes are no envoy\.config\.listener\.v3\.Listener: /)
  t.equal(faults.length, 1)
  t.equal(noun, null)
})

const NOTES: readonly (readonly [title: string, json: JsonObject, note: string])[] = [
  [
    'WebAssembly whose failures are passed over',
    inHttp(wasm({ fail_open: true })),
    `${FILTER}.http_filters[0]: the WebAssembly filter w is left out: heddle runs no WebAssembly, and its failures are to be passed over (fail_open)`,
  ],
  [
    'the same by failure_policy',
    inHttp(wasm({ failure_policy: 'FAIL_OPEN' })),
    `${FILTER}.http_filters[0]: the WebAssembly filter w is left out: heddle runs no WebAssembly, and its failures are to be passed over (fail_open)`,
  ],
  [
    'an optional filter',
    inHttp({ ...typed('x', 'google.protobuf.Empty'), is_optional: true }),
    `${FILTER}.http_filters[0]: the filter x (google.protobuf.Empty) is not understood; it is optional, and left out`,
  ],
  [
    'a filter that is switched off',
    inHttp({ ...typed('e', `${HTTP}ext_proc.v3.ExternalProcessor`), disabled: true }),
    `${FILTER}.http_filters[0]: the filter e is switched off unless a route says otherwise, which none can: it never runs`,
  ],
  [
    'an access logger that is not understood',
    inHcm({ access_log: [typed('out', 'google.protobuf.Empty')] }),
    `${FILTER}.access_log[0]: the access logger out (google.protobuf.Empty) is not understood: it gets nothing`,
  ],
  [
    'addresses of the inside',
    inHcm({ internal_address_config: { cidr_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] } }),
    `${FILTER}.internal_address_config: no address counts as internal: x-envoy-internal is not written`,
  ],
  [
    'a host for HTTP/1.0',
    inHcm({ http_protocol_options: { accept_http_10: true, default_host_for_http_10: 'a' } }),
    `${FILTER}.http_protocol_options: requests of HTTP/1.0 without a host stay without one`,
  ],
  [
    'timeouts that clients ask for',
    inHcm({ http_filters: [typed('r', `${HTTP}router.v3.Router`, { respect_expected_rq_timeout: true })] }),
    `${FILTER}.http_filters[0].respect_expected_rq_timeout: the timeout is the route's: x-envoy-expected-rq-timeout-ms of clients is not heard`,
  ],
  [
    'hosts without their port',
    inHcm({ strip_matching_host_port: true }),
    `${FILTER}.strip_matching_host_port: the port stays in the host of requests`,
  ],
  [
    'an order of filters that is not ours',
    inHttp(typed('c', `${HTTP}cors.v3.Cors`), typed('f', `${HTTP}fault.v3.HTTPFault`)),
    `${FILTER}.http_filters[1]: the filter f runs where heddle has it: tokens, authorization, gRPC-Web, faults, then CORS`,
  ],
]

t.test('what is accepted without effect is told', async (t) => {
  for (const [title, json, note] of NOTES) {
    const { faults, notes, listener: noun } = translated(json)
    t.equal(findingsText(faults), '', title)
    t.equal(findingsText(notes), note, title)
    t.not(noun, null, title)
  }
})
