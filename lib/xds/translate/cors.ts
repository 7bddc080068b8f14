// CorsPolicy of a route to Cors.
import type { Cors } from '../../state/route.ts'
import type { CorsPolicy } from '../proto/cors.ts'
import type { Findings } from './findings.ts'
import { runtimePercentOf } from './fraction.ts'
import { stringMatchOf } from './string-match.ts'

/** null: switched off. */
export function corsOf(policy: CorsPolicy, findings: Findings): Cors | null {
  const allowOrigins = policy.allow_origin_string_match.flatMap(
    (m, i) => stringMatchOf(m, findings.at('allow_origin_string_match', i)) ?? [],
  )
  const percent = runtimePercentOf(policy.filter_enabled)
  if (percent === 0) return null
  if (percent !== 100) findings.at('filter_enabled').fault('a policy for a share of requests is not understood')
  if (policy.allow_private_network_access === true) findings.at('allow_private_network_access').note('it has no effect')
  return {
    allowOrigins,
    allowMethods: policy.allow_methods,
    allowHeaders: policy.allow_headers,
    exposeHeaders: policy.expose_headers,
    maxAge: policy.max_age,
    allowCredentials: policy.allow_credentials === true,
    forwardNotMatchingPreflights: policy.forward_not_matching_preflights !== false,
  }
}
