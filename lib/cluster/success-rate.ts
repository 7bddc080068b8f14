// Which endpoints fail more than others: judged at a sweep, over the results of one interval (Envoy outlier detection).

export interface Rate {
  /** Results in the interval. */
  readonly volume: number
  /** Percent, 0–100. */
  readonly success: number
}

export interface SuccessRateJudgement {
  readonly mean: number
  /** Of the population. */
  readonly stdev: number
  /** Below it an endpoint is an outlier. */
  readonly threshold: number
}

/** Percent of good results; null: there were none. */
export function rateOf(results: number, successes: number): Rate | null {
  return results <= 0 ? null : { volume: results, success: (100 * successes) / results }
}

/** null: fewer than `minimumHosts` had `requestVolume` results. */
export function judgeSuccessRates(
  rates: readonly Rate[],
  policy: { readonly minimumHosts: number; readonly requestVolume: number; readonly stdevFactor: number },
): SuccessRateJudgement | null {
  const judged = rates.filter((rate) => rate.volume >= policy.requestVolume)
  if (judged.length === 0 || judged.length < policy.minimumHosts) return null
  const mean = judged.reduce((sum, rate) => sum + rate.success, 0) / judged.length
  const variance = judged.reduce((sum, rate) => sum + (rate.success - mean) ** 2, 0) / judged.length
  const stdev = Math.sqrt(variance)
  return { mean, stdev, threshold: mean - policy.stdevFactor * stdev }
}

/** Whether enough endpoints had enough results for their failures to be judged. */
export function judgesFailures(
  rates: readonly Rate[],
  policy: { readonly minimumHosts: number; readonly requestVolume: number },
): boolean {
  const judged = rates.filter((rate) => rate.volume >= policy.requestVolume).length
  return judged > 0 && judged >= policy.minimumHosts
}
