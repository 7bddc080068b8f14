// Counts of a cluster in memory that two workers share: limits and retry budgets are those of the process.
import t from 'tap'
import { SharedLimits } from '../../../lib/cluster/shared-limits.ts'
import { KINDS, type Limiter, PENDING, REQUESTS, RETRIES } from '../../../lib/pool/limiter.ts'

const CLUSTER = 'outbound|80||web'

function twoWorkers(): readonly [Limiter, Limiter] {
  const shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * 64 * (2 + 3 * KINDS))
  return [new SharedLimits(shared, 0, 2).limiterFor(CLUSTER), new SharedLimits(shared, 1, 2).limiterFor(CLUSTER)]
}

/** How many retries the two get, asking in turn. */
function granted(limiters: readonly Limiter[]): number {
  let n = 0
  for (let i = 0; i < 100; i++) if ((limiters[i % 2] as Limiter).takeRetry()) n++
  return n
}

t.test(
  'budget: the percentage of requests in flight and waiting in both workers, rounded down, but never below the floor',
  (t) => {
    const rows: readonly [
      percent: number,
      min: number,
      active: readonly [number, number],
      pending: readonly [number, number],
      retries: number,
    ][] = [
      [20, 3, [0, 0], [0, 0], 3],
      [20, 3, [10, 5], [0, 0], 3],
      [20, 3, [10, 10], [0, 0], 4],
      [20, 3, [10, 10], [3, 2], 5],
      [20, 3, [0, 0], [20, 20], 8],
      [20, 0, [2, 2], [0, 0], 0],
      [20, 0, [2, 3], [0, 0], 1],
      [12.5, 1, [16, 7], [0, 0], 2],
      [12.5, 1, [16, 8], [0, 0], 3],
      [100, 0, [4, 3], [0, 0], 7],
      [0, 2, [50, 50], [0, 0], 2],
      [0, 0, [50, 50], [0, 0], 0],
    ]
    for (const [percent, min, active, pending, retries] of rows) {
      const workers = twoWorkers()
      for (const [w, limiter] of workers.entries()) {
        limiter.setRetryBudget(percent, min)
        for (let i = 0; i < (active[w] as number); i++) limiter.take(REQUESTS)
        for (let i = 0; i < (pending[w] as number); i++) limiter.take(PENDING)
      }
      t.equal(granted(workers), retries, `${percent} % of ${active} and ${pending}, at least ${min}`)
      t.equal(workers[0].count(RETRIES), retries, 'what was refused holds nothing')
    }
    t.end()
  },
)

t.test('budget: it follows the load, and places that are held stay held', (t) => {
  const [one, two] = twoWorkers()
  for (const limiter of [one, two]) limiter.setRetryBudget(50, 1)
  for (let i = 0; i < 4; i++) one.take(REQUESTS)
  t.equal(two.takeRetry(), true)
  t.equal(two.takeRetry(), true)
  t.equal(one.takeRetry(), false)
  for (let i = 0; i < 4; i++) one.give(REQUESTS)
  t.equal(two.count(RETRIES), 2)
  two.giveRetry()
  t.equal(one.takeRetry(), false, 'one place is left to all, and it is taken')
  two.giveRetry()
  t.equal(one.takeRetry(), true)
  t.end()
})

t.test('a budget takes the place of maxRetries, and gives it back', (t) => {
  const workers = twoWorkers()
  for (const limiter of workers) limiter.setMax(RETRIES, 1)
  for (const limiter of workers) limiter.setRetryBudget(0, 5)
  t.equal(granted(workers), 5)
  for (let i = 0; i < 5; i++) workers[i % 2 === 0 ? 0 : 1]!.giveRetry()
  for (const limiter of workers) limiter.setRetryBudget(-1, 0)
  t.equal(granted(workers), 1)
  t.end()
})
