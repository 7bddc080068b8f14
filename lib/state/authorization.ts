// Who may connect to a workload (istio.security Authorization): what is left of an AuthorizationPolicy at a tunnel, which sees
// addresses and identities and no request. Evaluated by `policy/l4-authorizer.ts`.
import type { IpPrefix } from '../base/ip-prefix.ts'
import type { Origin } from './origin.ts'

export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  /** Anything but the empty text. */
  | { readonly kind: 'presence' }

export interface ServiceAccountMatch {
  readonly namespace: string
  readonly serviceAccount: string
}

/** All kinds that are set must hold: one of the positives, none of the negatives. Empty lists are not set. With none set nothing matches. */
export interface AuthorizationMatch {
  /** Of the identity of the source. */
  readonly namespaces: readonly StringMatch[]
  readonly notNamespaces: readonly StringMatch[]
  readonly serviceAccounts: readonly ServiceAccountMatch[]
  readonly notServiceAccounts: readonly ServiceAccountMatch[]
  /** SPIFFE ids without `spiffe://`. */
  readonly principals: readonly StringMatch[]
  readonly notPrincipals: readonly StringMatch[]
  /** Of the connection, not of anything that it says of itself. */
  readonly sourceIps: readonly IpPrefix[]
  readonly notSourceIps: readonly IpPrefix[]
  readonly destinationIps: readonly IpPrefix[]
  readonly notDestinationIps: readonly IpPrefix[]
  /** Of the application, not the tunnel's. */
  readonly destinationPorts: readonly number[]
  readonly notDestinationPorts: readonly number[]
  readonly origin: Origin
}

export type AttributeKind = Exclude<keyof AuthorizationMatch, 'origin'>

/** Fits when any match does, or when there is none. */
export interface AuthorizationClause {
  readonly matches: readonly AuthorizationMatch[]
}

/** Fits when all clauses do. */
export interface AuthorizationRule {
  readonly clauses: readonly AuthorizationClause[]
  readonly origin: Origin
}

export interface Authorization {
  readonly name: string
  readonly namespace: string
  /** Every workload; those of the namespace; those that list the policy. */
  readonly scope: 'GLOBAL' | 'NAMESPACE' | 'WORKLOAD_SELECTOR'
  readonly action: 'ALLOW' | 'DENY'
  /** Fits when any rule does; without rules never. */
  readonly rules: readonly AuthorizationRule[]
  /** Evaluated and told, and decides nothing. */
  readonly dryRun: boolean
  readonly origin: Origin
}

/** What workloads list it by: `namespace/name`. */
export function policyKey(p: Pick<Authorization, 'namespace' | 'name'>): string {
  return `${p.namespace}/${p.name}`
}

/**
 * In the place of a policy that nobody could ever read: what it says is not known, and its workloads must not stand open because of a mistake. It denies as
 * widely as it says that it is for.
 */
export function denyInstead(p: Pick<Authorization, 'namespace' | 'name' | 'scope' | 'dryRun' | 'origin'>): Authorization {
  const { namespace, name, scope, dryRun, origin } = p
  return { name, namespace, scope, action: 'DENY', rules: [{ clauses: [], origin }], dryRun, origin }
}
