// What becomes of a request that nobody sends, whose client would have a valid token with these claims.
import type { JsonObject } from '../base/json-value.ts'
import { claimText, withLists } from '../policy/jwt-claims.ts'
import type { JwtAuthentication } from '../state/jwt.ts'
import { JWT_METADATA } from '../state/route.ts'

export type Metadata = ReadonlyMap<string, JsonObject>
type Headers = readonly (readonly [name: string, value: string])[]

export interface Claimed {
  /** What filters behind that for tokens know. */
  readonly metadata: Metadata
  /** With those that are made of claims, and without the client's own of these names. */
  readonly headers: Headers
}

/** The claims are those of the rule whose issuer `iss` names; without one of the first. */
export function claimed({ providers }: JwtAuthentication, claims: JsonObject, headers: Headers): Claimed {
  const provider = providers.find(({ issuer }) => issuer === claims['iss']) ?? providers[0]
  if (provider === undefined) return { metadata: new Map(), headers }
  const payload = withLists(claims, provider.spaceDelimitedClaims)
  const ours = new Set(providers.flatMap((p) => [p.payloadHeader, ...p.claimHeaders.map((c) => c.header)]))
  const made = provider.claimHeaders.flatMap(({ header, claim }): Headers => {
    const text = claimText(claims, claim)
    return text === '' ? [] : [[header, text]]
  })
  return {
    metadata: new Map([[JWT_METADATA, { [provider.payloadMetadata]: payload }]]),
    headers: [...headers.filter(([name]) => !ours.has(name.toLowerCase())), ...made],
  }
}
