// Our tables against the .proto files of Envoy: the same names, numbers and types. What protobufjs writes by those files we read, and the other way round.
import fc from 'fast-check'
import type protobuf from 'protobufjs'
import t from 'tap'
import { decode } from '../../../../lib/xds/proto/decode.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import type { Field, Kind, Message, ScalarType } from '../../../../lib/xds/proto/schema.ts'
import { LEFT_AS_BYTES, NEWER_FIELDS, NOT_ENVOYS, NOT_ENVOYS_MESSAGES } from './declared.ts'
import { allTables, protoOf } from './envoy-protos.ts'
import { anyMessage, plain, toProtobufjs } from './messages.ts'

const tables = allTables()

const WELL_KNOWN: Readonly<Record<string, string>> = {
  duration: 'google.protobuf.Duration',
  timestamp: 'google.protobuf.Timestamp',
  any: 'google.protobuf.Any',
  struct: 'google.protobuf.Struct',
  value: 'google.protobuf.Value',
}
const WRAPPERS: Readonly<Partial<Record<ScalarType, string>>> = {
  bool: 'google.protobuf.BoolValue',
  int32: 'google.protobuf.Int32Value',
  uint32: 'google.protobuf.UInt32Value',
  int64: 'google.protobuf.Int64Value',
  uint64: 'google.protobuf.UInt64Value',
  double: 'google.protobuf.DoubleValue',
  float: 'google.protobuf.FloatValue',
  string: 'google.protobuf.StringValue',
  bytes: 'google.protobuf.BytesValue',
}

function isDeclared(typeName: string): boolean {
  return typeName in NOT_ENVOYS_MESSAGES || Object.keys(NOT_ENVOYS).some((prefix) => typeName.startsWith(prefix))
}

t.test('every table is a message of Envoy', async (t) => {
  t.ok(tables.size > 60, `${tables.size} tables`)
  const fieldsDeclared = new Set(Object.keys(NEWER_FIELDS))
  for (const [typeName, table] of tables) {
    const proto = protoOf(typeName)
    if (isDeclared(typeName)) t.equal(proto, null, `${typeName} is not Envoy's`)
    else if (proto === null) t.fail(`${typeName} is in no .proto file`)
    else t.same(differences(table, proto, fieldsDeclared), [], typeName)
  }
  t.same([...fieldsDeclared], [], 'what is declared newer is there, and is newer')
})

/** Sentences. Takes what it finds declared off `declared`. */
function differences(table: Message<object>, proto: protobuf.Type, declared: Set<string>): string[] {
  const wrong: string[] = []
  for (const [name, field] of table.fields) {
    const known = proto.fields[name]
    if (known === undefined) {
      if (!declared.delete(`${table.typeName}.${name}`)) wrong.push(`there is no field ${name}`)
      continue
    }
    known.resolve()
    const ours = `${name} = ${field.number}: ${field.shape} ${LEFT_AS_BYTES.has(`${table.typeName}.${name}`) ? typeOfProto(known) : typeOf(field.kind)}${choiceOf(field)}`
    const theirs = `${name} = ${known.id}: ${shapeOf(known)} ${typeOfProto(known)}${known.partOf === null ? '' : ` of ${known.partOf.name}`}`
    if (ours !== theirs) wrong.push(`${ours}, not ${theirs}`)
    wrong.push(...namesThatDiffer(name, field.kind, known))
  }
  return wrong
}

function typeOf(kind: Kind): string {
  if (kind.is === 'scalar') return kind.type
  if (kind.is === 'enum') return 'enum'
  if (kind.is === 'message') return kind.of().typeName
  return (kind.is === 'wrapper' ? WRAPPERS[kind.type] : WELL_KNOWN[kind.is]) ?? kind.is
}

function typeOfProto(field: protobuf.Field): string {
  const resolved = field.resolvedType
  if (resolved === null) return field.type
  return 'values' in resolved ? 'enum' : resolved.fullName.slice(1)
}

/** The oneof of a field that is `optional` has its name from it. */
function choiceOf({ oneof }: Field<unknown>): string {
  return oneof === '' ? '' : ` of ${oneof}`
}

function shapeOf(field: protobuf.Field): string {
  return field.map ? 'map' : field.repeated ? 'list' : 'one'
}

function namesThatDiffer(name: string, kind: Kind, field: protobuf.Field): string[] {
  const resolved = field.resolvedType
  if (kind.is !== 'enum' || resolved === null || !('values' in resolved)) return []
  const { values } = resolved
  return Object.entries(kind.names).flatMap(([value, number]) =>
    values[value] === number ? [] : [`${name}: ${value} is ${values[value]}, not ${number}`],
  )
}

t.test('what protobufjs writes we read, and the other way round', async (t) => {
  let compared = 0
  for (const [typeName, table] of tables) {
    const proto = isDeclared(typeName) ? null : protoOf(typeName)
    if (proto === null) continue
    compared++
    try {
      fc.assert(
        fc.property(anyMessage(table), (message) => {
          const theirs = proto.encode(proto.fromObject(toProtobufjs(table, message))).finish()
          const read = decode(table, theirs)
          if (plain(read) !== plain(message)) throw new Error(`read ${plain(read)} of ${plain(message)}`)
          const ours = encode(table, message)
          const back = proto.toObject(proto.decode(ours), { longs: Number })
          const expected = proto.toObject(proto.decode(theirs), { longs: Number })
          if (plain(back) !== plain(expected)) throw new Error(`wrote ${plain(back)} of ${plain(expected)}`)
        }),
        { numRuns: 12 },
      )
    } catch (error) {
      t.fail(`${typeName}: ${(error as Error).message.slice(0, 2000)}`)
    }
  }
  t.ok(compared > 60, `${compared} tables`)
})
