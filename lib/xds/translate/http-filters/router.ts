// envoy.filters.http.router: the end of the chain.
import { Router } from '../../proto/filters.ts'
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'

export function router(config: Any | null, draft: HttpFilterDraft, findings: Findings): void {
  draft.ends = true
  const settings = config === null ? null : findings.unpack(config, Router)
  draft.envoyHeaders = settings?.suppress_envoy_headers !== true
  if (settings?.respect_expected_rq_timeout === true)
    findings
      .at('respect_expected_rq_timeout')
      .note("the timeout is the route's: x-envoy-expected-rq-timeout-ms of clients is not heard")
  if ((settings?.strict_check_headers.length ?? 0) > 0)
    findings.at('strict_check_headers').note('headers x-envoy-* that make no sense are ignored')
}
