// What the .proto files that tables.test.ts compares with do not have: they are Envoy's of the spring of 2024.

/** `type name.field`: since when Envoy, or whoever defines the message, has it. A field that the files do have may not stand here. */
export const NEWER_FIELDS: Readonly<Record<string, string>> = {
  'envoy.config.route.v3.DirectResponseAction.body_format': "Envoy's API of January 2026",
}

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
  'envoy.extensions.private_key_providers.qat.v3alpha.QatPrivateKeyMethodConfig': "Envoy's contrib folder",
}
