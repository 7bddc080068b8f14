// What a node's tunnel is told of the mesh (Istio's pkg/workloadapi/workload.proto, package istio.workload): workloads and services, each in an Address.
import {
  any,
  bool,
  bytes,
  type Decoded,
  enumeration,
  list,
  map,
  message,
  one,
  oneof,
  optional,
  text,
  uint32,
  uint32Value,
} from './schema.ts'

/** The default network is ''. */
export const NetworkAddress = message('istio.workload.NetworkAddress', {
  network: text(1),
  /** 4 or 16. */
  address: bytes(2),
  /** It is a prefix. */
  length: optional(uint32(3)),
})
export type NetworkAddress = Decoded<typeof NetworkAddress>

export const NamespacedHostname = message('istio.workload.NamespacedHostname', { namespace: text(1), hostname: text(2) })

export const GatewayAddress = message('istio.workload.GatewayAddress', {
  ...oneof('destination', { hostname: one(1, NamespacedHostname), address: one(2, NetworkAddress) }),
  hbone_mtls_port: uint32(3),
})
export type GatewayAddress = Decoded<typeof GatewayAddress>

export const Port = message('istio.workload.Port', {
  service_port: uint32(1),
  target_port: uint32(2),
  app_protocol: enumeration(3, { UNKNOWN: 0, HTTP11: 1, HTTP2: 2, GRPC: 3, TCP: 4, TLS: 5 }),
})
export type Port = Decoded<typeof Port>
export const PortList = message('istio.workload.PortList', { ports: list(one(1, Port)) })

export const Locality = message('istio.workload.Locality', { region: text(1), zone: text(2), subzone: text(3) })

export const ApplicationTunnel = message('istio.workload.ApplicationTunnel', {
  protocol: enumeration(1, { NONE: 0, PROXY: 1 }),
  port: uint32(2),
})

/** For others than tunnels. */
export const Extension = message('istio.workload.Extension', { name: text(1), config: any(2) })

export const Workload = message('istio.workload.Workload', {
  uid: text(20),
  name: text(1),
  namespace: text(2),
  addresses: list(bytes(3)),
  hostname: text(21),
  network: text(4),
  tunnel_protocol: enumeration(5, { NONE: 0, HBONE: 1, LEGACY_ISTIO_MTLS: 2 }),
  trust_domain: text(6),
  service_account: text(7),
  waypoint: one(8, GatewayAddress),
  network_gateway: one(19, GatewayAddress),
  node: text(9),
  canonical_name: text(10),
  canonical_revision: text(11),
  workload_type: enumeration(12, { DEPLOYMENT: 0, CRONJOB: 1, POD: 2, JOB: 3 }),
  workload_name: text(13),
  native_tunnel: bool(14),
  application_tunnel: one(23, ApplicationTunnel),
  /** By `namespace/hostname`. */
  services: map(one(22, PortList)),
  authorization_policies: list(text(16)),
  status: enumeration(17, { HEALTHY: 0, UNHEALTHY: 1 }),
  cluster_id: text(18),
  locality: one(24, Locality),
  network_mode: enumeration(25, { STANDARD: 0, HOST_NETWORK: 1 }),
  extensions: list(one(26, Extension)),
  capacity: uint32Value(27),
})
export type Workload = Decoded<typeof Workload>

export const LoadBalancing = message('istio.workload.LoadBalancing', {
  routing_preference: list(
    enumeration(1, { UNSPECIFIED_SCOPE: 0, REGION: 1, ZONE: 2, SUBZONE: 3, NODE: 4, CLUSTER: 5, NETWORK: 6 }),
  ),
  mode: enumeration(2, { UNSPECIFIED_MODE: 0, STRICT: 1, FAILOVER: 2, PASSTHROUGH: 3 }),
  health_policy: enumeration(3, { ONLY_HEALTHY: 0, ALLOW_ALL: 1 }),
})
export type LoadBalancing = Decoded<typeof LoadBalancing>

export const WeightedWaypoint = message('istio.workload.WeightedWaypoint', {
  destination: one(1, GatewayAddress),
  weight: uint32(2),
})

export const Service = message('istio.workload.Service', {
  name: text(1),
  namespace: text(2),
  hostname: text(3),
  addresses: list(one(4, NetworkAddress)),
  ports: list(one(5, Port)),
  subject_alt_names: list(text(6)),
  waypoint: one(7, GatewayAddress),
  load_balancing: one(8, LoadBalancing),
  ip_families: enumeration(9, { AUTOMATIC: 0, IPV4_ONLY: 1, IPV6_ONLY: 2, DUAL: 3 }),
  extensions: list(one(10, Extension)),
  canonical: bool(11),
  ingress_use_waypoint: bool(12),
  weighted_waypoints: list(one(13, WeightedWaypoint)),
  visibility: enumeration(14, { PUBLIC: 0, NAMESPACE: 1 }),
})
export type Service = Decoded<typeof Service>

/** A resource of the feed. */
export const Address = message('istio.workload.Address', {
  ...oneof('type', { workload: one(1, Workload), service: one(2, Service) }),
})
export type Address = Decoded<typeof Address>
