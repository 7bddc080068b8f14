// Hot lane: authorization (Envoy's RBAC filters): the filters of a chain, asked for each request or connection. Compiled when configuration
// changes; asking allocates nothing.
import type { RbacFilter, RbacPolicy, RbacRules } from '../state/rbac.ts'
import type { RbacFacts } from './rbac-facts.ts'
import { type CompiledMatch, compileMatch } from './rbac-match.ts'

/**
 * What a set of rules said: an ALLOW has a policy that fits; a DENY has none; refused, by a DENY's policy or by an ALLOW without one that fits; a LOG
 * has a policy that fits, or none. Only refusals of rules that are enforced refuse anything.
 */
export const ALLOWED = 0
export const NOT_DENIED = 1
export const DENIED = 2
export const NOT_ALLOWED = 3
export const LOGGED = 4
export const NOT_LOGGED = 5

/** Hears what each set of rules said, in order. `policy`: index of the one that fitted; -1: none. decide/steps.ts implements it. */
export interface RbacTrace {
  asked(filter: number, shadow: boolean, said: number, policy: number): void
}

/** No policy fits. */
const NONE = -1

class CompiledPolicy {
  readonly config: RbacPolicy
  readonly refusal: string
  private readonly permissions: CompiledMatch
  private readonly principals: CompiledMatch

  constructor(config: RbacPolicy) {
    this.config = config
    this.refusal = refusalDetails(config.name)
    this.permissions = compileMatch({ kind: 'or', of: config.permissions })
    this.principals = compileMatch({ kind: 'or', of: config.principals })
  }

  fits(facts: RbacFacts): boolean {
    return this.permissions.holds(facts) && this.principals.holds(facts)
  }
}

export class CompiledRules {
  readonly config: RbacRules
  private readonly policies: readonly CompiledPolicy[]

  constructor(config: RbacRules) {
    this.config = config
    this.policies = config.policies.map((p) => new CompiledPolicy(p))
  }

  /** Index of the first policy that fits, or -1. */
  fitting(facts: RbacFacts): number {
    const { policies } = this
    for (let i = 0; i < policies.length; i++) if ((policies[i] as CompiledPolicy).fits(facts)) return i
    return NONE
  }

  /** Details of a refusal by the policy that fits, or by none. */
  refusal(fitting: number): string {
    return fitting === NONE ? BY_NONE : (this.policies[fitting] as CompiledPolicy).refusal
  }

  said(fitting: number): number {
    switch (this.config.action) {
      case 'ALLOW':
        return fitting === NONE ? NOT_ALLOWED : ALLOWED
      case 'DENY':
        return fitting === NONE ? NOT_DENIED : DENIED
      case 'LOG':
        return fitting === NONE ? NOT_LOGGED : LOGGED
    }
  }
}

interface CompiledFilter {
  readonly rules: CompiledRules | null
  readonly shadow: CompiledRules | null
}

/** All filters of a chain. */
export class Authorizer {
  readonly config: readonly RbacFilter[]
  /** Of the last refusal: RESPONSE_CODE_DETAILS, or CONNECTION_TERMINATION_DETAILS of TCP. */
  details: string
  /** Some filter has a dry run. */
  readonly hasShadow: boolean
  /** Of the last question: dry runs that would have let it pass, and that would have refused it. */
  shadowAllowed: number
  shadowDenied: number
  private readonly filters: readonly CompiledFilter[]

  constructor(config: readonly RbacFilter[]) {
    this.config = config
    this.details = ''
    this.hasShadow = config.some((f) => f.shadow !== null)
    this.shadowAllowed = 0
    this.shadowDenied = 0
    this.filters = config.map(({ rules, shadow }) => ({ rules: compiled(rules), shadow: compiled(shadow) }))
  }

  /** Whether everybody lets it pass; if not, `details` says who did not. */
  admits(facts: RbacFacts, trace: RbacTrace): boolean {
    const { filters } = this
    this.shadowAllowed = 0
    this.shadowDenied = 0
    for (let i = 0; i < filters.length; i++) {
      const { rules, shadow } = filters[i] as CompiledFilter
      if (shadow !== null) this.rehearse(shadow, facts, trace, i)
      if (rules === null) continue
      const fitting = ask(rules, facts, trace, i, false)
      if (!refuses(rules.said(fitting))) continue
      this.details = rules.refusal(fitting)
      return false
    }
    return true
  }

  private rehearse(shadow: CompiledRules, facts: RbacFacts, trace: RbacTrace, filter: number): void {
    if (refuses(shadow.said(ask(shadow, facts, trace, filter, true)))) this.shadowDenied++
    else this.shadowAllowed++
  }
}

function refuses(said: number): boolean {
  return said === DENIED || said === NOT_ALLOWED
}

function ask(rules: CompiledRules, facts: RbacFacts, trace: RbacTrace, filter: number, shadow: boolean): number {
  const fitting = rules.fitting(facts)
  trace.asked(filter, shadow, rules.said(fitting), fitting)
  return fitting
}

function compiled(rules: RbacRules | null): CompiledRules | null {
  return rules === null ? null : new CompiledRules(rules)
}

/** As Envoy writes it into its access log: without blanks. */
function refusalDetails(policy: string): string {
  return `rbac_access_denied_matched_policy[${policy.replace(/\s/g, '_')}]`
}

const BY_NONE = refusalDetails('none')

/** The chains of a listener have mostly the same filters, and so have those of other listeners. */
const known = new WeakMap<readonly RbacFilter[], Authorizer>()

/** null: everybody may do everything. The same filters give the same authorizer. */
export function authorizerFor(config: readonly RbacFilter[]): Authorizer | null {
  if (config.length === 0) return null
  const found = known.get(config)
  if (found !== undefined) return found
  const made = new Authorizer(config)
  known.set(config, made)
  return made
}
