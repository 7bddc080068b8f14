// Shares of requests (envoy.type.v3.FractionalPercent) in percent.
import type { RequestShare } from '../../state/route.ts'
import type { FractionalPercent, RuntimeFractionalPercent } from '../proto/core.ts'

const PER_PERCENT: Readonly<Record<string, number>> = { HUNDRED: 1, TEN_THOUSAND: 100, MILLION: 10_000 }

/** 0–100; absent is 0. */
export function percentOf(fraction: FractionalPercent | null): number {
  if (fraction === null) return 0
  return Math.min(100, fraction.numerator / (PER_PERCENT[fraction.denominator] ?? 1))
}

/** There is no runtime that could say otherwise than the default. Absent is 100. */
export function runtimePercentOf(fraction: RuntimeFractionalPercent | null): number {
  return fraction === null ? 100 : percentOf(fraction.default_value)
}

/** null: all. Absent: none (envoy.type.v3.FractionalPercent has 0 where nothing is said). */
export function shareOf(fraction: FractionalPercent | null): RequestShare | null {
  const of = 100 * (PER_PERCENT[fraction?.denominator ?? 'HUNDRED'] ?? 1)
  const part = fraction?.numerator ?? 0
  return part >= of ? null : { part, of }
}
