// Hot lane: who a proxy in front says is asking, before anything else on its connection (HAProxy's proxy-protocol.txt, versions 1 and 2; Envoy's listener
// filter proxy_protocol). Once for each connection of a listener that takes it.
import { isIP } from 'node:net'
import { latin1Slice } from '../base/latin1.ts'

/** More bytes can tell. */
export const NEEDS_MORE = 'needs more'
/** The first bytes are none of it. */
export const NO_HEADER = 'no header'
/** They are one that must not be, or that says nothing which could be understood. */
export const MALFORMED = 'malformed'

export interface ProxyHeader {
  /** Of the header. */
  readonly bytes: number
  /** `ip:port`, IPv6 in brackets; empty: the proxy asks for itself (LOCAL), or does not know. */
  readonly source: string
  readonly destination: string
}

const V1 = 'PROXY '
/** §2.1: with its line end. */
const V1_MAX = 107
const V2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const V2_HEAD = 16
const LOCAL = 0x20
const PROXY = 0x21
const UNSPECIFIED = 0x00
const STREAM_OVER_IPV4 = 0x11
const STREAM_OVER_IPV6 = 0x21
/** Addresses and type-length-values: all that a proxy has to tell takes far less. */
const V2_MAX = 4096

export function readProxyHeader(
  bytes: Buffer,
  length: number,
): ProxyHeader | typeof NEEDS_MORE | typeof NO_HEADER | typeof MALFORMED {
  const first = length === 0 ? -1 : (bytes[0] as number)
  if (first === -1) return NEEDS_MORE
  if (first === 0x0d) return version2(bytes, length)
  const text = latin1Slice(bytes, 0, Math.min(length, V1_MAX))
  if (!text.startsWith(V1)) return V1.startsWith(text) ? NEEDS_MORE : NO_HEADER
  const end = text.indexOf('\r\n')
  if (end >= 0) return version1(text.slice(0, end), end + 2)
  return text.length < V1_MAX ? NEEDS_MORE : MALFORMED
}

const LINE = /^PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,5})$/

function version1(line: string, bytes: number): ProxyHeader | typeof MALFORMED {
  // §2.1: what stands behind it is to be ignored.
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) return { bytes, source: '', destination: '' }
  const [, family, from = '', to = '', fromPort = '', toPort = ''] = LINE.exec(line) ?? []
  const version = family === 'TCP6' ? 6 : 4
  if (family === undefined || isIP(from) !== version || isIP(to) !== version) return MALFORMED
  if (Number(fromPort) > 65_535 || Number(toPort) > 65_535) return MALFORMED
  return { bytes, source: place(from, Number(fromPort)), destination: place(to, Number(toPort)) }
}

function version2(bytes: Buffer, length: number): ProxyHeader | typeof NEEDS_MORE | typeof NO_HEADER | typeof MALFORMED {
  const known = Math.min(length, V2.length)
  if (V2.compare(bytes, 0, known, 0, known) !== 0) return NO_HEADER
  if (length < V2_HEAD) return NEEDS_MORE
  const [command, family] = [bytes[12] as number, bytes[13] as number]
  const rest = bytes.readUInt16BE(14)
  if ((command !== LOCAL && command !== PROXY) || rest > V2_MAX) return MALFORMED
  if (length < V2_HEAD + rest) return NEEDS_MORE
  const own = { bytes: V2_HEAD + rest, source: '', destination: '' }
  if (command === LOCAL || family === UNSPECIFIED) return own
  if (family !== STREAM_OVER_IPV4 && family !== STREAM_OVER_IPV6) return MALFORMED
  const size = family === STREAM_OVER_IPV4 ? 4 : 16
  if (rest < 2 * size + 4) return MALFORMED
  const ports = V2_HEAD + 2 * size
  return {
    bytes: V2_HEAD + rest,
    source: place(address(bytes, V2_HEAD, size), bytes.readUInt16BE(ports)),
    destination: place(address(bytes, V2_HEAD + size, size), bytes.readUInt16BE(ports + 2)),
  }
}

function address(bytes: Buffer, at: number, size: number): string {
  if (size === 4) return bytes.subarray(at, at + 4).join('.')
  const words: string[] = []
  for (let i = 0; i < 16; i += 2) words.push(bytes.readUInt16BE(at + i).toString(16))
  // In the one form that addresses have elsewhere.
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1)
}

function place(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}
