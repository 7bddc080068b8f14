// Which clusters of a list are looked up. The list of a control plane has thousands, of which mostly one has changed: the others are not looked at again.
import type { Cluster } from '../state/cluster.ts'

export class DnsPlaces {
  #clusters: readonly Cluster[]
  #places: readonly number[]

  constructor() {
    this.#clusters = []
    this.#places = []
  }

  /** Positions of the clusters of type DNS, ascending. */
  of(clusters: readonly Cluster[]): readonly number[] {
    const before = this.#clusters
    this.#clusters = clusters
    if (before === clusters) return this.#places
    if (before.length !== clusters.length || hasOther(before, clusters))
      this.#places = clusters.flatMap((c, i) => (isDns(c) ? i : []))
    return this.#places
  }
}

/** Whether one of them is of type DNS at a place where there was another, or the other way round. */
function hasOther(before: readonly Cluster[], after: readonly Cluster[]): boolean {
  for (let i = 0; i < after.length; i++) {
    const was = before[i] as Cluster
    const is = after[i] as Cluster
    if (was !== is && isDns(was) !== isDns(is)) return true
  }
  return false
}

function isDns({ type }: Cluster): boolean {
  return type === 'DNS'
}
