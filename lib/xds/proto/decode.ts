// Bytes to a message, by its table. What bytes may not do is checked here and by the reader: messages do not nest without end, and numbers of 64 bits are exact.
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import type { Any, Field, Kind, Message, ScalarType, Struct, StructValue } from './schema.ts'
import { FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, WireReader } from './wire-reader.ts'

/** As deep as messages may be in each other. */
const MAX_DEPTH = 100

/** Hears of each field that the table does not have. */
export type UnknownField = (typeName: string, number: number) => void

/** Throws ProtobufError. Views of `from` stay in the message: bytes, and values of Any. */
export function decode<T extends object>(of: Message<T>, from: Uint8Array, unknown: UnknownField | null = null): T {
  return new Decoder(from, unknown).message(of, 0) as T
}

/** A field of a table, with the other members of its oneof. */
interface Slot {
  readonly name: string
  readonly field: Field<unknown>
  readonly others: readonly string[]
}

/** By table: its fields by their number. */
const slots = new WeakMap<Message<object>, readonly (Slot | undefined)[]>()
/** Numbers above are looked up in the table. */
const MAX_SLOT = 100

function slotsOf(of: Message<object>): readonly (Slot | undefined)[] {
  const known = slots.get(of)
  if (known !== undefined) return known
  const made: (Slot | undefined)[] = []
  for (let number = 0; number <= MAX_SLOT; number++) made.push(slotOf(of, number))
  slots.set(of, made)
  return made
}

function slotOf(of: Message<object>, number: number): Slot | undefined {
  const entry = of.byNumber.get(number)
  if (entry === undefined) return undefined
  const [name, field] = entry
  const others = field.oneof === '' ? [] : of.fields.flatMap(([n, f]) => (f.oneof === field.oneof && n !== name ? n : []))
  return { name, field, others }
}

class Decoder {
  readonly #reader: WireReader
  readonly #unknown: UnknownField | null

  constructor(from: Uint8Array, unknown: UnknownField | null) {
    this.#reader = new WireReader(from)
    this.#unknown = unknown
  }

  /** Up to the end of what the reader is in. A singular message may come in pieces: `before` is what those before this one have made, and is added to. */
  message(of: Message<object>, depth: number, before: unknown = null): object {
    if (depth > MAX_DEPTH) throw new ProtobufError(`messages nest deeper than ${MAX_DEPTH}`)
    const out = (before ?? { ...of.empty }) as Record<string, unknown>
    const reader = this.#reader
    const fields = slotsOf(of)
    while (reader.at < reader.end) {
      const number = reader.tag()
      const slot = number <= MAX_SLOT ? fields[number] : slotOf(of, number)
      if (slot === undefined) {
        this.#unknown?.(of.typeName, number)
        reader.skip()
      } else if (slot.field.shape === 'list') this.#element(out, slot, depth)
      else if (slot.field.shape === 'map') this.#mapEntry(out, slot, depth)
      else this.#one(out, slot, depth)
      if (reader.at > reader.end) throw new ProtobufError('it ends within a field')
    }
    return out
  }

