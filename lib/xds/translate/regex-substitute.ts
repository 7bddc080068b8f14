// RegexMatchAndSubstitute of envoy.type.matcher.v3: a pattern and what each match becomes.
import { checkRegexRewrite } from '../../base/regex.ts'
import type { RegexMatchAndSubstitute } from '../proto/core.ts'
import type { Findings } from './findings.ts'

/** A pattern that is none is a fault. */
export function regexOf(
  { pattern, substitution }: RegexMatchAndSubstitute,
  findings: Findings,
): { readonly pattern: string; readonly value: string } {
  const regex = pattern?.regex ?? ''
  const problem = checkRegexRewrite(regex, substitution)
  if (problem !== null) findings.fault(problem)
  return { pattern: regex, value: substitution }
}
