// Hot lane: what a ClientHello says, read from the first bytes of a connection without consuming them (RFC 8446 §4.1.2, envoy tls_inspector).
import { latin1Slice } from '../base/latin1.ts'

/** What the first bytes are. */
export const NEEDS_MORE = 0
export const NOT_TLS = 1
export const CLIENT_HELLO = 2

/** A longer ClientHello is none: 16 KiB is what a record can hold, and a hello takes few. */
const MAX_HELLO = 32 * 1024
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
    // A record of a handshake of TLS: type, then major version 3.
    if (bytes[0] !== RECORD_HANDSHAKE || (length > 1 && bytes[1] !== 3)) return NOT_TLS
    if (length > 5 && bytes[5] !== HANDSHAKE_CLIENT_HELLO) return NOT_TLS
    const hello = helloOf(bytes, length)
    if (hello === null) return length >= MAX_HELLO ? NOT_TLS : NEEDS_MORE
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

/** The message, which may be spread over records; null: not all of it is here. */
function helloOf(bytes: Buffer, length: number): Buffer | null {
  let wanted = -1
  let have = 0
  const parts: Buffer[] = []
  for (let at = 0; at + 5 <= length; ) {
    const size = word(bytes, at + 3)
    const to = Math.min(length, at + 5 + size)
    const part = bytes.subarray(at + 5, to)
    parts.push(part)
    have += part.length
    if (wanted < 0 && have >= 4) {
      const all = parts.length === 1 ? part : Buffer.concat(parts)
      wanted = 4 + ((all[1] as number) << 16) + word(all, 2)
    }
    if (wanted >= 0 && have >= wanted) return (parts.length === 1 ? part : Buffer.concat(parts)).subarray(4, wanted)
    if (to < at + 5 + size || bytes[to] !== RECORD_HANDSHAKE) return null
    at = to
  }
  return null
}

function serverNameIn(hello: Buffer, from: number, to: number): string {
  // List length, then entries: type 0 is a host name.
  const length = word(hello, from + 3)
  if (from + 5 > to || hello[from + 2] !== 0 || from + 5 + length > to) return ''
  return latin1Slice(hello, from + 5, from + 5 + length).toLowerCase()
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
