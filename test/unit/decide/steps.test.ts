import t from 'tap'
import { ATTEMPT, ROUTE, ROUTE_FAILED, StepRing, TABLE } from '../../../lib/decide/steps.ts'

t.test('steps are read back by where they began', async (t) => {
  const ring = new StepRing(16)
  const first = ring.begin()
  ring.add(TABLE, 1, 2)
  ring.add(ROUTE, 3, 0)
  const second = ring.begin()
  ring.add(TABLE, 5, 6)
  ring.tried(7, 8)
  t.strictSame([...(ring.read(first) ?? [])], [TABLE, 1, 2, ROUTE, 3, 0])
  t.strictSame([...(ring.read(second) ?? [])], [TABLE, 5, 6, ROUTE_FAILED, 7, 8])
})

t.test('later steps of a request find to the earlier ones', async (t) => {
  const ring = new StepRing(16)
  const first = ring.begin()
  ring.add(TABLE, 1, 0)
  const second = ring.begin()
  ring.add(TABLE, 2, 0)
  ring.addTo(first, ATTEMPT, 1, 503)
  ring.addTo(second, ATTEMPT, 1, 200)
  ring.addTo(first, ATTEMPT, 2, 200)
  t.strictSame([...(ring.read(first) ?? [])], [TABLE, 1, 0, ATTEMPT, 1, 503, ATTEMPT, 2, 200])
  t.strictSame([...(ring.read(second) ?? [])], [TABLE, 2, 0, ATTEMPT, 1, 200])
})

t.test('what was overwritten is not read', async (t) => {
  const ring = new StepRing(4)
  const first = ring.begin()
  for (let i = 0; i < 4; i++) ring.add(TABLE, i, 0)
  t.ok(ring.isIntact(first))
  t.equal(ring.read(first)?.length, 12)
  ring.begin()
  ring.add(TABLE, 9, 0)
  t.notOk(ring.isIntact(first))
  t.equal(ring.read(first), null)
})

t.test('numbers keep their sign', async (t) => {
  const ring = new StepRing(4)
  const start = ring.begin()
  ring.add(TABLE, -2, 0x7fff_ffff)
  t.strictSame([...(ring.read(start) ?? [])], [TABLE, -2, 0x7fff_ffff])
})

t.test('a capacity that is no power of two is our mistake', async (t) => {
  t.throws(() => new StepRing(1000), { message: 'steps: 1000 is no power of two' })
})
