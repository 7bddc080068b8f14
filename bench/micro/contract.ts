// What a micro-benchmark module offers to the runner in main.ts.
//
// A module lives at bench/micro/<path as in lib>.ts and exports one constant:
//
//   export const benches: readonly Bench[] = [
//     { name: 'route/match: 100 prefixes, last one wins', fn: (iterations) => { … } },
//   ]
//
// Set-up belongs at module level or in a closure around `fn`, never inside it. Inputs are such as occur in life.

/** One measured operation. */
export interface Bench {
  /** `room/subject: the case`; `--only` matches any part of it. */
  readonly name: string
  /**
   * Performs the operation exactly `iterations` times, synchronously.
   * The loop is the module's own so that calling through a function value is not part of what is measured.
   * Each result must feed `keep`, or the compiler may remove the work.
   */
  readonly fn: (iterations: number) => void
}

/** The shape of a micro-benchmark module. */
export interface BenchModule {
  readonly benches: readonly Bench[]
}

let kept: unknown = null

/** Keeps a result alive, so that the work that made it cannot be optimised away. Call once per iteration, or once with a sum. */
export function keep(value: unknown): void {
  kept = value
}

/** What was kept last; reading it is what makes `keep` observable. */
export function lastKept(): unknown {
  return kept
}
