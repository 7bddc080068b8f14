// What must be equal between a recorded outcome and ours. What differs from run to run is replaced by a placeholder; headers
// are compared by lower-case name, and their order counts among those of one name only.
import os from 'node:os'
import type { HeaderPair } from '../../support/h1-reader.ts'
import type { Counts, Outcome, SeenRequest } from './recording.ts'

/** The fields that are compared, in the order in which a difference is most telling. */
export const FIELDS = [
  'status',
  'flags',
  'details',
  'cluster',
  'route',
  'upstreamHost',
  'location',
  'clientError',
  'informational',
  'body',
  'headers',
  'upstream',
  'log',
] as const

export type Field = (typeof FIELDS)[number]

export type Comparable = Readonly<Record<Field, unknown>>

const VOLATILE: Readonly<Record<string, string>> = {
  'x-request-id': '<id>',
  date: '<date>',
  'x-envoy-upstream-service-time': '<ms>',
  'x-envoy-expected-rq-timeout-ms': '<ms>',
}

const OWN_ADDRESSES = new Set(
  Object.values(os.networkInterfaces())
    .flatMap((a) => a ?? [])
    .map((a) => a.address),
)

/** Brings an outcome, recorded or new, into the form in which it is compared. */
export function comparable(o: Outcome): Comparable {
  return {
    status: o.status,
    flags: o.flags,
    details: o.details,
    cluster: o.cluster,
    route: o.route,
    upstreamHost: o.upstreamHost,
    location: o.location ?? null,
    clientError: o.clientError ?? null,
    informational: o.informational ?? null,
    body: o.body,
    headers: headers(o.headers),
    upstream: (o.upstream ?? []).map(seen).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    log: o.log === null ? null : { logged: o.log.logged, authority: o.log.authority ?? '', protocol: o.log.protocol },
  }
}

/** Names of the fields in which the two differ. */
export function differences(wanted: Comparable, found: Comparable, ignore: readonly string[]): Field[] {
  return FIELDS.filter((f) => !ignore.includes(f) && JSON.stringify(wanted[f]) !== JSON.stringify(found[f]))
}

/** Shares may differ by chance: by four standard deviations and one per cent. Returns what differs by more. */
export function countDifferences(wanted: Counts, found: Counts): string[] {
  return (['statuses', 'clusters', 'flags'] as const).flatMap((kind) => {
    const keys = new Set([...Object.keys(wanted[kind]), ...Object.keys(found[kind])])
    return [...keys].flatMap((key) => {
      const p = (wanted[kind][key] ?? 0) / wanted.repeat
      const q = (found[kind][key] ?? 0) / found.repeat
      const sigma = Math.sqrt((p * (1 - p) + q * (1 - q)) / Math.min(wanted.repeat, found.repeat))
      if (Math.abs(p - q) <= 0.01 + 4 * sigma) return []
      return [
        `${kind} ${key}: recorded ${wanted[kind][key] ?? 0} of ${wanted.repeat}, now ${found[kind][key] ?? 0} of ${found.repeat}`,
      ]
    })
  })
}

function seen(s: SeenRequest): SeenRequest {
  const { at, protocol, method, path, authority, body, bodyBytes, trailers, tcp } = s
  if (tcp !== undefined) return { at, tcp }
  return {
    at,
    ...{ protocol, method, path, authority, body, bodyBytes },
    headers: headers(s.headers ?? []),
    ...(trailers === undefined ? {} : { trailers }),
  } as SeenRequest
}

function headers(pairs: readonly HeaderPair[]): HeaderPair[] {
  return pairs.map(([n, v]): HeaderPair => [n, stable(n, v)]).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

function stable(name: string, value: string): string {
  const placeholder = VOLATILE[name]
  if (placeholder !== undefined && value !== 'fixed') return placeholder
  if (name === 'x-forwarded-for') return value.split(',').map(own).join(',')
  if (name === 'set-cookie') return value.replace(/"[0-9a-f]{16}"/, '"<hash>"')
  return value.length > 300 ? `${value.slice(0, 20)}… (${value.length})` : value
}

function own(address: string): string {
  return OWN_ADDRESSES.has(address.trim()) ? '<own>' : address
}
