// `/stats`: the metrics as lines `name{labels}: value`, for people and grep.
import { compileRegex } from '../base/regex.ts'

export interface StatsQuery {
  /** Leave out what is 0. */
  readonly usedOnly: boolean
  /** RE2, found anywhere in name and labels; empty: all. */
  readonly filter: string
}

/** @returns null when the filter is no regular expression */
export function statsText(metrics: string, query: StatsQuery): string | null {
  const compiled = query.filter === '' ? null : compileRegex(query.filter)
  if (compiled?.ok === false) return null
  let text = ''
  for (const line of metrics.split('\n')) {
    const space = line.lastIndexOf(' ')
    if (space < 0 || line.startsWith('#')) continue
    const name = line.slice(0, space)
    const value = line.slice(space + 1)
    if (query.usedOnly && value === '0') continue
    if (compiled === null || compiled.regex.found(name)) text += `${name}: ${value}\n`
  }
  return text
}
