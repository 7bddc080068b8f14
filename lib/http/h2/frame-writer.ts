// Hot lane: frames into the block in which the connection collects what it writes in one event. While the peer does not read, they wait here
// in their order, in memory of just their size.
import type { Connection } from '../../transport/connection.ts'
import * as F from './frame-types.ts'
import { copyBytes } from './hpack/dynamic-table.ts'

/** DATA frames are not made longer than this, whatever the peer takes: other streams want their turn. */
export const MAX_DATA_FRAME = 64 * 1024

export class FrameWriter {
  private readonly connection: Connection
  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  maxFrame: number
  /** Frames that wait for the peer to read. */
  waitingFrames: number
  waitingBytes: number
  /** Where the payload goes that is being put together. */
  payloadAt: number
  /** Bytes that the last header block took, frame headers included. */
  lastHeaderBytes: number
  private waiting: Buffer
  private buffer: Buffer
  private direct: boolean
  private frameAt: number
  // The last HEADERS or DATA frame, as long as it lies in the connection's block: it can still become the stream's last.
  private lastStream: number
  private lastFlagsAt: number
  private lastBuffer: Buffer
  private lastEpoch: number

  constructor(connection: Connection) {
    this.connection = connection
    this.maxFrame = F.MIN_MAX_FRAME
    this.waitingFrames = 0
    this.waitingBytes = 0
    this.payloadAt = 0
    this.lastHeaderBytes = 0
    this.waiting = NOTHING
    this.buffer = NOTHING
    this.direct = false
    this.frameAt = 0
    this.lastStream = 0
    this.lastFlagsAt = 0
    this.lastBuffer = NOTHING
    this.lastEpoch = -1
  }

  /** What is written now leaves at the end of the event. */
  get flowing(): boolean {
    return this.waitingBytes === 0 && this.connection.writable
  }

  /** The peer reads again: sends what has waited. */
  resume(): void {
    if (this.waitingBytes === 0) return
    this.connection.writeBytes(this.waiting, 0, this.waitingBytes)
    this.waitingBytes = 0
    this.waitingFrames = 0
    if (this.waiting.length > 4096) this.waiting = NOTHING
  }

  /** A place for a frame whose payload has at most `bytes`: write from `payloadAt`, then call one of the `end…` methods. */
  begin(bytes: number): Buffer {
    return this.place(bytes, this.flowing)
  }

