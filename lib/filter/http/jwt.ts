// Hot lane: tokens (Envoy's jwt_authn filter, of which istiod makes at most one). It stands before authorization, which asks for the claims, and at
// gateways before the choice of the route, so that the route is chosen once, by what has been verified, and never by a header that only we may make of a claim. A token itself is never
// logged, and no further than its cache remembered.

import type { JsonObject } from '../../base/json-value.ts'
import * as S from '../../decide/steps.ts'
import type { JwtAuthenticator } from '../../policy/jwt.ts'
import * as T from '../../policy/jwt-status.ts'
import { JWT_METADATA } from '../../state/route.ts'
import { CONTINUE, STOP } from './chain.ts'
import type { HttpStream } from './http-stream.ts'
import { JWT_DENIED } from './reasons.ts'

/** What a client is told of the address that it asked for, at most. */
const MAX_REALM_PATH = 256

export function beginJwt(stream: HttpStream): number {
  const { manager } = stream
  const { tokens, values, stats } = manager
  if (tokens === null) return CONTINUE
  const { choosesRoute } = tokens.config
  tokens.removeOutputs(stream)
  const asked = pathOf(stream)
  if (stream.query !== null) hideTokens(stream, tokens)
  if (tokens.config.bypassCorsPreflight && isPreflight(stream)) {
    if (choosesRoute) stream.chooseRoute()
    values[stats.jwtCorsPreflightBypassed]!++
    return CONTINUE
  }
  stream.tokens = tokens
  const status = tokens.check(stream, nowS())
  if (status === T.OK) believe(stream, tokens)
  if (choosesRoute) stream.chooseRoute()
  manager.steps.resume(stream.decision.steps)
  manager.steps.add(S.JWT, status, tokens.refusedBy)
  if (status === T.OK) {
    values[stats.jwtAllowed]!++
    return CONTINUE
  }
  values[stats.jwtDenied]!++
  refuse(stream, status, asked)
  return STOP
}

/** The system's clock, not the event's: that one does not notice when the time is set right. */
function nowS(): number {
  return Math.floor(Date.now() / 1000)
}

/** Claims are for those who come behind. */
function believe(stream: HttpStream, { verified }: JwtAuthenticator): void {
  if (verified.length === 0) return
  const found: Record<string, JsonObject> = {}
  for (const { provider, claims } of verified) {
    if (provider.payloadMetadata !== '') found[provider.payloadMetadata] = claims
  }
  stream.metadata = new Map([[JWT_METADATA, found]])
}

function refuse(stream: HttpStream, status: number, path: string): void {
  const text = T.statusText(status)
  const error = status === T.MISSING ? '' : ', error="invalid_token"'
  const realm = `${stream.scheme}://${stream.authority}${path.substring(0, MAX_REALM_PATH)}`
  const reason = {
    ...JWT_DENIED,
    status: status === T.AUDIENCE_NOT_ALLOWED ? 403 : 401,
    details: `jwt_authn_access_denied{${text.replaceAll(' ', '_')}}`,
    body: text,
  }
  stream.reply(reason, 0, `Bearer realm="${realm}"${error}`)
}

function pathOf({ path, query }: HttpStream): string {
  return query === null ? path : `${path}?${query}`
}

/** What logs show of the address is without its tokens, be they good or bad. */
function hideTokens(stream: HttpStream, tokens: JwtAuthenticator): void {
  const query = tokens.withoutTokens(stream.query as string)
  if (query !== stream.query) stream.originalPath = query === null ? stream.path : `${stream.path}?${query}`
}

/** Fetch §3.2.2: credentials never come with it. */
function isPreflight({ method, headers }: HttpStream): boolean {
  if (method !== 'OPTIONS') return false
  return (headers.get('origin') ?? '') !== '' && (headers.get('access-control-request-method') ?? '') !== ''
}
