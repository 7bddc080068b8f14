import { BUILT_IN } from '../../../lib/state/origin.ts'
import type { RetryPolicy } from '../../../lib/state/route.ts'

/** Two retries of nothing, held back where unsafe; `more` says what it is about. */
export function retryPolicy(more: Partial<RetryPolicy>): RetryPolicy {
  return {
    on: [],
    statusCodes: [],
    attempts: 2,
    perTryTimeoutMs: 0,
    baseIntervalMs: 25,
    maxIntervalMs: 250,
    hostSelectionAttempts: 5,
    avoidPreviousHosts: true,
    remoteLocalities: false,
    responseHeaders: [],
    unsafe: 'held-back',
    origin: BUILT_IN,
    ...more,
  }
}
