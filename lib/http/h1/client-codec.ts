// Hot lane: HTTP/1 towards an upstream: one request at a time, then the events of its response.
import { latin1Slice } from '../../base/latin1.ts'
import type { Connection } from '../../transport/connection.ts'
import { HeaderMap } from '../header-map.ts'
import { BodyDecoder, type BodySink, CHUNKED, NEED_MORE, NO_BODY, UNTIL_CLOSE } from './body-decoder.ts'
import { Framing } from './framing.ts'
import { INCOMPLETE, parseResponseHead, StartLine } from './parse-head.ts'

export interface ClientEvents extends BodySink {
  /** A 1xx other than 101. */
  onInformational(status: number, headers: HeaderMap): void
  /** The head is complete: read `status`, `headers`, `hasBody`, `bodyLength` of the codec. A 101 arrives here too. */
  onResponse(): void
  onResponseEnd(trailers: HeaderMap | null): void
  /** What came is not HTTP/1. A code of parse-head, framing or body-decoder; the connection cannot be used any more. */
  onResponseError(code: number): void
  onTunnelData(bytes: Buffer, start: number, end: number): void
}

// IDLE → HEAD (request sent) → BODY? → IDLE … | TUNNEL | BROKEN
const IDLE = 0
const HEAD = 1
const BODY = 2
const TUNNEL = 3
const BROKEN = 4

/** A code of its own for bytes that nobody asked for. */
export const UNSOLICITED = -30

export class ClientCodec {
  readonly headers: HeaderMap
  readonly connection: Connection
  status: number
  minor: number
  hasBody: boolean
  /** -1: not known beforehand. */
  bodyLength: number
  /** The connection may carry another request after this one. */
  keepAlive: boolean
  /** Bytes of the response head. */
  headBytes: number
  private events: ClientEvents
  private readonly maxHeaders: number
  private readonly maxHeaderBytes: number
  private readonly line: StartLine
  private readonly framing: Framing
  private readonly body: BodyDecoder
  private state: number
  private toHead: boolean
  private toConnect: boolean
  private sendChunked: boolean
  private held: Buffer | null

  constructor(connection: Connection, events: ClientEvents, limits: { maxHeaders: number; maxHeaderBytes: number }) {
    this.headers = new HeaderMap()
    this.connection = connection
    this.status = 0
    this.minor = 1
    this.hasBody = false
    this.bodyLength = 0
    this.keepAlive = true
    this.headBytes = 0
    this.events = events
    this.maxHeaders = limits.maxHeaders === 0 ? 1e9 : limits.maxHeaders
    this.maxHeaderBytes = limits.maxHeaderBytes === 0 ? 1e9 : limits.maxHeaderBytes
    this.line = new StartLine()
    this.framing = new Framing()
    this.body = new BodyDecoder(new HeaderMap())
    this.state = IDLE
    this.toHead = false
    this.toConnect = false
    this.sendChunked = false
    this.held = null
  }

  /** Begins an exchange: its events go to `events`. */
  begin(events: ClientEvents, method: string): void {
    this.events = events
    this.state = HEAD
    this.line.resumeAt = 0
    this.headers.clear()
    this.keepAlive = true
    this.toHead = method === 'HEAD'
    this.toConnect = method === 'CONNECT'
    this.held = null
  }

  /** `fields` ends with CRLF when it is not empty and has neither framing nor hop-by-hop fields of its own, but content-length. */
  sendHeaders(method: string, target: string, fields: string, chunked: boolean): void {
    this.sendChunked = chunked
    this.connection.writeText(
      `${method} ${target} HTTP/1.1\r\n${fields}${chunked ? 'transfer-encoding: chunked\r\n\r\n' : '\r\n'}`,
    )
  }

  /** False when the upstream reads too slowly. */
  sendBody(bytes: Buffer, start: number, end: number): boolean {
    const c = this.connection
    if (this.sendChunked) {
      c.writeText(`${(end - start).toString(16)}\r\n`)
      c.writeBytes(bytes, start, end)
      c.writeText('\r\n')
    } else c.writeBytes(bytes, start, end)
    return c.writable
  }

