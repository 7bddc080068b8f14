// Hot lane: HTTP/1 towards a client. `execute` turns bytes into the events of one request after the other; the `send…` methods turn the
// answer into bytes. Pipelined requests wait here, as bytes, until the one before them is answered.
import { latin1Slice } from '../../base/latin1.ts'
import type { Connection } from '../../transport/connection.ts'
import { HeaderMap } from '../header-map.ts'
import { reasonPhrase } from '../reason-phrases.ts'
import { BodyDecoder, type BodySink, CHUNKED, NEED_MORE, NO_BODY } from './body-decoder.ts'
import { Framing } from './framing.ts'
import { BAD_METHOD, INCOMPLETE, isKnownMethod, parseRequestHead, StartLine } from './parse-head.ts'

/** What a client's bytes turn into. The order is onRequest, onBody…, onRequestEnd; then nothing until `nextRequest`. */
export interface ServerEvents extends BodySink {
  /** The head is complete: read `method`, `target`, `minor`, `headers`, `hasBody` of the codec. */
  onRequest(): void
  /** Null when there were no trailers. */
  onRequestEnd(trailers: HeaderMap | null): void
  /** The bytes are not HTTP/1 as we take it; nothing more is read. A code of parse-head, framing or body-decoder. */
  onRequestError(code: number): void
  /** The first bytes of a request are here and its head is not complete. */
  onHeadBegun(): void
  /** Bytes behind an accepted Upgrade or CONNECT. */
  onTunnelData(bytes: Buffer, start: number, end: number): void
}

// HEAD → BODY? → WAIT (for the answer) → HEAD … | TUNNEL | CLOSED
const HEAD = 0
const BODY = 1
const WAIT = 2
const TUNNEL = 3
const CLOSED = 4

// How a response's end is told to the client.
export const END_NONE = 0
export const END_BY_LENGTH = 1
export const END_BY_CHUNKS = 2
export const END_BY_CLOSE = 3

/** Pipelined bytes that may wait before reading stops. */
const MAX_PIPELINED_BYTES = 64 * 1024

export class ServerCodec {
  readonly headers: HeaderMap
  readonly connection: Connection
  method: string
  target: string
  /** HTTP/1.minor. */
  minor: number
  hasBody: boolean
  /** Length of the body, or -1 when it is chunked. */
  bodyLength: number
  /** Bytes of the head just parsed. */
  headBytes: number
  private readonly events: ServerEvents
  private readonly maxHeaders: number
  private readonly maxHeaderBytes: number
  private readonly line: StartLine
  private readonly framing: Framing
  private readonly body: BodyDecoder
  private state: number
  private executing: boolean
  private held: Buffer
  private heldLength: number
  private readPaused: boolean
  private sendMode: number
  private emptyLineSkipped: boolean
  /** A request waits until the client has read its answers. */
  stalled: boolean

  constructor(connection: Connection, events: ServerEvents, limits: { maxHeaders: number; maxHeaderBytes: number }) {
    this.headers = new HeaderMap()
    this.connection = connection
    this.method = ''
    this.target = ''
    this.minor = 1
    this.hasBody = false
    this.bodyLength = 0
    this.headBytes = 0
    this.events = events
    this.maxHeaders = limits.maxHeaders === 0 ? 1e9 : limits.maxHeaders
    this.maxHeaderBytes = limits.maxHeaderBytes === 0 ? 1e9 : limits.maxHeaderBytes
    this.line = new StartLine()
    this.framing = new Framing()
    this.body = new BodyDecoder(new HeaderMap())
    this.state = HEAD
    this.executing = false
    this.held = EMPTY
    this.heldLength = 0
    this.readPaused = false
    this.sendMode = END_NONE
    this.emptyLineSkipped = false
    this.stalled = false
  }

  /** Between two requests: nothing read of the next one. */
  get idle(): boolean {
    return this.state === HEAD && this.heldLength === 0
  }

  /** The request is complete. */
  get requestEnded(): boolean {
    return this.state === WAIT || this.state === TUNNEL
  }

  /** Takes `bytes[0, length)`; `bytes[length]` must exist. */
  execute(bytes: Buffer, length: number): void {
    if (this.heldLength > 0 || this.executing) {
      this.hold(bytes, 0, length)
      if (!this.executing) this.executeHeld()
      return
    }
    this.executing = true
    const from = this.parse(bytes, 0, length)
    this.executing = false
    if (from < length) this.hold(bytes, from, length)
  }

  private executeHeld(): void {
    this.executing = true
    const length = this.heldLength
    const from = this.parse(this.held, 0, length)
    this.executing = false
    if (this.state === CLOSED) {
      this.heldLength = 0
      return
    }
    this.held.copyWithin(0, from, this.heldLength)
    this.heldLength -= from
    if (this.heldLength === 0 && this.held.length > 4096) this.held = EMPTY
  }

  /** Returns the position from which bytes have to be kept. */
  private parse(bytes: Buffer, start: number, end: number): number {
    let p = start
    while (p < end) {
      switch (this.state) {
        case HEAD: {
          if (this.line.resumeAt === 0) {
            if (bytes[p] === 13 && !this.emptyLineSkipped) {
              // RFC 9112 §2.2: one empty line before a request line is skipped, however it arrives.
              if (p + 1 === end) {
                this.events.onHeadBegun()
                return p
              }
              if (bytes[p + 1] === 10) {
                this.emptyLineSkipped = true
                p += 2
                break
              }
            }
            if (this.mustWait(end - p)) return p
          }
          bytes[end] = 0
          const at = parseRequestHead(bytes, p, end, this.line, this.headers, this.maxHeaders, this.maxHeaderBytes)
          if (at === INCOMPLETE) {
            this.events.onHeadBegun()
            return p
          }
          if (at < 0) return this.refuse(at, end)
          if (!this.headRead(bytes, p, at)) return end
          p = at
          break
        }
        case BODY: {
          const at = this.body.execute(bytes, p, end, this.events)
          if (at === NEED_MORE) return end
          if (at < 0) return this.refuse(at, end)
          // The answer may have closed the connection meanwhile.
          if (this.state !== BODY) return end
          p = at
          this.state = WAIT
          this.events.onRequestEnd(this.body.framing === CHUNKED && this.body.trailers.count > 0 ? this.body.trailers : null)
          break
        }
        case WAIT:
          this.limitHeld(end - p)
          return p
        case TUNNEL:
          this.events.onTunnelData(bytes, p, end)
          return end
        default:
          return end
      }
    }
    return p
  }

