// The resource types of a control plane (xDS): their URLs, how each is asked for, and in which order.

/** Type URLs. */
export const XDS = {
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoints: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  secret: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  address: 'type.googleapis.com/istio.workload.Address',
  workload: 'type.googleapis.com/istio.workload.Workload',
  authorization: 'type.googleapis.com/istio.security.Authorization',
  extension: 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
  nameTable: 'type.googleapis.com/istio.networking.nds.v1.NameTable',
  proxyConfig: 'type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig',
  /** To the control plane alone. */
  health: 'type.googleapis.com/istio.v1.HealthInformation',
} as const

interface TypeTraits {
  /** As operators call it. */
  readonly short: string
  /** State of the world: a response is all that there is, and what it does not name has ceased to exist. Of the others it may be a part. */
  readonly whole: boolean
  /** The resource has its name as field 1. Those that do not exist once only, and have none. */
  readonly named: boolean
}

/**
 * In the order in which istiod pushes, and in which they are asked for: a route comes behind the clusters that it names (Envoy API docs,
 * "Eventual consistency considerations").
 */
const TRAITS: ReadonlyMap<string, TypeTraits> = new Map([
  [XDS.cluster, { short: 'CDS', whole: true, named: true }],
  [XDS.endpoints, { short: 'EDS', whole: false, named: true }],
  [XDS.listener, { short: 'LDS', whole: true, named: true }],
  [XDS.route, { short: 'RDS', whole: false, named: true }],
  [XDS.secret, { short: 'SDS', whole: false, named: true }],
  [XDS.address, { short: 'WDS', whole: true, named: false }],
  [XDS.workload, { short: 'WDS workloads', whole: true, named: false }],
  [XDS.authorization, { short: 'WDS authorization', whole: true, named: false }],
  [XDS.extension, { short: 'ECDS', whole: false, named: true }],
  [XDS.nameTable, { short: 'NDS', whole: true, named: false }],
  [XDS.proxyConfig, { short: 'PCDS', whole: true, named: false }],
])

const ORDER: readonly string[] = [...TRAITS.keys()]

/** `CDS`; of a type that is not known the end of its URL. */
export function shortTypeName(typeUrl: string): string {
  return TRAITS.get(typeUrl)?.short ?? typeUrl.slice(typeUrl.lastIndexOf('/') + 1)
}

export function isWholeInStateOfTheWorld(typeUrl: string): boolean {
  return TRAITS.get(typeUrl)?.whole ?? false
}

export function hasNameInside(typeUrl: string): boolean {
  return TRAITS.get(typeUrl)?.named ?? true
}

/** For sorting: unknown types come last. */
export function typeRank(typeUrl: string): number {
  const at = ORDER.indexOf(typeUrl)
  return at < 0 ? ORDER.length : at
}