  sendEnd(trailers: string): void {
    if (this.sendChunked) this.connection.writeText(`0\r\n${trailers}\r\n`)
  }

  execute(bytes: Buffer, length: number): void {
    let b = bytes
    let end = length
    if (this.held !== null) {
      b = Buffer.allocUnsafe(this.held.length + length + 1)
      this.held.copy(b)
      bytes.copy(b, this.held.length, 0, length)
      end = this.held.length + length
      this.held = null
    }
    let p = 0
    while (p < end) {
      switch (this.state) {
        case HEAD: {
          b[end] = 0
          const at = parseResponseHead(b, p, end, this.line, this.headers, this.maxHeaders, this.maxHeaderBytes)
          if (at === INCOMPLETE) {
            this.held = Buffer.from(b.subarray(p, end))
            return
          }
          if (at < 0) {
            this.broken(at)
            return
          }
          this.headBytes = at - p
          this.headers.block = latin1Slice(b, p, at)
          p = at
          this.headRead(p < end)
          break
        }
        case BODY: {
          const at = this.body.execute(b, p, end, this.events)
          if (at === NEED_MORE) return
          if (at < 0) {
            this.broken(at)
            return
          }
          if (this.state !== BODY) return
          p = at
          this.ended(p < end)
          break
        }
        case TUNNEL:
          this.events.onTunnelData(b, p, end)
          return
        default:
          // Bytes on an idle connection, or behind a response: whoever sends them cannot be trusted with another request.
          if (this.state === IDLE) this.broken(UNSOLICITED)
          return
      }
    }
  }

  /** `more`: bytes follow the head in what has been read. */
  private headRead(more: boolean): void {
    const { line, headers } = this
    const status = line.status
    this.status = status
    this.minor = line.minor
    if (status < 200 && status !== 101) {
      const bodyless = this.framing.ofResponse(headers, line.minor, status, this.toHead)
      if (bodyless < 0) {
        this.broken(bodyless)
        return
      }
      this.events.onInformational(status, headers)
      if (this.state !== HEAD) return
      line.resumeAt = 0
      headers.clear()
      return
    }
    const framing = this.framing.ofResponse(headers, line.minor, status, this.toHead)
    if (framing < 0) {
      this.broken(framing)
      return
    }
    const tunnel = status === 101 || (this.toConnect && status >= 200 && status < 300)
    this.keepAlive = line.minor === 1 && framing !== UNTIL_CLOSE && !tunnel
    this.hasBody = framing !== NO_BODY && !tunnel
    this.bodyLength = framing === NO_BODY ? 0 : framing === CHUNKED || framing === UNTIL_CLOSE ? -1 : this.framing.length
    this.body.begin(tunnel ? NO_BODY : framing, Math.max(0, this.bodyLength))
    this.body.trailers.clear()
    this.state = tunnel ? TUNNEL : BODY
    this.events.onResponse()
    if (this.state === BODY && !this.hasBody) this.ended(more)
  }

  private ended(more: boolean): void {
    this.state = more ? BROKEN : IDLE
    if (more) this.keepAlive = false
    this.events.onResponseEnd(this.body.framing === CHUNKED && this.body.trailers.count > 0 ? this.body.trailers : null)
  }

  private broken(code: number): void {
    this.state = BROKEN
    this.keepAlive = false
    this.events.onResponseError(code)
  }

  /** The upstream has closed its side. True when that is the proper end of a response: `onResponseEnd` has been called. */
  finish(): boolean {
    if (this.state === BODY && this.body.framing === UNTIL_CLOSE) {
      this.state = BROKEN
      this.events.onResponseEnd(null)
      return true
    }
    return false
  }

  /** A status whose response has a body unless the request was a HEAD. */
  get mayHaveBody(): boolean {
    return this.status >= 200 && this.status !== 204 && this.status !== 304
  }

  /** Nothing more is read. */
  close(): void {
    this.state = BROKEN
  }
}
