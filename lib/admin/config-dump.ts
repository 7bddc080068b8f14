// `/config_dump`: the snapshot in force with the origin of each noun, and the state of every object.
import type { AdminSource } from './admin-source.ts'

const REDACTED = '[redacted]'

/** Headers that carry credentials, by a part of their name. */
const SECRET_NAME = /authori[sz]ation|cookie|token|secret|passw|credential|api-?key|signature/i

/**
 * @param resource only this part of the snapshot: `listeners`, `routeTables`, `clusters`, `defaultPorts` or `resources`; empty: all
 * @returns null when there is no such part
 */
export function configDump(source: AdminSource, resource: string): unknown {
  const state = source.state()
  const snapshot = source.snapshot()
  const parts: Record<string, unknown> = {
    listeners: snapshot?.listeners ?? [],
    routeTables: snapshot?.routeTables ?? [],
    defaultPorts: snapshot?.defaultPorts ?? [],
    clusters: snapshot?.clusters ?? [],
    resources: source.statuses(),
  }
  if (resource !== '') return Object.hasOwn(parts, resource) ? { [resource]: parts[resource] } : null
  return { version: snapshot?.version ?? 0, lastGood: state.lastGood, problems: state.problems, ...parts }
}

/** JSON with the values of header edits and matches hidden where the header's name says that it carries a credential. */
export function redactedJson(value: unknown): string {
  return `${JSON.stringify(value, (key, v: unknown) => (isSecretHeader(v) ? redacted(v) : key === 'headers' ? redactedPairs(v) : v), 1)}\n`
}

/** The same of what is in Envoy's shape: HeaderValue `{key, value}`, and conditions on headers. */
export function redactedEnvoyJson(value: unknown): string {
  return `${JSON.stringify(value, (_, v: unknown) => (typeof v === 'object' && v !== null ? redactedHeader(v) : v), 1)}\n`
}

function redactedHeader(v: object): object {
  if ('key' in v && 'value' in v && typeof v.value === 'string' && SECRET_NAME.test(String(v.key)))
    return { ...v, value: REDACTED }
  if ('name' in v && 'string_match' in v && SECRET_NAME.test(String(v.name))) return { ...v, string_match: { exact: REDACTED } }
  return v
}

interface NamedValue {
  readonly name: string
  readonly [key: string]: unknown
}

/** A HeaderEdit, or a HeaderMatch or QueryMatch (state/route.ts). */
function isSecretHeader(v: unknown): v is NamedValue {
  if (typeof v !== 'object' || v === null || !('name' in v) || typeof v.name !== 'string') return false
  return ('value' in v || 'match' in v) && SECRET_NAME.test(v.name)
}

function redacted(v: NamedValue): unknown {
  const copy: Record<string, unknown> = { ...v }
  if (typeof copy['value'] === 'string' && copy['value'] !== '') copy['value'] = REDACTED
  const match = copy['match']
  if (typeof match === 'object' && match !== null) copy['match'] = { ...match, value: REDACTED }
  return copy
}

/** Headers of a health check: pairs of name and value. */
function redactedPairs(v: unknown): unknown {
  if (!Array.isArray(v)) return v
  return v.map((pair: unknown) => (Array.isArray(pair) && SECRET_NAME.test(String(pair[0])) ? [pair[0], REDACTED] : pair))
}
