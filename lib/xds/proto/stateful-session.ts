// envoy.extensions.filters.http.stateful_session.v3: requests of a session stay with their endpoint.
import { TypedExtensionConfig } from './core.ts'
import { bool, message, one, oneof } from './schema.ts'

export const StatefulSession = message('envoy.extensions.filters.http.stateful_session.v3.StatefulSession', {
  session_state: one(1, TypedExtensionConfig),
  strict: bool(2),
})
export const StatefulSessionPerRoute = message('envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute', {
  ...oneof('override', { disabled: bool(1), stateful_session: one(2, StatefulSession) }),
})
