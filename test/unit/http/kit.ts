// What codec tests need around a codec: header maps from text, and a connection that only writes down what happens to it. With real sockets the
// kernel would decide where the pieces end.

import { parseRequestHead, StartLine } from '../../../lib/http/h1/parse-head.ts'
import { HeaderMap } from '../../../lib/http/header-map.ts'
import type { Connection } from '../../../lib/transport/connection.ts'

/** A map parsed from field lines, each with its CRLF. */
export function mapOf(lines: string): HeaderMap {
  const bytes = Buffer.from(`GET / HTTP/1.1\r\n${lines}\r\n\0`, 'latin1')
  const map = new HeaderMap()
  const at = parseRequestHead(bytes, 0, bytes.length - 1, new StartLine(), map, 1000, 1000000)
  if (at < 0) throw new Error(`bad test: ${JSON.stringify(lines)}`)
  map.block = bytes.toString('latin1', 0, at)
  return map
}

/** Parsed and added fields that are there, as `name: value`. */
export function fieldsOf(map: HeaderMap): readonly string[] {
  const out: string[] = []
  for (let i = 0; i < map.size; i++) if (!map.isRemoved(i)) out.push(`${map.nameAt(i)}: ${map.valueAt(i)}`)
  return out
}

export class RecordedConnection {
  sent: string
  writable: boolean
  /** Disables minus enables; below zero is a mistake of the codec. */
  pauses: number

  constructor() {
    this.sent = ''
    this.writable = true
    this.pauses = 0
  }

  writeText(text: string): void {
    this.sent += text
  }

  writeBytes(bytes: Buffer, start: number, end: number): void {
    this.sent += bytes.toString('latin1', start, end)
  }

  readDisable(): void {
    this.pauses++
  }

  readEnable(): void {
    if (--this.pauses < 0) throw new Error('readEnable without readDisable')
  }

  get asConnection(): Connection {
    return this as unknown as Connection
  }
}

/** Feeds text as a read would bring it: in a buffer with other bytes behind it, which is used again afterwards. */
export function feed(codec: { execute(bytes: Buffer, length: number): void }, text: string): void {
  const bytes = Buffer.alloc(text.length + 8, '?')
  bytes.write(text, 'latin1')
  codec.execute(bytes, text.length)
  bytes.fill('!')
}
