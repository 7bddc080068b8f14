// Hot lane: whether an attempt may be repeated without doing twice what was asked for once. Pure. A policy says which outcomes its author wants
// repeated; only what is known of the attempt says whether that is safe. Nothing here knows how likely a failure is to have come early: what is not
// proven counts as done.

import { SAFE_BY_KEY, SAFE_BY_METHOD, SAFE_BY_ROUTE, SAFE_REFUSED, SAFE_UNSENT, UNSAFE } from '../decide/retry-steps.ts'
import { RESET_GOAWAY, RESET_REFUSED_STREAM } from '../pool/exchange.ts'
import type { RetryPolicy } from '../state/route.ts'

/** RFC 9110 §9.2.2. Method names are case-sensitive. */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case 'GET':
    case 'HEAD':
    case 'OPTIONS':
    case 'TRACE':
    case 'PUT':
    case 'DELETE':
      return true
    default:
      return false
  }
}

/**
 * Why another attempt is safe, or UNSAFE. `reset` is that of pool/exchange.ts, RESET_NONE when there was a response; `written`: a byte of the request
 * may have left, as it has whenever there was a response; `keyed`: the request has an Idempotency-Key.
 */
export function safetyOf(policy: RetryPolicy, method: string, keyed: boolean, reset: number, written: boolean): number {
  if (!written) return SAFE_UNSENT
  if (reset === RESET_REFUSED_STREAM || reset === RESET_GOAWAY) return SAFE_REFUSED
  if (isIdempotent(method)) return SAFE_BY_METHOD
  if (keyed) return SAFE_BY_KEY
  return policy.unsafe === 'allowed' ? SAFE_BY_ROUTE : UNSAFE
}
