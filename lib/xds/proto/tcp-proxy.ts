// envoy.extensions.filters.network.tcp_proxy.v3.
import { AccessLog } from './access-log.ts'
import { HeaderValueOption, Metadata } from './core.ts'
import { bool, type Decoded, duration, list, message, one, oneof, text, uint32, uint32Value } from './schema.ts'

export const TcpWeight = message('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight', {
  name: text(1),
  weight: uint32(2),
  metadata_match: one(3, Metadata),
})
export const TcpWeightedCluster = message('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster', {
  clusters: list(one(1, TcpWeight)),
})
export const TunnelingConfig = message('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig', {
  /** May hold `%…%` operators. */
  hostname: text(1),
  use_post: bool(2),
  headers_to_add: list(one(3, HeaderValueOption)),
  post_path: text(5),
})
export type TunnelingConfig = Decoded<typeof TunnelingConfig>

/** envoy.type.v3: what of a connection is hashed. */
export const SourceIpHash = message('envoy.type.v3.HashPolicy.SourceIp', {})
export const FilterStateHash = message('envoy.type.v3.HashPolicy.FilterState', { key: text(1) })
export const TcpHashPolicy = message('envoy.type.v3.HashPolicy', {
  ...oneof('policy_specifier', { source_ip: one(1, SourceIpHash), filter_state: one(2, FilterStateHash) }),
})

export const TcpProxy = message('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', {
  stat_prefix: text(1),
  ...oneof('cluster_specifier', { cluster: text(2), weighted_clusters: one(10, TcpWeightedCluster) }),
  access_log: list(one(5, AccessLog)),
  max_connect_attempts: uint32Value(7),
  /** Absent: an hour. */
  idle_timeout: duration(8),
  metadata_match: one(9, Metadata),
  hash_policy: list(one(11, TcpHashPolicy)),
  tunneling_config: one(12, TunnelingConfig),
  max_downstream_connection_duration: duration(13),
})
export type TcpProxy = Decoded<typeof TcpProxy>
