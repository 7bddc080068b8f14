// Which endpoints a request could not get, and why. Workers remember how many there were; the main thread knows which.
import { type Ejection, evidenceText } from '../cluster/ejection.ts'
import type { OutlierSweep } from '../cluster/outlier-sweep.ts'
import { FAILED_CHECK_FLAG, UNCHECKED_FLAG } from '../cluster/shared-hosts.ts'
import type { Explanation, UnavailableEndpoint } from '../decide/explanation.ts'

/** `flags`: HEALTH of each endpoint of the cluster now, by address; what a health check had said at the time is not remembered. */
export function withLeftOut(e: Explanation, outliers: OutlierSweep, flags: ReadonlyMap<string, number>): Explanation {
  if (e.unavailable === null || e.cluster === null || e.at === null) return e
  const ejected = outliers.history.at(e.cluster, Date.parse(e.at)).map(ejectedEndpoint)
  const failing = [...flags]
    .filter(([, f]) => (f & (FAILED_CHECK_FLAG | UNCHECKED_FLAG)) !== 0)
    .map(([address, f]) => failingEndpoint(address, f))
  const endpoints = [...ejected, ...failing]
  const steps = e.steps.map((step) =>
    step.step === 'health' && endpoints.length > 0 ? { ...step, text: `${step.text}: ${endpoints.map(text).join('; ')}` } : step,
  )
  return { ...e, unavailable: { ...e.unavailable, endpoints }, steps }
}

function ejectedEndpoint(e: Ejection): UnavailableEndpoint {
  return {
    address: e.address,
    why: `ejected (${e.detector}): ${e.reason}`,
    since: new Date(e.sinceMs).toISOString(),
    until: new Date(e.endedMs === 0 ? e.sinceMs + e.durationMs : e.endedMs).toISOString(),
    requests: e.evidence.map(evidenceText),
  }
}

function failingEndpoint(address: string, flags: number): UnavailableEndpoint {
  const why = (flags & FAILED_CHECK_FLAG) !== 0 ? 'fails its health checks now' : 'has not been checked yet'
  return { address, why, since: null, until: null, requests: [] }
}

function text({ address, why, since, until }: UnavailableEndpoint): string {
  return `${address} ${why}${since === null ? '' : `, since ${since}`}${until === null ? '' : `, until ${until}`}`
}
