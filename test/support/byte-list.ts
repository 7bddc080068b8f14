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

  get bytes(): Buffer {
    if (this.parts.length > 1) this.parts.splice(0, this.parts.length, Buffer.concat(this.parts))
    return this.parts[0] ?? Buffer.alloc(0)
  }
}
