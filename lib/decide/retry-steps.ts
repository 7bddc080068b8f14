// What the steps of retries say, as numbers: upstream/ and the router write them, explain-retry.ts reads them.

// Why an attempt may be repeated.
export const UNSAFE = 0
/** Nothing of it was written to the upstream. */
export const SAFE_UNSENT = 1
/** The upstream said that it did nothing with it. */
export const SAFE_REFUSED = 2
/** The method is idempotent. */
export const SAFE_BY_METHOD = 3
/** The request has an Idempotency-Key. */
export const SAFE_BY_KEY = 4
/** Not known to be safe: its route, or `retries: exact`, allows it. */
export const SAFE_BY_ROUTE = 5

// Why a failed attempt was not repeated.
/** No word of retryOn asks for it. */
export const NOT_ASKED_FOR = 1
/** No attempt left. */
export const USED_UP = 2
export const BREAKER_FULL = 3
export const BUDGET_FULL = 4
/** It is not known to be safe. */
export const HELD_BACK = 5
/** The client has got headers, or a 100 Continue. */
export const RESPONSE_BEGUN = 6
/** The body was more than may be kept. */
export const BODY_GONE = 7

/** `a` of a RETRIED step: keyword in the low byte, reason why it is safe above. */
export function retriedStep(keyword: number, safety: number): number {
  return keyword | (safety << 8)
}
