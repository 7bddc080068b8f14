// Policies of the feed (istio.security Authorization) to nouns. A policy must act: what of it is not understood makes it narrower when it allows and wider when
// it denies, and one that cannot be read at all denies.
import type { Authorization, AuthorizationMatch, AuthorizationRule, StringMatch } from '../../state/authorization.ts'
import type { Origin } from '../../state/origin.ts'
import type { Address, Authorization as AuthorizationMessage, Match, StringMatch as TextMessage } from '../proto/authorization.ts'
import type { Findings } from '../translate/findings.ts'
import { checkPort, prefixOfBytes } from './addresses.ts'
import { fed } from './to-nouns.ts'

/** What istiod makes of PeerAuthentications. */
const CONVERTED = 'converted_peer_authentication_'
const CONVERTED_STRICT = 'istio_converted_static_strict'

export function toAuthorization(p: AuthorizationMessage, findings: Findings): Authorization {
  const { name, namespace, scope, action } = p
  if (name === '') findings.fault('the policy has no name')
  for (const [field, value] of Object.entries({ scope, action }))
    if (value.startsWith('#')) findings.at(field).fault(`nothing is known of the value ${value.slice(1)}`)
  const origin = policyOrigin(namespace, name)
  const rules = p.rules.map((rule, i): AuthorizationRule => {
    const clauses = rule.clauses.map(({ matches }, k) => ({
      matches: matches.map((m, l) => {
        const at = findings.at('rules', i).at('clauses', k).at('matches', l)
        return m.extensions.length === 0 ? toMatch(m, origin, at) : withExtensions(m, action, origin, at)
      }),
    }))
    return { clauses, origin }
  })
  return { name, namespace, scope, action: action === 'DENY' ? 'DENY' : 'ALLOW', rules, dryRun: p.dry_run, origin }
}

/** By the object that an operator wrote. */
export function policyOrigin(namespace: string, name: string): Origin {
  if (name.startsWith(CONVERTED)) return fed('PeerAuthentication', namespace, name.slice(CONVERTED.length))
  return fed(name === CONVERTED_STRICT ? 'PeerAuthentication' : 'AuthorizationPolicy', namespace, name)
}

function toMatch(m: Match, origin: Origin, findings: Findings): AuthorizationMatch {
  const texts = (field: 'namespaces' | 'not_namespaces' | 'principals' | 'not_principals') =>
    m[field].flatMap((message, i) => textOf(message, findings.at(field, i)) ?? [])
  const prefixes = (field: 'source_ips' | 'not_source_ips' | 'destination_ips' | 'not_destination_ips') =>
    m[field].flatMap(({ address, length }: Address, i) => prefixOfBytes(address, length, findings.at(field, i)) ?? [])
  const ports = (field: 'destination_ports' | 'not_destination_ports') => {
    for (const [i, port] of m[field].entries()) checkPort(port, findings.at(field, i))
    return m[field]
  }
  return {
    namespaces: texts('namespaces'),
    notNamespaces: texts('not_namespaces'),
    serviceAccounts: m.service_accounts,
    notServiceAccounts: m.not_service_accounts,
    principals: texts('principals'),
    notPrincipals: texts('not_principals'),
    sourceIps: prefixes('source_ips'),
    notSourceIps: prefixes('not_source_ips'),
    destinationIps: prefixes('destination_ips'),
    notDestinationIps: prefixes('not_destination_ips'),
    destinationPorts: ports('destination_ports'),
    notDestinationPorts: ports('not_destination_ports'),
    origin,
  }
}

/** Who allows by what we do not know allows nothing by it; who denies denies whatever else fits. */
function withExtensions(
  m: Match,
  action: AuthorizationMessage['action'],
  origin: Origin,
  findings: Findings,
): AuthorizationMatch {
  const names = m.extensions.map((e) => e.name).join(', ')
  findings.note(`nothing is known of the extension ${names}: ${action === 'DENY' ? 'it counts as fitting' : 'this never fits'}`)
  const rest = toMatch(m, origin, findings)
  if (action !== 'DENY') return toMatch({ ...m, ...NO_ATTRIBUTES }, origin, findings)
  const { origin: _, ...attributes } = rest
  // A match without any attribute would never fit; no connection is to port 0.
  return Object.values(attributes).every((list) => list.length === 0) ? { ...rest, notDestinationPorts: [0] } : rest
}

const NO_ATTRIBUTES = {
  namespaces: [],
  not_namespaces: [],
  service_accounts: [],
  not_service_accounts: [],
  principals: [],
  not_principals: [],
  source_ips: [],
  not_source_ips: [],
  destination_ips: [],
  not_destination_ips: [],
  destination_ports: [],
  not_destination_ports: [],
}

function textOf({ exact, prefix, suffix, presence }: TextMessage, findings: Findings): StringMatch | null {
  if (exact !== null) return { kind: 'exact', value: exact }
  if (prefix !== null) return { kind: 'prefix', value: prefix }
  if (suffix !== null) return { kind: 'suffix', value: suffix }
  if (presence !== null) return { kind: 'presence' }
  findings.fault('it says nothing of the text')
  return null
}
