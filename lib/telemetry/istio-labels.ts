// Label text of Istio's standard metrics: exact names, order and values (Istio standard labels; contrib/istio istio_stats). Rendered
// once for each series.
import type { WorkloadIdentity } from '../state/bootstrap-config.ts'
import type { Cluster, Endpoint, EndpointWorkload } from '../state/cluster.ts'
import { MAX_PEER_LABEL_CHARS } from './labels.ts'

/**
 * `source`: this proxy is the client's (outbound listener, gateway). `destination`: the server's (inbound listener). `waypoint`: it stands between the two, and knows the client by its
 * tunnel.
 */
export type Reporter = 'source' | 'destination' | 'waypoint'

/** One side of a request. Empty: unknown. */
export type Peer = EndpointWorkload

/** Clusters that stand for no service; their name is written as destination_service_name. */
const SPECIAL_CLUSTERS: ReadonlySet<string> = new Set(['BlackHoleCluster', 'PassthroughCluster', 'InboundPassthroughCluster'])

export const UNKNOWN_PEER: Peer = {
  workload: '',
  namespace: '',
  app: '',
  version: '',
  canonicalService: '',
  canonicalRevision: '',
  cluster: '',
}

/**
 * Our own side. Where the injector's canonical labels are missing we derive them as the injector would: from
 * app.kubernetes.io/name, app, then the workload's name.
 * @param clusterId ISTIO_META_CLUSTER_ID; Istio's default is `Kubernetes`
 */
export function ownPeer(own: WorkloadIdentity, clusterId: string): Peer {
  const label = (name: string): string => own.labels[name] ?? ''
  const workload = own.name === 'unknown' ? '' : own.name
  return {
    workload,
    namespace: own.namespace,
    app: label('app'),
    version: label('version'),
    canonicalService: label('service.istio.io/canonical-name') || label('app.kubernetes.io/name') || label('app') || workload,
    canonicalRevision: label('service.istio.io/canonical-revision') || label('app.kubernetes.io/version') || label('version'),
    cluster: clusterId,
  }
}

/** The other side of an outbound request. Kiali drops rows whose namespace is known while the cluster is not. */
export function endpointPeer(endpoint: Endpoint | null, clusterId: string): Peer {
  if (endpoint === null) return UNKNOWN_PEER
  const { workload } = endpoint
  return { ...workload, cluster: workload.namespace === '' ? '' : workload.cluster || clusterId }
}

/**
 * The other side: what it says of itself, else what is known of it.
 * @param namespace what its certificate proves; empty: nothing
 */
export function peerOf(known: Peer, told: Peer | null, namespace: string): Peer {
  const peer = told ?? known
  return namespace === '' || namespace === peer.namespace ? peer : { ...peer, namespace }
}

/** `spiffe://trust.domain/ns/shop/sa/web`: `shop`. Empty: it names none. */
export function namespaceOf(principal: string): string {
  return /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\//.exec(principal)?.[1] ?? ''
}

/** What was asked for. Empty: unknown. */
export interface DestinationService {
  readonly host: string
  readonly name: string
  readonly namespace: string
}

/**
 * @param authority stands in for the host of a request that reached no service; empty: it may not (inbound, TCP)
 * @param peerNamespace namespace of the destination's workload, if the service does not name one
 */
export function destinationService(cluster: Cluster | null, authority: string, peerNamespace: string): DestinationService {
  if (cluster === null) return { host: authority, name: authority, namespace: peerNamespace }
  if (SPECIAL_CLUSTERS.has(cluster.name)) return { host: authority, name: cluster.name, namespace: peerNamespace }
  const host = cluster.host || authority
  const name = cluster.serviceName || (cluster.host === '' ? authority : cluster.host)
  return { host, name, namespace: cluster.serviceNamespace || peerNamespace }
}

/** Who proved to be who, by mTLS. Empty: nobody did. */
export interface Principals {
  readonly own: string
  readonly peer: string
}

/** What differs between the series of one destination. */
export interface RequestOutcome {
  readonly protocol: 'http' | 'grpc' | 'tcp'
  /** Left out for TCP, as is `grpcStatus`. */
  readonly responseCode: number
  /** Number as text; empty for requests that are not gRPC or got no status. */
  readonly grpcStatus: string
  /** `-` for none. */
  readonly flags: string
}

/** In Istio's order. */
export function istioLabels(
  reporter: Reporter,
  source: Peer,
  destination: Peer,
  service: DestinationService,
  outcome: RequestOutcome,
  { own, peer }: Principals,
): (readonly [name: string, value: string])[] {
  const serves = reporter !== 'source'
  return [
    ['reporter', reporter],
    ['source_workload', known(source.workload)],
    ['source_canonical_service', known(source.canonicalService)],
    ['source_canonical_revision', source.canonicalRevision || 'latest'],
    ['source_workload_namespace', known(source.namespace)],
    ['source_principal', known(serves ? peer : own)],
    ['source_app', known(source.app)],
    ['source_version', known(source.version)],
    ['source_cluster', known(source.cluster)],
    ['destination_workload', known(destination.workload)],
    ['destination_workload_namespace', known(destination.namespace)],
    ['destination_principal', known(serves ? own : peer)],
    ['destination_app', known(destination.app)],
    ['destination_version', known(destination.version)],
    ['destination_service', known(service.host)],
    ['destination_canonical_service', known(destination.canonicalService)],
    ['destination_canonical_revision', destination.canonicalRevision || (reporter === 'waypoint' ? 'unknown' : 'latest')],
    ['destination_service_name', known(service.name)],
    ['destination_service_namespace', known(service.namespace)],
    ['destination_cluster', known(destination.cluster)],
    ['request_protocol', outcome.protocol],
    ...(outcome.protocol === 'tcp'
      ? []
      : ([
          ['response_code', String(outcome.responseCode)],
          ['grpc_response_status', outcome.grpcStatus],
        ] as const)),
    ['response_flags', outcome.flags],
    // A server knows whether there was mTLS, a client never says (Istio standard labels).
    ['connection_security_policy', !serves ? 'unknown' : own !== '' && peer !== '' ? 'mutual_tls' : 'none'],
  ]
}

/**
 * Whether an authority that a client chose may stand in a label: a plausible host with an optional port, not too long. What a
 * client writes must not be able to break a page of metrics.
 */
export function isLabelAuthority(authority: string): boolean {
  return authority.length <= MAX_PEER_LABEL_CHARS && /^[A-Za-z0-9._\-[\]:]+$/.test(authority)
}

function known(value: string): string {
  return value === '' ? 'unknown' : value
}
