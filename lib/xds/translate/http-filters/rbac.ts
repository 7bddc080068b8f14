// envoy.filters.http.rbac: who may ask for what.
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'

export function httpRbac(_config: Any | null, _draft: HttpFilterDraft, findings: Findings): void {
  findings.fault('authorization is not understood yet')
}
