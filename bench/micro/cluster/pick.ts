// Pick of an endpoint, for each policy.
import { createBalancer } from '../../../lib/cluster/lb/create.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import { type Bench, keep } from '../contract.ts'

const unknown = { workload: '', namespace: '', app: '', version: '', canonicalService: '', canonicalRevision: '' }

function hosts(n: number, weightOf: (i: number) => number): readonly Host[] {
  return Array.from({ length: n }, (_, i) => {
    const locality = { region: '', zone: '', subzone: '' }
    return new Host(i, {
      address: `10.0.0.${i}`,
      port: 80,
      weight: weightOf(i),
      locality,
      priority: 0,
      workload: unknown,
      healthCheck: null,
      origin: BUILT_IN,
    })
  })
}

function bench(name: string, kind: 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM', of: readonly Host[]): Bench {
  const picker = createBalancer({ kind }).update(of, 0)
  const ctx = new PickContext()
  return {
    name: `cluster/pick: ${name}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        ctx.draw = (Math.imul(ctx.draw, 1_664_525) + 1_013_904_223) >>> 0
        ctx.draw2 = (Math.imul(ctx.draw2, 1_664_525) + 1_013_904_223) >>> 0
        keep(picker.pick(ctx))
      }
    },
  }
}

const equal = (): number => 1
const unequal = (i: number): number => 1 + (i % 7)

export const benches: readonly Bench[] = [
  bench('ROUND_ROBIN, 50 equal', 'ROUND_ROBIN', hosts(50, equal)),
  bench('ROUND_ROBIN, 50 unequal', 'ROUND_ROBIN', hosts(50, unequal)),
  bench('LEAST_REQUEST, 50 equal', 'LEAST_REQUEST', hosts(50, equal)),
  bench('LEAST_REQUEST, 50 unequal', 'LEAST_REQUEST', hosts(50, unequal)),
  bench('RANDOM, 50', 'RANDOM', hosts(50, equal)),
]
