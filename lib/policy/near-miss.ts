// Of ALLOW policies of which none let a connection in: the rule that came nearest, and what it would have needed. Made when
// somebody asks, since a flood of refused connections must not cost more than the refusals.
import type { AttributeKind, Authorization, AuthorizationMatch, AuthorizationRule } from '../state/authorization.ts'
import { type CompiledPolicy, clauseFits, type WorkloadPolicies } from './l4-authorizer.ts'
import { attributesOf, type L4Connection, type L4Match } from './l4-match.ts'

export interface NearMiss {
  readonly policy: Authorization
  /** null: the policy has no rule, and allows nothing. */
  readonly rule: AuthorizationRule | null
  /** One for each clause that did not fit: the match of it that lacked least, and what it lacked. */
  readonly missing: readonly MissedClause[]
}

export interface MissedClause {
  readonly match: AuthorizationMatch
  /** Empty: the match says nothing, and fits nothing. */
  readonly attributes: readonly AttributeKind[]
}

interface Missed {
  readonly match: L4Match
  readonly failures: number
}

/** The fewest clauses, then the fewest attributes; of equals the first. null: there are no ALLOW policies, or one fits. */
export function nearestMiss(policies: WorkloadPolicies, c: L4Connection): NearMiss | null {
  let best: NearMiss | null = null
  let bestScore = Number.POSITIVE_INFINITY
  for (const p of policies.allow) {
    for (const found of missesOf(p, c)) {
      if (found.missed.length === 0 && found.rule !== null) return null
      const score = scoreOf(found.rule, found.missed)
      if (score >= bestScore) continue
      bestScore = score
      best = { policy: p.policy, rule: found.rule, missing: found.missed.map(toMissedClause) }
    }
  }
  return best
}

function missesOf(p: CompiledPolicy, c: L4Connection): { rule: AuthorizationRule | null; missed: Missed[] }[] {
  if (p.rules.length === 0) return [{ rule: null, missed: [] }]
  return p.rules.map(({ rule, clauses }) => ({
    rule,
    missed: clauses.filter((clause) => !clauseFits(clause, c)).map((clause) => nearestMatch(clause, c)),
  }))
}

function nearestMatch(clause: readonly L4Match[], c: L4Connection): Missed {
  const all = clause.map((match) => ({ match, failures: match.failures(c) }))
  return all.reduce((a, b) => (weight(b) < weight(a) ? b : a))
}

/** A match without attributes can be met by nobody: any other is nearer. */
function weight({ failures }: Missed): number {
  return attributesOf(failures).length || 100
}

function scoreOf(rule: AuthorizationRule | null, missed: readonly Missed[]): number {
  if (rule === null) return 1_000_000
  return missed.reduce((sum, m) => sum + weight(m), missed.length * 1000)
}

function toMissedClause({ match, failures }: Missed): MissedClause {
  return { match: match.match, attributes: attributesOf(failures) }
}
