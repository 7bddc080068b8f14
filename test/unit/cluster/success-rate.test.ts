// Outliers by rates, with numbers that can be worked out by hand.
import t from 'tap'
import { judgeSuccessRates, judgesFailures, type Rate, rateOf } from '../../../lib/cluster/success-rate.ts'

const rates = (...percent: readonly number[]): Rate[] => percent.map((success) => ({ volume: 100, success }))
const POLICY = { minimumHosts: 5, requestVolume: 100, stdevFactor: 1.9 }

t.test('mean less factor times the standard deviation of the population', async (t) => {
  // Mean 90; deviations 10, 10, 10, 10, -40; variance (4 · 100 + 1600) / 5 = 400; 90 - 1.9 · 20 = 52.
  t.same(judgeSuccessRates(rates(100, 100, 100, 100, 50), POLICY), { mean: 90, stdev: 20, threshold: 52 })
  // Mean 60; deviations ±20; variance 400; 60 - 0.5 · 20 = 50.
  t.same(judgeSuccessRates(rates(80, 40, 80, 40), { minimumHosts: 4, requestVolume: 1, stdevFactor: 0.5 }), {
    mean: 60,
    stdev: 20,
    threshold: 50,
  })
  t.same(judgeSuccessRates(rates(70, 70, 70, 70, 70), POLICY), { mean: 70, stdev: 0, threshold: 70 }, 'all alike: none is below')
})

t.test('too few hosts, or too few results', async (t) => {
  t.equal(judgeSuccessRates(rates(100, 100, 100, 50), POLICY), null)
  const quiet = [...rates(100, 100, 100, 100), { volume: 99, success: 0 }]
  t.equal(judgeSuccessRates(quiet, POLICY), null, 'one with 99 results does not count')
  t.equal(judgeSuccessRates([], { ...POLICY, minimumHosts: 0 }), null)
  t.equal(judgesFailures(rates(0, 0, 0, 0, 0), { minimumHosts: 5, requestVolume: 100 }), true)
  t.equal(judgesFailures(rates(0, 0, 0, 0), { minimumHosts: 5, requestVolume: 100 }), false)
  t.equal(judgesFailures([], { minimumHosts: 0, requestVolume: 0 }), false)
})

t.test('a rate', async (t) => {
  t.same(rateOf(8, 6), { volume: 8, success: 75 })
  t.equal(rateOf(0, 0), null)
})
