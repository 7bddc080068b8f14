// Hot lane: large writes need memory that stays untouched until the kernel has taken them, which is nearly always at once. Blocks are
// handed back then, so that a stream of 64 KB bodies touches the same few pages again and again. Blocks of two sizes: most writes are heads and
// small messages, and an event may begin one on as many connections as it brings requests. Blocks that came and went as garbage would make V8
// collect for external memory all the time.

/** Bytes of the largest block: what one read brings (READ_BYTES of transport) and the head before it. */
export const BLOCK_BYTES = 128 * 1024 + 16 * 1024
export const SMALL_BLOCK_BYTES = 16 * 1024
/** More free blocks than these are left to the garbage collector. */
const MAX_FREE = 16
const MAX_FREE_SMALL = 128

export class BlockPool {
  private readonly free: Buffer[]
  private readonly freeSmall: Buffer[]

  constructor() {
    this.free = []
    this.freeSmall = []
  }

  /** A block with room for `bytes`, which are at most BLOCK_BYTES. */
  acquire(bytes: number): Buffer {
    if (bytes <= SMALL_BLOCK_BYTES) return this.freeSmall.pop() ?? Buffer.allocUnsafeSlow(SMALL_BLOCK_BYTES)
    return this.free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  release(block: Buffer): void {
    if (block.length === SMALL_BLOCK_BYTES) {
      if (this.freeSmall.length < MAX_FREE_SMALL) this.freeSmall.push(block)
    } else if (this.free.length < MAX_FREE) this.free.push(block)
  }
}
