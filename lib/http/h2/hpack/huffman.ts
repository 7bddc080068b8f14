// Hot lane: Huffman strings of HPACK (RFC 7541 §5.2). Codes of up to ten bits, which is all that text is made of, are found by one look into
// a table; longer ones by a walk down the code's tree.
import { CLASS } from './byte-classes.ts'
import { codeBits, codeLength, EOS, SYMBOLS } from './huffman-code.ts'

const PEEK = 10
const PEEK_MASK = (1 << PEEK) - 1

/** By the next ten bits: symbol × 16 + length of its code; 0 when the code is longer. */
const SHORT = new Uint16Array(1 << PEEK)
/** Pairs of children, from the root at 0: another node's index, or the complement of a symbol. */
const TREE = new Int16Array(2 * SYMBOLS)

let nodes = 1
for (let symbol = 0; symbol < SYMBOLS; symbol++) {
  const length = codeLength[symbol] as number
  const code = codeBits[symbol] as number
  if (length <= PEEK) {
    const first = code << (PEEK - length)
    SHORT.fill(symbol * 16 + length, first, first + (1 << (PEEK - length)))
  }
  let node = 0
  for (let bit = length - 1; bit > 0; bit--) {
    const at = node * 2 + ((code >>> bit) & 1)
    if (TREE[at] === 0) TREE[at] = nodes++
    node = TREE[at] as number
  }
  TREE[node * 2 + (code & 1)] = ~symbol
}

/** The padding is longer than seven bits or not of ones, or the string holds EOS (RFC 7541 §5.2). */
export const BAD_HUFFMAN = -1

/** Decodes strings; `classes` is left beside the outcome. */
export class HuffmanDecoder {
  /** Classes of all bytes of the last string (byte-classes.ts). */
  classes: number

  constructor() {
    this.classes = 0
  }

  /**
   * Decodes `b[start, end)` into `out` from `o`, where there is room for 8/5 of the length. Returns the position behind the text, or BAD_HUFFMAN.
   */
  decode(b: Uint8Array, start: number, end: number, out: Uint8Array, o: number): number {
    let p = start
    let acc = 0 // the low `bits` bits are not consumed yet; what is above them is stale
    let bits = 0
    let classes = 0
    for (;;) {
      while (bits < 16 && p < end) {
        acc = (acc << 8) | (b[p++] as number)
        bits += 8
      }
      if (bits < PEEK) break
      const found = SHORT[(acc >>> (bits - PEEK)) & PEEK_MASK] as number
      if (found !== 0) {
        bits -= found & 15
        const symbol = found >>> 4
        classes |= CLASS[symbol] as number
        out[o++] = symbol
        continue
      }
      let node = 0
      do {
        if (bits === 0) {
          // The string ends inside a code of more than ten bits: that is no padding.
          if (p === end) return BAD_HUFFMAN
          acc = b[p++] as number
          bits = 8
        }
        node = TREE[node * 2 + ((acc >>> --bits) & 1)] as number
      } while (node > 0)
      if (~node === EOS) return BAD_HUFFMAN
      classes |= CLASS[~node] as number
      out[o++] = ~node
    }
    // Fewer than ten bits are left: short codes, then at most seven ones.
    while (bits > 0) {
      const found = SHORT[((acc << (PEEK - bits)) | ((1 << (PEEK - bits)) - 1)) & PEEK_MASK] as number
      const length = found & 15
      if (found === 0 || length > bits) break
      bits -= length
      classes |= CLASS[found >>> 4] as number
      out[o++] = found >>> 4
    }
    this.classes = classes
    const rest = (1 << bits) - 1
    return bits > 7 || (acc & rest) !== rest ? BAD_HUFFMAN : o
  }
}

/** Bytes that `b[start, end)` takes, encoded. */
export function huffmanLength(b: Uint8Array, start: number, end: number): number {
  let bits = 0
  for (let i = start; i < end; i++) bits += codeLength[b[i] as number] as number
  return (bits + 7) >>> 3
}

/** Encodes `b[start, end)` into `out` from `o`. Returns the position behind it. */
export function huffmanEncode(b: Uint8Array, start: number, end: number, out: Uint8Array, o: number): number {
  let acc = 0
  let bits = 0
  for (let i = start; i < end; i++) {
    const byte = b[i] as number
    const code = codeBits[byte] as number
    let length = codeLength[byte] as number
    // Fewer than eight bits wait: 7 and 24 fit in 31, the longest codes go in two steps.
    if (length > 24) {
      acc = (acc << (length - 24)) | (code >>> 24)
      bits += length - 24
      length = 24
      while (bits >= 8) {
        bits -= 8
        out[o++] = acc >>> bits
      }
    }
    acc = (acc << length) | (code & 0xffffff & ((1 << length) - 1))
    bits += length
    while (bits >= 8) {
      bits -= 8
      out[o++] = acc >>> bits
    }
  }
  if (bits > 0) out[o++] = (acc << (8 - bits)) | (0xff >>> bits)
  return o
}
