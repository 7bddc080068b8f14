// Random messages of a table, and the forms in which they are compared.
import fc from 'fast-check'
import type { Any, Field, Kind, Message, ScalarType, Struct, StructValue } from '../../../../lib/xds/proto/schema.ts'
import { LEFT_AS_BYTES, NEWER_FIELDS } from './declared.ts'

const text = fc.string({ unit: 'binary', maxLength: 12 })
const bytes = fc.uint8Array({ maxLength: 12 })
/** -0 is written by nobody. */
const double = fc.double({ noNaN: true }).map((n) => (n === 0 ? 0 : n))

/** `depth`: how many levels of messages it has below it at most. */
export function anyMessage<T extends object>(table: Message<T>, depth = 3): fc.Arbitrary<T> {
  // What protobufjs does not know, or knows more of, stays absent.
  const known = table.fields.filter(([name]) => {
    const field = `${table.typeName}.${name}`
    return !(field in NEWER_FIELDS) && !LEFT_AS_BYTES.has(field)
  })
  const plainFields = known.filter(([, f]) => f.oneof === '')
  const choices = new Map<string, (readonly [string, Field<unknown>])[]>()
  for (const entry of known) {
    const { oneof } = entry[1]
    if (oneof !== '') choices.set(oneof, [...(choices.get(oneof) ?? []), entry])
  }
  const record = fc.record(Object.fromEntries(plainFields.map(([name, f]) => [name, anyField(f, depth)])))
  const chosen = [...choices.values()].map((members) =>
    fc.option(fc.oneof(...members.map(([name, { kind }]) => anyValue(kind, depth).map((value) => ({ [name]: value }))))),
  )
  return fc.tuple(record, ...chosen).map(([fields, ...picks]) => {
    const out: Record<string, unknown> = { ...table.empty, ...fields }
    // What may not nest deeper is absent.
    for (const pick of picks) for (const [name, value] of Object.entries(pick ?? {})) if (value !== null) out[name] = value
    return out as T
  })
}

function anyField({ shape, kind }: Field<unknown>, depth: number): fc.Arbitrary<unknown> {
  const deep = kind.is === 'message' && depth === 0
  const isText = kind.is === 'scalar' || kind.is === 'enum'
  if (shape === 'list') return deep ? fc.constant([]) : fc.array(anyValue(kind, depth), { maxLength: 3 })
  // protobufjs keeps maps in objects.
  const key = text.filter((k) => k !== '__proto__')
  if (shape === 'map')
    return deep
      ? fc.constant(new Map())
      : fc.array(fc.tuple(key, anyValue(kind, depth)), { maxLength: 3 }).map((entries) => new Map(entries))
  if (isText) return anyValue(kind, depth)
  return fc.option(anyValue(kind, depth), { nil: kind.is === 'value' ? undefined : null }) as fc.Arbitrary<unknown>
}

/** null: a message that would be too deep. */
function anyValue(kind: Kind, depth: number): fc.Arbitrary<unknown> {
  switch (kind.is) {
    case 'scalar':
    case 'wrapper':
      return anyScalar(kind.type)
    case 'enum':
      return fc.constantFrom(...Object.keys(kind.names))
    case 'message':
      return depth === 0 ? fc.constant(null) : fc.constant(null).chain(() => anyMessage(kind.of(), depth - 1))
    case 'duration':
      return fc.integer({ min: -1e9, max: 1e9 })
    case 'timestamp':
      return fc.integer({ min: 0, max: 4e12 })
    case 'any':
      return fc.record({ typeUrl: text, value: bytes })
    case 'struct':
      return structs.struct
    case 'value':
      return structs.value
    default:
      return kind satisfies never
  }
}

function anyScalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case 'string':
      return text
    case 'bytes':
      return bytes
    case 'bool':
      return fc.boolean()
    case 'double':
      return double
    case 'float':
      return fc.float({ noNaN: true }).map((n) => (n === 0 ? 0 : n))
    case 'int32':
      return fc.integer()
    case 'uint32':
      return fc.integer({ min: 0, max: 0xffffffff })
    case 'int64':
      return fc.maxSafeInteger()
    default:
      return fc.maxSafeNat()
  }
}

const structs = fc.letrec<{ struct: Struct; value: StructValue }>((tie) => ({
  struct: fc.dictionary(
    text.filter((k) => k !== '__proto__'),
    tie('value'),
    { maxKeys: 3, noNullPrototype: true },
  ),
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    double,
    text,
    fc.array(tie('value'), { maxLength: 3 }),
    tie('struct'),
  ),
}))

/** The object that protobufjs makes a message of. */
export function toProtobufjs(table: Message<object>, message: object): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [name, { shape, kind }] of table.fields) {
    const value = (message as Record<string, unknown>)[name]
    if (value === null || value === undefined || LEFT_AS_BYTES.has(`${table.typeName}.${name}`)) continue
    if (shape === 'list') out[name] = (value as unknown[]).map((v) => theirs(kind, v))
    else if (shape === 'map')
      out[name] = Object.fromEntries([...(value as Map<string, unknown>)].map(([k, v]) => [k, theirs(kind, v)]))
    else out[name] = theirs(kind, value)
  }
  return out
}

function theirs(kind: Kind, value: unknown): unknown {
  switch (kind.is) {
    case 'scalar':
    case 'enum':
      return value
    case 'wrapper':
      return { value }
    case 'message':
      return toProtobufjs(kind.of(), value as object)
    case 'duration':
      return parts(value as number, Math.trunc((value as number) / 1000))
    case 'timestamp':
      return parts(value as number, Math.floor((value as number) / 1000))
    case 'any':
      // Its full name says to protobufjs that these are the fields, not the message in it.
      return { type_url: (value as Any).typeUrl, value: (value as Any).value }
    case 'struct':
      return structOf(value as Struct)
    case 'value':
      return structValueOf(value as StructValue)
    default:
      return kind satisfies never
  }
}

function parts(ms: number, seconds: number): object {
  return { seconds, nanos: (ms - seconds * 1000) * 1e6 }
}

function structOf(struct: Struct): object {
  return { fields: Object.fromEntries(Object.entries(struct).map(([k, v]) => [k, structValueOf(v)])) }
}

function structValueOf(value: StructValue): object {
  if (value === null) return { nullValue: 0 }
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'number') return { numberValue: value }
  if (typeof value === 'string') return { stringValue: value }
  if (Array.isArray(value)) return { listValue: { values: (value as StructValue[]).map(structValueOf) } }
  return { structValue: structOf(value as Struct) }
}

/** A text that two messages share when they are equal. */
export function plain(value: unknown): string {
  return JSON.stringify(plainOf(value))
}

function plainOf(value: unknown): unknown {
  if (value === undefined) return 'undefined'
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`
  if (value instanceof Map) return { map: [...value].map(([k, v]) => [k, plainOf(v)]).sort() }
  if (Array.isArray(value)) return value.map(plainOf)
  if (typeof value !== 'object' || value === null) return value
  return Object.entries(value)
    .map(([k, v]) => [k, plainOf(v)])
    .sort()
}
