// Hot lane: the header section of an upstream's response as the client gets it.
import type { Decision } from '../../decide/decision.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import type { UpstreamStream } from '../../pool/upstream-stream.ts'
import { applyEdits } from '../../route/header-edits.ts'
import type { HttpConnectionManager } from '../network/http-connection-manager.ts'
import { addCorsHeaders } from './cors.ts'
import type { HttpStream } from './http-stream.ts'
import { answerClient, takeUpstream } from './peer-metadata.ts'

/** Edits, and the fields that are the proxy's own. */
export function finaliseResponse(stream: HttpStream, upstream: UpstreamStream, serviceTimeMs: number): void {
  const { headers } = upstream
  const { manager, decision } = stream
  stream.responseHeaders = headers
  stream.responseCode = upstream.status
  // The pool has read Keep-Alive; the client has a connection of its own.
  headers.removeKnown(H.H_KEEP_ALIVE)
  headers.removeKnown(H.H_X_ENVOY_UPSTREAM_SERVICE_TIME)
  const { peers } = manager.config.settings
  if (peers !== null) {
    if (peers.readsUpstreams) takeUpstream(stream, headers)
    if (peers.clients) answerClient(stream, headers)
  }
  if (upstream.status !== 101 && manager.config.settings.envoyHeaders)
    headers.append('x-envoy-upstream-service-time', String(serviceTimeMs))
  const { weighted, route } = decision
  if (decision.cookiesMade !== 0) addHashCookies(decision, headers)
  if (weighted !== null && weighted.responseEdits !== null) applyEdits(weighted.responseEdits, headers, stream)
  if (route !== null && route.responseEdits !== null) applyEdits(route.responseEdits, headers, stream)
  if (decision.session !== null) saySession(stream, headers)
  if (stream.corsOrigin !== '') addCorsHeaders(stream, headers)
  if (headers.firstKnown(H.H_DATE) < 0 && headers.get('date') === null) headers.append('date', manager.io.clock.httpDate())
  if (manager.config.settings.answersRequestIds) sayRequestId(stream, headers)
  nameServer(headers, manager)
}

/** An upstream that names itself may be let have its way (Envoy server_header_transformation). */
function nameServer(headers: HeaderMap, { config, serverName }: HttpConnectionManager): void {
  const { serverHeader } = config.settings
  if (serverHeader === 'pass_through' || (serverHeader === 'append_if_absent' && headers.firstKnown(H.H_SERVER) >= 0)) return
  headers.removeKnown(H.H_SERVER)
  headers.append('server', serverName)
}

export function sayRequestId(stream: HttpStream, headers: HeaderMap): void {
  const id = stream.requestHeader('x-request-id')
  if (id !== null) headers.set('x-request-id', id)
}

/** The client of a session is told which endpoint it belongs to from now on, when that is another one than it said. */
export function saySession({ decision, upstreamHost, startTimeMs }: HttpStream, headers: HeaderMap): void {
  if (upstreamHost !== decision.sessionAddress) decision.session?.say(upstreamHost, headers, Math.floor(startTimeMs / 1000))
}

/** The client is told which endpoint it belongs to; edits may take it away again (Envoy). */
function addHashCookies(decision: Decision, headers: HeaderMap): void {
  const hash = decision.route === null ? null : decision.route.hash
  if (hash === null) return
  const cookies = hash.setCookies(decision.cookiesMade, decision.cookie)
  for (let i = 0; i < cookies.length; i++) headers.append('set-cookie', cookies[i] as string)
}
