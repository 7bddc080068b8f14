// One rule of an AuthorizationPolicy down to a policy of RBAC (istiod pilot/pkg/security/authz/model, Model.Generate).
import type { RbacMatch, RbacPolicy } from '../../../state/rbac.ts'
import type { ResourceObject } from '../../resource-object.ts'
import type { AuthorizationRuleSpec, ConditionSpec, OperationSpec, SourceSpec } from '../../schema/authorization-policy.ts'
import { type Condition, condition, matchesOf } from './condition.ts'
import * as permit from './permissions.ts'
import * as who from './principals.ts'
import type { TrustDomains } from './trust-domains.ts'

/** What a rule is compiled for. */
export interface RuleSite {
  /** Whoever is asked knows of bytes only: what is asked of requests does not hold there. */
  readonly tcp: boolean
  /** How clients are known. */
  readonly peer: who.PeerMatch
  readonly trustDomains: TrustDomains
  /** Of an ALLOW a rule that cannot be asked as a whole lets nobody pass; of the others what is left of it is asked, so that it refuses more. */
  readonly allows: boolean
}

type PolicyObject = ResourceObject<'AuthorizationPolicy'>

export function ruleName({ namespace, name, spec }: PolicyObject, index: number): string {
  const own = `ns[${namespace}]-policy[${name}]-rule[${index}]`
  // As istiod calls it where it refuses what an authorizer that it does not know would decide.
  return spec.action === 'CUSTOM' ? `istio-ext-authz-${spec.provider?.name ?? ''}-${own}-deny-due-to-bad-CUSTOM-action` : own
}

/** null: there is nothing left of it. */
export function compileRule(object: PolicyObject, rule: AuthorizationRuleSpec, index: number, site: RuleSite): RbacPolicy | null {
  const { from = [], to = [], when = [] } = rule
  const asked = when.flatMap((c) => whoIs(object, c, site))
  const wanted = when.flatMap(whatIs)
  const principals =
    from.length === 0 ? [asked] : from.map(({ source = {} }) => [...sourceConditions(object, source, site), ...asked])
  const permissions = to.length === 0 ? [wanted] : to.map(({ operation = {} }) => [...operationConditions(operation), ...wanted])
  if (site.tcp && site.allows && [...principals, ...permissions].flat().some((c) => c.generator.httpOnly)) return null
  return {
    name: ruleName(object, index),
    permissions: permissions.map((all) => together(all, site)),
    principals: principals.map((all) => together(all, site)),
    origin: object.origin(['rules', index]),
  }
}

function together(all: readonly Condition[], { tcp }: RuleSite): RbacMatch {
  const of = all.filter((c) => !tcp || !c.generator.httpOnly).flatMap(matchesOf)
  return { kind: 'and', of: of.length === 0 ? [{ kind: 'any' }] : of }
}

function sourceConditions({ namespace }: PolicyObject, s: SourceSpec, { peer, trustDomains }: RuleSite): Condition[] {
  return [
    ...condition(who.principal(peer), trustDomains.replace(s.principals), trustDomains.replace(s.notPrincipals)),
    ...condition(who.requestPrincipal, s.requestPrincipals, s.notRequestPrincipals),
    ...condition(who.serviceAccount(peer, namespace), s.serviceAccounts, s.notServiceAccounts),
    ...condition(who.trustDomain(peer), trustDomains.expand(s.trustDomains), trustDomains.expand(s.notTrustDomains)),
    ...condition(who.namespace(peer), s.namespaces, s.notNamespaces),
    ...condition(who.remoteIp, s.remoteIpBlocks, s.notRemoteIpBlocks),
    ...condition(who.sourceIp, s.ipBlocks, s.notIpBlocks),
  ]
}

function operationConditions(o: OperationSpec): Condition[] {
  return [
    ...condition(permit.host, o.hosts, o.notHosts),
    ...condition(permit.method, o.methods, o.notMethods),
    ...condition(permit.path, o.paths, o.notPaths),
    ...condition(permit.destinationPort, o.ports, o.notPorts),
  ]
}

/** Of `when` what is of the client. */
function whoIs({ namespace }: PolicyObject, { key = '', values, notValues }: ConditionSpec, site: RuleSite): Condition[] {
  const { peer, trustDomains } = site
  switch (key) {
    case 'source.ip':
      return condition(who.sourceIp, values, notValues)
    case 'remote.ip':
      return condition(who.remoteIp, values, notValues)
    case 'source.namespace':
      return condition(who.namespace(peer), values, notValues)
    case 'source.serviceAccount':
      return condition(who.serviceAccount(peer, namespace), values, notValues)
    case 'source.trustDomain':
      return condition(who.trustDomain(peer), trustDomains.expand(values), trustDomains.expand(notValues))
    case 'source.principal':
      return condition(who.principal(peer), trustDomains.replace(values), trustDomains.replace(notValues))
    case 'request.auth.principal':
      return condition(who.requestPrincipal, values, notValues)
    case 'request.auth.audiences':
      return condition(who.claimOf(['aud']), values, notValues)
    case 'request.auth.presenter':
      return condition(who.claimOf(['azp']), values, notValues)
    default:
      return named(key, values, notValues)
  }
}

const HEADERS = 'request.headers['
const CLAIMS = 'request.auth.claims'

function named(key: string, values: ConditionSpec['values'], notValues: ConditionSpec['notValues']): Condition[] {
  if (key.startsWith(HEADERS)) return condition(who.requestHeader(key.slice(HEADERS.length, -1)), values, notValues)
  if (key.startsWith(CLAIMS)) return condition(who.claimOf(who.claimPath(key.slice(CLAIMS.length))), values, notValues)
  return []
}

/** Of `when` what is of the destination. */
function whatIs({ key = '', values, notValues }: ConditionSpec): Condition[] {
  switch (key) {
    case 'destination.ip':
      return condition(permit.destinationIp, values, notValues)
    case 'destination.port':
      return condition(permit.destinationPort, values, notValues)
    case 'connection.sni':
      return condition(permit.serverName, values, notValues)
    default:
      return key.startsWith('experimental.') ? condition(permit.filterMetadata(key), values, notValues) : []
  }
}
