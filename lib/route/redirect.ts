// Hot lane: runs for each request that is answered with a redirect. Envoy RouteEntryImplBase::newUri, VirtualService HTTPRedirect.
import type { RedirectAction } from '../state/route.ts'
import { portColon } from './authority.ts'
import type { RequestView } from './request-view.ts'

/**
 * The Location of a redirect. `matchedPrefixLength` is `CompiledRoute.matchedLength(view.path)`; `listenerPort` the port that
 * the request came in on, as its listener knows it; `rewrittenPath` what a pattern makes of the path, null without one.
 */
export function locationOf(
  redirect: RedirectAction,
  view: RequestView,
  matchedPrefixLength: number,
  listenerPort: number,
  rewrittenPath: string | null = null,
): string {
  const scheme = redirect.scheme === '' ? view.scheme : redirect.scheme
  const port = redirect.portFromListener ? listenerPort : redirect.port
  const host = redirect.authority === '' ? requestHost(view, scheme, port !== 0) : redirect.authority
  const path = pathOf(redirect, view, matchedPrefixLength, rewrittenPath)
  // Envoy sees to it that the path cannot run into the host.
  return `${scheme}://${host}${port === 0 ? '' : `:${port}`}${path.startsWith('/') ? '' : '/'}${path}`
}

/** The request's host. Its port goes when another is given, or when it is the default of a scheme that changes. */
function requestHost(view: RequestView, scheme: string, hasPort: boolean): string {
  const authority = view.authority
  const colon = portColon(authority)
  if (colon < 0) return authority
  // Which port it was is by what the client used; neither of the two has none.
  const before = view.headers.get('x-forwarded-proto') ?? view.scheme
  const oldDefault = isScheme(before, 'https') ? ':443' : isScheme(before, 'http') ? ':80' : ''
  const dropped = hasPort || (scheme !== before && authority.substring(colon) === oldDefault)
  return dropped ? authority.substring(0, colon) : authority
}

function pathOf(redirect: RedirectAction, view: RequestView, matchedPrefixLength: number, rewritten: string | null): string {
  const query = view.query === null || redirect.stripQuery ? '' : `?${view.query}`
  if (redirect.path !== '') return redirect.path.includes('?') ? redirect.path : redirect.path + query
  const path =
    redirect.prefixRewrite !== null ? redirect.prefixRewrite + view.path.substring(matchedPrefixLength) : (rewritten ?? view.path)
  // What is written may have a query of its own.
  return redirect.stripQuery ? (path.split('?', 1)[0] as string) : path + query
}

/** Capitals too; they count as another scheme than the one that is written (Envoy). */
function isScheme(text: string, scheme: string): boolean {
  return text === scheme || (text.length === scheme.length && text.toLowerCase() === scheme)
}
