// How long to wait before the next try.
import type { Rng } from './rng.ts'

export interface BackoffTerms {
  /** Before the second try. */
  readonly initialMs: number
  /** The longest wait, jitter included. */
  readonly maxMs: number
  /** Each wait is so many times the one before. */
  readonly factor: number
  /** Part of a wait by which it may be shorter or longer, 0 … 1: many clients of one server do not come back at once. */
  readonly jitter: number
}

/** Exponential back-off. One for each thing that is tried; chance is the caller's. */
export class Backoff {
  readonly #terms: BackoffTerms
  readonly #rng: Rng
  #failures: number

  constructor(terms: BackoffTerms, rng: Rng) {
    this.#terms = terms
    this.#rng = rng
    this.#failures = 0
  }

  /** Tries that have failed since the last success. */
  get failures(): number {
    return this.#failures
  }

  /** A try failed: milliseconds to wait before the next, a whole number. */
  nextMs(): number {
    const { initialMs, maxMs, factor, jitter } = this.#terms
    // The exponent is cut where the number would become infinite.
    const base = Math.min(maxMs, initialMs * factor ** Math.min(this.#failures, 64))
    this.#failures++
    const spread = 1 + jitter * ((this.#rng.uint32() / 0xffffffff) * 2 - 1)
    return Math.round(Math.min(maxMs, base * spread))
  }

  /** A try succeeded. */
  reset(): void {
    this.#failures = 0
  }
}