  #one(out: Record<string, unknown>, { name, field, others }: Slot, depth: number): void {
    const reader = this.#reader
    const value =
      field.kind.is === 'message' && reader.wireType === LENGTH_DELIMITED
        ? this.#within(field.kind.of(), depth + 1, out[name])
        : this.#value(field.kind, depth)
    if (value === undefined) {
      reader.skip()
      return
    }
    if (out[name] === null) for (let i = 0; i < others.length; i++) out[others[i] as string] = null
    out[name] = value
  }

  #within(of: Message<object>, depth: number, before: unknown = null): object {
    const outer = this.#reader.enter()
    const value = this.message(of, depth, before)
    this.#reader.leave(outer)
    return value
  }

  #element(out: Record<string, unknown>, { name, field }: Slot, depth: number): void {
    const reader = this.#reader
    const { kind } = field
    let list = out[name] as unknown[]
    // An empty one is the table's.
    if (list.length === 0) {
      list = []
      out[name] = list
    }
    if (reader.wireType === LENGTH_DELIMITED && isPackable(kind)) {
      const outer = reader.enter()
      reader.wireType = wireTypeOf(kind)
      while (reader.at < reader.end) {
        list.push(this.#value(kind, depth))
        if (reader.at > reader.end) throw new ProtobufError('it ends within a field')
      }
      reader.leave(outer)
      return
    }
    const value = this.#value(kind, depth)
    if (value === undefined) reader.skip()
    else list.push(value)
  }

  #mapEntry(out: Record<string, unknown>, { name, field }: Slot, depth: number): void {
    const reader = this.#reader
    if (reader.wireType !== LENGTH_DELIMITED) {
      reader.skip()
      return
    }
    const outer = reader.enter()
    let key = ''
    let value: unknown
    while (reader.at < reader.end) {
      const number = reader.tag()
      if (number === 1 && reader.wireType === LENGTH_DELIMITED) key = reader.text()
      else if (number === 2) {
        value = this.#value(field.kind, depth + 1)
        if (value === undefined) reader.skip()
      } else reader.skip()
    }
    reader.leave(outer)
    let map = out[name] as Map<string, unknown>
    if (map.size === 0) {
      map = new Map()
      out[name] = map
    }
    map.set(key, value ?? emptyOf(field.kind))
  }

  /** undefined: it has another wire type, so it is not the field that is known here. */
  #value(kind: Kind, depth: number): unknown {
    const reader = this.#reader
    switch (kind.is) {
      case 'scalar':
        return scalarOf(kind.type, reader)
      case 'enum': {
        if (reader.wireType !== VARINT) return undefined
        const number = reader.signed()
        return kind.byNumber.get(number) ?? `#${number}`
      }
      default: {
        if (reader.wireType !== LENGTH_DELIMITED) return undefined
        const outer = reader.enter()
        const value = this.#embedded(kind, depth)
        reader.leave(outer)
        return value
      }
    }
  }

  #embedded(kind: Exclude<Kind, { is: 'scalar' | 'enum' }>, depth: number): unknown {
    const reader = this.#reader
    switch (kind.is) {
      case 'message':
        return this.message(kind.of(), depth + 1)
      case 'wrapper':
        return wrappedOf(kind.type, reader)
      case 'duration':
      case 'timestamp':
        return millisecondsOf(reader)
      case 'any':
        return anyOf(reader)
      case 'struct':
        return structOf(reader, depth + 1)
      case 'value':
        return structValueOf(reader, depth + 1)
      default:
        return kind satisfies never
    }
  }
}

function wireTypeOf(kind: Kind): number {
  if (kind.is !== 'scalar') return VARINT
  if (kind.type === 'double') return FIXED64
  return kind.type === 'float' ? FIXED32 : VARINT
}

function isPackable(kind: Kind): boolean {
  return kind.is === 'enum' || (kind.is === 'scalar' && kind.type !== 'string' && kind.type !== 'bytes')
}

function scalarOf(type: ScalarType, reader: WireReader): unknown {
  switch (type) {
    case 'string':
      return reader.wireType === LENGTH_DELIMITED ? reader.text() : undefined
    case 'bytes':
      return reader.wireType === LENGTH_DELIMITED ? reader.view() : undefined
    case 'double':
      return reader.wireType === FIXED64 ? reader.double() : undefined
    case 'float':
      return reader.wireType === FIXED32 ? reader.float() : undefined
    case 'bool':
      return reader.wireType === VARINT ? reader.varint() !== 0 : undefined
    case 'uint32':
      return reader.wireType === VARINT ? reader.uint32() : undefined
    case 'int32':
      return reader.wireType === VARINT ? reader.uint32() | 0 : undefined
    default:
      return reader.wireType === VARINT ? exact(type === 'int64' ? reader.signed() : reader.varint()) : undefined
  }
}

