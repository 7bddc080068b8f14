// The configuration of filters that have little or none: listener filters, network filters and HTTP filters.
import { HeaderValueOption, SubstitutionFormatString } from './core.ts'
import {
  bool,
  boolValue,
  type Decoded,
  duration,
  enumeration,
  list,
  map,
  message,
  one,
  oneof,
  text,
  uint32,
  uint32Value,
} from './schema.ts'

// ---- listener filters ----------------------------------------------------------------------------------------------------

const LISTENER = 'envoy.extensions.filters.listener.'
export const OriginalDst = message(`${LISTENER}original_dst.v3.OriginalDst`, {})
export const OriginalSrc = message(`${LISTENER}original_src.v3.OriginalSrc`, { bind_port: bool(1), mark: uint32(2) })
export type OriginalSrc = Decoded<typeof OriginalSrc>
export const TlsInspector = message(`${LISTENER}tls_inspector.v3.TlsInspector`, { initial_read_buffer_size: uint32Value(2) })
export const HttpInspector = message(`${LISTENER}http_inspector.v3.HttpInspector`, {})
export const ProxyProtocol = message(`${LISTENER}proxy_protocol.v3.ProxyProtocol`, {
  rules: list(one(1, message(`${LISTENER}proxy_protocol.v3.ProxyProtocol.Rule`, { tlv_type: uint32(1) }))),
  allow_requests_without_proxy_protocol: bool(2),
  disallowed_versions: list(enumeration(4, { V1: 0, V2: 1 })),
})

// ---- filter state --------------------------------------------------------------------------------------------------------

/** envoy.extensions.filters.common.set_filter_state.v3. */
export const FilterStateValue = message('envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue', {
  ...oneof('key', { object_key: text(1) }),
  ...oneof('value', { format_string: one(2, SubstitutionFormatString) }),
  read_only: bool(3),
  shared_with_upstream: enumeration(4, { NONE: 0, ONCE: 1, TRANSITIVE: 2 }),
  skip_if_empty: bool(5),
  factory_key: text(6),
})
export type FilterStateValue = Decoded<typeof FilterStateValue>
export const HttpSetFilterState = message('envoy.extensions.filters.http.set_filter_state.v3.Config', {
  on_request_headers: list(one(1, FilterStateValue)),
})
export const NetworkSetFilterState = message('envoy.extensions.filters.network.set_filter_state.v3.Config', {
  on_new_connection: list(one(1, FilterStateValue)),
})

// ---- network filters -----------------------------------------------------------------------------------------------------

export const MongoProxy = message('envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy', { stat_prefix: text(1) })
export const MySqlProxy = message('envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy', { stat_prefix: text(1) })
export const SniCluster = message('envoy.extensions.filters.network.sni_cluster.v3.SniCluster', {})
/** Comes inside of a TypedStruct. */
export const MetadataExchange = message('envoy.tcp.metadataexchange.config.MetadataExchange', {
  protocol: text(1),
  enable_discovery: bool(2),
})
export const NetworkPeerMetadata = message('envoy.extensions.network_filters.peer_metadata.Config', {})

// ---- HTTP filters --------------------------------------------------------------------------------------------------------

const HTTP = 'envoy.extensions.filters.http.'
export const Router = message(`${HTTP}router.v3.Router`, {
  dynamic_stats: boolValue(1),
  start_child_span: bool(2),
  suppress_envoy_headers: bool(4),
  strict_check_headers: list(text(5)),
  respect_expected_rq_timeout: bool(6),
})
export const Cors = message(`${HTTP}cors.v3.Cors`, {})
export const GrpcStats = message(`${HTTP}grpc_stats.v3.FilterConfig`, {
  emit_filter_state: bool(1),
  ...oneof('per_method_stat_specifier', { stats_for_all_methods: boolValue(3) }),
})
export const GrpcWeb = message(`${HTTP}grpc_web.v3.GrpcWeb`, {})
/** `HeaderMutation` of envoy.config.common.mutation_rules.v3. */
export const HeaderChange = message('envoy.config.common.mutation_rules.v3.HeaderMutation', {
  ...oneof('action', { remove: text(1), append: one(2, HeaderValueOption) }),
})
export const HeaderChanges = message(`${HTTP}header_mutation.v3.Mutations`, {
  request_mutations: list(one(1, HeaderChange)),
  response_mutations: list(one(2, HeaderChange)),
})
export const HeaderMutation = message(`${HTTP}header_mutation.v3.HeaderMutation`, { mutations: one(1, HeaderChanges) })
export type HeaderMutation = Decoded<typeof HeaderMutation>
export const ExternalProcessor = message(`${HTTP}ext_proc.v3.ExternalProcessor`, { failure_mode_allow: bool(2) })

export const AlpnOverride = message('istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride', {
  upstream_protocol: enumeration(1, { HTTP10: 0, HTTP11: 1, HTTP2: 2 }),
  alpn_override: list(text(2)),
})
export const Alpn = message('istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig', {
  alpn_override: list(one(1, AlpnOverride)),
})
export const MetricConfig = message('stats.MetricConfig', {
  dimensions: map(text(1)),
  name: text(2),
  tags_to_remove: list(text(3)),
  match: text(4),
  drop: bool(5),
})
export const MetricDefinition = message('stats.MetricDefinition', { name: text(1), value: text(2) })
export const StatsPlugin = message('stats.PluginConfig', {
  disable_host_header_fallback: bool(6),
  tcp_reporting_duration: duration(7),
  metrics: list(one(8, MetricConfig)),
  definitions: list(one(9, MetricDefinition)),
  reporter: enumeration(10, { UNSPECIFIED: 0, SERVER_GATEWAY: 1 }),
})

// ---- WebAssembly: only to know what its absence means ------------------------------------------------------------------------

export const WasmPluginConfig = message('envoy.extensions.wasm.v3.PluginConfig', {
  name: text(1),
  root_id: text(2),
  /** Deprecated for `failure_policy`. */
  fail_open: bool(5),
  failure_policy: enumeration(7, { UNSPECIFIED: 0, FAIL_RELOAD: 1, FAIL_CLOSED: 2, FAIL_OPEN: 3 }),
})
export const HttpWasm = message(`${HTTP}wasm.v3.Wasm`, { config: one(1, WasmPluginConfig) })
export const NetworkWasm = message('envoy.extensions.filters.network.wasm.v3.Wasm', { config: one(1, WasmPluginConfig) })

// ---- what connection managers are configured with ------------------------------------------------------------------------------

export const UuidRequestId = message('envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig', {
  pack_trace_reason: boolValue(1),
  use_request_id_for_trace_sampling: boolValue(2),
})
export const PreserveCase = message('envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig', {
  forward_reason_phrase: bool(1),
})
