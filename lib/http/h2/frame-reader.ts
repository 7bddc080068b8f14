// Hot lane: bytes to frames, in whatever pieces they come. What is small is handed on whole, from the read buffer where it lies in one piece;
// of a DATA frame each part is handed on as it arrives.
import { FRAME_HEADER_BYTES, PADDED, PREFACE } from './frame-types.ts'

/** What the reader is to do with the payload of a frame whose header it has read. */
export const REFUSE = 0
export const WHOLE = 1
export const BODY = 2
export const SKIP = 3

export interface FrameSink {
  /** A frame header. Returns REFUSE (nothing more is read), WHOLE, BODY or SKIP. */
  onFrame(type: number, flags: number, streamId: number, length: number): number
  /** The payload of a WHOLE frame, `bytes[start, end)`. False ends reading. */
  onPayload(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): boolean
  /** A part of a BODY. False ends reading. */
  onDataPart(bytes: Buffer, start: number, end: number): boolean
  /** The BODY is complete. `padding`: bytes of it that were padding, with the byte that says how many. */
  onDataEnd(padding: number): boolean
  /** Padding that is longer than its frame. */
  onBadPadding(): void
  /** What came first is not the preface. */
  onBadPreface(): void
}

// PREFACE → HEADER → (PAYLOAD | PAD_LENGTH? → DATA → PADDING | SKIPPING) → HEADER … | STOPPED
const IN_PREFACE = 0
const IN_HEADER = 1
const IN_PAYLOAD = 2
const IN_PAD_LENGTH = 3
const IN_DATA = 4
const IN_PADDING = 5
const SKIPPING = 6
const STOPPED = 7

export class FrameReader {
  private readonly sink: FrameSink
  private state: number
  /** Bytes of preface, header or payload read so far. */
  private have: number
  /** Bytes of payload, data, padding or skipped frame still to come. */
  private remaining: number
  private readonly header: Uint8Array
  private type: number
  private flags: number
  private streamId: number
  private length: number
  private padding: number
  /** Payload that did not come in one piece. */
  private held: Buffer

  constructor(sink: FrameSink, expectPreface: boolean) {
    this.sink = sink
    this.state = expectPreface ? IN_PREFACE : IN_HEADER
    this.have = 0
    this.remaining = 0
    this.header = new Uint8Array(FRAME_HEADER_BYTES)
    this.type = 0
    this.flags = 0
    this.streamId = 0
    this.length = 0
    this.padding = 0
    this.held = NOTHING
  }

  /** Nothing more is read. */
  stop(): void {
    this.state = STOPPED
    this.held = NOTHING
  }

  /** The preface has come, and no frame is read in part; DATA apart, which may take its time. */
  get idle(): boolean {
    return this.state === IN_DATA || this.state === IN_PADDING || (this.state === IN_HEADER && this.have === 0)
  }

  execute(b: Buffer, end: number): void {
    let p = 0
    while (p < end) {
      switch (this.state) {
        case IN_HEADER:
          if (this.have === 0 && end - p >= FRAME_HEADER_BYTES) {
            this.take(b, p)
            p += FRAME_HEADER_BYTES
            p = this.begin(b, p, end)
            break
          }
          this.header[this.have++] = b[p++] as number
          if (this.have < FRAME_HEADER_BYTES) break
          this.have = 0
          this.take(this.header, 0)
          p = this.begin(b, p, end)
          break
        case IN_PAYLOAD: {
          const n = Math.min(end - p, this.remaining)
          b.copy(this.held, this.have, p, p + n)
          this.have += n
          this.remaining -= n
          p += n
          if (this.remaining > 0) return
          const { held, have } = this
          this.held = NOTHING
          this.have = 0
          this.state = IN_HEADER
          if (!this.sink.onPayload(this.type, this.flags, this.streamId, held, 0, have)) this.stop()
          break
        }
        case IN_DATA: {
          const n = Math.min(end - p, this.remaining)
          this.remaining -= n
          if (!this.sink.onDataPart(b, p, p + n)) this.stop()
          else if (this.remaining === 0) this.dataRead()
          p += n
          break
        }
        case IN_PAD_LENGTH: {
          const padding = b[p++] as number
          if (padding >= this.length) {
            this.stop()
            this.sink.onBadPadding()
            return
          }
          this.padding = padding
          this.remaining = this.length - 1 - padding
          this.state = IN_DATA
          if (this.remaining === 0) this.dataRead()
          break
        }
        case IN_PADDING:
        case SKIPPING: {
          const n = Math.min(end - p, this.remaining)
          p += n
          this.remaining -= n
          if (this.remaining > 0) return
          if (this.state === SKIPPING) this.state = IN_HEADER
          else this.dataEnd()
          break
        }
        case IN_PREFACE:
          if (b[p++] !== PREFACE.charCodeAt(this.have++)) {
            this.stop()
            this.sink.onBadPreface()
            return
          }
          if (this.have === PREFACE.length) {
            this.have = 0
            this.state = IN_HEADER
          }
          break
        default:
          return
      }
    }
  }

  private take(b: Uint8Array, p: number): void {
    this.length = ((b[p] as number) << 16) | ((b[p + 1] as number) << 8) | (b[p + 2] as number)
    this.type = b[p + 3] as number
    this.flags = b[p + 4] as number
    // The highest bit is reserved and means nothing (RFC 9113 §4.1).
    this.streamId =
      (((b[p + 5] as number) & 0x7f) << 24) | ((b[p + 6] as number) << 16) | ((b[p + 7] as number) << 8) | (b[p + 8] as number)
  }

  /** The header is read and `b[p, end)` follows. Returns where reading goes on. */
  private begin(b: Buffer, p: number, end: number): number {
    const { type, flags, streamId, length, sink } = this
    switch (sink.onFrame(type, flags, streamId, length)) {
      case WHOLE:
        if (end - p >= length) {
          if (!sink.onPayload(type, flags, streamId, b, p, p + length)) this.stop()
          return p + length
        }
        this.held = Buffer.allocUnsafeSlow(length)
        this.remaining = length
        this.state = IN_PAYLOAD
        return p
      case BODY:
        this.padding = 0
        if ((flags & PADDED) !== 0) {
          if (length === 0) {
            this.stop()
            sink.onBadPadding()
            return end
          }
          this.state = IN_PAD_LENGTH
          return p
        }
        this.remaining = length
        this.state = IN_DATA
        if (length === 0) this.dataRead()
        return p
      case SKIP:
        this.remaining = length
        if (length > 0) this.state = SKIPPING
        return p
      default:
        this.stop()
        return end
    }
  }

  private dataRead(): void {
    if (this.state === STOPPED) return
    if (this.padding === 0) this.dataEnd()
    else {
      this.state = IN_PADDING
      this.remaining = this.padding
    }
  }

  private dataEnd(): void {
    this.state = IN_HEADER
    const padding = (this.flags & PADDED) !== 0 ? this.padding + 1 : 0
    if (!this.sink.onDataEnd(padding)) this.stop()
  }
}

const NOTHING = Buffer.alloc(0)
