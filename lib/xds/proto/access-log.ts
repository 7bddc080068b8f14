// envoy.config.accesslog.v3 and the loggers that istiod names.
import { FractionalPercent, SubstitutionFormatString } from './core.ts'
import { HeaderMatcher } from './route.ts'
import {
  any,
  bool,
  type Decoded,
  enumeration,
  list,
  type Message,
  message,
  one,
  oneof,
  recursive,
  struct,
  text,
  uint32,
} from './schema.ts'

const RuntimeUInt32 = message('envoy.config.core.v3.RuntimeUInt32', { default_value: uint32(2), runtime_key: text(3) })
/** `#3`: NE, which is newer than the rest. */
export const ComparisonFilter = message('envoy.config.accesslog.v3.ComparisonFilter', {
  op: enumeration(1, { EQ: 0, GE: 1, LE: 2 }),
  value: one(2, RuntimeUInt32),
})
export type ComparisonFilter = Decoded<typeof ComparisonFilter>
export const StatusCodeFilter = message('envoy.config.accesslog.v3.StatusCodeFilter', { comparison: one(1, ComparisonFilter) })
export const DurationFilter = message('envoy.config.accesslog.v3.DurationFilter', { comparison: one(1, ComparisonFilter) })
export const NotHealthCheckFilter = message('envoy.config.accesslog.v3.NotHealthCheckFilter', {})
export const TraceableFilter = message('envoy.config.accesslog.v3.TraceableFilter', {})
export const RuntimeFilter = message('envoy.config.accesslog.v3.RuntimeFilter', {
  runtime_key: text(1),
  percent_sampled: one(2, FractionalPercent),
  use_independent_randomness: bool(3),
})
export const HeaderFilter = message('envoy.config.accesslog.v3.HeaderFilter', { header: one(1, HeaderMatcher) })
const GRPC_STATUS = {
  OK: 0,
  CANCELED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const
export const GrpcStatusFilter = message('envoy.config.accesslog.v3.GrpcStatusFilter', {
  statuses: list(enumeration(1, GRPC_STATUS)),
  exclude: bool(2),
})
export const GRPC_STATUS_NUMBERS: Readonly<Record<string, number>> = GRPC_STATUS
export const MetadataFilter = message('envoy.config.accesslog.v3.MetadataFilter', {})
const LOG_TYPE = {
  NotSet: 0,
  TcpUpstreamConnected: 1,
  TcpPeriodic: 2,
  TcpConnectionEnd: 3,
  DownstreamStart: 4,
  DownstreamPeriodic: 5,
  DownstreamEnd: 6,
} as const
export const LogTypeFilter = message('envoy.config.accesslog.v3.LogTypeFilter', {
  types: list(enumeration(1, LOG_TYPE)),
  exclude: bool(2),
})
export const ExtensionFilter = message('envoy.config.accesslog.v3.ExtensionFilter', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
})
export const ResponseFlagFilter = message('envoy.config.accesslog.v3.ResponseFlagFilter', { flags: list(text(1)) })

export interface AccessLogFilter {
  readonly status_code_filter: Decoded<typeof StatusCodeFilter> | null
  readonly duration_filter: Decoded<typeof DurationFilter> | null
  readonly not_health_check_filter: object | null
  readonly traceable_filter: object | null
  readonly runtime_filter: Decoded<typeof RuntimeFilter> | null
  readonly and_filter: { readonly filters: readonly AccessLogFilter[] } | null
  readonly or_filter: { readonly filters: readonly AccessLogFilter[] } | null
  readonly header_filter: Decoded<typeof HeaderFilter> | null
  readonly response_flag_filter: { readonly flags: readonly string[] } | null
  readonly grpc_status_filter: Decoded<typeof GrpcStatusFilter> | null
  readonly extension_filter: Decoded<typeof ExtensionFilter> | null
  readonly metadata_filter: object | null
  readonly log_type_filter: Decoded<typeof LogTypeFilter> | null
}
export const AccessLogFilter: Message<AccessLogFilter> = recursive<AccessLogFilter>(
  'envoy.config.accesslog.v3.AccessLogFilter',
  () => ({
    ...oneof('filter_specifier', {
      status_code_filter: one(1, StatusCodeFilter),
      duration_filter: one(2, DurationFilter),
      not_health_check_filter: one(3, NotHealthCheckFilter),
      traceable_filter: one(4, TraceableFilter),
      runtime_filter: one(5, RuntimeFilter),
      and_filter: one(6, () => AndFilter),
      or_filter: one(7, () => OrFilter),
      header_filter: one(8, HeaderFilter),
      response_flag_filter: one(9, ResponseFlagFilter),
      grpc_status_filter: one(10, GrpcStatusFilter),
      extension_filter: one(11, ExtensionFilter),
      metadata_filter: one(12, MetadataFilter),
      log_type_filter: one(13, LogTypeFilter),
    }),
  }),
)
export const AndFilter = message('envoy.config.accesslog.v3.AndFilter', { filters: list(one(1, AccessLogFilter)) })
export const OrFilter = message('envoy.config.accesslog.v3.OrFilter', { filters: list(one(2, AccessLogFilter)) })

export const AccessLog = message('envoy.config.accesslog.v3.AccessLog', {
  name: text(1),
  filter: one(2, AccessLogFilter),
  ...oneof('config_type', { typed_config: any(4) }),
})
export type AccessLog = Decoded<typeof AccessLog>

export const FileAccessLog = message('envoy.extensions.access_loggers.file.v3.FileAccessLog', {
  path: text(1),
  ...oneof('access_log_format', {
    /** Deprecated for `log_format`. */
    format: text(2),
    json_format: struct(3),
    typed_json_format: struct(4),
    log_format: one(5, SubstitutionFormatString),
  }),
})
export type FileAccessLog = Decoded<typeof FileAccessLog>

/** Envoy's of standard output and standard error. */
export const StdoutAccessLog = message('envoy.extensions.access_loggers.stream.v3.StdoutAccessLog', {
  ...oneof('access_log_format', { log_format: one(1, SubstitutionFormatString) }),
})
export const StderrAccessLog = message('envoy.extensions.access_loggers.stream.v3.StderrAccessLog', {
  ...oneof('access_log_format', { log_format: one(1, SubstitutionFormatString) }),
})

export const CelExpressionFilter = message('envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter', {
  expression: text(1),
})
/** Said by name, and shown on admin pages; heddle has no streams of logs. */
export const CommonGrpcAccessLogConfig = message('envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig', {
  log_name: text(1),
})
export const HttpGrpcAccessLogConfig = message('envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig', {
  common_config: one(1, CommonGrpcAccessLogConfig),
})
export const TcpGrpcAccessLogConfig = message('envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig', {
  common_config: one(1, CommonGrpcAccessLogConfig),
})
export const OpenTelemetryAccessLogConfig = message(
  'envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig',
  { common_config: one(1, CommonGrpcAccessLogConfig) },
)
export const ReqWithoutQuery = message('envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery', {})
export const CelFormatter = message('envoy.extensions.formatter.cel.v3.Cel', { enable_typed_json: bool(1) })
export const MetadataFormatter = message('envoy.extensions.formatter.metadata.v3.Metadata', {})
