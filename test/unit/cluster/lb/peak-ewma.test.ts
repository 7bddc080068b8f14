import t from 'tap'
import type { Host } from '../../../../lib/cluster/lb/host.ts'
import { expectedMs, observe, observeFailure, observeGivenUp } from '../../../../lib/cluster/lb/peak-ewma.ts'
import { clusterWith, countsOf, hosts, keepBusy } from '../../../suite/balancer.ts'

const DECAY = 10_000
const LN2 = Math.LN2 * DECAY

const one = (): Host => hosts([1])[0] as Host
const near = (a: number, b: number) => Math.abs(a - b) < 1e-6

t.test('the estimate: peaks at once, averages by time, fades in silence', async (t) => {
  const host = one()
  observe(host, 40, DECAY, 1000)
  t.equal(expectedMs(host, DECAY, 1000), 40, 'the first sample is all that is known')
  observe(host, 100, DECAY, 1000)
  t.equal(expectedMs(host, DECAY, 1000), 100, 'a slower one counts at once')
  observe(host, 0, DECAY, 1000)
  t.equal(expectedMs(host, DECAY, 1000), 100, 'a faster one in the same moment not at all')
  observe(host, 20, DECAY, 1000 + LN2)
  t.ok(near(expectedMs(host, DECAY, 1000 + LN2), 60), 'after decay × ln 2 half of it: (100 + 20) / 2')
  t.ok(near(expectedMs(host, DECAY, 1000 + 2 * LN2), 30), 'and half of that when nothing more is heard')
})

t.test('a failure counts as slow, each further one twice as slow, up to a minute', async (t) => {
  const host = one()
  observe(host, 5, DECAY, 0)
  const seen: number[] = []
  for (let i = 0; i < 8; i++) {
    observeFailure(host, 1, DECAY, 0)
    seen.push(host.latencyMs)
  }
  t.strictSame(seen, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
  observeFailure(host, 90_000, DECAY, 0)
  t.equal(host.latencyMs, 90_000, 'as slow as it was')
})

t.test('giving up says that it would have taken longer, and nothing when it was quick', async (t) => {
  const host = one()
  observeGivenUp(host, 500, DECAY, 0)
  t.equal(host.latencyAtMs, -1, 'about a host that never answered it says nothing')
  observe(host, 100, DECAY, 0)
  observeGivenUp(host, 50, DECAY, 0)
  t.equal(host.latencyMs, 100)
  observeGivenUp(host, 500, DECAY, 0)
  t.equal(host.latencyMs, 500)
})

t.test('the cheaper of two hosts: latency times the requests that would share it, by weight', async (t) => {
  const rows: [latency: [number, number], active: [number, number], weight: [number, number], cheaper: number][] = [
    [[10, 50], [0, 0], [1, 1], 0],
    [[10, 50], [5, 0], [1, 1], 1],
    [[10, 50], [3, 0], [1, 1], 0],
    [[10, 10], [0, 0], [1, 2], 1],
    [[10, 50], [0, 0], [1, 10], 1],
  ]
  for (const [latency, active, weight, cheaper] of rows) {
    const all = hosts(weight)
    all.forEach((h, i) => {
      observe(h, latency[i] as number, DECAY, 0)
      keepBusy(h, active[i] as number)
    })
    const { picker } = clusterWith(all, { loadBalancer: { kind: 'PEAK_EWMA', decayMs: DECAY } })
    const expected = [0, 0]
    expected[cheaper] = 50
    t.strictSame(countsOf(picker, 2, 50), expected, `${latency} ms, ${active} in flight, weights ${weight}`)
  }
})

t.test('an unknown host is tried by one request at a time', async (t) => {
  const all = hosts([1, 1])
  observe(all[0] as Host, 10, DECAY, 0)
  const { picker } = clusterWith(all, { loadBalancer: { kind: 'PEAK_EWMA', decayMs: DECAY } })
  t.strictSame(countsOf(picker, 2, 10), [0, 10])
  keepBusy(all[1] as Host, 1)
  keepBusy(all[0] as Host, 9)
  t.strictSame(countsOf(picker, 2, 10), [10, 0])
})

t.test('a slow host is tried again when it has not been heard for long', async (t) => {
  const all = hosts([1, 1])
  observe(all[0] as Host, 1000, DECAY, 0)
  const { picker } = clusterWith(all, { loadBalancer: { kind: 'PEAK_EWMA', decayMs: DECAY } })
  for (const [now, picked] of [
    [0, 1],
    [40_000, 1],
    // 1000 × e^-5 = 6.7.
    [50_000, 0],
  ] as const) {
    observe(all[1] as Host, 10, DECAY, now)
    t.equal(countsOf(picker, 2, 10, 1, now)[picked], 10, `after ${now} ms`)
  }
})