  /** What a client does not read must not pile up here: the next request waits until the answers before it have left. */
  private mustWait(bytes: number): boolean {
    if (this.connection.writable) return false
    this.stalled = true
    this.limitHeld(bytes)
    return true
  }

  private limitHeld(bytes: number): void {
    if (bytes <= MAX_PIPELINED_BYTES || this.readPaused) return
    this.readPaused = true
    this.connection.readDisable()
  }

  private refuse(code: number, end: number): number {
    this.state = CLOSED
    this.events.onRequestError(code)
    return end
  }

  /** False when the head was refused. */
  private headRead(bytes: Buffer, start: number, end: number): boolean {
    const { line, headers } = this
    const block = latin1Slice(bytes, start, end)
    headers.block = block
    this.headBytes = end - start
    this.method = line.methodEnd === 3 && block.startsWith('GET') ? 'GET' : block.substring(0, line.methodEnd)
    this.target = block.substring(line.targetStart, line.targetEnd)
    this.minor = line.minor
    if (!isKnownMethod(this.method)) {
      this.refuse(BAD_METHOD, end)
      return false
    }
    const framing = this.framing.ofRequest(headers, line.minor, this.method)
    if (framing < 0) {
      this.refuse(framing, end)
      return false
    }
    this.hasBody = framing !== NO_BODY
    this.bodyLength = framing === CHUNKED ? -1 : framing === NO_BODY ? 0 : this.framing.length
    this.body.begin(framing, this.bodyLength)
    this.body.trailers.clear()
    this.state = this.hasBody ? BODY : WAIT
    this.events.onRequest()
    if (!this.hasBody && (this.state as number) === WAIT) this.events.onRequestEnd(null)
    return true
  }

  /** The answer is complete: the next request may be read. Bytes that waited are parsed at once. */
  nextRequest(): void {
    if (this.state === CLOSED || this.state === TUNNEL) return
    this.line.resumeAt = 0
    this.emptyLineSkipped = false
    this.headers.clear()
    // A head that is refused before it is complete must not be answered, or logged, with what the last one said.
    this.method = ''
    this.target = ''
    this.minor = 1
    this.hasBody = false
    this.headBytes = 0
    this.state = HEAD
    this.goOn()
  }

  /** The client has taken what was queued for it. */
  resume(): void {
    if (!this.stalled) return
    this.stalled = false
    if (this.state === HEAD) this.goOn()
  }

  private goOn(): void {
    if (this.readPaused) {
      this.readPaused = false
      this.connection.readEnable()
    }
    // Inside `execute` its loop goes on by itself.
    if (!this.executing && this.heldLength > 0) this.executeHeld()
  }

  /** An Upgrade or CONNECT was accepted: what follows is not HTTP. */
  becomeTunnel(): void {
    this.state = TUNNEL
    if (this.readPaused) {
      this.readPaused = false
      this.connection.readEnable()
    }
    if (!this.executing && this.heldLength > 0) this.executeHeld()
  }

  /** Nothing more is read. */
  close(): void {
    this.state = CLOSED
    this.stalled = false
    this.heldLength = 0
  }

  private hold(bytes: Buffer, start: number, end: number): void {
    const need = this.heldLength + (end - start)
    if (need + 1 > this.held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, need * 2 + 1))
      this.held.copy(larger, 0, 0, this.heldLength)
      this.held = larger
    }
    bytes.copy(this.held, this.heldLength, start, end)
    this.heldLength = need
  }

  /** An interim response. HTTP/1.0 clients do not know them: they get none. */
  sendInformational(status: number, fields: string): void {
    if (this.minor === 1) this.connection.writeText(`HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n${fields}\r\n`)
  }

  /** Status line and fields; `fields` must agree with `end` (one of END_…) and ends with CRLF when it is not empty. */
  sendHeaders(status: number, fields: string, end: number): void {
    this.sendMode = end
    const line = status === 200 ? 'HTTP/1.1 200 OK\r\n' : `HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n`
    this.connection.writeText(
      end === END_BY_CHUNKS ? `${line}${fields}transfer-encoding: chunked\r\n\r\n` : `${line}${fields}\r\n`,
    )
  }

  /** False when the client reads too slowly: pause the source until the connection is writable. */
  sendBody(bytes: Buffer, start: number, end: number): boolean {
    const c = this.connection
    if (this.sendMode === END_BY_CHUNKS) {
      c.writeText(`${(end - start).toString(16)}\r\n`)
      c.writeBytes(bytes, start, end)
      c.writeText('\r\n')
    } else if (this.sendMode !== END_NONE) c.writeBytes(bytes, start, end)
    return c.writable
  }

  /** `trailers` is empty or field lines; they are only sent with chunks. */
  sendEnd(trailers: string): void {
    if (this.sendMode === END_BY_CHUNKS) this.connection.writeText(`0\r\n${trailers}\r\n`)
  }
}

const EMPTY = Buffer.alloc(0)
