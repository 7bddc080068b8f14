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
  /** Four accumulators, high half and low half by turns. */
  private readonly lanes: Int32Array

  constructor() {
    this.high = 0
    this.low = 0
    this.lanes = new Int32Array(8)
  }

  /** `text` is Latin-1: a character is a byte. The seed is given in halves too. */
  hash(text: string, seedHigh = 0, seedLow = 0): void {
    const length = text.length
    let at = 0
    // The number that is being made.
    let h: number
    let l: number
    if (length >= STRIPE) {
      at = this.stripes(text, seedHigh | 0, seedLow | 0)
      h = this.lanes[0] as number
      l = this.lanes[1] as number
    } else {
      l = (seedLow + P5L) | 0
      h = (seedHigh + P5H + carry(l, P5L)) | 0
    }
    l = (l + length) | 0
    h = (h + carry(l, length)) | 0
    for (; at + 8 <= length; at += 8) {
      const wordLow = word(text, at)
      const rh = timesHigh(word(text, at + 4), wordLow, P2H, P2L)
      const rl = Math.imul(wordLow, P2L)
      const turnedLow = (rl << 31) | (rh >>> 1)
      // Of both halves at once: the round's product, mixed in.
      const xh = h ^ timesHigh((rh << 31) | (rl >>> 1), turnedLow, P1H, P1L)
      const xl = l ^ Math.imul(turnedLow, P1L)
      const low = (xl << 27) | (xh >>> 5)
      l = (Math.imul(low, P1L) + P4L) | 0
      h = (timesHigh((xh << 27) | (xl >>> 5), low, P1H, P1L) + P4H + carry(l, P4L)) | 0
    }
    if (at + 4 <= length) {
      const wordLow = word(text, at)
      const xh = h ^ timesHigh(0, wordLow, P1H, P1L)
      const xl = l ^ Math.imul(wordLow, P1L)
      const low = (xl << 23) | (xh >>> 9)
      l = (Math.imul(low, P2L) + P3L) | 0
      h = (timesHigh((xh << 23) | (xl >>> 9), low, P2H, P2L) + P3H + carry(l, P3L)) | 0
      at += 4
    }
    for (; at < length; at++) {
      const byte = text.charCodeAt(at) & 0xff
      const xh = h ^ timesHigh(0, byte, P5H, P5L)
      const xl = l ^ Math.imul(byte, P5L)
      const low = (xl << 11) | (xh >>> 21)
      h = timesHigh((xh << 11) | (xl >>> 21), low, P1H, P1L)
      l = Math.imul(low, P1L)
    }
    this.avalanche(h, l)
  }

  /** All whole stripes; what they come to is left in the first lane. Returns where the rest begins. */
  private stripes(text: string, seedHigh: number, seedLow: number): number {
    const { lanes } = this
    const twoLow = (seedLow + P2L) | 0
    const twoHigh = (seedHigh + P2H + carry(twoLow, P2L)) | 0
    const bothLow = (twoLow + P1L) | 0
    lanes[0] = twoHigh + P1H + carry(bothLow, P1L)
    lanes[1] = bothLow
    lanes[2] = twoHigh
    lanes[3] = twoLow
    lanes[4] = seedHigh
    lanes[5] = seedLow
    lanes[6] = seedHigh - P1H - (seedLow >>> 0 < P1L ? 1 : 0)
    lanes[7] = seedLow - P1L
    let at = 0
    for (; at + STRIPE <= text.length; at += STRIPE) {
      for (let lane = 0; lane < 8; lane += 2) {
        const from = at + 4 * lane
        round(lanes, lane, word(text, from + 4), word(text, from))
      }
    }
    converge(lanes)
    return at
  }

  private avalanche(high: number, low: number): void {
    // h ^= h >>> 33, by which only the lower half changes
    let l = low ^ (high >>> 1)
    let h = timesHigh(high, l, P2H, P2L)
    l = Math.imul(l, P2L)
    // h ^= h >>> 29
    l ^= (l >>> 29) | (h << 3)
    h ^= h >>> 29
    h = timesHigh(h, l, P3H, P3L)
    l = Math.imul(l, P3L)
    // h ^= h >>> 32
    this.high = h >>> 0
    this.low = (l ^ h) >>> 0
  }
}

/** lane = rotl(lane + word · P2, 31) · P1 */
function round(lanes: Int32Array, lane: number, wordHigh: number, wordLow: number): void {
  const product = Math.imul(wordLow, P2L)
  const sl = ((lanes[lane + 1] as number) + product) | 0
  const sh = ((lanes[lane] as number) + timesHigh(wordHigh, wordLow, P2H, P2L) + carry(sl, product)) | 0
  const low = (sl << 31) | (sh >>> 1)
  lanes[lane] = timesHigh((sh << 31) | (sl >>> 1), low, P1H, P1L)
  lanes[lane + 1] = Math.imul(low, P1L)
}

const TURNS = [1, 7, 12, 18] as const

function converge(lanes: Int32Array): void {
  let h = 0
  let l = 0
  for (let lane = 0; lane < 8; lane += 2) {
    const turn = TURNS[lane >> 1] as number
    const lh = lanes[lane] as number
    const ll = lanes[lane + 1] as number
    const low = (ll << turn) | (lh >>> (32 - turn))
    l = (l + low) | 0
    h = (h + ((lh << turn) | (ll >>> (32 - turn))) + carry(l, low)) | 0
  }
  for (let lane = 0; lane < 8; lane += 2) {
    const lh = lanes[lane] as number
    const ll = lanes[lane + 1] as number
    lanes[lane] = 0
    lanes[lane + 1] = 0
    round(lanes, lane, lh, ll)
    const xl = l ^ (lanes[lane + 1] as number)
    l = (Math.imul(xl, P1L) + P4L) | 0
    h = (timesHigh(h ^ (lanes[lane] as number), xl, P1H, P1L) + P4H + carry(l, P4L)) | 0
  }
  lanes[0] = h
  lanes[1] = l
}

/** Of a sum of lower halves and one of those that were added. */
function carry(sum: number, part: number): number {
  return sum >>> 0 < part >>> 0 ? 1 : 0
}

/** The upper half of a product; the lower is Math.imul of the lower halves. */
function timesHigh(h: number, l: number, high: number, low: number): number {
  // Of l · low, from products of 16 bits each.
  const a = l & 0xffff
  const b = l >>> 16
  const c = low & 0xffff
  const d = low >>> 16
  const middle = (Math.imul(b, c) >>> 0) + (Math.imul(a, c) >>> 16)
  const other = (Math.imul(a, d) >>> 0) + (middle & 0xffff)
  const upper = Math.imul(b, d) + (middle >>> 16) + (other >>> 16)
  return (upper + Math.imul(h, low) + Math.imul(l, high)) | 0
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
