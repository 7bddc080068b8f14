import fc from 'fast-check'
import t from 'tap'
import { type Level, loadsWithout, priorityLoads } from '../../../../lib/cluster/lb/priority-load.ts'
import { at, clusterWith, countsOf, grouped, percents, zoneWeight } from '../../../suite/balancer.ts'

const RANDOM = { kind: 'RANDOM' } as const
const LEAST_REQUEST = { kind: 'LEAST_REQUEST' } as const

/** Levels of a hundred hosts. */
const levels = (...healthy: number[]): Level[] => healthy.map((n) => ({ healthy: n, total: 100 }))

t.test('load by priority, panic threshold 50 (Envoy priority levels, their worked examples)', async (t) => {
  const rows: [healthy: number[], loads: number[], panic: boolean[]][] = [
    [
      [100, 100, 100],
      [100, 0, 0],
      [false, false, false],
    ],
    [
      [72, 72, 100],
      [100, 0, 0],
      [false, false, false],
    ],
    [
      [71, 71, 100],
      [99, 1, 0],
      [false, false, false],
    ],
    [
      [50, 60, 100],
      [70, 30, 0],
      [false, false, false],
    ],
    [
      [25, 100, 100],
      [35, 65, 0],
      [false, false, false],
    ],
    [
      [25, 25, 100],
      [35, 35, 30],
      [false, false, false],
    ],
    // All of them too sick: by number of hosts.
    [
      [25, 25],
      [50, 50],
      [true, true],
    ],
    // 7 and 91 of 98, the rest of the division to the first.
    [
      [5, 65],
      [8, 92],
      [true, false],
    ],
    [
      [0, 0],
      [50, 50],
      [true, true],
    ],
  ]
  for (const [healthy, loads, panic] of rows) {
    const found = priorityLoads(levels(...healthy), 50)
    t.strictSame(found.loads, loads, `${healthy}`)
    t.strictSame(found.panic, panic, `${healthy}: panic`)
  }
})

t.test('without a panic threshold nothing panics, and the first priority of nobody gets everything', async (t) => {
  t.strictSame(priorityLoads(levels(0, 0), 0), { health: [0, 0], panic: [false, false], loads: [100, 0] })
  t.strictSame(priorityLoads(levels(1, 0), 0).loads, [100, 0])
  const all = grouped([{ healthy: 0, total: 3 }])
  t.equal(clusterWith(all, { loadBalancer: RANDOM, panicThreshold: 0 }).picker.pick(at(0)), null)
})

t.test('sentence 34: with failover, 7 of 10 local hosts healthy still keeps 98 % locally', async (t) => {
  const rows: [healthy: number, loads: number[]][] = [
    [10, [100, 0]],
    [8, [100, 0]],
    [7, [98, 2]],
    [5, [70, 30]],
    [0, [0, 100]],
  ]
  for (const [healthy, loads] of rows) {
    const all = grouped([
      { priority: 0, healthy, total: 10 },
      { priority: 1, healthy: 10, total: 10 },
    ])
    t.strictSame(percents(clusterWith(all, { loadBalancer: LEAST_REQUEST, panicThreshold: 0 }), 2), loads, `${healthy} of 10`)
  }
})

t.test('sentence 35: LEAST_REQUEST draws two random hosts with replacement', async (t) => {
  const all = grouped([{ healthy: 4, total: 4 }])
  const { picker } = clusterWith(all, { loadBalancer: LEAST_REQUEST })
  const busy = all[3]
  for (let i = 0; i < 50; i++) busy?.add(0)
  // The busiest is taken when both draws name it: once in sixteen.
  let found = 0
  for (let a = 0; a < 16; a++) for (let b = 0; b < 16; b++) if (picker.pick(at(a * 2 ** 28, b * 2 ** 28)) === busy) found++
  t.equal(found, 16)
})

