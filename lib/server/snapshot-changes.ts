// What differs between two snapshots. A noun that is the same object in both has not changed: who makes snapshots keeps what stays. Pure.
import { sameValue } from '../base/same-value.ts'
import type { TableSettings } from '../route/compile.ts'
import type { Cluster, Endpoint } from '../state/cluster.ts'
import type { Listener } from '../state/listener.ts'
import type { RouteTable, VirtualHost } from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { WorkloadWorld } from '../state/workload-world.ts'
import { applyListChanges, type ListChanges, listChanges, nameChanges, namedChangesOf } from './list-changes.ts'

/** A list that is null has not changed. */
export interface SnapshotChanges {
  readonly version: number
  readonly listeners: ListChanges<Listener> | null
  readonly tables: readonly TableChange[]
  /** All there are now, in their order. */
  readonly tableNames: ListChanges<string> | null
  readonly defaultPorts: Snapshot['defaultPorts'] | null
  readonly clusters: readonly ClusterChange[]
  readonly gone: readonly string[]
  /** As `tableNames`. */
  readonly clusterNames: ListChanges<string> | null
  readonly world: WorkloadWorld | null
}

/** A table that is new or another. */
export interface TableChange {
  readonly config: TableSettings
  /** From those of the table of this name, if there was one, or else from none. Null: they are the same. */
  readonly virtualHosts: ListChanges<VirtualHost> | null
}

export interface ClusterChange {
  readonly cluster: Cluster
  /** Not null: nothing else has changed, in a cluster of this name. */
  readonly endpoints: EndpointChange | null
}

export interface EndpointChange {
  readonly endpoints: ListChanges<Endpoint> | null
  readonly localityWeights: Cluster['localityWeights']
}

export const EMPTY_SNAPSHOT: Snapshot = {
  version: 0,
  listeners: [],
  routeTables: [],
  defaultPorts: [],
  clusters: [],
  world: { workloads: [], services: [], policies: [] },
}

export function snapshotChanges(before: Snapshot, after: Snapshot): SnapshotChanges {
  const tableChanges = listChanges(before.routeTables, after.routeTables)
  const tables = namedChangesOf(before.routeTables, tableChanges)
  const clusterChanges = listChanges(before.clusters, after.clusters)
  const clusters = namedChangesOf(before.clusters, clusterChanges)
  return {
    version: after.version,
    listeners: listChanges(before.listeners, after.listeners),
    tables: tables.put.map(({ before: old, after: table }) => tableChange(old, table)),
    tableNames: nameChanges(before.routeTables, tableChanges),
    defaultPorts: sameValue(before.defaultPorts, after.defaultPorts) ? null : after.defaultPorts,
    clusters: clusters.put.flatMap(({ before: old, after: cluster }) => clusterChange(old, cluster)),
    gone: clusters.gone.map(nameOf),
    clusterNames: nameChanges(before.clusters, clusterChanges),
    world: before.world === after.world ? null : after.world,
  }
}

function tableChange(before: RouteTable | null, { virtualHosts, ...config }: RouteTable): TableChange {
  return { config, virtualHosts: listChanges(before?.virtualHosts ?? [], virtualHosts) }
}

/** Empty where another object says the same. */
function clusterChange(before: Cluster | null, cluster: Cluster): ClusterChange[] {
  if (before === null) return [{ cluster, endpoints: null }]
  const { endpoints: _a, localityWeights: _b, ...settings } = before
  const { endpoints: _c, localityWeights, ...newSettings } = cluster
  if (!sameValue(settings, newSettings)) return [{ cluster, endpoints: null }]
  const endpoints = listChanges(before.endpoints, cluster.endpoints, endpointKey)
  if (endpoints === null && sameValue(before.localityWeights, localityWeights)) return []
  return [{ cluster, endpoints: { endpoints, localityWeights } }]
}

function endpointKey({ address, port }: Endpoint): string {
  return `${address} ${port}`
}

export function applySnapshotChanges(before: Snapshot, changes: SnapshotChanges): Snapshot {
  const tables = new Map(before.routeTables.map((t) => [t.name, t]))
  for (const { config, virtualHosts } of changes.tables) {
    const { name } = config
    tables.set(name, { ...config, virtualHosts: applyListChanges(tables.get(name)?.virtualHosts ?? [], virtualHosts) })
  }
  const clusters = new Map(before.clusters.map((c) => [c.name, c]))
  for (const { cluster, endpoints } of changes.clusters) {
    const old = clusters.get(cluster.name)
    clusters.set(cluster.name, endpoints === null || old === undefined ? cluster : withEndpoints(old, endpoints))
  }
  return {
    version: changes.version,
    listeners: applyListChanges(before.listeners, changes.listeners),
    routeTables: pick(tables, applyListChanges(before.routeTables.map(nameOf), changes.tableNames)),
    defaultPorts: changes.defaultPorts ?? before.defaultPorts,
    clusters: pick(clusters, applyListChanges(before.clusters.map(nameOf), changes.clusterNames)),
    world: changes.world ?? before.world,
  }
}

export function withEndpoints(before: Cluster, { endpoints, localityWeights }: EndpointChange): Cluster {
  return { ...before, endpoints: applyListChanges(before.endpoints, endpoints), localityWeights }
}

function pick<T>(all: ReadonlyMap<string, T>, names: readonly string[]): T[] {
  return names.map((name) => all.get(name) as T)
}

function nameOf({ name }: { readonly name: string }): string {
  return name
}
