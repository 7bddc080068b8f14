// Messages of envoy.config.cluster.v3.
import {
  BindConfig,
  ConfigSource,
  ExtensionConfigSource,
  Http1ProtocolOptions,
  Http2ProtocolOptions,
  HttpProtocolOptions,
  Metadata,
  Percent,
  TcpKeepalive,
  TransportSocket,
  TypedExtensionConfig,
} from './core.ts'
import { ClusterLoadAssignment, HEALTH_STATUS } from './endpoint.ts'
import { HealthCheck } from './health-check.ts'
import { LoadBalancingPolicy, RuntimeDouble } from './load-balancing-policies.ts'
import {
  any,
  bool,
  boolValue,
  type Decoded,
  duration,
  enumeration,
  list,
  map,
  message,
  one,
  oneof,
  struct,
  text,
  uint32Value,
  uint64Value,
} from './schema.ts'

const CLUSTER = 'envoy.config.cluster.v3.Cluster'

export const RetryBudget = message('envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget', {
  budget_percent: one(1, Percent),
  min_retry_concurrency: uint32Value(2),
})
export const Thresholds = message('envoy.config.cluster.v3.CircuitBreakers.Thresholds', {
  priority: enumeration(1, { DEFAULT: 0, HIGH: 1 }),
  max_connections: uint32Value(2),
  max_pending_requests: uint32Value(3),
  max_requests: uint32Value(4),
  max_retries: uint32Value(5),
  track_remaining: bool(6),
  max_connection_pools: uint32Value(7),
  retry_budget: one(8, RetryBudget),
})
export type Thresholds = Decoded<typeof Thresholds>
export const CircuitBreakers = message('envoy.config.cluster.v3.CircuitBreakers', {
  thresholds: list(one(1, Thresholds)),
  per_host_thresholds: list(one(2, Thresholds)),
})
export type CircuitBreakers = Decoded<typeof CircuitBreakers>

export const OutlierDetection = message('envoy.config.cluster.v3.OutlierDetection', {
  consecutive_5xx: uint32Value(1),
  interval: duration(2),
  base_ejection_time: duration(3),
  max_ejection_percent: uint32Value(4),
  enforcing_consecutive_5xx: uint32Value(5),
  enforcing_success_rate: uint32Value(6),
  success_rate_minimum_hosts: uint32Value(7),
  success_rate_request_volume: uint32Value(8),
  success_rate_stdev_factor: uint32Value(9),
  consecutive_gateway_failure: uint32Value(10),
  enforcing_consecutive_gateway_failure: uint32Value(11),
  split_external_local_origin_errors: bool(12),
  consecutive_local_origin_failure: uint32Value(13),
  enforcing_consecutive_local_origin_failure: uint32Value(14),
  enforcing_local_origin_success_rate: uint32Value(15),
  failure_percentage_threshold: uint32Value(16),
  enforcing_failure_percentage: uint32Value(17),
  enforcing_failure_percentage_local_origin: uint32Value(18),
  failure_percentage_minimum_hosts: uint32Value(19),
  failure_percentage_request_volume: uint32Value(20),
  max_ejection_time: duration(21),
  max_ejection_time_jitter: duration(22),
  successful_active_health_check_uneject_host: boolValue(23),
  monitors: list(one(24, TypedExtensionConfig)),
  always_eject_one_host: boolValue(25),
})
export type OutlierDetection = Decoded<typeof OutlierDetection>

export const TransportSocketMatch = message(`${CLUSTER}.TransportSocketMatch`, {
  name: text(1),
  match: struct(2),
  transport_socket: one(3, TransportSocket),
})
export const CustomClusterType = message(`${CLUSTER}.CustomClusterType`, { name: text(1), typed_config: any(2) })
export const EdsClusterConfig = message(`${CLUSTER}.EdsClusterConfig`, {
  eds_config: one(1, ConfigSource),
  /** Empty: the cluster's name. */
  service_name: text(2),
})
export const SlowStartConfig = message(`${CLUSTER}.SlowStartConfig`, {
  slow_start_window: duration(1),
  aggression: one(2, RuntimeDouble),
  min_weight_percent: one(3, Percent),
})
export const RoundRobinLbConfig = message(`${CLUSTER}.RoundRobinLbConfig`, { slow_start_config: one(1, SlowStartConfig) })
export const LeastRequestLbConfig = message(`${CLUSTER}.LeastRequestLbConfig`, {
  choice_count: uint32Value(1),
  active_request_bias: one(2, RuntimeDouble),
  slow_start_config: one(3, SlowStartConfig),
})
export const RingHashLbConfig = message(`${CLUSTER}.RingHashLbConfig`, {
  minimum_ring_size: uint64Value(1),
  hash_function: enumeration(3, { XX_HASH: 0, MURMUR_HASH_2: 1 }),
  maximum_ring_size: uint64Value(4),
})
export const MaglevLbConfig = message(`${CLUSTER}.MaglevLbConfig`, { table_size: uint64Value(1) })

export const MetadataPathSegment = message('envoy.type.metadata.v3.MetadataKey.PathSegment', {
  ...oneof('segment', { key: text(1) }),
})
export const MetadataKey = message('envoy.type.metadata.v3.MetadataKey', {
  key: text(1),
  path: list(one(2, MetadataPathSegment)),
})
export const OriginalDstLbConfig = message(`${CLUSTER}.OriginalDstLbConfig`, {
  use_http_header: bool(1),
  http_header_name: text(2),
  upstream_port_override: uint32Value(3),
  metadata_key: one(4, MetadataKey),
})
export type OriginalDstLbConfig = Decoded<typeof OriginalDstLbConfig>

