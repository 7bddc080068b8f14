// Our tables of Istio's messages against protobufjs, which reads the definitions.
import { join } from 'node:path'
import type protobuf from 'protobufjs'
import t from 'tap'
import * as authorization from '../../../../lib/xds/proto/authorization.ts'
import { decode } from '../../../../lib/xds/proto/decode.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import type { Field, Message } from '../../../../lib/xds/proto/schema.ts'
import { typeUrlOf } from '../../../../lib/xds/proto/schema.ts'
import * as workload from '../../../../lib/xds/proto/workload.ts'
import * as zds from '../../../../lib/xds/proto/zds.ts'
import { istioProtos, recordedResponses } from '../../../support/istio-protos.ts'
import { peersFolder } from '../../resources/kit.ts'

const root = istioProtos()
const tables = [workload, authorization, zds].flatMap((file) =>
  Object.values(file as Record<string, unknown>).filter(
    (v): v is Message<object> => typeof v === 'object' && v !== null && 'typeName' in v,
  ),
)

/** `3 repeated istio.workload.Port`. */
function ours({ number, kind, shape }: Field<unknown>): string {
  const type = (() => {
    if (kind.is === 'scalar') return kind.type
    if (kind.is === 'enum') return `enum ${Object.entries(kind.names).join(' ')}`
    if (kind.is === 'message') return kind.of().typeName
    if (kind.is === 'wrapper') return `wrapper ${kind.type}`
    return kind.is
  })()
  return `${number} ${shape} ${type}`
}

function theirs(f: protobuf.Field): string {
  const shape = f.map ? 'map' : f.repeated ? 'list' : 'one'
  const { resolvedType: type } = f
  const name = type === null ? f.type : type.fullName.slice(1)
  if (name === 'google.protobuf.UInt32Value') return `${f.id} ${shape} wrapper uint32`
  if (name === 'google.protobuf.Any') return `${f.id} ${shape} any`
  if (type !== null && 'values' in type) return `${f.id} ${shape} enum ${Object.entries(type.values).join(' ')}`
  return `${f.id} ${shape} ${name}`
}

for (const table of tables) {
  t.test(table.typeName, async (t) => {
    const { fields, oneofsArray } = root.lookupType(table.typeName)
    t.same(
      Object.fromEntries(table.fields.map(([name, field]) => [name, ours(field)])),
      Object.fromEntries(Object.values(fields).map((f) => [f.name, theirs(f)])),
    )
    const members = new Map(oneofsArray.filter((o) => !o.name.startsWith('_')).flatMap((o) => o.oneof.map((f) => [f, o.name])))
    for (const [name, field] of table.fields)
      if (!field.oneof.startsWith('_')) t.equal(field.oneof, members.get(name) ?? '', `the oneof of ${name}`)
  })
}

const peers = peersFolder()
t.test('what istiod sent survives our reading and writing', { skip: peers === null && 'no recordings' }, async (t) => {
  const types = new Map<string, Message<object>>(tables.map((m) => [typeUrlOf(m), m]))
  let count = 0
  for (const { typeUrl, resources } of recordedResponses(join(peers as string, 'captures/ambient/wds.jsonl'))) {
    const table = types.get(typeUrl) as Message<object>
    const type = root.lookupType(table.typeName)
    for (const { name, bytes } of resources) {
      const unknown: string[] = []
      const again = encode(
        table,
        decode(table, bytes, (typeName, number) => unknown.push(`${typeName} ${number}`)),
      )
      t.same(unknown, [], `no field of ${name} is unknown`)
      t.same(type.toObject(type.decode(again)), type.toObject(type.decode(bytes)), name)
      count++
    }
  }
  t.ok(count > 20, `${count} resources`)
})
