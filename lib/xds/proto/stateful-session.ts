// envoy.extensions.filters.http.stateful_session.v3: requests of a session stay with their endpoint.
import { TypedExtensionConfig } from './core.ts'
import { bool, type Decoded, duration, message, one, oneof, text } from './schema.ts'

export const StatefulSession = message('envoy.extensions.filters.http.stateful_session.v3.StatefulSession', {
  session_state: one(1, TypedExtensionConfig),
  strict: bool(2),
})
export type StatefulSession = Decoded<typeof StatefulSession>
export const StatefulSessionPerRoute = message('envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute', {
  ...oneof('override', { disabled: bool(1), stateful_session: one(2, StatefulSession) }),
})

export const Cookie = message('envoy.type.http.v3.Cookie', { name: text(1), ttl: duration(2), path: text(3) })
export const CookieBasedSessionState = message('envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState', {
  cookie: one(1, Cookie),
})
export const HeaderBasedSessionState = message('envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState', {
  name: text(1),
})
