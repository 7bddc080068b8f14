// Hot lane: large writes need memory that stays untouched until the kernel has taken them, which is nearly always at once. Blocks are
// handed back then, so that a stream of 64 KB bodies touches the same few pages again and again.

/** Bytes of one block: what one read brings (READ_BYTES of transport) and the head before it. */
export const BLOCK_BYTES = 128 * 1024 + 16 * 1024
/**
 * More free blocks than this are left to the garbage collector. An event of HTTP/2 may write to as many connections as it brings streams, and blocks
 * that come and go as garbage make V8 collect all the time; of a block that is kept, only the pages that were written take memory.
 */
const MAX_FREE = 64

export class BlockPool {
  private readonly free: Buffer[]

  constructor() {
    this.free = []
  }

  acquire(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  release(block: Buffer): void {
    if (this.free.length < MAX_FREE) this.free.push(block)
  }
}
