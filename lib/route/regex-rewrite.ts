// Rewrites of paths that istiod writes as patterns for rules of the Gateway API, and that need none.
import type { PathRewrite, RouteMatch } from '../state/route.ts'

/** A whole path: nothing of it is kept. */
const WHOLE = '/.*'
/** Behind a prefix, quoted, that becomes `/`. */
const REST = '(/?)(.*)'

/** What a pattern and its replacement do to a path that fits `match`. */
export function regexRewrite(pattern: string, value: string, { path }: RouteMatch): PathRewrite {
  if (pattern === WHOLE && !value.includes('\\')) return { kind: 'full', pattern: '', value }
  if (path?.kind === 'pathPrefix' && value === '/\\2' && pattern === `^${quoted(path.value)}${REST}`)
    return { kind: 'prefix', pattern: '', value: '' }
  return { kind: 'regex', pattern, value }
}

/** Go regexp.QuoteMeta. */
function quoted(text: string): string {
  return text.replaceAll(/[\\.+*?()|[\]{}^$]/g, '\\$&')
}
