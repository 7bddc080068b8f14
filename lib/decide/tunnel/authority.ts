// The `:authority` of a tunnel's CONNECT: where the other side wants to go.
import { canonicalIp } from '../../base/ip-address.ts'
import { parseIp } from '../../base/ip-prefix.ts'

export type Authority =
  | { readonly kind: 'address'; readonly ip: string; readonly port: number }
  /** A service, in lower case. */
  | { readonly kind: 'hostname'; readonly hostname: string; readonly port: number }

const ADDRESS_OR_NAME = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9*._-]+)):(\d{1,5})$/

/** `ip:port`, `[ip]:port` or `host:port`, and nothing else (RFC 9110 §9.3.6 asks for both parts). null: none of these. */
export function parseAuthority(text: string): Authority | null {
  const found = ADDRESS_OR_NAME.exec(text)
  if (found === null) return null
  const [, bracketed, plain = '', digits = ''] = found
  const port = Number(digits)
  if (port < 1 || port > 65_535) return null
  if (bracketed !== undefined) {
    const ip = canonicalIp(bracketed)
    // An IPv4 address in the clothes of IPv6 is one that no peer of ours writes.
    return ip !== null && parseIp(ip)?.v6 === true ? { kind: 'address', ip, port } : null
  }
  if (parseIp(plain) !== null) return { kind: 'address', ip: plain, port }
  // Digits and dots that are no address are no name either: nobody means them as one.
  return /^[\d.]+$/.test(plain) ? null : { kind: 'hostname', hostname: plain.toLowerCase(), port }
}
