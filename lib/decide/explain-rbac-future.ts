// What authorization would say of a request that nobody has sent: its client has no certificate and no address.
import { parseIp } from '../base/ip-prefix.ts'
import { Authorizer } from '../policy/rbac.ts'
import type { RbacFacts } from '../policy/rbac-facts.ts'
import type { RequestView } from '../route/request-view.ts'
import type { RbacFilter } from '../state/rbac.ts'
import { withAuthorization } from './explain-rbac.ts'
import type { ExplainedStep, Explanation } from './explanation.ts'
import { StepRing } from './steps.ts'

/** More than filters leave. */
const STEPS = 256

/** `dialled`: `ip:port`; empty: not known. `metadata`: what would be found out of it before; null: nothing. */
export function authorizationOfFuture(
  explanation: Explanation,
  filters: readonly RbacFilter[],
  request: RequestView,
  dialled: string,
  metadata: RequestView['metadata'],
): Explanation {
  if (filters.length === 0) return explanation
  const facts = factsOf(request, dialled, metadata)
  const ring = new StepRing(STEPS)
  const start = ring.begin()
  new Authorizer(filters).admits(facts, ring)
  const told = withAuthorization(explanation, ring.read(start) ?? new Int32Array(0), filters, facts)
  const token =
    metadata === null
      ? 'without a certificate, a token and an address'
      : 'with the claims, and without a certificate and an address'
  const text = `authorization is asked as for a client ${token}`
  const caveat: ExplainedStep = { step: 'authorization', text, condition: null, object: null }
  return { ...told, steps: [caveat, ...told.steps] }
}

function factsOf(request: RequestView, dialled: string, metadata: RequestView['metadata']): RbacFacts {
  const colon = dialled.lastIndexOf(':')
  return {
    request,
    path: request.method === 'CONNECT' ? null : request.path,
    destinationIp: parseIp(dialled.slice(0, Math.max(colon, 0)).replace(/^\[|\]$/g, '')),
    destinationPort: Number(dialled.slice(colon + 1)),
    directRemoteIp: null,
    remoteIp: null,
    serverName: '',
    peerNames: null,
    filterState: () => null,
    metadata: (filter) => metadata?.get(filter) ?? null,
  }
}
