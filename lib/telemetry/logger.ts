// The operator's log: one line each on stderr. Made to be called from both lanes; on the hot lane ask `enabled` first, so that
// nothing is built for a line that nobody wants.
import { writeSync } from 'node:fs'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'

export type LogLevel = BootstrapConfig['logLevel']

export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warning', 'error']

/** An Error shows its stack. */
export type LogFields = Readonly<Record<string, unknown>>

export interface LoggerOptions {
  readonly level: LogLevel
  /** Takes a line with its newline; default: stderr, synchronously, so that the last words of a crash are not lost. */
  readonly write?: (line: string) => void
  /** Wall clock, ms. */
  readonly now?: () => number
  /** Stand in every line, such as `{ worker: 1 }`. */
  readonly fields?: LogFields
}

/** Keys of `every` that are remembered; the oldest goes first. */
const MAX_KEYS = 1000

export class Logger {
  #level: LogLevel
  #rank: number
  readonly #write: (line: string) => void
  readonly #now: () => number
  readonly #suffix: string
  readonly #lastMs: Map<string, number>

  constructor(options: LoggerOptions) {
    this.#level = options.level
    this.#rank = LOG_LEVELS.indexOf(options.level)
    this.#write = options.write ?? writeStderr
    this.#now = options.now ?? Date.now
    this.#suffix = options.fields === undefined ? '' : fieldsText(options.fields)
    this.#lastMs = new Map()
  }

  get level(): LogLevel {
    return this.#level
  }

  set level(level: LogLevel) {
    this.#level = level
    this.#rank = LOG_LEVELS.indexOf(level)
  }

  enabled(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) >= this.#rank
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#rank <= 0) this.#line('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    if (this.#rank <= 1) this.#line('info ', message, fields)
  }

  warning(message: string, fields?: LogFields): void {
    if (this.#rank <= 2) this.#line('warning', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#line('error', message, fields)
  }

  /**
   * True at most once in `intervalMs` for a key: `if (log.every('accept', 1000, now)) log.warning(…)`. What a peer can cause
   * must not flood the log.
   * @param nowMs any clock that does not run backwards, always the same one
   */
  every(key: string, intervalMs: number, nowMs: number): boolean {
    const last = this.#lastMs.get(key)
    if (last !== undefined && nowMs - last < intervalMs) return false
    this.#lastMs.delete(key) // so that insertion order is age
    this.#lastMs.set(key, nowMs)
    if (this.#lastMs.size > MAX_KEYS) this.#lastMs.delete(this.#lastMs.keys().next().value as string)
    return true
  }

  /** Never throws: a log that fails must not take a connection with it. */
  #line(level: string, message: string, fields: LogFields | undefined): void {
    try {
      const rest = (fields === undefined ? '' : fieldsText(fields)) + this.#suffix
      this.#write(`${new Date(this.#now()).toISOString()} ${level} ${oneLine(message)}${rest}\n`)
    } catch {
      // Nobody is left to tell.
    }
  }
}

function fieldsText(fields: LogFields): string {
  let text = ''
  for (const [key, value] of Object.entries(fields)) text += ` ${key}=${valueText(value)}`
  return text
}

function valueText(value: unknown): string {
  let text: string
  try {
    if (value instanceof Error) text = value.stack ?? value.message
    else if (typeof value === 'object' && value !== null) text = JSON.stringify(value)
    else text = String(value)
  } catch {
    return '?'
  }
  // Quoted as soon as a reader, or a terminal, could take it for something else.
  return /^[\x21\x23-\x3c\x3e-\x7e]+$/.test(text) ? text : oneLine(JSON.stringify(text))
}

/** Control characters (terminal escapes, forged lines) and what some viewers take for a line end are shown as escapes. */
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (c) =>
    c === '\n' ? '\\n' : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function writeStderr(line: string): void {
  writeSync(2, line)
}
