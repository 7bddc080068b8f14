// Pick of an endpoint, for each policy and each layer above it.
import { BalancedCluster } from '../../../lib/cluster/lb/balanced-cluster.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import type { LoadBalancerPolicy, LocalityWeight } from '../../../lib/state/cluster.ts'
import { aCluster, anEndpoint } from '../../../test/support/nouns.ts'
import { type Bench, keep } from '../contract.ts'

const ZONES = ['a', 'b', 'c']

interface Shape {
  /** 1 unless said. */
  readonly weightOf?: (i: number) => number
  /** Every third host is of priority 1, and half of priority 0 is not available. */
  readonly priorities?: boolean
  /** Three, weighted 50, 30 and 20. */
  readonly localities?: boolean
  /** All hosts are young. */
  readonly warming?: boolean
}

const NOW = 1_000_000

function cluster(n: number, loadBalancer: LoadBalancerPolicy, shape: Shape): BalancedCluster {
  const hosts = Array.from({ length: n }, (_, i) => {
    const host = new Host(
      i,
      anEndpoint({
        address: `10.0.${i >> 8}.${i & 255}`,
        port: 80,
        weight: shape.weightOf?.(i) ?? 1,
        locality: { region: 'r', zone: ZONES[i % 3] as string, subzone: '' },
        priority: shape.priorities === true && i % 3 === 2 ? 1 : 0,
      }),
    )
    host.available = !(shape.priorities === true && i % 3 === 1)
    host.availableSinceMs = shape.warming === true ? NOW - 1000 : 0
    // PEAK_EWMA: each has answered a moment ago.
    host.latencyMs = 1 + (i % 5)
    host.latencyAtMs = NOW - 10
    return host
  })
  const localityWeights: LocalityWeight[] = [50, 30, 20].map((weight, i) => {
    return { locality: { region: 'r', zone: ZONES[i] as string, subzone: '' }, priority: 0, weight }
  })
  const config = aCluster({
    loadBalancer,
    slowStart: shape.warming === true ? { windowMs: 60_000, minimumPercent: 10, aggression: 1 } : null,
    localityWeights: shape.localities === true ? localityWeights : null,
    panicThreshold: 0,
  })
  const made = new BalancedCluster(0, config)
  made.update(config, hosts, NOW)
  return made
}

function bench(name: string, n: number, loadBalancer: LoadBalancerPolicy, shape: Shape): Bench {
  const of = cluster(n, loadBalancer, shape)
  const ctx = new PickContext()
  ctx.nowMs = NOW
  return {
    name: `cluster/pick: ${name}, ${n}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        ctx.draw = (Math.imul(ctx.draw, 1_664_525) + 1_013_904_223) >>> 0
        ctx.draw2 = (Math.imul(ctx.draw2, 1_664_525) + 1_013_904_223) >>> 0
        keep(of.picker.pick(ctx))
      }
    },
  }
}

const unequal = { weightOf: (i: number): number => 1 + (i % 7) }

const ROWS: readonly (readonly [string, LoadBalancerPolicy, Shape])[] = [
  ['ROUND_ROBIN', { kind: 'ROUND_ROBIN' }, {}],
  ['ROUND_ROBIN, unequal weights', { kind: 'ROUND_ROBIN' }, unequal],
  ['ROUND_ROBIN, warming up', { kind: 'ROUND_ROBIN' }, { warming: true }],
  ['LEAST_REQUEST', { kind: 'LEAST_REQUEST' }, {}],
  ['LEAST_REQUEST, unequal weights', { kind: 'LEAST_REQUEST' }, unequal],
  ['RANDOM', { kind: 'RANDOM' }, {}],
  ['PEAK_EWMA', { kind: 'PEAK_EWMA', decayMs: 10_000 }, {}],
  ['LEAST_REQUEST, two priorities', { kind: 'LEAST_REQUEST' }, { priorities: true }],
  ['LEAST_REQUEST, three localities', { kind: 'LEAST_REQUEST' }, { localities: true }],
]

export const benches: readonly Bench[] = ROWS.flatMap(([name, policy, shape]) =>
  [10, 100, 1000].map((n) => bench(name, n, policy, shape)),
)
