// Whether a connection may reach a workload, by the L4 policies that hold for it (istio.security Authorization): a DENY that
// fits denies; without ALLOW policies everything else may; otherwise one of them must fit. Compiled on change, pure.
import { type Authorization, type AuthorizationRule, policyKey } from '../state/authorization.ts'
import type { Workload } from '../state/workload.ts'
import { type L4Connection, L4Match } from './l4-match.ts'

interface CompiledRule {
  readonly rule: AuthorizationRule
  readonly clauses: readonly (readonly L4Match[])[]
}

export interface CompiledPolicy {
  readonly policy: Authorization
  readonly rules: readonly CompiledRule[]
}

/** Those that hold for one workload, in the order in which they are asked: of its namespace, global, listed by it. */
export interface WorkloadPolicies {
  readonly deny: readonly CompiledPolicy[]
  readonly allow: readonly CompiledPolicy[]
  /** Told only. */
  readonly dryRun: readonly CompiledPolicy[]
  /** Names that the workload lists and nobody has: they do not count. */
  readonly unknown: readonly string[]
}

/** What a policy on trial would have made of the connection. */
export interface DryRun {
  readonly policy: Authorization
  /** null: no rule of it fitted. */
  readonly rule: AuthorizationRule | null
}

export interface L4Verdict {
  readonly allowed: boolean
  /** `denied`: a DENY fitted. `not-allowed`: there are ALLOW policies, and none fitted. `no-allow-policy`: nothing was asked for. */
  readonly reason: 'denied' | 'no-allow-policy' | 'allowed' | 'not-allowed'
  /** The policy and rule that decided; null for `no-allow-policy` and `not-allowed`. */
  readonly policy: Authorization | null
  readonly rule: AuthorizationRule | null
  readonly dryRun: readonly DryRun[]
}

const NO_DRY_RUN: readonly DryRun[] = []

export class L4Authorizer {
  readonly #byKey: Map<string, CompiledPolicy>
  readonly #global: CompiledPolicy[]
  readonly #byNamespace: Map<string, CompiledPolicy[]>
  /** Filled on first use: of many workloads a node has few. */
  readonly #ofWorkloads: WeakMap<Workload, WorkloadPolicies>

  constructor(policies: readonly Authorization[]) {
    this.#byKey = new Map()
    this.#global = []
    this.#byNamespace = new Map()
    this.#ofWorkloads = new WeakMap()
    for (const policy of policies) this.#add(compilePolicy(policy))
  }

  policiesOf(workload: Workload): WorkloadPolicies {
    const known = this.#ofWorkloads.get(workload)
    if (known !== undefined) return known
    const found = this.#select(workload)
    this.#ofWorkloads.set(workload, found)
    return found
  }

  /** Asked when a connection comes, and again for those that are open when policies change. */
  check(workload: Workload, c: L4Connection): L4Verdict {
    const { deny, allow, dryRun } = this.policiesOf(workload)
    const tried = dryRun.length === 0 ? NO_DRY_RUN : dryRun.map((p) => ({ policy: p.policy, rule: fittingRule(p, c) }))
    for (const p of deny) {
      const rule = fittingRule(p, c)
      if (rule !== null) return { allowed: false, reason: 'denied', policy: p.policy, rule, dryRun: tried }
    }
    if (allow.length === 0) return { allowed: true, reason: 'no-allow-policy', policy: null, rule: null, dryRun: tried }
    for (const p of allow) {
      const rule = fittingRule(p, c)
      if (rule !== null) return { allowed: true, reason: 'allowed', policy: p.policy, rule, dryRun: tried }
    }
    return { allowed: false, reason: 'not-allowed', policy: null, rule: null, dryRun: tried }
  }

  #add(compiled: CompiledPolicy): void {
    const { policy } = compiled
    this.#byKey.set(policyKey(policy), compiled)
    if (policy.scope === 'GLOBAL') this.#global.push(compiled)
    else if (policy.scope === 'NAMESPACE') {
      const list = this.#byNamespace.get(policy.namespace)
      if (list === undefined) this.#byNamespace.set(policy.namespace, [compiled])
      else list.push(compiled)
    }
  }

  #select(workload: Workload): WorkloadPolicies {
    const listed = workload.authorizationPolicies.map((name) => [name, this.#byKey.get(name)] as const)
    const all = new Set([...(this.#byNamespace.get(workload.namespace) ?? []), ...this.#global])
    for (const [, policy] of listed) if (policy !== undefined) all.add(policy)
    const enforced = [...all].filter((p) => !p.policy.dryRun)
    return {
      deny: enforced.filter((p) => p.policy.action === 'DENY'),
      allow: enforced.filter((p) => p.policy.action === 'ALLOW'),
      dryRun: [...all].filter((p) => p.policy.dryRun),
      unknown: listed.filter(([, policy]) => policy === undefined).map(([name]) => name),
    }
  }
}

/** ztunnel's words for the access log; empty when it is allowed. */
export function rejectionText(v: L4Verdict): string {
  if (v.allowed) return ''
  const why =
    v.policy === null ? 'allow policies exist, but none allowed' : `explicitly denied by: ${v.policy.namespace}/${v.policy.name}`
  return `connection closed due to policy rejection: ${why}`
}

/** Whether policies on trial would have denied what was allowed: a DENY that fits, or ALLOW policies of which none does. */
export function wouldDeny(v: L4Verdict): boolean {
  if (!v.allowed) return false
  const allow = v.dryRun.filter((d) => d.policy.action === 'ALLOW')
  if (v.dryRun.some((d) => d.policy.action === 'DENY' && d.rule !== null)) return true
  return v.reason === 'no-allow-policy' && allow.length > 0 && allow.every((d) => d.rule === null)
}

function compilePolicy(policy: Authorization): CompiledPolicy {
  const rules = policy.rules.map((rule) => ({
    rule,
    clauses: rule.clauses.map((clause) => clause.matches.map((match) => new L4Match(match))),
  }))
  return { policy, rules }
}

/** The first rule of which every clause fits; null: none. */
function fittingRule(p: CompiledPolicy, c: L4Connection): AuthorizationRule | null {
  for (const { rule, clauses } of p.rules) if (allFit(clauses, c)) return rule
  return null
}

function allFit(clauses: readonly (readonly L4Match[])[], c: L4Connection): boolean {
  for (const clause of clauses) if (!clauseFits(clause, c)) return false
  return true
}

export function clauseFits(clause: readonly L4Match[], c: L4Connection): boolean {
  for (const match of clause) if (match.failures(c) === 0) return true
  return clause.length === 0
}
