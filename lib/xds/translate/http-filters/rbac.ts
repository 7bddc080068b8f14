// envoy.filters.http.rbac: who may ask for what.
import { HttpRbac } from '../../proto/rbac.ts'
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'
import { translateHttpRbac } from '../rbac.ts'

export function httpRbac(config: Any | null, draft: HttpFilterDraft, findings: Findings): void {
  const filter = findings.unpack(config, HttpRbac)
  if (filter !== null) draft.authorization.push(translateHttpRbac(filter, findings))
}
