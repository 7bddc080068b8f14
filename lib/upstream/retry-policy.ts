// Hot lane: which outcomes of an attempt a route's policy repeats (Istio HTTPRetry and Envoy retry state). Pure; whether there is another try left is
// retry-state.ts.

import { RESET_CONNECT_FAILURE, RESET_CONNECT_TIMEOUT, RESET_OVERFLOW } from '../pool/exchange.ts'
import type { RetryPolicy } from '../state/route.ts'

const ON_5XX = 1
const ON_GATEWAY_ERROR = 2
const ON_RESET = 4
const ON_RESET_BEFORE_REQUEST = 8
const ON_CONNECT_FAILURE = 16
const ON_RETRIABLE_4XX = 32
const ON_STATUS_CODES = 64
const ON_RATELIMITED = 128
const ON_CANCELLED = 256
const ON_DEADLINE_EXCEEDED = 512
const ON_INTERNAL = 1024
const ON_RESOURCE_EXHAUSTED = 2048
const ON_UNAVAILABLE = 4096
const ON_REFUSED_STREAM = 8192

const BITS: Readonly<Record<string, number>> = {
  '5xx': ON_5XX,
  'gateway-error': ON_GATEWAY_ERROR,
  reset: ON_RESET,
  'reset-before-request': ON_RESET_BEFORE_REQUEST,
  'connect-failure': ON_CONNECT_FAILURE,
  'retriable-4xx': ON_RETRIABLE_4XX,
  'retriable-status-codes': ON_STATUS_CODES,
  'envoy-ratelimited': ON_RATELIMITED,
  cancelled: ON_CANCELLED,
  'deadline-exceeded': ON_DEADLINE_EXCEEDED,
  internal: ON_INTERNAL,
  'resource-exhausted': ON_RESOURCE_EXHAUSTED,
  unavailable: ON_UNAVAILABLE,
  'refused-stream': ON_REFUSED_STREAM,
}

const compiled = new WeakMap<RetryPolicy, number>()

/** The keywords of a policy as bits, worked out once for each policy object of a snapshot. */
export function retryBits(policy: RetryPolicy): number {
  const known = compiled.get(policy)
  if (known !== undefined) return known
  let bits = 0
  for (const word of policy.on) bits |= BITS[word] ?? 0
  if (policy.statusCodes.length > 0) bits |= ON_STATUS_CODES
  compiled.set(policy, bits)
  return bits
}

/** `grpcStatus` is that of the response headers, -1 for none. */
export function repeatsResponse(
  policy: RetryPolicy,
  bits: number,
  status: number,
  rateLimited: boolean,
  grpcStatus: number,
): boolean {
  if (rateLimited) return (bits & ON_RATELIMITED) !== 0
  if (bits & ON_5XX && status >= 500 && status < 600) return true
  if (bits & ON_GATEWAY_ERROR && status >= 502 && status <= 504) return true
  if (bits & ON_RETRIABLE_4XX && status === 409) return true
  if (bits & ON_STATUS_CODES && policy.statusCodes.includes(status)) return true
  switch (grpcStatus) {
    case 1:
      return (bits & ON_CANCELLED) !== 0
    case 4:
      return (bits & ON_DEADLINE_EXCEEDED) !== 0
    case 8:
      return (bits & ON_RESOURCE_EXHAUSTED) !== 0
    case 13:
      return (bits & ON_INTERNAL) !== 0
    case 14:
      return (bits & ON_UNAVAILABLE) !== 0
    default:
      return false
  }
}

/** `written`: bytes of the request had gone to the upstream. A per-try timeout is a reset too. */
export function repeatsReset(bits: number, reason: number, written: boolean): boolean {
  if (reason === RESET_OVERFLOW) return false
  if (bits & (ON_5XX | ON_GATEWAY_ERROR | ON_RESET)) return true
  if (bits & ON_CONNECT_FAILURE && (reason === RESET_CONNECT_FAILURE || reason === RESET_CONNECT_TIMEOUT)) return true
  return (bits & ON_RESET_BEFORE_REQUEST) !== 0 && !written
}
