import fc from 'fast-check'
import t from 'tap'
import { PackedReader } from '../../../lib/base/packed-reader.ts'
import { Packer } from '../../../lib/base/packer.ts'
import { sameValue } from '../../../lib/base/same-value.ts'

function roundTrip(values: readonly object[]): unknown[] {
  const packer = new Packer()
  const places = values.map((value) => packer.put(value))
  const reader = new PackedReader(packer.finish())
  // In another order than they were written.
  return places
    .toReversed()
    .map((at) => reader.read(at))
    .toReversed()
}

t.test('what is read is what was put', async (t) => {
  const values: object[] = [
    [],
    {},
    { a: 1, b: 'x', c: null, d: [true, false, undefined] },
    { a: 2, b: 'x', c: null, d: [] },
    [0, 1, 127, 128, 16_383, 16_384, 2 ** 24 - 1, 2 ** 24, 2 ** 31, 2 ** 53],
    [-1, -0, 0.5, Number.NaN, Number.POSITIVE_INFINITY],
    ['', 'é', 'ÿ', 'Ā', '漢字', '😀', '\ud800', 'x'.repeat(10_000)],
    { '': { '': {} }, 'with "quotes"': 2, '\n': 3 },
    Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`field${i}`, i])),
  ]
  t.strictSame(roundTrip(values), values)
})

t.test('of any plain values', async () => {
  const value = fc
    .anything({ withNullPrototype: false, withObjectString: false, maxDepth: 4 })
    .filter((v) => !JSON.stringify(v)?.includes('__proto__'))
  const some = fc.array(fc.oneof(fc.array(value), fc.dictionary(fc.string(), value, { noNullPrototype: true })), { maxLength: 5 })
  fc.assert(
    fc.property(some, (values) => sameValue(roundTrip(values), values)),
    { numRuns: 1000 },
  )
})

t.test('what is equal is written once, and its leaves are one object for all readers', async (t) => {
  const packer = new Packer()
  const host = (port: number) => ({
    port,
    locality: { region: 'r', zone: 'z' },
    names: ['a', { locality: { region: 'r', zone: 'z' } }],
  })
  const first = packer.put(host(1))
  const size = packer.size
  t.equal(packer.put(host(1)), first)
  t.equal(packer.size, size)
  const second = packer.put(host(2))
  t.ok(packer.size - size < 16, `${packer.size - size} bytes for another port`)
  const reader = new PackedReader(packer.finish())
  const [a, b] = [reader.read(first), reader.read(second)] as ReturnType<typeof host>[]
  t.not(a, b)
  t.equal(a?.locality, b?.locality)
  t.equal(a?.names[1], a?.names[1])
})

t.test('what is no plain data is refused', async (t) => {
  for (const value of [new Map(), new Date(0), [() => 1], { a: 1n }, [Symbol('s')]])
    t.throws(() => new Packer().put(value), /packed/)
})

t.test('equal values', async (t) => {
  const rows: [unknown, unknown, boolean][] = [
    [{ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 }, true],
    [{ a: undefined }, {}, false],
    [{ a: undefined }, { b: undefined }, false],
    [[], {}, false],
    [[1, 2], [2, 1], false],
    [null, {}, false],
    [Number.NaN, Number.NaN, true],
    ['1', 1, false],
  ]
  for (const [a, b, expected] of rows) t.equal(sameValue(a, b), expected, JSON.stringify([a, b]))
})
