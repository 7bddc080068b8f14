/** Bytes that grow; joined only when somebody looks, so that large bodies stay cheap. */
export class ByteList {
  private readonly parts: Buffer[]
  /** Bytes so far. */
  length: number

  constructor() {
    this.parts = []
    this.length = 0
  }

  push(bytes: Buffer): void {
    this.parts.push(bytes)
    this.length += bytes.length
  }

  /** What came behind the first `offset` bytes, without looking at those. */
  since(offset: number): Buffer {
    let from = this.length
    let i = this.parts.length
    while (i > 0 && from > offset) from -= (this.parts[--i] as Buffer).length
    return Buffer.concat(this.parts.slice(i)).subarray(offset - from)
  }

  get bytes(): Buffer {
    if (this.parts.length > 1) this.parts.splice(0, this.parts.length, Buffer.concat(this.parts))
    return this.parts[0] ?? Buffer.alloc(0)
  }
}
