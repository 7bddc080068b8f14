// Hot lane: authorization (Envoy's HTTP RBAC filters, in the order that istiod gives them: AUDIT, DENY, ALLOW). It runs behind the decision and before
// anything that could be seen from outside: who is not allowed gets 403 whether there is a route or not, and nothing goes upstream.

import { count } from '../network/rbac.ts'
import { CONTINUE, STOP } from './chain.ts'
import type { HttpStream } from './http-stream.ts'
import { RBAC_DENIED } from './reasons.ts'

export function beginAuthorization(stream: HttpStream): number {
  const { manager } = stream
  const { authorizer, steps, values, stats } = manager
  if (authorizer === null) return CONTINUE
  stream.authorizer = authorizer
  steps.resume(stream.decision.steps)
  const admitted = authorizer.admits(manager.rbacFacts.ask(stream, stream), steps)
  count(authorizer, admitted, values, stats)
  if (admitted) return CONTINUE
  stream.reply({ ...RBAC_DENIED, details: authorizer.details })
  return STOP
}
