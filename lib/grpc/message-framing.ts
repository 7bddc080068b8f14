// Length-Prefixed-Message of gRPC over HTTP/2 (grpc/grpc doc/PROTOCOL-HTTP2.md): a flag byte, a 32-bit length, the message.
import { GRPC, GrpcError } from './grpc-error.ts'

const HEADER_BYTES = 5

/** A message as it goes into the body of a request, never compressed. */
export function framed(message: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + message.length)
  out[0] = 0
  out.writeUInt32BE(message.length, 1)
  out.set(message, HEADER_BYTES)
  return out
}

/** First room for a message that comes in parts. */
const FIRST_ROOM_BYTES = 16 * 1024

/**
 * Takes the bytes of a response as they come and hands on whole messages. A message that lies in one chunk is a view of it. For one in
 * parts room is taken as they come, doubled each time: an announced length alone takes no memory, and tiny parts cost no more than large.
 */
export class MessageReader {
  readonly #maxBytes: number
  readonly #onMessage: (message: Buffer) => void
  readonly #header: Buffer
  #headerBytes: number
  /** Of the message that is being read; known when the header is whole. */
  #length: number
  #room: Buffer
  #have: number

  constructor(maxBytes: number, onMessage: (message: Buffer) => void) {
    this.#maxBytes = maxBytes
    this.#onMessage = onMessage
    this.#header = Buffer.alloc(HEADER_BYTES)
    this.#headerBytes = 0
    this.#length = 0
    this.#room = Buffer.alloc(0)
    this.#have = 0
  }

  /** True between the first byte of a message and its last. */
  get within(): boolean {
    return this.#headerBytes > 0
  }

  /** The fault that makes the rest of the stream unreadable, or null. */
  push(chunk: Buffer): GrpcError | null {
    let at = 0
    while (at < chunk.length) {
      if (this.#headerBytes < HEADER_BYTES) {
        const taken = chunk.copy(this.#header, this.#headerBytes, at, at + HEADER_BYTES - this.#headerBytes)
        this.#headerBytes += taken
        at += taken
        if (this.#headerBytes < HEADER_BYTES) return null
        const fault = this.#begin()
        if (fault !== null) return fault
        if (this.#headerBytes === 0) continue
      }
      const end = Math.min(chunk.length, at + this.#length - this.#have)
      if (this.#have === 0 && end - at === this.#length) this.#finish(chunk.subarray(at, end))
      else this.#keep(chunk, at, end)
      at = end
    }
    return null
  }

  #begin(): GrpcError | null {
    const flag = this.#header[0] as number
    this.#length = this.#header.readUInt32BE(1)
    // We offer no grpc-accept-encoding, so nothing may come compressed.
    if (flag === 1) return new GrpcError(GRPC.INTERNAL, 'a message came compressed, which was not offered')
    if (flag !== 0) return new GrpcError(GRPC.INTERNAL, `a message begins with ${flag}, expected 0`)
    if (this.#length > this.#maxBytes) {
      return new GrpcError(GRPC.RESOURCE_EXHAUSTED, `a message of ${this.#length} bytes came; the limit is ${this.#maxBytes}`)
    }
    // Nothing follows that would end it.
    if (this.#length === 0) this.#finish(Buffer.alloc(0))
    return null
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    const need = this.#have + to - from
    if (need > this.#room.length) {
      const wider = Buffer.allocUnsafe(Math.min(this.#length, Math.max(need, 2 * this.#room.length, FIRST_ROOM_BYTES)))
      this.#room.copy(wider, 0, 0, this.#have)
      this.#room = wider
    }
    chunk.copy(this.#room, this.#have, from, to)
    this.#have = need
    if (need === this.#length) this.#finish(this.#room.subarray(0, need))
  }

  #finish(message: Buffer): void {
    this.#headerBytes = 0
    this.#length = 0
    this.#room = Buffer.alloc(0)
    this.#have = 0
    this.#onMessage(message)
  }
}
