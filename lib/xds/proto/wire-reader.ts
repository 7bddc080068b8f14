// The wire format of protobuf (protobuf.dev/programming-guides/encoding), read in place: messages within messages are parts of the same bytes, so that reading them
// makes no objects but what they say. Nothing is taken on trust: a length ends within what it is in, a field has a number, text is UTF-8.
import { ProtobufError } from '../../grpc/protobuf-fields.ts'

export const VARINT = 0
export const FIXED64 = 1
export const LENGTH_DELIMITED = 2
export const FIXED32 = 5

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Texts that were read, by a hash of their bytes: the same few names are said thousands of times, and held for long. */
const TEXTS = 4096
const MAX_KEPT_LENGTH = 48
const texts = new Array<string>(TEXTS).fill('')

export class WireReader {
  at: number
  /** Where what is being read ends. */
  end: number
  /** Of the field that is being read. */
  wireType: number
  readonly bytes: Uint8Array
  /** Upper half of the last varint, of 32 bits. */
  #high: number
  #low: number
  #buffer: Buffer | null
  #numbers: DataView | null

  constructor(bytes: Uint8Array) {
    this.at = 0
    this.end = bytes.length
    this.wireType = VARINT
    this.bytes = bytes
    this.#high = 0
    this.#low = 0
    this.#buffer = null
    this.#numbers = null
  }

  /** The number of the next field, whose value is to be read or skipped. */
  tag(): number {
    this.varint()
    const tag = this.#low
    if (this.#high !== 0) throw new ProtobufError('a field has no wire type, or a number without an end')
    this.wireType = tag & 7
    if (tag >>> 3 === 0) throw new ProtobufError('a field has the number 0')
    if (this.at >= this.end) throw endsWithin()
    return tag >>> 3
  }

  /** What is read from here on is within so many bytes, which come next. Returns the end of what that is in: for `leave`. */
  enter(): number {
    const length = this.varint()
    if (!(length <= this.end - this.at)) throw endsWithin()
    const outer = this.end
    this.end = this.at + length
    return outer
  }

  leave(outer: number): void {
    if (this.at > this.end) throw endsWithin()
    this.at = this.end
    this.end = outer
  }

  skip(): void {
    switch (this.wireType) {
      case VARINT:
        this.varint()
        break
      case FIXED64:
        this.at += 8
        break
      case LENGTH_DELIMITED:
        this.leave(this.enter())
        break
      case FIXED32:
        this.at += 4
        break
      default:
        // Groups among them.
        throw new ProtobufError('a field has no wire type, or a number without an end')
    }
    if (this.at > this.end) throw endsWithin()
  }

  /** Unsigned; above 2^53 not exact. */
  varint(): number {
    const { bytes } = this
    let byte = bytes[this.at++] as number
    if (byte < 128) {
      this.#high = 0
      this.#low = byte
      return byte
    }
    let low = byte & 127
    let high = 0
    for (let shift = 7; ; shift += 7) {
      if (this.at >= this.end || shift > 63) throw new ProtobufError('a field has no wire type, or a number without an end')
      byte = bytes[this.at++] as number
      if (shift < 28) low |= (byte & 127) << shift
      else if (shift === 28) {
        low |= (byte & 15) << 28
        high = (byte & 127) >> 4
      } else high |= (byte & 127) << (shift - 32)
      if (byte < 128) break
    }
    this.#low = low >>> 0
    this.#high = high >>> 0
    return this.#high * 2 ** 32 + this.#low
  }

  /** As a number of two's complement; below -2^53 not exact. */
  signed(): number {
    this.varint()
    return (this.#high | 0) * 2 ** 32 + this.#low
  }

  uint32(): number {
    this.varint()
    return this.#low
  }

  double(): number {
    this.at += 8
    if (this.at > this.end) throw endsWithin()
    return this.#view().getFloat64(this.at - 8, true)
  }

  float(): number {
    this.at += 4
    if (this.at > this.end) throw endsWithin()
    return this.#view().getFloat32(this.at - 4, true)
  }

  /** A view of the value of a field with a length. */
  view(): Uint8Array {
    const outer = this.enter()
    const view = this.bytes.subarray(this.at, this.end)
    this.leave(outer)
    return view
  }

  text(): string {
    const outer = this.enter()
    const text = this.end - this.at <= MAX_KEPT_LENGTH ? this.#shortText() : this.#longText()
    this.leave(outer)
    return text
  }

  #shortText(): string {
    const { bytes, at, end } = this
    let hash = end - at
    for (let i = at; i < end; i++) {
      const byte = bytes[i] as number
      if (byte > 127) return this.#longText()
      hash = (Math.imul(hash, 31) + byte) | 0
    }
    const slot = (hash ^ (hash >>> 12)) & (TEXTS - 1)
    const known = texts[slot] as string
    if (known.length === end - at && this.#isHere(known)) return known
    const text = this.#asBuffer().toString('latin1', at, end)
    texts[slot] = text
    return text
  }

  #isHere(text: string): boolean {
    const { bytes, at } = this
    for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[at + i]) return false
    return true
  }

  #longText(): string {
    const { bytes, at, end } = this
    let i = at
    while (i < end && (bytes[i] as number) < 128) i++
    if (i === end) return this.#asBuffer().toString('latin1', at, end)
    try {
      return utf8.decode(bytes.subarray(at, end))
    } catch {
      throw new ProtobufError('a text is not UTF-8')
    }
  }

  #asBuffer(): Buffer {
    const { bytes } = this
    this.#buffer ??= Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return this.#buffer
  }

  #view(): DataView {
    const { bytes } = this
    this.#numbers ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return this.#numbers
  }
}

function endsWithin(): ProtobufError {
  return new ProtobufError('it ends within a field')
}
