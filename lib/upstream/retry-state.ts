// Hot lane: a request's right to further attempts. Made only for routes whose policy allows any.
import type { Rng } from '../base/rng.ts'
import type { Host } from '../cluster/lb/host.ts'
import { BREAKER_FULL, BUDGET_FULL, HELD_BACK, UNSAFE, USED_UP } from '../decide/retry-steps.ts'
import type { Limiter } from '../pool/limiter.ts'
import type { RetryPolicy } from '../state/route.ts'
import { type CompiledRetryPolicy, compiledRetryPolicy } from './retry-policy.ts'

/** `claim` says yes; its other answers are reasons of decide/retry-steps.ts. */
export const RETRY = 0

/** Envoy previous_priorities, as Istio configures it: priorities to avoid are found anew with every second attempt. */
const PRIORITY_UPDATE_ATTEMPTS = 2

export class RetryState {
  readonly policy: RetryPolicy
  readonly on: CompiledRetryPolicy
  private readonly limiter: Limiter
  private readonly rng: Rng
  private remaining: number
  /** Retries begun. */
  retries: number
  /** Ms until the retry that `claim` allowed last. */
  delayMs: number
  /** Hosts of attempts that failed, in their order; null before the first. */
  tried: Host[] | null
  /** Priorities that the next pick is to avoid, a bit each. */
  avoidPriorities: number
  private holding: boolean

  constructor(policy: RetryPolicy, limiter: Limiter, rng: Rng) {
    this.policy = policy
    this.on = compiledRetryPolicy(policy)
    this.limiter = limiter
    this.rng = rng
    this.remaining = policy.attempts
    this.retries = 0
    this.delayMs = 0
    this.tried = null
    this.avoidPriorities = 0
    this.holding = false
  }

  /**
   * Asked when an outcome is one that the policy repeats; `safety` is that of retry-safety.ts. RETRY holds a place among the cluster's retries until
   * `settle`. What is held back uses up nothing.
   */
  claim(safety: number): number {
    this.settle()
    if (this.remaining === 0) return USED_UP
    if (safety === UNSAFE) return HELD_BACK
    this.remaining--
    if (!this.limiter.takeRetry()) return this.limiter.hasRetryBudget ? BUDGET_FULL : BREAKER_FULL
    this.holding = true
    this.retries++
    this.delayMs = this.backoffMs()
    return RETRY
  }

  /** The attempt to this host is to be repeated. */
  noteTried(host: Host): void {
    this.tried ??= []
    this.tried.push(host)
    if (!this.policy.remoteLocalities || this.tried.length % PRIORITY_UPDATE_ATTEMPTS !== 0) return
    // A shift takes its count modulo 32: levels beyond are never avoided, and nobody has so many.
    for (const { endpoint } of this.tried) if (endpoint.priority < 31) this.avoidPriorities |= 1 << endpoint.priority
  }

  /** Uniform below base · 2ⁿ⁻¹, at most the policy's maximum (Envoy retry back-off). */
  private backoffMs(): number {
    const { baseIntervalMs, maxIntervalMs } = this.policy
    const bound = Math.min(baseIntervalMs * 2 ** Math.min(this.retries - 1, 30), maxIntervalMs)
    return bound < 1 ? 0 : Math.floor((this.rng.uint32() / 0x1_0000_0000) * bound)
  }

  /** The attempt that held a place is over: true when there was one. */
  settle(): boolean {
    if (!this.holding) return false
    this.holding = false
    this.limiter.giveRetry()
    return true
  }
}
