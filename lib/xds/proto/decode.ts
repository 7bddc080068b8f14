// Bytes to a message, by its table (protobuf.dev/programming-guides/encoding). What bytes may not do is checked here, since pbf takes it on trust: a length ends
// within its message, a field has a number, text is UTF-8, messages do not nest without end, and numbers of 64 bits are exact.
import { PbfReader } from 'pbf'
import { bytesOf, ProtobufError, textOf } from '../../grpc/protobuf-fields.ts'
import type { Any, Field, Kind, Message, ScalarType, Struct, StructValue } from './schema.ts'

/** As deep as messages may be in each other. */
const MAX_DEPTH = 100
const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const FIXED32 = 5

/** Hears of each field that the table does not have. */
export type UnknownField = (typeName: string, number: number) => void

/** Throws ProtobufError. Views of `from` stay in the message: bytes, and values of Any. */
export function decode<T extends object>(of: Message<T>, from: Uint8Array, unknown: UnknownField | null = null): T {
  return new Decoder(unknown).message(of, from, 0) as T
}

class Decoder {
  readonly #unknown: UnknownField | null

  constructor(unknown: UnknownField | null) {
    this.#unknown = unknown
  }

  /** A singular message may come in pieces: `before` is what those before this one have made, and is added to. */
  message(of: Message<object>, from: Uint8Array, depth: number, before: unknown = null): object {
    if (depth > MAX_DEPTH) throw new ProtobufError(`messages nest deeper than ${MAX_DEPTH}`)
    const out = (before ?? { ...of.empty }) as Record<string, unknown>
    eachTag(from, (reader, number) => {
      const entry = of.byNumber.get(number)
      if (entry === undefined) {
        this.#unknown?.(of.typeName, number)
        return skip(reader)
      }
      const [name, field] = entry
      if (field.shape === 'list') return this.#element(out, name, field, reader, depth)
      if (field.shape === 'map') return this.#mapEntry(out, name, field, reader, depth)
      if (field.kind.is === 'message' && reader.type === LENGTH_DELIMITED) {
        choose(of, out, name, field, this.message(field.kind.of(), bytesOf(reader), depth + 1, out[name]))
        return
      }
      const value = this.#value(field.kind, reader, depth)
      if (value === undefined) skip(reader)
      else choose(of, out, name, field, value)
    })
    return out
  }

  #element(out: Record<string, unknown>, name: string, field: Field<unknown>, reader: PbfReader, depth: number): void {
    const list = (out[name] as readonly unknown[]).length === 0 ? [] : (out[name] as unknown[])
    const { kind } = field
    if (reader.type === LENGTH_DELIMITED && isPackable(kind)) {
      const packed = new PbfReader(bytesOf(reader))
      while (packed.pos < packed.length) {
        packed.type = wireTypeOf(kind)
        list.push(this.#value(kind, packed, depth))
        if (packed.pos > packed.length) throw new ProtobufError('it ends within a field')
      }
    } else {
      const value = this.#value(kind, reader, depth)
      if (value === undefined) {
        skip(reader)
        return
      }
      list.push(value)
    }
    out[name] = list
  }

