// Which endpoints a request could not get, and why. Workers remember how many there were; the main thread knows which.
import { type Ejection, evidenceText } from '../cluster/ejection.ts'
import type { Absence, HealthChecker } from '../cluster/health-checks/health-checker.ts'
import type { OutlierSweep } from '../cluster/outlier-sweep.ts'
import type { Explanation, UnavailableEndpoint } from '../decide/explanation.ts'
import { originText } from '../state/origin.ts'

export function withLeftOut(e: Explanation, outliers: OutlierSweep, checks: HealthChecker): Explanation {
  if (e.unavailable === null || e.cluster === null || e.at === null) return e
  const { cluster, unavailable } = e
  const began = Date.parse(e.at)
  const leftOutAt = (ms: number): UnavailableEndpoint[] => [
    ...outliers.history.at(cluster, ms).map(ejectedEndpoint),
    ...checks.absentAt(cluster, ms).map(absentEndpoint),
  ]
  // A later attempt may have met what its own failures brought about.
  const first = leftOutAt(began)
  const endpoints = first.length >= unavailable.count ? first : leftOutAt(began + (e.tookMs ?? 0))
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

function absentEndpoint({ address, failure, origin, sinceMs, untilMs }: Absence): UnavailableEndpoint {
  const what = failure === null ? 'had no result of its health check yet' : `failed its health check: ${failure}`
  const until = untilMs === 0 ? null : new Date(untilMs).toISOString()
  return { address, why: `${what}; ${originText(origin)}`, since: new Date(sinceMs).toISOString(), until, requests: [] }
}

function text({ address, why, since, until }: UnavailableEndpoint): string {
  return `${address} ${why}${since === null ? '' : `, since ${since}`}${until === null ? '' : `, until ${until}`}`
}
