// `outlierDetection` of a DestinationRule (Istio OutlierDetection) with the defaults that Istio and Envoy give it.
import type { Cluster } from '../../state/cluster.ts'
import type { OutlierDetection } from '../../state/outlier-detection.ts'
import type { ResourceNote } from '../../state/snapshot.ts'
import { failurePercentageOf, successRateOf } from '../ejection-annotations.ts'
import type { OutlierDetectionSpec } from '../schema/destination-rule.ts'
import { durationMs } from '../schema/fields.ts'

/** Envoy's defaults, which hold where Istio writes nothing. */
const CONSECUTIVE = 5
const INTERVAL_MS = 10_000
const BASE_EJECTION_MS = 30_000
const MAX_EJECTION_MS = 300_000
const MAX_EJECTION_PERCENT = 10

/** `annotations`: of the DestinationRule that wrote the block; they have been validated. */
export function outlierDetectionOf(spec: OutlierDetectionSpec, annotations: Readonly<Record<string, string>>): OutlierDetection {
  const baseEjectionMs = spec.baseEjectionTime === undefined ? BASE_EJECTION_MS : durationMs(spec.baseEjectionTime)
  const successRate = successRateOf(annotations)
  const failurePercentage = failurePercentageOf(annotations)
  const split = spec.splitExternalLocalOriginErrors ?? false
  return {
    consecutive5xx: spec.consecutive5xxErrors ?? CONSECUTIVE,
    // The deprecated consecutiveErrors meant these.
    consecutiveGateway: spec.consecutiveGatewayErrors ?? spec.consecutiveErrors ?? 0,
    splitLocalOrigin: split,
    // Here 0 cannot be told from nothing: istiod then leaves Envoy's default.
    consecutiveLocalOrigin: split ? spec.consecutiveLocalOriginFailures || CONSECUTIVE : 0,
    errorStatuses: (spec.outlierDetectionHttpErrorCodes ?? []).map((status) => ({ from: status, to: status })),
    intervalMs: spec.interval === undefined ? INTERVAL_MS : durationMs(spec.interval),
    baseEjectionMs,
    maxEjectionMs: Math.max(MAX_EJECTION_MS, baseEjectionMs),
    maxEjectionPercent: spec.maxEjectionPercent || MAX_EJECTION_PERCENT,
    successRate: typeof successRate === 'string' ? null : successRate,
    failurePercentage: typeof failurePercentage === 'string' ? null : failurePercentage,
  }
}

/** istiod writes the panic threshold with the block: 0 unless `minHealthPercent` says otherwise. */
export function panicThresholdOf(spec: OutlierDetectionSpec): number {
  return spec.minHealthPercent ?? 0
}

/** One note for each policy whose share of the endpoints that there are is not even one: Envoy and heddle then eject nobody. */
export function idleDetections(clusters: readonly Cluster[]): ResourceNote[] {
  const notes = new Map<string, ResourceNote>()
  for (const { endpoints, outlierDetection, policyOrigin, name: cluster } of clusters) {
    const total = endpoints.length
    // A single endpoint is not to be ejected anyway.
    if (outlierDetection === null || total < 2 || total * outlierDetection.maxEjectionPercent >= 100) continue
    const { kind, namespace, name, file, line, column } = policyOrigin
    const percent = outlierDetection.maxEjectionPercent
    const message = `maxEjectionPercent ${percent} of the ${total} endpoints of ${cluster} is less than one: nobody is ejected; one takes ${Math.ceil(100 / total)}`
    const key = `${file}:${line}:${column}`
    if (!notes.has(key)) notes.set(key, { kind, namespace, name, route: '', message, file, line, column })
  }
  return [...notes.values()]
}
