// CorsPolicy. Istio CorsPolicy.
import { parseDuration } from '../../base/duration.ts'
import { didYouMean } from '../../base/nearest.ts'
import type { Path, Report } from '../finding.ts'
import type { CorsSpec } from '../schema/virtual-service.ts'
import { checkDuration, checkStringMatch, headerNameProblem } from './values.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE']

export function checkCors(cors: CorsSpec | undefined, path: Path, report: Report): void {
  if (cors === undefined) return
  for (const [i, origin] of (cors.allowOrigins ?? []).entries()) {
    const at = [...path, 'allowOrigins', i]
    if (origin.exact === undefined && origin.prefix === undefined && origin.regex === undefined)
      report(at, 'the origin needs `exact`, `prefix` or `regex`')
    checkStringMatch(origin, at, false, report)
  }
  for (const [i, method] of (cors.allowMethods ?? []).entries()) {
    if (method !== '*' && !METHODS.includes(method)) {
      report([...path, 'allowMethods', i], `expected an HTTP method or \`*\`, found "${method}"${didYouMean(method, METHODS)}`)
    }
  }
  for (const field of ['allowHeaders', 'exposeHeaders'] as const) {
    for (const [i, name] of (cors[field] ?? []).entries()) {
      const problem = name === '*' ? null : headerNameProblem(name)
      if (problem !== null) report([...path, field, i], problem)
    }
  }
  const maxAge = cors.maxAge
  if (maxAge === undefined) return
  const ms = parseDuration(maxAge) ?? 0
  if (ms >= 1 && ms % 1000 !== 0) report([...path, 'maxAge'], `only whole seconds are supported, found ${maxAge}`)
  else checkDuration(maxAge, [...path, 'maxAge'], report)
}
