// What the workers know of the configuration, and how they are told what differs. They are told in one order, each from the beginning (`everything`) or
// from what was pushed last, so that who applies all of it has the last snapshot.
import type { ClusterRows } from '../cluster/shared-hosts.ts'
import type { VirtualHost } from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { ClusterUpdate, ConfigChanges, Place, VirtualHostPlace } from './config-changes.ts'
import { type ListChanges, listChanges } from './list-changes.ts'
import { NounStore, type Packed } from './noun-store.ts'
import { type ClusterChange, EMPTY_SNAPSHOT, snapshotChanges, type TableChange } from './snapshot-changes.ts'

/** A cluster is its last whole form and so many changes of its endpoints, as long as they are smaller; then it is made whole again. */
const MAX_CHAIN = 8

export class ConfigFeed {
  readonly #store: NounStore
  /** Where the endpoints of a cluster are counted; null: nowhere yet. */
  readonly #rowsOf: (cluster: string) => ClusterRows | null
  #told: Snapshot
  /** By name: the whole, then what changed. */
  readonly #clusters: Map<string, readonly Packed[]>
  /** By table. */
  readonly #virtualHosts: Map<string, Map<VirtualHost, Packed>>

  /** The workers do not know the arenas of what they know. */
  #restored: boolean

  constructor(rowsOf: (cluster: string) => ClusterRows | null) {
    this.#store = new NounStore()
    this.#rowsOf = rowsOf
    this.#told = EMPTY_SNAPSHOT
    this.#restored = false
    this.#clusters = new Map()
    this.#virtualHosts = new Map()
  }

  /** What was pushed last. */
  get told(): Snapshot {
    return this.#told
  }

