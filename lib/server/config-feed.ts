// What the workers know of the configuration, and how they are told what differs. They are told in one order, each from the beginning (`everything`) or
// from what was pushed last, so that who applies all of it has the last snapshot.
import type { ClusterRows } from '../cluster/shared-hosts.ts'
import type { Cluster } from '../state/cluster.ts'
import type { RouteTable, VirtualHost } from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { UnloadableHost } from '../state/unloadable-host.ts'
import { ArenaOwners } from './arena-owners.ts'
import type { ClusterUpdate, ConfigChanges, MovedHost, Place, VirtualHostPlace } from './config-changes.ts'
import { applyListChanges, type ListChanges, listChanges, missingPlaces } from './list-changes.ts'
import { NounStore, type Packed } from './noun-store.ts'
import { dropHost, hostBytes, type KnownHost, movedHost, type PackedHost, putHost } from './packed-hosts.ts'
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
  /** By table, in its order. */
  readonly #hosts: Map<string, readonly PackedHost[]>
  readonly #owners: ArenaOwners
  /** What was packed since the last arena was filled. */
  #filled: (readonly [host: VirtualHost, packed: PackedHost])[]
  /** The workers do not know the arenas of what they know. */
  #restored: boolean

  constructor(rowsOf: (cluster: string) => ClusterRows | null) {
    this.#store = new NounStore()
    this.#rowsOf = rowsOf
    this.#told = EMPTY_SNAPSHOT
    this.#restored = false
    this.#clusters = new Map()
    this.#hosts = new Map()
    this.#owners = new ArenaOwners()
    this.#filled = []
  }

  /** What was pushed last. */
  get told(): Snapshot {
    return this.#told
  }

  /** Bytes of what is kept for the workers, by kind; `arenas` is all of it, with what is not in use. */
  get bytes(): { readonly clusters: number; readonly virtualHosts: number; readonly arenas: number } {
    return {
      clusters: sizeOf([...this.#clusters.values()].flat()),
      virtualHosts: [...this.#hosts.values()].flat().reduce((sum, host) => sum + hostBytes(host), 0),
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
    const before = new Map(this.#told.routeTables.map((t) => [t.name, t]))
    const tables = changes.tables.map((change) => ({
      ...change,
      virtualHosts: this.#putVirtualHosts(change, before.get(change.config.name)),
    }))
    if (changes.tableNames !== null) this.#dropTables(snapshot)
    const moved = this.#compact(snapshot)
    const { added, dropped } = this.#store.finish()
    this.#unload()
    this.#owners.forget(dropped)
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
    this.#hosts.clear()
    this.#owners.clear()
    this.#filled = []
    for (const cluster of this.#told.clusters) this.#putWhole(cluster)
    for (const { name: table, virtualHosts } of this.#told.routeTables)
      this.#hosts.set(
        table,
        virtualHosts.map((host) => this.#putHost(table, host, null)),
      )
    this.#store.finish()
    this.#unload()
    this.#restored = true
  }

  /** Objects that few ask for are not kept beside what was packed. Those of a large virtual host are: by them the next change of it finds the pieces that stay. */
  #unload(): void {
    for (const [host, packed] of this.#filled) if (host instanceof UnloadableHost && packed.pieces === null) host.unload(packed)
    this.#filled = []
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
          virtualHosts.map((host, i) => hostPlace(host, this.#hosts.get(config.name)?.[i] as PackedHost)),
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
    if (chain === undefined || endpoints === null) return this.#putWhole(cluster)
    const change = this.#store.put(endpoints)
    this.#owners.note(change.arena.id, null, name)
    const [whole, ...before] = chain as readonly [Packed, ...Packed[]]
    if (before.length < MAX_CHAIN && sizeOf([...before, change]) <= whole.size) this.#clusters.set(name, [...chain, change])
    else {
      this.#putWhole(cluster)
      this.#store.drop(change)
    }
    return this.#update(name, change)
  }

  #putWhole(cluster: Cluster): ClusterUpdate {
    const { name } = cluster
    this.#dropCluster(name)
    const packed = this.#store.put(cluster)
    this.#clusters.set(name, [packed])
    this.#owners.note(packed.arena.id, null, name)
    return this.#update(name, null)
  }

  #dropCluster(name: string): void {
    for (const packed of this.#clusters.get(name) ?? []) this.#store.drop(packed)
    this.#clusters.delete(name)
  }

  /** `before`: of the same name. */
  #putVirtualHosts({ config, virtualHosts }: TableChange, before: RouteTable | undefined): ListChanges<VirtualHostPlace> | null {
    if (virtualHosts === null) return null
    const { name: table } = config
    const { runs } = virtualHosts
    const hosts = before?.virtualHosts ?? []
    const old = this.#hosts.get(table) ?? []
    const left = missingPlaces(hosts.length, runs)
    const byName = new Map(left.map((at) => [(hosts[at] as VirtualHost).name, at]))
    const items = virtualHosts.items.map((host) => {
      const at = byName.get(host.name)
      const was = at === undefined ? null : { host: hosts[at] as VirtualHost, packed: old[at] as PackedHost }
      return this.#putHost(table, host, was)
    })
    this.#dropHosts(
      left.map((at) => old[at] as PackedHost),
      items,
    )
    this.#hosts.set(table, applyListChanges(old, { runs, items }))
    return { runs, items: virtualHosts.items.map((host, i) => hostPlace(host, items[i] as PackedHost)) }
  }

  #putHost(table: string, host: VirtualHost, before: KnownHost | null): PackedHost {
    const packed = putHost(this.#store, host, before)
    this.#owners.note(packed.arena.id, table, host.name)
    this.#filled.push([host, packed])
    return packed
  }

  #dropHosts(hosts: readonly PackedHost[], instead: readonly PackedHost[]): void {
    const kept = new Set<Packed>(instead.flatMap((host) => [host, ...(host.pieces ?? [])]))
    for (const host of hosts) dropHost(this.#store, host, kept)
  }

  #dropTables(after: Snapshot): void {
    const names = new Set(after.routeTables.map((t) => t.name))
    for (const [name, hosts] of this.#hosts) {
      if (names.has(name)) continue
      this.#dropHosts(hosts, [])
      this.#hosts.delete(name)
    }
  }

  /** Nouns of arenas that are mostly waste are put anew. Seldom: what is moved was outweighed by what has changed since. */
  #compact(snapshot: Snapshot): Pick<ConfigChanges, 'movedClusters' | 'movedVirtualHosts'> {
    const sparse = this.#store.sparse()
    if (sparse.size === 0) return { movedClusters: [], movedVirtualHosts: [] }
    const owners = this.#owners.of(sparse)
    const isLeft = ({ arena }: Packed): boolean => sparse.has(arena.id)
    const movedClusters = [...(owners?.clusters ?? this.#clusters.keys())].flatMap((name) => this.#moveCluster(name, isLeft))
    const tables = owners === null ? snapshot.routeTables : snapshot.routeTables.filter((t) => owners.hosts.has(t.name))
    const movedVirtualHosts = tables.flatMap((table) => this.#moveHosts(table, owners?.hosts.get(table.name) ?? null, isLeft))
    return { movedClusters, movedVirtualHosts }
  }

  #moveCluster(name: string, isLeft: (of: Packed) => boolean): ClusterUpdate[] {
    const chain = this.#clusters.get(name)
    if (chain === undefined || !chain.some(isLeft)) return []
    this.#clusters.set(
      name,
      chain.map((packed) => (isLeft(packed) ? this.#store.move(packed) : packed)),
    )
    this.#owners.note(this.#store.filling, null, name)
    return [this.#update(name, null)]
  }

  /** `names`: those that may have something to be moved; null: all may. */
  #moveHosts(
    { name: table, virtualHosts }: RouteTable,
    names: ReadonlySet<string> | null,
    isLeft: (of: Packed) => boolean,
  ): MovedHost[] {
    const packed = [...(this.#hosts.get(table) ?? [])]
    const moved: MovedHost[] = []
    for (const [at, host] of virtualHosts.entries()) {
      if (names !== null && !names.has(host.name)) continue
      const old = packed[at] as PackedHost
      const next = movedHost(this.#store, old, isLeft)
      if (next === old) continue
      this.#owners.note(this.#store.filling, table, host.name)
      this.#filled.push([host, next])
      packed[at] = next
      moved.push({ table, at, ...hostPlace(host, next) })
    }
    if (moved.length > 0) this.#hosts.set(table, packed)
    return moved
  }
}

function place({ arena, at }: Packed): Place {
  return [arena.id, at]
}

function hostPlace({ name, domains }: VirtualHost, packed: PackedHost): VirtualHostPlace {
  const pieces = packed.pieces === null ? null : Float64Array.from(packed.pieces.flatMap((p) => [p.arena.id, p.at, p.count]))
  return { name, domains, place: place(packed), pieces }
}

function sizeOf(all: Iterable<Packed>): number {
  let sum = 0
  for (const { size } of all) sum += size
  return sum
}
