// HashPolicy of envoy.config.route.v3 to the noun of the same name. One that is not understood is told and left out: it could only spread requests otherwise.
import type { HashPolicy as HashPolicyNoun } from '../../state/route.ts'
import type { HashPolicy } from '../proto/route.ts'
import type { Findings } from './findings.ts'

export function hashPolicyOf(policy: HashPolicy, findings: Findings): HashPolicyNoun | null {
  if (policy.terminal) findings.note('`terminal` has no effect: all policies are hashed')
  if (policy.header !== null) {
    if (policy.header.regex_rewrite !== null) findings.note('the whole header is hashed, `regex_rewrite` has no effect')
    return { kind: 'header', name: policy.header.header_name }
  }
  if (policy.query_parameter !== null) return { kind: 'query', name: policy.query_parameter.name }
  if (policy.cookie !== null) {
    const { name, path, ttl, attributes } = policy.cookie
    // Whole seconds: less than one is a session cookie.
    return { kind: 'cookie', name, path, ttlSeconds: ttl === null ? -1 : Math.floor(ttl / 1000), attributes }
  }
  if (policy.connection_properties !== null) return policy.connection_properties.source_ip ? { kind: 'sourceIp' } : null
  findings.note('it is not understood and has no effect')
  return null
}
