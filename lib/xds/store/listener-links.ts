// What listeners say of clusters: one that keeps its clients' addresses (TPROXY) wants its clusters to speak with them. Nouns that come out the same stay the same
// objects. What listeners say of each other is in translate/combine-listeners.ts.
import type { Cluster } from '../../state/cluster.ts'
import type { TranslatedListener } from '../translate/listener.ts'

export class ListenerLinks {
  readonly #clusters: Map<Cluster, { readonly mark: number; readonly linked: Cluster }>
  /** What was asked last, and the answer. */
  #last: { readonly clusters: readonly Cluster[]; readonly mark: number; readonly linked: readonly Cluster[] } | null

  constructor() {
    this.#clusters = new Map()
    this.#last = null
  }

  clusters(clusters: readonly Cluster[], active: readonly TranslatedListener[]): readonly Cluster[] {
    const original = active.find((l) => l.originalSrc !== null && l.listener?.direction === 'inbound')?.originalSrc ?? null
    if (original === null) {
      this.#clusters.clear()
      this.#last = null
      return clusters
    }
    const { mark } = original
    if (this.#last?.clusters === clusters && this.#last.mark === mark) return this.#last.linked
    forget(this.#clusters, clusters)
    const linked = clusters.map((cluster) => (isApplication(cluster.name) ? this.#linked(cluster, mark) : cluster))
    this.#last = { clusters, mark, linked }
    return linked
  }

  #linked(cluster: Cluster, mark: number): Cluster {
    const known = this.#clusters.get(cluster)
    if (known?.mark === mark) return known.linked
    const linked = { ...cluster, bind: { source4: '', source6: '', clientSource: true, mark } }
    this.#clusters.set(cluster, { mark, linked })
    return linked
  }
}

function isApplication(name: string): boolean {
  return name.startsWith('inbound|') || name === 'InboundPassthroughCluster'
}

function forget<T>(known: Map<T, unknown>, but: readonly T[]): void {
  if (known.size === 0) return
  const kept = new Set(but)
  for (const key of known.keys()) if (!kept.has(key)) known.delete(key)
}
