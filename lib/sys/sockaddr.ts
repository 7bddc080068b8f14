// Hot lane: socket addresses as the kernel has them (struct sockaddr_in and sockaddr_in6 of Linux), read and written once per connection.
import { endianness, networkInterfaces } from 'node:os'
import { parseWrittenIp } from '../base/ip-prefix.ts'

export const AF_INET = 2
export const AF_INET6 = 10
/** Of a sockaddr_in6; a sockaddr_in has 16. */
export const SOCKADDR_MAX = 28
const SOCKADDR_IN = 16

const LITTLE = endianness() === 'LE'

/** Writes the address, IPv4 or IPv6 in any form and with a zone, to 28 bytes. Returns how many it takes; 0: it is no address. */
export function writeSockaddr(bytes: Uint8Array, address: string, port: number): number {
  const ip = parseWrittenIp(address)
  if (ip === null) return 0
  bytes.fill(0)
  bytes[LITTLE ? 0 : 1] = ip.v6 ? AF_INET6 : AF_INET
  bytes[2] = port >> 8
  bytes[3] = port & 0xff
  if (!ip.v6) {
    writeWord(bytes, 4, ip.d)
    return SOCKADDR_IN
  }
  writeWord(bytes, 8, ip.a)
  writeWord(bytes, 12, ip.b)
  writeWord(bytes, 16, ip.c)
  writeWord(bytes, 20, ip.d)
  const zone = address.indexOf('%')
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

function writeWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24
  bytes[at + 1] = (word >>> 16) & 0xff
  bytes[at + 2] = (word >>> 8) & 0xff
  bytes[at + 3] = word & 0xff
}

function group(b: Uint8Array, i: number): number {
  return ((b[8 + 2 * i] as number) << 8) | (b[9 + 2 * i] as number)
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
