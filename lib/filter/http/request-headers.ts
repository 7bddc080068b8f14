// Hot lane: the header section of a request as its upstream gets it: edits, then host rewrite, then path rewrite (Envoy router).
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import { RequestHead } from '../../http/request-head.ts'
import type { CompiledRoute } from '../../route/compiled-route.ts'
import { applyEdits } from '../../route/header-edits.ts'
import { rewriteTarget, rewrittenHost } from '../../route/rewrite.ts'
import type { ForwardAction } from '../../state/route.ts'
import type { HttpStream } from './http-stream.ts'
import { tellUpstream } from './peer-metadata.ts'

/** Methods whose requests have no body unless they say so; for the others an absent body is said with `content-length: 0` (Envoy). */
function mayOmitLength(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'DELETE' || method === 'CONNECT' || method === 'TRACE'
}

/** Edits the stream's headers in place, once, before the first attempt. Returns the target to send. */
export function finaliseRequest(stream: HttpStream, route: CompiledRoute, action: ForwardAction): string {
  const { headers, decision, manager } = stream
  const { weighted } = decision
  const { envoyHeaders: tells, peers } = manager.config.settings
  if (peers !== null) tellUpstream(stream, headers, peers)
  if (weighted !== null && weighted.requestEdits !== null) applyEdits(weighted.requestEdits, headers, stream)
  if (route.requestEdits !== null) applyEdits(route.requestEdits, headers, stream)
  // With several destinations theirs comes first and leaves no trace; the route's then overwrites it (Istio HTTPRewrite).
  const append = action.appendForwardedHost
  if (weighted !== null && weighted.hostRewrite !== '') replaceHost(stream, headers, weighted.hostRewrite, append)
  const host = route.hostRewrite === null ? action.hostRewrite : rewrittenHost(route.hostRewrite, stream.path, headers)
  if (host !== '') {
    const before = stream.authority
    replaceHost(stream, headers, host, append)
    if (tells) headers.set('x-envoy-original-host', before)
  }
  // What is logged may lack a token that goes on.
  const original = stream.tokens === null ? stream.originalPath : targetOf(stream)
  let target = original
  if (route.pathRewrite !== null) {
    target = rewriteTarget(route, stream.path, stream.query)
    if (tells && target !== original) headers.set('x-envoy-original-path', original)
    stream.rewrittenPath =
      original === stream.originalPath ? target : rewriteTarget(route, stream.path, queryOf(stream.originalPath))
  }
  return target
}

/** null: there is none. */
function queryOf(target: string): string | null {
  const mark = target.indexOf('?')
  return mark < 0 ? null : target.substring(mark + 1)
}

function targetOf({ path, query }: HttpStream): string {
  return query === null ? path : `${path}?${query}`
}

/** The head that goes to `target` with these headers, those of the request or of a copy of it. */
export function requestHead(stream: HttpStream, target: string, headers: HeaderMap): RequestHead {
  const { method, scheme, upgrade, session } = stream
  const http1Fields = http1FieldsOf(stream, headers)
  // The length of gRPC-Web is not that of gRPC.
  const chunked = session.bodyLength < 0 || (stream.grpcWeb !== null && session.hasBody)
  return new RequestHead(method, scheme, target, upgrade, headers, http1Fields, chunked, session.neverIndexed)
}

/** HTTP/2 says by END_STREAM that there is no body, and asks for another protocol in a pseudo-header. */
function http1FieldsOf(stream: HttpStream, headers: HeaderMap): string {
  const upgrade = stream.upgrade === '' ? '' : `connection: ${stream.upgradeOption}\r\nupgrade: ${stream.upgrade}\r\n`
  if (stream.session.hasBody || headers.firstKnown(H.H_CONTENT_LENGTH) >= 0 || mayOmitLength(stream.method)) return upgrade
  return `${upgrade}content-length: 0\r\n`
}

function replaceHost(stream: HttpStream, headers: HeaderMap, host: string, append: boolean): void {
  if (append) appendForwardedHost(stream.authority, headers)
  headers.set('host', host)
  stream.authority = host
}

/** Once, if it was the last already (Envoy append_x_forwarded_host). */
function appendForwardedHost(authority: string, headers: HeaderMap): void {
  const before = headers.get('x-forwarded-host')
  if (before === null) headers.set('x-forwarded-host', authority)
  else if (before.substring(before.lastIndexOf(',') + 1).trim() !== authority)
    headers.set('x-forwarded-host', `${before},${authority}`)
}
