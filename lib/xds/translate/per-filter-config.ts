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
    const { content, optional, off } = unwrapped(packed, name, at)
    if (off && name === SESSIONS) session = 'none'
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

interface Unwrapped {
  readonly content: Any | null
  readonly optional: boolean
  /** The filter is switched off. */
  readonly off: boolean
}

const ABSENT: Unwrapped = { content: null, optional: false, off: false }
const SESSIONS = 'envoy.filters.http.stateful_session'
/** A route without faults, CORS or sessions has none. */
const SWITCHED_OFF: ReadonlySet<string> = new Set(['envoy.filters.http.fault', 'envoy.filters.http.cors', SESSIONS])
/** They only observe, or say what heddle says by itself. */
const OBSERVERS: ReadonlySet<string> = new Set([
  'istio.stats',
  'istio.alpn',
  'istio.metadata_exchange',
  'envoy.filters.http.grpc_stats',
])

/** `content` is null when there is none, and when that was told as a fault. */
function unwrapped(packed: Any, name: string, findings: Findings): Unwrapped {
  if (packed.typeUrl !== WRAPPED) return { content: packed, optional: false, off: false }
  const wrapper = findings.decode(packed.value, FilterConfig)
  if (wrapper === null) return ABSENT
  if (wrapper.disabled) {
    if (OBSERVERS.has(name)) findings.note('it goes on for this route')
    // Of any other filter it is not known what it would mean to do without.
    else if (!SWITCHED_OFF.has(name)) findings.fault('a filter is switched off for this route, which is not understood')
    return { ...ABSENT, off: true }
  }
  return { content: wrapper.config, optional: wrapper.is_optional, off: false }
}
