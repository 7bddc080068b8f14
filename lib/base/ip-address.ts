// Hot lane: runs for requests whose endpoint is chosen by the client's address.
import { isIP, SocketAddress } from 'node:net'

/** An IP address as Envoy writes it: IPv6 compressed, in lower case; null when it is none. */
export function canonicalIp(text: string): string | null {
  switch (isIP(text)) {
    case 4:
      return text
    case 6:
      return new SocketAddress({ address: text, family: 'ipv6' }).address
    default:
      return null
  }
}

/** `ip:port` of a socket, the address of an IPv4 client of an IPv6 socket written as what it is: `[::ffff:10.0.0.1]:80` is `10.0.0.1:80`. */
export function unmapped(address: string): string {
  if (!address.startsWith('[::ffff:') || !address.includes('.')) return address
  const end = address.indexOf(']')
  return address.substring(8, end) + address.substring(end + 1)
}

/** The address of `ip:port`, without brackets and port. */
export function ipOf(address: string): string {
  const plain = unmapped(address)
  const colon = plain.lastIndexOf(':')
  const ip = colon < 0 ? plain : plain.substring(0, colon)
  return ip.startsWith('[') ? ip.substring(1, ip.length - 1) : ip
}
