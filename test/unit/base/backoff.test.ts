import t from 'tap'
import { Backoff } from '../../../lib/base/backoff.ts'
import { Rng } from '../../../lib/base/rng.ts'

t.test('waits grow by the factor up to the longest', async (t) => {
  const backoff = new Backoff({ initialMs: 100, maxMs: 1000, factor: 2, jitter: 0 }, new Rng(1))
  t.same(
    [1, 2, 3, 4, 5, 6].map(() => backoff.nextMs()),
    [100, 200, 400, 800, 1000, 1000],
  )
  t.equal(backoff.failures, 6)
  backoff.reset()
  t.equal(backoff.failures, 0)
  t.equal(backoff.nextMs(), 100, 'a success begins anew')
})

t.test('jitter makes a wait shorter or longer by its part, and never longer than the longest', async (t) => {
  const waits = Array.from({ length: 2000 }, (_, seed) => {
    const backoff = new Backoff({ initialMs: 1000, maxMs: 2100, factor: 2, jitter: 0.2 }, new Rng(seed))
    return [backoff.nextMs(), backoff.nextMs()] as const
  })
  const [first, second] = [waits.map((w) => w[0]), waits.map((w) => w[1])]
  t.ok(Math.min(...first) >= 800 && Math.min(...first) < 820, `from ${Math.min(...first)}`)
  t.ok(Math.max(...first) <= 1200 && Math.max(...first) > 1180, `to ${Math.max(...first)}`)
  t.equal(Math.max(...second), 2100)
})

t.test('many failures stay finite', async (t) => {
  const backoff = new Backoff({ initialMs: 1, maxMs: 150_000, factor: 10, jitter: 0 }, new Rng(1))
  for (let i = 0; i < 2000; i++) backoff.nextMs()
  t.equal(backoff.nextMs(), 150_000)
})
