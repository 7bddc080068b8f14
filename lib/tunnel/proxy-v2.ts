// PROXY protocol version 2 (HAProxy's proxy-protocol.txt §2.2): how an application that ends tunnels itself learns who is at their other end.
import { parseIp } from '../base/ip-prefix.ts'
import type { ProxyHeader } from '../decide/tunnel/inbound-decision.ts'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
/** Version 2, command PROXY. */
const VERSION_COMMAND = 0x21
const STREAM_OVER_IPV4 = 0x11
const STREAM_OVER_IPV6 = 0x21
/** Istio's: the SPIFFE id of the source, as text. */
const TLV_IDENTITY = 0xd0

/** Where only one of the addresses is IPv6, the other one is written as an IPv4-mapped one: both have one family. */
export function proxyHeaderBytes({ source, destination, identity }: ProxyHeader): Buffer {
  const v6 = source.ip.includes(':') || destination.ip.includes(':')
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(source.port, 0)
  ports.writeUInt16BE(destination.port, 2)
  const addresses = Buffer.concat([addressBytes(source.ip, v6), addressBytes(destination.ip, v6), ports])
  const tlv = identity === '' ? Buffer.alloc(0) : identityBytes(identity)
  const head = Buffer.alloc(4)
  head[0] = VERSION_COMMAND
  head[1] = v6 ? STREAM_OVER_IPV6 : STREAM_OVER_IPV4
  head.writeUInt16BE(addresses.length + tlv.length, 2)
  return Buffer.concat([SIGNATURE, head, addresses, tlv])
}

function addressBytes(text: string, v6: boolean): Buffer {
  const ip = parseIp(text)
  if (ip === null) return Buffer.alloc(v6 ? 16 : 4)
  const words = !v6 ? [ip.d] : ip.v6 ? [ip.a, ip.b, ip.c, ip.d] : [0, 0, 0xffff, ip.d]
  const bytes = Buffer.alloc(words.length * 4)
  for (const [i, word] of words.entries()) bytes.writeUInt32BE(word, i * 4)
  return bytes
}

function identityBytes(identity: string): Buffer {
  const text = Buffer.from(identity, 'latin1')
  const head = Buffer.alloc(3)
  head[0] = TLV_IDENTITY
  head.writeUInt16BE(text.length, 1)
  return Buffer.concat([head, text])
}
