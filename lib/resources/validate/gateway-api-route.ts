// Routes of the Gateway API: what the schemas and CEL rules of its custom resource definitions refuse.
import type { Path, Report } from '../finding.ts'
import { durationMs } from '../schema/fields.ts'
import type {
  ConnectionRuleSpec,
  GrpcRouteSpec,
  HeaderConditionSpec,
  HttpConditionSpec,
  HttpRouteObjectSpec,
  HttpRouteRuleSpec,
  ParentRefSpec,
  TcpRouteSpec,
  TlsRouteSpec,
  WeightedBackendSpec,
} from '../schema/gateway-api-fields.ts'
import { checkFilters } from './gateway-api-filters.ts'
import { checkPort, hostProblem, isAddress } from './names.ts'
import { checkRegex, headerNameProblem } from './values.ts'

/** The definitions allow 16, which nothing here depends on. */
const MAX_RULES = 128
const MAX_MATCHES = 64
const MAX_MATCHES_OF_ROUTE = 128
const MAX_BACKENDS = 16
const MAX_WEIGHT = 1_000_000

export function validateHttpRoute(spec: HttpRouteObjectSpec, report: Report): void {
  checkAttachment(spec.parentRefs, spec.hostnames, report)
  const rules = spec.rules ?? []
  checkRules(rules, report)
  for (const [i, rule] of rules.entries()) {
    const at = ['rules', i]
    for (const [k, match] of (rule.matches ?? []).entries()) checkHttpMatch(match, [...at, 'matches', k], report)
    checkFilters(rule, at, report)
    checkTimes(rule, at, report)
  }
}

export function validateGrpcRoute(spec: GrpcRouteSpec, report: Report): void {
  checkAttachment(spec.parentRefs, spec.hostnames, report)
  const rules = spec.rules ?? []
  checkRules(rules, report)
  for (const [i, rule] of rules.entries()) {
    const at = ['rules', i]
    for (const [k, { method, headers }] of (rule.matches ?? []).entries()) {
      const here = [...at, 'matches', k]
      if (method !== undefined) checkGrpcMethod(method, [...here, 'method'], report)
      checkConditions(headers, [...here, 'headers'], report)
    }
    for (const [k, { type }] of (rule.filters ?? []).entries())
      if (type === 'RequestRedirect' || type === 'URLRewrite' || type === 'CORS' || type === 'ExternalAuth')
        report([...at, 'filters', k, 'type'], `a GRPCRoute has no filter ${type}`)
    const { filters, backendRefs } = rule
    checkFilters({ filters, backendRefs }, at, report)
  }
}

export function validateTlsRoute(spec: TlsRouteSpec, report: Report): void {
  checkAttachment(spec.parentRefs, spec.hostnames, report)
  checkConnectionRules(spec.rules ?? [], report)
}

export function validateTcpRoute(spec: TcpRouteSpec, report: Report): void {
  checkAttachment(spec.parentRefs, undefined, report)
  checkConnectionRules(spec.rules ?? [], report)
}

/** null when fine. Of a route or a listener: lower case, a wildcard as the whole first label, and no address. */
export function routeHostProblem(host: string): string | null {
  if (isAddress(host)) return `expected a host name, found the address \`${host}\``
  if (host !== host.toLowerCase()) return `host names are in lower case here, found \`${host}\``
  if (host.startsWith('*') && !host.startsWith('*.'))
    return `\`${host}\` is no host name: a wildcard is a whole label, as in \`*.example.com\``
  return hostProblem(host, true)
}

function checkAttachment(
  parents: readonly ParentRefSpec[] | undefined,
  hostnames: readonly string[] | undefined,
  report: Report,
) {
  const seen = new Set<string>()
  for (const [i, parent] of (parents ?? []).entries()) {
    const at = ['parentRefs', i]
    if (parent.name === '') report([...at, 'name'], 'the name is empty')
    if (parent.port !== undefined) checkPort(parent.port, [...at, 'port'], report)
    const { group = '', kind = 'Gateway', namespace = '', name, sectionName = '', port = 0 } = parent
    const key = JSON.stringify([group, kind, namespace, name, sectionName, port])
    if (seen.has(key)) report(at, `the parent ${kind} \`${name}\` is named twice; sectionName or port have to tell the two apart`)
    seen.add(key)
  }
  for (const [i, host] of (hostnames ?? []).entries()) {
    const problem = routeHostProblem(host)
    if (problem !== null) report(['hostnames', i], problem)
  }
}

interface AnyRule {
  readonly name?: string | undefined
  readonly matches?: readonly unknown[] | undefined
  readonly backendRefs?: readonly WeightedBackendSpec[] | undefined
}

