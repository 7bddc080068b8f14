// The names of headers that stand for claims of a verified token in a match of a VirtualService (Istio pkg/jwt ToRoutingClaim).

const CLAIMS = '@request.auth.claims'

/** `a`, `b` of `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`; null: it is the name of a header. */
export function routingClaim(name: string): readonly string[] | null {
  if (!isClaims(name)) return null
  const rest = name.slice(CLAIMS.length)
  if (rest.startsWith('.') && rest.length > 1) return rest.slice(1).split('.')
  if (rest.startsWith('[') && rest.endsWith(']') && rest.length > 2) return rest.slice(1, -1).split('][')
  return null
}

/** What is wrong with the name; null: nothing, or it is the name of a header. */
export function routingClaimProblem(name: string): string | null {
  if (!isClaims(name)) return null
  const claim = routingClaim(name)
  // Of an empty name Envoy's validation makes a configuration that is refused as a whole.
  if (claim === null || claim.includes(''))
    return `\`${name}\` names no claim: \`${CLAIMS}.name\` and \`${CLAIMS}[name][nested]\` do`
  return null
}

function isClaims(name: string): boolean {
  return name.slice(0, CLAIMS.length).toLowerCase() === CLAIMS
}
