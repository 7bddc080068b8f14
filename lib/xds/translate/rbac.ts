// RBAC filters, of HTTP and of the network, to the noun of the same meaning. Whatever of them is not understood is a fault: a rule that is left out of those
// that refuse would let somebody in, and one of those that allow would be told only by who is kept out.
import type { RbacFilter, RbacMatch, RbacPolicy, RbacRules } from '../../state/rbac.ts'
import type { HttpRbac, NetworkRbac, Permission, Policy, Principal, Rbac } from '../proto/rbac.ts'
import { UriTemplateMatch } from '../proto/rbac.ts'
import type { Findings } from './findings.ts'
import { originOfPath } from './istio-metadata.ts'
import { headerOf, metadataOf, prefixOf } from './rbac-conditions.ts'
import { stringMatchOf } from './string-match.ts'

export function translateHttpRbac(filter: HttpRbac, findings: Findings): RbacFilter {
  return filterOf(filter, findings)
}

/** Asked when a connection begins: what it says of one does not change afterwards. */
export function translateNetworkRbac(filter: NetworkRbac, findings: Findings): RbacFilter {
  if (filter.enforcement_type !== 'ONE_TIME_ON_FIRST_BYTE')
    findings.at('enforcement_type').note(`${filter.enforcement_type}: connections are asked about once, when they begin`)
  return filterOf(filter, findings)
}

function filterOf(
  { rules, shadow_rules: shadow, matcher, shadow_matcher: shadowMatcher }: HttpRbac | NetworkRbac,
  findings: Findings,
): RbacFilter {
  if (matcher !== null) findings.at('matcher').fault('rules are expected, not a matcher')
  if (shadowMatcher !== null) findings.at('shadow_matcher').fault('rules are expected, not a matcher')
  return { rules: rulesOf(rules, findings.at('rules')), shadow: rulesOf(shadow, findings.at('shadow_rules')) }
}

function rulesOf(rules: Rbac | null, findings: Findings): RbacRules | null {
  if (rules === null) return null
  const { action } = rules
  if (action !== 'ALLOW' && action !== 'DENY' && action !== 'LOG') findings.at('action').fault(`${action} is not understood`)
  const policies = [...rules.policies].map(([name, policy]) => policyOf(name, policy, findings.at(`policies[${name}]`)))
  return { action, policies: policies.toSorted((a, b) => (a.name < b.name ? -1 : 1)) }
}

function policyOf(
  name: string,
  { permissions, principals, condition, checked_condition: checked }: Policy,
  at: Findings,
): RbacPolicy {
  if (condition.length > 0) at.at('condition').fault('expressions of CEL are not understood')
  if (checked.length > 0) at.at('checked_condition').fault('expressions of CEL are not understood')
  return {
    name,
    permissions: permissions.map((p, i) => permissionOf(p, at.at('permissions', i))),
    principals: principals.map((p, i) => principalOf(p, at.at('principals', i))),
    origin: originOfPolicy(name),
  }
}

/** istiod's names say which object they come from. */
function originOfPolicy(name: string): RbacPolicy['origin'] {
  const [, namespace = '', object = ''] = /^(?:istio-ext-authz-.*-)?ns\[(.*)\]-policy\[(.*)\]-rule\[\d+\]/.exec(name) ?? []
  return originOfPath(`/apis/security.istio.io/v1/namespaces/${namespace}/authorization-policy/${object}`)
}

/** Fits nothing: stands for what has been told as a fault. */
const FAULTY: RbacMatch = { kind: 'or', of: [] }

