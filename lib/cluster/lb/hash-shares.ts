// Weights of hosts as consistent-hash balancers use them (Envoy ThreadAwareLoadBalancerBase, normalizeHostWeights). The order of the operations
// is Envoy's: a rounding done otherwise could move an entry of the ring to another host.
import type { Host } from './host.ts'

/** Parts of one, in the order of the hosts. */
export interface HashShares {
  readonly shares: Float64Array
  readonly min: number
  readonly max: number
}

/** `weights`: parts of one that somebody has worked out, which may come to less together; null: the hosts' own weights decide. */
export function hashShares(hosts: readonly Host[], weights: readonly number[] | null): HashShares {
  const shares = new Float64Array(hosts.length)
  let sum = 0
  for (const host of hosts) sum += host.weight
  let min = 1
  let max = 0
  for (let i = 0; i < hosts.length; i++) {
    const share = weights === null ? (hosts[i] as Host).weight / sum : (weights[i] as number)
    shares[i] = share
    min = Math.min(min, share)
    max = Math.max(max, share)
  }
  return { shares, min, max }
}

/** What a picker was made of. A configuration that changes something else must not cost a ring. */
export class HashInput {
  #hosts: readonly Host[]
  #weights: readonly number[]

  constructor() {
    this.#hosts = []
    this.#weights = []
  }

  /** Whether it is what was noted last; notes it. */
  same(hosts: readonly Host[], weights: readonly number[] | null): boolean {
    const now = weights ?? hosts.map((h) => h.weight)
    const same =
      hosts.length === this.#hosts.length &&
      hosts.every((h, i) => h === this.#hosts[i]) &&
      now.every((w, i) => w === this.#weights[i])
    this.#hosts = hosts
    this.#weights = now
    return same
  }
}
