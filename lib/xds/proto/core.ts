// Messages of envoy.config.core.v3, envoy.type and google.protobuf that others are made of.
import {
  any,
  bool,
  boolValue,
  bytes,
  type Decoded,
  double,
  duration,
  enumeration,
  int32,
  int64,
  list,
  map,
  message,
  one,
  oneof,
  struct,
  text,
  uint32,
  uint32Value,
  uint64,
} from './schema.ts'

export const StringValue = message('google.protobuf.StringValue', { value: text(1) })
export const Empty = message('google.protobuf.Empty', {})

/** google.rpc.Status. */
export const Status = message('google.rpc.Status', { code: int32(1), message: text(2), details: list(any(3)) })
export type Status = Decoded<typeof Status>

export const Locality = message('envoy.config.core.v3.Locality', { region: text(1), zone: text(2), sub_zone: text(3) })
export type Locality = Decoded<typeof Locality>

/** By filter name; `istio` has what istiod says of an object's origin, `envoy.transport_socket_match` what chooses a transport socket. */
export const Metadata = message('envoy.config.core.v3.Metadata', { filter_metadata: map(struct(1)) })
export type Metadata = Decoded<typeof Metadata>

export const SocketAddress = message('envoy.config.core.v3.SocketAddress', {
  protocol: enumeration(1, { TCP: 0, UDP: 1 }),
  address: text(2),
  ...oneof('port_specifier', { port_value: uint32(3), named_port: text(4) }),
  resolver_name: text(5),
  ipv4_compat: bool(6),
})
export const Pipe = message('envoy.config.core.v3.Pipe', { path: text(1), mode: uint32(2) })
export const EnvoyInternalAddress = message('envoy.config.core.v3.EnvoyInternalAddress', {
  ...oneof('address_name_specifier', { server_listener_name: text(1) }),
  endpoint_id: text(2),
})
export const Address = message('envoy.config.core.v3.Address', {
  ...oneof('address', {
    socket_address: one(1, SocketAddress),
    pipe: one(2, Pipe),
    envoy_internal_address: one(3, EnvoyInternalAddress),
  }),
})
export type Address = Decoded<typeof Address>

export const CidrRange = message('envoy.config.core.v3.CidrRange', { address_prefix: text(1), prefix_len: uint32Value(2) })
export type CidrRange = Decoded<typeof CidrRange>

export const SocketOption = message('envoy.config.core.v3.SocketOption', {
  description: text(1),
  level: int64(2),
  name: int64(3),
  ...oneof('value', { int_value: int64(4), buf_value: bytes(5) }),
  state: enumeration(6, { STATE_PREBIND: 0, STATE_BOUND: 1, STATE_LISTENING: 2 }),
})
export const ExtraSourceAddress = message('envoy.config.core.v3.ExtraSourceAddress', { address: one(1, SocketAddress) })
export const BindConfig = message('envoy.config.core.v3.BindConfig', {
  source_address: one(1, SocketAddress),
  freebind: boolValue(2),
  socket_options: list(one(3, SocketOption)),
  extra_source_addresses: list(one(5, ExtraSourceAddress)),
})
export type BindConfig = Decoded<typeof BindConfig>

export const TcpKeepalive = message('envoy.config.core.v3.TcpKeepalive', {
  keepalive_probes: uint32Value(1),
  keepalive_time: uint32Value(2),
  keepalive_interval: uint32Value(3),
})
export type TcpKeepalive = Decoded<typeof TcpKeepalive>

export const HeaderValue = message('envoy.config.core.v3.HeaderValue', { key: text(1), value: text(2), raw_value: bytes(3) })
export type HeaderValue = Decoded<typeof HeaderValue>
export const HeaderValueOption = message('envoy.config.core.v3.HeaderValueOption', {
  header: one(1, HeaderValue),
  /** Deprecated for `append_action`. */
  append: boolValue(2),
  append_action: enumeration(3, {
    APPEND_IF_EXISTS_OR_ADD: 0,
    ADD_IF_ABSENT: 1,
    OVERWRITE_IF_EXISTS_OR_ADD: 2,
    OVERWRITE_IF_EXISTS: 3,
  }),
  keep_empty_value: bool(4),
})
export type HeaderValueOption = Decoded<typeof HeaderValueOption>

export const DataSource = message('envoy.config.core.v3.DataSource', {
  ...oneof('specifier', { filename: text(1), inline_bytes: bytes(2), inline_string: text(3), environment_variable: text(4) }),
})
export type DataSource = Decoded<typeof DataSource>

