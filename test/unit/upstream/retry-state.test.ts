// A request's right to further attempts: in which order it is asked, what it holds and for how long (Envoy retry state).
import t from 'tap'
import { Rng } from '../../../lib/base/rng.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { BREAKER_FULL, BUDGET_FULL, HELD_BACK, SAFE_BY_METHOD, UNSAFE, USED_UP } from '../../../lib/decide/retry-steps.ts'
import { KINDS, Limiter, RETRIES } from '../../../lib/pool/limiter.ts'
import { RETRY, RetryState } from '../../../lib/upstream/retry-state.ts'
import { anEndpoint, aRetryPolicy } from '../../support/nouns.ts'

const limiter = () => new Limiter(new Int32Array(2 * KINDS), 0, KINDS)

t.test('attempts are counted down; what is held back uses up nothing', (t) => {
  const limits = limiter()
  const retry = new RetryState(aRetryPolicy({ attempts: 2 }), limits, new Rng(1))
  t.equal(retry.claim(UNSAFE), HELD_BACK)
  t.equal(limits.count(RETRIES), 0)
  t.equal(retry.claim(SAFE_BY_METHOD), RETRY)
  t.equal(retry.claim(UNSAFE), HELD_BACK)
  t.equal(retry.claim(SAFE_BY_METHOD), RETRY)
  t.equal(retry.retries, 2)
  t.equal(retry.claim(SAFE_BY_METHOD), USED_UP)
  t.equal(retry.claim(UNSAFE), USED_UP, 'what would not be made anyway is not held back')
  t.end()
})

t.test('a place is held from the claim until the attempt is over, once', (t) => {
  const limits = limiter()
  limits.setMax(RETRIES, 1)
  const one = new RetryState(aRetryPolicy({ attempts: 3 }), limits, new Rng(1))
  const two = new RetryState(aRetryPolicy({ attempts: 3 }), limits, new Rng(2))
  t.equal(one.claim(SAFE_BY_METHOD), RETRY)
  t.equal(limits.count(RETRIES), 1)
  t.equal(two.claim(SAFE_BY_METHOD), BREAKER_FULL)
  t.equal(one.claim(SAFE_BY_METHOD), RETRY, 'its own place is free before it asks again')
  t.equal(one.settle(), true)
  t.equal(one.settle(), false)
  t.equal(limits.count(RETRIES), 0)
  t.equal(two.claim(SAFE_BY_METHOD), RETRY)
  t.equal(limits.count(RETRIES), 1)
  t.end()
})

t.test('with a budget it is the budget that is full', (t) => {
  const limits = limiter()
  limits.setMax(RETRIES, 100)
  limits.setRetryBudget(20, 0)
  t.equal(new RetryState(aRetryPolicy({}), limits, new Rng(1)).claim(SAFE_BY_METHOD), BUDGET_FULL)
  t.end()
})

t.test('back-off: whole milliseconds from 0 up to base · 2ⁿ⁻¹, at most the maximum', (t) => {
  const rows: readonly [base: number, bounds: readonly number[]][] = [
    [25, [25, 50, 100, 200, 250, 250, 250]],
    [1, [1, 2, 4, 8, 10, 10, 10]],
    [200, [200, 400, 800, 1600, 2000, 2000, 2000]],
  ]
  for (const [base, bounds] of rows) {
    const seen = bounds.map(() => new Set<number>())
    const rng = new Rng(3)
    for (let i = 0; i < 400; i++) {
      const policy = aRetryPolicy({ attempts: bounds.length, baseIntervalMs: base, maxIntervalMs: 10 * base })
      const retry = new RetryState(policy, limiter(), rng)
      for (const delays of seen) {
        retry.claim(SAFE_BY_METHOD)
        delays.add(retry.delayMs)
      }
    }
    for (const [n, delays] of seen.entries()) {
      const bound = bounds[n] as number
      const all = [...delays]
      t.ok(
        all.every((ms) => Number.isInteger(ms) && ms >= 0 && ms < bound),
        `base ${base}, retry ${n + 1}: below ${bound}`,
      )
      if (bound <= 25) t.equal(delays.size, bound, `base ${base}, retry ${n + 1}: each of ${bound} values comes`)
      else
        t.ok(
          Math.max(...all) >= bound * 0.95 && Math.min(...all) <= bound * 0.05,
          `base ${base}, retry ${n + 1}: all of ${bound}`,
        )
    }
  }
  const many = new RetryState(aRetryPolicy({ attempts: 100 }), limiter(), new Rng(1))
  for (let i = 0; i < 100; i++) many.claim(SAFE_BY_METHOD)
  t.ok(many.delayMs >= 0 && many.delayMs < 250, 'the hundredth is none the worse')
  t.end()
})

t.test('retryRemoteLocalities: with every second attempt the priorities of all before are avoided', (t) => {
  const host = (priority: number) => new Host(priority, anEndpoint({ port: 80 + priority, priority }))
  const avoided = (remoteLocalities: boolean, priorities: readonly number[]) => {
    const retry = new RetryState(aRetryPolicy({ remoteLocalities }), limiter(), new Rng(1))
    return priorities.map((p) => {
      retry.noteTried(host(p))
      return retry.avoidPriorities
    })
  }
  t.same(avoided(true, [0, 0, 1, 1, 2]), [0, 0b1, 0b1, 0b11, 0b11])
  t.same(avoided(true, [0, 1, 2, 2]), [0, 0b11, 0b11, 0b111])
  t.same(avoided(false, [0, 0, 1, 1]), [0, 0, 0, 0])
  t.end()
})
