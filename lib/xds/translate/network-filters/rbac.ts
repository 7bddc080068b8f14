// envoy.filters.network.rbac: who may connect.
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { NetworkDraft } from '../network-filters.ts'

export function networkRbac(_config: Any | null, _draft: NetworkDraft, findings: Findings): void {
  findings.fault('authorization is not understood yet')
}
