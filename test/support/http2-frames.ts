// Frames of HTTP/2 as bytes and bytes as frames (RFC 9113 §4), and the plainest header blocks (RFC 7541 §6.2.2). Written without heddle's codec.

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export const TYPES = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
]
export type TypeName = (typeof TYPES)[number]

export interface Frame {
  readonly type: TypeName
  readonly flags: number
  readonly id: number
  readonly payload: Buffer
}

export function frame(type: TypeName, flags: number, id: number, payload: Buffer | string = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head[3] = TYPES.indexOf(type)
  head[4] = flags
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, body])
}

export function u32(...values: readonly number[]): Buffer {
  const b = Buffer.alloc(values.length * 4)
  for (const [i, value] of values.entries()) b.writeUInt32BE(value, i * 4)
  return b
}

export function settings(...pairs: readonly (readonly [number, number])[]): Buffer {
  const body = pairs.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 0xff]), u32(value)]))
  return frame('SETTINGS', 0, 0, Buffer.concat(body))
}

/** A header block of literals that no table takes, not coded. */
export function block(...fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])))
}

export function text(s: string): Buffer {
  return Buffer.concat([integer(0, 7, s.length), Buffer.from(s, 'latin1')])
}

export function integer(pattern: number, bits: number, value: number): Buffer {
  const most = 2 ** bits - 1
  if (value < most) return Buffer.from([pattern | value])
  const out = [pattern | most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128)
  return Buffer.from([...out, rest])
}

export const GET: readonly (readonly [string, string])[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a.example'],
]
export const POST: readonly (readonly [string, string])[] = [[':method', 'POST'], ...GET.slice(1)]

/** END_STREAM and END_HEADERS. */
export const END = 1
export const WHOLE = 4

export function get(id: number, ...more: readonly (readonly [string, string])[]): Buffer {
  return frame('HEADERS', END | WHOLE, id, block(...GET, ...more))
}

export function post(id: number, ...more: readonly (readonly [string, string])[]): Buffer {
  return frame('HEADERS', WHOLE, id, block(...POST, ...more))
}

/** Takes bytes apart. A preface in front is skipped; what is not whole yet is left out. */
export function frames(bytes: Buffer): Frame[] {
  const out: Frame[] = []
  let at = bytes.subarray(0, PREFACE.length).equals(PREFACE) ? PREFACE.length : 0
  while (at < bytes.length) {
    if (at + 9 > bytes.length || at + 9 + bytes.readUIntBE(at, 3) > bytes.length) break
    const length = bytes.readUIntBE(at, 3)
    const type = TYPES[bytes[at + 3] as number] ?? 'UNKNOWN'
    out.push({
      type,
      flags: bytes[at + 4] as number,
      id: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    })
    at += 9 + length
  }
  return out
}

/** `TYPE id detail`, the detail being what matters of the type. */
export function told(f: Frame): string {
  const { type, flags, id, payload } = f
  switch (type) {
    case 'RST_STREAM':
      return `RST_STREAM ${id} code ${payload.readUInt32BE(0)}`
    case 'GOAWAY':
      return `GOAWAY last ${payload.readUInt32BE(0)} code ${payload.readUInt32BE(4)}`
    case 'WINDOW_UPDATE':
      return `WINDOW_UPDATE ${id} +${payload.readUInt32BE(0)}`
    case 'DATA':
      return `DATA ${id} ${payload.length}${(flags & 1) !== 0 ? ' end' : ''}`
    case 'SETTINGS':
    case 'PING':
      return `${type}${(flags & 1) !== 0 ? ' ack' : ''}`
    default:
      return `${type} ${id}${(flags & 1) !== 0 ? ' end' : ''}`
  }
}