  #mapEntry(out: Record<string, unknown>, name: string, field: Field<unknown>, reader: PbfReader, depth: number): void {
    if (reader.type !== LENGTH_DELIMITED) {
      skip(reader)
      return
    }
    let key = ''
    let value: unknown
    eachTag(bytesOf(reader), (entry, number) => {
      if (number === 1 && entry.type === LENGTH_DELIMITED) key = textOf(bytesOf(entry))
      else if (number === 2) {
        value = this.#value(field.kind, entry, depth + 1)
        if (value === undefined) skip(entry)
      } else skip(entry)
    })
    const map =
      (out[name] as ReadonlyMap<string, unknown>).size === 0 ? new Map<string, unknown>() : (out[name] as Map<string, unknown>)
    map.set(key, value ?? emptyOf(field.kind))
    out[name] = map
  }

  /** undefined: it has another wire type, so it is not the field that is known here. */
  #value(kind: Kind, reader: PbfReader, depth: number): unknown {
    switch (kind.is) {
      case 'scalar':
        return scalarOf(kind.type, reader)
      case 'enum': {
        if (reader.type !== VARINT) return undefined
        const number = reader.readVarint(true)
        return kind.byNumber.get(number) ?? `#${number}`
      }
      default:
        return reader.type === LENGTH_DELIMITED ? this.#embedded(kind, bytesOf(reader), depth) : undefined
    }
  }

  #embedded(kind: Exclude<Kind, { is: 'scalar' | 'enum' }>, from: Uint8Array, depth: number): unknown {
    switch (kind.is) {
      case 'message':
        return this.message(kind.of(), from, depth + 1)
      case 'wrapper':
        return wrappedOf(kind.type, from)
      case 'duration':
      case 'timestamp':
        return millisecondsOf(from)
      case 'any':
        return anyOf(from)
      case 'struct':
        return structOf(from, depth + 1)
      case 'value':
        return structValueOf(from, depth + 1)
      default:
        return kind satisfies never
    }
  }
}

function choose(of: Message<object>, out: Record<string, unknown>, name: string, field: Field<unknown>, value: unknown): void {
  if (field.oneof !== '' && out[name] === null) for (const [other, f] of of.fields) if (f.oneof === field.oneof) out[other] = null
  out[name] = value
}

/** `told` reads or skips the value. */
function eachTag(from: Uint8Array, told: (reader: PbfReader, number: number) => void): void {
  const reader = new PbfReader(from)
  try {
    while (reader.pos < reader.length) {
      const number = reader.nextField()
      if (number === 0) throw new ProtobufError('a field has the number 0')
      if (
        reader.pos > reader.length ||
        (reader.pos === reader.length && reader.type !== VARINT && reader.type !== LENGTH_DELIMITED)
      ) {
        throw new ProtobufError('it ends within a field')
      }
      if (reader.pos === reader.length) throw new ProtobufError('it ends within a field')
      told(reader, number)
      if (reader.pos > reader.length) throw new ProtobufError('it ends within a field')
    }
  } catch (error) {
    if (error instanceof ProtobufError) throw error
    // What pbf itself finds: a varint that does not end, or a wire type that is none (groups among them).
    throw new ProtobufError('a field has no wire type, or a number without an end')
  }
}

function skip(reader: PbfReader): void {
  reader.skip(reader.type)
}

function wireTypeOf(kind: Kind): number {
  if (kind.is !== 'scalar') return VARINT
  if (kind.type === 'double') return FIXED64
  return kind.type === 'float' ? FIXED32 : VARINT
}

function isPackable(kind: Kind): boolean {
  return kind.is === 'enum' || (kind.is === 'scalar' && kind.type !== 'string' && kind.type !== 'bytes')
}

function scalarOf(type: ScalarType, reader: PbfReader): unknown {
  switch (type) {
    case 'string':
      return reader.type === LENGTH_DELIMITED ? textOf(bytesOf(reader)) : undefined
    case 'bytes':
      return reader.type === LENGTH_DELIMITED ? bytesOf(reader) : undefined
    case 'double':
      return reader.type === FIXED64 ? reader.readDouble() : undefined
    case 'float':
      return reader.type === FIXED32 ? reader.readFloat() : undefined
    case 'bool':
      return reader.type === VARINT ? reader.readVarint(true) !== 0 : undefined
    case 'uint32':
      return reader.type === VARINT ? reader.readVarint() >>> 0 : undefined
    case 'int32':
      return reader.type === VARINT ? reader.readVarint(true) | 0 : undefined
    default:
      return reader.type === VARINT ? exact(reader.readVarint(type === 'int64')) : undefined
  }
}

