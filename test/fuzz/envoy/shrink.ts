// The smallest configuration and request that still come to a difference of the same kind: all that is one step smaller is tried in one round, again and again.
import type { Difference } from './compare.ts'
import type { FuzzRequest, Subject } from './subject.ts'

/** Boxes that can be replaced by one of what is in them. */
const BOXES = ['and_rules', 'or_rules', 'and_ids', 'or_ids', 'requires_any', 'requires_all'] as const
const NEGATIONS = ['not_rule', 'not_id'] as const
/** Without which a message is none. */
const NEEDED: ReadonlySet<string> = new Set([
  '@type',
  'name',
  'typed_config',
  'action',
  'match',
  'domains',
  'virtual_hosts',
  'key',
  'path',
  'filter',
  'value',
])
/** In one round. */
const MOST = 60
const ROUNDS = 12

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export async function shrunk(
  difference: Difference,
  differencesOf: (subjects: readonly Subject[]) => Promise<readonly Difference[]>,
): Promise<Difference> {
  let least = difference
  if (least.request === null) return least
  least = { ...least, subject: { ...least.subject, requests: [least.request] } }
  for (let round = 0; round < ROUNDS; round++) {
    const tried = smaller(least.subject).slice(0, MOST)
    const found = (await differencesOf(tried)).filter((d) => d.kind === difference.kind && d.request !== null)
    const best = found.toSorted((a, b) => sizeOf(a) - sizeOf(b))[0]
    if (best === undefined) break
    least = best
  }
  return least
}

function sizeOf({ subject }: Difference): number {
  return JSON.stringify(subject).length
}

function smaller(subject: Subject): Subject[] {
  const { filters, manager, routes, requests } = subject
  const [request] = requests as readonly [FuzzRequest]
  const pairs = (request.headers ?? []) as readonly Json[]
  const found: Subject[] = [
    ...cuts(pairs).map((headers) => ({ ...subject, requests: [{ ...request, headers: headers as never }] })),
    ...cuts(filters as Json).map((f) => ({ ...subject, filters: f as readonly object[] })),
    ...cuts(routes as Json).map((r) => ({ ...subject, routes: r as object })),
    ...cuts(manager as Json).map((m) => ({ ...subject, manager: m as object })),
  ]
  return found.toSorted((a, b) => JSON.stringify(a).length - JSON.stringify(b).length)
}

/** All that is one step less, at any depth. */
function cuts(json: Json): Json[] {
  if (json === null || typeof json !== 'object') return []
  if (Array.isArray(json)) {
    const list = json as readonly Json[]
    const without = list.map((_, i) => list.toSpliced(i, 1))
    return [...without, ...list.flatMap((v, i) => cuts(v).map((c) => list.with(i, c)))]
  }
  const object = json as { readonly [key: string]: Json }
  const keys = Object.keys(object)
  const inside = keys.flatMap((key) => cuts(object[key] as Json).map((c) => ({ ...object, [key]: c })))
  const without = keys
    .filter((k) => !NEEDED.has(k))
    .map((key) => Object.fromEntries(keys.filter((k) => k !== key).map((k) => [k, object[k] as Json])))
  return [...unboxed(object), ...without, ...inside]
}

function unboxed(object: { readonly [key: string]: Json }): Json[] {
  const boxed = BOXES.flatMap((box) => Object.values((object[box] ?? {}) as object).flat() as Json[])
  return [...boxed, ...NEGATIONS.flatMap((box) => object[box] ?? [])]
}
