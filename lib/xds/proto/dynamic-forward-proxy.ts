// Hosts that are looked up when they are asked for: the cluster, and the filters that say by what (envoy.extensions…dynamic_forward_proxy).
import { bool, enumeration, message, one, oneof, text, uint32 } from './schema.ts'

const EXTENSIONS = 'envoy.extensions.'

export const DnsCacheConfig = message(`${EXTENSIONS}common.dynamic_forward_proxy.v3.DnsCacheConfig`, {
  name: text(1),
  dns_lookup_family: enumeration(2, { AUTO: 0, V4_ONLY: 1, V6_ONLY: 2, V4_PREFERRED: 3, ALL: 4 }),
})
const SubClusters = message(`${EXTENSIONS}clusters.dynamic_forward_proxy.v3.SubClustersConfig`, {})
export const DynamicForwardProxy = message(`${EXTENSIONS}clusters.dynamic_forward_proxy.v3.ClusterConfig`, {
  ...oneof('cluster_implementation_specifier', {
    dns_cache_config: one(1, DnsCacheConfig),
    sub_clusters_config: one(4, SubClusters),
  }),
  allow_insecure_cluster_options: bool(2),
  allow_coalesced_connections: bool(3),
})
export const HttpDynamicForwardProxy = message(`${EXTENSIONS}filters.http.dynamic_forward_proxy.v3.FilterConfig`, {
  ...oneof('implementation_specifier', { dns_cache_config: one(1, DnsCacheConfig) }),
  save_upstream_address: bool(2),
})
export const SniDynamicForwardProxy = message(`${EXTENSIONS}filters.network.sni_dynamic_forward_proxy.v3.FilterConfig`, {
  dns_cache_config: one(1, DnsCacheConfig),
  ...oneof('port_specifier', { port_value: uint32(2) }),
})
