// envoy.filters.network.set_filter_state: what of a connection is told to the tunnel that it leaves by.
import { NetworkSetFilterState } from '../../proto/filters.ts'
import type { Any } from '../../proto/schema.ts'
import { checkFilterState } from '../filter-state.ts'
import type { Findings } from '../findings.ts'
import type { NetworkDraft } from '../network-filters.ts'

export function networkFilterState(config: Any | null, _draft: NetworkDraft, findings: Findings): void {
  const settings = findings.unpack(config, NetworkSetFilterState)
  checkFilterState(settings?.on_new_connection ?? [], findings, 'on_new_connection')
}
