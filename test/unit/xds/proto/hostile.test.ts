// Bytes that are not what they should be, and bytes that are and look odd.
import fc from 'fast-check'
import { PbfWriter } from 'pbf'
import t from 'tap'
import { ProtobufError } from '../../../../lib/grpc/protobuf-fields.ts'
import { Metadata, Node, SocketAddress } from '../../../../lib/xds/proto/core.ts'
import { decode } from '../../../../lib/xds/proto/decode.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { toJson } from '../../../../lib/xds/proto/json.ts'
import { ValueMatcher } from '../../../../lib/xds/proto/matcher.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { RetryPolicy, Route } from '../../../../lib/xds/proto/route.ts'
import type { Message } from '../../../../lib/xds/proto/schema.ts'
import { anyMessage } from './messages.ts'

function outcomeOf(table: Message<object>, bytes: Uint8Array): string {
  try {
    decode(table, bytes)
    return 'read'
  } catch (error) {
    return error instanceof ProtobufError ? 'refused' : `threw ${(error as Error).name}: ${(error as Error).message}`
  }
}

t.test('bytes that were cut off or changed are read or refused, nothing else', async (t) => {
  const seen = new Set<string>()
  for (const table of REGISTRY.values()) {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(anyMessage(table), changes, fc.nat(), (message, edits, cut) => {
        const bytes = Buffer.from(encode(table, message))
        for (const [at, value] of edits) if (bytes.length > 0) bytes[at % bytes.length] = value
        const outcomes = [outcomeOf(table, bytes), outcomeOf(table, bytes.subarray(0, cut % (bytes.length + 1)))]
        for (const outcome of outcomes) seen.add(outcome)
        return outcomes.every((o) => o === 'read' || o === 'refused')
      }),
      { numRuns: 8 },
    )
  }
  t.same([...seen].sort(), ['read', 'refused'])
})

t.test('random bytes too', async () => {
  const all = [...REGISTRY.values()]
  fc.assert(
    fc.property(fc.constantFrom(...all), fc.uint8Array({ maxLength: 40 }), (table, bytes) =>
      ['read', 'refused'].includes(outcomeOf(table, bytes)),
    ),
    { numRuns: 2000 },
  )
})

/** `depth` messages of field `number` in each other. */
function nested(number: number, depth: number): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(0)
  for (let i = 0; i < depth; i++) {
    const out = new PbfWriter()
    out.writeBytesField(number, bytes)
    bytes = out.finish()
  }
  return bytes
}

t.test('messages do not nest without end', async (t) => {
  // list_match (6) and one_of (1) by turns; a struct value (5) and its fields (1), with the value (2) of the entry.
  const byTurns = (depth: number): Uint8Array => {
    let bytes: Uint8Array = new Uint8Array(0)
    for (let i = 0; i < depth; i++) {
      const inner = new PbfWriter()
      inner.writeBytesField(1, bytes)
      const outer = new PbfWriter()
      outer.writeBytesField(6, inner.finish())
      bytes = outer.finish()
    }
    return bytes
  }
  t.equal(outcomeOf(ValueMatcher, byTurns(20)), 'read')
  t.equal(outcomeOf(ValueMatcher, byTurns(1000)), 'refused')
  let value: Uint8Array = new Uint8Array([0x20, 0x01])
  for (let i = 0; i < 1000; i++) {
    const list = new PbfWriter()
    list.writeBytesField(1, value)
    const out = new PbfWriter()
    out.writeBytesField(6, list.finish())
    value = out.finish()
  }
  const entry = new PbfWriter()
  entry.writeBytesField(2, value)
  const struct = new PbfWriter()
  struct.writeBytesField(1, entry.finish())
  const node = new PbfWriter()
  node.writeBytesField(3, struct.finish())
  t.equal(outcomeOf(Node, node.finish()), 'refused', 'values of a Struct')
  t.equal(outcomeOf(Route, nested(99, 5000)), 'read', 'what is not known is not looked into')
})