export const TypedExtensionConfig = message('envoy.config.core.v3.TypedExtensionConfig', { name: text(1), typed_config: any(2) })
export type TypedExtensionConfig = Decoded<typeof TypedExtensionConfig>

export const TransportSocket = message('envoy.config.core.v3.TransportSocket', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
})
export type TransportSocket = Decoded<typeof TransportSocket>

export const GoogleGrpc = message('envoy.config.core.v3.GrpcService.GoogleGrpc', { target_uri: text(1), stat_prefix: text(4) })
export const EnvoyGrpc = message('envoy.config.core.v3.GrpcService.EnvoyGrpc', { cluster_name: text(1), authority: text(2) })
export const GrpcService = message('envoy.config.core.v3.GrpcService', {
  ...oneof('target_specifier', { envoy_grpc: one(1, EnvoyGrpc), google_grpc: one(2, GoogleGrpc) }),
  timeout: duration(3),
  initial_metadata: list(one(5, HeaderValue)),
})
export type GrpcService = Decoded<typeof GrpcService>

const API_VERSION = { AUTO: 0, V2: 1, V3: 2 } as const
export const ApiConfigSource = message('envoy.config.core.v3.ApiConfigSource', {
  api_type: enumeration(1, {
    DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE: 0,
    REST: 1,
    GRPC: 2,
    DELTA_GRPC: 3,
    AGGREGATED_GRPC: 5,
    AGGREGATED_DELTA_GRPC: 6,
  }),
  cluster_names: list(text(2)),
  grpc_services: list(one(4, GrpcService)),
  set_node_on_first_message_only: bool(7),
  transport_api_version: enumeration(8, API_VERSION),
})
export const AggregatedConfigSource = message('envoy.config.core.v3.AggregatedConfigSource', {})
export const SelfConfigSource = message('envoy.config.core.v3.SelfConfigSource', {})
export const ConfigSource = message('envoy.config.core.v3.ConfigSource', {
  ...oneof('config_source_specifier', {
    path: text(1),
    api_config_source: one(2, ApiConfigSource),
    ads: one(3, AggregatedConfigSource),
    self: one(5, SelfConfigSource),
  }),
  initial_fetch_timeout: duration(4),
  resource_api_version: enumeration(6, API_VERSION),
})
export type ConfigSource = Decoded<typeof ConfigSource>

export const ExtensionConfigSource = message('envoy.config.core.v3.ExtensionConfigSource', {
  config_source: one(1, ConfigSource),
  default_config: any(2),
  apply_default_config_without_warming: bool(3),
  type_urls: list(text(4)),
})
export type ExtensionConfigSource = Decoded<typeof ExtensionConfigSource>

export const HttpUri = message('envoy.config.core.v3.HttpUri', {
  uri: text(1),
  ...oneof('http_upstream_type', { cluster: text(2) }),
  timeout: duration(3),
})
export type HttpUri = Decoded<typeof HttpUri>

const BackoffStrategy = message('envoy.config.core.v3.BackoffStrategy', { base_interval: duration(1), max_interval: duration(2) })
/** Of what is fetched for configuration; that of routes is another. */
export const FetchRetryPolicy = message('envoy.config.core.v3.RetryPolicy', {
  retry_back_off: one(1, BackoffStrategy),
  num_retries: uint32Value(2),
})

/** Of a share in a thousand ways: Envoy's unit for fractions. */
const DENOMINATOR = { HUNDRED: 0, TEN_THOUSAND: 1, MILLION: 2 } as const
export const FractionalPercent = message('envoy.type.v3.FractionalPercent', {
  numerator: uint32(1),
  denominator: enumeration(2, DENOMINATOR),
})
export type FractionalPercent = Decoded<typeof FractionalPercent>
export const Percent = message('envoy.type.v3.Percent', { value: double(1) })
export type Percent = Decoded<typeof Percent>
export const Int64Range = message('envoy.type.v3.Int64Range', { start: int64(1), end: int64(2) })
export const Int32Range = message('envoy.type.v3.Int32Range', { start: int32(1), end: int32(2) })

export const RuntimeFractionalPercent = message('envoy.config.core.v3.RuntimeFractionalPercent', {
  default_value: one(1, FractionalPercent),
  runtime_key: text(2),
})
export type RuntimeFractionalPercent = Decoded<typeof RuntimeFractionalPercent>
export const RuntimeFeatureFlag = message('envoy.config.core.v3.RuntimeFeatureFlag', {
  default_value: boolValue(1),
  runtime_key: text(2),
})

