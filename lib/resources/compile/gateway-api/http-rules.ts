// Rules of HTTPRoutes and GRPCRoutes to rules of VirtualServices, each with one match, and the order in which they are asked.
import type { Path } from '../../finding.ts'
import type { ResourceObject } from '../../resource-object.ts'
import type {
  FilterSpec,
  GrpcConditionSpec,
  GrpcRouteRuleSpec,
  HeaderConditionSpec,
  HeaderFilterSpec,
  HttpConditionSpec,
  HttpRouteRuleSpec,
  RouteBackendSpec,
} from '../../schema/gateway-api-fields.ts'
import type { StringMatchSpec } from '../../schema/string-match.ts'
import type {
  HeaderOperationsSpec,
  HttpMatchSpec,
  HttpRouteDestinationSpec,
  HttpRouteSpec,
} from '../../schema/virtual-service.ts'
import type { World } from '../world.ts'
import { type BackendResolver, NOWHERE } from './backends.ts'
import { corsOf, redirectOf, rewriteOf } from './http-filters.ts'

export type HttpRouteObject = ResourceObject<'HTTPRoute'> | ResourceObject<'GRPCRoute'>

/** A rule with one match, and where its parts were written. */
export interface ConvertedRule {
  readonly route: HttpRouteObject
  readonly spec: HttpRouteSpec
  readonly rule: Path
  readonly match: Path
  /** Of each of the destinations, of `mirrors`. */
  readonly backends: readonly Path[]
  readonly mirrors: readonly Path[]
}

export interface RuleSurroundings {
  readonly world: World
  readonly backends: BackendResolver
  /** Of a route of the mesh whose parent names a port; 0: of any. */
  readonly port: number
  /** References to other namespaces need a ReferenceGrant. */
  readonly granted: boolean
}

/** In the order in which they were written. */
export function convertRules(route: HttpRouteObject, around: RuleSurroundings): ConvertedRule[] {
  // Without rules an HTTPRoute has one for every path, which leads nowhere: so an API server writes it.
  const rules: readonly (HttpRouteRuleSpec | GrpcRouteRuleSpec)[] = route.spec.rules ?? (route.kind === 'HTTPRoute' ? [{}] : [])
  return rules.flatMap((rule, i) => convertRule(route, rule, i, around))
}

function convertRule(
  route: HttpRouteObject,
  rule: HttpRouteRuleSpec | GrpcRouteRuleSpec,
  index: number,
  around: RuleSurroundings,
): ConvertedRule[] {
  const at: Path = ['rules', index]
  const action = actionOf(route, rule, at, around)
  const matches: readonly (HttpConditionSpec | GrpcConditionSpec)[] = (rule.matches?.length ?? 0) === 0 ? [{}] : rule.matches!
  const name = rule.name ?? `${route.namespace}.${route.name}.${index}`
  return matches.map((m, k): ConvertedRule => {
    const match = route.kind === 'GRPCRoute' ? grpcMatch(m as GrpcConditionSpec) : httpMatch(m as HttpConditionSpec)
    const onPort = around.port === 0 ? match : { ...match, port: around.port }
    const where = rule.matches?.[k] === undefined ? at : [...at, 'matches', k]
    return { route, rule: at, match: where, ...action, spec: { name, match: [onPort], ...action.spec } }
  })
}

type Action = Pick<ConvertedRule, 'backends' | 'mirrors'> & { readonly spec: HttpRouteSpec }

function actionOf(
  route: HttpRouteObject,
  rule: HttpRouteRuleSpec | GrpcRouteRuleSpec,
  at: Path,
  around: RuleSurroundings,
): Action {
  const spec: HttpRouteSpec = {}
  const mirrors: Path[] = []
  let refused = false
  for (const [i, filter] of (rule.filters ?? []).entries()) {
    const path = [...at, 'filters', i]
    if (filter.type === 'RequestMirror') addMirror(route, filter, path, around, spec, mirrors)
    else if (!addFilter(spec, filter)) {
      refused = true
      around.world.verdicts.partly(route, path, `a filter ${filter.type} is not carried out: requests for the rule get 500`)
    }
  }
  addTimes(spec, rule)
  if ('sessionPersistence' in rule && rule.sessionPersistence !== undefined)
    around.world.verdicts.partly(route, [...at, 'sessionPersistence'], 'sessions are not kept, as with Istio', true)
  if (spec.redirect !== undefined && !refused) return { spec, backends: [], mirrors }
  const backends: Path[] = []
  const destinations = refused ? [] : destinationsOf(route, rule.backendRefs ?? [], at, around, backends)
  if (destinations === null || destinations.length === 0) return { spec: answering500(), backends: [], mirrors: [] }
  return { spec: { ...spec, route: destinations }, backends, mirrors }
}

