// AuthorizationPolicy. Istio ValidateAuthorizationPolicy.
import type { Path, Report } from '../finding.ts'
import type {
  AuthorizationPolicySpec,
  AuthorizationRuleSpec,
  ConditionSpec,
  OperationSpec,
  SourceSpec,
} from '../schema/authorization-policy.ts'
import { checkCondition } from './authorization-condition.ts'
import {
  checkAccounts,
  checkFilled,
  checkIps,
  checkPathTemplates,
  checkPorts,
  checkTrustDomains,
} from './authorization-values.ts'
import { checkPolicyTarget } from './policy-target.ts'

const MAX_RULES = 512
const NEVER = 'without rules it never takes effect; for every request write `rules: [{}]`'

export function validateAuthorizationPolicy(spec: AuthorizationPolicySpec, report: Report): void {
  const { action = 'ALLOW', provider, rules = [] } = spec
  checkPolicyTarget(spec, report)
  if (rules.length === 0 && (action === 'DENY' || action === 'CUSTOM')) report(['action'], `${action} ${NEVER}`)
  if (rules.length > MAX_RULES) report(['rules'], `expected ${MAX_RULES} rules at most, found ${rules.length}`)
  if (action === 'CUSTOM') {
    if (rules.length > 0 && (provider?.name ?? '') === '')
      report(['provider'], 'CUSTOM needs `provider.name`: the authorizer that is asked')
  } else if (provider !== undefined) report(['provider'], `only CUSTOM has a provider, and the action is ${action}`, true)
  for (const [i, rule] of rules.entries()) {
    checkRule(rule, ['rules', i], report)
    if (action === 'CUSTOM') checkCustom(rule, ['rules', i], report)
  }
}

function checkRule(rule: AuthorizationRuleSpec, path: Path, report: Report): void {
  const { from, to, when = [] } = rule
  if (from?.length === 0) report([...path, 'from'], 'the list is empty; leave the field out to take everybody')
  if (to?.length === 0) report([...path, 'to'], 'the list is empty; leave the field out to take everything')
  for (const [i, { source }] of (from ?? []).entries()) checkSource(source, [...path, 'from', i], report)
  for (const [i, { operation }] of (to ?? []).entries()) checkOperation(operation, [...path, 'to', i], report)
  for (const [i, condition] of when.entries()) checkCondition(condition, [...path, 'when', i], report)
}

function isEmpty(fields: SourceSpec | OperationSpec): boolean {
  return Object.values(fields).every((values) => values === undefined || values.length === 0)
}

function checkSource(source: SourceSpec | undefined, path: Path, report: Report): void {
  if (source === undefined || isEmpty(source)) {
    report(
      source === undefined ? path : [...path, 'source'],
      'expected a source that says something; to take everybody leave `from` out',
    )
    return
  }
  const at = (field: keyof SourceSpec): Path => [...path, 'source', field]
  for (const field of Object.keys(source) as (keyof SourceSpec)[]) checkFilled(source[field], at(field), report)
  for (const field of ['ipBlocks', 'notIpBlocks', 'remoteIpBlocks', 'notRemoteIpBlocks'] as const)
    checkIps(source[field], at(field), report)
  for (const field of ['serviceAccounts', 'notServiceAccounts'] as const) checkAccounts(source[field], at(field), report)
  for (const field of ['trustDomains', 'notTrustDomains'] as const) checkTrustDomains(source[field], true, at(field), report)
  const account = (['serviceAccounts', 'notServiceAccounts'] as const).find((f) => isSet(source[f]))
  const other = (['principals', 'notPrincipals', 'namespaces', 'notNamespaces'] as const).find((f) => isSet(source[f]))
  if (account !== undefined && other !== undefined)
    report(at(account), `${account} cannot stand beside ${other}: both say who it is`, true)
}

function isSet(values: readonly string[] | undefined): boolean {
  return values !== undefined && values.length > 0
}

function checkOperation(operation: OperationSpec | undefined, path: Path, report: Report): void {
  if (operation === undefined || isEmpty(operation)) {
    const where = operation === undefined ? path : [...path, 'operation']
    report(where, 'expected an operation that says something; to take everything leave `to` out')
    return
  }
  const at = (field: keyof OperationSpec): Path => [...path, 'operation', field]
  for (const field of Object.keys(operation) as (keyof OperationSpec)[]) checkFilled(operation[field], at(field), report)
  for (const field of ['ports', 'notPorts'] as const) checkPorts(operation[field], at(field), report)
  for (const field of ['paths', 'notPaths'] as const) checkPathTemplates(operation[field], at(field), report)
}

/** Who is asked before tokens are looked at, and of proxies that may not know who the client is, cannot be told of either. */
const NOT_WITH_CUSTOM: readonly (keyof SourceSpec)[] = [
  'namespaces',
  'notNamespaces',
  'serviceAccounts',
  'notServiceAccounts',
  'trustDomains',
  'notTrustDomains',
  'principals',
  'notPrincipals',
  'requestPrincipals',
  'notRequestPrincipals',
]
const KEYS_NOT_WITH_CUSTOM = ['source.namespace', 'source.serviceAccount', 'source.trustDomain', 'source.principal']

function checkCustom({ from = [], when = [] }: AuthorizationRuleSpec, path: Path, report: Report): void {
  const why = 'cannot be asked with the action CUSTOM'
  for (const [i, { source }] of from.entries())
    for (const field of NOT_WITH_CUSTOM)
      if (isSet(source?.[field])) report([...path, 'from', i, 'source', field], `${field} ${why}`, true)
  for (const [i, { key = '' }] of (when as readonly ConditionSpec[]).entries())
    if (KEYS_NOT_WITH_CUSTOM.includes(key) || key.startsWith('request.auth.'))
      report([...path, 'when', i, 'key'], `\`${key}\` ${why}`)
}
