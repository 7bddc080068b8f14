// Sessions that stay with their endpoints (envoy.extensions.filters.http.stateful_session.v3), of a listener and of routes.
import type { SessionState } from '../../state/route.ts'
import { typeUrlOf } from '../proto/schema.ts'
import { CookieBasedSessionState, HeaderBasedSessionState, type StatefulSession } from '../proto/stateful-session.ts'
import type { Findings } from './findings.ts'

/** null: it says nothing, or nothing that is understood: then requests go to any endpoint, and nobody is kept out. */
export function sessionOf({ session_state: state, strict }: StatefulSession, findings: Findings): SessionState | null {
  if (state === null) return null
  const at = findings.at('session_state')
  const packed = state.typed_config
  if (packed?.typeUrl === typeUrlOf(HeaderBasedSessionState)) {
    const { name = '' } = at.decode(packed.value, HeaderBasedSessionState) ?? {}
    if (name === '') at.fault('the header needs a name')
    return { kind: 'header', name, path: '', ttlSeconds: 0, strict }
  }
  if (packed?.typeUrl === typeUrlOf(CookieBasedSessionState)) {
    const cookie = at.decode(packed.value, CookieBasedSessionState)?.cookie ?? null
    if (cookie === null || cookie.name === '') at.fault('the cookie needs a name')
    const { name = '', path = '', ttl = null } = cookie ?? {}
    return { kind: 'cookie', name, path, ttlSeconds: Math.floor((ttl ?? 0) / 1000), strict }
  }
  at.note(`${state.name} is not understood: sessions do not stay with their endpoints`)
  return null
}
