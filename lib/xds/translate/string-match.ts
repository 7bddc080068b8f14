// Matchers of texts (envoy.type.matcher.v3) to StringMatch.
import { compileRegex } from '../../base/regex.ts'
import type { StringMatch } from '../../state/route.ts'
import type { StringMatcher } from '../proto/core.ts'
import type { Findings } from './findings.ts'

export const PRESENT: StringMatch = { kind: 'present', value: '', ignoreCase: false }

/** Of HeaderMatcher's own `exact_match`: the empty one fits every value (Envoy), unlike that of a `string_match`. */
export function exactHeaderMatch(value: string): StringMatch {
  return { kind: value === '' ? 'prefix' : 'exact', value, ignoreCase: false }
}

/** null with a fault, when it has no pattern, one that is no RE2, or an extension for one. */
export function stringMatchOf(matcher: StringMatcher | null, findings: Findings): StringMatch | null {
  if (matcher === null) {
    findings.fault('a matcher is missing')
    return null
  }
  const { ignore_case: ignoreCase } = matcher
  if (matcher.exact !== null) return { kind: 'exact', value: matcher.exact, ignoreCase }
  if (matcher.prefix !== null) return { kind: 'prefix', value: matcher.prefix, ignoreCase }
  if (matcher.suffix !== null) return { kind: 'suffix', value: matcher.suffix, ignoreCase }
  if (matcher.contains !== null) return { kind: 'contains', value: matcher.contains, ignoreCase }
  if (matcher.safe_regex !== null) return regexMatchOf(matcher.safe_regex.regex, findings)
  findings.fault(matcher.custom === null ? 'a matcher says nothing' : `the matcher ${matcher.custom.name} is not understood`)
  return null
}

/** Case is not ignored in patterns, whatever is said beside them. */
export function regexMatchOf(regex: string, findings: Findings): StringMatch | null {
  return isRegex(regex, findings) ? { kind: 'regex', value: regex, ignoreCase: false } : null
}

export function isRegex(regex: string, findings: Findings): boolean {
  const compiled = compileRegex(regex)
  if (!compiled.ok) findings.fault(`the pattern \`${regex}\` is not understood: ${compiled.message}`)
  return compiled.ok
}
