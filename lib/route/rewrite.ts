// Hot lane: runs for each request that is forwarded.
import type { CompiledHostRewrite, CompiledRoute } from './compiled-route.ts'
import type { HeaderView } from './request-view.ts'

/**
 * The target to send for a normalised path and its query (null: none). Replacements are literal text: no slash is added, a
 * `?` in one means nothing, the query stays (VirtualService HTTPRewrite).
 */
export function rewriteTarget(route: CompiledRoute, path: string, query: string | null): string {
  const rewritten = route.pathRewrite === null ? path : rewritePath(route, path)
  return query === null ? rewritten : `${rewritten}?${query}`
}

function rewritePath(route: CompiledRoute, path: string): string {
  const rewrite = route.pathRewrite
  if (rewrite === null) return path
  if (rewrite.kind === 'full') return rewrite.value
  if (rewrite.kind === 'regex') {
    // A path of nothing would be no request: it stays as it was (Envoy).
    return rewrite.regex === null || rewrite.template === null ? path : rewrite.regex.replaceAll(path, rewrite.template) || path
  }
  // A prefix that is taken off may have been all of it.
  return rewrite.value + path.substring(route.matchedLength(path)) || '/'
}

/** The host that the request or its path says; empty: none. */
export function rewrittenHost({ header, regex, template }: CompiledHostRewrite, path: string, headers: HeaderView): string {
  if (header !== '') return headers.get(header) ?? ''
  return regex === null || template === null ? '' : regex.replaceAll(path, template)
}
