// envoy.config.route.v3: which request goes where. Route configurations come as resources of their own, and within listeners.
import {
  DataSource,
  HeaderValueOption,
  Int64Range,
  Metadata,
  RegexMatchAndSubstitute,
  RegexMatcher,
  RuntimeFractionalPercent,
  StringMatcher,
  SubstitutionFormatString,
  TypedExtensionConfig,
} from './core.ts'
import { MetadataMatcher } from './matcher.ts'
import {
  any,
  bool,
  boolValue,
  bytes,
  type Decoded,
  duration,
  enumeration,
  int64,
  list,
  map,
  message,
  one,
  oneof,
  text,
  uint32,
  uint32Value,
} from './schema.ts'

export const HeaderMatcher = message('envoy.config.route.v3.HeaderMatcher', {
  name: text(1),
  ...oneof('header_match_specifier', {
    /** Deprecated for `string_match`, as those of the other kinds. */
    exact_match: text(4),
    safe_regex_match: one(11, RegexMatcher),
    range_match: one(6, Int64Range),
    present_match: bool(7),
    prefix_match: text(9),
    suffix_match: text(10),
    contains_match: text(12),
    string_match: one(13, StringMatcher),
  }),
  invert_match: bool(8),
  treat_missing_header_as_empty: bool(14),
})
export type HeaderMatcher = Decoded<typeof HeaderMatcher>

export const QueryParameterMatcher = message('envoy.config.route.v3.QueryParameterMatcher', {
  name: text(1),
  ...oneof('query_parameter_match_specifier', { string_match: one(5, StringMatcher), present_match: bool(6) }),
})
export type QueryParameterMatcher = Decoded<typeof QueryParameterMatcher>

const GrpcRouteMatchOptions = message('envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions', {})
const TlsContextMatchOptions = message('envoy.config.route.v3.RouteMatch.TlsContextMatchOptions', {
  presented: boolValue(1),
  validated: boolValue(2),
})
export type TlsContextMatch = Decoded<typeof TlsContextMatchOptions>
const ConnectMatcher = message('envoy.config.route.v3.RouteMatch.ConnectMatcher', {})

export const RouteMatch = message('envoy.config.route.v3.RouteMatch', {
  ...oneof('path_specifier', {
    prefix: text(1),
    path: text(2),
    safe_regex: one(10, RegexMatcher),
    connect_matcher: one(12, ConnectMatcher),
    path_separated_prefix: text(14),
    path_match_policy: one(15, TypedExtensionConfig),
  }),
  /** Absent: true. */
  case_sensitive: boolValue(4),
  headers: list(one(6, HeaderMatcher)),
  query_parameters: list(one(7, QueryParameterMatcher)),
  grpc: one(8, GrpcRouteMatchOptions),
  runtime_fraction: one(9, RuntimeFractionalPercent),
  tls_context: one(11, TlsContextMatchOptions),
  dynamic_metadata: list(one(13, MetadataMatcher)),
})
export type RouteMatch = Decoded<typeof RouteMatch>

const RetryPriority = message('envoy.config.route.v3.RetryPolicy.RetryPriority', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
})
const RetryHostPredicate = message('envoy.config.route.v3.RetryPolicy.RetryHostPredicate', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
})
const RetryBackOff = message('envoy.config.route.v3.RetryPolicy.RetryBackOff', {
  base_interval: duration(1),
  max_interval: duration(2),
})
export const RetryPolicy = message('envoy.config.route.v3.RetryPolicy', {
  /** Words with commas between them. */
  retry_on: text(1),
  /** Absent: 1. */
  num_retries: uint32Value(2),
  per_try_timeout: duration(3),
  retry_priority: one(4, RetryPriority),
  retry_host_predicate: list(one(5, RetryHostPredicate)),
  host_selection_retry_max_attempts: int64(6),
  retriable_status_codes: list(uint32(7)),
  retry_back_off: one(8, RetryBackOff),
  /** Of the response. */
  retriable_headers: list(one(9, HeaderMatcher)),
  retriable_request_headers: list(one(10, HeaderMatcher)),
  retry_options_predicates: list(one(12, TypedExtensionConfig)),
  per_try_idle_timeout: duration(13),
})
export type RetryPolicy = Decoded<typeof RetryPolicy>

