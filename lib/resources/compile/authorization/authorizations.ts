// AuthorizationPolicies down to the filters of chains, as istiod builds them (pilot/pkg/security/authz/builder), and what came of each object.
import type { RbacFilter, RbacMatch, RbacPolicy, RbacRules } from '../../../state/rbac.ts'
import type { ResourceNote } from '../../../state/snapshot.ts'
import { UNENFORCED } from '../../kinds.ts'
import type { ResourceObject } from '../../resource-object.ts'
import type { RegistryService } from '../registry.ts'
import type { World } from '../world.ts'
import { DRY_RUN, dryRunProblem, isDryRun } from './dry-run.ts'
import { byCertificate, byTunnel } from './principals.ts'
import { compileRule, type RuleSite, ruleName } from './rule.ts'
import { selectPolicies, unusedText } from './selection.ts'
import { tcpNotes } from './tcp-notes.ts'
import { TrustDomains } from './trust-domains.ts'

type PolicyObject = ResourceObject<'AuthorizationPolicy'>
type Action = 'CUSTOM' | 'AUDIT' | 'DENY' | 'ALLOW'

/** In the order of evaluation. */
const ACTIONS: readonly (readonly [action: Action, as: RbacRules['action']])[] = [
  // Who would ask an authorizer cannot do it: whatever it was to decide is refused, as istiod has it where it does not know the authorizer.
  ['CUSTOM', 'DENY'],
  ['AUDIT', 'LOG'],
  ['DENY', 'DENY'],
  ['ALLOW', 'ALLOW'],
]

const CUSTOM_REFUSES =
  'REFUSES what its rules match: heddle does not ask external authorizers yet, and nothing of what they would decide is let through'

/** Where filters are for. */
export interface AuthorizationSite {
  readonly kind: 'http' | 'tcp'
  /** Clients are those of the tunnel that the connection came out of. */
  readonly tunnelled: boolean
  /** Of a waypoint; null: whatever else it serves. */
  readonly service: RegistryService | null
}

/** Of one compilation. The same site gives the same filters. */
export class Authorizations {
  readonly #world: World
  readonly #trustDomains: TrustDomains
  readonly #built: Map<string, readonly RbacFilter[]>
  readonly #used: Set<PolicyObject>

  constructor(world: World) {
    const { trustDomain, trustDomainAliases } = world.bootstrap.identity
    this.#world = world
    this.#trustDomains = new TrustDomains(trustDomain, trustDomainAliases)
    this.#built = new Map()
    this.#used = new Set()
  }

  filters(site: AuthorizationSite): readonly RbacFilter[] {
    const key = `${site.kind} ${site.tunnelled} ${site.service === null ? '' : `${site.service.namespace}/${site.service.hostname}`}`
    const known = this.#built.get(key)
    if (known !== undefined) return known
    const built = this.#build(site)
    this.#built.set(key, built)
    return built
  }

  #build(site: AuthorizationSite): RbacFilter[] {
    const policies = selectPolicies(this.#world, site.service, 'AuthorizationPolicy')
    for (const policy of policies) this.#used.add(policy)
    return ACTIONS.flatMap(([action, as]) => {
      const those = policies.filter((p) => (p.spec.action ?? 'ALLOW') === action)
      if (those.length === 0) return []
      return [{ rules: this.#rules(those, as, site, false), shadow: this.#rules(those, as, site, true) }]
    })
  }

  /** null: there are no policies of the kind. */
  #rules(all: readonly PolicyObject[], action: RbacRules['action'], site: AuthorizationSite, dryRun: boolean): RbacRules | null {
    const objects = all.filter((o) => isDryRun(o) === dryRun)
    if (objects.length === 0) return null
    const ruleSite: RuleSite = {
      tcp: site.kind === 'tcp',
      peer: site.tunnelled ? byTunnel : byCertificate,
      trustDomains: this.#trustDomains,
      allows: action === 'ALLOW',
    }
    const policies = objects.flatMap((object) => policiesOf(object, ruleSite))
    return { action, policies: policies.toSorted((a, b) => (a.name < b.name ? -1 : 1)) }
  }

  /** Says of each object whether anything comes of it. After all chains are built. */
  note(): void {
    const { verdicts, capturesInbound, isGateway, servesOthers, bootstrap } = this.#world
    const serves = capturesInbound || isGateway || servesOthers || bootstrap.listeners.some((l) => l.direction === 'inbound')
    for (const object of this.#world.objects('AuthorizationPolicy')) {
      if (!this.#used.has(object)) verdicts.waiting(object, serves ? unusedText(this.#world, object.spec) : UNENFORCED)
      else if (object.spec.action === 'CUSTOM') verdicts.partly(object, ['action'], CUSTOM_REFUSES)
      const problem = dryRunProblem(object)
      if (problem !== null) verdicts.annotation(object, DRY_RUN, problem)
    }
  }

  /** Of those that hold for somebody. */
  notes(): ResourceNote[] {
    return [...this.#used].flatMap((o) => tcpNotes(o, { peer: byCertificate, trustDomains: this.#trustDomains }))
  }
}

const NEVER: RbacMatch = { kind: 'not', of: { kind: 'any' } }

function policiesOf(object: PolicyObject, site: RuleSite): RbacPolicy[] {
  const { rules = [] } = object.spec
  // An ALLOW of nothing still is one, behind which nobody is let through who is not allowed by another.
  if (rules.length === 0)
    return [{ name: ruleName(object, 0), permissions: [NEVER], principals: [NEVER], origin: object.origin() }]
  return rules.flatMap((rule, i) => compileRule(object, rule, i, site) ?? [])
}
