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
    const copy = Buffer.allocUnsafe(end - start)
    bytes.copy(copy, 0, start, end)
    this.chunks.push(copy)
  }

  clear(): void {
    this.chunks.length = 0
    this.bytes = 0
  }
}