export const RegexMatcher = message('envoy.type.matcher.v3.RegexMatcher', { regex: text(2) })
export const RegexMatchAndSubstitute = message('envoy.type.matcher.v3.RegexMatchAndSubstitute', {
  pattern: one(1, RegexMatcher),
  substitution: text(2),
})
export type RegexMatchAndSubstitute = Decoded<typeof RegexMatchAndSubstitute>
/** The same message once more, where Envoy and others share types. */
export const XdsTypedExtensionConfig = message('xds.core.v3.TypedExtensionConfig', { name: text(1), typed_config: any(2) })
export const StringMatcher = message('envoy.type.matcher.v3.StringMatcher', {
  ...oneof('match_pattern', {
    exact: text(1),
    prefix: text(2),
    suffix: text(3),
    safe_regex: one(5, RegexMatcher),
    contains: text(7),
    custom: one(8, XdsTypedExtensionConfig),
  }),
  ignore_case: bool(6),
})
export type StringMatcher = Decoded<typeof StringMatcher>
export const PathMatcher = message('envoy.type.matcher.v3.PathMatcher', { ...oneof('rule', { path: one(1, StringMatcher) }) })
export type PathMatcher = Decoded<typeof PathMatcher>

export const SubstitutionFormatString = message('envoy.config.core.v3.SubstitutionFormatString', {
  ...oneof('format', { text_format: text(1), json_format: struct(2), text_format_source: one(5, DataSource) }),
  omit_empty_values: bool(3),
  content_type: text(4),
  formatters: list(one(6, TypedExtensionConfig)),
})
export type SubstitutionFormatString = Decoded<typeof SubstitutionFormatString>

export const KeepaliveSettings = message('envoy.config.core.v3.KeepaliveSettings', {
  interval: duration(1),
  timeout: duration(2),
  interval_jitter: one(3, Percent),
  connection_idle_interval: duration(4),
})
const ProperCaseWords = message('envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords', {})
export const HeaderKeyFormat = message('envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat', {
  ...oneof('header_format', { proper_case_words: one(1, ProperCaseWords), stateful_formatter: one(8, TypedExtensionConfig) }),
})
export const Http1ProtocolOptions = message('envoy.config.core.v3.Http1ProtocolOptions', {
  allow_absolute_url: boolValue(1),
  accept_http_10: bool(2),
  default_host_for_http_10: text(3),
  header_key_format: one(4, HeaderKeyFormat),
  enable_trailers: bool(5),
})
export type Http1ProtocolOptions = Decoded<typeof Http1ProtocolOptions>
export const Http2ProtocolOptions = message('envoy.config.core.v3.Http2ProtocolOptions', {
  max_concurrent_streams: uint32Value(2),
  initial_stream_window_size: uint32Value(3),
  initial_connection_window_size: uint32Value(4),
  allow_connect: bool(5),
  connection_keepalive: one(15, KeepaliveSettings),
})
export type Http2ProtocolOptions = Decoded<typeof Http2ProtocolOptions>
/** What holds for all versions of HTTP. */
export const HttpProtocolOptions = message('envoy.config.core.v3.HttpProtocolOptions', {
  idle_timeout: duration(1),
  max_headers_count: uint32Value(2),
  max_connection_duration: duration(3),
  max_stream_duration: duration(4),
  headers_with_underscores_action: enumeration(5, { ALLOW: 0, REJECT_REQUEST: 1, DROP_HEADER: 2 }),
  max_requests_per_connection: uint32Value(6),
})
export type HttpProtocolOptions = Decoded<typeof HttpProtocolOptions>

/** A Struct with the type of the message that it stands for. */
export const TypedStruct = message('udpa.type.v1.TypedStruct', { type_url: text(1), value: struct(2) })
export const XdsTypedStruct = message('xds.type.v3.TypedStruct', { type_url: text(1), value: struct(2) })

export const BuildVersion = message('envoy.config.core.v3.BuildVersion', { metadata: struct(2) })
export const Extension = message('envoy.config.core.v3.Extension', {
  name: text(1),
  category: text(2),
  disabled: bool(5),
  type_urls: list(text(6)),
})
export const Node = message('envoy.config.core.v3.Node', {
  id: text(1),
  cluster: text(2),
  metadata: struct(3),
  locality: one(4, Locality),
  user_agent_name: text(6),
  ...oneof('user_agent_version_type', { user_agent_version: text(7), user_agent_build_version: one(8, BuildVersion) }),
  extensions: list(one(9, Extension)),
  client_features: list(text(10)),
})
export type Node = Decoded<typeof Node>

/** Counters of 64 bits, where they are wanted. */
export const UInt64Value = message('google.protobuf.UInt64Value', { value: uint64(1) })
