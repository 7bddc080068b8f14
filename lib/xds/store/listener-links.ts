// What listeners say of clusters: one that keeps its clients' addresses (TPROXY) wants its clusters to speak with them. Nouns that come out the same stay the same
// objects. What listeners say of each other is in translate/combine-listeners.ts.
import type { Cluster } from '../../state/cluster.ts'
import type { TranslatedListener } from '../translate/listener.ts'

export class ListenerLinks {
  readonly #clusters: Map<Cluster, { readonly mark: number; readonly linked: Cluster }>

  constructor() {
    this.#clusters = new Map()
  }

  clusters(clusters: readonly Cluster[], active: readonly TranslatedListener[]): readonly Cluster[] {
    const original = active.find((l) => l.originalSrc !== null && l.listener?.direction === 'inbound')?.originalSrc ?? null
    if (original === null) {
      this.#clusters.clear()
      return clusters
    }
    forget(this.#clusters, clusters)
    return clusters.map((cluster) => {
      if (!isApplication(cluster.name)) return cluster
      const known = this.#clusters.get(cluster)
      if (known?.mark === original.mark) return known.linked
      const bind = { source4: '', source6: '', clientSource: true, mark: original.mark }
      const linked = { ...cluster, bind }
      this.#clusters.set(cluster, { mark: original.mark, linked })
      return linked
    })
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
