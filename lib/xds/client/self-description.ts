// The node's metadata as this proxy says it of itself, in the form in which Istio's proxies tell each other (istio/proxy extensions/common/metadata_object.cc). Pure.
import type { WorkloadIdentity } from '../../state/bootstrap-config.ts'
import type { SelfDescription } from '../../state/self-description.ts'
import { ownPeer } from '../../telemetry/istio-labels.ts'
import type { Node } from '../proto/core.ts'
import { encode } from '../proto/encode.ts'
import { map, message, type Struct, type StructValue, value } from '../proto/schema.ts'

/** google.protobuf.Struct as a message of its own. */
const StructMessage = message('google.protobuf.Struct', { fields: map(value(1)) })

export function describeSelf(node: Pick<Node, 'id' | 'metadata'>, workload: WorkloadIdentity): SelfDescription {
  const metadata = node.metadata ?? {}
  const clusterId = textOf(metadata['CLUSTER_ID'])
  const self: WorkloadIdentity = {
    ...workload,
    namespace: textOf(metadata['NAMESPACE']) || workload.namespace,
    name: textOf(metadata['WORKLOAD_NAME']) || workload.name,
    labels: labelsOf(metadata['LABELS']) ?? workload.labels,
  }
  return { workload: self, clusterId, peerId: node.id, peerMetadata: structOf(metadata, self, clusterId) }
}

/** Keys without a value are left out. */
function structOf(metadata: Struct, self: WorkloadIdentity, clusterId: string): string {
  const peer = ownPeer(self, clusterId)
  const labels = withoutEmpty({
    app: peer.app,
    'service.istio.io/canonical-name': peer.canonicalService,
    'service.istio.io/canonical-revision': peer.canonicalRevision,
    version: peer.version,
  })
  const fields: Record<string, string | Struct> = withoutEmpty({
    CLUSTER_ID: clusterId,
    NAME: textOf(metadata['NAME']),
    NAMESPACE: self.namespace,
    OWNER: textOf(metadata['OWNER']),
    WORKLOAD_NAME: peer.workload,
  })
  if (Object.keys(labels).length > 0) fields['LABELS'] = labels
  return Buffer.from(
    encode(StructMessage, { fields: new Map(Object.entries(fields)) as ReadonlyMap<string, string | Struct> }),
  ).toString('base64')
}

function withoutEmpty(of: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(of).filter(([, text]) => text !== ''))
}

function labelsOf(of: StructValue | undefined): Readonly<Record<string, string>> | null {
  if (typeof of !== 'object' || of === null || Array.isArray(of)) return null
  return Object.fromEntries(Object.entries(of).map(([key, v]) => [key, textOf(v)]))
}

function textOf(of: StructValue | undefined): string {
  return typeof of === 'string' ? of : ''
}
