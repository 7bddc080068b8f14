// The timers and the retry policy in force for a route, and who set them.
import type { Cluster } from '../state/cluster.ts'
import { BUILT_IN } from '../state/origin.ts'
import type { ForwardAction } from '../state/route.ts'
import { type ExplainedRetry, type ExplainedTimer, type ObjectRef, refOf } from './explanation.ts'

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
