// What this proxy says of itself: in its metrics, and to proxies at the other end of a request.
import type { WorkloadIdentity } from './bootstrap-config.ts'

export interface SelfDescription {
  /** As the control plane knows it: heddle.yaml, Istio's environment and the labels of the pod together. */
  readonly workload: WorkloadIdentity
  /** Of Kubernetes, as Istio names it: the labels source_cluster and destination_cluster. */
  readonly clusterId: string
  /** x-envoy-peer-metadata-id: of the node, unique in the mesh. Empty: nothing is told. */
  readonly peerId: string
  /** x-envoy-peer-metadata: a google.protobuf.Struct in base64. */
  readonly peerMetadata: string
}

/** Where no control plane knows us. */
export function selfWithout(workload: WorkloadIdentity): SelfDescription {
  return { workload, clusterId: 'Kubernetes', peerId: '', peerMetadata: '' }
}
