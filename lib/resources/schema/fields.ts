// The building blocks of the schemas: what a field may hold, and the sentence for when it holds something else. The messages
// of the schema library are replaced throughout, because "Expected Object but received Object" helps nobody.
import * as v from 'valibot'
import { parseDuration } from '../../base/duration.ts'
import { didYouMean } from '../../base/nearest.ts'

type Entries = v.ObjectEntries

/** An object in which a field that is not listed is an error, with the nearest known name. */
export function strict<E extends Entries>(entries: E) {
  // Without a prototype, so that `constructor` is as unknown as any other misspelling.
  const known = Object.assign(Object.create(null), entries) as E
  const names = Object.keys(entries)
  return v.strictObject(known, (issue) => objectMessage(issue, names))
}

/** An object of which only the listed fields are read; others pass. For what Kubernetes writes and this proxy does not read. */
export function open<E extends Entries>(entries: E) {
  return v.looseObject(entries, (issue) => objectMessage(issue, Object.keys(entries)))
}

export const text = v.string((issue) => textMessage(issue.input))
export const flag = v.boolean((issue) => flagMessage(issue.input))
/** int32 and uint32 alike: the sign is judged by the validator, which knows what the number is for. */
export const whole = v.pipe(
  v.number((issue) => wholeMessage(issue.input)),
  v.safeInteger((issue) => wholeMessage(issue.input)),
)
export const real = v.number((issue) => `expected a number, found ${found(issue.input)}${unquote(issue.input)}`)
/** Text such as `250ms`; `durationMs` turns it into milliseconds. */
export const duration = v.pipe(
  v.string((issue) => durationMessage(issue.input)),
  v.check(
    (s) => parseDuration(s) !== null,
    (issue) => durationMessage(issue.input),
  ),
)
export const texts = list(text)
/** Label and header maps. */
export const textMap = mapOf(text)

export function list<S extends v.GenericSchema>(item: S) {
  return v.array(
    item,
    (issue) => `expected a list, found ${found(issue.input)}; write each item on a line of its own that begins with \`-\``,
  )
}

export function mapOf<S extends v.GenericSchema>(item: S) {
  return v.record(v.string(), item, (issue) => `expected a map of names to values, found ${found(issue.input)}`)
}

export function oneOf<const O extends readonly string[]>(options: O) {
  return v.picklist(options, (issue) => {
    const guess = typeof issue.input === 'string' ? didYouMean(issue.input, options) : ''
    return `expected one of ${options.join(', ')}, found ${found(issue.input)}${guess}`
  })
}

/** A field that may be missing. */
export function opt<S extends v.GenericSchema>(schema: S) {
  return v.optional(schema)
}

/** Taken as it is and not looked into: carried out by a later version, which will check it. */
export const anything = v.unknown()

/** Whole milliseconds of a text that the schema has found to be a duration. */
export function durationMs(value: string): number {
  return Math.round(parseDuration(value) ?? 0)
}

/** `the text "yes"`, `the number 80`, `a list`. */
export function found(input: unknown): string {
  if (input === undefined || input === null) return 'nothing'
  if (Array.isArray(input)) return 'a list'
  if (typeof input === 'object') return 'a map'
  if (typeof input === 'string') return `the text ${JSON.stringify(input.length > 60 ? `${input.slice(0, 57)}...` : input)}`
  if (typeof input === 'boolean') return `\`${input}\``
  return `the number ${String(input)}`
}

function objectMessage(
  issue: { input: unknown; expected: string | null; path?: readonly unknown[] | undefined },
  known: readonly string[],
): string {
  if (issue.path === undefined) return `expected a map with fields such as \`${known[0] ?? ''}\`, found ${found(issue.input)}`
  const key = String((issue.path.at(-1) as { key: unknown }).key)
  if (issue.expected !== 'never') return `the field \`${key}\` is required and missing`
  return `unknown field \`${key}\`${didYouMean(key, known) || `; known here: ${[...known].sort().join(', ')}`}`
}

function textMessage(input: unknown): string {
  if (typeof input === 'number' || typeof input === 'boolean')
    return `expected text, found ${found(input)}; put it in quotes: "${String(input)}"`
  return `expected text, found ${found(input)}`
}

/** YAML 1.1 took `yes` and `on` for booleans, YAML 1.2 does not, and half of the tools around Kubernetes still do. */
function flagMessage(input: unknown): string {
  if (typeof input === 'string') {
    if (/^(y|yes|on|true)$/i.test(input)) return `expected true or false, found ${found(input)}; write true`
    if (/^(n|no|off|false)$/i.test(input)) return `expected true or false, found ${found(input)}; write false`
  }
  return `expected true or false, found ${found(input)}`
}

function wholeMessage(input: unknown): string {
  return `expected a whole number, found ${found(input)}${unquote(input)}`
}

function unquote(input: unknown): string {
  return typeof input === 'string' && /^-?\d+(\.\d+)?$/.test(input) ? '; write it without quotes' : ''
}

function durationMessage(input: unknown): string {
  const guess = typeof input === 'number' ? `; did you mean ${input}s?` : ''
  return `expected a duration such as 5s, 250ms or 1m30s, found ${found(input)}${guess}`
}
