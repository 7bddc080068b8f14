// Taking an endpoint out for a while, and putting it back, for all workers at once (Envoy outlier detection). Whoever detects does it:
// a worker in the middle of a request, or the main thread at a sweep.
import {
  CONSECUTIVE_5XX,
  CONSECUTIVE_GATEWAY,
  CONSECUTIVE_LOCAL,
  EJECTED,
  EJECTED_BY,
  EJECTED_FLAG,
  EJECTIONS_OVERFLOW,
  HEALTH,
  type SharedHosts,
} from './shared-hosts.ts'

// Detectors; indices of DETECTOR_NAMES. 0: not known, because the worker died before it could say.
export const DETECTED_BY_5XX = 1
export const DETECTED_BY_GATEWAY = 2
export const DETECTED_BY_LOCAL = 3
export const DETECTED_BY_SUCCESS_RATE = 4
export const DETECTED_BY_LOCAL_SUCCESS_RATE = 5
export const DETECTED_BY_FAILURE_PERCENTAGE = 6
export const DETECTED_BY_LOCAL_FAILURE_PERCENTAGE = 7

/** As in Envoy's statistics. */
export const DETECTOR_NAMES: readonly string[] = [
  'unknown',
  'consecutive_5xx',
  'consecutive_gateway_failure',
  'consecutive_local_origin_failure',
  'success_rate',
  'local_origin_success_rate',
  'failure_percentage',
  'local_origin_failure_percentage',
]

// What `eject` answers.
export const EJECTED_NOW = 1
/** Somebody else was faster. */
export const WAS_EJECTED = 2
/** maxEjectionPercent forbids it. */
export const OVER_LIMIT = 3

/** One failure of an endpoint, as the worker that saw it remembers it. */
export interface FailedRequest {
  /** x-request-id; for TCP the address of the client. Empty: it had none. */
  readonly id: string
  /** 0: no response. */
  readonly status: number
  /** Why there is no response; empty when there is one. */
  readonly cause: string
  /** Epoch ms. */
  readonly atMs: number
}

/**
 * `hostAt` is the first cell of the host, `total` the number of hosts of the cluster, all priorities together. The limit is strict: with
 * 10 % of five hosts none is ever ejected (Envoy without always_eject_one_host, as Istio configures it).
 */
export function eject(
  shared: SharedHosts,
  clusterRow: number,
  hostAt: number,
  total: number,
  maxPercent: number,
  detector: number,
): number {
  const { cells } = shared
  if ((Atomics.load(cells, hostAt + HEALTH) & EJECTED_FLAG) !== 0) return WAS_EJECTED
  const clusterAt = shared.clusterAt(clusterRow)
  // The place is reserved before the host goes, so that two workers cannot both take the last one.
  for (;;) {
    const ejected = Atomics.load(cells, clusterAt + EJECTED)
    if ((100 * (ejected + 1)) / total > maxPercent) {
      Atomics.add(cells, clusterAt + EJECTIONS_OVERFLOW, 1)
      return OVER_LIMIT
    }
    if (Atomics.compareExchange(cells, clusterAt + EJECTED, ejected, ejected + 1) === ejected) break
  }
  if ((Atomics.or(cells, hostAt + HEALTH, EJECTED_FLAG) & EJECTED_FLAG) !== 0) {
    Atomics.sub(cells, clusterAt + EJECTED, 1)
    return WAS_EJECTED
  }
  Atomics.store(cells, hostAt + EJECTED_BY, detector)
  shared.changed(clusterRow)
  return EJECTED_NOW
}

/** False: it was not ejected. Runs of failures begin anew, or the next failure would eject it again. */
export function uneject(shared: SharedHosts, clusterRow: number, hostAt: number): boolean {
  const { cells } = shared
  for (const cell of [CONSECUTIVE_5XX, CONSECUTIVE_GATEWAY, CONSECUTIVE_LOCAL, EJECTED_BY]) Atomics.store(cells, hostAt + cell, 0)
  if ((Atomics.and(cells, hostAt + HEALTH, ~EJECTED_FLAG) & EJECTED_FLAG) === 0) return false
  Atomics.sub(cells, shared.clusterAt(clusterRow) + EJECTED, 1)
  shared.changed(clusterRow)
  return true
}
