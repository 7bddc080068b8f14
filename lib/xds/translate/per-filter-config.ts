// What routes say for filters (`typed_per_filter_config`). For each filter the most specific level counts. What is not understood is a fault: it may be what
// keeps somebody out.
import type { RouteFilters } from '../../state/route.ts'
import { CorsPolicy } from '../proto/cors.ts'
import { HTTPFault } from '../proto/fault.ts'
import { FilterConfig } from '../proto/route.ts'
import { type Any, typeUrlOf } from '../proto/schema.ts'
import { StatefulSessionPerRoute } from '../proto/stateful-session.ts'
import { corsOf } from './cors.ts'
import { faultOf } from './fault.ts'
import type { Findings } from './findings.ts'
import { sessionOf } from './session.ts'

export type PerFilterConfig = ReadonlyMap<string, Any>

const NONE: RouteFilters = { fault: null, cors: null, session: null }

const FAULT = typeUrlOf(HTTPFault)
const CORS = typeUrlOf(CorsPolicy)
const WRAPPED = typeUrlOf(FilterConfig)
const SESSION = typeUrlOf(StatefulSessionPerRoute)

/** `general` is what less specific levels say, in effect. */
export function overriding(general: PerFilterConfig, specific: PerFilterConfig): PerFilterConfig {
  if (general.size === 0) return specific
  return specific.size === 0 ? general : new Map([...general, ...specific])
}

export function routeFiltersOf(config: PerFilterConfig, findings: Findings): RouteFilters {
  if (config.size === 0) return NONE
  let { fault, cors, session } = NONE
  for (const [name, packed] of config) {
    const at = findings.at(`typed_per_filter_config[${name}]`)
    const { content, optional } = unwrapped(packed, at)
    if (content === null) continue
    if (content.typeUrl === FAULT) {
      const decoded = at.decode(content.value, HTTPFault)
      if (decoded !== null) fault = faultOf(decoded, at)
    } else if (content.typeUrl === CORS) {
      const decoded = at.decode(content.value, CorsPolicy)
      if (decoded !== null) cors = corsOf(decoded, at)
    } else if (content.typeUrl === SESSION) {
      const decoded = at.decode(content.value, StatefulSessionPerRoute)
      if (decoded?.disabled) session = 'none'
      else if (decoded?.stateful_session != null) session = sessionOf(decoded.stateful_session, at) ?? 'none'
    } else if (optional) at.note(`it is optional, and a ${content.typeUrl} is not understood`)
    else at.fault(`a ${content.typeUrl} is not understood`)
  }
  return { fault, cors, session }
}

const ABSENT = { content: null, optional: false }
const OURS: ReadonlySet<string> = new Set(['envoy.filters.http.fault', 'envoy.filters.http.cors'])

/** `content` is null when there is none, and when that was told as a fault. */
function unwrapped(packed: Any, findings: Findings): { readonly content: Any | null; readonly optional: boolean } {
  if (packed.typeUrl !== WRAPPED) return { content: packed, optional: false }
  const wrapper = findings.decode(packed.value, FilterConfig)
  if (wrapper === null) return ABSENT
  if (wrapper.disabled) {
    // A route without faults or CORS has none; of any other filter it is not known what it would mean to do without.
    const name = findings.path.slice(findings.path.lastIndexOf('[') + 1, -1)
    if (!OURS.has(name)) findings.fault('a filter is switched off for this route, which is not understood')
    return ABSENT
  }
  return { content: wrapper.config, optional: wrapper.is_optional }
}