  private place(bytes: number, now: boolean): Buffer {
    const need = F.FRAME_HEADER_BYTES + bytes
    const block = now ? this.connection.reserve(need) : null
    if (block !== null) {
      this.direct = true
      this.buffer = block
      this.frameAt = this.connection.outPosition
    } else {
      this.direct = false
      if (this.waitingBytes + need > this.waiting.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(512, (this.waitingBytes + need) * 2))
        this.waiting.copy(larger, 0, 0, this.waitingBytes)
        this.waiting = larger
      }
      this.buffer = this.waiting
      this.frameAt = this.waitingBytes
    }
    this.payloadAt = this.frameAt + F.FRAME_HEADER_BYTES
    return this.buffer
  }

  private end(stop: number, type: number, flags: number, streamId: number): void {
    const { buffer: b, frameAt: p } = this
    const length = stop - this.payloadAt
    b[p] = length >>> 16
    b[p + 1] = length >>> 8
    b[p + 2] = length
    b[p + 3] = type
    b[p + 4] = flags
    b[p + 5] = streamId >>> 24
    b[p + 6] = streamId >>> 16
    b[p + 7] = streamId >>> 8
    b[p + 8] = streamId
    if (this.direct) {
      this.connection.outPosition = stop
      return
    }
    this.waitingBytes = stop
    this.waitingFrames++
    // Too large for a block, not waiting for anybody.
    if (this.connection.writable && this.waitingFrames === 1) this.resume()
  }

  private remember(streamId: number): void {
    this.lastStream = this.direct ? streamId : 0
    this.lastFlagsAt = this.frameAt + 4
    this.lastBuffer = this.buffer
    this.lastEpoch = this.connection.outEpoch
  }

  /** The header block that was begun with `begin` ends at `stop`. What does not fit in one frame goes on in CONTINUATION frames. */
  endHeaders(streamId: number, stop: number, endStream: boolean): void {
    const flags = endStream ? F.END_STREAM : 0
    this.lastHeaderBytes = stop - this.frameAt
    if (stop - this.payloadAt <= this.maxFrame) {
      this.end(stop, F.HEADERS, flags | F.END_HEADERS, streamId)
      this.remember(streamId)
      return
    }
    const cut = this.payloadAt + this.maxFrame
    const rest = Buffer.from(this.buffer.subarray(cut, stop))
    this.lastHeaderBytes += Math.ceil(rest.length / this.maxFrame) * F.FRAME_HEADER_BYTES
    this.end(cut, F.HEADERS, flags, streamId)
    for (let at = 0; at < rest.length; at += this.maxFrame) {
      const n = Math.min(this.maxFrame, rest.length - at)
      rest.copy(this.begin(n), this.payloadAt, at, at + n)
      this.end(this.payloadAt + n, F.CONTINUATION, at + n === rest.length ? F.END_HEADERS : 0, streamId)
    }
    this.lastStream = 0
  }

  /** One DATA frame; the caller keeps to `dataLimit` and to the windows. */
  data(streamId: number, bytes: Buffer, start: number, end: number, endStream: boolean): void {
    // Of what was begun while the peer read all goes to the connection: it is one read at most, and its blocks are there to be used.
    const b = this.place(end - start, this.waitingBytes === 0)
    copyBytes(bytes, start, end, b, this.payloadAt)
    this.end(this.payloadAt + (end - start), F.DATA, endStream ? F.END_STREAM : 0, streamId)
    this.remember(streamId)
  }

  /** As `data`, for a payload that was put together from `begin` on. */
  endData(streamId: number, stop: number, endStream: boolean): void {
    this.end(stop, F.DATA, endStream ? F.END_STREAM : 0, streamId)
    this.remember(streamId)
  }

  get dataLimit(): number {
    return this.maxFrame < MAX_DATA_FRAME ? this.maxFrame : MAX_DATA_FRAME
  }

  /** Makes the frame that was written last the stream's last one; where that is too late, an empty DATA frame. */
  endStream(streamId: number): void {
    if (this.lastStream === streamId && this.lastEpoch === this.connection.outEpoch) {
      this.lastBuffer[this.lastFlagsAt] = (this.lastBuffer[this.lastFlagsAt] as number) | F.END_STREAM
      this.lastStream = 0
    } else this.data(streamId, NOTHING, 0, 0, true)
  }

  resetStream(streamId: number, code: number): void {
    this.number(F.RST_STREAM, streamId, code)
  }

  windowUpdate(streamId: number, increment: number): void {
    this.number(F.WINDOW_UPDATE, streamId, increment)
  }

  private number(type: number, streamId: number, value: number): void {
    const b = this.begin(4)
    writeNumber(b, this.payloadAt, value)
    this.end(this.payloadAt + 4, type, 0, streamId)
  }

  /** `pairs`: identifier, value, identifier, value, … */
  settings(pairs: readonly number[]): void {
    const b = this.begin(pairs.length * 3)
    let at = this.payloadAt
    for (let i = 0; i < pairs.length; i += 2) {
      b[at] = 0
      b[at + 1] = pairs[i] as number
      writeNumber(b, at + 2, pairs[i + 1] as number)
      at += 6
    }
    this.end(at, F.SETTINGS, 0, 0)
  }

  settingsAck(): void {
    this.begin(0)
    this.end(this.payloadAt, F.SETTINGS, F.ACK, 0)
  }

  /** The eight bytes `bytes[at, at + 8)`. */
  ping(ack: boolean, bytes: Uint8Array, at: number): void {
    const b = this.begin(8)
    for (let i = 0; i < 8; i++) b[this.payloadAt + i] = bytes[at + i] as number
    this.end(this.payloadAt + 8, F.PING, ack ? F.ACK : 0, 0)
  }

  goaway(lastStreamId: number, code: number, debug: string): void {
    const b = this.begin(8 + debug.length)
    writeNumber(b, this.payloadAt, lastStreamId)
    writeNumber(b, this.payloadAt + 4, code)
    b.write(debug, this.payloadAt + 8, 'latin1')
    this.end(this.payloadAt + 8 + debug.length, F.GOAWAY, 0, 0)
  }
}

function writeNumber(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24
  b[at + 1] = value >>> 16
  b[at + 2] = value >>> 8
  b[at + 3] = value
}

const NOTHING = Buffer.alloc(0)
