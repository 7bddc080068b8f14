// TPROXY: the listener filter original_src has the application dialled from the address of its client, with a mark by which packets find their way back. heddle
// has both in clusters.
import type { Cluster } from '../../state/cluster.ts'
import type { TranslatedListener } from './listener.ts'

/** The clusters that listeners with original_src lead to; those that are not among them stay the objects that they are. */
export function withOriginalSource(cluster: Cluster, listeners: readonly TranslatedListener[]): Cluster {
  const { bind } = cluster
  if (bind === null) return cluster
  const of = listeners.find((l) => l.originalSrc !== null && leadsTo(l, cluster.name))
  if (of === undefined || of.originalSrc === null || (bind.clientSource && bind.mark === of.originalSrc.mark)) return cluster
  return { ...cluster, bind: { ...bind, clientSource: true, mark: of.originalSrc.mark } }
}

function leadsTo({ listener, inlineTables }: TranslatedListener, cluster: string): boolean {
  const bytes = (listener?.filterChains ?? []).some(
    ({ network }) => network.kind === 'tcp' && network.clusters.some((c) => c.cluster === cluster),
  )
  if (bytes) return true
  return inlineTables.some((table) =>
    table.virtualHosts.some((host) =>
      host.routes.some(({ action }) => action.kind === 'forward' && action.clusters.some((c) => c.cluster === cluster)),
    ),
  )
}