export function permissionOf(p: Permission, at: Findings): RbacMatch {
  const each = (of: readonly Permission[], field: string): RbacMatch[] =>
    of.map((rule, i) => permissionOf(rule, at.at(field).at('rules', i)))
  if (p.any !== null) return anything(p.any, at)
  if (p.and_rules !== null) return { kind: 'and', of: each(p.and_rules.rules, 'and_rules') }
  if (p.or_rules !== null) return { kind: 'or', of: each(p.or_rules.rules, 'or_rules') }
  if (p.not_rule !== null) return { kind: 'not', of: permissionOf(p.not_rule, at.at('not_rule')) }
  if (p.header !== null) return headerOf(p.header, at.at('header')) ?? FAULTY
  if (p.url_path !== null) return textOf('path', p.url_path.path, at.at('url_path.path'))
  if (p.uri_template !== null) return templateOf(p.uri_template.typed_config, at.at('uri_template'))
  if (p.destination_ip !== null) return addressOf('destinationIp', p.destination_ip, at.at('destination_ip'))
  if (p.destination_port !== null) return { kind: 'destinationPort', first: p.destination_port, last: p.destination_port }
  if (p.destination_port_range !== null) {
    const { start, end } = p.destination_port_range
    if (start >= end) at.at('destination_port_range').fault(`no port is in ${start} to ${end}: the end is not in it`)
    return { kind: 'destinationPort', first: start, last: end - 1 }
  }
  if (p.requested_server_name !== null)
    return textOf('requestedServerName', p.requested_server_name, at.at('requested_server_name'))
  if (p.metadata !== null) return metadataOf(p.metadata, at.at('metadata')) ?? FAULTY
  at.fault(p.matcher === null ? 'a permission of this kind is not understood' : `the matcher ${p.matcher.name} is not understood`)
  return FAULTY
}

export function principalOf(p: Principal, at: Findings): RbacMatch {
  const each = (of: readonly Principal[], field: string): RbacMatch[] =>
    of.map((id, i) => principalOf(id, at.at(field).at('ids', i)))
  if (p.any !== null) return anything(p.any, at)
  if (p.and_ids !== null) return { kind: 'and', of: each(p.and_ids.ids, 'and_ids') }
  if (p.or_ids !== null) return { kind: 'or', of: each(p.or_ids.ids, 'or_ids') }
  if (p.not_id !== null) return { kind: 'not', of: principalOf(p.not_id, at.at('not_id')) }
  if (p.authenticated !== null) {
    const { principal_name: name } = p.authenticated
    return name === null ? { kind: 'authenticated', match: null } : textOf('authenticated', name, at.at('authenticated'))
  }
  if (p.filter_state !== null) {
    const match = stringMatchOf(p.filter_state.string_match, at.at('filter_state'))
    return match === null ? FAULTY : { kind: 'filterState', key: p.filter_state.key, match }
  }
  if (p.header !== null) return headerOf(p.header, at.at('header')) ?? FAULTY
  if (p.url_path !== null) return textOf('path', p.url_path.path, at.at('url_path.path'))
  if (p.source_ip !== null) return addressOf('directRemoteIp', p.source_ip, at.at('source_ip'))
  if (p.direct_remote_ip !== null) return addressOf('directRemoteIp', p.direct_remote_ip, at.at('direct_remote_ip'))
  if (p.remote_ip !== null) return addressOf('remoteIp', p.remote_ip, at.at('remote_ip'))
  if (p.metadata !== null) return metadataOf(p.metadata, at.at('metadata')) ?? FAULTY
  at.fault('a principal of this kind is not understood')
  return FAULTY
}

function anything(any: boolean, at: Findings): RbacMatch {
  if (!any) at.at('any').fault('it is false, which says nothing')
  return any ? { kind: 'any' } : FAULTY
}

function textOf(
  kind: 'path' | 'requestedServerName' | 'authenticated',
  matcher: Parameters<typeof stringMatchOf>[0],
  at: Findings,
): RbacMatch {
  const match = stringMatchOf(matcher, at)
  return match === null ? FAULTY : { kind, match }
}

function addressOf(
  kind: 'destinationIp' | 'directRemoteIp' | 'remoteIp',
  range: Parameters<typeof prefixOf>[0],
  at: Findings,
): RbacMatch {
  const prefix = prefixOf(range, at)
  return prefix === null ? FAULTY : { kind, prefix }
}

/** Segments that are whole operators; names for what they match are not sent by istiod. */
function templateOf(packed: Parameters<Findings['unpack']>[0], at: Findings): RbacMatch {
  const template = at.unpack(packed, UriTemplateMatch)?.path_template ?? null
  if (template === null) return FAULTY
  const segments = template.split('/')
  const many = segments.indexOf('**')
  const plain = segments.every((s, i) => s === '**' || (s === '*' ? many < 0 || i < many : !/[*{}]/.test(s)))
  if (template.startsWith('/') && plain && segments.lastIndexOf('**') === many) return { kind: 'pathTemplate', template }
  at.fault(`the path template \`${template}\` is not understood: \`*\` and one \`**\` behind them fill a segment alone`)
  return FAULTY
}
