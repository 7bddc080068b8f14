// Hot lane: a header block from HEADERS and CONTINUATION frames. In one frame it is decoded where it lies; else its parts are put together, as
// many as a header section within the limits can need and no more (CONTINUATION floods: CVE-2024-27919 and its kin).
import { PADDED, PRIORITY_FLAG } from './frame-types.ts'

/** Frames beyond one for each KiB. */
const SPARE_FRAMES = 16

// Outcomes of `begin`.
export const BLOCK_OK = 0
export const BLOCK_BAD_PADDING = 1
export const BLOCK_BAD_SIZE = 2

export class HeaderAssembly {
  /** Stream of a block that goes on in the next frame; 0: none. */
  streamId: number
  endStream: boolean
  /** The stream says that it depends on itself. */
  selfDependent: boolean
  /** Where the first fragment lies in its frame. */
  start: number
  end: number
  private readonly maxBytes: number
  private bytes: Buffer
  private length: number
  private frames: number

  /** `maxHeaderBytes`: the limit of a decoded list. What is coded is hardly longer. */
  constructor(maxHeaderBytes: number) {
    this.streamId = 0
    this.endStream = false
    this.selfDependent = false
    this.start = 0
    this.end = 0
    this.maxBytes = maxHeaderBytes + 16384
    this.bytes = NOTHING
    this.length = 0
    this.frames = 0
  }

  /** Will a frame of this length be too much? */
  exceeds(frameLength: number): boolean {
    return this.length + frameLength > this.maxBytes || this.frames > SPARE_FRAMES + this.length / 1024
  }

  /** Reads the payload of a HEADERS frame: leaves its fragment in `start` and `end`. */
  begin(streamId: number, flags: number, b: Buffer, start: number, end: number): number {
    let at = start
    let stop = end
    this.selfDependent = false
    if ((flags & PADDED) !== 0) {
      if (at === stop) return BLOCK_BAD_SIZE
      const padding = b[at++] as number
      if (padding > stop - at) return BLOCK_BAD_PADDING
      stop -= padding
    }
    if ((flags & PRIORITY_FLAG) !== 0) {
      if (stop - at < 5) return BLOCK_BAD_SIZE
      this.selfDependent = dependency(b, at) === streamId
      at += 5
    }
    this.start = at
    this.end = stop
    return BLOCK_OK
  }

  /** The block goes on in another frame. */
  hold(streamId: number, endStream: boolean, b: Buffer): void {
    this.streamId = streamId
    this.endStream = endStream
    this.length = 0
    this.frames = 0
    this.bytes = Buffer.allocUnsafeSlow(Math.max(1024, (this.end - this.start) * 2))
    this.append(b, this.start, this.end)
  }

  append(b: Buffer, start: number, end: number): void {
    const need = this.length + end - start
    if (need > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(need * 2)
      this.bytes.copy(larger, 0, 0, this.length)
      this.bytes = larger
    }
    b.copy(this.bytes, this.length, start, end)
    this.length = need
    this.frames++
  }

  /** The whole block: all that was put together. */
  take(): Buffer {
    const whole = this.bytes.subarray(0, this.length)
    this.bytes = NOTHING
    this.length = 0
    this.frames = 0
    this.streamId = 0
    return whole
  }
}

/** Stream that a priority names (RFC 7540 §6.3); nothing but its being the stream itself is looked at. */
export function dependency(b: Buffer, at: number): number {
  return (((b[at] as number) & 0x7f) << 24) | ((b[at + 1] as number) << 16) | ((b[at + 2] as number) << 8) | (b[at + 3] as number)
}

const NOTHING = Buffer.alloc(0)
