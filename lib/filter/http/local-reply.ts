// Hot lane: the one place where heddle's own answers are made, for HTTP and gRPC alike.
import { HeaderMap } from '../../http/header-map.ts'
import { grpcStatusOf } from '../../route/grpc-status-names.ts'
import { applyEdits } from '../../route/header-edits.ts'
import { addCorsHeaders } from './cors.ts'
import type { HttpStream } from './http-stream.ts'
import { answerClient } from './peer-metadata.ts'
import { sayRequestId, saySession } from './response-headers.ts'

/**
 * Answers with a status and a short text. Edits of the route and its destination apply, as to any response. `overloaded`: a limit of
 * connectionPool is the reason, and the client is told. `challenge`: www-authenticate; empty: none.
 */
export function sendLocalReply(
  stream: HttpStream,
  status: number,
  body: string,
  closes: boolean,
  overloaded = false,
  challenge = '',
  grpcStatus = grpcStatusOf(status),
): void {
  const headers = new HeaderMap()
  if (challenge !== '') headers.append('www-authenticate', challenge)
  if (overloaded && stream.manager.config.settings.envoyHeaders) headers.append('x-envoy-overloaded', 'true')
  if (stream.isGrpc() && stream.grpcWeb === null) {
    if (closes) stream.clientKeepsAlive = false
    sendGrpc(stream, headers, grpcStatus, body)
    return
  }
  if (body !== '') {
    headers.append('content-length', String(body.length))
    headers.append('content-type', 'text/plain')
  }
  send(stream, status, headers, body, closes)
}

/** Trailers-only: 200, grpc-status and grpc-message, no body. */
export function sendGrpcReply(stream: HttpStream, grpcStatus: number, message: string): void {
  sendGrpc(stream, new HeaderMap(), grpcStatus, message)
}

function sendGrpc(stream: HttpStream, headers: HeaderMap, grpcStatus: number, message: string): void {
  edit(stream, 200, headers)
  // The route's edits may not turn it into something else.
  headers.set('content-type', 'application/grpc')
  headers.set('grpc-status', String(grpcStatus))
  if (message !== '') headers.set('grpc-message', percentEncode(message))
  stream.grpcStatus = grpcStatus
  deliver(stream, 200, headers, '', false)
}

/** A redirect or direct response: the route's own answer. `location` is empty for none. */
export function sendRouteReply(stream: HttpStream, status: number, location: string, body: string): void {
  const headers = new HeaderMap()
  if (location !== '') headers.append('location', location)
  if (stream.isGrpc() && stream.grpcWeb === null) {
    sendGrpc(stream, headers, grpcStatusOf(status), body)
    return
  }
  if (body !== '') {
    headers.append('content-length', String(body.length))
    headers.append('content-type', 'text/plain')
  }
  send(stream, status, headers, body, false)
}

/** An answer that a filter makes by itself, without a body. Edits of the route do not apply to it (Envoy: only to local replies proper). */
export function sendFilterReply(stream: HttpStream, status: number, headers: HeaderMap): void {
  stream.responseCode = status
  stream.responseHeaders = headers
  deliver(stream, status, headers, '', false)
}

function send(stream: HttpStream, status: number, headers: HeaderMap, body: string, closes: boolean): void {
  edit(stream, status, headers)
  deliver(stream, status, headers, body, closes)
}

function edit(stream: HttpStream, status: number, headers: HeaderMap): void {
  stream.responseCode = status
  stream.responseHeaders = headers
  const { weighted, route } = stream.decision
  if (weighted !== null && weighted.responseEdits !== null) applyEdits(weighted.responseEdits, headers, stream)
  if (route !== null && route.responseEdits !== null) applyEdits(route.responseEdits, headers, stream)
}

function deliver(stream: HttpStream, status: number, headers: HeaderMap, body: string, closes: boolean): void {
  const { manager } = stream
  if (stream.decision.session !== null && stream.upstreamHost !== '') saySession(stream, headers)
  if (stream.corsOrigin !== '') addCorsHeaders(stream, headers)
  if (manager.config.settings.answersRequestIds) sayRequestId(stream, headers)
  if (manager.config.settings.peers !== null) answerClient(stream, headers)
  headers.append('date', manager.io.clock.httpDate())
  headers.append('server', manager.serverName)
  const bodyless = status === 204 || status === 304 || status < 200
  // HTTP/2 says with its head that nothing follows.
  if (body === '' && !bodyless && stream.session.protocol !== 'HTTP/2') headers.append('content-length', '0')
  if (bodyless) headers.remove('content-length')
  // The unread rest of a request cannot be told from the next one without reading it all.
  if (closes || !stream.requestEnded) {
    if (stream.session.hasBody || closes) stream.clientKeepsAlive = false
  }
  const withBody = body !== '' && !bodyless && stream.method !== 'HEAD'
  stream.startResponse(status, headers, body.length, withBody)
  if (withBody) stream.sendText(body)
  // A request without a body has ended with its head, whether the codec has said so yet or not.
  if (!stream.session.hasBody) stream.requestEnded = true
  stream.endResponse('')
}

/** grpc-message: bytes outside printable ASCII and `%` are percent-encoded (gRPC over HTTP/2). */
export function percentEncode(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`)
}
