// What the .proto files that tables.test.ts compares with do not have: they are Envoy's of the spring of 2024.

/** `type name.field`: since when Envoy, or whoever defines the message, has it. A field that the files do have may not stand here. */
export const NEWER_FIELDS: Readonly<Record<string, string>> = {
  'envoy.config.route.v3.DirectResponseAction.body_format': "Envoy's API of January 2026",
  'envoy.config.listener.v3.Listener.tcp_keepalive': "Envoy's API of January 2026",
  'envoy.extensions.formatter.cel.v3.Cel.enable_typed_json': "Envoy's API of January 2026",
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext.auto_host_sni': "Envoy's API of January 2026",
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext.auto_sni_san_validation': "Envoy's API of January 2026",
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.outlier_detection': "Envoy's API of January 2026",
  'envoy.extensions.wasm.v3.PluginConfig.failure_policy': "Envoy's API of January 2026",
  'envoy.type.tracing.v3.CustomTag.value': "Envoy's API of January 2026",
}

/** `type name.field`: bytes in our tables, messages there: they are decoded one by one when they have changed, or it is only asked whether they are there. */
export const LEFT_AS_BYTES: ReadonlySet<string> = new Set([
  'envoy.config.listener.v3.Listener.filter_chains',
  'envoy.config.listener.v3.Listener.default_filter_chain',
  'envoy.config.rbac.v3.Policy.condition',
  'envoy.config.rbac.v3.Policy.checked_condition',
])

/** Messages of others, by the beginning of their names. */
export const NOT_ENVOYS: Readonly<Record<string, string>> = {
  'istio.': "Istio's own, in the repositories istio/api, istio/istio and istio/ztunnel",
  'stats.': 'istio/proxy, the filter istio.stats',
  'io.istio.': 'istio/proxy',
  'envoy.tcp.metadataexchange.': 'istio/proxy',
  'envoy.extensions.network_filters.peer_metadata.': 'istio/proxy',
}
/** Single messages. */
export const NOT_ENVOYS_MESSAGES: Readonly<Record<string, string>> = {
  'envoy.extensions.private_key_providers.cryptomb.v3alpha.CryptoMbPrivateKeyMethodConfig': "Envoy's contrib folder",
  'envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy': "Envoy's contrib folder",
  'envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig': "Envoy's contrib folder",
}
