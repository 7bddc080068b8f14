// Properties run for a time, not for a number of cases. What failed is run again with the seed that was printed.
import fc from 'fast-check'
import type { Test } from 'tap'

/** Milliseconds for one property: HEDDLE_FUZZ_MS, 1500. */
const BUDGET_MS = Number(process.env['HEDDLE_FUZZ_MS'] ?? 1500)

/** Checks a property until its time is over. HEDDLE_FUZZ_SEED repeats a run. One assertion, which carries the shrunk counterexample. */
export function holds<T>(t: Test, what: string, property: fc.IProperty<T>): void {
  const seed = Number(process.env['HEDDLE_FUZZ_SEED'] ?? Math.floor(Math.random() * 0x7fffffff))
  const found = fc.check(property, { seed, numRuns: 1e9, interruptAfterTimeLimit: BUDGET_MS, markInterruptAsFailure: false })
  t.comment(`${what}: ${found.numRuns} runs, HEDDLE_FUZZ_SEED=${seed}`)
  if (found.failed) t.fail(`${what}; seed ${seed}; ${fc.defaultReportMessage(found)}`)
  else t.ok(found.numRuns > 0, what)
}

/** Cuts a text at places that are drawn with it. */
export function cut(text: string, places: readonly number[]): readonly string[] {
  const ends = [...new Set(places.map((p) => p % (text.length + 1)))].sort((a, b) => a - b)
  return [...ends, text.length].map((end, i) => text.slice(i === 0 ? 0 : (ends[i - 1] as number), end)).filter((p) => p !== '')
}
