// envoy.config.core.v3.HealthCheck. istiod sends none; other control planes do.
import { HeaderValueOption, Int64Range, StringMatcher } from './core.ts'
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
  struct,
  text,
  uint32,
  uint32Value,
} from './schema.ts'

const CHECK = 'envoy.config.core.v3.HealthCheck'

export const Payload = message(`${CHECK}.Payload`, { ...oneof('payload', { text: text(1), binary: bytes(2) }) })
export const HttpHealthCheck = message(`${CHECK}.HttpHealthCheck`, {
  host: text(1),
  path: text(2),
  send: one(3, Payload),
  receive: list(one(4, Payload)),
  request_headers_to_add: list(one(6, HeaderValueOption)),
  request_headers_to_remove: list(text(8)),
  /** Half-open. Empty: 200 alone. */
  expected_statuses: list(one(9, Int64Range)),
  codec_client_type: enumeration(10, { HTTP1: 0, HTTP2: 1, HTTP3: 2 }),
  service_name_matcher: one(11, StringMatcher),
  retriable_statuses: list(one(12, Int64Range)),
  method: enumeration(13, {
    METHOD_UNSPECIFIED: 0,
    GET: 1,
    HEAD: 2,
    POST: 3,
    PUT: 4,
    DELETE: 5,
    CONNECT: 6,
    OPTIONS: 7,
    TRACE: 8,
    PATCH: 9,
  }),
})
export const TcpHealthCheck = message(`${CHECK}.TcpHealthCheck`, { send: one(1, Payload), receive: list(one(2, Payload)) })
export const GrpcHealthCheck = message(`${CHECK}.GrpcHealthCheck`, {
  service_name: text(1),
  authority: text(2),
  initial_metadata: list(one(3, HeaderValueOption)),
})
export const CustomHealthCheck = message(`${CHECK}.CustomHealthCheck`, {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
})
export const HealthCheck = message(CHECK, {
  timeout: duration(1),
  interval: duration(2),
  interval_jitter: duration(3),
  unhealthy_threshold: uint32Value(4),
  healthy_threshold: uint32Value(5),
  alt_port: uint32Value(6),
  reuse_connection: boolValue(7),
  ...oneof('health_checker', {
    http_health_check: one(8, HttpHealthCheck),
    tcp_health_check: one(9, TcpHealthCheck),
    grpc_health_check: one(11, GrpcHealthCheck),
    custom_health_check: one(13, CustomHealthCheck),
  }),
  interval_jitter_percent: uint32(18),
  always_log_health_check_failures: bool(19),
  initial_jitter: duration(20),
  transport_socket_match_criteria: struct(23),
})
export type HealthCheck = Decoded<typeof HealthCheck>
