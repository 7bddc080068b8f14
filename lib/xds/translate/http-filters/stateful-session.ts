// envoy.filters.http.stateful_session: sessions stay with their endpoint. What is lost without it is stickiness.
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'

export function statefulSession(_config: Any | null, _draft: HttpFilterDraft, findings: Findings): void {
  findings.note('sessions do not stay with their endpoint (persistent sessions)')
}
