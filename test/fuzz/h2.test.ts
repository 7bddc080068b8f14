// HTTP/2, whatever comes: nothing is thrown, the pieces do not matter, what was encoded is what is decoded, and the peer's tables stay ours.
import fc from 'fast-check'
import t from 'tap'
import { HpackDecoder } from '../../lib/http/h2/hpack/decoder.ts'
import { HpackEncoder } from '../../lib/http/h2/hpack/encoder.ts'
import { HuffmanDecoder, huffmanEncode, huffmanLength } from '../../lib/http/h2/hpack/huffman.ts'
import { MessageHead, TRAILERS } from '../../lib/http/h2/message-head.ts'
import { HeaderMap } from '../../lib/http/header-map.ts'
import { Io } from '../../lib/transport/io.ts'
import { ask, block, client, frame, GET, POST, PREFACE, server, settings, TYPES, told, u32 } from '../unit/http/h2/kit.ts'
import { fieldsOf } from '../unit/http/kit.ts'
import { holds } from './budget.ts'

const latin1 = fc.uint8Array({ maxLength: 60 }).map((b) => Buffer.from(b).toString('latin1'))
const name = fc.stringMatching(/^[a-z0-9-]{1,12}$/)
const value = fc.stringMatching(/^[!-~]([ -~]{0,30}[!-~])?$/)
const lines = fc
  .array(fc.tuple(name, value), { maxLength: 12 })
  .map((fields) => fields.filter(([n]) => !['connection', 'host', 'te', 'upgrade', 'keep-alive', 'content-length'].includes(n)))

t.test('Huffman: identity', async (t) => {
  const decoder = new HuffmanDecoder()
  holds(
    t,
    'what was encoded is decoded',
    fc.property(latin1, (s) => {
      const bytes = Buffer.from(s, 'latin1')
      const coded = Buffer.alloc(huffmanLength(bytes, 0, bytes.length))
      huffmanEncode(bytes, 0, bytes.length, coded, 0)
      const out = Buffer.alloc(s.length + 8)
      return decoder.decode(coded, 0, coded.length, out, 0) === s.length && out.toString('latin1', 0, s.length) === s
    }),
  )
})

t.test('HPACK: identity over many blocks and table sizes', async (t) => {
  holds(
    t,
    'fields come out as they went in',
    fc.property(
      fc.array(fc.tuple(lines, fc.option(fc.integer({ min: 0, max: 5000 }))), { maxLength: 20 }),
      fc.boolean(),
      (blocks, huffman) => {
        const encoder = new HpackEncoder(huffman)
        const decoder = new HpackDecoder({ tableSize: 4096, maxHeaderBytes: 1e6, maxHeaders: 1000, extendedConnect: false })
        const map = new HeaderMap()
        const out = Buffer.alloc(16384)
        // The same lines again and again, so that the table is used.
        for (const [fields, size] of [...blocks, ...blocks, ...blocks]) {
          if (size !== null) encoder.limitTable(size)
          encoder.begin(out, 0, '')
          encoder.fields(fields.map(([n, v]) => `${n}: ${v}\r\n`).join(''), false)
          if (decoder.decode(out, 0, encoder.position, TRAILERS, map, new MessageHead()) !== 0) return false
          if (JSON.stringify(fieldsOf(map)) !== JSON.stringify(fields.map(([n, v]) => `${n}: ${v}`))) return false
          if (decoder.table.size !== encoder.table.size) return false
        }
        return true
      },
    ),
  )
})

t.test('HPACK: any bytes', async (t) => {
  holds(
    t,
    'an outcome, and no exception',
    fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HpackDecoder({ tableSize: 4096, maxHeaderBytes: 500, maxHeaders: 10, extendedConnect: true })
      for (const b of blocks) decoder.decode(Buffer.from(b), 0, b.length, TRAILERS, new HeaderMap(), new MessageHead())
      return decoder.table.size <= 4096
    }),
  )
})

