// Filters of HTTPRoute and GRPCRoute: what their custom resource definitions refuse.
import type { Path, Report } from '../finding.ts'
import type {
  FilterSpec,
  HeaderFilterSpec,
  HttpConditionSpec,
  PathModifierSpec,
  RouteBackendSpec,
} from '../schema/gateway-api-fields.ts'
import { checkPort, hostProblem } from './names.ts'
import { checkHeaderValue, headerNameProblem } from './values.ts'

/** Which field belongs to a type. */
const FIELDS = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestMirror: 'requestMirror',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  CORS: 'cors',
  ExternalAuth: 'externalAuth',
  ExtensionRef: 'extensionRef',
} as const satisfies Record<FilterSpec['type'], keyof FilterSpec>

const MAY_REPEAT = new Set(['RequestMirror', 'ExtensionRef'])
const REDIRECTS = [301, 302, 303, 307, 308]

interface FilteredRule {
  readonly filters?: readonly FilterSpec[] | undefined
  readonly backendRefs?: readonly RouteBackendSpec[] | undefined
  readonly matches?: readonly Pick<HttpConditionSpec, 'path'>[] | undefined
}

export function checkFilters(rule: FilteredRule, at: Path, report: Report): void {
  const filters = rule.filters ?? []
  checkList(filters, rule, [...at, 'filters'], report)
  const redirect = filters.findIndex((f) => f.type === 'RequestRedirect')
  if (redirect >= 0 && (rule.backendRefs?.length ?? 0) > 0)
    report([...at, 'backendRefs'], 'a rule that redirects has no backends', true)
  for (const [i, { filters: own = [] }] of (rule.backendRefs ?? []).entries())
    checkList(own, rule, [...at, 'backendRefs', i, 'filters'], report)
}

function checkList(filters: readonly FilterSpec[], rule: FilteredRule, path: Path, report: Report): void {
  const types = new Set<string>()
  for (const [i, filter] of filters.entries()) {
    const { type } = filter
    if (types.has(type) && !MAY_REPEAT.has(type)) report([...path, i], `${type} can be given once only`)
    types.add(type)
    checkFilter(filter, rule, [...path, i], report)
  }
  if (types.has('RequestRedirect') && types.has('URLRewrite'))
    report(path, 'RequestRedirect and URLRewrite cannot stand in one rule: what is redirected is not forwarded')
}

function checkFilter(filter: FilterSpec, rule: FilteredRule, at: Path, report: Report): void {
  for (const [type, field] of Object.entries(FIELDS)) {
    if (type === filter.type && filter[field] === undefined) report(at, `a filter ${type} needs \`${field}\``)
    else if (type !== filter.type && filter[field] !== undefined)
      report([...at, field], `\`${field}\` belongs to a filter of type ${type}, this one is ${filter.type}`, true)
  }
  const {
    requestHeaderModifier,
    responseHeaderModifier,
    requestMirror: mirror,
    requestRedirect: redirect,
    urlRewrite,
    cors,
  } = filter
  checkHeaders(requestHeaderModifier, [...at, 'requestHeaderModifier'], report)
  checkHeaders(responseHeaderModifier, [...at, 'responseHeaderModifier'], report)
  if (mirror !== undefined) checkMirror(mirror, [...at, 'requestMirror'], report)
  if (redirect !== undefined) {
    const here = [...at, 'requestRedirect']
    checkHost(redirect.hostname, [...here, 'hostname'], report)
    if (redirect.port !== undefined) checkPort(redirect.port, [...here, 'port'], report)
    if (redirect.statusCode !== undefined && !REDIRECTS.includes(redirect.statusCode))
      report([...here, 'statusCode'], `expected one of ${REDIRECTS.join(', ')}, found ${redirect.statusCode}`)
    checkModifier(redirect.path, rule, [...here, 'path'], report)
  }
  if (urlRewrite !== undefined) {
    checkHost(urlRewrite.hostname, [...at, 'urlRewrite', 'hostname'], report)
    checkModifier(urlRewrite.path, rule, [...at, 'urlRewrite', 'path'], report)
  }
  for (const field of ['allowOrigins', 'allowMethods', 'allowHeaders'] as const) {
    const list = cors?.[field] ?? []
    if (list.includes('*') && list.length > 1) report([...at, 'cors', field], '`*` must stand alone')
  }
}

function checkHost(host: string | undefined, path: Path, report: Report): void {
  const problem = host === undefined ? null : hostProblem(host, false)
  if (problem !== null) report(path, problem)
}

function checkHeaders(filter: HeaderFilterSpec | undefined, at: Path, report: Report): void {
  for (const op of ['set', 'add'] as const)
    for (const [i, { name, value }] of (filter?.[op] ?? []).entries()) {
      const problem = headerNameProblem(name)
      if (problem !== null) report([...at, op, i, 'name'], problem)
      checkHeaderValue(value, [...at, op, i, 'value'], report)
    }
  for (const [i, name] of (filter?.remove ?? []).entries()) {
    const problem = headerNameProblem(name)
    if (problem !== null) report([...at, 'remove', i], problem)
  }
}

function checkMirror(
  { backendRef, percent, fraction }: NonNullable<FilterSpec['requestMirror']>,
  at: Path,
  report: Report,
): void {
  if (percent !== undefined && fraction !== undefined)
    report([...at, 'fraction'], 'only one of percent and fraction can be set', true)
  if (percent !== undefined && (percent < 0 || percent > 100)) report([...at, 'percent'], `expected 0 to 100, found ${percent}`)
  const { numerator = 0, denominator = 100 } = fraction ?? {}
  if (denominator < 1) report([...at, 'fraction', 'denominator'], `expected 1 or more, found ${denominator}`)
  if (numerator < 0 || numerator > denominator)
    report([...at, 'fraction', 'numerator'], `expected 0 to the denominator ${denominator}, found ${numerator}`)
  const { group = '', kind = 'Service', port } = backendRef
  if (port !== undefined) checkPort(port, [...at, 'backendRef', 'port'], report)
  else if (group === '' && kind === 'Service') report([...at, 'backendRef'], 'a reference to a Service needs a `port`')
}

function checkModifier(modifier: PathModifierSpec | undefined, { matches = [] }: FilteredRule, at: Path, report: Report): void {
  if (modifier === undefined) return
  const [own, other] =
    modifier.type === 'ReplaceFullPath'
      ? (['replaceFullPath', 'replacePrefixMatch'] as const)
      : (['replacePrefixMatch', 'replaceFullPath'] as const)
  if (modifier[own] === undefined) report(at, `type ${modifier.type} needs \`${own}\``)
  if (modifier[other] !== undefined) report([...at, other], `\`${other}\` does not go with type ${modifier.type}`, true)
  const [only] = matches
  const byPrefix = matches.length === 1 && only !== undefined && (only.path?.type ?? 'PathPrefix') === 'PathPrefix'
  if (modifier.type === 'ReplacePrefixMatch' && !byPrefix && matches.length > 0)
    report([...at, 'type'], 'ReplacePrefixMatch needs exactly one match in its rule, of type PathPrefix')
}