const ClusterWeight = message('envoy.config.route.v3.WeightedCluster.ClusterWeight', {
  name: text(1),
  weight: uint32Value(2),
  metadata_match: one(3, Metadata),
  request_headers_to_add: list(one(4, HeaderValueOption)),
  response_headers_to_add: list(one(5, HeaderValueOption)),
  response_headers_to_remove: list(text(6)),
  request_headers_to_remove: list(text(9)),
  typed_per_filter_config: map(any(10)),
  ...oneof('host_rewrite_specifier', { host_rewrite_literal: text(11) }),
  cluster_header: text(12),
})
export type ClusterWeight = Decoded<typeof ClusterWeight>
export const WeightedCluster = message('envoy.config.route.v3.WeightedCluster', {
  clusters: list(one(1, ClusterWeight)),
  ...oneof('random_value_specifier', { header_name: text(4) }),
})

const HashHeader = message('envoy.config.route.v3.RouteAction.HashPolicy.Header', {
  header_name: text(1),
  regex_rewrite: one(2, RegexMatchAndSubstitute),
})
const CookieAttribute = message('envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute', {
  name: text(1),
  value: text(2),
})
const HashCookie = message('envoy.config.route.v3.RouteAction.HashPolicy.Cookie', {
  name: text(1),
  /** Absent: none is made. */
  ttl: duration(2),
  path: text(3),
  attributes: list(one(4, CookieAttribute)),
})
const ConnectionProperties = message('envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties', { source_ip: bool(1) })
const HashQueryParameter = message('envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter', { name: text(1) })
const FilterState = message('envoy.config.route.v3.RouteAction.HashPolicy.FilterState', { key: text(1) })
export const HashPolicy = message('envoy.config.route.v3.RouteAction.HashPolicy', {
  ...oneof('policy_specifier', {
    header: one(1, HashHeader),
    cookie: one(2, HashCookie),
    connection_properties: one(3, ConnectionProperties),
    query_parameter: one(5, HashQueryParameter),
    filter_state: one(6, FilterState),
  }),
  terminal: bool(4),
})
export type HashPolicy = Decoded<typeof HashPolicy>

const ConnectConfig = message('envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig', { allow_post: bool(2) })
export const UpgradeConfig = message('envoy.config.route.v3.RouteAction.UpgradeConfig', {
  upgrade_type: text(1),
  enabled: boolValue(2),
  connect_config: one(3, ConnectConfig),
})
export const RequestMirrorPolicy = message('envoy.config.route.v3.RouteAction.RequestMirrorPolicy', {
  cluster: text(1),
  runtime_fraction: one(3, RuntimeFractionalPercent),
  trace_sampled: boolValue(4),
  cluster_header: text(5),
  disable_shadow_host_suffix_append: bool(6),
})
export type RequestMirrorPolicy = Decoded<typeof RequestMirrorPolicy>
export const MaxStreamDuration = message('envoy.config.route.v3.RouteAction.MaxStreamDuration', {
  max_stream_duration: duration(1),
  grpc_timeout_header_max: duration(2),
  grpc_timeout_header_offset: duration(3),
})

// Only whether they are there.
const HedgePolicy = message('envoy.config.route.v3.HedgePolicy', {})
const InternalRedirectPolicy = message('envoy.config.route.v3.InternalRedirectPolicy', {})
const RateLimit = message('envoy.config.route.v3.RateLimit', {})

export const RouteAction = message('envoy.config.route.v3.RouteAction', {
  ...oneof('cluster_specifier', {
    cluster: text(1),
    cluster_header: text(2),
    weighted_clusters: one(3, WeightedCluster),
    cluster_specifier_plugin: text(37),
  }),
  cluster_not_found_response_code: enumeration(20, { SERVICE_UNAVAILABLE: 0, NOT_FOUND: 1, INTERNAL_SERVER_ERROR: 2 }),
  metadata_match: one(4, Metadata),
  prefix_rewrite: text(5),
  regex_rewrite: one(32, RegexMatchAndSubstitute),
  path_rewrite_policy: one(41, TypedExtensionConfig),
  ...oneof('host_rewrite_specifier', {
    host_rewrite_literal: text(6),
    auto_host_rewrite: boolValue(7),
    host_rewrite_header: text(29),
    host_rewrite_path_regex: one(35, RegexMatchAndSubstitute),
  }),
  append_x_forwarded_host: bool(38),
  /** Absent: 15 s; 0: none. */
  timeout: duration(8),
  idle_timeout: duration(24),
  retry_policy: one(9, RetryPolicy),
  request_mirror_policies: list(one(30, RequestMirrorPolicy)),
  hash_policy: list(one(15, HashPolicy)),
  max_grpc_timeout: duration(23),
  upgrade_configs: list(one(25, UpgradeConfig)),
  max_stream_duration: one(36, MaxStreamDuration),
  hedge_policy: one(27, HedgePolicy),
  internal_redirect_policy: one(34, InternalRedirectPolicy),
  rate_limits: list(one(13, RateLimit)),
})
export type RouteAction = Decoded<typeof RouteAction>