  /** Bytes of what is kept for the workers, by kind; `arenas` is all of it, with what is not in use. */
  get bytes(): { readonly clusters: number; readonly virtualHosts: number; readonly arenas: number } {
    return {
      clusters: sizeOf([...this.#clusters.values()].flat()),
      virtualHosts: sizeOf([...this.#virtualHosts.values()].flatMap((table) => [...table.values()])),
      arenas: this.#store.bytes,
    }
  }

  /** Rows of all clusters that are in it have been assigned. Throws where something cannot be packed; then what was pushed before holds. */
  push(snapshot: Snapshot): ConfigChanges {
    try {
      return this.#push(snapshot)
    } catch (error) {
      this.#restore()
      throw error
    }
  }

  #push(snapshot: Snapshot): ConfigChanges {
    const changes = snapshotChanges(this.#told, snapshot)
    const clusters = changes.clusters.map((change) => this.#putCluster(change))
    for (const name of changes.gone) this.#dropCluster(name)
    const tables = changes.tables.map((change) => ({ ...change, virtualHosts: this.#putVirtualHosts(change) }))
    this.#dropVirtualHosts(snapshot, changes.tables)
    const moved = this.#compact(snapshot)
    const { added, dropped } = this.#store.finish()
    const arenas = this.#restored ? this.#store.arenas : added === null ? [] : [added]
    this.#told = snapshot
    this.#restored = false
    return {
      version: snapshot.version,
      arenas,
      dropped,
      listeners: changes.listeners,
      tables,
      tableNames: changes.tableNames,
      defaultPorts: changes.defaultPorts,
      clusters,
      gone: changes.gone,
      ...moved,
      world: changes.world,
    }
  }

  /** Packs anew what the workers know: a push has failed half-way. */
  #restore(): void {
    this.#store.clear()
    this.#clusters.clear()
    this.#virtualHosts.clear()
    for (const cluster of this.#told.clusters) this.#clusters.set(cluster.name, [this.#store.put(cluster)])
    for (const { name, virtualHosts } of this.#told.routeTables) for (const v of virtualHosts) this.#placeOf(name, v)
    this.#store.finish()
    this.#restored = true
  }

  /** For a worker that knows nothing. */
  everything(): ConfigChanges {
    const { version, listeners, routeTables, defaultPorts, clusters, world } = this.#told
    return {
      version,
      arenas: this.#store.arenas,
      dropped: [],
      listeners: listChanges([], listeners),
      tables: routeTables.map(({ virtualHosts, ...config }) => ({
        config,
        virtualHosts: listChanges(
          [],
          virtualHosts.map((v) => this.#placeOf(config.name, v)),
        ),
      })),
      tableNames: listChanges(
        [],
        routeTables.map((t) => t.name),
      ),
      defaultPorts,
      clusters: clusters.map(({ name }) => this.#update(name, null)),
      gone: [],
      movedClusters: [],
      movedVirtualHosts: [],
      world,
    }
  }

  #update(name: string, change: Packed | null): ClusterUpdate {
    const chain = this.#clusters.get(name) as readonly Packed[]
    return { name, chain: chain.map(place), change: change === null ? null : place(change), rows: this.#rowsOf(name) }
  }

  #putCluster({ cluster, endpoints }: ClusterChange): ClusterUpdate {
    const { name } = cluster
    const chain = this.#clusters.get(name)
    if (chain === undefined || endpoints === null) {
      this.#dropCluster(name)
      this.#clusters.set(name, [this.#store.put(cluster)])
      return this.#update(name, null)
    }
    const change = this.#store.put(endpoints)
    const [whole, ...before] = chain as readonly [Packed, ...Packed[]]
    if (before.length < MAX_CHAIN && sizeOf([...before, change]) <= whole.size) this.#clusters.set(name, [...chain, change])
    else {
      this.#dropCluster(name)
      this.#clusters.set(name, [this.#store.put(cluster)])
      this.#store.drop(change)
    }
    return this.#update(name, change)
  }

  #dropCluster(name: string): void {
    for (const packed of this.#clusters.get(name) ?? []) this.#store.drop(packed)
    this.#clusters.delete(name)
  }

  #putVirtualHosts({ config, virtualHosts }: TableChange): ListChanges<VirtualHostPlace> | null {
    if (virtualHosts === null) return null
    return { runs: virtualHosts.runs, items: virtualHosts.items.map((v) => this.#placeOf(config.name, v)) }
  }

  #placeOf(table: string, virtualHost: VirtualHost): VirtualHostPlace {
    const known = this.#virtualHosts.get(table) ?? new Map<VirtualHost, Packed>()
    this.#virtualHosts.set(table, known)
    const packed = known.get(virtualHost) ?? this.#store.put(virtualHost)
    known.set(virtualHost, packed)
    return { name: virtualHost.name, domains: virtualHost.domains, place: place(packed) }
  }

  /** What tables that changed or are gone had, and have no more. */
  #dropVirtualHosts(after: Snapshot, changed: readonly TableChange[]): void {
    const tables = new Map(after.routeTables.map((t) => [t.name, t]))
    const gone = [...this.#virtualHosts.keys()].filter((name) => !tables.has(name))
    for (const name of [...changed.map((t) => t.config.name), ...gone]) {
      const kept = new Set(tables.get(name)?.virtualHosts)
      const known = this.#virtualHosts.get(name)
      for (const [virtualHost, packed] of known ?? []) {
        if (kept.has(virtualHost)) continue
        this.#store.drop(packed)
        known?.delete(virtualHost)
      }
      if (kept.size === 0) this.#virtualHosts.delete(name)
    }
  }

  /** Nouns of arenas that are mostly waste are put anew. Seldom: what is moved was outweighed by what has changed since. */
  #compact(snapshot: Snapshot): Pick<ConfigChanges, 'movedClusters' | 'movedVirtualHosts'> {
    const sparse = this.#store.sparse()
    if (sparse.size === 0) return { movedClusters: [], movedVirtualHosts: [] }
    const inSparse = ({ arena }: Packed): boolean => sparse.has(arena)
    const movedClusters = snapshot.clusters
      .filter(({ name }) => (this.#clusters.get(name) as readonly Packed[]).some(inSparse))
      .map((cluster) => {
        this.#dropCluster(cluster.name)
        this.#clusters.set(cluster.name, [this.#store.put(cluster)])
        return this.#update(cluster.name, null)
      })
    const movedVirtualHosts = snapshot.routeTables.flatMap(({ name: table, virtualHosts }) =>
      [...virtualHosts.entries()].flatMap(([at, virtualHost]) => {
        const known = this.#virtualHosts.get(table) as Map<VirtualHost, Packed>
        const packed = known.get(virtualHost) as Packed
        if (!inSparse(packed)) return []
        this.#store.drop(packed)
        known.delete(virtualHost)
        return [{ table, at, place: this.#placeOf(table, virtualHost).place }]
      }),
    )
    return { movedClusters, movedVirtualHosts }
  }
}

function place({ arena, at }: Packed): Place {
  return [arena, at]
}

function sizeOf(all: Iterable<Packed>): number {
  let sum = 0
  for (const { size } of all) sum += size
  return sum
}
