// Hot lane: a request's right to further attempts. Made only for routes whose policy allows any.
import type { Rng } from '../base/rng.ts'
import { type Limiter, RETRIES } from '../pool/limiter.ts'
import type { RetryPolicy } from '../state/route.ts'
import { retryBits } from './retry-policy.ts'

// Answers of `claim`.
export const RETRY = 0
/** No attempt left: URX, the last outcome stands. */
export const EXHAUSTED = 1
/** The retry circuit breaker is full: UO, the last outcome stands. */
export const BREAKER_FULL = 2

export class RetryState {
  readonly policy: RetryPolicy
  readonly bits: number
  private readonly limiter: Limiter
  private readonly rng: Rng
  private remaining: number
  /** Retries begun. */
  retries: number
  private holding: boolean

  constructor(policy: RetryPolicy, limiter: Limiter, rng: Rng) {
    this.policy = policy
    this.bits = retryBits(policy)
    this.limiter = limiter
    this.rng = rng
    this.remaining = policy.attempts
    this.retries = 0
    this.holding = false
  }

  /** Asked when an outcome is one that the policy repeats. RETRY holds a place of the retry breaker until `settle`. */
  claim(): number {
    this.settle()
    if (this.remaining === 0) return EXHAUSTED
    this.remaining--
    if (!this.limiter.take(RETRIES)) return BREAKER_FULL
    this.holding = true
    this.retries++
    return RETRY
  }

  /** Ms before the next attempt: uniform below base · 2ⁿ⁻¹, at most the policy's maximum (Envoy retry back-off). */
  backoffMs(): number {
    const { baseIntervalMs, maxIntervalMs } = this.policy
    const bound = Math.min(baseIntervalMs * 2 ** Math.min(this.retries - 1, 30), maxIntervalMs)
    return bound < 1 ? 0 : Math.floor((this.rng.uint32() / 0x1_0000_0000) * bound)
  }

  /** The attempt that held a place is over. */
  settle(): void {
    if (!this.holding) return
    this.holding = false
    this.limiter.give(RETRIES)
  }
}