function exact(number: number): number {
  if (!Number.isSafeInteger(number)) throw new ProtobufError('a number of 64 bits is larger than 2^53')
  return number
}

function wrappedOf(type: ScalarType, from: Uint8Array): unknown {
  let value: unknown
  eachTag(from, (reader, number) => {
    const read = number === 1 ? scalarOf(type, reader) : undefined
    if (read === undefined) skip(reader)
    else value = read
  })
  return value ?? zeroOf(type)
}

function zeroOf(type: ScalarType): unknown {
  if (type === 'bool') return false
  if (type === 'string') return ''
  return type === 'bytes' ? new Uint8Array(0) : 0
}

function emptyOf(kind: Kind): unknown {
  if (kind.is === 'scalar') return zeroOf(kind.type)
  if (kind.is === 'message') return { ...kind.of().empty }
  if (kind.is === 'enum') return kind.byNumber.get(0)
  if (kind.is === 'any') return { typeUrl: '', value: new Uint8Array(0) }
  return kind.is === 'struct' ? {} : null
}

function millisecondsOf(from: Uint8Array): number {
  let seconds = 0
  let nanos = 0
  eachTag(from, (reader, number) => {
    if (reader.type !== VARINT || number > 2) skip(reader)
    else if (number === 1) seconds = exact(reader.readVarint(true))
    else nanos = reader.readVarint(true)
  })
  return seconds * 1000 + nanos / 1e6
}

function anyOf(from: Uint8Array): Any {
  let typeUrl = ''
  let value: Uint8Array = new Uint8Array(0)
  eachTag(from, (reader, number) => {
    if (reader.type !== LENGTH_DELIMITED || number > 2) skip(reader)
    else if (number === 1) typeUrl = textOf(bytesOf(reader))
    else value = bytesOf(reader)
  })
  return { typeUrl, value }
}

/** google.protobuf.Struct. A key `__proto__` is a key like any other. */
export function structOf(from: Uint8Array, depth = 0): Struct {
  if (depth > MAX_DEPTH) throw new ProtobufError(`messages nest deeper than ${MAX_DEPTH}`)
  const entries: [string, StructValue][] = []
  eachTag(from, (reader, number) => {
    if (reader.type !== LENGTH_DELIMITED || number !== 1) return skip(reader)
    let key = ''
    let value: StructValue = null
    eachTag(bytesOf(reader), (entry, n) => {
      if (entry.type !== LENGTH_DELIMITED || n > 2) skip(entry)
      else if (n === 1) key = textOf(bytesOf(entry))
      else value = structValueOf(bytesOf(entry), depth + 1)
    })
    entries.push([key, value])
  })
  return Object.fromEntries(entries)
}

function structValueOf(from: Uint8Array, depth: number): StructValue {
  if (depth > MAX_DEPTH) throw new ProtobufError(`messages nest deeper than ${MAX_DEPTH}`)
  let value: StructValue = null
  eachTag(from, (reader, number) => {
    if (number === 1 && reader.type === VARINT) {
      reader.readVarint()
      value = null
    } else if (number === 2 && reader.type === FIXED64) value = reader.readDouble()
    else if (number === 3 && reader.type === LENGTH_DELIMITED) value = textOf(bytesOf(reader))
    else if (number === 4 && reader.type === VARINT) value = reader.readVarint() !== 0
    else if (number === 5 && reader.type === LENGTH_DELIMITED) value = structOf(bytesOf(reader), depth + 1)
    else if (number === 6 && reader.type === LENGTH_DELIMITED) value = listOf(bytesOf(reader), depth + 1)
    else skip(reader)
  })
  return value
}

function listOf(from: Uint8Array, depth: number): readonly StructValue[] {
  const values: StructValue[] = []
  eachTag(from, (reader, number) => {
    if (number === 1 && reader.type === LENGTH_DELIMITED) values.push(structValueOf(bytesOf(reader), depth))
    else skip(reader)
  })
  return values
}
