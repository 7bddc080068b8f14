// Which clusters that are yet to come somebody leads to. What is in force does so already, and need not be looked at.
import type { RouteTable } from '../../state/route.ts'
import type { TranslatedListener } from '../translate/listener.ts'
import { clustersOf } from '../translate/route-configuration.ts'

/** `inForce`: the table of that name; null: none. */
export function comingOfTable(table: RouteTable, inForce: RouteTable | null, coming: ReadonlySet<string>): string[] {
  if (coming.size === 0) return []
  return clustersOf(table, inForce === null ? [] : [inForce]).filter((cluster) => coming.has(cluster))
}

/** By itself: those of routes that come by themselves are their tables'. As `the cluster outbound|80||a`. `inForce`: the listener of that name; null: none. */
export function comingOfListener(
  { listener, inlineTables }: TranslatedListener,
  inForce: TranslatedListener | null,
  coming: ReadonlySet<string>,
): string[] {
  if (coming.size === 0) return []
  const chains =
    listener === null ? [] : [...listener.filterChains, ...(listener.defaultFilterChain ? [listener.defaultFilterChain] : [])]
  const dialled = chains.flatMap(({ network }) => (network.kind === 'tcp' ? network.clusters.map((c) => c.cluster) : []))
  const named = new Set([...inlineTables.flatMap((table) => clustersOf(table, inForce?.inlineTables ?? [])), ...dialled])
  return [...named].filter((cluster) => coming.has(cluster)).map((cluster) => `the cluster ${cluster}`)
}
