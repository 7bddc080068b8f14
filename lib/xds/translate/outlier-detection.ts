// envoy.config.cluster.v3.OutlierDetection with its defaults: what is not written detects with these numbers, and `enforcing_…` says whether it ejects.
import type { FailurePercentageEjection, OutlierDetection, SuccessRateEjection } from '../../state/outlier-detection.ts'
import type { OutlierDetection as Message } from '../proto/cluster.ts'
import type { Findings } from './findings.ts'
import { SharedValues } from './shared-values.ts'

const CONSECUTIVE = 5
const INTERVAL_MS = 10_000
const BASE_EJECTION_MS = 30_000
const MAX_EJECTION_MS = 300_000
const MAX_EJECTION_PERCENT = 10
const MINIMUM_HOSTS = 5
const SUCCESS_RATE_VOLUME = 100
/** Thousandths. */
const STDEV_FACTOR = 1900
const FAILURE_THRESHOLD = 85
const FAILURE_VOLUME = 50

type Enforcing = Extract<keyof Message, `enforcing_${string}`>

const shared = new SharedValues<OutlierDetection>()

/** null: the cluster has none. */
export function translateOutlierDetection(of: Message | null, findings: Findings): OutlierDetection | null {
  if (of === null) return null
  const enforced = (field: Enforcing, fallback: number): boolean => isEnforced(of[field] ?? fallback, findings.at(field))
  for (const [i, { name }] of of.monitors.entries())
    findings.at('monitors', i).note(`the monitor ${name} is not understood, and ejects nobody`)
  if (of.always_eject_one_host === true) findings.at('always_eject_one_host').note('it is not carried out')
  const baseEjectionMs = of.base_ejection_time ?? BASE_EJECTION_MS
  const split = of.split_external_local_origin_errors
  return shared.of({
    consecutive5xx: enforced('enforcing_consecutive_5xx', 100) ? (of.consecutive_5xx ?? CONSECUTIVE) : 0,
    consecutiveGateway: enforced('enforcing_consecutive_gateway_failure', 0)
      ? (of.consecutive_gateway_failure ?? CONSECUTIVE)
      : 0,
    splitLocalOrigin: split,
    consecutiveLocalOrigin:
      split && enforced('enforcing_consecutive_local_origin_failure', 100)
        ? (of.consecutive_local_origin_failure ?? CONSECUTIVE)
        : 0,
    errorStatuses: [],
    intervalMs: of.interval ?? INTERVAL_MS,
    baseEjectionMs,
    maxEjectionMs: of.max_ejection_time ?? Math.max(MAX_EJECTION_MS, baseEjectionMs),
    maxEjectionPercent: of.max_ejection_percent ?? MAX_EJECTION_PERCENT,
    successRate: enforced('enforcing_success_rate', 100) ? successRateOf(of) : null,
    failurePercentage: enforced('enforcing_failure_percentage', 0) ? failurePercentageOf(of) : null,
  })
}

function isEnforced(percent: number, at: Findings): boolean {
  if (percent > 0 && percent < 100) at.note(`an ejection is carried out always, not in ${percent} of 100 cases`)
  return percent > 0
}

function successRateOf(of: Message): SuccessRateEjection {
  return {
    minimumHosts: of.success_rate_minimum_hosts ?? MINIMUM_HOSTS,
    requestVolume: of.success_rate_request_volume ?? SUCCESS_RATE_VOLUME,
    stdevFactor: (of.success_rate_stdev_factor ?? STDEV_FACTOR) / 1000,
  }
}

function failurePercentageOf(of: Message): FailurePercentageEjection {
  return {
    threshold: of.failure_percentage_threshold ?? FAILURE_THRESHOLD,
    minimumHosts: of.failure_percentage_minimum_hosts ?? MINIMUM_HOSTS,
    requestVolume: of.failure_percentage_request_volume ?? FAILURE_VOLUME,
  }
}
