// One ejection of an endpoint as an event: who detected it and why, on which requests, how long. Kept for the log, the admin page and `explain`.
import { type Origin, originText } from '../state/origin.ts'
import type { FailedRequest } from './ejecting.ts'

export interface Ejection {
  readonly cluster: string
  readonly address: string
  /** Of DETECTOR_NAMES. */
  detector: string
  /** `5 failures in a row`. */
  reason: string
  /** The DestinationRule that asks for it. */
  readonly policy: Origin
  /** Epoch ms. */
  readonly sinceMs: number
  /** At least; it ends at the first sweep after it. */
  readonly durationMs: number
  /** `durationMs` is the base ejection time times this, up to the longest one. */
  readonly multiplier: number
  /** What the workers remembered; oldest first. */
  evidence: readonly FailedRequest[]
  /** Epoch ms; 0: it lasts. */
  endedMs: number
  /** Why it ended; empty while it lasts. */
  ended: '' | 'time' | 'health check' | 'configuration' | 'removed'
}

/** Ejections that are over and still shown. */
const REMEMBERED = 100

/** Newest first. Those that last are never forgotten. */
export class EjectionHistory {
  private list: Ejection[]

  constructor() {
    this.list = []
  }

  add(ejection: Ejection): void {
    this.list.unshift(ejection)
    if (this.list.length <= REMEMBERED) return
    this.list = this.list.filter((e, i) => e.endedMs === 0 || i < REMEMBERED)
  }

  get all(): readonly Ejection[] {
    return this.list
  }

  /** Those of a cluster that lasted at this moment, epoch ms. */
  at(cluster: string, ms: number): readonly Ejection[] {
    return this.list.filter((e) => e.cluster === cluster && e.sinceMs <= ms && (e.endedMs === 0 || e.endedMs > ms))
  }
}

/** `5bf2…: 503`, `9ac0…: connection termination`. */
export function evidenceText({ id, status, cause }: FailedRequest): string {
  return `${id === '' ? 'without id' : id}: ${status === 0 ? cause : status}`
}

export function ejectionText(e: Ejection): string {
  return `ejected ${e.address} of ${e.cluster} for at least ${e.durationMs} ms: ${e.reason}`
}

/** Fields of the log line. */
export function ejectionFields(e: Ejection): Readonly<Record<string, unknown>> {
  return {
    object: originText(e.policy),
    detector: e.detector,
    ejection: e.multiplier,
    requests: e.evidence.map(evidenceText),
  }
}

/** What the workers remember, brought to the failures that led to the ejection: the last `count` before it. */
export function selectEvidence(remembered: readonly FailedRequest[], atMs: number, count: number): readonly FailedRequest[] {
  const before = remembered.filter((r) => r.atMs <= atMs).toSorted((a, b) => a.atMs - b.atMs)
  return count <= 0 ? [] : before.slice(-count)
}