export const RedirectAction = message('envoy.config.route.v3.RedirectAction', {
  ...oneof('scheme_rewrite_specifier', { https_redirect: bool(4), scheme_redirect: text(7) }),
  host_redirect: text(1),
  port_redirect: uint32(8),
  ...oneof('path_rewrite_specifier', {
    path_redirect: text(2),
    prefix_rewrite: text(5),
    regex_rewrite: one(9, RegexMatchAndSubstitute),
  }),
  response_code: enumeration(3, {
    MOVED_PERMANENTLY: 0,
    FOUND: 1,
    SEE_OTHER: 2,
    TEMPORARY_REDIRECT: 3,
    PERMANENT_REDIRECT: 4,
  }),
  strip_query: bool(6),
})
export type RedirectAction = Decoded<typeof RedirectAction>

export const DirectResponseAction = message('envoy.config.route.v3.DirectResponseAction', {
  status: uint32(1),
  body: one(2, DataSource),
  body_format: one(3, SubstitutionFormatString),
})
export type DirectResponseAction = Decoded<typeof DirectResponseAction>

const NonForwardingAction = message('envoy.config.route.v3.NonForwardingAction', {})
/** `operation` is what a span is called. */
export const Decorator = message('envoy.config.route.v3.Decorator', { operation: text(1), propagate: boolValue(2) })

export const Route = message('envoy.config.route.v3.Route', {
  name: text(14),
  match: one(1, RouteMatch),
  ...oneof('action', {
    route: one(2, RouteAction),
    redirect: one(3, RedirectAction),
    direct_response: one(7, DirectResponseAction),
    non_forwarding_action: one(18, NonForwardingAction),
  }),
  metadata: one(4, Metadata),
  decorator: one(5, Decorator),
  typed_per_filter_config: map(any(13)),
  request_headers_to_add: list(one(9, HeaderValueOption)),
  request_headers_to_remove: list(text(12)),
  response_headers_to_add: list(one(10, HeaderValueOption)),
  response_headers_to_remove: list(text(11)),
})
export type Route = Decoded<typeof Route>

export const VirtualHost = message('envoy.config.route.v3.VirtualHost', {
  name: text(1),
  domains: list(text(2)),
  routes: list(one(3, Route)),
  require_tls: enumeration(4, { NONE: 0, EXTERNAL_ONLY: 1, ALL: 2 }),
  request_headers_to_add: list(one(7, HeaderValueOption)),
  request_headers_to_remove: list(text(13)),
  response_headers_to_add: list(one(10, HeaderValueOption)),
  response_headers_to_remove: list(text(11)),
  typed_per_filter_config: map(any(15)),
  include_request_attempt_count: bool(14),
  retry_policy: one(16, RetryPolicy),
})
export type VirtualHost = Decoded<typeof VirtualHost>

const ABOUT_ALL_HOSTS = {
  name: text(1),
  internal_only_headers: list(text(3)),
  response_headers_to_add: list(one(4, HeaderValueOption)),
  response_headers_to_remove: list(text(5)),
  request_headers_to_add: list(one(6, HeaderValueOption)),
  request_headers_to_remove: list(text(8)),
  validate_clusters: boolValue(7),
  most_specific_header_mutations_wins: bool(10),
  /** Absent: 4096. */
  max_direct_response_body_size_bytes: uint32Value(11),
  ignore_port_in_host_matching: bool(14),
  ignore_path_parameters_in_path_matching: bool(15),
  typed_per_filter_config: map(any(16)),
  metadata: one(17, Metadata),
}
export const RouteConfiguration = message('envoy.config.route.v3.RouteConfiguration', {
  virtual_hosts: list(one(2, VirtualHost)),
  ...ABOUT_ALL_HOSTS,
})
export type RouteConfiguration = Decoded<typeof RouteConfiguration>

/**
 * The same message, with its virtual hosts left as bytes: one configuration holds all services of a port, and what is left alone needs neither decoding nor
 * translation. A function, so that the type has one table in the registry.
 */
export const routeConfigurationInParts = () => IN_PARTS
const IN_PARTS = message('envoy.config.route.v3.RouteConfiguration', { virtual_hosts: list(bytes(2)), ...ABOUT_ALL_HOSTS })
export type RouteConfigurationInParts = Decoded<typeof IN_PARTS>
/** The name alone, of a virtual host's bytes. */
export const virtualHostName = () => HOST_NAME
const HOST_NAME = message('envoy.config.route.v3.VirtualHost', { name: text(1) })

/** For one filter on one route, when there is more to say than its configuration. */
export const FilterConfig = message('envoy.config.route.v3.FilterConfig', {
  config: any(1),
  is_optional: bool(2),
  disabled: bool(3),
})
