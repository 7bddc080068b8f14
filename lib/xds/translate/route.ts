// Route of envoy.config.route.v3 to the noun of the same name.
import type { Origin } from '../../state/origin.ts'
import type { HeaderEdit, RouteAction, RouteMatch, Route as RouteNoun } from '../../state/route.ts'
import type { RetryPolicy, Route } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { followedBy, headerEditsOf } from './header-edits.ts'
import { originOf } from './istio-metadata.ts'
import { overriding, type PerFilterConfig, routeFiltersOf } from './per-filter-config.ts'
import { forwardActionOf } from './route-action.ts'
import { directResponseOf, redirectOf } from './route-answers.ts'
import { routeMatchOf } from './route-match.ts'
import type { RouteTerms } from './route-terms.ts'

/** What routes have from their virtual host and its configuration. */
export interface RouteSurroundings {
  readonly terms: RouteTerms
  readonly requestEdits: readonly HeaderEdit[]
  readonly responseEdits: readonly HeaderEdit[]
  /** Their edits are applied before the route's. */
  readonly editsFirst: boolean
  readonly filters: PerFilterConfig
  readonly retry: RetryPolicy | null
  readonly countsAttempts: boolean
  /** Of a direct response. */
  readonly maxBodyBytes: number
}

/** null with a fault: it matches nothing or does nothing. */
export function routeOf(route: Route, around: RouteSurroundings, findings: Findings): RouteNoun | null {
  if (route.match === null) {
    findings.fault('it has no `match`')
    return null
  }
  const origin = originOf(route.metadata)
  const match = routeMatchOf(route.match, findings.at('match'))
  const config = overriding(around.filters, route.typed_per_filter_config)
  const action = actionOf(route, match, config, around, origin, findings)
  if (action === null) return null
  const request = headerEditsOf(route.request_headers_to_add, route.request_headers_to_remove, 'request_headers', findings)
  const response = headerEditsOf(route.response_headers_to_add, route.response_headers_to_remove, 'response_headers', findings)
  return {
    name: route.name,
    origin,
    match,
    action,
    requestEdits: joined(request, around.requestEdits, around.editsFirst),
    responseEdits: joined(response, around.responseEdits, around.editsFirst),
  }
}

function joined(own: readonly HeaderEdit[], around: readonly HeaderEdit[], aroundFirst: boolean): readonly HeaderEdit[] {
  return aroundFirst ? followedBy(around, own) : followedBy(own, around)
}

function actionOf(
  route: Route,
  match: RouteMatch,
  config: PerFilterConfig,
  around: RouteSurroundings,
  origin: Origin,
  findings: Findings,
): RouteAction | null {
  if (route.route !== null) return forwardActionOf(route.route, match, config, around, origin, findings.at('route'))
  const { fault, cors } = routeFiltersOf(config, findings)
  if (fault !== null || cors !== null) findings.note('faults and CORS have no effect where nothing is forwarded')
  if (route.redirect !== null) return redirectOf(route.redirect, findings.at('redirect'))
  if (route.direct_response !== null)
    return directResponseOf(route.direct_response, around.maxBodyBytes, findings.at('direct_response'))
  findings.fault('it has no action that is understood')
  return null
}