function answering500(): HttpRouteSpec {
  return { directResponse: { status: 500 } }
}

/** Without those that have no weight. null: one of them cannot be carried out. */
function destinationsOf(
  route: HttpRouteObject,
  refs: readonly RouteBackendSpec[],
  at: Path,
  { world, backends: resolver, granted }: RuleSurroundings,
  places: Path[],
): HttpRouteDestinationSpec[] | null {
  const destinations: HttpRouteDestinationSpec[] = []
  for (const [i, ref] of refs.entries()) {
    const path = [...at, 'backendRefs', i]
    const weight = ref.weight ?? 1
    const destination = resolver.resolve(route, path, ref, granted)
    const edits: HttpRouteSpec = {}
    for (const [k, filter] of (ref.filters ?? []).entries()) {
      if (filter.type.endsWith('HeaderModifier')) addFilter(edits, filter)
      else {
        const where = [...path, 'filters', k]
        world.verdicts.partly(route, where, `a backend has header filters only: requests for the rule get 500`)
        return null
      }
    }
    if (weight === 0) continue
    places.push(path)
    destinations.push({ destination, weight, ...(edits.headers === undefined ? {} : { headers: edits.headers }) })
  }
  return destinations
}

function addMirror(
  route: HttpRouteObject,
  { requestMirror }: FilterSpec,
  path: Path,
  { backends, granted }: RuleSurroundings,
  spec: HttpRouteSpec,
  places: Path[],
): void {
  if (requestMirror === undefined) return
  const { backendRef, percent, fraction } = requestMirror
  const destination = backends.resolve(
    route,
    [...path, 'requestMirror', 'backendRef'],
    backendRef,
    granted,
    'nothing is mirrored there',
  )
  if (destination === NOWHERE) return
  const value = fraction === undefined ? (percent ?? 100) : (fraction.numerator * 100) / (fraction.denominator ?? 100)
  spec.mirrors = [...(spec.mirrors ?? []), { destination, percentage: { value } }]
  places.push([...path, 'requestMirror', 'backendRef'])
}

/** False: it cannot be carried out. */
function addFilter(spec: HttpRouteSpec, filter: FilterSpec): boolean {
  switch (filter.type) {
    case 'RequestHeaderModifier':
      spec.headers = { ...spec.headers, request: operations(filter.requestHeaderModifier) }
      return true
    case 'ResponseHeaderModifier':
      spec.headers = { ...spec.headers, response: operations(filter.responseHeaderModifier) }
      return true
    case 'RequestRedirect':
      spec.redirect = redirectOf(filter.requestRedirect ?? {})
      return true
    case 'URLRewrite':
      spec.rewrite = rewriteOf(filter.urlRewrite ?? {})
      return true
    case 'CORS':
      spec.corsPolicy = corsOf(filter.cors ?? {})
      return true
    default:
      return false
  }
}

/** Of a name that is there twice the first counts. */
function operations({ set = [], add = [], remove }: HeaderFilterSpec = {}): HeaderOperationsSpec {
  const map = (list: readonly { readonly name: string; readonly value: string }[]) => {
    const values = new Map<string, [string, string]>()
    for (const { name, value } of list) if (!values.has(name.toLowerCase())) values.set(name.toLowerCase(), [name, value])
    return Object.fromEntries(values.values())
  }
  return { set: map(set), add: map(add), ...(remove === undefined ? {} : { remove }) }
}

