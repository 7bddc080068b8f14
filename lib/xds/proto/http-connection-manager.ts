// envoy.extensions.filters.network.http_connection_manager.v3.
import { AccessLog } from './access-log.ts'
import {
  CidrRange,
  ConfigSource,
  ExtensionConfigSource,
  Http1ProtocolOptions,
  Http2ProtocolOptions,
  HttpProtocolOptions,
  TypedExtensionConfig,
} from './core.ts'
import { RouteConfiguration } from './route.ts'
import {
  any,
  bool,
  boolValue,
  bytes,
  type Decoded,
  duration,
  enumeration,
  list,
  message,
  one,
  oneof,
  text,
  uint32,
  uint32Value,
} from './schema.ts'
import { HcmTracing } from './tracing.ts'

const NAME = 'envoy.extensions.filters.network.http_connection_manager.v3'

export const Rds = message(`${NAME}.Rds`, { config_source: one(1, ConfigSource), route_config_name: text(2) })
export const ScopedRoutes = message(`${NAME}.ScopedRoutes`, { name: text(1) })
export const HttpFilter = message(`${NAME}.HttpFilter`, {
  name: text(1),
  ...oneof('config_type', { typed_config: any(4), config_discovery: one(5, ExtensionConfigSource) }),
  is_optional: bool(6),
  disabled: bool(7),
})
export type HttpFilter = Decoded<typeof HttpFilter>
export const SetCurrentClientCertDetails = message(`${NAME}.HttpConnectionManager.SetCurrentClientCertDetails`, {
  subject: boolValue(1),
  cert: bool(3),
  dns: bool(4),
  uri: bool(5),
  chain: bool(6),
})
export const HcmUpgradeConfig = message(`${NAME}.HttpConnectionManager.UpgradeConfig`, {
  upgrade_type: text(1),
  filters: list(one(2, HttpFilter)),
  enabled: boolValue(3),
})
export const InternalAddressConfig = message(`${NAME}.HttpConnectionManager.InternalAddressConfig`, {
  unix_sockets: bool(1),
  cidr_ranges: list(one(2, CidrRange)),
})
export const RequestIDExtension = message(`${NAME}.RequestIDExtension`, { typed_config: any(1) })
export const LocalReplyConfig = message(`${NAME}.LocalReplyConfig`, {})

export const HttpConnectionManager = message(`${NAME}.HttpConnectionManager`, {
  codec_type: enumeration(1, { AUTO: 0, HTTP1: 1, HTTP2: 2, HTTP3: 3 }),
  stat_prefix: text(2),
  ...oneof('route_specifier', {
    rds: one(3, Rds),
    route_config: one(4, RouteConfiguration),
    scoped_routes: one(31, ScopedRoutes),
  }),
  http_filters: list(one(5, HttpFilter)),
  tracing: one(7, HcmTracing),
  http_protocol_options: one(8, Http1ProtocolOptions),
  http2_protocol_options: one(9, Http2ProtocolOptions),
  server_name: text(10),
  access_log: list(one(13, AccessLog)),
  use_remote_address: boolValue(14),
  generate_request_id: boolValue(15),
  forward_client_cert_details: enumeration(16, {
    SANITIZE: 0,
    FORWARD_ONLY: 1,
    APPEND_FORWARD: 2,
    SANITIZE_SET: 3,
    ALWAYS_FORWARD_ONLY: 4,
  }),
  set_current_client_cert_details: one(17, SetCurrentClientCertDetails),
  proxy_100_continue: bool(18),
  xff_num_trusted_hops: uint32(19),
  skip_xff_append: bool(21),
  via: text(22),
  upgrade_configs: list(one(23, HcmUpgradeConfig)),
  stream_idle_timeout: duration(24),
  internal_address_config: one(25, InternalAddressConfig),
  drain_timeout: duration(12),
  request_timeout: duration(28),
  max_request_headers_kb: uint32Value(29),
  normalize_path: boolValue(30),
  preserve_external_request_id: bool(32),
  merge_slashes: bool(33),
  server_header_transformation: enumeration(34, { OVERWRITE: 0, APPEND_IF_ABSENT: 1, PASS_THROUGH: 2 }),
  common_http_protocol_options: one(35, HttpProtocolOptions),
  request_id_extension: one(36, RequestIDExtension),
  always_set_request_id_in_response: bool(37),
  local_reply_config: one(38, LocalReplyConfig),
  strip_matching_host_port: bool(39),
  request_headers_timeout: duration(41),
  path_with_escaped_slashes_action: enumeration(45, {
    IMPLEMENTATION_SPECIFIC_DEFAULT: 0,
    KEEP_UNCHANGED: 1,
    REJECT_REQUEST: 2,
    UNESCAPE_AND_REDIRECT: 3,
    UNESCAPE_AND_FORWARD: 4,
  }),
  original_ip_detection_extensions: list(one(46, TypedExtensionConfig)),
  append_x_forwarded_port: bool(51),
  early_header_mutation_extensions: list(one(52, TypedExtensionConfig)),
})
export type HttpConnectionManager = Decoded<typeof HttpConnectionManager>

/** Of the same message: the route configuration as it came, to tell whether it is one that is known. */
export const HcmRouteBytes = message(`${NAME}.HttpConnectionManager`, { route_config: bytes(4) })
