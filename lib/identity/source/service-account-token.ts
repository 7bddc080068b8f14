// What can be said of a service account's token that was refused (RFC 7519 §4.1). It is read, not verified: for a message only.

interface Claims {
  readonly exp?: unknown
  readonly nbf?: unknown
  readonly aud?: unknown
}

/** A clause about the token (`expired at …`), or null when nothing is visibly wrong with it. Shows times and audiences, nothing else. */
export function tokenFault(token: string, audience: string, nowMs: number): string | null {
  const claims = claimsOf(token)
  if (claims === null) return 'is no JWT'
  if (typeof claims.exp === 'number' && claims.exp * 1000 <= nowMs) return `expired at ${timeText(claims.exp)}`
  if (typeof claims.nbf === 'number' && claims.nbf * 1000 > nowMs) return `is not valid until ${timeText(claims.nbf)}`
  const audiences = (Array.isArray(claims.aud) ? claims.aud : [claims.aud]).filter((a) => typeof a === 'string')
  if (audiences.length > 0 && !audiences.includes(audience)) {
    return `is for the audience ${JSON.stringify(audiences.join(', ').slice(0, 200))}, not "${audience}"`
  }
  return null
}

function claimsOf(token: string): Claims | null {
  const parts = token.split('.')
  if (parts.length !== 3) return null
  try {
    const claims: unknown = JSON.parse(Buffer.from(parts[1] as string, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null ? claims : null
  } catch {
    return null
  }
}

function timeText(seconds: number): string {
  const ms = seconds * 1000
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(seconds)
}
