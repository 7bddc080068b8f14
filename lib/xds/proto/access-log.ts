// envoy.config.accesslog.v3 and the loggers that istiod names.
import { SubstitutionFormatString } from './core.ts'
import { any, bool, type Decoded, list, type Message, message, one, oneof, recursive, struct, text } from './schema.ts'

export const StatusCodeFilter = message('envoy.config.accesslog.v3.StatusCodeFilter', {})
export const ExtensionFilter = message('envoy.config.accesslog.v3.ExtensionFilter', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
})
export const ResponseFlagFilter = message('envoy.config.accesslog.v3.ResponseFlagFilter', { flags: list(text(1)) })

export interface AccessLogFilter {
  readonly status_code_filter: object | null
  readonly and_filter: { readonly filters: readonly AccessLogFilter[] } | null
  readonly or_filter: { readonly filters: readonly AccessLogFilter[] } | null
  readonly response_flag_filter: { readonly flags: readonly string[] } | null
  readonly extension_filter: Decoded<typeof ExtensionFilter> | null
}
export const AccessLogFilter: Message<AccessLogFilter> = recursive<AccessLogFilter>(
  'envoy.config.accesslog.v3.AccessLogFilter',
  () => ({
    ...oneof('filter_specifier', {
      status_code_filter: one(1, StatusCodeFilter),
      and_filter: one(6, () => AndFilter),
      or_filter: one(7, () => OrFilter),
      response_flag_filter: one(9, ResponseFlagFilter),
      extension_filter: one(11, ExtensionFilter),
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
    log_format: one(5, SubstitutionFormatString),
  }),
})
export type FileAccessLog = Decoded<typeof FileAccessLog>

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
