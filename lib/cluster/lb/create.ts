import type { LoadBalancerPolicy, SlowStart } from '../../state/cluster.ts'
import { LeastRequest } from './least-request.ts'
import { Maglev } from './maglev.ts'
import { type DialledHosts, NO_DIALLED_HOSTS, Passthrough } from './passthrough.ts'
import { PeakEwma } from './peak-ewma.ts'
import type { Balancer } from './picker.ts'
import { Random } from './random.ts'
import { RingHash } from './ring-hash.ts'
import { RoundRobin } from './round-robin.ts'

/** A balancer for a policy. A new kind of policy fails to compile here until it has one. */
export function createBalancer(
  policy: LoadBalancerPolicy,
  slowStart: SlowStart | null = null,
  dialled: DialledHosts = NO_DIALLED_HOSTS,
): Balancer {
  switch (policy.kind) {
    case 'ROUND_ROBIN':
      return new RoundRobin(slowStart)
    case 'LEAST_REQUEST':
      return new LeastRequest(slowStart)
    case 'RANDOM':
      return new Random()
    case 'PASSTHROUGH':
      return new Passthrough(dialled)
    case 'PEAK_EWMA':
      return new PeakEwma(policy.decayMs)
    case 'RING_HASH':
      return new RingHash(policy.minimumRingSize, policy.maximumRingSize)
    case 'MAGLEV':
      return new Maglev(policy.tableSize)
    default:
      return unreachable(policy)
  }
}

function unreachable(kind: never): never {
  throw new Error(`no balancer for ${String(kind)}`)
}