const flags = fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x25), fc.nat(255))
const id = fc.oneof(fc.constantFrom(0, 1, 3, 5, 7, 9), fc.nat(20))
/** Frames that make sense, frames that nearly do, and none at all. */
const anyFrame = fc.oneof(
  fc.tuple(id, fc.constantFrom(4, 5), fc.constantFrom(GET, POST)).map(([i, f, head]) => frame('HEADERS', f, i, block(...head))),
  fc.tuple(id, fc.constantFrom(0, 1), fc.nat(300)).map(([i, f, n]) => frame('DATA', f, i, 'd'.repeat(n))),
  fc.tuple(id, fc.nat(70000)).map(([i, n]) => frame('WINDOW_UPDATE', 0, i, u32(n))),
  fc.tuple(id, fc.nat(14)).map(([i, n]) => frame('RST_STREAM', 0, i, u32(n))),
  fc.tuple(fc.nat(10), fc.nat(70000)).map(([n, v]) => settings([n, v])),
  fc.constant(frame('PING', 0, 0, 'pingpong')),
  fc
    .tuple(fc.constantFrom(...TYPES), flags, id, fc.uint8Array({ maxLength: 30 }))
    .map(([type, f, i, b]) => frame(type, f, i, Buffer.from(b))),
  fc.uint8Array({ maxLength: 12 }).map((b) => Buffer.from(b)),
)
const conversation = fc.tuple(fc.array(anyFrame, { maxLength: 25 }), fc.array(fc.nat(3000), { maxLength: 8 }))

function pieces(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((p) => p % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...ends, bytes.length].map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end)).filter((b) => b.length > 0)
}

const faults: unknown[] = []
const io = new Io((error) => faults.push(error))

/** What a server makes of it: events, and what it says; body bytes and windows that depend on the pieces are put together. */
function asServer(parts: readonly Buffer[]): string {
  const side = server(
    { initialStreamWindow: 1 << 20, initialConnectionWindow: 1 << 22 },
    false,
    (s) => {
      s.sendHeaders(200, 'x: y\r\n', false)
      s.sendBody(Buffer.alloc(200), 0, 200)
      if (s.id % 4 === 1) s.sendEnd('')
    },
    io,
  )
  side.wire.receive(side.h2, ...parts)
  const said = side
    .frames()
    .map(told)
    .filter((line) => !line.startsWith('DATA'))
  if (faults.length > 0) throw faults[0]
  return JSON.stringify([side.log, said])
}

function asClient(parts: readonly Buffer[]): string {
  const side = client({}, true, io)
  for (let i = 0; i < 4; i++) ask(side, i === 1 ? 'HEAD' : 'GET')
  side.said()
  side.wire.receive(side.h2, ...parts)
  if (faults.length > 0) throw faults[0]
  return JSON.stringify([side.log, side.said()])
}

t.test('frames to a server', async (t) => {
  holds(
    t,
    'the same in any pieces, and no exception',
    fc.property(conversation, ([list, places]) => {
      const bytes = Buffer.concat([PREFACE, settings(), frame('SETTINGS', 1, 0), ...list])
      return asServer([bytes]) === asServer(pieces(bytes, places))
    }),
  )
})

const responses = fc.oneof(
  anyFrame,
  fc
    .tuple(id, fc.constantFrom(4, 5), fc.constantFrom('200', '100', '204', '304', '500'))
    .map(([i, f, s]) => frame('HEADERS', f, i, block([':status', s]))),
)

t.test('frames to a client', async (t) => {
  holds(
    t,
    'the same in any pieces, and no exception',
    fc.property(fc.array(responses, { maxLength: 25 }), fc.array(fc.nat(3000), { maxLength: 8 }), (list, places) => {
      const bytes = Buffer.concat(list)
      return bytes.length === 0 || asClient([bytes]) === asClient(pieces(bytes, places))
    }),
  )
})
