// Reads and clears the results of one interval, and finds those hosts that fail more than the others, or more than they may.
import type { OutlierDetection } from '../state/outlier-detection.ts'
import * as E from './ejecting.ts'
import { EJECTED_FLAG, HEALTH, LOCAL_RESULTS, LOCAL_SUCCESSES, RESULTS, type SharedHosts, SUCCESSES } from './shared-hosts.ts'
import { judgeSuccessRates, judgesFailures, type Rate, rateOf } from './success-rate.ts'

export interface RatedHost {
  readonly row: number
  /** Percent, of the last interval; null: too few results. */
  successRate: number | null
  localSuccessRate: number | null
}

export interface Outlier {
  readonly address: string
  /** DETECTED_BY_… */
  readonly detector: number
  readonly reason: string
}

/** Where results of one origin are counted. */
interface Counted {
  readonly results: number
  readonly successes: number
  readonly bySuccessRate: number
  readonly byFailures: number
  readonly field: 'successRate' | 'localSuccessRate'
}

const EXTERNAL: Counted = {
  results: RESULTS,
  successes: SUCCESSES,
  bySuccessRate: E.DETECTED_BY_SUCCESS_RATE,
  byFailures: E.DETECTED_BY_FAILURE_PERCENTAGE,
  field: 'successRate',
}
const LOCAL: Counted = {
  results: LOCAL_RESULTS,
  successes: LOCAL_SUCCESSES,
  bySuccessRate: E.DETECTED_BY_LOCAL_SUCCESS_RATE,
  byFailures: E.DETECTED_BY_LOCAL_FAILURE_PERCENTAGE,
  field: 'localSuccessRate',
}

type Hosts = ReadonlyMap<string, RatedHost>
type Rates = ReadonlyMap<string, Rate>

/** `hosts` by address; their rates are set. Both origins are judged by the same numbers, each for itself, where they are told apart. */
export function sweepRates(hosts: Hosts, policy: OutlierDetection, shared: SharedHosts): Outlier[] {
  if (policy.successRate === null && policy.failurePercentage === null) return []
  const outliers = sweepOrigin(hosts, policy, shared, EXTERNAL)
  return policy.splitLocalOrigin ? [...outliers, ...sweepOrigin(hosts, policy, shared, LOCAL)] : outliers
}

function sweepOrigin(hosts: Hosts, policy: OutlierDetection, shared: SharedHosts, counted: Counted): Outlier[] {
  const { successRate, failurePercentage } = policy
  const rates = takeRates(hosts, shared, counted)
  const shown = Math.min(successRate?.requestVolume ?? Infinity, failurePercentage?.requestVolume ?? Infinity)
  for (const [address, rate] of rates) if (rate.volume >= shown) (hosts.get(address) as RatedHost)[counted.field] = rate.success
  return [...bySuccessRate(rates, successRate, counted), ...byFailures(rates, failurePercentage, counted)]
}

function bySuccessRate(rates: Rates, policy: OutlierDetection['successRate'], counted: Counted): Outlier[] {
  const judgement = policy === null ? null : judgeSuccessRates([...rates.values()], policy)
  if (policy === null || judgement === null) return []
  const { mean, stdev, threshold } = judgement
  const least = `${text(threshold)} %, the mean ${text(mean)} % less ${policy.stdevFactor} times ${text(stdev)} %`
  return [...rates]
    .filter(([, rate]) => rate.volume >= policy.requestVolume && rate.success < threshold)
    .map(([address, rate]) => ({
      address,
      detector: counted.bySuccessRate,
      reason: `a success rate of ${text(rate.success)} % of ${rate.volume} results is below ${least}`,
    }))
}

function byFailures(rates: Rates, policy: OutlierDetection['failurePercentage'], counted: Counted): Outlier[] {
  if (policy === null || !judgesFailures([...rates.values()], policy)) return []
  return [...rates]
    .filter(([, rate]) => rate.volume >= policy.requestVolume && 100 - rate.success >= policy.threshold)
    .map(([address, rate]) => ({
      address,
      detector: counted.byFailures,
      reason: `${text(100 - rate.success)} % of ${rate.volume} results were failures, and ${policy.threshold} % are too many`,
    }))
}

/** Of all hosts that are not ejected and had results; the counters begin anew. */
function takeRates(hosts: Hosts, shared: SharedHosts, counted: Counted): Rates {
  const rates = new Map<string, Rate>()
  for (const [address, host] of hosts) {
    const at = shared.hostAt(host.row)
    // Successes first: a result that comes between the two must not be a success without a result.
    const successes = Atomics.exchange(shared.cells, at + counted.successes, 0)
    const results = Atomics.exchange(shared.cells, at + counted.results, 0)
    const isEjected = (Atomics.load(shared.cells, at + HEALTH) & EJECTED_FLAG) !== 0
    const rate = isEjected ? null : rateOf(results, Math.min(successes, results))
    if (rate !== null) rates.set(address, rate)
  }
  return rates
}

/** Two decimals at most. */
function text(percent: number): string {
  return String(Math.round(percent * 100) / 100)
}
