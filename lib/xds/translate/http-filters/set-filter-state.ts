// envoy.filters.http.set_filter_state: what of a CONNECT is told to what comes out of its tunnel.
import { HttpSetFilterState } from '../../proto/filters.ts'
import type { Any } from '../../proto/schema.ts'
import { checkFilterState } from '../filter-state.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'

export function httpFilterState(config: Any | null, _draft: HttpFilterDraft, findings: Findings): void {
  const settings = findings.unpack(config, HttpSetFilterState)
  checkFilterState(settings?.on_request_headers ?? [], findings, 'on_request_headers')
}
