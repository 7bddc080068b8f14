// Which clusters a listener leads to by itself: those of routes that come by themselves are their tables'.
import type { TranslatedListener } from '../translate/listener.ts'
import { clustersOf } from '../translate/route-configuration.ts'

/** Those that are yet to come, `the cluster outbound|80||a`. */
export function clustersComing({ listener, inlineTables }: TranslatedListener, coming: ReadonlySet<string>): string[] {
  const chains =
    listener === null ? [] : [...listener.filterChains, ...(listener.defaultFilterChain ? [listener.defaultFilterChain] : [])]
  const dialled = chains.flatMap(({ network }) => (network.kind === 'tcp' ? network.clusters.map((c) => c.cluster) : []))
  const named = new Set([...inlineTables.flatMap((table) => clustersOf(table)), ...dialled])
  return [...named].filter((cluster) => coming.has(cluster)).map((cluster) => `the cluster ${cluster}`)
}
