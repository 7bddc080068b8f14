// Hot lane: body bytes of one stream that wait for a window or for the peer to read.
import { BLOCK_BYTES, type BlockPool } from '../../base/block-pool.ts'

/** What is as long as this lies in a block, which goes from read to read: bulk would be garbage as fast as it comes. Less would waste most of one. */
const BULK_BYTES = 64 * 1024

export class SendQueue {
  bytes: number
  /** null: chunks are given away. */
  private readonly blocks: BlockPool | null
  private readonly chunks: Buffer[]
  private readonly ends: number[]
  /** First chunk that is left, and how much of it is gone. */
  private first: number
  private offset: number

  constructor(blocks: BlockPool | null) {
    this.bytes = 0
    this.blocks = blocks
    this.chunks = []
    this.ends = []
    this.first = 0
    this.offset = 0
  }

  /** Copies a view. */
  push(bytes: Buffer, start: number, end: number): void {
    const length = end - start
    const { blocks } = this
    const pooled = blocks !== null && length >= BULK_BYTES && length <= BLOCK_BYTES
    const copy = pooled ? blocks.acquire(length) : Buffer.allocUnsafe(length)
    bytes.copy(copy, 0, start, end)
    this.chunks.push(copy)
    this.ends.push(length)
    this.bytes += length
  }

  /** Moves the next `n` bytes to `to[at …]`; there are so many. */
  take(n: number, to: Buffer, at: number): void {
    this.bytes -= n
    while (n > 0) {
      const chunk = this.chunks[this.first] as Buffer
      const end = this.ends[this.first] as number
      const part = Math.min(n, end - this.offset)
      chunk.copy(to, at, this.offset, this.offset + part)
      at += part
      n -= part
      this.offset += part
      if (this.offset !== end) continue
      this.giveBack(chunk)
      this.drop()
    }
  }

  /** The next chunk, whole, or null. For a consumer that takes views, of a queue without blocks; the chunk is the caller's then. */
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
      this.ends.length = 0
      this.first = 0
    } else if (this.first >= 64) {
      this.chunks.splice(0, this.first)
      this.ends.splice(0, this.first)
      this.first = 0
    }
  }

  private giveBack(chunk: Buffer): void {
    if (this.blocks !== null && chunk.length === BLOCK_BYTES) this.blocks.release(chunk)
  }

  clear(): void {
    for (let i = this.first; i < this.chunks.length; i++) this.giveBack(this.chunks[i] as Buffer)
    this.bytes = 0
    this.chunks.length = 0
    this.ends.length = 0
    this.first = 0
    this.offset = 0
  }
}

const NOTHING = Buffer.alloc(0)
