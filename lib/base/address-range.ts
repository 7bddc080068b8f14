// Ranges of IP addresses (CIDR), compiled once and asked per connection.
import { isIP, isIPv6 } from 'node:net'

export interface AddressRange {
  /** Leading bits that count: what "longest prefix" compares. IPv4: 0–32, IPv6: 0–128. */
  readonly bits: number
  /** @param address an IP address, without port and brackets; of the other family: false. */
  contains(address: string): boolean
}

/** `10.0.0.0/8`, `fd00::/8`, or an address, which is a range of itself; null when it is neither. Bits beyond the prefix do not count. */
export function parseRange(text: string): AddressRange | null {
  const slash = text.indexOf('/')
  const address = slash < 0 ? text : text.slice(0, slash)
  const family = isIP(address)
  if (family === 0) return null
  const width = family === 4 ? 32 : 128
  const bitsText = slash < 0 ? String(width) : text.slice(slash + 1)
  const bits = /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : -1
  if (bits < 0 || bits > width) return null
  const words = wordsOf(address)
  return { bits, contains: (other) => isIP(other) === family && samePrefix(words, wordsOf(other), bits) }
}

/** 16-bit words of an address: two or eight. */
export function wordsOf(address: string): number[] {
  if (!isIPv6(address)) {
    const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
    return [a * 256 + b, c * 256 + d]
  }
  // An IPv4 address may stand for the last two words, and a zone may follow.
  const plain = address.replace(/%.*$/, '').replace(/\d+\.\d+\.\d+\.\d+$/, (v4) =>
    wordsOf(v4)
      .map((w) => w.toString(16))
      .join(':'),
  )
  const [head = '', tail] = plain.split('::')
  const left = head === '' ? [] : head.split(':').map((w) => Number.parseInt(w, 16))
  if (tail === undefined) return left
  const right = tail === '' ? [] : tail.split(':').map((w) => Number.parseInt(w, 16))
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right]
}

function samePrefix(a: readonly number[], b: readonly number[], bits: number): boolean {
  for (let i = 0, left = bits; left > 0; i++, left -= 16) {
    const ignored = Math.max(0, 16 - left)
    if ((a[i] as number) >> ignored !== (b[i] as number) >> ignored) return false
  }
  return true
}
