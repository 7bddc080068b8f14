// envoy.filters.http.stateful_session: sessions stay with their endpoints. Mostly it says nothing by itself, and routes say which.
import type { Any } from '../../proto/schema.ts'
import { StatefulSession } from '../../proto/stateful-session.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'
import { sessionOf } from '../session.ts'

export function statefulSession(config: Any | null, draft: HttpFilterDraft, findings: Findings): void {
  const own = findings.unpack(config, StatefulSession)
  draft.session = (own === null ? null : sessionOf(own, findings)) ?? 'routes'
}
