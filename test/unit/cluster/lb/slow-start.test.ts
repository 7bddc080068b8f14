import t from 'tap'
import type { Host } from '../../../../lib/cluster/lb/host.ts'
import { warmth } from '../../../../lib/cluster/lb/slow-start.ts'
import type { SlowStart } from '../../../../lib/state/cluster.ts'
import { clusterWith, countsOf, hosts } from '../../../suite/balancer.ts'

const MINUTE: SlowStart = { windowMs: 60_000, minimumPercent: 10, aggression: 1 }

t.test('share by age: max(minimum, (age / window)^(1 / aggression)) (Envoy slow start)', async (t) => {
  const rows: [over: Partial<SlowStart>, ageMs: number, share: number][] = [
    [{}, 0, 0.1],
    [{}, 3000, 0.1],
    [{}, 6000, 0.1],
    [{}, 30_000, 0.5],
    [{}, 59_400, 0.99],
    [{}, 60_000, 1],
    [{}, 600_000, 1],
    [{ minimumPercent: 0 }, 600, 0.01],
    [{ minimumPercent: 0 }, 0, 1 / 60_000],
    [{ aggression: 2 }, 15_000, 0.5],
    [{ aggression: 0.5 }, 30_000, 0.25],
  ]
  for (const [over, ageMs, share] of rows)
    t.ok(Math.abs(warmth({ ...MINUTE, ...over }, ageMs) - share) < 1e-9, `${JSON.stringify(over)} at ${ageMs} ms: ${share}`)
})

for (const kind of ['ROUND_ROBIN', 'LEAST_REQUEST'] as const) {
  t.test(`${kind}: the share of a new host grows to its full one during the window`, async (t) => {
    const all = hosts([1, 1, 1])
    for (const host of all) host.availableSinceMs = -1_000_000
    const young = all[2] as Host
    young.availableSinceMs = 100_000
    const made = clusterWith(all, { loadBalancer: { kind }, slowStart: MINUTE })
    for (const [ageMs, weight] of [
      [1000, 0.1],
      [30_000, 0.5],
      [54_000, 0.9],
    ] as const) {
      const now = 100_000 + ageMs
      made.refresh(now)
      t.equal(made.warmAtMs, 160_000)
      const found = countsOf(made.picker, 3, 2000, 1, now)[2] as number
      t.ok(Math.abs(found - (2000 * weight) / (2 + weight)) <= 2, `after ${ageMs} ms: ${found} of 2000`)
    }
    made.refresh(160_000)
    t.equal(made.warmAtMs, 0, 'nobody warms')
    t.not(made.picker.constructor.name, 'ScheduledPicker', 'and the picker is the cheap one again')
  })

  t.test(`${kind}: a weight counts on top of youth`, async (t) => {
    const all = hosts([1, 4])
    for (const host of all) host.availableSinceMs = -1_000_000
    ;(all[1] as Host).availableSinceMs = 0
    const made = clusterWith(all, { loadBalancer: { kind }, slowStart: MINUTE })
    made.refresh(30_000)
    const found = countsOf(made.picker, 2, 3000, 1, 30_000)
    // 1 against 4 × 0.5.
    t.ok(Math.abs((found[1] as number) - 2000) <= 2, `${found}`)
  })

  t.test(`${kind}: hosts that are all new have equal shares, and a single one has everything`, async (t) => {
    const made = clusterWith(hosts([1, 1]), { loadBalancer: { kind }, slowStart: MINUTE })
    t.strictSame(countsOf(made.picker, 2, 1000, 1, 1), [500, 500])
    t.strictSame(countsOf(clusterWith(hosts([1]), { loadBalancer: { kind }, slowStart: MINUTE }).picker, 1, 10), [10])
  })
}
