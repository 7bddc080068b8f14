// Hot lane: an id for every request that brings none: a random UUID (RFC 9562 §5.4), made from buffered random bytes into one flat string.
import { randomFillSync } from 'node:crypto'
import { latin1Slice } from './latin1.ts'

const BATCH = 512
const HEX = Uint8Array.from('0123456789abcdef', (c) => c.charCodeAt(0))
const DASH = 0x2d
/** Where the two digits of each of the 16 bytes go. */
const AT = Uint8Array.from([0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34])

/** One per thread. */
export class RequestIds {
  private readonly random: Uint8Array
  private readonly text: Buffer
  private next: number

  constructor() {
    this.random = new Uint8Array(16 * BATCH)
    this.text = Buffer.alloc(36, DASH)
    this.next = BATCH
  }

  create(): string {
    if (this.next === BATCH) {
      randomFillSync(this.random)
      this.next = 0
    }
    const { random, text } = this
    const from = this.next++ * 16
    for (let i = 0; i < 16; i++) {
      let byte = random[from + i] as number
      if (i === 6) byte = (byte & 0x0f) | 0x40
      else if (i === 8) byte = (byte & 0x3f) | 0x80
      const at = AT[i] as number
      text[at] = HEX[byte >> 4] as number
      text[at + 1] = HEX[byte & 15] as number
    }
    return latin1Slice(text, 0, 36)
  }
}
