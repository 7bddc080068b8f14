// Which trailer fields are passed on. Whoever merges trailers into a header section must not learn from them how long the message was, whom it
// was for or who sent it (RFC 9110 §6.5.1): those are dropped, as their sender had no business to write them there.
import type { HeaderMap } from './header-map.ts'

/** Framing, routing, authentication, request modifiers, response control and content format. */
const DROPPED: ReadonlySet<string> = new Set(
  (
    'content-length transfer-encoding trailer te connection keep-alive proxy-connection upgrade http2-settings ' +
    'host forwarded via x-request-id x-real-ip ' +
    'authorization proxy-authorization www-authenticate proxy-authenticate cookie set-cookie ' +
    'expect max-forwards range if-match if-none-match if-modified-since if-unmodified-since if-range ' +
    'cache-control pragma age expires location retry-after vary warning ' +
    'content-encoding content-type content-range'
  ).split(' '),
)

/** Names by which proxies tell each other what they trust. */
const DROPPED_PREFIXES: readonly string[] = ['x-forwarded-', 'x-envoy-']

/** May a trailer field of this lower-case name be passed on? */
export function isForwardedTrailer(lowerCaseName: string): boolean {
  if (DROPPED.has(lowerCaseName)) return false
  for (let i = 0; i < DROPPED_PREFIXES.length; i++) if (lowerCaseName.startsWith(DROPPED_PREFIXES[i] as string)) return false
  return true
}

/** Field lines of the trailers that are passed on; empty for none. Takes the others out of `trailers`. */
export function forwardedTrailers(trailers: HeaderMap): string {
  for (let i = 0; i < trailers.count; i++) {
    if (!isForwardedTrailer(trailers.nameAt(i).toLowerCase())) trailers.removeAt(i)
  }
  return trailers.serialise()
}
