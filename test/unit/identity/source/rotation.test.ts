// Istio's SECRET_GRACE_PERIOD_RATIO and ztunnel's back-off.
import t from 'tap'
import { renewalAtMs, retryDelayMs } from '../../../../lib/identity/source/rotation.ts'

const ISTIO = { graceRatio: 0.5, jitter: 0.01 }

t.test('renewal: when the grace period begins, counted from when we got the certificate', async (t) => {
  const rows: readonly (readonly [
    what: string,
    settings: typeof ISTIO,
    life: readonly [number, number],
    draw: number,
    expected: number,
  ])[] = [
    ['in the middle', ISTIO, [1_000_000, 1_100_000], 0.5, 1_050_000],
    ['at the latest', ISTIO, [1_000_000, 1_100_000], 0, 1_051_000],
    ['at the earliest', ISTIO, [1_000_000, 1_100_000], 1, 1_049_000],
    ['a longer grace', { graceRatio: 0.8, jitter: 0 }, [0, 100_000], 0.5, 20_000],
    ['no more than the whole life', { graceRatio: 1, jitter: 0.5 }, [0, 100_000], 1, 500],
    ['no less than nothing', { graceRatio: 0, jitter: 0.5 }, [0, 100_000], 0, 100_000],
    ['a life of seconds', ISTIO, [0, 4000], 0.5, 2000],
    ['a life of nothing: not without pause', ISTIO, [5000, 5001], 0.5, 5500],
  ]
  for (const [what, settings, [from, to], draw, expected] of rows) t.equal(renewalAtMs(from, to, settings, draw), expected, what)
})

t.test('after failures: 500 ms, doubled, up to 150 s, a fifth more or less', async (t) => {
  t.same(
    [1, 2, 3, 8, 9, 10, 1000].map((n) => retryDelayMs(n, 0, 0, 0.5)),
    [500, 1000, 2000, 64_000, 128_000, 150_000, 150_000],
  )
  t.equal(retryDelayMs(1, 0, 0, 0), 400)
  t.equal(retryDelayMs(1, 0, 0, 1), 600)
  t.equal(retryDelayMs(10, 0, 0, 1), 180_000)
})

t.test('one more try before the certificate in use ends', async (t) => {
  t.equal(retryDelayMs(10, 100_000, 40_000, 0.5), 59_500)
  t.equal(retryDelayMs(10, 100_000, 99_900, 0.5), 500)
  t.equal(retryDelayMs(10, 100_000, 100_001, 0.5), 150_000, 'it is over: back to the usual')
  t.equal(retryDelayMs(1, 100_000, 0, 0.5), 500, 'far away')
})
