// HTTPRetry to RetryPolicy, and the policies that hold where nobody wrote one (Istio HTTPRetry).
import type { MeshSettings } from '../../state/bootstrap-config.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { RetryPolicy } from '../../state/route.ts'
import { durationMs } from '../schema/fields.ts'
import type { RetriesSpec } from '../schema/virtual-service.ts'
import { allowsUnsafeRetries } from '../validate/unsafe-retries.ts'
import type { HttpRule } from './rules.ts'
import type { World } from './world.ts'

const DEFAULT_ON = ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'] as const
const BASE_INTERVAL_MS = 25
/** Envoy caps the back-off at ten times its base. */
const MAX_INTERVAL_FACTOR = 10
const HOST_SELECTION_ATTEMPTS = 5

/** Istio's, for every outbound route without `retries`. The list of codes is empty: only a request's own header can fill it. */
const DEFAULT_RETRY: RetryPolicy = {
  on: DEFAULT_ON,
  statusCodes: [],
  attempts: 2,
  perTryTimeoutMs: 0,
  baseIntervalMs: BASE_INTERVAL_MS,
  maxIntervalMs: BASE_INTERVAL_MS * MAX_INTERVAL_FACTOR,
  hostSelectionAttempts: HOST_SELECTION_ATTEMPTS,
  avoidPreviousHosts: true,
  remoteLocalities: false,
  responseHeaders: [],
  unsafe: 'held-back',
  origin: BUILT_IN,
}

type DefaultRetry = (unsafe: RetryPolicy['unsafe'], hashed?: boolean) => RetryPolicy | null

/**
 * The policy of routes without `retries`; null: none. One object for all routes, so that what is worked out from it is worked out once. `hashed`: the
 * destination balances by a hash, which leads to the same endpoint again.
 */
export function defaultRetries(mesh: MeshSettings): DefaultRetry {
  if (mesh.defaultRetryAttempts === 0) return () => null
  const terms = { attempts: mesh.defaultRetryAttempts, ...parseRetryOn(mesh.defaultRetryOn) }
  const heldBack: RetryPolicy = { ...DEFAULT_RETRY, ...terms }
  const allowed: RetryPolicy = { ...heldBack, unsafe: 'allowed' }
  const hashedHeldBack: RetryPolicy = { ...heldBack, avoidPreviousHosts: false }
  const hashedAllowed: RetryPolicy = { ...allowed, avoidPreviousHosts: false }
  return (unsafe, hashed = false) => {
    if (hashed) return unsafe === 'allowed' ? hashedAllowed : hashedHeldBack
    return unsafe === 'allowed' ? allowed : heldBack
  }
}

/** Nobody wrote its retryOn. */
export function hasDefaultWords(policy: RetryPolicy): boolean {
  return policy.on === DEFAULT_ON
}

/** From the proxy to its own application: only what was not written, which is safe always. */
export const INBOUND_RETRY: RetryPolicy = {
  ...DEFAULT_RETRY,
  on: ['reset-before-request'],
  hostSelectionAttempts: 0,
  avoidPreviousHosts: false,
}

/** null: switched off. A written block replaces the default whole; only an unset retryOn falls back to the default's words. */
export function compileRetries(
  retries: RetriesSpec,
  unsafe: RetryPolicy['unsafe'],
  hashed: boolean,
  origin: Origin,
): RetryPolicy | null {
  const attempts = retries.attempts ?? 0
  if (attempts <= 0) return null
  const { on, statusCodes } = parseRetryOn(retries.retryOn ?? '')
  const baseIntervalMs = retries.backoff === undefined ? BASE_INTERVAL_MS : durationMs(retries.backoff)
  return {
    on,
    statusCodes,
    attempts,
    perTryTimeoutMs: retries.perTryTimeout === undefined ? 0 : durationMs(retries.perTryTimeout),
    baseIntervalMs,
    maxIntervalMs: baseIntervalMs * MAX_INTERVAL_FACTOR,
    hostSelectionAttempts: HOST_SELECTION_ATTEMPTS,
    avoidPreviousHosts: retries.retryIgnorePreviousHosts ?? !hashed,
    remoteLocalities: retries.retryRemoteLocalities === true,
    responseHeaders: [],
    unsafe,
    origin,
  }
}

/**
 * With `retries: exact` everything is allowed. Otherwise what the VirtualService says whose rule has the retries: the delegate, or the root where the
 * delegate leaves them open. A rule without retries speaks for itself.
 */
export function unsafeRetries(world: World, rule: HttpRule): RetryPolicy['unsafe'] {
  if (world.bootstrap.retries === 'exact') return 'allowed'
  const own = rule.actionObject.spec.http?.[rule.actionPath[1] as number]
  const inherited = own?.retries === undefined && rule.spec.retries !== undefined
  const object = inherited ? rule.root : rule.actionObject
  const name = inherited ? rule.root.spec.http?.[rule.path[1] as number]?.name : own?.name
  return allowsUnsafeRetries(object.annotations, name ?? '') ? 'allowed' : 'held-back'
}

function parseRetryOn(text: string): { on: readonly string[]; statusCodes: readonly number[] } {
  const words = text
    .split(',')
    .map((w) => w.trim())
    .filter((w) => w !== '')
  if (words.length === 0) return { on: DEFAULT_ON, statusCodes: [] }
  const statusCodes = words.filter((w) => /^\d+$/.test(w)).map(Number)
  const on = new Set(words.filter((w) => !/^\d+$/.test(w)))
  if (statusCodes.length > 0) on.add('retriable-status-codes')
  return { on: [...on], statusCodes }
}
