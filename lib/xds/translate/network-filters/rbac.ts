// envoy.filters.network.rbac: who may connect.
import { NetworkRbac } from '../../proto/rbac.ts'
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { NetworkDraft } from '../network-filters.ts'
import { translateNetworkRbac } from '../rbac.ts'

export function networkRbac(config: Any | null, draft: NetworkDraft, findings: Findings): void {
  const filter = findings.unpack(config, NetworkRbac)
  if (filter !== null) draft.authorization.push(translateNetworkRbac(filter, findings))
}
