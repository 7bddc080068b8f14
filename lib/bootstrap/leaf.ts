// One value of heddle.yaml: how it is read, and what the message says when it cannot be. The schema is made of these.
import { isIP } from 'node:net'
import * as v from 'valibot'
import { parseByteSize } from '../base/byte-size.ts'
import { parseDuration } from '../base/duration.ts'
import { parseTrustDomain } from '../identity/spiffe-id.ts'
import { RETRY_KEYWORDS } from '../state/retry-keywords.ts'

/** How the text of an environment variable or a flag becomes a value of this leaf. */
export type TextForm = 'text' | 'number' | 'path' | 'nullable-path' | 'paths' | 'list' | 'pairs' | 'yaml'

export interface LeafInfo {
  readonly form: TextForm
  /** `a duration`. */
  readonly expected: string
  /** YAML, as it would stand behind the colon. */
  readonly example: string
}

/** `undefined` from `read` means: not such a value. */
export function leaf<T>(form: TextForm, expected: string, example: string, read: (value: unknown) => T | undefined) {
  return v.pipe(
    v.unknown(),
    v.metadata({ form, expected, example }),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const result = read(dataset.value)
      if (result !== undefined) return result
      addIssue({ message: `expected ${expected}, such as \`${example}\`; found ${found(dataset.value)}` })
      return NEVER
    }),
  )
}

/** What stands there, in an operator's words. */
export function found(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (typeof value !== 'string') return `the ${typeof value} ${String(value)}`
  // YAML 1.2, which this is, knows only true and false; people remember 1.1.
  const hint = /^(yes|no|on|off)$/i.test(value) ? ' (a text in YAML 1.2; write true or false)' : ''
  return `the text ${JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)}${hint}`
}

export const text = (expected: string, example: string, pattern: RegExp = /^/) =>
  leaf('text', expected, example, (x) => (typeof x === 'string' && pattern.test(x) ? x : undefined))

