// envoy.filters.http.header_mutation: of a waypoint, who both ends of the tunnel are (ambient.istio.io/xfcc-include-client-identity).
import { HeaderMutation } from '../../proto/filters.ts'
import type { Any } from '../../proto/schema.ts'
import type { Findings } from '../findings.ts'
import type { HttpFilterDraft } from '../http-filters.ts'

/** Spaces apart: of one key and value only. */
const BY = 'By=%FILTER_STATE(io.istio.local_principal:PLAIN)%'
const URI = 'URI=%FILTER_STATE(io.istio.peer_principal:PLAIN)%'

export function headerMutation(config: Any | null, draft: HttpFilterDraft, findings: Findings): void {
  const mutations = findings.unpack(config, HeaderMutation)?.mutations ?? null
  if (mutations === null) return
  for (const [i, { append, remove }] of mutations.request_mutations.entries()) {
    const { key = '', value = '' } = append?.header ?? {}
    if (key.toLowerCase() === 'x-forwarded-client-cert' && value === `${BY};${URI}`) draft.identities = true
    else
      findings
        .at('request_mutations', i)
        .fault(`the header ${remove ?? key} is changed for all routes, which heddle can do for a route only`)
  }
  if (mutations.response_mutations.length > 0)
    findings
      .at('response_mutations')
      .fault('headers of responses are changed for all routes, which heddle can do for a route only')
}