function checkRules(rules: readonly AnyRule[], report: Report): void {
  if (rules.length > MAX_RULES) report(['rules'], `at most ${MAX_RULES} rules can be given, found ${rules.length}`)
  const names = new Set<string>()
  let matches = 0
  for (const [i, rule] of rules.entries()) {
    const { name = '', backendRefs = [] } = rule
    if (name !== '' && names.has(name)) report(['rules', i, 'name'], `the name \`${name}\` is used twice`)
    names.add(name)
    const own = rule.matches?.length ?? 0
    matches += Math.max(1, own)
    if (own > MAX_MATCHES) report(['rules', i, 'matches'], `at most ${MAX_MATCHES} matches can be given, found ${own}`)
    checkBackends(backendRefs, ['rules', i, 'backendRefs'], report)
  }
  if (matches > MAX_MATCHES_OF_ROUTE)
    report(['rules'], `at most ${MAX_MATCHES_OF_ROUTE} matches can be given in one route, found ${matches}`)
}

function checkConnectionRules(rules: readonly ConnectionRuleSpec[], report: Report): void {
  if (rules.length !== 1) report(['rules'], `expected exactly one rule, found ${rules.length}`)
  for (const [i, { backendRefs = [] }] of rules.entries()) {
    if (backendRefs.length === 0) report(['rules', i], 'the rule needs at least one of `backendRefs`')
    checkBackends(backendRefs, ['rules', i, 'backendRefs'], report)
  }
}

function checkBackends(backends: readonly WeightedBackendSpec[], path: Path, report: Report): void {
  if (backends.length > MAX_BACKENDS) report(path, `at most ${MAX_BACKENDS} backends can be given, found ${backends.length}`)
  for (const [i, { group = '', kind = 'Service', port, weight = 1 }] of backends.entries()) {
    if (weight < 0 || weight > MAX_WEIGHT) report([...path, i, 'weight'], `expected 0 to ${MAX_WEIGHT}, found ${weight}`)
    if (port !== undefined) checkPort(port, [...path, i, 'port'], report)
    else if (group === '' && kind === 'Service') report([...path, i], 'a reference to a Service needs a `port`')
  }
}

function checkHttpMatch(match: HttpConditionSpec, at: Path, report: Report): void {
  const { path, headers, queryParams } = match
  if (path !== undefined) checkPath(path.type ?? 'PathPrefix', path.value ?? '/', [...at, 'path', 'value'], report)
  checkConditions(headers, [...at, 'headers'], report)
  checkConditions(queryParams, [...at, 'queryParams'], report)
}

function checkPath(type: string, value: string, at: Path, report: Report): void {
  if (type === 'RegularExpression') checkRegex(value, at, report)
  else {
    const problem = pathProblem(value)
    if (problem !== null) report(at, problem)
  }
}

/** Of an exact path or a prefix. */
function pathProblem(value: string): string | null {
  if (!value.startsWith('/')) return `a path begins with \`/\`, found \`${value}\``
  for (const part of ['//', '/./', '/../', '%2f', '%2F', '#']) if (value.includes(part)) return `a path cannot hold \`${part}\``
  if (value.endsWith('/..') || value.endsWith('/.')) return 'a path cannot end in `/.` or `/..`'
  return value.length > 1024 ? `a path has at most 1024 characters, found ${value.length}` : null
}

function checkConditions(conditions: readonly HeaderConditionSpec[] | undefined, path: Path, report: Report): void {
  const names = new Set<string>()
  for (const [i, { type = 'Exact', name, value }] of (conditions ?? []).entries()) {
    const problem = headerNameProblem(name)
    if (problem !== null) report([...path, i, 'name'], problem)
    if (names.has(name)) report([...path, i, 'name'], `\`${name}\` is asked for twice`)
    names.add(name)
    if (value === '') report([...path, i, 'value'], 'the value is empty')
    if (type === 'RegularExpression') checkRegex(value, [...path, i, 'value'], report)
  }
}

interface GrpcMethod {
  readonly type?: string | undefined
  readonly service?: string | undefined
  readonly method?: string | undefined
}

function checkGrpcMethod({ type = 'Exact', service = '', method = '' }: GrpcMethod, at: Path, report: Report): void {
  if (service === '' && method === '') report(at, 'one of `service` and `method` is needed')
  if (type === 'RegularExpression') {
    if (service !== '') checkRegex(service, [...at, 'service'], report)
    if (method !== '') checkRegex(method, [...at, 'method'], report)
    return
  }
  if (service !== '' && !/^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*$/.test(service))
    report([...at, 'service'], `\`${service}\` is no name of a gRPC service`)
  if (method !== '' && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(method))
    report([...at, 'method'], `\`${method}\` is no name of a gRPC method`)
}

function checkTimes({ timeouts, retry }: HttpRouteRuleSpec, at: Path, report: Report): void {
  const request = timeouts?.request === undefined ? 0 : durationMs(timeouts.request)
  const backend = timeouts?.backendRequest === undefined ? 0 : durationMs(timeouts.backendRequest)
  if (request > 0 && backend > request)
    report(
      [...at, 'timeouts', 'backendRequest'],
      `expected at most the request's ${timeouts?.request}, found ${timeouts?.backendRequest}`,
    )
  for (const [i, code] of (retry?.codes ?? []).entries())
    if (code < 400 || code > 599) report([...at, 'retry', 'codes', i], `expected a status from 400 to 599, found ${code}`)
  if (retry?.attempts !== undefined && retry.attempts < 1)
    report([...at, 'retry', 'attempts'], `expected 1 or more, found ${retry.attempts}`)
}