function exact(number: number): number {
  if (!Number.isSafeInteger(number)) throw new ProtobufError('a number of 64 bits is larger than 2^53')
  return number
}

// Each of these reads up to the end of what the reader is in.

function wrappedOf(type: ScalarType, reader: WireReader): unknown {
  let value: unknown
  while (reader.at < reader.end) {
    const read = reader.tag() === 1 ? scalarOf(type, reader) : undefined
    if (read === undefined) reader.skip()
    else value = read
  }
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

function millisecondsOf(reader: WireReader): number {
  let seconds = 0
  let nanos = 0
  while (reader.at < reader.end) {
    const number = reader.tag()
    if (reader.wireType !== VARINT || number > 2) reader.skip()
    else if (number === 1) seconds = exact(reader.signed())
    else nanos = reader.signed()
  }
  return seconds * 1000 + nanos / 1e6
}

function anyOf(reader: WireReader): Any {
  let typeUrl = ''
  let value: Uint8Array = new Uint8Array(0)
  while (reader.at < reader.end) {
    const number = reader.tag()
    if (reader.wireType !== LENGTH_DELIMITED || number > 2) reader.skip()
    else if (number === 1) typeUrl = reader.text()
    else value = reader.view()
  }
  return { typeUrl, value }
}

/** google.protobuf.Struct. A key `__proto__` is a key like any other. */
function structOf(reader: WireReader, depth: number): Struct {
  if (depth > MAX_DEPTH) throw new ProtobufError(`messages nest deeper than ${MAX_DEPTH}`)
  const entries: [string, StructValue][] = []
  while (reader.at < reader.end) {
    if (reader.tag() === 1 && reader.wireType === LENGTH_DELIMITED) entries.push(structEntryOf(reader, depth))
    else reader.skip()
  }
  return Object.fromEntries(entries)
}

function structEntryOf(reader: WireReader, depth: number): [string, StructValue] {
  const outer = reader.enter()
  let key = ''
  let value: StructValue = null
  while (reader.at < reader.end) {
    const number = reader.tag()
    if (reader.wireType !== LENGTH_DELIMITED || number > 2) reader.skip()
    else if (number === 1) key = reader.text()
    else {
      const entry = reader.enter()
      value = structValueOf(reader, depth + 1)
      reader.leave(entry)
    }
  }
  reader.leave(outer)
  return [key, value]
}

function structValueOf(reader: WireReader, depth: number): StructValue {
  if (depth > MAX_DEPTH) throw new ProtobufError(`messages nest deeper than ${MAX_DEPTH}`)
  let value: StructValue = null
  while (reader.at < reader.end) {
    const number = reader.tag()
    const { wireType } = reader
    if (number === 1 && wireType === VARINT) {
      reader.varint()
      value = null
    } else if (number === 2 && wireType === FIXED64) value = reader.double()
    else if (number === 3 && wireType === LENGTH_DELIMITED) value = reader.text()
    else if (number === 4 && wireType === VARINT) value = reader.varint() !== 0
    else if (number === 5 && wireType === LENGTH_DELIMITED) {
      const outer = reader.enter()
      value = structOf(reader, depth + 1)
      reader.leave(outer)
    } else if (number === 6 && wireType === LENGTH_DELIMITED) {
      const outer = reader.enter()
      value = listOf(reader, depth + 1)
      reader.leave(outer)
    } else reader.skip()
  }
  return value
}

function listOf(reader: WireReader, depth: number): readonly StructValue[] {
  const values: StructValue[] = []
  while (reader.at < reader.end) {
    if (reader.tag() !== 1 || reader.wireType !== LENGTH_DELIMITED) reader.skip()
    else {
      const outer = reader.enter()
      values.push(structValueOf(reader, depth))
      reader.leave(outer)
    }
  }
  return values
}
