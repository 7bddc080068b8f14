// VirtualHost of envoy.config.route.v3 to the noun of the same name.
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { Route, VirtualHost as VirtualHostNoun } from '../../state/route.ts'
import type { VirtualHost } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { followedBy, headerEditsOf } from './header-edits.ts'
import { overriding } from './per-filter-config.ts'
import { type RouteSurroundings, routeOf } from './route.ts'

/** `around` is what the route configuration says of all virtual hosts. */
export function virtualHostOf(host: VirtualHost, around: RouteSurroundings, findings: Findings): VirtualHostNoun {
  if (host.domains.length === 0) findings.fault('it has no domains')
  const request = headerEditsOf(host.request_headers_to_add, host.request_headers_to_remove, 'request_headers', findings)
  const response = headerEditsOf(host.response_headers_to_add, host.response_headers_to_remove, 'response_headers', findings)
  const { editsFirst } = around
  const inHost: RouteSurroundings = {
    ...around,
    requestEdits: editsFirst ? followedBy(around.requestEdits, request) : followedBy(request, around.requestEdits),
    responseEdits: editsFirst ? followedBy(around.responseEdits, response) : followedBy(response, around.responseEdits),
    filters: overriding(around.filters, host.typed_per_filter_config),
    retry: host.retry_policy,
  }
  const routes = host.routes.flatMap((r, i) => routeOf(r, inHost, findings.at('routes', i)) ?? [])
  // Routes are what istiod says the objects of; those of a virtual host are mostly of one.
  const origin = routes.find((r) => r.origin !== BUILT_IN)?.origin ?? BUILT_IN
  return {
    name: host.name,
    domains: host.domains.map((d) => d.toLowerCase()),
    routes: host.require_tls === 'NONE' ? routes : [toHttps(origin), ...routes],
    origin,
  }
}

/** Before all routes: whoever has not come by https, to a proxy in front that is believed either, is sent there (require_tls). */
function toHttps(origin: Origin): Route {
  const notHttps = {
    name: 'x-forwarded-proto',
    field: 'require_tls',
    match: { kind: 'exact', value: 'https', ignoreCase: true },
    invert: true,
    missingIsEmpty: true,
  } as const
  const action = {
    kind: 'redirect',
    code: 301,
    scheme: 'https',
    authority: '',
    port: 0,
    portFromListener: false,
    path: '',
    prefixRewrite: null,
    stripQuery: false,
  } as const
  return {
    name: '',
    origin,
    match: { path: null, headers: [notHttps], query: [], metadata: [] },
    action,
    requestEdits: [],
    responseEdits: [],
  }
}
