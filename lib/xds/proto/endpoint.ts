// Messages of envoy.config.endpoint.v3.
import { Address, FractionalPercent, Locality, Metadata } from './core.ts'
import { bool, type Decoded, duration, enumeration, list, map, message, one, oneof, text, uint32, uint32Value } from './schema.ts'

export const HEALTH_STATUS = { UNKNOWN: 0, HEALTHY: 1, UNHEALTHY: 2, DRAINING: 3, TIMEOUT: 4, DEGRADED: 5 } as const

export const HealthCheckConfig = message('envoy.config.endpoint.v3.Endpoint.HealthCheckConfig', {
  port_value: uint32(1),
  hostname: text(2),
  address: one(3, Address),
  disable_active_health_check: bool(4),
})
export const AdditionalAddress = message('envoy.config.endpoint.v3.Endpoint.AdditionalAddress', { address: one(1, Address) })
export const Endpoint = message('envoy.config.endpoint.v3.Endpoint', {
  address: one(1, Address),
  health_check_config: one(2, HealthCheckConfig),
  hostname: text(3),
  additional_addresses: list(one(4, AdditionalAddress)),
})
export type Endpoint = Decoded<typeof Endpoint>

export const LbEndpoint = message('envoy.config.endpoint.v3.LbEndpoint', {
  ...oneof('host_identifier', { endpoint: one(1, Endpoint), endpoint_name: text(5) }),
  health_status: enumeration(2, HEALTH_STATUS),
  metadata: one(3, Metadata),
  load_balancing_weight: uint32Value(4),
})
export type LbEndpoint = Decoded<typeof LbEndpoint>

export const LbEndpointList = message('envoy.config.endpoint.v3.LocalityLbEndpoints.LbEndpointList', {
  lb_endpoints: list(one(1, LbEndpoint)),
})
export const LedsClusterLocalityConfig = message('envoy.config.endpoint.v3.LedsClusterLocalityConfig', {
  leds_collection_name: text(2),
})
export const LocalityLbEndpoints = message('envoy.config.endpoint.v3.LocalityLbEndpoints', {
  locality: one(1, Locality),
  lb_endpoints: list(one(2, LbEndpoint)),
  /** Absent: nothing, where localities are weighed. */
  load_balancing_weight: uint32Value(3),
  priority: uint32(5),
  proximity: uint32Value(6),
  ...oneof('lb_config', {
    load_balancer_endpoints: one(7, LbEndpointList),
    leds_cluster_locality_config: one(8, LedsClusterLocalityConfig),
  }),
  metadata: one(9, Metadata),
})
export type LocalityLbEndpoints = Decoded<typeof LocalityLbEndpoints>

export const DropOverload = message('envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload', {
  category: text(1),
  drop_percentage: one(2, FractionalPercent),
})
export const Policy = message('envoy.config.endpoint.v3.ClusterLoadAssignment.Policy', {
  drop_overloads: list(one(2, DropOverload)),
  /** Percent; absent: 140. */
  overprovisioning_factor: uint32Value(3),
  endpoint_stale_after: duration(4),
  weighted_priority_health: bool(6),
})
export type Policy = Decoded<typeof Policy>

export const ClusterLoadAssignment = message('envoy.config.endpoint.v3.ClusterLoadAssignment', {
  cluster_name: text(1),
  endpoints: list(one(2, LocalityLbEndpoints)),
  policy: one(4, Policy),
  named_endpoints: map(one(5, Endpoint)),
})
export type ClusterLoadAssignment = Decoded<typeof ClusterLoadAssignment>
