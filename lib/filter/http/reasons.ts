// Every answer that heddle makes by itself, with the stable code by which logs, metrics and documents name it (Envoy router replies and Envoy connection manager replies).
import * as F from '../../telemetry/response-flags.ts'

export interface Reason {
  /** Stable; scripts and alerts may rely on it. */
  readonly code: string
  readonly status: number
  /** Bits of telemetry/response-flags.ts. */
  readonly flags: number
  /** RESPONSE_CODE_DETAILS. */
  readonly details: string
  readonly body: string
  /** The connection cannot be used after it. */
  readonly closes: boolean
}

function reason(code: string, status: number, flags: number, details: string, body: string, closes: boolean): Reason {
  return { code, status, flags, details, body, closes }
}

export const MALFORMED = reason('malformed_request', 400, F.DPE, 'http1.codec_error', 'Bad Request', true)
export const UNKNOWN_VERSION = reason('unsupported_version', 505, F.DPE, 'http1.codec_error', 'HTTP Version Not Supported', true)
export const LOW_VERSION = reason('http_1_0', 426, F.DPE, 'low_version', 'Upgrade Required', true)
export const LENGTH_AND_CHUNKED = reason(
  'length_and_chunked',
  400,
  F.DPE,
  'http1.content_length_and_chunked_not_allowed',
  'Bad Request',
  true,
)
export const BAD_TRANSFER_ENCODING = reason(
  'unknown_transfer_encoding',
  501,
  F.DPE,
  'http1.invalid_transfer_encoding',
  'Not Implemented',
  true,
)
export const HEADERS_TOO_LARGE = reason(
  'headers_too_large',
  431,
  F.DPE,
  'http1.headers_too_large',
  'Request Header Fields Too Large',
  true,
)
export const TOO_MANY_HEADERS = reason(
  'too_many_headers',
  431,
  F.DPE,
  'http1.too_many_headers',
  'Request Header Fields Too Large',
  true,
)
export const HTTP2_MALFORMED = reason('http2_malformed_request', 400, F.DPE, 'http2.invalid.header.field', '', false)
export const HTTP2_HEADERS_TOO_LARGE = reason(
  'http2_headers_too_large',
  431,
  F.DPE,
  'http2.headers_too_large',
  'Request Header Fields Too Large',
  false,
)
export const HTTP2_TOO_MANY_HEADERS = reason(
  'http2_too_many_headers',
  431,
  F.DPE,
  'http2.too_many_headers',
  'Request Header Fields Too Large',
  false,
)
export const HTTP2_STALLED = reason('http2_stalled', 504, F.SI, 'stream_idle_timeout', '', false)
export const CONNECTION_HEADER_REJECTED = reason(
  'connection_header_rejected',
  400,
  F.DPE,
  'http1.connection_header_rejected',
  'Bad Request',
  true,
)
export const HTTPS_IN_PLAIN_TEXT = reason(
  'https_in_plain_text',
  403,
  F.DPE,
  'http1.https_url_on_plaintext_connection',
  'Forbidden',
  true,
)
export const MISSING_HOST = reason('missing_host', 400, 0, 'missing_host_header', '', true)
export const TWO_HOSTS = reason('several_hosts', 400, F.DPE, 'http1.codec_error', 'Bad Request', true)
export const ASTERISK_TARGET = reason('asterisk_target', 404, 0, 'absolute_path_rejected', '', false)
export const PATH_NOT_NORMAL = reason('path_normalization_failed', 400, 0, 'path_normalization_failed', '', true)
export const EXPECTATION_FAILED = reason('unknown_expectation', 417, 0, 'unknown_expectation', '', false)
export const HEADER_TIMEOUT = reason('request_header_timeout', 408, 0, 'request_header_timeout', 'request header timeout', true)
export const STREAM_IDLE = reason('stream_idle_timeout', 408, F.SI, 'stream_idle_timeout', 'stream timeout', false)
export const UPGRADE_REFUSED = reason('upgrade_refused', 403, 0, 'upgrade_failed', '', true)
export const UPGRADE_NOT_TAKEN = reason('upgrade_not_taken', 502, F.UPE, 'upgrade_failed', '', true)
export const CONNECT_REFUSED = reason('connect_refused', 404, F.NR, 'route_not_found', '', true)
export const ROUTE_NOT_FOUND = reason('route_not_found', 404, F.NR, 'route_not_found', '', false)
export const CLUSTER_NOT_FOUND = reason('cluster_not_found', 503, F.NC, 'cluster_not_found', '', false)
export const NO_HEALTHY = reason('no_healthy_upstream', 503, F.UH, 'no_healthy_upstream', 'no healthy upstream', false)
export const REQUEST_TIMEOUT = reason('request_timeout', 408, 0, 'request_overall_timeout', 'request timeout', false)
/** 504 once the request is complete. */
export const STREAM_DURATION = reason('stream_duration', 408, 0, 'max_duration_timeout', 'downstream duration timeout', false)
export const RESPONSE_TIMEOUT = reason('response_timeout', 504, F.UT, 'response_timeout', 'upstream request timeout', false)
export const PER_TRY_TIMEOUT = reason('per_try_timeout', 504, F.UT, 'upstream_per_try_timeout', 'upstream request timeout', false)
export const RETRY_BUFFER_FULL = reason(
  'retry_buffer_full',
  507,
  0,
  'request_payload_exceeded_retry_buffer_limit',
  'exceeded request buffer limit while retrying upstream',
  true,
)
/** Who refused it is told by details of its own, and never by the body. */
export const RBAC_DENIED = reason(
  'rbac_access_denied',
  403,
  0,
  'rbac_access_denied_matched_policy[none]',
  'RBAC: access denied',
  false,
)
/** What is wrong with a token its own status, details and body say (policy/jwt-status.ts). */
export const JWT_DENIED = reason(
  'jwt_authn_access_denied',
  401,
  0,
  'jwt_authn_access_denied{Jwt_is_missing}',
  'Jwt is missing',
  false,
)
const BASE64_TEXT = 'Bad gRPC-web request, invalid base64 data.'
export const GRPC_WEB_BASE64 = reason('grpc_web_base64', 400, 0, 'grpc_base_64_decode_failed', BASE64_TEXT, false)
export const GRPC_WEB_LENGTH = reason('grpc_web_length', 400, 0, 'grpc_base_64_decode_failed_bad_size', BASE64_TEXT, false)
export const FAULT_ABORT = reason('fault_abort', 503, F.FI, 'fault_filter_abort', 'fault filter abort', false)

