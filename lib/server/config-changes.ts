// What a worker is told of the configuration: differences from what it was told before, from nothing when it begins. What is likely not to be needed is packed
// (base/packer.ts) in memory that all threads share.
import type { ClusterRows } from '../cluster/shared-hosts.ts'
import type { TableSettings } from '../route/compile.ts'
import type { Listener } from '../state/listener.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { WorkloadWorld } from '../state/workload-world.ts'
import type { ListChanges } from './list-changes.ts'
import type { Arena } from './noun-store.ts'

/** Id of an arena, and an offset. */
export type Place = readonly [arena: number, at: number]

/** A list that is null has not changed. */
export interface ConfigChanges {
  /** Of the snapshot that the worker has then. */
  readonly version: number
  /** New ones. */
  readonly arenas: readonly Arena[]
  /** Ids of those that nothing points to once all of this is applied. */
  readonly dropped: readonly number[]
  readonly listeners: ListChanges<Listener> | null
  readonly tables: readonly TableUpdate[]
  /** All there are now, in their order. */
  readonly tableNames: ListChanges<string> | null
  readonly defaultPorts: Snapshot['defaultPorts'] | null
  readonly clusters: readonly ClusterUpdate[]
  readonly gone: readonly string[]
  /** The same as before, kept elsewhere. */
  readonly movedClusters: readonly ClusterUpdate[]
  readonly movedVirtualHosts: readonly MovedHost[]
  readonly world: WorkloadWorld | null
}

export interface TableUpdate {
  readonly config: TableSettings
  readonly virtualHosts: ListChanges<VirtualHostPlace> | null
}

export interface VirtualHostPlace {
  readonly name: string
  readonly domains: readonly string[]
  /** A VirtualHost; without its routes where they are in pieces. */
  readonly place: Place
  /** Of each list of Route its arena, its place there and how many they are; null: they are in the virtual host. */
  readonly pieces: Float64Array | null
}

export interface MovedHost extends Pick<VirtualHostPlace, 'place' | 'pieces'> {
  readonly table: string
  /** Its position there. */
  readonly at: number
}

export interface ClusterUpdate {
  readonly name: string
  /** A Cluster, then each EndpointChange (snapshot-changes.ts) since. */
  readonly chain: readonly Place[]
  /** The EndpointChange that is new. Null: the whole cluster is. */
  readonly change: Place | null
  /** Where its endpoints are counted; null: nowhere until it is used. */
  readonly rows: ClusterRows | null
}