t.test('numbers of a list come packed or one by one', async (t) => {
  const packed = Uint8Array.of(0x3a, 3, 0x90, 0x03, 5)
  const single = Uint8Array.of(0x38, 0x90, 0x03, 0x38, 5)
  t.same(decode(RetryPolicy, packed).retriable_status_codes, [400, 5])
  t.same(decode(RetryPolicy, single).retriable_status_codes, [400, 5])
  t.same(decode(RetryPolicy, Buffer.concat([packed, single])).retriable_status_codes, [400, 5, 400, 5])
  t.equal(outcomeOf(RetryPolicy, Uint8Array.of(0x3a, 2, 0x90, 0x83)), 'refused', 'a packed list that ends within a number')
})

t.test('a message that comes in pieces is one', async (t) => {
  const first = encode(Route, part({ prefix: '/a' }))
  const second = encode(Route, part({ case_sensitive: false }))
  const { match } = decode(Route, Buffer.concat([first, second]))
  t.match(match, { prefix: '/a', case_sensitive: false })
})

t.test('many pieces take no more time than their bytes', async (t) => {
  const piece = encode(Route, part({ prefix: '/a' }))
  const pieces = Buffer.concat(new Array<Uint8Array>(200_000).fill(piece))
  t.equal(decode(Route, pieces).match?.prefix, '/a')
})

function part(match: { readonly prefix?: string; readonly case_sensitive?: boolean }): Partial<Route> {
  return { match: match as NonNullable<Route['match']> }
}

t.test('of a oneof the last one counts', async (t) => {
  const port = encode(SocketAddress, { port_value: 80 })
  const named = encode(SocketAddress, { named_port: 'http' })
  t.match(decode(SocketAddress, Buffer.concat([port, named])), { port_value: null, named_port: 'http' })
  t.match(decode(SocketAddress, Buffer.concat([named, port])), { port_value: 80, named_port: null })
  // A message that lost to another is not merged with.
  const forward = encode(Route, { route: { cluster: 'a', prefix_rewrite: '/r' } as NonNullable<Route['route']> })
  const redirect = encode(Route, { redirect: { host_redirect: 'h' } as NonNullable<Route['redirect']> })
  const again = encode(Route, { route: { cluster: 'b' } as NonNullable<Route['route']> })
  const last = decode(Route, Buffer.concat([forward, redirect, again]))
  t.match(last, { redirect: null, route: { cluster: 'b', prefix_rewrite: '' } })
})

t.test('a key __proto__ is a key like any other', async (t) => {
  const entry = new PbfWriter()
  entry.writeBytesField(1, Buffer.from('__proto__'))
  entry.writeBytesField(2, Buffer.from([0x2a, 0x0b, 0x0a, 0x09, 0x0a, 0x01, 0x61, 0x12, 0x04, 0x1a, 0x02, 0x68, 0x69]))
  const struct = new PbfWriter()
  struct.writeBytesField(1, entry.finish())
  const node = new PbfWriter()
  node.writeBytesField(3, struct.finish())
  const bytes = node.finish()
  const { metadata } = decode(Node, bytes)
  t.same(Object.keys(metadata ?? {}), ['__proto__'])
  t.equal(Object.getPrototypeOf(metadata), Object.prototype)
  t.same(Buffer.from(encode(Node, { metadata })), Buffer.from(bytes))

  const named = new PbfWriter()
  named.writeBytesField(1, Buffer.from('__proto__'))
  named.writeBytesField(2, new Uint8Array(0))
  const map = new PbfWriter()
  map.writeBytesField(1, named.finish())
  const decoded = decode(Metadata, map.finish())
  t.same([...decoded.filter_metadata.keys()], ['__proto__'])
  t.equal(JSON.stringify(toJson(Metadata, decoded, REGISTRY)), '{"filter_metadata":{"__proto__":{}}}')
})
