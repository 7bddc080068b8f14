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

/**
 * Takes the bytes of a response as they come and hands on whole messages. A message that lies in one chunk is a view of it.
 * Keeps no more than what has come: a large announced length alone takes no memory.
 */
export class MessageReader {
  readonly #maxBytes: number
  readonly #onMessage: (message: Buffer) => void
  readonly #header: Buffer
  #headerBytes: number
  /** Parts of the message that is being read, and what is missing of it. */
  #parts: Buffer[]
  #missing: number

  constructor(maxBytes: number, onMessage: (message: Buffer) => void) {
    this.#maxBytes = maxBytes
    this.#onMessage = onMessage
    this.#header = Buffer.alloc(HEADER_BYTES)
    this.#headerBytes = 0
    this.#parts = []
    this.#missing = 0
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
      }
      const end = Math.min(chunk.length, at + this.#missing)
      if (end > at) this.#parts.push(chunk.subarray(at, end))
      this.#missing -= end - at
      at = end
      if (this.#missing === 0) this.#finish()
    }
    return null
  }

  #begin(): GrpcError | null {
    const flag = this.#header[0] as number
    this.#missing = this.#header.readUInt32BE(1)
    // We offer no grpc-accept-encoding, so nothing may come compressed.
    if (flag === 1) return new GrpcError(GRPC.INTERNAL, 'a message came compressed, which was not offered')
    if (flag !== 0) return new GrpcError(GRPC.INTERNAL, `a message begins with ${flag}, expected 0`)
    if (this.#missing > this.#maxBytes) {
      return new GrpcError(GRPC.RESOURCE_EXHAUSTED, `a message of ${this.#missing} bytes came; the limit is ${this.#maxBytes}`)
    }
    return null
  }

  #finish(): void {
    const parts = this.#parts
    this.#parts = []
    this.#headerBytes = 0
    this.#onMessage(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts))
  }
}
