// Hot lane: once for each connection to an endpoint that is told of its client (HAProxy's proxy-protocol.txt; Envoy upstream_proxy_protocol). What is read is listener/proxy-protocol.ts.
import { isIP } from 'node:net'
import { ipOf } from '../base/ip-address.ts'
import { parseIp } from '../base/ip-prefix.ts'

/** Of a client that endpoints are told of: `ip:port`, IPv6 in brackets. */
export interface ToldClient {
  readonly source: string
  /** What it dialled. */
  readonly destination: string
}

const V2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const HEAD = 16
const VERSION_AND_LOCAL = 0x20
const VERSION_AND_PROXY = 0x21
const STREAM_OVER_IPV4 = 0x11
const STREAM_OVER_IPV6 = 0x21

/** `client` null, or with addresses that do not go together: it is for nobody (LOCAL, UNKNOWN). */
export function proxyHeader(version: 'v1' | 'v2', client: ToldClient | null): Buffer {
  const from = client === null ? '' : ipOf(client.source)
  const to = client === null ? '' : ipOf(client.destination)
  const family = isIP(from)
  const known = client !== null && family !== 0 && family === isIP(to)
  if (version === 'v1')
    return Buffer.from(
      known ? `PROXY TCP${family} ${from} ${to} ${portOf(client.source)} ${portOf(client.destination)}\r\n` : 'PROXY UNKNOWN\r\n',
    )
  return known ? binary(family, from, to, portOf(client.source), portOf(client.destination)) : local()
}

function local(): Buffer {
  const header = Buffer.alloc(HEAD)
  V2.copy(header)
  header[12] = VERSION_AND_LOCAL
  return header
}

function binary(family: number, from: string, to: string, fromPort: number, toPort: number): Buffer {
  const size = family === 4 ? 4 : 16
  const length = 2 * size + 4
  const header = Buffer.alloc(HEAD + length)
  V2.copy(header)
  header[12] = VERSION_AND_PROXY
  header[13] = family === 4 ? STREAM_OVER_IPV4 : STREAM_OVER_IPV6
  header.writeUInt16BE(length, 14)
  writeIp(header, HEAD, from)
  writeIp(header, HEAD + size, to)
  header.writeUInt16BE(fromPort, HEAD + 2 * size)
  header.writeUInt16BE(toPort, HEAD + 2 * size + 2)
  return header
}

function writeIp(into: Buffer, at: number, text: string): void {
  const ip = parseIp(text.replace(/%.*/, ''))
  if (ip === null) return
  const words = ip.v6 ? [ip.a, ip.b, ip.c, ip.d] : [ip.d]
  for (let i = 0; i < words.length; i++) into.writeUInt32BE(words[i] as number, at + 4 * i)
}

function portOf(address: string): number {
  return Number(address.substring(address.lastIndexOf(':') + 1)) || 0
}
