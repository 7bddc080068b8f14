// Sentences about what the hash of a request was made of.
import type { HashPolicy } from '../state/route.ts'

/** The balancer hashes, and the route does not say what (DestinationRule consistentHash without a key for this route). */
export const NO_POLICY_TEXT = 'the route names nothing to hash: the endpoint is drawn'

/** `used` and `made`: a bit for each policy, as RouteHash notes them. */
export function hashText(policies: readonly HashPolicy[], used: number, made: number): string {
  const has = (bits: number, i: number): boolean => i < 32 && (bits & (1 << i)) !== 0
  const found = policies.filter((_, i) => has(used, i))
  if (found.length === 0) return `nothing to hash, ${join(policies.map(missing))}: the endpoint is drawn`
  const parts = policies.flatMap((policy, i) => (has(used, i) ? [nameOf(policy) + (has(made, i) ? MADE : '')] : []))
  const others = policies.filter((_, i) => i < 32 && !has(used, i))
  const rest = others.length === 0 ? '' : `; ${join(others.map(missing))}`
  return `the hash of ${join(parts)} chooses the endpoint${rest}`
}

const MADE = ', which the request did not bring and the response sets,'

function nameOf(policy: HashPolicy): string {
  switch (policy.kind) {
    case 'header':
      return `header ${policy.name}`
    case 'cookie':
      return `cookie ${policy.name}`
    case 'sourceIp':
      return "the client's address"
    case 'query':
      return `query parameter ${policy.name}`
  }
}

function missing(policy: HashPolicy): string {
  // Of requests that happened it is.
  if (policy.kind === 'sourceIp') return "the client's address is not known (-H 'x-forwarded-for: ADDRESS' tells it)"
  // With a connection it would have been made.
  if (policy.kind === 'cookie' && policy.ttlSeconds >= 0)
    return `${nameOf(policy)} is made of the client's address, which is not known`
  return `there is no ${nameOf(policy)}`
}

function join(parts: readonly string[]): string {
  return parts.length < 2 ? (parts[0] ?? '') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`
}
