// A snapshot that was read anew, made of what the one before has wherever that says the same: what did not change is then the same object, and costs nobody
// anything (snapshot-changes.ts). Pure.
import { sameValue } from '../base/same-value.ts'
import type { Cluster } from '../state/cluster.ts'
import type { RouteTable } from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'

export function shareSnapshot(before: Snapshot, after: Snapshot): Snapshot {
  const routeTables = new Map(before.routeTables.map((t) => [t.name, t]))
  const clusters = new Map(before.clusters.map((c) => [c.name, c]))
  return {
    version: after.version,
    listeners: shareNamed(before.listeners, after.listeners),
    routeTables: shareList(
      before.routeTables,
      after.routeTables.map((t) => shareTable(routeTables.get(t.name), t)),
    ),
    defaultPorts: share(before.defaultPorts, after.defaultPorts),
    clusters: shareList(
      before.clusters,
      after.clusters.map((c) => shareCluster(clusters.get(c.name), c)),
    ),
    world: share(before.world, after.world),
  }
}

function share<T>(before: T | undefined, after: T): T {
  return before !== undefined && sameValue(before, after) ? before : after
}

/** The items are as they are to be. */
function shareList<T>(before: readonly T[], after: readonly T[]): readonly T[] {
  return before.length === after.length && after.every((item, i) => item === before[i]) ? before : after
}

function shareNamed<T extends { readonly name: string }>(before: readonly T[], after: readonly T[]): readonly T[] {
  const known = new Map(before.map((item) => [item.name, item]))
  return shareList(
    before,
    after.map((item) => share(known.get(item.name), item)),
  )
}

function shareTable(before: RouteTable | undefined, after: RouteTable): RouteTable {
  if (before === undefined) return after
  const shared = { ...after, virtualHosts: shareNamed(before.virtualHosts, after.virtualHosts) }
  return shared.virtualHosts === before.virtualHosts && sameValue(before, shared) ? before : shared
}

function shareCluster(before: Cluster | undefined, after: Cluster): Cluster {
  if (before === undefined || sameValue(before, after)) return before ?? after
  return { ...after, endpoints: share(before.endpoints, after.endpoints) }
}
