// Hot lane: gRPC-Web of browsers, made gRPC on the way in and gRPC-Web again on the way out (Envoy grpc_web filter, PROTOCOL-WEB.md of gRPC). Made for requests
// of those types only. Trailers, which browsers cannot read, become the last frame of the body; what is no gRPC, such as our own answers, is told in
// `grpc-status` and `grpc-message`.

import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import { grpcStatusOf } from '../../route/grpc-status-names.ts'
import { CONTINUE } from './chain.ts'
import type { HttpStream } from './http-stream.ts'
import { percentEncode } from './local-reply.ts'
import { GRPC_WEB_BASE64, GRPC_WEB_LENGTH } from './reasons.ts'

const BINARY = 'application/grpc-web'
const BINARY_PROTO = 'application/grpc-web+proto'
const TEXT = 'application/grpc-web-text'
const TEXT_PROTO = 'application/grpc-web-text+proto'
/** Of a frame that holds trailers. */
const TRAILERS = 0x80
/** Of a body that is no gRPC; it goes into a header (Envoy). */
const MAX_MESSAGE = 16_384
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

export function beginGrpcWeb(stream: HttpStream): number {
  if (!stream.manager.config.settings.grpcWeb) return CONTINUE
  const { headers } = stream
  const at = headers.firstKnown(H.H_CONTENT_TYPE)
  const type = at < 0 ? '' : headers.valueAt(at)
  const text = type === TEXT || type === TEXT_PROTO
  if (!text && type !== BINARY && type !== BINARY_PROTO) return CONTINUE
  const accept = headers.get('accept')
  headers.set('content-type', 'application/grpc')
  headers.set('te', 'trailers')
  headers.removeKnown(H.H_CONTENT_LENGTH)
  if (headers.get('grpc-accept-encoding') === null) headers.append('grpc-accept-encoding', 'identity')
  stream.beginGrpc()
  stream.grpcWeb = new GrpcWeb(stream, text, accept === TEXT || accept === TEXT_PROTO)
  stream.grpcWeb.takeHeld()
  return CONTINUE
}

export class GrpcWeb {
  private readonly stream: HttpStream
  private readonly textIn: boolean
  private readonly textOut: boolean
  /** Characters of base64 that are not four yet. */
  private rest: string
  /** A response that is no gRPC, until its body is there; null: none. */
  private held: HeaderMap | null
  private message: string

  constructor(stream: HttpStream, textIn: boolean, textOut: boolean) {
    this.stream = stream
    this.textIn = textIn
    this.textOut = textOut
    this.rest = ''
    this.held = null
    this.message = ''
  }

  /** What came of the body while another filter held the request. */
  takeHeld(): void {
    const { held } = this.stream
    if (held === null || !this.textIn) return
    const chunks = held.chunks.splice(0)
    held.clear()
    for (const chunk of chunks) {
      const bytes = this.decoded(chunk, 0, chunk.length)
      if (bytes !== null) held.append(bytes, 0, bytes.length)
    }
    if (this.stream.requestEnded) this.endRequest()
  }

  // ---- the request -----------------------------------------------------------------------------------------------------

  onRequestBody(bytes: Buffer, start: number, end: number): void {
    if (!this.textIn) this.stream.takeRequestBody(bytes, start, end)
    else {
      const decoded = this.decoded(bytes, start, end)
      if (decoded !== null && decoded.length > 0) this.stream.takeRequestBody(decoded, 0, decoded.length)
    }
  }

  /** Messages are encoded each by itself, or all of them at once: padding may be at the end of any part. null: it has been answered. */
  private decoded(bytes: Buffer, start: number, end: number): Buffer | null {
    const text = this.rest + bytes.toString('latin1', start, end)
    const whole = text.length - (text.length % 4)
    this.rest = text.substring(whole)
    const taken = whole === text.length ? text : text.substring(0, whole)
    if (BASE64.test(taken)) return Buffer.from(taken, 'base64')
    this.stream.reply(GRPC_WEB_BASE64)
    return null
  }

  /** False: it has been answered. */
  endRequest(): boolean {
    if (this.rest === '') return true
    this.stream.reply(GRPC_WEB_LENGTH)
    return false
  }

  // ---- the response ----------------------------------------------------------------------------------------------------

  /** True: its head goes out when its end is there. */
  beginResponse(status: number, headers: HeaderMap, withBody: boolean): boolean {
    const grpc = status === 200 && isGrpc(headers)
    headers.set('content-type', this.textOut ? TEXT_PROTO : BINARY_PROTO)
    if (!withBody) return false
    headers.removeKnown(H.H_CONTENT_LENGTH)
    headers.remove('content-length')
    if (!grpc) this.held = headers
    return !grpc
  }

  sendBody(bytes: Buffer, start: number, end: number): boolean {
    if (this.held !== null) {
      if (this.message.length < MAX_MESSAGE) this.message += bytes.toString('latin1', start, end)
      return true
    }
    return this.send(bytes, start, end)
  }

  private send(bytes: Buffer, start: number, end: number): boolean {
    if (!this.textOut) return this.stream.passBody(bytes, start, end)
    const text = Buffer.from(bytes.toString('base64', start, end), 'latin1')
    return this.stream.passBody(text, 0, text.length)
  }

  /** `trailers` are field lines. */
  endResponse(trailers: string): void {
    const { held, stream } = this
    if (held !== null) {
      this.held = null
      if (this.message !== '') held.set('grpc-message', percentEncode(this.message.substring(0, MAX_MESSAGE)))
      const status = grpcStatusOf(stream.responseCode)
      held.set('grpc-status', String(status))
      stream.grpcStatus = status
      if (stream.session.protocol !== 'HTTP/2') held.append('content-length', '0')
      stream.sendHead(stream.responseCode, held, 0, false)
    } else if (trailers !== '') {
      const frame = frameOf(trailers)
      this.send(frame, 0, frame.length)
    }
  }
}

function isGrpc(headers: HeaderMap): boolean {
  const type = headers.get('content-type')
  return type !== null && (type === 'application/grpc' || type.startsWith('application/grpc+'))
}

function frameOf(trailers: string): Buffer {
  let text = ''
  for (const line of trailers.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) text += `${line.substring(0, colon).toLowerCase()}:${line.substring(colon + 1).trim()}\r\n`
  }
  const frame = Buffer.allocUnsafe(5 + text.length)
  frame[0] = TRAILERS
  frame.writeUInt32BE(text.length, 1)
  frame.write(text, 5, 'latin1')
  return frame
}
