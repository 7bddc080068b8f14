// HTTPMatchRequest. Istio HTTPMatchRequest.
import type { Path, Report } from '../finding.ts'
import type { StringMatchSpec } from '../schema/string-match.ts'
import type { HttpMatchSpec } from '../schema/virtual-service.ts'
import { checkPort } from './names.ts'
import { routingClaim, routingClaimProblem } from './routing-claim.ts'
import { checkStringMatch, headerNameProblem } from './values.ts'

export function checkHttpMatch(match: HttpMatchSpec, path: Path, report: Report): void {
  checkStringMatch(match.uri, [...path, 'uri'], true, report)
  for (const field of ['scheme', 'method', 'authority'] as const) checkStringMatch(match[field], [...path, field], false, report)
  checkHeaderMatches(match.headers, [...path, 'headers'], report)
  checkHeaderMatches(match.withoutHeaders, [...path, 'withoutHeaders'], report)
  for (const [name, value] of Object.entries(match.queryParams ?? {}))
    checkStringMatch(value, [...path, 'queryParams', name], false, report)
  if (match.port !== undefined && match.port !== 0) checkPort(match.port, [...path, 'port'], report)
}

function checkHeaderMatches(headers: Readonly<Record<string, StringMatchSpec>> | undefined, path: Path, report: Report): void {
  for (const [name, value] of Object.entries(headers ?? {})) {
    const problem =
      routingClaim(name) === null ? (routingClaimProblem(name) ?? headerNameProblem(name)) : routingClaimProblem(name)
    if (problem !== null) report([...path, name], problem, true)
    checkStringMatch(value, [...path, name], false, report)
  }
}
