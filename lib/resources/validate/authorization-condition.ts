// `when` of an AuthorizationPolicy. Istio security.ValidateAttribute.
import { didYouMean } from '../../base/nearest.ts'
import type { Path, Report } from '../finding.ts'
import type { ConditionSpec } from '../schema/authorization-policy.ts'
import { checkAccounts, checkFilled, checkIps, checkPorts, checkTrustDomains } from './authorization-values.ts'

type Check = (values: readonly string[] | undefined, path: Path, report: Report) => void

const ANYTHING: Check = () => {}

const KEYS: Readonly<Record<string, Check>> = {
  'source.ip': checkIps,
  'remote.ip': checkIps,
  'source.namespace': ANYTHING,
  'source.serviceAccount': checkAccounts,
  'source.principal': ANYTHING,
  'source.trustDomain': (values, path, report) => checkTrustDomains(values, false, path, report),
  'request.auth.principal': ANYTHING,
  'request.auth.audiences': ANYTHING,
  'request.auth.presenter': ANYTHING,
  'destination.ip': checkIps,
  'destination.port': checkPorts,
  'connection.sni': ANYTHING,
}

/** With a name in brackets behind it. */
const NAMED = ['request.headers', 'request.auth.claims', 'experimental.envoy.filters.'] as const

const GONE: Readonly<Record<string, string>> = {
  'destination.namespace': "the policy's own namespace says it",
  'destination.labels': 'the selector of the policy says it',
  'destination.name': 'it was of v1alpha1 only',
  'destination.user': 'it was of v1alpha1 only',
}

export function checkCondition(condition: ConditionSpec, path: Path, report: Report): void {
  const { key = '', values = [], notValues = [] } = condition
  if (key === '') {
    report(path, 'expected what the condition is about in `key`, such as `request.headers[x-team]`')
    return
  }
  if (values.length === 0 && notValues.length === 0) {
    report(path, `expected at least one of \`values\` and \`notValues\` for \`${key}\``)
    return
  }
  const check = checkOf(key, [...path, 'key'], report)
  for (const [field, list] of [['values', values] as const, ['notValues', notValues] as const]) {
    checkFilled(list, [...path, field], report)
    check?.(list, [...path, field], report)
  }
}

/** null: what is wrong with the key has been reported. */
function checkOf(key: string, path: Path, report: Report): Check | null {
  if (Object.hasOwn(KEYS, key)) return KEYS[key] as Check
  const named = NAMED.find((prefix) => key.startsWith(prefix))
  if (named !== undefined) {
    if (isNamed(key, named)) return ANYTHING
    report(path, `expected a name in brackets such as \`${named}${named.endsWith('.') ? 'http.x' : ''}[name]\`, found \`${key}\``)
    return null
  }
  const gone = Object.keys(GONE).find((name) => key === name || key.startsWith(`${name}[`))
  if (gone !== undefined) report(path, `there is no \`${gone}\`: ${GONE[gone]}`)
  else report(path, `unknown key \`${key}\`${didYouMean(key, [...Object.keys(KEYS), ...NAMED.map((n) => `${n}[]`)])}`)
  return null
}

/**
 * istiod takes whatever has brackets at its end, and leaves the rule out when what is before them is not what it has to be (`request.headersx[a]`).
 * Such a rule must not silently be none.
 */
function isNamed(key: string, prefix: string): boolean {
  const open = key.indexOf('[')
  if (!key.endsWith(']') || open <= 0 || open >= key.length - 2) return false
  return prefix.endsWith('.') ? open > prefix.length : open === prefix.length
}
