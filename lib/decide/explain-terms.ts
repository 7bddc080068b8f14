// The timers, the retry policy and the destination's policy in force for a route, and who set them.
import type { Cluster } from '../state/cluster.ts'
import { BUILT_IN } from '../state/origin.ts'
import type { OutlierDetection } from '../state/outlier-detection.ts'
import type { ForwardAction } from '../state/route.ts'
import { durationText } from './explain-words.ts'
import { type ExplainedPolicy, type ExplainedRetry, type ExplainedTimer, type ObjectRef, refOf } from './explanation.ts'

/** Istio's connectTimeout and idleTimeout where no object says otherwise. */
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000
const DEFAULT_IDLE_TIMEOUT_MS = 3_600_000

/** `cluster` null: it is not known, so its timers are neither. */
export function timersOf(action: ForwardAction, cluster: Cluster | null): readonly ExplainedTimer[] {
  const timers: ExplainedTimer[] = [{ name: 'timeout', ms: action.timeoutMs, setBy: refOf(action.timeoutOrigin) }]
  const retry = action.retry
  if (retry !== null) timers.push({ name: 'perTryTimeout', ms: retry.perTryTimeoutMs, setBy: refOf(retry.origin) })
  if (cluster === null) return timers
  const { connectTimeoutMs, httpIdleTimeoutMs } = cluster.limits
  timers.push(
    { name: 'connectTimeout', ms: connectTimeoutMs, setBy: setBy(cluster, connectTimeoutMs, DEFAULT_CONNECT_TIMEOUT_MS) },
    { name: 'idleTimeout', ms: httpIdleTimeoutMs, setBy: setBy(cluster, httpIdleTimeoutMs, DEFAULT_IDLE_TIMEOUT_MS) },
  )
  return timers
}

export function retryOf(action: ForwardAction): ExplainedRetry | null {
  const retry = action.retry
  if (retry === null) return null
  const { attempts, on, statusCodes, baseIntervalMs, maxIntervalMs, unsafe, origin } = retry
  return { attempts, on: [...on, ...statusCodes.map(String)], baseIntervalMs, maxIntervalMs, unsafe, setBy: refOf(origin) }
}

/** A cluster names one policy for all its settings: a value that equals the default need not be that policy's doing. */
function setBy(cluster: Cluster, value: number, fallback: number): ObjectRef {
  return refOf(value === fallback ? BUILT_IN : cluster.policyOrigin)
}

/** What is not there is left out; the balancer always is. */
export function policyOf(cluster: Cluster): readonly ExplainedPolicy[] {
  const { loadBalancer, outlierDetection, policyOrigin } = cluster
  const byDefault = loadBalancer.kind === 'LEAST_REQUEST'
  const policy: ExplainedPolicy[] = [
    { name: 'load balancer', text: loadBalancer.kind, setBy: refOf(byDefault ? BUILT_IN : policyOrigin) },
  ]
  const limits = limitTexts(cluster)
  if (limits.length > 0) policy.push({ name: 'limits', text: limits.join(', '), setBy: refOf(policyOrigin) })
  if (outlierDetection !== null)
    policy.push({ name: 'outlier detection', text: detectionText(outlierDetection), setBy: refOf(policyOrigin) })
  return policy
}

/** Of an attempt that met a limit: which it can have been. */
export function overflowText(cluster: Cluster | null): string {
  const limits = cluster === null ? [] : limitTexts(cluster).filter((text) => /^http\d/.test(text))
  return limits.length === 0 ? '' : ` of ${limits.join(' or ')}`
}

/** As connectionPool names them. */
function limitTexts({ limits }: Cluster): string[] {
  const { maxConnections, maxPendingRequests, maxRequests, maxRetries, maxRequestsPerConnection, retryBudget } = limits
  const numbers: [name: string, limit: number][] = [
    ['maxConnections', maxConnections],
    ['http1MaxPendingRequests', maxPendingRequests],
    ['http2MaxRequests', maxRequests],
    ['maxRetries', retryBudget === null ? maxRetries : 0],
    ['maxRequestsPerConnection', maxRequestsPerConnection],
  ]
  const texts = numbers.flatMap(([name, limit]) => (limit === 0 ? [] : [`${name} ${limit}`]))
  if (retryBudget !== null) texts.push(`retryBudget ${retryBudget.percent} %, at least ${retryBudget.minConcurrency}`)
  return texts
}

function detectionText(detection: OutlierDetection): string {
  const { consecutive5xx, consecutiveGateway, consecutiveLocalOrigin, splitLocalOrigin } = detection
  const runs: [count: number, what: string][] = [
    [consecutive5xx, detection.errorStatuses.length === 0 ? '5xx' : 'errors'],
    [consecutiveGateway, 'gateway errors'],
    [splitLocalOrigin ? consecutiveLocalOrigin : 0, 'local failures'],
  ]
  const texts = runs.flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what} in a row`]))
  if (detection.successRate !== null) texts.push('success rate')
  if (detection.failurePercentage !== null) texts.push(`${detection.failurePercentage.threshold} % of failures`)
  const by = texts.length === 0 ? 'nothing ejects' : texts.join(' or ')
  return `${by}, for ${durationText(detection.baseEjectionMs)} at first, at most ${detection.maxEjectionPercent} % of the endpoints`
}