t.test('loads follow the formulae, whatever the hosts', async () => {
  const level = fc.nat(30).chain((total) => fc.record({ total: fc.constant(total), healthy: fc.nat(total) }))
  fc.assert(
    fc.property(fc.array(level, { minLength: 1, maxLength: 5 }), fc.integer({ min: 0, max: 100 }), (all, threshold) => {
      const { health, panic, loads } = priorityLoads(all, threshold)
      const capacity = (i: number) => (all[i]?.total ? Math.min(100, (140 * (all[i]?.healthy ?? 0)) / all[i].total) : 0)
      const sum = health.reduce((a, b) => a + b, 0)
      const first = all.findIndex((_, i) => (health[i] as number) > 0)
      return (
        loads.reduce((a, b) => a + b, 0) === 100 &&
        health.every((h, i) => h === Math.floor(capacity(i))) &&
        // Whoever panics has less than the threshold, and nobody does while there is enough for all.
        panic.every((p, i) => {
          const percent = all[i]?.total ? (100 * all[i].healthy) / all[i].total : 0
          return p === (sum < 100 && percent < threshold)
        }) &&
        (panic.every((p) => p) ||
          sum === 0 ||
          // Enough for all: each takes what it can of what is left. Not enough: in proportion, but for whole percents.
          loads.every((load, i) => {
            const before = loads.slice(0, i).reduce((a, b) => a + b, 0)
            const due = sum >= 100 ? Math.min(100 - before, health[i] as number) : ((health[i] as number) * 100) / sum
            return i === first ? load >= Math.floor(due) && load < due + all.length : Math.abs(load - due) < 1
          }))
      )
    }),
  )
})

t.test('a hundred draws give each priority its percents', async () => {
  const level = fc.integer({ min: 1, max: 12 }).chain((total) => fc.record({ total: fc.constant(total), healthy: fc.nat(total) }))
  fc.assert(
    fc.property(fc.array(level, { minLength: 2, maxLength: 4 }), (all) => {
      const made = clusterWith(grouped(all.map((l, priority) => ({ priority, ...l }))), {
        loadBalancer: RANDOM,
        panicThreshold: 0,
      })
      if (all.every((l) => l.healthy === 0)) return made.picker.pick(at(0)) === null
      return String(percents(made, all.length)) === String(priorityLoads(all, 0).loads)
    }),
    { numRuns: 50 },
  )
})

t.test('retries avoid priorities: the load goes to the others, and to all when nothing else is left', async (t) => {
  t.strictSame(loadsWithout([100, 100, 100], 0b001), [0, 100, 0])
  t.strictSame(loadsWithout([70, 50, 100], 0b001), [0, 50, 50])
  t.strictSame(loadsWithout([70, 20, 0], 0b001), [0, 100, 0])
  t.equal(loadsWithout([70, 20, 0], 0b011), null)
  const all = grouped([
    { priority: 0, healthy: 2, total: 2 },
    { priority: 1, healthy: 2, total: 2 },
  ])
  const made = clusterWith(all, { loadBalancer: RANDOM })
  t.strictSame(percents(made, 2, 0b01), [0, 100])
  t.strictSame(percents(made, 2, 0b11), [100, 0])
  const ctx = Object.assign(at(0), { avoidPriorities: 0b11 })
  made.picker.pick(ctx)
  t.equal(ctx.avoidPriorities, 0, 'who asked is told')
})

t.test('localities get their weights, less what their unhealthy hosts cannot take', async (t) => {
  // 70 and 30; with 5 of 10 healthy, a counts 70 × 0.7 = 49.
  const rows: [healthyA: number, part: number][] = [
    [10, 0.7],
    [8, 0.7],
    [5, 49 / 79],
    [0, 0],
  ]
  const localityWeights = [zoneWeight('a', 70), zoneWeight('b', 30)]
  for (const [healthy, part] of rows) {
    const all = grouped([
      { zone: 'a', healthy, total: 10 },
      { zone: 'b', healthy: 10, total: 10 },
    ])
    const made = clusterWith(all, { loadBalancer: LEAST_REQUEST, localityWeights, panicThreshold: 0 })
    const found = countsOf(made.picker, 20, 10_000)
    const a = found.slice(0, 10).reduce((x, y) => x + y, 0)
    // Turns are spread evenly, so that shares are exact to a turn.
    t.ok(Math.abs(a - part * 10_000) <= 2, `${healthy} of 10 healthy: ${a} of 10000`)
  }
})

