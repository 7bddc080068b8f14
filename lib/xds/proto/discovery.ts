// The messages of the discovery service (envoy/service/discovery/v3/discovery.proto) and who asks (envoy/config/core/v3/base.proto Node).
import { Node, Status } from './core.ts'
import { any, type Decoded, duration, list, map, message, one, text } from './schema.ts'

export const ControlPlane = message('envoy.config.core.v3.ControlPlane', { identifier: text(1) })
export type ControlPlane = Decoded<typeof ControlPlane>

/** State of the world, client to server. */
export const DiscoveryRequest = message('envoy.service.discovery.v3.DiscoveryRequest', {
  version_info: text(1),
  node: one(2, Node),
  resource_names: list(text(3)),
  type_url: text(4),
  response_nonce: text(5),
  /** Why a response is refused: `code`, and `message` with the names. */
  error_detail: one(6, Status),
})
export type DiscoveryRequest = Decoded<typeof DiscoveryRequest>

/** State of the world, server to client. */
export const DiscoveryResponse = message('envoy.service.discovery.v3.DiscoveryResponse', {
  version_info: text(1),
  resources: list(any(2)),
  type_url: text(4),
  nonce: text(5),
  control_plane: one(6, ControlPlane),
})
export type DiscoveryResponse = Decoded<typeof DiscoveryResponse>

/** The envelope of a resource; in the state of the world only where it has a time to live. */
export const Resource = message('envoy.service.discovery.v3.Resource', {
  version: text(1),
  resource: any(2),
  name: text(3),
  aliases: list(text(4)),
  ttl: duration(6),
})
export type Resource = Decoded<typeof Resource>

export const DeltaDiscoveryRequest = message('envoy.service.discovery.v3.DeltaDiscoveryRequest', {
  node: one(1, Node),
  type_url: text(2),
  resource_names_subscribe: list(text(3)),
  resource_names_unsubscribe: list(text(4)),
  initial_resource_versions: map(text(5)),
  response_nonce: text(6),
  error_detail: one(7, Status),
})
export type DeltaDiscoveryRequest = Decoded<typeof DeltaDiscoveryRequest>

export const DeltaDiscoveryResponse = message('envoy.service.discovery.v3.DeltaDiscoveryResponse', {
  system_version_info: text(1),
  resources: list(one(2, Resource)),
  type_url: text(4),
  nonce: text(5),
  removed_resources: list(text(6)),
  control_plane: one(7, ControlPlane),
})
export type DeltaDiscoveryResponse = Decoded<typeof DeltaDiscoveryResponse>
