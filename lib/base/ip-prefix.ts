// IP addresses as numbers, and sets of prefixes (CIDR blocks) that are asked for each connection.
import { isIP } from 'node:net'

/** An address in four words, the most significant first. IPv4 has its 32 bits in `d`. */
export interface IpNumber {
  readonly v6: boolean
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
}

/** A block as text: `10.0.0.0`, 8. Bits behind the length do not count. */
export interface IpPrefix {
  readonly address: string
  /** 0–32, or 0–128 for IPv6. */
  readonly length: number
}

/** null: no IP address. `::ffff:10.0.0.1` is 10.0.0.1, as a dual-stack socket has its IPv4 peers; a zone (`%eth0`) does not count. */
export function parseIp(text: string): IpNumber | null {
  const ip = parseWrittenIp(text)
  return ip?.v6 && ip.a === 0 && ip.b === 0 && ip.c === 0xffff ? { v6: false, a: 0, b: 0, c: 0, d: ip.d } : ip
}

/** As it is written: `::ffff:10.0.0.1` is an IPv6 address. null: no IP address; a zone does not count. */
export function parseWrittenIp(text: string): IpNumber | null {
  const family = isIP(text)
  if (family === 4) return { v6: false, a: 0, b: 0, c: 0, d: parse4(text) }
  return family === 6 ? parse6(text) : null
}

/** `10.0.0.0/8`; null when it is none. A length is required, and at most the bits of the family. */
export function parsePrefix(text: string): IpPrefix | null {
  const slash = text.indexOf('/')
  if (slash < 0) return null
  const [address, bits] = [text.slice(0, slash), text.slice(slash + 1)]
  const family = isIP(address)
  if (family === 0 || address.includes('%') || !/^\d{1,3}$/.test(bits)) return null
  const length = Number(bits)
  return length <= (family === 4 ? 32 : 128) ? { address, length } : null
}

/** A block that says how long it is, so that the longest of several can be found. */
export interface AddressRange {
  /** Leading bits that count. IPv4: 0–32, IPv6: 0–128. */
  readonly bits: number
  /** @param address an IP address, without port and brackets; of the other family: false. */
  contains(address: string): boolean
}

/** `10.0.0.0/8`, `fd00::/8`, or an address, which is a range of itself; null when it is neither. Bits beyond the prefix do not count. */
export function parseRange(text: string): AddressRange | null {
  const prefix = parsePrefix(text.includes('/') ? text : `${text}/${isIP(text) === 4 ? 32 : 128}`)
  if (prefix === null) return null
  const set = new PrefixSet([prefix])
  return {
    bits: prefix.length,
    contains: (address) => {
      const ip = parseIp(address)
      return ip !== null && set.contains(ip)
    },
  }
}

export function isLoopback(ip: IpNumber): boolean {
  return ip.v6 ? ip.a === 0 && ip.b === 0 && ip.c === 0 && ip.d === 1 : ip.d >>> 24 === 127
}

/** Prefixes of both families. Frozen once made. */
export class PrefixSet {
  /** Base and mask. */
  readonly #v4: Uint32Array
  /** Four words of the base, four of the mask. */
  readonly #v6: Uint32Array

  /** What is no address is left out: whoever reads configuration has refused it. */
  constructor(prefixes: readonly IpPrefix[]) {
    const v4: number[] = []
    const v6: number[] = []
    for (const { address, length } of prefixes) {
      const family = isIP(address)
      if (family === 4) v4.push(parse4(address) & word(length), word(length))
      else if (family === 6) {
        const ip = parse6(address)
        const masks = [word(length), word(length - 32), word(length - 64), word(length - 96)]
        v6.push(...[ip.a, ip.b, ip.c, ip.d].map((part, i) => part & masks[i]!), ...masks)
      }
    }
    this.#v4 = Uint32Array.from(v4)
    this.#v6 = Uint32Array.from(v6)
  }

  contains(ip: IpNumber): boolean {
    if (!ip.v6) {
      const set = this.#v4
      for (let i = 0; i < set.length; i += 2) if ((ip.d & set[i + 1]!) >>> 0 === set[i]) return true
      return false
    }
    const set = this.#v6
    for (let i = 0; i < set.length; i += 8) {
      if (
        (ip.a & set[i + 4]!) >>> 0 === set[i] &&
        (ip.b & set[i + 5]!) >>> 0 === set[i + 1] &&
        (ip.c & set[i + 6]!) >>> 0 === set[i + 2] &&
        (ip.d & set[i + 7]!) >>> 0 === set[i + 3]
      )
        return true
    }
    return false
  }
}

/** The mask of a word of which `bits` lead; less than 0 counts as 0, more than 32 as 32. */
function word(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? 0xffffffff : (0xffffffff << (32 - bits)) >>> 0
}

/** `text` is one that `isIP` takes. */
function parse4(text: string): number {
  let value = 0
  let part = 0
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit >= 0) part = part * 10 + digit
    else {
      value = value * 256 + part
      part = 0
    }
  }
  return value * 256 + part
}

/** `text` is one that `isIP` takes. */
function parse6(text: string): IpNumber {
  const zone = text.indexOf('%')
  const [head = '', tail] = (zone < 0 ? text : text.slice(0, zone)).split('::')
  const before = groups(head)
  const after = tail === undefined ? [] : groups(tail)
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
  const pair = (i: number): number => all[i]! * 65_536 + all[i + 1]!
  return { v6: true, a: pair(0), b: pair(2), c: pair(4), d: pair(6) }
}

function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return Number.parseInt(group, 16)
    const v4 = parse4(group)
    return [v4 >>> 16, v4 & 0xffff]
  })
}
