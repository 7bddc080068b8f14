// Environment and flags over heddle.yaml: a flag wins over the environment, the environment over the file.
import { resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { nearest } from '../base/nearest.ts'
import type { DocumentPath } from './document.ts'
import { BOOTSTRAP_FIELDS, LISTENER_FIELDS } from './fields.ts'
import { BOOTSTRAP_FLAGS, type FlagValues } from './flags.ts'
import type { TextForm } from './leaf.ts'
import type { ConfigProblem } from './problem.ts'

/** Variables that are not fields: the default of --config, and the switch of transport/stream-internals.ts. */
const OTHER_VARIABLES = ['HEDDLE_CONFIG', 'HEDDLE_PUBLIC_STREAMS']

export interface Overridden {
  /** `environment HEDDLE_ADMIN_PORT` or `flag --admin-port` that set this path or an enclosing one; null: the file. */
  sourceOf(path: DocumentPath): string | null
  readonly warnings: readonly ConfigProblem[]
}

/** Edits `root` in place. Values that make no sense are put in as they are: validation names them and the variable. */
export function applyOverrides(
  root: Record<string, unknown>,
  env: Readonly<Record<string, string | undefined>>,
  flags: FlagValues,
): Overridden {
  const sources = new Map<string, string>()
  const known = new Set(OTHER_VARIABLES)
  const put = (path: DocumentPath, value: unknown, source: string) => {
    if (setAt(root, path, value)) sources.set(path.join('.'), source)
  }
  const fromEnvironment = (variable: string, path: DocumentPath, form: TextForm) => {
    known.add(variable)
    const text = env[variable]
    // An empty variable is an unset one (compose files pass them on), except where the empty text is a value.
    if (text === undefined || (text === '' && form !== 'text' && form !== 'path')) return
    put(path, readValue(text, form), `environment ${variable}`)
  }
  for (const field of BOOTSTRAP_FIELDS) fromEnvironment(field.environment, field.path, field.info.form)
  for (const [index, prefix] of listenerPrefixes(root)) {
    for (const f of LISTENER_FIELDS) fromEnvironment(`${prefix}_${f.environment}`, ['listeners', index, ...f.path], f.info.form)
  }
  for (const { flag, path } of BOOTSTRAP_FLAGS) {
    const given = flags[flag]
    const form = BOOTSTRAP_FIELDS.find((f) => f.path.join('.') === path.join('.'))!.info.form
    if (given !== undefined)
      put(path, typeof given === 'string' ? readValue(given, form) : given.map((p) => resolve(p)), `flag --${flag}`)
  }
  return {
    sourceOf: (path) => {
      for (let length = path.length; length > 0; length--) {
        const source = sources.get(path.slice(0, length).join('.'))
        if (source !== undefined) return source
      }
      return null
    },
    warnings: unknownVariables(env, known),
  }
}

/** `HEDDLE_LISTENERS_OUT` for the listener named `out`. */
function listenerPrefixes(root: Record<string, unknown>): [index: number, prefix: string][] {
  const listeners = root['listeners']
  if (!Array.isArray(listeners)) return []
  return listeners.flatMap((element: unknown, index): [number, string][] => {
    const name = typeof element === 'object' && element !== null ? (element as { name?: unknown }).name : null
    return typeof name === 'string' ? [[index, `HEDDLE_LISTENERS_${name.replace(/[^A-Za-z0-9]/g, '_').toUpperCase()}`]] : []
  })
}

function readValue(text: string, form: TextForm): unknown {
  switch (form) {
    case 'text':
      return text
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
    case 'path':
      return text === '' ? '' : resolve(text)
    case 'nullable-path':
      return text === 'null' ? null : resolve(text)
    case 'paths':
      return split(text).map((path) => resolve(path))
    case 'list':
      return split(text)
    case 'pairs':
      return pairs(text)
    case 'yaml': {
      const document = parseDocument(text, { prettyErrors: false })
      return document.errors.length > 0 ? text : document.toJS()
    }
    default:
      return form satisfies never
  }
}

/** `app=web,version=v1`; the text itself when it is not of this form, so that validation shows it. */
function pairs(text: string): unknown {
  const parts = split(text).map((part) => /^([^=]+)=(.*)$/.exec(part))
  return parts.every((p) => p !== null) ? Object.fromEntries(parts.map((p) => [p[1]!, p[2]!])) : text
}

function split(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

/** False when something that is not a mapping stands in the way; then the file's own error is the one to show. */
function setAt(root: Record<string, unknown>, path: DocumentPath, value: unknown): boolean {
  let at = root as Record<string | number, unknown>
  for (const step of path.slice(0, -1)) {
    const next = at[step] ?? {}
    if (typeof next !== 'object') return false
    at[step] = next
    at = next as Record<string | number, unknown>
  }
  at[path[path.length - 1]!] = value
  return true
}

function unknownVariables(env: Readonly<Record<string, string | undefined>>, known: ReadonlySet<string>): ConfigProblem[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('HEDDLE_') && !known.has(name))
    .map((name) => {
      const near = nearest(name, known)
      const hint = near === null ? '' : `; did you mean ${near}?`
      return { file: `environment ${name}`, line: 0, column: 0, message: `no field has this variable${hint}` }
    })
}
