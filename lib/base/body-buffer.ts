// Hot lane: bytes that have come and cannot be passed on yet, or may be needed again.

export class BodyBuffer {
  readonly chunks: Buffer[]
  bytes: number

  constructor() {
    this.chunks = []
    this.bytes = 0
  }

  /** Copies a view. */
  append(bytes: Buffer, start: number, end: number): void {
    this.bytes += end - start
    this.chunks.push(Buffer.from(bytes.subarray(start, end)))
  }

  clear(): void {
    this.chunks.length = 0
    this.bytes = 0
  }
}
