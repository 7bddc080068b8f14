// Who a client says it is by a token (RFC 7519), at the level of Envoy's jwt_authn filter (envoy.extensions.filters.http.jwt_authn.v3): what
// RequestAuthentications are compiled to, and what that filter of xDS is translated to. Plain data; evaluated by `policy/jwt.ts`.
import type { Origin } from './origin.ts'

/** The filter of a chain. */
export interface JwtAuthentication {
  /** Names are unique. */
  readonly providers: readonly JwtProvider[]
  readonly requires: JwtRequirement
  /** OPTIONS with Origin and Access-Control-Request-Method needs no token: browsers send none. */
  readonly bypassCorsPreflight: boolean
  /**
   * The route is chosen by what tokens said: claims, headers made of them, and without the tokens that were taken off (clear_route_cache, which istiod sets at
   * gateways and waypoints). Otherwise by the request as it came.
   */
  readonly choosesRoute: boolean
}

/** One who issues tokens, where they are looked for, and what becomes of one that is valid. */
export interface JwtProvider {
  readonly name: string
  /** What `iss` has to be; empty: whatever it is. */
  readonly issuer: string
  /** `aud` names one of them; empty: it is not looked at. */
  readonly audiences: readonly string[]
  readonly keys: JwksSource
  /** All empty: `authorization: Bearer …`, and the query parameter `access_token`. */
  readonly headers: readonly JwtHeader[]
  readonly params: readonly string[]
  readonly cookies: readonly string[]
  /** false: the token is taken off its header or query parameter when it is valid. One in a cookie stays. */
  readonly forward: boolean
  /** Lower-case name of a header that gets the payload as base64url; empty: none. */
  readonly payloadHeader: string
  readonly claimHeaders: readonly ClaimHeader[]
  /** Under which name its claims are found by those behind the filter (`payload`); empty: they are not. */
  readonly payloadMetadata: string
  /** Claims whose texts are lists, with spaces between the elements. */
  readonly spaceDelimitedClaims: readonly string[]
  /** How far our clock and the issuer's may differ. */
  readonly clockSkewS: number
  /** The rule of the RequestAuthentication. */
  readonly origin: Origin
}

/** A header of requests that may have a token, which begins behind `prefix`; a value without that has none. */
export interface JwtHeader {
  /** Lower case. */
  readonly name: string
  readonly prefix: string
}

/** A claim that upstreams get as a header: texts, numbers and booleans. */
export interface ClaimHeader {
  /** Lower case. */
  readonly header: string
  /** `a.b` is `b` of the object `a`. */
  readonly claim: string
}

/** Keys that tokens are verified with. */
export interface JwksSource {
  /** A JWK Set as JSON (RFC 7517 §5). Empty: it has to be fetched and has not been: each token is refused. */
  readonly jwks: string
  /** Where they come from; empty: they were given. */
  readonly uri: string
  /** `uri` is an OpenID provider's document, whose `jwks_uri` says where the keys are. */
  readonly discovery: boolean
  /** Of one fetch. */
  readonly timeoutMs: number
  /** When they are fetched again. */
  readonly refreshMs: number
  /** null: they are asked for at the address itself. */
  readonly through: JwksCluster | null
}

/** Whose endpoints are asked for keys, in the way in which they are spoken to (Envoy RemoteJwks). `uri` says the path and the host that is asked for, no more. */
export interface JwksCluster {
  readonly cluster: string
  /** Within `timeoutMs`, of what was not answered or with 5xx. */
  readonly retries: number
  readonly retryBaseMs: number
  readonly retryMaxMs: number
  /** How long after one that failed the next fetch begins; 0: as we think fit. */
  readonly againMs: number
}

export type JwtRequirement =
  /** Nothing is asked. */
  | { readonly kind: 'none' }
  /** A valid token of this provider; `audiences` in place of the provider's own, where there are any. */
  | { readonly kind: 'provider'; readonly provider: string; readonly audiences: readonly string[] }
  /** In order, until one holds. */
  | { readonly kind: 'any'; readonly of: readonly JwtRequirement[] }
  /** In order, until one does not hold. */
  | { readonly kind: 'all'; readonly of: readonly JwtRequirement[] }
  /** No token; or of whichever provider, when all are valid. */
  | { readonly kind: 'missing' }
  /** Whatever is sent. */
  | { readonly kind: 'missingOrFailed' }
