// Messages of envoy.extensions.load_balancing_policies: what a LoadBalancingPolicy of a cluster is made of.
import { Percent, TypedExtensionConfig } from './core.ts'
import {
  bool,
  boolValue,
  type Decoded,
  double,
  duration,
  enumeration,
  list,
  message,
  one,
  oneof,
  text,
  uint32Value,
  uint64Value,
} from './schema.ts'

const POLICIES = 'envoy.extensions.load_balancing_policies'

export const RuntimeDouble = message('envoy.config.core.v3.RuntimeDouble', { default_value: double(1), runtime_key: text(2) })
/** The same fields as the SlowStartConfig of a Cluster. */
export const SlowStartConfig = message(`${POLICIES}.common.v3.SlowStartConfig`, {
  slow_start_window: duration(1),
  aggression: one(2, RuntimeDouble),
  min_weight_percent: one(3, Percent),
})
export type SlowStartConfig = Decoded<typeof SlowStartConfig>

const LOCALITY = `${POLICIES}.common.v3.LocalityLbConfig`
export const ZoneAwareLbConfig = message(`${LOCALITY}.ZoneAwareLbConfig`, {
  routing_enabled: one(1, Percent),
  min_cluster_size: uint64Value(2),
  fail_traffic_on_panic: bool(3),
})
export const LocalityWeightedLbConfig = message(`${LOCALITY}.LocalityWeightedLbConfig`, {})
export const LocalityLbConfig = message(LOCALITY, {
  ...oneof('locality_config_specifier', {
    zone_aware_lb_config: one(1, ZoneAwareLbConfig),
    locality_weighted_lb_config: one(2, LocalityWeightedLbConfig),
  }),
})
export type LocalityLbConfig = Decoded<typeof LocalityLbConfig>
export const ConsistentHashingLbConfig = message(`${POLICIES}.common.v3.ConsistentHashingLbConfig`, {
  use_hostname_for_hashing: bool(1),
  hash_balance_factor: uint32Value(2),
})

export const ClusterProvided = message(`${POLICIES}.cluster_provided.v3.ClusterProvided`, {})
export const RoundRobin = message(`${POLICIES}.round_robin.v3.RoundRobin`, {
  slow_start_config: one(1, SlowStartConfig),
  locality_lb_config: one(2, LocalityLbConfig),
})
export const LeastRequest = message(`${POLICIES}.least_request.v3.LeastRequest`, {
  choice_count: uint32Value(1),
  active_request_bias: one(2, RuntimeDouble),
  slow_start_config: one(3, SlowStartConfig),
  locality_lb_config: one(4, LocalityLbConfig),
  enable_full_scan: boolValue(5),
  selection_method: enumeration(6, { N_CHOICES: 0, FULL_SCAN: 1 }),
})
export const Random = message(`${POLICIES}.random.v3.Random`, { locality_lb_config: one(1, LocalityLbConfig) })
export const RingHash = message(`${POLICIES}.ring_hash.v3.RingHash`, {
  hash_function: enumeration(1, { DEFAULT_HASH: 0, XX_HASH: 1, MURMUR_HASH_2: 2 }),
  minimum_ring_size: uint64Value(2),
  maximum_ring_size: uint64Value(3),
  use_hostname_for_hashing: bool(4),
  hash_balance_factor: uint32Value(5),
  consistent_hashing_lb_config: one(6, ConsistentHashingLbConfig),
  locality_weighted_lb_config: one(7, LocalityWeightedLbConfig),
})
export const Maglev = message(`${POLICIES}.maglev.v3.Maglev`, {
  table_size: uint64Value(1),
  consistent_hashing_lb_config: one(2, ConsistentHashingLbConfig),
  locality_weighted_lb_config: one(3, LocalityWeightedLbConfig),
})

export const LoadBalancingPolicyEntry = message('envoy.config.cluster.v3.LoadBalancingPolicy.Policy', {
  typed_extension_config: one(4, TypedExtensionConfig),
})
export const LoadBalancingPolicy = message('envoy.config.cluster.v3.LoadBalancingPolicy', {
  /** The first one that is known is used. */
  policies: list(one(1, LoadBalancingPolicyEntry)),
})
export type LoadBalancingPolicy = Decoded<typeof LoadBalancingPolicy>
export const WrrLocality = message(`${POLICIES}.wrr_locality.v3.WrrLocality`, {
  endpoint_picking_policy: one(1, LoadBalancingPolicy),
})