/** Reasons with a fixed text, for the table in the documents and the test that compares the two. */
export const REASONS: readonly Reason[] = [
  MALFORMED,
  UNKNOWN_VERSION,
  LENGTH_AND_CHUNKED,
  BAD_TRANSFER_ENCODING,
  HEADERS_TOO_LARGE,
  TOO_MANY_HEADERS,
  HTTP2_MALFORMED,
  HTTP2_HEADERS_TOO_LARGE,
  HTTP2_TOO_MANY_HEADERS,
  HTTP2_STALLED,
  CONNECTION_HEADER_REJECTED,
  MISSING_HOST,
  TWO_HOSTS,
  ASTERISK_TARGET,
  PATH_NOT_NORMAL,
  EXPECTATION_FAILED,
  HEADER_TIMEOUT,
  STREAM_IDLE,
  REQUEST_TIMEOUT,
  STREAM_DURATION,
  UPGRADE_REFUSED,
  UPGRADE_NOT_TAKEN,
  CONNECT_REFUSED,
  ROUTE_NOT_FOUND,
  CLUSTER_NOT_FOUND,
  NO_HEALTHY,
  RESPONSE_TIMEOUT,
  PER_TRY_TIMEOUT,
  RETRY_BUFFER_FULL,
  GRPC_WEB_BASE64,
  GRPC_WEB_LENGTH,
  FAULT_ABORT,
]