const COMMON = `${CLUSTER}.CommonLbConfig`
export const ZoneAwareLbConfig = message(`${COMMON}.ZoneAwareLbConfig`, {
  routing_enabled: one(1, Percent),
  min_cluster_size: uint64Value(2),
  fail_traffic_on_panic: bool(3),
})
export const LocalityWeightedLbConfig = message(`${COMMON}.LocalityWeightedLbConfig`, {})
export const ConsistentHashingLbConfig = message(`${COMMON}.ConsistentHashingLbConfig`, {
  use_hostname_for_hashing: bool(1),
  hash_balance_factor: uint32Value(2),
})
export const HealthStatusSet = message('envoy.config.core.v3.HealthStatusSet', { statuses: list(enumeration(1, HEALTH_STATUS)) })
export const CommonLbConfig = message(COMMON, {
  /** Absent: 50 percent. Present without a value: 0. */
  healthy_panic_threshold: one(1, Percent),
  ...oneof('locality_config_specifier', {
    zone_aware_lb_config: one(2, ZoneAwareLbConfig),
    locality_weighted_lb_config: one(3, LocalityWeightedLbConfig),
  }),
  update_merge_window: duration(4),
  ignore_new_hosts_until_first_hc: bool(5),
  close_connections_on_host_set_change: bool(6),
  consistent_hashing_lb_config: one(7, ConsistentHashingLbConfig),
  override_host_status: one(8, HealthStatusSet),
})
export type CommonLbConfig = Decoded<typeof CommonLbConfig>

export const UpstreamConnectionOptions = message('envoy.config.cluster.v3.UpstreamConnectionOptions', {
  tcp_keepalive: one(1, TcpKeepalive),
})
/** Of network filters towards the upstream: istio.metadata_exchange. */
export const Filter = message('envoy.config.cluster.v3.Filter', {
  name: text(1),
  typed_config: any(2),
  config_discovery: one(3, ExtensionConfigSource),
})
export const LbSubsetConfig = message(`${CLUSTER}.LbSubsetConfig`, { default_subset: struct(2) })

export const Cluster = message(CLUSTER, {
  name: text(1),
  ...oneof('cluster_discovery_type', {
    type: enumeration(2, { STATIC: 0, STRICT_DNS: 1, LOGICAL_DNS: 2, EDS: 3, ORIGINAL_DST: 4 }),
    cluster_type: one(38, CustomClusterType),
  }),
  eds_cluster_config: one(3, EdsClusterConfig),
  connect_timeout: duration(4),
  per_connection_buffer_limit_bytes: uint32Value(5),
  lb_policy: enumeration(6, {
    ROUND_ROBIN: 0,
    LEAST_REQUEST: 1,
    RING_HASH: 2,
    RANDOM: 3,
    MAGLEV: 5,
    CLUSTER_PROVIDED: 6,
    LOAD_BALANCING_POLICY_CONFIG: 7,
  }),
  health_checks: list(one(8, HealthCheck)),
  /** Deprecated for HttpProtocolOptions, as the next ones. */
  max_requests_per_connection: uint32Value(9),
  circuit_breakers: one(10, CircuitBreakers),
  http_protocol_options: one(13, Http1ProtocolOptions),
  http2_protocol_options: one(14, Http2ProtocolOptions),
  dns_refresh_rate: duration(16),
  dns_lookup_family: enumeration(17, { AUTO: 0, V4_ONLY: 1, V6_ONLY: 2, V4_PREFERRED: 3, ALL: 4 }),
  outlier_detection: one(19, OutlierDetection),
  cleanup_interval: duration(20),
  upstream_bind_config: one(21, BindConfig),
  lb_subset_config: one(22, LbSubsetConfig),
  ...oneof('lb_config', {
    ring_hash_lb_config: one(23, RingHashLbConfig),
    original_dst_lb_config: one(34, OriginalDstLbConfig),
    least_request_lb_config: one(37, LeastRequestLbConfig),
    maglev_lb_config: one(52, MaglevLbConfig),
    round_robin_lb_config: one(56, RoundRobinLbConfig),
  }),
  transport_socket: one(24, TransportSocket),
  metadata: one(25, Metadata),
  protocol_selection: enumeration(26, { USE_CONFIGURED_PROTOCOL: 0, USE_DOWNSTREAM_PROTOCOL: 1 }),
  common_lb_config: one(27, CommonLbConfig),
  alt_stat_name: text(28),
  common_http_protocol_options: one(29, HttpProtocolOptions),
  upstream_connection_options: one(30, UpstreamConnectionOptions),
  close_connections_on_host_health_failure: bool(31),
  ignore_health_on_host_removal: bool(32),
  load_assignment: one(33, ClusterLoadAssignment),
  typed_extension_protocol_options: map(any(36)),
  respect_dns_ttl: bool(39),
  filters: list(one(40, Filter)),
  load_balancing_policy: one(41, LoadBalancingPolicy),
  /** The first whose `match` is within the endpoint's metadata `envoy.transport_socket_match`. */
  transport_socket_matches: list(one(43, TransportSocketMatch)),
  upstream_config: one(48, TypedExtensionConfig),
  connection_pool_per_downstream_connection: bool(51),
  typed_dns_resolver_config: one(55, TypedExtensionConfig),
})
export type Cluster = Decoded<typeof Cluster>