/** Without `retry` the time of an attempt is that of the request; what is 0 has no end (istiod). */
function addTimes(spec: HttpRouteSpec, rule: HttpRouteRuleSpec | GrpcRouteRuleSpec): void {
  const { timeouts, retry } = rule as HttpRouteRuleSpec
  if (timeouts?.request !== undefined) spec.timeout = timeouts.request
  const attempt = timeouts?.backendRequest
  if (retry === undefined) {
    if (attempt !== undefined) spec.timeout = attempt
    return
  }
  spec.retries = {
    attempts: retry.attempts ?? 2,
    retryOn: [
      'connect-failure',
      'refused-stream',
      'unavailable',
      'cancelled',
      'retriable-status-codes',
      ...(retry.codes ?? []),
    ].join(),
    ...(retry.backoff === undefined ? {} : { backoff: retry.backoff }),
    ...(attempt === undefined ? {} : { perTryTimeout: attempt }),
  }
}

function httpMatch({ path, headers, queryParams, method }: HttpConditionSpec): HttpMatchSpec {
  return {
    uri: uriOf(path?.type ?? 'PathPrefix', path?.value ?? '/'),
    ...(headers === undefined ? {} : { headers: conditions(headers, true) }),
    ...(queryParams === undefined ? {} : { queryParams: conditions(queryParams, false) }),
    ...(method === undefined ? {} : { method: { exact: method } }),
  }
}

function uriOf(type: string, value: string): StringMatchSpec {
  if (type === 'Exact') return { exact: value }
  if (type === 'RegularExpression') return { regex: value }
  // A slash at its end says nothing.
  return { prefix: value.length > 1 && value.endsWith('/') ? value.slice(0, -1) : value }
}

/** A service and a method are a path, a service alone a prefix of it, a method alone a pattern (istiod). */
function grpcMatch({ method, headers }: GrpcConditionSpec): HttpMatchSpec {
  const { type = 'Exact', service = '', method: name = '' } = method ?? {}
  const rest = headers === undefined ? {} : { headers: conditions(headers, true) }
  if (service === '' && name === '') return { uri: { prefix: '/' }, ...rest }
  if (type === 'RegularExpression') {
    const uri = { regex: `/${service === '' ? '[^/]+' : service}/${name === '' ? '[^/]+' : name}` }
    return { uri, ...rest }
  }
  if (service !== '' && name !== '') return { uri: { exact: `/${service}/${name}` }, ...rest }
  return { uri: service === '' ? { regex: `/[^/]+/${name}` } : { prefix: `/${service}` }, ...rest }
}

/** Of a name that is asked for twice the first counts. */
function conditions(list: readonly HeaderConditionSpec[], folded: boolean): Record<string, StringMatchSpec> {
  const found = new Map<string, [string, StringMatchSpec]>()
  for (const { type, name, value } of list) {
    const key = folded ? name.toLowerCase() : name
    if (!found.has(key)) found.set(key, [name, type === 'RegularExpression' ? { regex: value } : { exact: value }])
  }
  return Object.fromEntries(found.values())
}

/**
 * The order of routes for one host: exact paths, then prefixes, then patterns, longer ones first; then those that ask for a method, for more headers,
 * for more parameters. Of equals who comes first stays first: `rules` are of the oldest route first.
 */
export function byPrecedence(rules: readonly ConvertedRule[]): ConvertedRule[] {
  return rules.toSorted((a, b) => {
    const [x, y] = [a.spec.match![0]!, b.spec.match![0]!]
    return (
      rank(y) - rank(x) ||
      pathLength(y) - pathLength(x) ||
      Number(y.method !== undefined) - Number(x.method !== undefined) ||
      Object.keys(y.headers ?? {}).length - Object.keys(x.headers ?? {}).length ||
      Object.keys(y.queryParams ?? {}).length - Object.keys(x.queryParams ?? {}).length
    )
  })
}

function rank({ uri }: HttpMatchSpec): number {
  return uri?.exact !== undefined ? 3 : uri?.prefix !== undefined ? 2 : 1
}

function pathLength({ uri }: HttpMatchSpec): number {
  return (uri?.exact ?? uri?.prefix ?? uri?.regex ?? '').length
}
