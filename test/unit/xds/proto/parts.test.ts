import fc from 'fast-check'
import t from 'tap'
import { type Parts, partAt, partsOf, samePlaces } from '../../../../lib/xds/proto/parts.ts'

/** A message of fields 1 to 15, each with a length. */
function message(fields: readonly (readonly [number: number, content: string])[]): Uint8Array {
  return Buffer.concat(fields.map(([number, content]) => Buffer.concat([lengthOf(number, content.length), Buffer.from(content)])))
}

function lengthOf(number: number, length: number): Buffer {
  const head = [(number << 3) | 2]
  for (let rest = length; ; rest >>= 7) {
    head.push(rest < 128 ? rest : (rest & 127) | 128)
    if (rest < 128) return Buffer.from(head)
  }
}

function parts(contents: readonly string[], rest = 'name'): Parts {
  const made = partsOf(message([[1, rest], ...contents.map((c) => [2, c] as const)]), 2)
  if (made === null) throw new Error('no message')
  return made
}

const textsOf = (of: Parts) => Array.from({ length: of.places.length / 2 }, (_, i) => Buffer.from(partAt(of, i)).toString())

t.test('elements and the rest', async (t) => {
  const from = message([
    [1, 'a'],
    [2, 'first'],
    [3, 'b'],
    [2, 'x'.repeat(200)],
    [2, ''],
    [4, 'c'],
  ])
  const of = partsOf(from, 2) as Parts
  t.same(textsOf(of), ['first', 'x'.repeat(200), ''])
  t.same(
    Buffer.from(of.rest),
    message([
      [1, 'a'],
      [3, 'b'],
      [4, 'c'],
    ]),
  )
  const numbers = Buffer.from([0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x01, 0x41, 0x1d, 1, 2, 3, 4])
  const mixed = partsOf(numbers, 2) as Parts
  t.same(textsOf(mixed), ['A'], 'beside numbers of all kinds')
  t.equal(mixed.rest.length, numbers.length - 3)
})

t.test('what is no message has no parts', async (t) => {
  const rows: [what: string, bytes: number[]][] = [
    ['a length beyond the end', [0x12, 5, 1]],
    ['one of a field that is not asked for', [0x0a, 5, 1]],
    ['field 0', [0x02, 0]],
    ['a group', [0x0b]],
    ['a number without an end', [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['a tag without a value', [0x08]],
    ['half a number', [0x09, 1, 2]],
  ]
  for (const [what, bytes] of rows) t.equal(partsOf(Buffer.from(bytes), 2), null, what)
})

t.test('what stayed is found', async (t) => {
  const rows: [before: string, after: string, same: number[]][] = [
    ['abc', 'abc', [0, 1, 2]],
    ['abc', 'axc', [0, -1, 2]],
    ['abc', 'ac', [0, 2]],
    ['abc', 'abxc', [0, 1, -1, 2]],
    ['abcdef', 'xbcdey', [-1, 1, 2, 3, 4, -1]],
    ['abcdef', 'xbdefy', [-1, 1, 3, 4, 5, -1]],
    ['abcdef', 'xabdeyf', [-1, 0, 1, 3, 4, -1, 5]],
    ['', 'ab', [-1, -1]],
    ['ab', '', []],
    ['aaa', 'aa', [0, 1]],
  ]
  for (const [before, after, same] of rows)
    t.same([...samePlaces(parts([...before]), parts([...after]))], same, `${before} to ${after}`)
  t.same([...samePlaces(parts(['a', 'b'], 'n'), parts(['a', 'b'], 'another'))], [0, 1], 'behind a rest of another length')
  const many = Array.from({ length: 10_000 }, (_, i) => `element ${i}`)
  const other = many.with(10, 'x').toSpliced(9000, 2)
  const found = samePlaces(parts(many), parts(other))
  t.equal(found.filter((at) => at < 0).length, 1, 'one is another, two are gone')
})

t.test('what is said to be the same is, in order', async () => {
  const contents = fc.array(fc.constantFrom('', 'a', 'b', 'ab', 'abc', 'x'.repeat(130)), { maxLength: 40 })
  fc.assert(
    fc.property(contents, contents, fc.constantFrom('name', 'other name'), (before, after, rest) => {
      const same = [...samePlaces(parts(before), parts(after, rest))]
      const kept = same.filter((at) => at >= 0)
      return (
        same.length === after.length &&
        same.every((at, i) => at < 0 || before[at] === after[i]) &&
        kept.every((at, i) => i === 0 || at > (kept[i - 1] as number))
      )
    }),
    { numRuns: 500 },
  )
})
