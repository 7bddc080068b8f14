// Tracing as a connection manager has it (envoy.config.trace.v3, envoy.type.tracing.v3).
import { Percent } from './core.ts'
import { any, bool, type Decoded, enumeration, list, message, one, oneof, text, uint32Value } from './schema.ts'

export const CustomTagLiteral = message('envoy.type.tracing.v3.CustomTag.Literal', { value: text(1) })
export const CustomTagEnvironment = message('envoy.type.tracing.v3.CustomTag.Environment', {
  name: text(1),
  default_value: text(2),
})
export const CustomTagHeader = message('envoy.type.tracing.v3.CustomTag.Header', { name: text(1), default_value: text(2) })
export const CustomTag = message('envoy.type.tracing.v3.CustomTag', {
  tag: text(1),
  ...oneof('type', {
    literal: one(2, CustomTagLiteral),
    environment: one(3, CustomTagEnvironment),
    request_header: one(4, CustomTagHeader),
    /** Formatted: `%…%` operators. */
    value: text(6),
  }),
})
export type CustomTag = Decoded<typeof CustomTag>

export const TracingProvider = message('envoy.config.trace.v3.Tracing.Http', {
  name: text(1),
  ...oneof('config_type', { typed_config: any(3) }),
})
export const HcmTracing = message('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing', {
  client_sampling: one(3, Percent),
  random_sampling: one(4, Percent),
  overall_sampling: one(5, Percent),
  verbose: bool(6),
  max_path_tag_length: uint32Value(7),
  custom_tags: list(one(8, CustomTag)),
  provider: one(9, TracingProvider),
})
export type HcmTracing = Decoded<typeof HcmTracing>

export const ZipkinConfig = message('envoy.config.trace.v3.ZipkinConfig', {
  collector_cluster: text(1),
  collector_endpoint: text(2),
  collector_endpoint_version: enumeration(5, {
    DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE: 0,
    HTTP_JSON: 1,
    HTTP_PROTO: 2,
    GRPC: 3,
  }),
})
export const DatadogConfig = message('envoy.config.trace.v3.DatadogConfig', { collector_cluster: text(1), service_name: text(2) })
export const OpenTelemetryConfig = message('envoy.config.trace.v3.OpenTelemetryConfig', { service_name: text(2) })
export const SkyWalkingConfig = message('envoy.config.trace.v3.SkyWalkingConfig', {})
