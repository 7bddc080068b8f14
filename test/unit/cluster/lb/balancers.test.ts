import fc from 'fast-check'
import t from 'tap'
import { BalancedCluster } from '../../../../lib/cluster/lb/balanced-cluster.ts'
import { createBalancer } from '../../../../lib/cluster/lb/create.ts'
import { Host } from '../../../../lib/cluster/lb/host.ts'
import { drawIndex } from '../../../../lib/cluster/lb/picker.ts'
import type { LoadBalancerPolicy } from '../../../../lib/state/cluster.ts'
import { at, balancerSuite, counts, Draws, hosts, keepBusy } from '../../../suite/balancer.ts'
import { cluster, endpoint } from '../../route/world.ts'

const POLICIES: readonly LoadBalancerPolicy[] = [
  { kind: 'ROUND_ROBIN' },
  { kind: 'LEAST_REQUEST' },
  { kind: 'RANDOM' },
  { kind: 'PEAK_EWMA', decayMs: 10_000 },
  { kind: 'RING_HASH', minimumRingSize: 2048, maximumRingSize: 8_388_608 },
  { kind: 'MAGLEV', tableSize: 4099 },
]
for (const policy of POLICIES) balancerSuite(t, policy.kind, policy)

/** The middle of the draws that stand for host `i` of `n`. */
const drawFor = (i: number, n: number) => Math.floor(((i + 0.5) / n) * 0x1_0000_0000)

t.test('a draw names an index', async (t) => {
  const rows: [draw: number, n: number, index: number][] = [
    [0, 3, 0],
    [0xffff_ffff, 3, 2],
    [0xffff_ffff, 1, 0],
    [0x8000_0000, 2, 1],
    [0x7fff_ffff, 2, 0],
  ]
  for (const [draw, n, index] of rows) t.equal(drawIndex(draw, n), index, `${draw} of ${n}`)
})

t.test('ROUND_ROBIN: in turn, starting where the first draw says', async (t) => {
  const picker = createBalancer({ kind: 'ROUND_ROBIN' }).update(hosts([1, 1, 1]), 0)
  const ids = [at(drawFor(2, 3)), at(0), at(0), at(0)].map((ctx) => picker.pick(ctx)?.id)
  t.strictSame(ids, [2, 0, 1, 2])
})

t.test('ROUND_ROBIN: unequal weights give exact shares, spread evenly', async (t) => {
  const picker = createBalancer({ kind: 'ROUND_ROBIN' }).update(hosts([3, 1]), 0)
  const ids = Array.from({ length: 8 }, () => picker.pick(at(0))?.id)
  t.equal(ids.filter((id) => id === 0).length, 6)
  t.equal(ids.filter((id) => id === 1).length, 2)
  t.notMatch(ids.join(''), /00000/, 'three, or four where two turns meet')
})

t.test('ROUND_ROBIN: shares converge on the weights', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }), fc.nat(), (weights, seed) => {
      const sum = weights.reduce((a, b) => a + b, 0)
      const found = counts(createBalancer({ kind: 'ROUND_ROBIN' }), hosts(weights), sum * 20, seed)
      // A host is never more than two turns away from its share: one for the schedule, one for where it started.
      return weights.every((w, i) => Math.abs((found[i] as number) - w * 20) <= 2)
    }),
  )
})

t.test('LEAST_REQUEST: the less busy of two, the first drawn on a tie', async (t) => {
  const all = hosts([1, 1, 1])
  const picker = createBalancer({ kind: 'LEAST_REQUEST' }).update(all, 0)
  const active = (...n: number[]) => {
    for (const [i, h] of all.entries()) keepBusy(h, n[i] as number)
  }
  const rows: [busy: [number, number, number], first: number, second: number, id: number][] = [
    [[0, 0, 0], 0, 1, 0],
    [[0, 0, 0], 1, 0, 1],
    [[5, 1, 0], 0, 1, 1],
    [[1, 5, 0], 0, 1, 0],
    [[9, 0, 0], 0, 0, 0],
    [[2, 2, 0], 1, 0, 1],
  ]
  for (const [busy, first, second, id] of rows) {
    active(...busy)
    t.equal(picker.pick(at(drawFor(first, 3), drawFor(second, 3)))?.id, id, `${busy} ${first} ${second}`)
  }
})

t.test('LEAST_REQUEST: unequal weights, idle hosts: shares as weights', async (t) => {
  t.strictSame(
    counts(createBalancer({ kind: 'LEAST_REQUEST' }), hosts([3, 1]), 400).map((n) => Math.round(n / 100)),
    [3, 1],
  )
})

t.test('LEAST_REQUEST: unequal weights, a busy host gets weight / (active + 1)', async (t) => {
  const all = hosts([2, 1])
  keepBusy(all[0] as Host, 3)
  // 2 / 4 against 1 / 1.
  const [busy, idle] = counts(createBalancer({ kind: 'LEAST_REQUEST' }), all, 300)
  t.ok(Math.abs((busy as number) - 100) <= 2, `${busy} to the busy one`)
  t.ok(Math.abs((idle as number) - 200) <= 2, `${idle} to the idle one`)
})

t.test('RANDOM: uniform, weights ignored', async (t) => {
  const [heavy] = counts(createBalancer({ kind: 'RANDOM' }), hosts([100, 1]), 4000)
  t.ok((heavy as number) > 1850 && (heavy as number) < 2150, `${heavy} of 4000`)
})

t.test('PASSTHROUGH: the address that was dialled, or nothing', async (t) => {
  const host = new Host(1, endpoint('10.0.0.1', 80))
  const picker = createBalancer({ kind: 'PASSTHROUGH' }, null, (address) => (address === host.address ? host : null)).update(
    [],
    0,
  )
  const ctx = new Draws(1)
  t.equal(picker.pick(ctx), null)
  ctx.originalDst = '10.0.0.1:80'
  t.equal(picker.pick(ctx), host)
})

t.test('addresses of hosts', async (t) => {
  t.equal(new Host(0, endpoint('10.0.0.1', 80)).address, '10.0.0.1:80')
  t.equal(new Host(0, endpoint('::1', 80)).address, '[::1]:80')
  t.equal(new Host(0, endpoint('10.0.0.1', 80, 0)).weight, 1)
})

t.test('a cluster publishes a new picker for new hosts, health and policy', async (t) => {
  const made = new BalancedCluster(3, cluster('c', 'RANDOM'))
  t.equal(made.picker.pick(new Draws(1)), null)
  const all = hosts([1, 1])
  made.update(cluster('c', 'RANDOM'), all, 0)
  t.equal(made.picker.pick(at(0))?.id, 0)
  ;(all[0] as Host).available = false
  made.refresh(0)
  t.equal(made.picker.pick(at(0))?.id, 1)
  made.update(cluster('c', 'PASSTHROUGH'), [], 0)
  t.equal(made.picker.pick(at(0)), null)
  t.equal(made.config.loadBalancer.kind, 'PASSTHROUGH')
})
