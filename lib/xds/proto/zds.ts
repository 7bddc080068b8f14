// How the CNI agent of a node hands pods to the node's tunnel (Istio's cni/pkg/nodeagent zds.proto, package istio.workload.zds). One message in each packet.
import { type Decoded, enumeration, message, one, oneof, text } from './schema.ts'

/** The first packet, ours. */
export const ZdsHello = message('istio.workload.zds.ZdsHello', { version: enumeration(1, { NOT_USED: 0, V1: 1 }) })

export const WorkloadInfo = message('istio.workload.zds.WorkloadInfo', {
  name: text(1),
  namespace: text(2),
  service_account: text(3),
})

/** `uid`: the pod's in Kubernetes. With it comes a descriptor of its network namespace. */
export const AddWorkload = message('istio.workload.zds.AddWorkload', { uid: text(1), workload_info: one(2, WorkloadInfo) })
/** Not to be dropped, although its network namespace is not at hand. */
export const KeepWorkload = message('istio.workload.zds.KeepWorkload', { uid: text(1) })
export const DelWorkload = message('istio.workload.zds.DelWorkload', { uid: text(2) })
/** All pods have been named that there are. */
export const SnapshotSent = message('istio.workload.zds.SnapshotSent', {})

export const WorkloadRequest = message('istio.workload.zds.WorkloadRequest', {
  ...oneof('payload', {
    add: one(1, AddWorkload),
    del: one(2, DelWorkload),
    snapshot_sent: one(3, SnapshotSent),
    keep: one(5, KeepWorkload),
  }),
})
export type WorkloadRequest = Decoded<typeof WorkloadRequest>

/** `error` empty: done. */
export const Ack = message('istio.workload.zds.Ack', { error: text(1) })
export const WorkloadResponse = message('istio.workload.zds.WorkloadResponse', { ...oneof('payload', { ack: one(1, Ack) }) })
export type WorkloadResponse = Decoded<typeof WorkloadResponse>
