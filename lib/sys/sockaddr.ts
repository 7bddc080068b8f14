// Hot lane: socket addresses as the kernel has them (struct sockaddr_in and sockaddr_in6 of Linux), read and written once per connection.
import { endianness, networkInterfaces } from 'node:os'

export const AF_INET = 2
export const AF_INET6 = 10
/** Of a sockaddr_in6; a sockaddr_in has 16. */
export const SOCKADDR_MAX = 28
const SOCKADDR_IN = 16

const LITTLE = endianness() === 'LE'
const COLON = 58
const DOT = 46

/** Writes the address, IPv4 or IPv6 in any form and with a zone, to 28 bytes. Returns how many it takes; 0: it is no address. */
export function writeSockaddr(bytes: Uint8Array, address: string, port: number): number {
  bytes.fill(0)
  const v6 = address.includes(':')
  const family = v6 ? AF_INET6 : AF_INET
  bytes[LITTLE ? 0 : 1] = family
  bytes[2] = port >> 8
  bytes[3] = port & 0xff
  if (!v6) return parseV4(address, 0, address.length, bytes, 4) ? SOCKADDR_IN : 0
  const zone = address.indexOf('%')
  if (!parseV6(address, zone < 0 ? address.length : zone, bytes)) return 0
  if (zone >= 0) writeScope(bytes, address.substring(zone + 1))
  return SOCKADDR_MAX
}

export function portOf(sockaddr: Uint8Array): number {
  return ((sockaddr[2] as number) << 8) | (sockaddr[3] as number)
}

/** The address in its one written form (RFC 5952); an IPv4 address of an IPv6 socket as the IPv4 address that it is. */
export function addressOf(sockaddr: Uint8Array): string {
  if (sockaddr[LITTLE ? 0 : 1] === AF_INET) return v4Text(sockaddr, 4)
  return isMapped(sockaddr) ? v4Text(sockaddr, 20) : v6Text(sockaddr)
}

/** An IPv4 address of an IPv6 socket (`::ffff:10.0.0.1`) as the IPv4 address that it is; any other as it stands. */
export function unmappedAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.substring(7) : address
}

function isMapped(sockaddr: Uint8Array): boolean {
  for (let i = 8; i < 18; i++) if (sockaddr[i] !== 0) return false
  return sockaddr[18] === 0xff && sockaddr[19] === 0xff
}

function v4Text(b: Uint8Array, at: number): string {
  return `${b[at]}.${b[at + 1]}.${b[at + 2]}.${b[at + 3]}`
}

/** The first of the longest runs of two and more zero groups is `::` (RFC 5952 §4.2). */
function v6Text(b: Uint8Array): string {
  let from = -1
  let longest = 1
  for (let i = 0, run = 0; i < 8; i++) {
    run = group(b, i) === 0 ? run + 1 : 0
    if (run > longest) {
      longest = run
      from = i - run + 1
    }
  }
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (i === from) {
      text += '::'
      i += longest - 1
    } else {
      text += text === '' || text.endsWith('::') ? group(b, i).toString(16) : `:${group(b, i).toString(16)}`
    }
  }
  return text
}

function group(b: Uint8Array, i: number): number {
  return ((b[8 + 2 * i] as number) << 8) | (b[9 + 2 * i] as number)
}

/** Four decimal numbers below 256. */
function parseV4(text: string, from: number, to: number, out: Uint8Array, at: number): boolean {
  let part = 0
  let value = -1
  for (let i = from; i <= to; i++) {
    const c = i === to ? DOT : text.charCodeAt(i)
    if (c === DOT) {
      if (value < 0 || part > 3) return false
      out[at + part] = value
      part++
      value = -1
    } else {
      if (c < 48 || c > 57) return false
      value = (value < 0 ? 0 : value * 10) + c - 48
      if (value > 255) return false
    }
  }
  return part === 4
}

/** Groups of hexadecimal digits, at most one `::`, at its end perhaps an IPv4 address (RFC 4291 §2.2). */
function parseV6(text: string, end: number, out: Uint8Array): boolean {
  const base = 8
  let count = 0
  let gap = -1
  let i = 0
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false
    gap = 0
    i = 2
  }
  while (i < end) {
    if (count === 8) return false
    let value = 0
    const start = i
    let digit = hex(text.charCodeAt(i))
    while (i < end && digit >= 0) {
      value = value * 16 + digit
      i++
      digit = hex(text.charCodeAt(i))
    }
    if (i < end && text.charCodeAt(i) === DOT) {
      if (count > 6 || !parseV4(text, start, end, out, base + 2 * count)) return false
      count += 2
      i = end
      break
    }
    if (i === start || i - start > 4) return false
    out[base + 2 * count] = value >> 8
    out[base + 2 * count + 1] = value & 0xff
    count++
    if (i === end) break
    if (text.charCodeAt(i) !== COLON) return false
    i++
    if (i === end) return false
    if (text.charCodeAt(i) === COLON) {
      if (gap >= 0) return false
      gap = count
      i++
    }
  }
  if (gap < 0) return count === 8
  if (count === 8) return false
  out.copyWithin(base + 16 - 2 * (count - gap), base + 2 * gap, base + 2 * count)
  out.fill(0, base + 2 * gap, base + 16 - 2 * (count - gap))
  return true
}

function hex(c: number): number {
  if (c >= 48 && c <= 57) return c - 48
  const lower = c | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** The interface of a link-local address, by name or number. */
function writeScope(bytes: Uint8Array, zone: string): void {
  let scope = Number(zone)
  if (!Number.isInteger(scope)) {
    const found = networkInterfaces()[zone]?.find((a) => a.family === 'IPv6')
    scope = found?.family === 'IPv6' ? found.scopeid : 0
  }
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(24, scope, LITTLE)
}
