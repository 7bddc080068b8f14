// Routes without what two sources of the same ones say otherwise.
import type { Route, RouteAction, RouteTable } from '../../../../lib/state/route.ts'

/*
 * What is otherwise, everywhere, and means the same:
 * - origins: istiod names objects, not lines, and says nothing of routes that nobody wrote;
 * - the words for a condition (`field`), which are guessed from what was sent;
 * - the weight of a single destination; names of clusters of a waypoint;
 * - whether attempts are counted: YAML has no word for it, so that its routes do it by their direction, as istiod writes it out;
 * - a prefix `/`, which istiod also writes where no path was asked for;
 * - the order of domains, which nobody looks at: what is compared is the routes of each.
 */
export function plainRoute({ origin: _, match, action, ...rest }: Route, table: string): unknown {
  const { path } = match
  const headers = match.headers.map(({ field: __, ...header }) => header)
  const query = match.query.map(({ field: __, ...parameter }) => parameter)
  const isAny = path?.kind === 'prefix' && path.value === '/'
  return { ...rest, match: { path: isAny ? null : path, headers, query }, action: plainAction(action, /^[Ii]nbound/.test(table)) }
}

function plainAction(action: RouteAction, inbound: boolean): unknown {
  if (action.kind !== 'forward') return action
  const { clusters, totalWeight, timeoutOrigin: _, retry, ...rest } = action
  const weighted = clusters.map((c) => ({ ...c, cluster: sidecarName(c.cluster), weight: clusters.length === 1 ? 1 : c.weight }))
  return {
    ...rest,
    clusters: weighted,
    totalWeight: clusters.length === 1 ? 1 : totalWeight,
    retry: plainRetry(retry),
    countsAttempts: action.countsAttempts ?? !inbound,
  }
}

/** Clusters of a waypoint are named as those of a sidecar here. */
function sidecarName(cluster: string): string {
  return cluster.replace(/^inbound-vip\|(\d+)\|http(?:\/([^|]*))?\|/, 'outbound|$1|$2|')
}

/** What is sent again only if nothing of it was written needs no leave to be unsafe. */
function plainRetry(retry: (RouteAction & { kind: 'forward' })['retry']): unknown {
  if (retry === null) return null
  const { origin: _, ...rest } = retry
  return { ...rest, on: retry.on.toSorted(), unsafe: retry.on.join() === 'reset-before-request' ? '' : retry.unsafe }
}

export function plainTable({ name, port, virtualHosts }: RouteTable): unknown {
  const hosts = virtualHosts.map((v) => ({
    name: v.name,
    domains: v.domains.toSorted(),
    routes: v.routes.map((r) => plainRoute(r, name)),
  }))
  return { name, port, hosts }
}
