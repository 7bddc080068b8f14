// Hot lane: what a ClientHello says, read from the first bytes of a connection without consuming them (RFC 8446 §4.1.2, envoy tls_inspector).
import { latin1Slice } from '../base/latin1.ts'
import { cleanServerName } from '../base/server-name.ts'

/** What the first bytes are. */
export const NEEDS_MORE = 0
export const NOT_TLS = 1
export const CLIENT_HELLO = 2

/** A longer ClientHello is none: hellos with keys of every kind take few KiB. */
const MAX_HELLO = 32 * 1024
/** RFC 8446 §5.1. */
const MAX_RECORD = 16 * 1024
const RECORD_HANDSHAKE = 22
const HANDSHAKE_CLIENT_HELLO = 1
const EXTENSION_SERVER_NAME = 0
const EXTENSION_ALPN = 16

export class TlsInspector {
  /** Lower case; empty: none. */
  serverName: string
  applicationProtocols: string[]

  constructor() {
    this.serverName = ''
    this.applicationProtocols = []
  }

  /** Of all bytes so far. `CLIENT_HELLO` fills the fields; what is malformed inside of a hello is left to the handshake to refuse. */
  inspect(bytes: Buffer, length: number): number {
    if (length === 0) return NEEDS_MORE
    const hello = helloOf(bytes, length)
    if (typeof hello === 'number') return hello
    this.read(hello)
    return CLIENT_HELLO
  }

  private read(hello: Buffer): void {
    // Version and random, then session id, cipher suites and compression methods, each behind its length.
    let at = 34
    at += 1 + (hello[at] ?? 0)
    at += 2 + word(hello, at)
    at += 1 + (hello[at] ?? 0)
    const end = Math.min(hello.length, at + 2 + word(hello, at))
    at += 2
    while (at + 4 <= end) {
      const type = word(hello, at)
      const from = at + 4
      const to = Math.min(end, from + word(hello, at + 2))
      if (type === EXTENSION_SERVER_NAME) this.serverName = serverNameIn(hello, from, to)
      else if (type === EXTENSION_ALPN) this.applicationProtocols = protocolsIn(hello, from, to)
      at = from + word(hello, at + 2)
    }
  }
}

/** The message, which may be spread over records, without its header; NEEDS_MORE, NOT_TLS. */
function helloOf(bytes: Buffer, length: number): Buffer | number {
  let wanted = -1
  let have = 0
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    // Of each record: a handshake, of TLS with the major version 3.
    if (length > at && bytes[at] !== RECORD_HANDSHAKE) return NOT_TLS
    if (length > at + 1 && bytes[at + 1] !== 3) return NOT_TLS
    if (length < at + 5) return NEEDS_MORE
    const size = word(bytes, at + 3)
    if (size === 0 || size > MAX_RECORD) return NOT_TLS
    const part = bytes.subarray(at + 5, Math.min(length, at + 5 + size))
    parts.push(part)
    have += part.length
    if (have > 0 && (parts[0] as Buffer)[0] !== HANDSHAKE_CLIENT_HELLO) return NOT_TLS
    if (wanted < 0 && have >= 4) {
      const all = parts.length === 1 ? part : Buffer.concat(parts)
      wanted = 4 + ((all[1] as number) << 16) + word(all, 2)
      if (wanted > MAX_HELLO) return NOT_TLS
    }
    if (wanted >= 0 && have >= wanted) return (parts.length === 1 ? part : Buffer.concat(parts)).subarray(4, wanted)
    if (part.length < size) return NEEDS_MORE
    at += 5 + size
  }
}

function serverNameIn(hello: Buffer, from: number, to: number): string {
  // List length, then entries: type 0 is a host name.
  const length = word(hello, from + 3)
  if (from + 5 > to || hello[from + 2] !== 0 || from + 5 + length > to) return ''
  return cleanServerName(latin1Slice(hello, from + 5, from + 5 + length))
}

function protocolsIn(hello: Buffer, from: number, to: number): string[] {
  const out: string[] = []
  for (let at = from + 2; at < to; ) {
    const end = at + 1 + (hello[at] as number)
    if (end > to) break
    out.push(latin1Slice(hello, at + 1, end))
    at = end
  }
  return out
}

function word(bytes: Buffer, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}
