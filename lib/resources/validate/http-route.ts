// The rules for one HTTPRoute of a VirtualService. Istio HTTPRoute.
import { checkRegexRewrite } from '../../base/regex.ts'
import type { Path, Report } from '../finding.ts'
import type { HttpRouteSpec, RetriesSpec, RewriteSpec } from '../schema/virtual-service.ts'
import { checkCors } from './cors.ts'
import { checkFault } from './fault.ts'
import { checkAuthorityOnce, checkHeaders } from './header-operations.ts'
import { checkDirectResponse, checkRedirect } from './http-answer.ts'
import { checkHttpMatch } from './http-match.ts'
import { retryOnProblem } from './retry-on.ts'
import { checkDestination, checkDestinations } from './route-destination.ts'
import { checkDuration, checkNotNegative, checkPercent, checkRange, checkRegex } from './values.ts'

/** `inDelegate`: the rule belongs to a VirtualService without hosts. */
export function validateHttpRoute(route: HttpRouteSpec, path: Path, inDelegate: boolean, report: Report): void {
  if (route.delegate !== undefined) checkRootRoute(route, path, inDelegate, report)
  else checkOneAction(route, path, report)
  for (const [i, match] of (route.match ?? []).entries()) checkHttpMatch(match, [...path, 'match', i], report)
  checkDestinations(route.route ?? [], [...path, 'route'], report)
  for (const [i, target] of (route.route ?? []).entries()) {
    checkHeaders(target.headers, [...path, 'route', i, 'headers'], report)
    checkAuthorityOnce(undefined, target.headers, [...path, 'route', i], report)
  }
  checkHeaders(route.headers, [...path, 'headers'], report)
  checkRewrite(route.rewrite, [...path, 'rewrite'], report)
  checkAuthorityOnce(route.rewrite, route.headers, path, report)
  checkRedirect(route.redirect, [...path, 'redirect'], report)
  checkDirectResponse(route.directResponse, [...path, 'directResponse'], report)
  checkDuration(route.timeout, [...path, 'timeout'], report)
  checkRetries(route.retries, [...path, 'retries'], report)
  checkFault(route.fault, [...path, 'fault'], report)
  checkCors(route.corsPolicy, [...path, 'corsPolicy'], report)
  checkMirrors(route, path, report)
}

/** Exactly one of route, redirect and directResponse; the latter two go with neither rewrite nor fault. */
function checkOneAction(route: HttpRouteSpec, path: Path, report: Report): void {
  const forwards = (route.route?.length ?? 0) > 0
  const answer = route.redirect !== undefined ? 'redirect' : route.directResponse !== undefined ? 'directResponse' : null
  if (answer === null) {
    if (!forwards) report(path, 'the rule does nothing: expected one of `route`, `redirect`, `directResponse` and `delegate`')
    return
  }
  const clash = (field: string): void =>
    report([...path, field], `\`${field}\` and \`${answer}\` cannot stand in one rule; remove one of the two`, true)
  if (forwards) clash('route')
  if (answer === 'redirect' && route.directResponse !== undefined) clash('directResponse')
  if (route.fault !== undefined) clash('fault')
  if (route.rewrite !== undefined) clash('rewrite')
}

function checkRootRoute(route: HttpRouteSpec, path: Path, inDelegate: boolean, report: Report): void {
  if (inDelegate)
    report([...path, 'delegate'], 'a delegate cannot delegate further (it has no hosts, so it is a delegate itself)', true)
  if ((route.delegate?.name ?? '') === '') report([...path, 'delegate'], 'the delegate needs a `name`')
  for (const field of ['route', 'redirect', 'directResponse'] as const) {
    if (route[field] !== undefined)
      report([...path, field], `\`${field}\` and \`delegate\` cannot stand in one rule; the delegate says what happens`, true)
  }
}

function checkRewrite(rewrite: RewriteSpec | undefined, path: Path, report: Report): void {
  if (rewrite === undefined) return
  const { uri, authority, uriRegexRewrite } = rewrite
  if ((uri ?? '') === '' && (authority ?? '') === '' && uriRegexRewrite === undefined) {
    report(path, 'the rewrite changes nothing: expected `uri`, `uriRegexRewrite` or `authority`')
  }
  if (uriRegexRewrite === undefined) return
  const at = [...path, 'uriRegexRewrite']
  if ((uri ?? '') !== '') report(at, '`uri` and `uriRegexRewrite` cannot both be set; remove one of the two', true)
  if ((uriRegexRewrite.match ?? '') === '' || (uriRegexRewrite.rewrite ?? '') === '')
    report(at, '`match` and `rewrite` are both required')
  else checkPattern(uriRegexRewrite.match!, uriRegexRewrite.rewrite!, at, report)
}

function checkPattern(pattern: string, replacement: string, path: Path, report: Report): void {
  let fine = true
  checkRegex(pattern, [...path, 'match'], (at, message) => {
    fine = false
    report(at, message)
  })
  const problem = fine ? checkRegexRewrite(pattern, replacement) : null
  if (problem !== null) report([...path, 'rewrite'], problem)
}

function checkRetries(retries: RetriesSpec | undefined, path: Path, report: Report): void {
  if (retries === undefined) return
  const attempts = retries.attempts ?? 0
  checkNotNegative(retries.attempts, [...path, 'attempts'], report)
  for (const field of ['perTryTimeout', 'retryOn', 'retryRemoteLocalities'] as const) {
    const set = retries[field] !== undefined && retries[field] !== ''
    if (attempts === 0 && set)
      report(
        [...path, field],
        `\`${field}\` has no effect with attempts 0, which switches retries off; set \`attempts\` or remove it`,
        true,
      )
  }
  checkDuration(retries.perTryTimeout, [...path, 'perTryTimeout'], report)
  checkDuration(retries.backoff, [...path, 'backoff'], report)
  const problem = retryOnProblem(retries.retryOn ?? '')
  if (problem !== null) report([...path, 'retryOn'], problem)
}

function checkMirrors(route: HttpRouteSpec, path: Path, report: Report): void {
  if (route.mirror !== undefined && (route.mirrors?.length ?? 0) > 0) {
    report([...path, 'mirrors'], '`mirror` and `mirrors` cannot both be set; move the one into the list', true)
  }
  if (route.mirror !== undefined) checkDestination(route.mirror, [...path, 'mirror'], report)
  for (const [i, mirror] of (route.mirrors ?? []).entries()) {
    const at = [...path, 'mirrors', i]
    if (mirror.destination === undefined) report(at, 'the mirror needs a `destination`')
    else checkDestination(mirror.destination, [...at, 'destination'], report)
    checkPercent(mirror.percentage?.value, [...at, 'percentage', 'value'], report)
  }
  checkRange(route.mirrorPercent, 0, 100, [...path, 'mirrorPercent'], report)
  checkRange(route.mirrorPercentage?.value, 0, 100, [...path, 'mirrorPercentage', 'value'], report)
}
