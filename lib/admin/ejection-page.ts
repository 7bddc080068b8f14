// `/ejections`: endpoints that outlier detection has taken out, newest first: why, on which requests, how long.
import { type Ejection, evidenceText } from '../cluster/ejection.ts'
import { originText } from '../state/origin.ts'

/** A line for each, and one for each request that led to it. */
export function ejectionsText(all: readonly Ejection[]): string {
  if (all.length === 0) return 'no endpoint has been ejected\n'
  return all.map((e) => `${lineOf(e)}\n${e.evidence.map((r) => `  ${time(r.atMs)} ${evidenceText(r)}\n`).join('')}`).join('')
}

function lineOf(e: Ejection): string {
  const until =
    e.endedMs === 0 ? `until the first sweep after ${time(e.sinceMs + e.durationMs)}` : `until ${time(e.endedMs)} (${e.ended})`
  return `${e.address} of ${e.cluster}: ${e.detector}, ${e.reason}; since ${time(e.sinceMs)} ${until}; ${originText(e.policy)}`
}

export function ejectionsJson(all: readonly Ejection[]): unknown {
  return {
    ejections: all.map((e) => ({
      cluster: e.cluster,
      address: e.address,
      detector: e.detector,
      reason: e.reason,
      object: e.policy,
      since: time(e.sinceMs),
      /** Without `ended`: it lasts, and ends at the first sweep after this. */
      until: time(e.endedMs === 0 ? e.sinceMs + e.durationMs : e.endedMs),
      duration_ms: e.durationMs,
      multiplier: e.multiplier,
      ...(e.endedMs === 0 ? {} : { ended: e.ended }),
      requests: e.evidence.map(({ id, status, cause, atMs }) => ({ id, status, cause, at: time(atMs) })),
    })),
  }
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}
