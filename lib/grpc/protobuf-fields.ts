// Reads the fields of a protobuf message with pbf, and checks what pbf takes on trust: that each length ends within the message, that a
// field number is one, that text is UTF-8, and that what is repeated has an end (protobuf.dev/programming-guides/encoding).
import { PbfReader, type PbfWriter } from 'pbf'

/** Bytes that are not the message they should be. The text is a clause: `it ends within a field`. */
export class ProtobufError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ProtobufError'
  }
}

const LENGTH_DELIMITED = 2
const text = new TextDecoder('utf-8', { fatal: true })

/** The value of the field that is being told. What is not asked for, or is of another wire type, is skipped. */
export interface FieldValue {
  /** A view. Null: the field has another wire type, so it is not the one that is known here (same guide, Unknown Fields). */
  bytes(): Uint8Array | null
  string(): string | null
}

/** Tells each field in order; of a singular field the last counts. Throws ProtobufError. */
export function eachField(message: Uint8Array, told: (field: number, value: FieldValue) => void): void {
  const reader = new PbfReader(message)
  const value: FieldValue = {
    bytes: () => (reader.type === LENGTH_DELIMITED ? bytesOf(reader) : null),
    string: () => (reader.type === LENGTH_DELIMITED ? textOf(bytesOf(reader)) : null),
  }
  try {
    while (reader.pos < reader.length) {
      const field = reader.nextField()
      const start = reader.pos
      if (field === 0) throw new ProtobufError('a field has the number 0')
      if (start >= reader.length) throw new ProtobufError('it ends within a field')
      told(field, value)
      if (reader.pos === start) reader.skip(reader.type)
      if (reader.pos > reader.length) throw new ProtobufError('it ends within a field')
    }
  } catch (error) {
    if (error instanceof ProtobufError) throw error
    // What pbf itself finds: a varint that does not end, or a wire type that is none (groups among them).
    throw new ProtobufError('a field has no wire type, or a number without an end')
  }
}

/** Writes text. pbf's own writer turns characters above U+1FFFF into others. */
export function writeText(out: PbfWriter, field: number, value: string): void {
  out.writeBytesField(field, Buffer.from(value, 'utf8'))
}

/** Adds to a list that a stranger fills. */
export function pushAtMost<T>(list: T[], item: T, most: number, what: string): void {
  if (list.length >= most) throw new ProtobufError(`it has more than ${most} ${what}`)
  list.push(item)
}

/** The value of a field with a length: a view. */
export function bytesOf(reader: PbfReader): Uint8Array {
  const length = reader.readVarint()
  const start = reader.pos
  if (!(length <= reader.length - start)) throw new ProtobufError('it ends within a field')
  reader.pos = start + length
  return reader.buf.subarray(start, reader.pos)
}

export function textOf(bytes: Uint8Array): string {
  try {
    return text.decode(bytes)
  } catch {
    throw new ProtobufError('a text is not UTF-8')
  }
}
