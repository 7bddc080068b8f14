// A message to bytes, by its table. What has its default is left out, as all writers of proto3 do. Fields leave in the order of the table.
import { PbfWriter } from 'pbf'
import { writeText } from '../../grpc/protobuf-fields.ts'
import type { Any, Field, Kind, Message, ScalarType, Struct, StructValue } from './schema.ts'

/** What is not given has its default. */
export function encode<T extends object>(of: Message<T>, value: Partial<T>): Uint8Array {
  const out = new PbfWriter()
  for (const [name, field] of of.fields) {
    const given = (value as Readonly<Record<string, unknown>>)[name]
    if (given !== undefined && given !== null) writeField(out, field, given)
  }
  return out.finish()
}

function writeField(out: PbfWriter, field: Field<unknown>, value: unknown): void {
  const { number, kind } = field
  if (field.shape === 'list') {
    for (const element of value as readonly unknown[]) writeValue(out, number, kind, element)
    return
  }
  if (field.shape === 'map') {
    for (const [key, element] of value as ReadonlyMap<string, unknown>) {
      const entry = new PbfWriter()
      writeText(entry, 1, key)
      writeValue(entry, 2, kind, element)
      out.writeBytesField(number, entry.finish())
    }
    return
  }
  // In a oneof the default is a choice too.
  if (field.oneof === '' && isDefault(kind, value)) return
  writeValue(out, number, kind, value)
}

function isDefault(kind: Kind, value: unknown): boolean {
  if (kind.is === 'enum') return kind.names[value as string] === 0
  if (kind.is !== 'scalar') return false
  if (kind.type === 'bytes') return (value as Uint8Array).length === 0
  return value === 0 || value === false || value === ''
}

function writeValue(out: PbfWriter, number: number, kind: Kind, value: unknown): void {
  switch (kind.is) {
    case 'scalar':
      writeScalar(out, number, kind.type, value)
      return
    case 'enum':
      out.writeVarintField(number, kind.names[value as string] ?? Number((value as string).slice(1)))
      return
    case 'message':
      out.writeBytesField(number, encode(kind.of(), value as object))
      return
    case 'wrapper': {
      const wrapped = new PbfWriter()
      if (!isDefault({ is: 'scalar', type: kind.type }, value)) writeScalar(wrapped, 1, kind.type, value)
      out.writeBytesField(number, wrapped.finish())
      return
    }
    case 'duration':
    case 'timestamp':
      out.writeBytesField(number, millisecondsBytes(value as number, kind.is === 'timestamp'))
      return
    case 'any':
      out.writeBytesField(number, anyBytes(value as Any))
      return
    case 'struct':
      out.writeBytesField(number, structBytes(value as Struct))
      return
    case 'value':
      out.writeBytesField(number, structValueBytes(value as StructValue))
      return
    default:
      kind satisfies never
  }
}

function writeScalar(out: PbfWriter, number: number, type: ScalarType, value: unknown): void {
  switch (type) {
    case 'string':
      writeText(out, number, value as string)
      return
    case 'bytes':
      out.writeBytesField(number, value as Uint8Array)
      return
    case 'double':
      out.writeDoubleField(number, value as number)
      return
    case 'float':
      out.writeFloatField(number, value as number)
      return
    case 'bool':
      out.writeBooleanField(number, value as boolean)
      return
    default:
      out.writeVarintField(number, value as number)
      return
  }
}

/** Nanoseconds of a duration have its sign; those of a timestamp count forwards. */
function millisecondsBytes(ms: number, forwards: boolean): Uint8Array {
  let seconds = forwards ? Math.floor(ms / 1000) : Math.trunc(ms / 1000)
  let nanos = Math.round((ms - seconds * 1000) * 1e6)
  if (Math.abs(nanos) === 1e9) {
    seconds += Math.sign(nanos)
    nanos = 0
  }
  const out = new PbfWriter()
  if (seconds !== 0) out.writeVarintField(1, seconds)
  if (nanos !== 0) out.writeVarintField(2, nanos)
  return out.finish()
}

export function anyBytes({ typeUrl, value }: Any): Uint8Array {
  const out = new PbfWriter()
  if (typeUrl !== '') writeText(out, 1, typeUrl)
  if (value.length > 0) out.writeBytesField(2, value)
  return out.finish()
}

function structBytes(fields: Struct): Uint8Array {
  const out = new PbfWriter()
  for (const [key, value] of Object.entries(fields)) {
    const entry = new PbfWriter()
    writeText(entry, 1, key)
    entry.writeBytesField(2, structValueBytes(value))
    out.writeBytesField(1, entry.finish())
  }
  return out.finish()
}

function structValueBytes(value: StructValue): Uint8Array {
  const out = new PbfWriter()
  if (value === null) out.writeVarintField(1, 0)
  else if (typeof value === 'number') out.writeDoubleField(2, value)
  else if (typeof value === 'string') writeText(out, 3, value)
  else if (typeof value === 'boolean') out.writeBooleanField(4, value)
  else if (isList(value)) {
    const list = new PbfWriter()
    for (const element of value) list.writeBytesField(1, structValueBytes(element))
    out.writeBytesField(6, list.finish())
  } else out.writeBytesField(5, structBytes(value))
  return out.finish()
}

function isList(value: StructValue): value is readonly StructValue[] {
  return Array.isArray(value)
}
