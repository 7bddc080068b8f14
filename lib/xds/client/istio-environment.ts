// What Istio's injection template says of a workload by its environment and by the files of the downward API, read as its agent reads them (istio pkg/bootstrap
// config.go), so that the template works unchanged.
import { parse } from 'yaml'
import type { Struct, StructValue } from '../proto/schema.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export interface IstioEnvironment {
  /** Of ISTIO_META_*, ISTIO_METAJSON_* and the variables that have a name of their own. */
  readonly metadata: Struct
  /** Of the pod, by the downward API, and those of ISTIO_METAJSON_LABELS, which win. */
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** The variable PROXY_CONFIG; null: it is not set. */
  readonly proxyConfig: Struct | null
  /** What could not be read, in words that name it. */
  readonly problems: readonly string[]
}

/** Texts of the files; null: there is no such file. */
export interface PodFiles {
  readonly labels: string | null
  readonly annotations: string | null
}

const STRING = 'ISTIO_META_'
const JSON_OBJECT = 'ISTIO_METAJSON_'
const LABELS = 'ISTIO_METAJSON_LABELS'
const ANNOTATIONS = 'ISTIO_METAJSON_ANNOTATIONS'

/** Variables with names of their own, and the keys that they are. */
const NAMED: Readonly<Record<string, string>> = {
  POD_NAME: 'NAME',
  POD_NAMESPACE: 'NAMESPACE',
  SERVICE_ACCOUNT: 'SERVICE_ACCOUNT',
  NODE_NAME: 'NODE_NAME',
}

/** istiod reads these as texts, "true" and "false", and refuses the whole of the metadata where one is a boolean (istio pkg/model StringBool). */
const TEXTS_OF_BOOLEANS = new Set([
  'ENABLE_HBONE',
  'DISABLE_HBONE_SEND',
  'DNS_CAPTURE',
  'DNS_AUTO_ALLOCATE',
  'METADATA_DISCOVERY',
  'INBOUND_LISTENER_EXACT_BALANCE',
  'OUTBOUND_LISTENER_EXACT_BALANCE',
  'EXIT_ON_ZERO_ACTIVE_CONNECTIONS',
  'ENABLE_SELF_DISCOVERY',
])
/** And these as numbers. */
const NUMBERS = new Set([
  'ENVOY_STATUS_PORT',
  'ENVOY_PROMETHEUS_PORT',
  'ENVOY_SECURE_METRICS_PORT',
  'ENVOY_SECURE_MERGED_METRICS_PORT',
])

export function readIstioEnvironment(env: Environment, files: PodFiles): IstioEnvironment {
  const problems: string[] = []
  const metadata: Record<string, StructValue> = {}
  const variables = Object.entries(env).filter((e): e is [string, string] => e[1] !== undefined && e[1] !== '')
  for (const [name, value] of variables) {
    if (!name.startsWith(JSON_OBJECT) || name === LABELS || name === ANNOTATIONS) continue
    Object.assign(metadata, objectIn(name, value, problems))
  }
  for (const [name, value] of variables) if (name.startsWith(STRING)) metadata[name.slice(STRING.length)] = value
  for (const [name, key] of Object.entries(NAMED)) {
    const value = env[name] ?? ''
    if (value !== '') metadata[key] ??= value
  }
  for (const [key, value] of Object.entries(metadata)) metadata[key] = asIstiodReads(key, value)
  return {
    metadata,
    labels: { ...lines('labels', files.labels, problems), ...texts(objectIn(LABELS, env[LABELS] ?? '', problems)) },
    annotations: {
      ...lines('annotations', files.annotations, problems),
      ...texts(objectIn(ANNOTATIONS, env[ANNOTATIONS] ?? '', problems)),
    },
    proxyConfig: proxyConfigOf(env['PROXY_CONFIG'] ?? '', problems),
    problems,
  }
}

function asIstiodReads(key: string, value: StructValue): StructValue {
  if (TEXTS_OF_BOOLEANS.has(key) && typeof value === 'boolean') return String(value)
  if (NUMBERS.has(key) && typeof value === 'string' && /^\d+$/.test(value)) return Number(value)
  return value
}

function objectIn(name: string, text: string, problems: string[]): Struct {
  if (text === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch {
    // Told below.
  }
  problems.push(`${name} is no JSON object and is left out`)
  return {}
}

/** JSON from the template, YAML where people write it. */
function proxyConfigOf(text: string, problems: string[]): Struct | null {
  if (text.trim() === '') return null
  try {
    const value: unknown = parse(text)
    if (isObject(value)) return value
    if (value === null) return {}
  } catch {
    // Told below.
  }
  problems.push('PROXY_CONFIG is no mapping and is left out')
  return null
}

/** Values of labels are texts; an annotation's may be anything that is one. */
function texts(of: Struct): Record<string, string> {
  return Object.fromEntries(
    Object.entries(of).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
}

/** `key="value"` in each line, the value as Go quotes it (Kubernetes downward API). */
function lines(what: string, text: string | null, problems: string[]): Record<string, string> {
  const out: [string, string][] = []
  for (const line of (text ?? '').split('\n')) {
    if (line.trim() === '') continue
    const equals = line.indexOf('=')
    const value = equals > 0 ? unquoted(line.slice(equals + 1)) : null
    if (value === null) problems.push(`a line of the pod's ${what} is not \`key="value"\` and is left out`)
    else out.push([line.slice(0, equals), value])
  }
  return Object.fromEntries(out)
}

/** Go's escapes are those of JSON and `\a \v \x41 \101 \U0001f600`. */
function unquoted(quoted: string): string | null {
  if (!/^"(?:[^"\\]|\\.)*"$/.test(quoted)) return null
  return quoted.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)/g, (_, code: string) => {
    if (/^[xuU].|^[0-7]{3}$/.test(code)) {
      const point = /^[xuU]/.test(code) ? Number.parseInt(code.slice(1), 16) : Number.parseInt(code, 8)
      return point <= 0x10ffff ? String.fromCodePoint(point) : '\ufffd'
    }
    return SIMPLE_ESCAPES[code] ?? code
  })
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
}

function isObject(value: unknown): value is Struct {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
