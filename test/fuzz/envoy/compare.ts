// Rounds of the same requests to both, and what differs in what became of them.
import { Dice } from '../../chaos/dice.ts'
import { reasonFor } from './deliberate.ts'
import { type Outcome, type Side, startPair } from './pair.ts'
import type { Draw, FuzzRequest, Subject } from './subject.ts'

export interface Difference {
  /** What is different, in few words: differences of one kind are mostly one fault. */
  readonly kind: string
  readonly subject: Subject
  readonly index: number
  readonly request: FuzzRequest | null
  readonly envoy: unknown
  readonly heddle: unknown
}

export interface Round {
  readonly compared: number
  /** Requests that both let pass. */
  readonly passed: number
  /** Subjects that heddle, and that Envoy, refuses; by the reason. */
  readonly refusedByHeddle: ReadonlyMap<string, number>
  readonly refusedByEnvoy: ReadonlyMap<string, number>
  readonly differences: readonly Difference[]
}

export interface RoundOptions {
  readonly draw: Draw
  readonly kind: string
  readonly seed: number
  readonly subjects: number
}

export function runRound({ draw, kind, seed, subjects: count }: RoundOptions): Promise<Round> {
  return compareSubjects(Array.from({ length: count }, (_, i) => draw(new Dice(seed, `${kind} ${i}`))))
}

export async function compareSubjects(subjects: readonly Subject[]): Promise<Round> {
  const closers: (() => unknown)[] = []
  try {
    const { envoy, heddle } = await startPair({ teardown: (fn) => void closers.unshift(fn) }, subjects)
    return await compareAll(subjects, envoy, heddle)
  } finally {
    for (const close of closers) await close()
  }
}

async function compareAll(subjects: readonly Subject[], envoy: Side, heddle: Side): Promise<Round> {
  const differences: Difference[] = []
  const counts = { compared: 0, passed: 0 }
  const [refusedByHeddle, refusedByEnvoy] = [new Map<string, number>(), new Map<string, number>()]
  const one = async (subject: Subject, index: number): Promise<void> => {
    const [ours, theirs] = [heddle.refused.get(index), envoy.refused.get(index)]
    if (ours !== undefined) add(refusedByHeddle, ours)
    if (theirs !== undefined) add(refusedByEnvoy, theirs)
    if (ours === undefined && theirs !== undefined)
      differences.push({ kind: 'heddle takes what Envoy refuses', subject, index, request: null, envoy: theirs, heddle: 'taken' })
    if (ours !== undefined || theirs !== undefined) return
    const [expected, found] = await Promise.all([envoy.ask(index, subject.requests), heddle.ask(index, subject.requests)])
    for (const [i, request] of subject.requests.entries()) {
      const [e, h] = [compared(expected[i] as Outcome), compared(found[i] as Outcome)]
      counts.compared++
      if (e.upstream !== null) counts.passed++
      for (const key of Object.keys(e) as (keyof typeof e)[]) {
        if (JSON.stringify(e[key]) === JSON.stringify(h[key]) || reasonFor(request, e, h) !== null) continue
        differences.push({ kind: `${key} ${e.status}/${h.status}`, subject, index, request, envoy: e, heddle: h })
        break
      }
    }
  }
  const waiting = [...subjects.entries()]
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await one(next[1], next[0])
  }
  await Promise.all(Array.from({ length: 6 }, lane))
  return { ...counts, refusedByHeddle, refusedByEnvoy, differences }
}

function add(counts: Map<string, number>, reason: string): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1)
}

/** Headers that each writes in its own way, or that are never the same. */
const OWN_REQUEST = /^(x-request-id|x-envoy-|x-b3-|traceparent|x-forwarded-for|content-length)/
const OWN_ANSWER =
  /^(date|server|x-envoy-upstream-service-time|content-length|content-type|connection|transfer-encoding|x-request-id)/

function compared(o: Outcome) {
  const { status, upstream, log, headers, body } = o
  return {
    status,
    details: log?.['details'] ?? null,
    route: [log?.['route'] ?? null, log?.['cluster'] ?? null],
    upstream:
      upstream === null ? null : { ...upstream, headers: joinedOnes(upstream.headers.filter((h) => !OWN_REQUEST.test(h))) },
    flags: log?.['flags'] ?? null,
    headers: headers.filter((h) => !OWN_ANSWER.test(h)),
    body: status === 400 ? '' : body,
  }
}

/** Values of one name as one: who writes them as two says the same (RFC 9110 section 5.3). */
function joinedOnes(lines: readonly string[]): readonly string[] {
  const values = new Map<string, string[]>()
  for (const line of lines) {
    const colon = line.indexOf(': ')
    const name = line.slice(0, colon)
    values.set(name, [...(values.get(name) ?? []), ...line.slice(colon + 2).split(',')])
  }
  return [...values].map(
    ([name, of]) =>
      `${name}: ${of
        .map((v) => v.trim())
        .filter((v) => v !== '')
        .toSorted()
        .join(',')}`,
  )
}