export const choice = <const T extends string>(...options: readonly T[]) =>
  leaf('text', `one of ${options.map((o) => `\`${o}\``).join(', ')}`, options[0]!, (x) => options.find((o) => o === x))

export const whole = (minimum: number, maximum: number, expected: string, example: string) =>
  leaf('number', `${expected} (${minimum} to ${maximum})`, example, (x) =>
    typeof x === 'number' && Number.isInteger(x) && x >= minimum && x <= maximum ? x : undefined,
  )

export const flag = (example: string) =>
  leaf('yaml', '`true` or `false`', example, (x) => (typeof x === 'boolean' ? x : undefined))

/** By its path, or the id of a process in it; as a path. */
export const netns = (example: string) =>
  leaf('text', 'the absolute path of a network namespace, or the id of a process in it', example, (x) => {
    if (typeof x === 'number' && Number.isInteger(x) && x > 0) return `/proc/${x}/ns/net`
    return typeof x === 'string' && x.startsWith('/') ? x : undefined
  })

export const port = () => whole(0, 65_535, 'a port', '8080')

/** A number that counts something; 0 switches the limit off. */
export const count = (example: string) => whole(0, 2_147_483_647, 'a whole number, 0 for no limit', example)

export const address = (example: string) =>
  leaf('text', 'an IP address', example, (x) => (typeof x === 'string' && isIP(x) !== 0 ? x : undefined))

const DAY_HOURS = 24

/** Milliseconds, whole. A day is the longest unless said otherwise: beyond 24.8 days Node's timers overflow and fire at once. */
export const duration = (minimumMs: number, example: string, maximumHours = DAY_HOURS) =>
  leaf('text', `a duration${minimumMs > 0 ? ` of at least ${minimumMs}ms` : ''} up to ${maximumHours}h`, example, (x) => {
    const ms = x === 0 ? 0 : typeof x === 'string' ? parseDuration(x) : null
    return ms === null || ms < minimumMs || ms > maximumHours * 3_600_000 || !Number.isInteger(ms) ? undefined : ms
  })

/** 0 to 1. */
export const fraction = (example: string) =>
  leaf('number', 'a number from 0 to 1', example, (x) => (typeof x === 'number' && x >= 0 && x <= 1 ? x : undefined))

export const bytes = (example: string) =>
  leaf('text', 'a size in bytes, 0 for no limit', example, (x) => {
    const size = typeof x === 'string' ? parseByteSize(x) : typeof x === 'number' ? x : null
    return size === null || !Number.isSafeInteger(size) || size < 0 ? undefined : size
  })

/** `host:port`; `[::1]:80` for IPv6. */
export const hostAndPort = (expected: string, example: string, hostIsAddress: boolean) =>
  leaf('text', expected, example, (x) => {
    const parts = typeof x === 'string' ? splitHostPort(x) : null
    if (parts === null || (hostIsAddress && isIP(parts.host) === 0)) return undefined
    return x as string
  })

/** null unless the text is `host:port` with a port of 1 to 65535. */
export function splitHostPort(value: string): { host: string; port: number } | null {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(value)
  const portNumber = parts === null ? 0 : Number(parts[3])
  if (parts === null || portNumber < 1 || portNumber > 65_535) return null
  return { host: parts[1] ?? parts[2]!, port: portNumber }
}

export const path = (expected: string, example: string) =>
  leaf('path', expected, example, (x) => (typeof x === 'string' ? x : undefined))

/** In lower case. */
export const trustDomain = (example: string) =>
  leaf('text', 'the name of a trust domain (a-z 0-9 . - _)', example, (x) => {
    const parsed = typeof x === 'string' ? parseTrustDomain(x) : null
    return parsed?.ok === true ? parsed.name : undefined
  })

export const trustDomains = (example: string) =>
  leaf('list', 'a list of names of trust domains (a-z 0-9 . - _)', example, (x) => {
    const names = Array.isArray(x) ? x.map((e) => (typeof e === 'string' ? parseTrustDomain(e) : null)) : [null]
    const good = names.flatMap((n) => (n?.ok === true ? [n.name] : []))
    return good.length === names.length ? good : undefined
  })

/** Trust domain to path. */
export const bundles = (example: string) =>
  leaf('pairs', 'a mapping of trust domains to paths', example, (x) => {
    if (typeof x !== 'object' || x === null || Array.isArray(x)) return undefined
    const entries = Object.entries(x).map(([name, file]) => ({ domain: parseTrustDomain(name), file: file as unknown }))
    const good = entries.flatMap(({ domain, file }) =>
      domain.ok && typeof file === 'string' && file !== '' ? [{ trustDomain: domain.name, file }] : [],
    )
    return good.length === entries.length ? good : undefined
  })

export const nullablePath = (example: string) =>
  leaf('nullable-path', 'a path or null', example, (x) => (x === null || (typeof x === 'string' && x !== '') ? x : undefined))

/** Words as in retryOn, with commas and without blanks between them. */
export const retryOn = (example: string) =>
  leaf('text', `conditions of retryOn (${RETRY_KEYWORDS.join(', ')}) or status codes`, example, (x) => {
    const known = (word: string) => RETRY_KEYWORDS.includes(word) || /^[1-5]\d\d$/.test(word)
    return typeof x === 'string' && (x === '' || x.split(',').every(known)) ? x : undefined
  })

/** A list of `address:port`. */
export const servers = (example: string) =>
  leaf('list', 'a list of `address:port`', example, (x) => {
    const isServer = (e: unknown) => typeof e === 'string' && isIP(splitHostPort(e)?.host ?? '') !== 0
    return Array.isArray(x) && x.every(isServer) ? (x as readonly string[]) : undefined
  })

export const paths = (example: string) =>
  leaf('paths', 'a list of paths', example, (x) =>
    Array.isArray(x) && x.every((e) => typeof e === 'string' && e !== '') ? (x as readonly string[]) : undefined,
  )

/** A mapping from text to text. Numbers and booleans are refused: as in Kubernetes, `version: 1` must be quoted. */
export const labels = (example: string) =>
  leaf('pairs', 'a mapping of texts (quote numbers and booleans)', example, (x) => {
    if (typeof x !== 'object' || x === null || Array.isArray(x)) return undefined
    const entries = Object.entries(x)
    return entries.every(([, value]) => typeof value === 'string')
      ? (Object.fromEntries(entries) as Record<string, string>)
      : undefined
  })

/** Services by name: exact, `*.suffix` or `*`. */
export const hosts = (example: string) =>
  leaf('list', 'a list of service hosts, `*.suffix` or `*`', example, (x) =>
    Array.isArray(x) && x.every((e) => typeof e === 'string' && HOST_PATTERN.test(e))
      ? (x as readonly string[]).map((e) => e.toLowerCase())
      : undefined,
  )

const HOST_PATTERN = /^(?:\*|(?:\*\.)?[A-Za-z0-9_](?:[-_.A-Za-z0-9]*[A-Za-z0-9_])?)$/

export const names = (expected: string, example: string) =>
  leaf('list', expected, example, (x) =>
    Array.isArray(x) && x.every((e) => typeof e === 'string' && e !== '') ? (x as readonly string[]) : undefined,
  )

export const ports = (example: string) =>
  leaf('yaml', 'a list of ports', example, (x) => {
    const isPort = (e: unknown) => typeof e === 'number' && Number.isInteger(e) && e >= 1 && e <= 65_535
    return Array.isArray(x) && x.every(isPort) ? (x as readonly number[]) : undefined
  })

const SERVED_PROTOCOLS = ['http', 'http2', 'grpc', 'https', 'tls', 'tcp', 'auto'] as const

/** A mapping from port to protocol. */
export const servedPorts = (example: string) =>
  leaf('pairs', `a mapping of ports to one of ${SERVED_PROTOCOLS.join(', ')}`, example, (x) => {
    if (typeof x !== 'object' || x === null || Array.isArray(x)) return undefined
    const entries = Object.entries(x).map(([key, value]) => ({
      port: /^\d{1,5}$/.test(key) ? Number(key) : 0,
      protocol: SERVED_PROTOCOLS.find((p) => p === value),
    }))
    const good = entries.flatMap(({ port, protocol }) =>
      port >= 1 && port <= 65_535 && protocol !== undefined ? [{ port, protocol }] : [],
    )
    return good.length === entries.length ? good : undefined
  })

/** A mapping from port to port. */
export const portMap = (example: string) =>
  leaf('pairs', 'a mapping of ports to ports, 0 for one that the system chooses', example, (x) => {
    if (typeof x !== 'object' || x === null || Array.isArray(x)) return undefined
    const entries = Object.entries(x).map(([key, value]) => ({ port: numberOf(key), bound: numberOf(value) }))
    return entries.every(({ port, bound }) => port >= 1 && port <= 65_535 && bound >= 0 && bound <= 65_535) ? entries : undefined
  })

/** Of a number, or of a text from a flag or the environment; -1: it is none. */
function numberOf(x: unknown): number {
  return /^\d{1,5}$/.test(String(x)) ? Number(x) : -1
}

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** RFC 9110 §5.1, §5.5. */
export const headers = (example: string) =>
  leaf('pairs', 'a mapping of header names to texts', example, (x) => {
    if (typeof x !== 'object' || x === null || Array.isArray(x)) return undefined
    const entries = Object.entries(x)
    const fits = entries.every(([k, e]) => HEADER_NAME.test(k) && typeof e === 'string' && HEADER_VALUE.test(e))
    return fits ? (entries as readonly (readonly [name: string, value: string])[]) : undefined
  })

/** Inclusive ranges: `["200-299", 404]`. */
export const statuses = (example: string) =>
  leaf('list', 'a list of statuses (100 to 599) and ranges', example, (x) => {
    const ranges = Array.isArray(x) && x.length > 0 ? x.map(statusRange) : [null]
    return ranges.includes(null) ? undefined : (ranges as readonly { readonly from: number; readonly to: number }[])
  })

function statusRange(x: unknown): { from: number; to: number } | null {
  const parts = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(typeof x === 'number' ? String(x) : typeof x === 'string' ? x : '')
  if (parts === null) return null
  const from = Number(parts[1])
  const to = Number(parts[2] ?? parts[1])
  return from <= to ? { from, to } : null
}
