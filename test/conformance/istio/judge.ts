// A recorded outcome against ours, with the differences that are declared.
import type { Test } from 'tap'
import { comparable, countDifferences, differences } from './compare.ts'
import type { Difference } from './differs.ts'
import type { Counts, Outcome } from './recording.ts'

type Judge = Pick<Test, 'pass' | 'fail'>

export function judge(
  t: Judge,
  name: string,
  recorded: Outcome,
  outcome: Outcome,
  ignore: readonly string[],
  differs: readonly Difference[],
  unused: Set<Difference>,
): void {
  const found = comparable(outcome)
  const declared = differs.find((d) => d.cases.test(name))
  if (declared !== undefined) {
    unused.delete(declared)
    if (differences(comparable(recorded), found, ignore).length === 0) {
      t.fail(`${name}: declared to differ, but does not`, { reason: declared.reason })
      return
    }
    if (declared.pending === true) {
      t.pass(name, { todo: declared.reason })
      return
    }
  }
  const wanted = comparable({ ...recorded, ...declared?.instead })
  const differing = differences(wanted, found, [...ignore, ...(declared?.ignore ?? [])])
  if (differing.length === 0 && declared?.also?.(outcome) === false) {
    t.fail(`${name}: not as declared`, { reason: declared.reason, outcome })
  } else if (differing.length === 0) t.pass(name)
  else {
    const first = differing[0] as (typeof differing)[number]
    t.fail(`${name}: ${differing.join(', ')}`, {
      [first]: { recorded: wanted[first], now: found[first] },
      ...Object.fromEntries(differing.slice(1).map((f) => [f, { recorded: wanted[f], now: found[f] }])),
    })
  }
}

export function judgeCounts(
  t: Judge,
  name: string,
  recorded: Counts,
  found: Counts,
  differs: readonly Difference[],
  unused: Set<Difference>,
): void {
  const declared = differs.find((d) => d.cases.test(name))
  if (declared !== undefined) unused.delete(declared)
  const differing = countDifferences({ ...recorded, ...declared?.insteadCounts }, found)
  if (differing.length === 0) t.pass(name)
  else if (declared !== undefined && countDifferences(recorded, found).length === 0) {
    t.fail(`${name}: declared to differ, but does not`, { reason: declared.reason })
  } else t.fail(`${name}: ${differing.join('; ')}`)
}
