import fc from 'fast-check'
import t from 'tap'
import { answers, cutShort, type DnsQuery, readQuery, writeAnswer, writeRefusal } from '../../../lib/dns/message.ts'

/** Header of a query: id 0x1234, RD, one question, and `additional` records. */
const header = (additional = 0, flags = 0x0100, questions = 1): number[] => [
  ...[0x12, 0x34, flags >> 8, flags & 255, 0, questions, 0, 0, 0, 0, 0, additional],
]
const nameOf = (...labels: string[]): number[] => [...labels.flatMap((l) => [l.length, ...Buffer.from(l, 'latin1')]), 0]
const A_IN = [0, 1, 0, 1]
/** Of 1400 bytes, version 0 (RFC 6891 §6.1.2). */
const opt = (version = 0, size = 1400): number[] => [0, 0, 41, size >> 8, size & 255, 0, version, 0, 0, 0, 0]

const query = (...bytes: (readonly number[])[]): DnsQuery => {
  const read = readQuery(Buffer.from(bytes.flat()))
  if (!read.ok) throw new Error(JSON.stringify(read))
  return read.query
}

t.test('queries', async (t) => {
  const plain = query(header(), nameOf('Reviews', 'shop'), A_IN)
  t.match(plain, { id: 0x1234, name: 'reviews.shop', type: 1, internet: true, udpBytes: 512, ednsVersion: null })
  t.match(query(header(1), nameOf('a'), A_IN, opt()), { udpBytes: 1400, ednsVersion: 0 })
  t.match(query(header(1), nameOf('a'), A_IN, opt(0, 100)), { udpBytes: 512 }, 'no less than without EDNS (RFC 6891 §6.2.3)')
  t.match(query(header(), nameOf(), [0, 2, 0, 1]), { name: '', type: 2 }, 'the root')
  t.equal(query(header(), nameOf('a.b'), A_IN).name, null, 'a point within a label is no border of labels')
  t.equal(query(header(), nameOf('a\xff'), A_IN).name, null)
  t.equal(query(header(), nameOf('a'), [0, 1, 0, 3]).internet, false, 'of the class CH')
})

t.test('what is no query', async (t) => {
  const refused = (rcode: number) => ({ ok: false, drop: false, id: 0x1234, rcode })
  for (const [what, bytes, expected] of [
    ['too short', [[1, 2, 3]], { ok: false, drop: true }],
    ['an answer', [header(0, 0x8180), nameOf('a'), A_IN], { ok: false, drop: true }],
    ['another opcode', [header(0, 0x2800), nameOf('a'), A_IN], refused(4)],
    ['no question', [header(0, 0x0100, 0)], refused(1)],
    ['two questions', [header(0, 0x0100, 2), nameOf('a'), A_IN, nameOf('b'), A_IN], refused(1)],
    ['a name that does not end', [header(), [5, 97, 98]], refused(1)],
    ['a pointer to itself', [header(), [0xc0, 12], A_IN], refused(1)],
    ['a label of 64', [header(), [64, ...new Array(64).fill(97), 0], A_IN], refused(1)],
    ['a name of 256', [header(), nameOf(...new Array(5).fill('x'.repeat(52))), A_IN], refused(1)],
    ['a question that does not end', [header(), nameOf('a'), [0, 1]], refused(1)],
    ['a record that is not there', [header(1), nameOf('a'), A_IN], refused(1)],
    ['a record longer than the message', [header(1), nameOf('a'), A_IN, opt().slice(0, -1), [9]], refused(1)],
    ['two of EDNS', [header(2), nameOf('a'), A_IN, opt(), opt()], refused(1)],
    ['more records than any query has', [header(200), nameOf('a'), A_IN], refused(1)],
  ] as const)
    t.match(readQuery(Buffer.from(bytes.flat())), expected, what)
})

t.test('answers', async (t) => {
  const q = query(header(), nameOf('a', 'b'), A_IN)
  const records = { alias: '', addresses: [Uint8Array.of(10, 0, 0, 1), Uint8Array.of(10, 0, 0, 2)], ttlSeconds: 30 }
  const record = (last: number) => [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 0, 0, last]
  const head = (flags: readonly number[], count: number, more = 0) => [0x12, 0x34, ...flags, 0, 1, 0, count, 0, 0, 0, more]
  const question = [...nameOf('a', 'b'), ...A_IN]
  t.same([...writeAnswer(q, 0, records, 512)], [...head([0x85, 0x80], 2), ...question, ...record(1), ...record(2)])
  t.same(
    [...writeAnswer(q, 0, records, 12 + question.length + 16)],
    [...head([0x87, 0x80], 1), ...question, ...record(1)],
    'what does not fit is left out, and TC says so',
  )
  const alias = [...writeAnswer(q, 0, { ...records, alias: 'a', addresses: [Uint8Array.of(10, 0, 0, 1)] }, 512)]
  t.same(alias.slice(12 + question.length), [
    ...[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 30, 0, 3, 1, 97, 0],
    ...[0xc0, 12 + question.length + 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 0, 0, 1],
  ])
  t.same([...writeAnswer(q, 2, null, 512)], [...head([0x81, 0x82], 0), ...question], 'not from here, and so not authoritative')
  const edns = query(header(1), nameOf('a', 'b'), A_IN, opt(1))
  t.same(
    [...writeAnswer(edns, 16, null, 512)],
    [...head([0x81, 0x80], 0, 1), ...question, 0, 0, 41, 1232 >> 8, 1232 & 255, 1, 0, 0, 0, 0, 0],
    'BADVERS is 16, whose upper bits are in the record of EDNS',
  )
  t.same([...writeRefusal(7, 0x2900, 4)], [0, 7, 0xa9, 0x84, 0, 0, 0, 0, 0, 0, 0, 0])
})

t.test('answers of others', async (t) => {
  const q = query(header(), nameOf('a', 'b'), A_IN)
  const question = [...nameOf('A', 'b'), ...A_IN]
  const from = (id: number, ...rest: number[]) => Buffer.from([id >> 8, id & 255, ...rest])
  const good = from(9, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, ...question)
  t.equal(answers(good, q, 9), true)
  t.equal(answers(good, q, 8), false, 'another id')
  t.equal(answers(from(9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...question), q, 9), false, 'a query')
  t.equal(answers(from(9, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, ...nameOf('a', 'c'), ...A_IN), q, 9), false, 'another name')
  t.equal(answers(from(9, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, ...nameOf('a', 'b'), 0, 28, 0, 1), q, 9), false, 'another type')
  t.equal(answers(from(9, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0), q, 9), true, 'a refusal without the question')
  t.equal(answers(Buffer.from([0, 9, 0x81]), q, 9), false)
  const long = Buffer.concat([good, Buffer.alloc(600)])
  const short = cutShort(q, long, 512)
  t.same([...short], [0x12, 0x34, 0x83, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, ...nameOf('a', 'b'), ...A_IN])
})

t.test('whatever comes, nothing throws', async (t) => {
  const bytes = fc.uint8Array({ maxLength: 80 })
  fc.assert(
    fc.property(bytes, bytes, fc.boolean(), (some, more, valid) => {
      const message = Buffer.from(valid ? [...header(more.length % 4), ...some, ...more] : some)
      const read = readQuery(message)
      if (!read.ok) return
      const { question } = read.query
      writeAnswer(read.query, 0, { alias: 'x.y', addresses: [Uint8Array.of(1, 2, 3, 4)], ttlSeconds: 1 }, 64)
      answers(Buffer.from(more), read.query, 1)
      t.equal(question.length >= 5, true)
    }),
    { numRuns: 3000 },
  )
})
