// Hot lane: finds the end of a message body and hands on views of what has arrived; never copies. RFC 9112 §6 and §7.
import { latin1Slice } from '../../base/latin1.ts'
import type { HeaderMap } from '../header-map.ts'
import { INCOMPLETE, isTokenByte, parseFields, StartLine } from './parse-head.ts'

export interface BodySink {
  /** A view of body bytes; valid until the call returns. */
  onBody(bytes: Buffer, start: number, end: number): void
}

// Framing of a body.
export const NO_BODY = 0
export const BY_LENGTH = 1
export const CHUNKED = 2
/** Responses only: the end of the connection ends the body. */
export const UNTIL_CLOSE = 3

/** Outcomes of `execute`, below zero: the bytes are not a body. */
export const NEED_MORE = -1
export const BAD_CHUNK = -2
export const BAD_TRAILERS = -3

// States of CHUNKED: SIZE (hex digits) → EXTENSION? → SIZE_LF → DATA → DATA_CR → DATA_LF → SIZE, and after size 0 → TRAILERS.
const SIZE = 0
const EXTENSION = 1
const SIZE_LF = 2
const DATA = 3
const DATA_CR = 4
const DATA_LF = 5
const TRAILERS = 6

/** Of all extensions of one message (HTTP/1 request smuggling). */
const MAX_EXTENSION_BYTES = 16384
const MAX_TRAILER_BYTES = 16384
const MAX_SIZE_DIGITS = 13

export class BodyDecoder {
  framing: number
  /** Bytes of the body or chunk still to come. */
  remaining: number
  private state: number
  private digits: number
  private extensionBytes: number
  /** Trailer section so far, when it did not arrive in one piece. */
  private held: Buffer | null
  private readonly line: StartLine
  readonly trailers: HeaderMap

  constructor(trailers: HeaderMap) {
    this.framing = NO_BODY
    this.remaining = 0
    this.state = SIZE
    this.digits = 0
    this.extensionBytes = 0
    this.held = null
    this.line = new StartLine()
    this.trailers = trailers
  }

  begin(framing: number, length: number): void {
    this.framing = framing
    this.remaining = framing === BY_LENGTH ? length : 0
    this.state = SIZE
    this.digits = 0
    this.extensionBytes = 0
    this.held = null
  }

  /**
   * Feeds `bytes[start, end)`. Returns the position behind the last byte of the body, NEED_MORE when all was taken and the body goes on, or an error.
   */
  execute(bytes: Buffer, start: number, end: number, sink: BodySink): number {
    if (this.framing === BY_LENGTH) {
      const available = end - start
      if (available < this.remaining) {
        this.remaining -= available
        if (available > 0) sink.onBody(bytes, start, end)
        return NEED_MORE
      }
      const stop = start + this.remaining
      this.remaining = 0
      if (stop > start) sink.onBody(bytes, start, stop)
      return stop
    }
    if (this.framing === CHUNKED) return this.chunked(bytes, start, end, sink)
    if (this.framing === UNTIL_CLOSE) {
      if (end > start) sink.onBody(bytes, start, end)
      return NEED_MORE
    }
    return start
  }

  private chunked(b: Buffer, start: number, end: number, sink: BodySink): number {
    let p = start
    while (p < end) {
      const c = b[p] as number
      switch (this.state) {
        case SIZE: {
          const digit = hexDigit(c)
          if (digit >= 0) {
            if (++this.digits > MAX_SIZE_DIGITS) return BAD_CHUNK
            this.remaining = this.remaining * 16 + digit
            p++
          } else if (this.digits === 0) return BAD_CHUNK
          else if (c === 13) {
            this.state = SIZE_LF
            p++
          } else if (c === 0x3b) {
            this.state = EXTENSION
            p++
          } else return BAD_CHUNK
          break
        }
        case EXTENSION:
          if (c === 13) this.state = SIZE_LF
          // Extensions are dropped; they only must not be able to hide a line end.
          else if ((c < 0x20 && c !== 9) || c === 0x7f || ++this.extensionBytes > MAX_EXTENSION_BYTES) return BAD_CHUNK
          p++
          break
        case SIZE_LF:
          if (c !== 10) return BAD_CHUNK
          p++
          if (this.remaining === 0) {
            this.state = TRAILERS
            this.trailers.clear()
            this.line.resumeAt = 0
            if (p === end) return NEED_MORE
          } else this.state = DATA
          break
        case DATA: {
          const stop = Math.min(end, p + this.remaining)
          this.remaining -= stop - p
          sink.onBody(b, p, stop)
          p = stop
          if (this.remaining === 0) this.state = DATA_CR
          break
        }
        case DATA_CR:
          if (c !== 13) return BAD_CHUNK
          this.state = DATA_LF
          p++
          break
        case DATA_LF:
          if (c !== 10) return BAD_CHUNK
          this.state = SIZE
          this.digits = 0
          p++
          break
        default:
          return this.readTrailers(b, p, end)
      }
    }
    return NEED_MORE
  }

  private readTrailers(b: Buffer, p: number, end: number): number {
    // The common end: an empty line at once.
    if (this.held === null && end - p >= 2 && b[p] === 13 && b[p + 1] === 10) return p + 2
    // Trailers are rare: a copy with room for the parser's sentinel keeps this simple.
    const before = this.held === null ? 0 : this.held.length - 1
    const all = Buffer.alloc(before + (end - p) + 1)
    if (this.held !== null) this.held.copy(all, 0, 0, before)
    b.copy(all, before, p, end)
    if (before === 0 && !isTokenByte(all[0] as number) && all[0] !== 13) return BAD_TRAILERS
    const at = parseFields(all, 0, all.length - 1, this.line, this.trailers, 100, MAX_TRAILER_BYTES)
    if (at === INCOMPLETE) {
      this.held = all
      return NEED_MORE
    }
    if (at < 0) return BAD_TRAILERS
    this.held = null
    this.trailers.block = latin1Slice(all, 0, at)
    return p + (at - before)
  }
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30
  const lower = c | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
