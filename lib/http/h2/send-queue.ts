// Hot lane: body bytes of one stream that wait for a window or for the peer to read.

export class SendQueue {
  bytes: number
  private readonly chunks: Buffer[]
  /** First chunk that is left, and how much of it is gone. */
  private first: number
  private offset: number

  constructor() {
    this.bytes = 0
    this.chunks = []
    this.first = 0
    this.offset = 0
  }

  /** Copies a view. */
  push(bytes: Buffer, start: number, end: number): void {
    const copy = Buffer.allocUnsafe(end - start)
    bytes.copy(copy, 0, start, end)
    this.chunks.push(copy)
    this.bytes += end - start
  }

  /** Moves the next `n` bytes to `to[at …]`; there are so many. */
  take(n: number, to: Buffer, at: number): void {
    this.bytes -= n
    while (n > 0) {
      const chunk = this.chunks[this.first] as Buffer
      const part = Math.min(n, chunk.length - this.offset)
      chunk.copy(to, at, this.offset, this.offset + part)
      at += part
      n -= part
      this.offset += part
      if (this.offset === chunk.length) this.drop()
    }
  }

  /** The next chunk, whole, or null. For a consumer that takes views; the chunk is the caller's then. */
  shift(): Buffer | null {
    if (this.bytes === 0) return null
    const chunk = this.chunks[this.first] as Buffer
    const part = this.offset === 0 ? chunk : chunk.subarray(this.offset)
    this.bytes -= part.length
    this.drop()
    return part
  }

  private drop(): void {
    this.chunks[this.first] = NOTHING
    this.first++
    this.offset = 0
    if (this.first === this.chunks.length) {
      this.chunks.length = 0
      this.first = 0
    } else if (this.first >= 64) {
      this.chunks.splice(0, this.first)
      this.first = 0
    }
  }

  clear(): void {
    this.bytes = 0
    this.chunks.length = 0
    this.first = 0
    this.offset = 0
  }
}

const NOTHING = Buffer.alloc(0)
