// Of ALLOW policies of which none let a request pass: the one that came nearest, and what it would have needed. Made when somebody asks, since a flood of
// refused requests must not cost more than the refusals.
import type { RbacMatch, RbacPolicy, RbacRules } from '../state/rbac.ts'
import type { RbacFacts } from './rbac-facts.ts'
import { compileMatch } from './rbac-match.ts'

export interface RbacMiss {
  readonly policy: RbacPolicy
  /** Conditions that do not hold; an `or` of values is one. */
  readonly failed: readonly RbacMatch[]
  /** So many there are. */
  readonly of: number
}

interface Side {
  readonly failed: readonly RbacMatch[]
  readonly of: number
}

/** Who fails at who asks got further than who fails at what is asked for; then the fewest failures, then the most that holds; of equals the first. */
export function nearestPolicy({ policies }: RbacRules, facts: RbacFacts): RbacMiss | null {
  let best: RbacMiss | null = null
  let bestScore = Number.POSITIVE_INFINITY
  for (const policy of policies) {
    const what = nearest(policy.permissions, facts)
    const who = nearest(policy.principals, facts)
    if (what === null || who === null) continue
    const failed = [...what.failed, ...who.failed]
    const of = what.of + who.of
    const score = (what.failed.length > 0 ? 1_000_000 : 0) + failed.length * 1000 - (of - failed.length)
    if (score >= bestScore) continue
    bestScore = score
    best = { policy, failed, of }
  }
  return best
}

/** null: there is no alternative. */
function nearest(alternatives: readonly RbacMatch[], facts: RbacFacts): Side | null {
  const sides = alternatives.map((m) => ({ failed: failuresOf(m, facts), of: conditionsOf(m) }))
  return sides.reduce<Side | null>((a, b) => (a === null || b.failed.length < a.failed.length ? b : a), null)
}

function failuresOf(m: RbacMatch, facts: RbacFacts): readonly RbacMatch[] {
  if (compileMatch(m).holds(facts)) return []
  if (m.kind === 'and') return m.of.flatMap((part) => failuresOf(part, facts))
  if (m.kind !== 'or' || m.of.every(isValue)) return [m]
  const parts = m.of.map((part) => failuresOf(part, facts))
  return parts.reduce((a, b) => (b.length < a.length ? b : a))
}

function conditionsOf(m: RbacMatch): number {
  if (m.kind === 'any') return 0
  return m.kind === 'and' ? m.of.reduce((sum, part) => sum + conditionsOf(part), 0) : 1
}

function isValue({ kind }: RbacMatch): boolean {
  return kind !== 'and' && kind !== 'or' && kind !== 'not'
}
