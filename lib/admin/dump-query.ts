// What is asked of `/config_dump` in Envoy's shape: `resource`, `mask`, `name_regex` and `include_eds`, with Envoy's answers to what cannot be answered.
import { compileRegex } from '../base/regex.ts'
import type { DumpedConfig } from './dumped-config.ts'
import { type ConfigPart, configParts, ELEMENT_TYPES, type NameFilter, SINGLE_FIELDS } from './envoy-dump.ts'

/** `body`: the JSON, or with another status than 200 what is wrong. */
export interface DumpAnswer {
  readonly status: 200 | 400 | 404
  readonly body: unknown
}

/** A mask that names all of a message is its leaf. */
type Mask = Map<string, Mask>

export function envoyDump(config: DumpedConfig, query: URLSearchParams): DumpAnswer {
  const wanted = nameFilter(query.get('name_regex') ?? '')
  if (typeof wanted === 'string') return refused(wanted)
  const parts = configParts(config, wanted, query.has('include_eds'))
  const resource = query.get('resource') ?? ''
  const mask = query.get('mask') ?? ''
  const chosen = resource === '' ? parts : elements(parts, resource, query.has('include_eds'))
  if (!Array.isArray(chosen)) return chosen
  if (mask === '') return answerOf(chosen)
  const paths = maskOf(mask)
  if (resource !== '') {
    const masked = chosen.map((part) => withMask(part, paths))
    return masked.length > 0 && masked.every(isBare)
      ? refused(`FieldMask ${mask} could not be successfully used.`)
      : answerOf(masked)
  }
  // Parts that have none of the fields are left out.
  const masked = parts.map((part) => withMask(part, paths)).filter((part) => !isBare(part))
  return masked.length === 0 ? refused(`FieldMask ${mask} could not be successfully applied to any configs.`) : answerOf(masked)
}

function refused(text: string): DumpAnswer {
  return { status: 400, body: text }
}

function answerOf(configs: readonly ConfigPart[]): DumpAnswer {
  return { status: 200, body: configs.length === 0 ? {} : { configs } }
}

/** The whole name has to match. A text: what is wrong with the expression. */
function nameFilter(expression: string): NameFilter | string {
  if (expression === '') return () => true
  const compiled = compileRegex(expression)
  if (!compiled.ok) return `Error while parsing name_regex from ${expression}: it is not a regular expression (RE2 syntax)`
  return (name) => compiled.regex.matchesWhole(name)
}

/** The elements of a list, each with its type. */
function elements(parts: readonly ConfigPart[], resource: string, includeEds: boolean): ConfigPart[] | DumpAnswer {
  const type = ELEMENT_TYPES[resource]
  if (SINGLE_FIELDS.includes(resource))
    return refused(`${resource} is not a repeated field. Use ?mask=${resource} to get only this field`)
  if (type === undefined || (resource.endsWith('endpoint_configs') && !includeEds))
    return { status: 404, body: `${resource} not found in config dump` }
  const all = parts.flatMap((part) => (part[resource] as readonly object[] | undefined) ?? [])
  return all.map((element) => ({ '@type': type, ...element }))
}

/** google.protobuf.FieldMask: `cluster.name,version_info`. */
function maskOf(text: string): Mask {
  const mask: Mask = new Map()
  for (const path of text.split(',')) {
    let at = mask
    for (const field of path.split('.')) {
      const next: Mask = at.get(field) ?? new Map()
      at.set(field, next)
      at = next
    }
  }
  return mask
}

/** Of a list it is the elements that are masked. */
function masked(value: unknown, mask: Mask): unknown {
  if (mask.size === 0 || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((v) => masked(v, mask))
  return withMask(value as ConfigPart, mask)
}

function withMask(part: ConfigPart, mask: Mask): ConfigPart {
  const kept = Object.entries(part).filter(([field]) => field === '@type' || mask.has(field))
  const fields = kept.map(([field, value]) => [field, field === '@type' ? value : masked(value, mask.get(field) ?? new Map())])
  return Object.fromEntries(fields) as ConfigPart
}

/** Nothing but its type. */
function isBare(part: ConfigPart): boolean {
  return Object.keys(part).every((field) => field === '@type')
}
