import { getHeapSpaceStatistics } from 'node:v8'
import t from 'tap'
import { collectAll, isWorthIt } from '../../../lib/server/heap-care.ts'

const MB = 2 ** 20

t.test('what is worth a collection', async (t) => {
  const table: readonly [bytes: number, floor: number, expected: boolean][] = [
    [30 * MB, 0, true],
    [7 * MB, 0, false],
    [27 * MB, 20 * MB, false],
    [29 * MB, 20 * MB, true],
    // A large world: so much comes and goes with small changes.
    [110 * MB, 100 * MB, false],
    [126 * MB, 100 * MB, true],
  ]
  for (const [bytes, floor, expected] of table) t.equal(isWorthIt(bytes, floor), expected, `${bytes / MB} after ${floor / MB}`)
})

t.test('the space for new objects shrinks, which V8 grew for a world that was made', async (t) => {
  const spaceForNew = (): number => getHeapSpaceStatistics().find((s) => s.space_name === 'new_space')?.physical_space_size ?? 0
  let kept: object[] = []
  for (let i = 0; i < 400_000; i++) kept.push({ name: `service-${i}`, endpoints: [i] })
  const grown = spaceForNew()
  kept = []
  await collectAll()
  t.ok(spaceForNew() < grown / 2, `${grown} bytes before, ${spaceForNew()} after`)
  t.same(kept, [])
})
