// What listeners say of others: names that tunnels of one listener may ask for belong to the listener that takes what comes out of them, and a listener that keeps
// its clients' addresses (TPROXY) wants its clusters to speak with them. Nouns that come out the same stay the same objects.
import type { Cluster } from '../../state/cluster.ts'
import type { FilterChain, Listener } from '../../state/listener.ts'
import type { TranslatedListener } from '../translate/listener.ts'

export class ListenerLinks {
  readonly #listeners: Map<Listener, { readonly names: string; readonly linked: Listener }>
  readonly #clusters: Map<Cluster, { readonly mark: number; readonly linked: Cluster }>

  constructor() {
    this.#listeners = new Map()
    this.#clusters = new Map()
  }

  /** Those that have one: plumbing of Envoy's that heddle does without is left out. */
  listeners(active: readonly TranslatedListener[]): Listener[] {
    const nouns = active.flatMap(({ listener }) => (listener === null ? [] : [listener]))
    forget(this.#listeners, nouns)
    const authorities = new Map(active.map((l) => [l.name, l.authorities]))
    return nouns.map((listener) => {
      const [chain] = listener.filterChains
      if (chain === undefined || chain.network.kind !== 'tunnel') return listener
      const names = authorities.get(chain.network.to) ?? []
      if (names.length === 0) return listener
      const text = JSON.stringify(names)
      const known = this.#listeners.get(listener)
      if (known?.names === text) return known.linked
      const named: FilterChain = { ...chain, network: { ...chain.network, names } }
      const linked = { ...listener, filterChains: [named] }
      this.#listeners.set(listener, { names: text, linked })
      return linked
    })
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
