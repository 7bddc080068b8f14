// What iptables and nft have in common for whoever applies a rule set.
import type { Family, RuleSet } from './rule.ts'

/** What of ours is in a packet filter, compared with a set. */
export interface Inspection {
  /** absent: nothing of ours. same: exactly the set. differs: something else, or more, or only a part. */
  readonly verdict: 'absent' | 'same' | 'differs'
  /** What differs, or with no set what is there; a line each. */
  readonly details: readonly string[]
}

/** All of it throws InterceptionError where a program refuses. */
export interface PacketFilter {
  /** `iptables-nft` */
  readonly name: string
  /** null: nothing is wanted, so the verdict is absent or differs. */
  inspect(set: RuleSet | null): Promise<Inspection>
  /** Nothing of ours may be there. */
  apply(set: RuleSet): Promise<void>
  /** Takes away what is ours and nothing else. */
  clean(): Promise<void>
  /** Drops all packets of these families until `unguard`: while rules are taken away and put back nothing passes uncaptured. */
  guard(families: readonly Family[]): Promise<void>
  unguard(): Promise<void>
}

/** How many lines of a difference are worth showing. */
const SHOWN = 6

export function inspectionOf(found: readonly string[], wanted: readonly string[] | null): Inspection {
  if (found.length === 0 && (wanted === null || wanted.length > 0)) return { verdict: 'absent', details: [] }
  if (wanted === null) return { verdict: 'differs', details: shortened(found.map((line) => `found: ${line}`)) }
  const surplus = without(found, wanted).map((line) => `not wanted: ${line}`)
  const missing = without(wanted, found).map((line) => `missing: ${line}`)
  if (surplus.length + missing.length > 0) return { verdict: 'differs', details: shortened([...surplus, ...missing]) }
  const at = found.findIndex((line, i) => line !== wanted[i])
  return at < 0 ? { verdict: 'same', details: [] } : { verdict: 'differs', details: [`in another order from: ${found[at]}`] }
}

function without(lines: readonly string[], others: readonly string[]): string[] {
  const rest = [...others]
  return lines.filter((line) => {
    const at = rest.indexOf(line)
    if (at >= 0) rest.splice(at, 1)
    return at < 0
  })
}

function shortened(lines: readonly string[]): readonly string[] {
  return lines.length <= SHOWN ? lines : [...lines.slice(0, SHOWN - 1), `and ${lines.length - SHOWN + 1} more`]
}
