// Hot lane: runs for each request whose endpoint is chosen by a hash. xxHash64 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md) on pairs of
// 32-bit halves: the same with BigInt takes memory for each of its steps.

// The five primes, high and low half.
const P1H = 0x9e3779b1
const P1L = 0x85ebca87
const P2H = 0xc2b2ae3d
const P2L = 0x27d4eb4f
const P3H = 0x165667b1
const P3L = 0x9e3779f9
const P4H = 0x85ebca77
const P4L = 0xc2b2ae63
const P5H = 0x27d4eb2f
const P5L = 0x165667c5

/** Bytes of a stripe: four lanes of eight. */
const STRIPE = 32

/** Hashes text, one after the other; `high` and `low` are the 64 bits of the last. */
export class XxHash64 {
  /** 0 … 2³²−1, as `low`. */
  high: number
  low: number
  /** The number that is being made, as int32 halves: small integers, which are stored without taking memory. */
  private h: number
  private l: number
  /** Four accumulators, high half and low half by turns. */
  private readonly lanes: Int32Array

  constructor() {
    this.high = 0
    this.low = 0
    this.h = 0
    this.l = 0
    this.lanes = new Int32Array(8)
  }

  /** `text` is Latin-1: a character is a byte. The seed is given in halves too. */
  hash(text: string, seedHigh = 0, seedLow = 0): void {
    const length = text.length
    let at = 0
    if (length >= STRIPE) at = this.stripes(text, seedHigh | 0, seedLow | 0)
    else this.sum(seedHigh, seedLow, P5H, P5L)
    this.sum(this.h, this.l, 0, length)
    for (; at + 8 <= length; at += 8) {
      const h = this.h
      const l = this.l
      this.round(0, 0, word(text, at + 4), word(text, at))
      this.h ^= h
      this.l ^= l
      this.rotate(27)
      this.multiply(P1H, P1L)
      this.sum(this.h, this.l, P4H, P4L)
    }
    if (at + 4 <= length) {
      const h = this.h
      const l = this.l
      this.h = 0
      this.l = word(text, at)
      this.multiply(P1H, P1L)
      this.h ^= h
      this.l ^= l
      this.rotate(23)
      this.multiply(P2H, P2L)
      this.sum(this.h, this.l, P3H, P3L)
      at += 4
    }
    for (; at < length; at++) {
      const h = this.h
      const l = this.l
      this.h = 0
      this.l = text.charCodeAt(at) & 0xff
      this.multiply(P5H, P5L)
      this.h ^= h
      this.l ^= l
      this.rotate(11)
      this.multiply(P1H, P1L)
    }
    this.avalanche()
    this.high = this.h >>> 0
    this.low = this.l >>> 0
  }

  /** Everything but the last stripe's rest. Returns where that begins. */
  private stripes(text: string, seedHigh: number, seedLow: number): number {
    const { lanes } = this
    this.sum(seedHigh, seedLow, P1H, P1L)
    this.sum(this.h, this.l, P2H, P2L)
    this.keep(0)
    this.sum(seedHigh, seedLow, P2H, P2L)
    this.keep(1)
    lanes[4] = seedHigh
    lanes[5] = seedLow
    // Minus a prime is plus its complement.
    this.sum(seedHigh, seedLow, ~P1H, -P1L)
    this.keep(3)
    let at = 0
    for (; at + STRIPE <= text.length; at += STRIPE) {
      for (let lane = 0; lane < 4; lane++) {
        const from = at + 8 * lane
        this.round(lanes[2 * lane] as number, lanes[2 * lane + 1] as number, word(text, from + 4), word(text, from))
        this.keep(lane)
      }
    }
    this.converge()
    return at
  }

  private converge(): void {
    const { lanes } = this
    let high = 0
    let low = 0
    for (let lane = 0; lane < 4; lane++) {
      this.load(lane)
      this.rotate(lane === 0 ? 1 : lane === 1 ? 7 : lane === 2 ? 12 : 18)
      this.sum(this.h, this.l, high, low)
      high = this.h
      low = this.l
    }
    for (let lane = 0; lane < 4; lane++) {
      this.round(0, 0, lanes[2 * lane] as number, lanes[2 * lane + 1] as number)
      this.h ^= high
      this.l ^= low
      this.multiply(P1H, P1L)
      this.sum(this.h, this.l, P4H, P4L)
      high = this.h
      low = this.l
    }
  }

  private avalanche(): void {
    // h ^= h >>> 33
    this.l ^= this.h >>> 1
    this.multiply(P2H, P2L)
    // h ^= h >>> 29
    const low = this.l ^ ((this.l >>> 29) | (this.h << 3))
    this.h ^= this.h >>> 29
    this.l = low
    this.multiply(P3H, P3L)
    // h ^= h >>> 32
    this.l ^= this.h
  }

  /** acc = rotl(acc + input · P2, 31) · P1 */
  private round(accHigh: number, accLow: number, inputHigh: number, inputLow: number): void {
    this.h = inputHigh
    this.l = inputLow
    this.multiply(P2H, P2L)
    this.sum(this.h, this.l, accHigh, accLow)
    this.rotate(31)
    this.multiply(P1H, P1L)
  }

  private load(lane: number): void {
    this.h = this.lanes[2 * lane] as number
    this.l = this.lanes[2 * lane + 1] as number
  }

  private keep(lane: number): void {
    this.lanes[2 * lane] = this.h
    this.lanes[2 * lane + 1] = this.l
  }

  /** The sum of two numbers. */
  private sum(aHigh: number, aLow: number, bHigh: number, bLow: number): void {
    const low = (aLow + bLow) | 0
    const carry = low >>> 0 < aLow >>> 0 ? 1 : 0
    this.h = (aHigh + bHigh + carry) | 0
    this.l = low
  }

  /** To the left, by 1 to 31. */
  private rotate(bits: number): void {
    const { h, l } = this
    this.h = (h << bits) | (l >>> (32 - bits))
    this.l = (l << bits) | (h >>> (32 - bits))
  }

  private multiply(high: number, low: number): void {
    const { h, l } = this
    // The upper half of l · low, from products of 16 bits each.
    const a = l & 0xffff
    const b = l >>> 16
    const c = low & 0xffff
    const d = low >>> 16
    const middle = (Math.imul(b, c) >>> 0) + (Math.imul(a, c) >>> 16)
    const other = (Math.imul(a, d) >>> 0) + (middle & 0xffff)
    const upper = (Math.imul(b, d) >>> 0) + (middle >>> 16) + (other >>> 16)
    this.h = (upper + Math.imul(h, low) + Math.imul(l, high)) | 0
    this.l = Math.imul(l, low)
  }
}

/** Four bytes, the first the lowest. */
function word(text: string, at: number): number {
  return (
    (text.charCodeAt(at) & 0xff) |
    ((text.charCodeAt(at + 1) & 0xff) << 8) |
    ((text.charCodeAt(at + 2) & 0xff) << 16) |
    (text.charCodeAt(at + 3) << 24)
  )
}