t.test('a locality of weight 0, or without an entry, gets nothing; when all are, localities do not count', async (t) => {
  const all = grouped([
    { zone: 'a', healthy: 2, total: 2 },
    { zone: 'b', healthy: 2, total: 2 },
    { zone: 'c', healthy: 2, total: 2 },
  ])
  const weights = [zoneWeight('a', 1), zoneWeight('b', 0)]
  const made = clusterWith(all, { loadBalancer: RANDOM, localityWeights: weights })
  t.strictSame(
    countsOf(made.picker, 6, 100).map((n) => n > 0),
    [true, true, false, false, false, false],
  )
  const none = clusterWith(all, { loadBalancer: RANDOM, localityWeights: [zoneWeight('a', 0)] })
  t.ok(countsOf(none.picker, 6, 500).every((n) => n > 0))
})

t.test('in panic localities do not count', async (t) => {
  const all = grouped([
    { zone: 'a', healthy: 1, total: 3 },
    { zone: 'b', healthy: 0, total: 1 },
  ])
  const localityWeights = [zoneWeight('a', 1), zoneWeight('b', 99)]
  const made = clusterWith(all, { loadBalancer: RANDOM, localityWeights, panicThreshold: 50 })
  for (const n of countsOf(made.picker, 4, 4000)) t.ok(n > 850 && n < 1150, `${n} of 4000 among four`)
})

t.test('one group costs nothing: the picker is the policy’s own, of available hosts', async (t) => {
  const made = clusterWith(grouped([{ healthy: 2, total: 3 }]), { loadBalancer: RANDOM })
  t.equal(made.layers, null)
  t.equal(made.picker.constructor.name, 'RandomPicker')
})

t.test('a hash chooses the priority, always the same; retries do not move it', async (t) => {
  const all = grouped([
    { priority: 0, healthy: 1, total: 2 },
    { priority: 1, healthy: 1, total: 1 },
  ])
  const made = clusterWith(all, {
    loadBalancer: { kind: 'RING_HASH', minimumRingSize: 16, maximumRingSize: 1024 },
    panicThreshold: 0,
  })
  const found = [0, 0]
  for (let low = 0; low < 100; low++) {
    const ctx = Object.assign(at(4_000_000_000), { hashed: true, hashHigh: 0, hashLow: low, avoidPriorities: 1 })
    const priority = made.picker.pick(ctx)?.endpoint.priority as number
    found[priority] = (found[priority] as number) + 1
    // 2³² is 96 more than a multiple of 100.
    const same = Object.assign(at(0), { hashed: true, hashHigh: 1, hashLow: (low + 4) % 100 })
    t.equal(made.picker.pick(same)?.endpoint.priority, priority)
  }
  t.strictSame(found, [70, 30])
})

t.test(
  'with a hash, localities are parts of one table: their weights count, how many of their hosts are well does not',
  async (t) => {
    const all = grouped([
      { zone: 'a', healthy: 1, total: 2 },
      { zone: 'b', healthy: 3, total: 3 },
      { zone: 'c', healthy: 1, total: 1 },
    ])
    const made = clusterWith(all, {
      loadBalancer: { kind: 'MAGLEV', tableSize: 4099 },
      localityWeights: [zoneWeight('a', 70), zoneWeight('b', 30), zoneWeight('c', 0)],
      panicThreshold: 0,
    })
    const found = [0, 0, 0, 0, 0, 0]
    for (let low = 0; low < 4099; low++) {
      const host = made.picker.pick(Object.assign(at(0), { hashed: true, hashHigh: 0, hashLow: low }))
      if (host !== null) found[host.id] = (found[host.id] as number) + 1
    }
    // Each slot of the table once: Maglev fills it to a slot or so of the weights.
    for (const [i, part] of [0.7, 0, 0.1, 0.1, 0.1, 0].entries())
      t.ok(Math.abs((found[i] as number) - 4099 * part) < 20, `host ${i}: ${found[i]} of 4099`)
  },
)
