// Durations, percentages, regular expressions, header names and header values as Istio's validator takes them.
import { parseDuration } from '../../base/duration.ts'
import { compileRegex, MAX_REGEX_LENGTH } from '../../base/regex.ts'
import { checkTemplate } from '../../route/header-template.ts'
import type { Path, Report } from '../finding.ts'
import type { StringMatchSpec } from '../schema/string-match.ts'

/** A nanosecond: what the floating point of a duration may be off by. */
const EXACT_MS = 1e-6

/** At least `least` milliseconds (0 or 1) and whole ones. */
export function checkDuration(value: string | undefined, path: Path, report: Report, least = 1): void {
  if (value === undefined) return
  const ms = parseDuration(value)
  if (ms === null) return
  if (ms < least) {
    const off = least === 1 && ms === 0 ? '; leave the field out instead' : ''
    report(path, `expected a duration of at least ${least === 1 ? '1ms' : '0s'}, found ${value}${off}`)
  } else if (Math.abs(ms - Math.round(ms)) > EXACT_MS) report(path, `only whole milliseconds are supported, found ${value}`)
}

/** Istio's Percent: 0, or from 0.0001 to 100. */
export function checkPercent(value: number | undefined, path: Path, report: Report): void {
  if (value === undefined || value === 0) return
  if (!(value >= 0.0001 && value <= 100)) report(path, `expected a percentage of 0, or from 0.0001 to 100, found ${value}`)
}

export function checkRange(value: number | undefined, from: number, to: number, path: Path, report: Report): void {
  if (value !== undefined && (value < from || value > to)) report(path, `expected a number from ${from} to ${to}, found ${value}`)
}

export function checkNotNegative(value: number | undefined, path: Path, report: Report): void {
  if (value !== undefined && value < 0) report(path, `expected 0 or more, found ${value}`)
}

export function checkRegex(source: string, path: Path, report: Report): void {
  if (source.length > MAX_REGEX_LENGTH) {
    report(path, `the regular expression has ${source.length} characters; at most ${MAX_REGEX_LENGTH} are allowed`)
    return
  }
  const compiled = compileRegex(source)
  if (!compiled.ok) report(path, regexMessage(source, compiled.message))
}

function regexMessage(source: string, message: string): string {
  if (source === '*')
    return '`*` is no regular expression; to ask only that it is there write `{}` as the match, for any text write ".*"'
  if (/\(\?<?[=!]/.test(source))
    return `not an RE2 expression (${message}); RE2 has no look-around, use a second condition or withoutHeaders`
  return `not an RE2 expression: ${message}`
}

/** One of exact, prefix and regex at most. `emptyPrefix`: an empty prefix is allowed (only for uri). */
export function checkStringMatch(match: StringMatchSpec | undefined, path: Path, emptyPrefix: boolean, report: Report): void {
  if (match === undefined) return
  const set = (['exact', 'prefix', 'regex'] as const).filter((kind) => match[kind] !== undefined)
  if (set.length > 1)
    report([...path, set[1]!], `only one of exact, prefix and regex can be set, found ${set.join(' and ')}`, true)
  if (match.prefix === '' && !emptyPrefix)
    report([...path, 'prefix'], 'the prefix is empty; to ask only for presence write `{}` as the match')
  if (match.regex !== undefined) checkRegex(match.regex, [...path, 'regex'], report)
}

/** RFC 9110 §5.1; a pseudo-header may stand in a match. */
const HEADER_NAME = /^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

export function headerNameProblem(name: string): string | null {
  if (name === '') return 'a header name is empty'
  if (!HEADER_NAME.test(name)) return `\`${name}\` is no header name: letters, digits and !#$%&'*+-.^_\`|~ are allowed`
  return null
}

export function isAuthority(name: string): boolean {
  const lower = name.toLowerCase()
  return lower === 'host' || lower === ':authority'
}

/** A template with `%COMMAND%` operators. */
export function checkHeaderValue(value: string, path: Path, report: Report): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\u0000\r\n]/.test(value)) report(path, 'a header value cannot hold a line break or a NUL')
  const problem = checkTemplate(value)
  if (problem !== null) report(path, problem)
}
