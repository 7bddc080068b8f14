// Hot lane: which outcomes of an attempt a route's policy repeats (Istio HTTPRetry and Envoy retry state). Pure; whether that is safe is
// retry-safety.ts, and whether there is another try left retry-state.ts.

import {
  RESET_CONNECT_FAILURE,
  RESET_CONNECT_TIMEOUT,
  RESET_GOAWAY,
  RESET_OVERFLOW,
  RESET_REFUSED_STREAM,
} from '../pool/exchange.ts'
import { CompiledHeader } from '../route/conditions.ts'
import type { HeaderView } from '../route/request-view.ts'
import { RETRY_KEYWORDS } from '../state/retry-keywords.ts'
import type { RetryPolicy } from '../state/route.ts'

/** No word of the policy asks for it. */
export const NO_KEYWORD = -1

const number = (keyword: string): number => RETRY_KEYWORDS.indexOf(keyword)

const K_5XX = number('5xx')
const K_GATEWAY_ERROR = number('gateway-error')
const K_RESET = number('reset')
const K_RESET_BEFORE_REQUEST = number('reset-before-request')
const K_CONNECT_FAILURE = number('connect-failure')
const K_RATELIMITED = number('envoy-ratelimited')
const K_RETRIABLE_4XX = number('retriable-4xx')
const K_REFUSED_STREAM = number('refused-stream')
const K_STATUS_CODES = number('retriable-status-codes')
const K_HEADERS = number('retriable-headers')
/** By grpc-status; the others are never repeated. */
const GRPC_KEYWORDS: Readonly<Record<number, number>> = {
  1: number('cancelled'),
  4: number('deadline-exceeded'),
  8: number('resource-exhausted'),
  13: number('internal'),
  14: number('unavailable'),
}
const GRPC_BITS = Object.values(GRPC_KEYWORDS).reduce((bits, k) => bits | (1 << k), 0)

/** A policy made ready for outcomes. */
export class CompiledRetryPolicy {
  readonly policy: RetryPolicy
  /** A bit for each keyword, by its place in RETRY_KEYWORDS. */
  readonly bits: number
  readonly headers: readonly CompiledHeader[]

  constructor(policy: RetryPolicy) {
    let bits = policy.statusCodes.length > 0 ? 1 << K_STATUS_CODES : 0
    for (const word of policy.on) {
      const k = number(word)
      if (k >= 0) bits |= 1 << k
    }
    this.policy = policy
    this.bits = bits
    this.headers = policy.responseHeaders.map((h) => new CompiledHeader(h))
  }

  has(keyword: number): boolean {
    return (this.bits & (1 << keyword)) !== 0
  }

  /** grpc-status of response headers matters, whatever the request was. */
  get readsGrpcStatus(): boolean {
    return (this.bits & GRPC_BITS) !== 0
  }
}

const compiled = new WeakMap<RetryPolicy, CompiledRetryPolicy>()

/** Worked out once for each policy object of a snapshot. */
export function compiledRetryPolicy(policy: RetryPolicy): CompiledRetryPolicy {
  let known = compiled.get(policy)
  if (known === undefined) {
    known = new CompiledRetryPolicy(policy)
    compiled.set(policy, known)
  }
  return known
}

/** The keyword that repeats a response, or NO_KEYWORD. `grpcStatus` is that of its headers, -1 for none. */
export function keywordForResponse(on: CompiledRetryPolicy, status: number, headers: HeaderView, grpcStatus: number): number {
  const found = keywordForAnswer(on, status, headers, grpcStatus)
  if (found === NO_KEYWORD && !on.has(K_RATELIMITED)) return NO_KEYWORD
  // Whatever else asks for it: an answer that says it is rate limited needs its own word.
  if (headers.indexOf('x-envoy-ratelimited', 0) < 0) return found
  return on.has(K_RATELIMITED) ? K_RATELIMITED : NO_KEYWORD
}

function keywordForAnswer(on: CompiledRetryPolicy, status: number, headers: HeaderView, grpcStatus: number): number {
  if (on.has(K_5XX) && status >= 500 && status < 600) return K_5XX
  if (on.has(K_GATEWAY_ERROR) && status >= 502 && status <= 504) return K_GATEWAY_ERROR
  if (on.has(K_RETRIABLE_4XX) && status === 409) return K_RETRIABLE_4XX
  if (on.has(K_STATUS_CODES) && on.policy.statusCodes.includes(status)) return K_STATUS_CODES
  if (on.has(K_HEADERS) && anyHolds(on.headers, headers)) return K_HEADERS
  const grpc = grpcStatus < 0 ? undefined : GRPC_KEYWORDS[grpcStatus]
  return grpc !== undefined && on.has(grpc) ? grpc : NO_KEYWORD
}

function anyHolds(conditions: readonly CompiledHeader[], headers: HeaderView): boolean {
  for (let i = 0; i < conditions.length; i++) if ((conditions[i] as CompiledHeader).headerHolds(headers)) return true
  return false
}

/**
 * The keyword that repeats an attempt without a response, or NO_KEYWORD. `written`: bytes of the request may have gone to the upstream. A per-try
 * timeout is a local reset.
 */
export function keywordForReset(on: CompiledRetryPolicy, reason: number, written: boolean): number {
  if (reason === RESET_OVERFLOW) return NO_KEYWORD
  const connect = reason === RESET_CONNECT_FAILURE || reason === RESET_CONNECT_TIMEOUT
  if (connect && on.has(K_CONNECT_FAILURE)) return K_CONNECT_FAILURE
  if (!written && on.has(K_RESET_BEFORE_REQUEST)) return K_RESET_BEFORE_REQUEST
  if (on.has(K_RESET)) return K_RESET
  if (on.has(K_5XX)) return K_5XX
  if (on.has(K_GATEWAY_ERROR)) return K_GATEWAY_ERROR
  const refused = reason === RESET_REFUSED_STREAM || reason === RESET_GOAWAY
  return refused && on.has(K_REFUSED_STREAM) ? K_REFUSED_STREAM : NO_KEYWORD
}
