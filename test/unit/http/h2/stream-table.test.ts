import t from 'tap'
import type { Http2Stream } from '../../../../lib/http/h2/stream.ts'
import { StreamTable } from '../../../../lib/http/h2/stream-table.ts'

const stream = (id: number): Http2Stream => ({ id }) as Http2Stream

t.test('an empty table has nothing', (t) => {
  const table = new StreamTable()
  t.equal(table.get(1), undefined)
  table.delete(1)
  t.equal(table.size, 0)
  t.same(table.values(), [])
  t.end()
})

t.test('streams are given oldest first, and in an array of its own', (t) => {
  const table = new StreamTable()
  for (const id of [1, 3, 33, 5]) table.add(stream(id))
  const before = table.values()
  table.delete(3)
  t.same(
    before.map((s) => s.id),
    [1, 3, 5, 33],
  )
  t.same(
    table.values().map((s) => s.id),
    [1, 5, 33],
  )
  table.clear()
  t.equal(table.size, 0)
  t.equal(table.get(1), undefined)
  t.end()
})

t.test('it is a Map to whoever comes and goes in any order', (t) => {
  const table = new StreamTable()
  const map = new Map<number, Http2Stream>()
  let seed = 7
  const draw = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
    return (seed >>> 8) % n
  }
  let next = 1
  for (let i = 0; i < 5000; i++) {
    // Long-lived ones stay behind while the ids of others run on, so that places meet.
    const ids = [...map.keys()]
    if (draw(100) < (ids.length < 40 ? 55 : 45)) {
      const added = stream(next)
      table.add(added)
      map.set(next, added)
      next += 2 * (1 + draw(20))
    } else {
      const id = ids[draw(ids.length + 1)] ?? next
      table.delete(id)
      map.delete(id)
    }
    if (table.size !== map.size) t.fail(`step ${i}: ${table.size} instead of ${map.size}`)
    for (const [id, one] of map) if (table.get(id) !== one) t.fail(`step ${i}: ${id} is lost`)
    if (table.get(next) !== undefined) t.fail(`step ${i}: ${next} was never there`)
  }
  t.same(
    table.values().map((s) => s.id),
    [...map.keys()],
  )
  t.end()
})
