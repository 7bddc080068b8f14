import t from 'tap'
import { parseByteSize } from '../../../lib/base/byte-size.ts'

t.test('sizes', async (t) => {
  const cases: [text: string, bytes: number | null][] = [
    ['0', 0],
    ['100', 100],
    ['100B', 100],
    ['64kB', 64_000],
    ['60KiB', 61_440],
    ['1MiB', 1_048_576],
    ['1 MiB', 1_048_576],
    ['1.5Ki', 1536],
    ['1GiB', 1_073_741_824],
    ['', null],
    ['MiB', null],
    ['-1', null],
    ['1XB', null],
    ['1toString', null],
    ['0.3B', null],
    ['99999999GiB', null],
  ]
  for (const [text, bytes] of cases) t.equal(parseByteSize(text), bytes, JSON.stringify(text))
})
