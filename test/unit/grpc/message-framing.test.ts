// Length-Prefixed-Message of grpc/grpc doc/PROTOCOL-HTTP2.md.
import fc from 'fast-check'
import t from 'tap'
import { framed, MessageReader } from '../../../lib/grpc/message-framing.ts'

const MAX = 1000

function read(chunks: readonly Buffer[]): { messages: string[]; fault: string | null; within: boolean } {
  const messages: string[] = []
  const reader = new MessageReader(MAX, (m) => messages.push(m.toString('latin1')))
  for (const chunk of chunks) {
    const fault = reader.push(chunk)
    if (fault !== null) return { messages, fault: fault.name, within: reader.within }
  }
  return { messages, fault: null, within: reader.within }
}

t.test('a message goes out with flag 0 and its length', async (t) => {
  t.same(framed(Buffer.from('abc')), Buffer.from([0, 0, 0, 0, 3, 0x61, 0x62, 0x63]))
  t.same(framed(Buffer.alloc(0)), Buffer.from([0, 0, 0, 0, 0]))
})

t.test('messages come out whole, however the bytes are split', async (t) => {
  const all = Buffer.concat(['a', '', 'hello', 'x'.repeat(MAX)].map((m) => framed(Buffer.from(m))))
  const expected = { messages: ['a', '', 'hello', 'x'.repeat(MAX)], fault: null, within: false }
  t.same(read([all]), expected)
  t.same(read([...all].map((b) => Buffer.from([b]))), expected, 'one byte at a time')
  for (let at = 0; at <= all.length; at++) {
    const { messages, within } = read([all.subarray(0, at), all.subarray(at)])
    if (messages.length !== 4 || within) t.fail(`split at ${at}`)
  }
})

const FAULTS: readonly (readonly [string, number[], string | null, boolean])[] = [
  ['compressed', [1, 0, 0, 0, 1, 0], 'INTERNAL', true],
  ['an unknown flag', [2, 0, 0, 0, 1, 0], 'INTERNAL', true],
  ['longer than the limit', [0, 0, 0, 3, 0xe9], 'RESOURCE_EXHAUSTED', true],
  ['announced to be 4 GB', [0, 0xff, 0xff, 0xff, 0xff], 'RESOURCE_EXHAUSTED', true],
  ['not whole', [0, 0, 0, 0, 2, 0], null, true],
  ['a part of a header', [0, 0], null, true],
]

t.test('what is no message that we take', async (t) => {
  for (const [name, bytes, fault, within] of FAULTS) {
    t.match(read([Buffer.from(bytes)]), { fault, within, messages: [] }, name)
    t.match(read(bytes.map((b) => Buffer.from([b]))), { fault, within, messages: [] }, `${name}, one byte at a time`)
  }
})

t.test('whatever is framed and split is read again', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), fc.array(fc.nat({ max: 9 })), (messages, cuts) => {
      const all = Buffer.concat(messages.map((m) => framed(m)))
      const chunks: Buffer[] = []
      let at = 0
      for (let i = 0; at < all.length; i++) {
        const size = (cuts[i % Math.max(1, cuts.length)] ?? 7) + 1
        chunks.push(all.subarray(at, at + size))
        at += size
      }
      const got = read(chunks)
      return got.fault === null && got.messages.join('|') === messages.map((m) => Buffer.from(m).toString('latin1')).join('|')
    }),
  )
})
