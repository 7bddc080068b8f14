// Messages of envoy.extensions.upstreams.http.v3: which HTTP a cluster's endpoints are spoken to.
import { HttpProtocolOptions as ForAllVersions, Http1ProtocolOptions, Http2ProtocolOptions } from './core.ts'
import { HttpFilter } from './http-connection-manager.ts'
import { bool, bytes, type Decoded, list, message, one, oneof, text } from './schema.ts'

const OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'

export const UpstreamHttpProtocolOptions = message('envoy.config.core.v3.UpstreamHttpProtocolOptions', {
  auto_sni: bool(1),
  auto_san_validation: bool(2),
  override_auto_sni_header: text(3),
})
export const Http3ProtocolOptions = message('envoy.config.core.v3.Http3ProtocolOptions', { allow_extended_connect: bool(5) })

export const ExplicitHttpConfig = message(`${OPTIONS}.ExplicitHttpConfig`, {
  ...oneof('protocol_config', {
    http_protocol_options: one(1, Http1ProtocolOptions),
    http2_protocol_options: one(2, Http2ProtocolOptions),
    http3_protocol_options: one(3, Http3ProtocolOptions),
  }),
})
export const UseDownstreamHttpConfig = message(`${OPTIONS}.UseDownstreamHttpConfig`, {
  http_protocol_options: one(1, Http1ProtocolOptions),
  http2_protocol_options: one(2, Http2ProtocolOptions),
  http3_protocol_options: one(3, Http3ProtocolOptions),
})
export const AutoHttpConfig = message(`${OPTIONS}.AutoHttpConfig`, {
  http_protocol_options: one(1, Http1ProtocolOptions),
  http2_protocol_options: one(2, Http2ProtocolOptions),
  http3_protocol_options: one(3, Http3ProtocolOptions),
})
export const HttpProtocolOptions = message(OPTIONS, {
  common_http_protocol_options: one(1, ForAllVersions),
  upstream_http_protocol_options: one(2, UpstreamHttpProtocolOptions),
  ...oneof('upstream_protocol_options', {
    explicit_http_config: one(3, ExplicitHttpConfig),
    use_downstream_protocol_config: one(4, UseDownstreamHttpConfig),
    auto_config: one(5, AutoHttpConfig),
  }),
  http_filters: list(one(6, HttpFilter)),
  /** Which responses count as failures; looked at only for whether it is there. */
  outlier_detection: bytes(8),
})
export type HttpProtocolOptions = Decoded<typeof HttpProtocolOptions>
