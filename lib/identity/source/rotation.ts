// When a certificate is renewed, and when it is tried again after a failure. Pure: time and chance are arguments.

export interface RotationSettings {
  /** The part of the life that is left when the renewal begins: 0.5 (Istio SECRET_GRACE_PERIOD_RATIO). */
  readonly graceRatio: number
  /** `graceRatio` is moved by up to this, up or down: 0.01 (Istio SECRET_GRACE_PERIOD_RATIO_JITTER). */
  readonly jitter: number
}

/** However short a certificate lives: a CA is not asked without pause. */
const SHORTEST_MS = 500
/** ztunnel: 500 ms, doubled, up to 150 s. */
const FIRST_RETRY_MS = 500
const LONGEST_RETRY_MS = 150_000
const RETRY_JITTER = 0.2

/** Epoch milliseconds. The life is counted from the moment at which we got the certificate: its notBefore lies before. `draw`: 0 to 1. */
export function renewalAtMs(obtainedAtMs: number, notAfterMs: number, settings: RotationSettings, draw: number): number {
  const ratio = Math.min(1, Math.max(0, settings.graceRatio + (2 * draw - 1) * settings.jitter))
  const lifeMs = Math.max(0, notAfterMs - obtainedAtMs)
  return Math.max(obtainedAtMs + SHORTEST_MS, notAfterMs - lifeMs * ratio)
}

/**
 * Milliseconds to wait after the `failures`th failure in a row (1 is the first). Never beyond the end of the certificate in use, so that
 * there is one more try before it; `notAfterMs` 0: none is in use.
 */
export function retryDelayMs(failures: number, notAfterMs: number, nowMs: number, draw: number): number {
  const base = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20))
  const delay = base * (1 + (2 * draw - 1) * RETRY_JITTER)
  const leftMs = notAfterMs - nowMs
  return leftMs > 0 ? Math.min(delay, Math.max(SHORTEST_MS, leftMs - SHORTEST_MS)) : delay
}
