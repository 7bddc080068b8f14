// Picks by a hash, and what a change of endpoints costs each worker.
import { createBalancer } from '../../../lib/cluster/lb/create.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { PickContext } from '../../../lib/cluster/lb/picker.ts'
import type { LoadBalancerPolicy } from '../../../lib/state/cluster.ts'
import { anEndpoint } from '../../../test/support/nouns.ts'
import { type Bench, keep } from '../contract.ts'

const RING: LoadBalancerPolicy = { kind: 'RING_HASH', minimumRingSize: 1024, maximumRingSize: 8_388_608 }
const MAGLEV: LoadBalancerPolicy = { kind: 'MAGLEV', tableSize: 65_537 }

function hosts(n: number): readonly Host[] {
  return Array.from({ length: n }, (_, i) => new Host(i, anEndpoint({ address: `10.0.${i >> 8}.${i & 255}`, port: 8080 })))
}

function pick(policy: LoadBalancerPolicy, n: number): Bench {
  const picker = createBalancer(policy).update(hosts(n), 0)
  const ctx = new PickContext()
  ctx.hashed = true
  return {
    name: `cluster/pick: ${policy.kind}, ${n}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) {
        ctx.hashHigh = (Math.imul(ctx.hashHigh, 1_664_525) + 1_013_904_223) >>> 0
        ctx.hashLow = (Math.imul(ctx.hashLow, 1_664_525) + 1_013_904_223) >>> 0
        keep(picker.pick(ctx))
      }
    },
  }
}

function build(policy: LoadBalancerPolicy, n: number): Bench {
  const all = hosts(n)
  return {
    name: `cluster/build: ${policy.kind}, ${n}`,
    fn: (iterations) => {
      for (let i = 0; i < iterations; i++) keep(createBalancer(policy).update(all, 0))
    },
  }
}

export const benches: readonly Bench[] = [RING, MAGLEV].flatMap((policy) => [
  ...[10, 100, 1000].map((n) => pick(policy, n)),
  ...[10, 100, 1000].map((n) => build(policy, n)),
])
