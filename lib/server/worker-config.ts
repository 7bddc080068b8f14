// The configuration as a worker holds it: clusters and virtual hosts packed, until a request needs them.
import { PackedReader } from '../base/packed-reader.ts'
import type { ClusterManager, ClusterSource } from '../cluster/cluster-manager.ts'
import {
  type CompiledPieces,
  CompiledTable,
  CompiledVirtualHost,
  type RoutePiece,
  Tables,
  type VirtualHostSource,
} from '../route/compile.ts'
import { DomainIndex } from '../route/domain-index.ts'
import type { Cluster } from '../state/cluster.ts'
import type { Listener } from '../state/listener.ts'
import type { Route, VirtualHost } from '../state/route.ts'
import { EMPTY_WORLD, type WorkloadWorld } from '../state/workload-world.ts'
import type { ClusterUpdate, ConfigChanges, Place, TableUpdate, VirtualHostPlace } from './config-changes.ts'
import { applyListChanges, missingPlaces } from './list-changes.ts'
import { type EndpointChange, withEndpoints } from './snapshot-changes.ts'

export class WorkerConfig {
  readonly #clusters: ClusterManager
  readonly #arenas: Map<number, PackedReader>
  listeners: readonly Listener[]
  world: WorkloadWorld
  tables: Tables
  #defaultPorts: DomainIndex<number>

  constructor(clusters: ClusterManager) {
    this.#clusters = clusters
    this.#arenas = new Map()
    this.listeners = []
    this.world = EMPTY_WORLD
    this.#defaultPorts = new DomainIndex<number>([])
    this.tables = new Tables(0, [], this.#defaultPorts)
  }

  /** `tables` is another afterwards; a request finishes on those that it began with. */
  apply(changes: ConfigChanges): void {
    for (const { id, bytes } of changes.arenas) this.#arenas.set(id, new PackedReader(bytes))
    for (const name of changes.gone) this.#clusters.remove(name)
    for (const update of changes.clusters) this.#putCluster(update)
    for (const { name, chain } of changes.movedClusters) this.#clusters.moveTo(name, this.#chain(chain))
    this.listeners = applyListChanges(this.listeners, changes.listeners)
    this.world = changes.world ?? this.world
    if (changes.defaultPorts !== null) this.#defaultPorts = new DomainIndex(changes.defaultPorts)
    this.tables = new Tables(changes.version, this.#newTables(changes), this.#defaultPorts)
    for (const moved of changes.movedVirtualHosts) {
      const virtualHost = this.tables.tables.get(moved.table)?.virtualHosts[moved.at]
      virtualHost?.moveTo(this.#virtualHost(moved, null))
    }
    for (const id of changes.dropped) this.#arenas.delete(id)
  }

  #putCluster({ name, chain, change, rows }: ClusterUpdate): void {
    const source = this.#chain(chain)
    if (change === null) this.#clusters.put(name, source, rows)
    else this.#clusters.change(name, source, rows, (before) => withEndpoints(before, this.#read(change) as EndpointChange))
  }

  #newTables({ tables, tableNames }: ConfigChanges): readonly CompiledTable[] {
    const before = this.tables
    if (tables.length === 0 && tableNames === null) return before.list
    const updates = new Map(tables.map((t) => [t.config.name, t]))
    const names = applyListChanges(
      before.list.map((t) => t.name),
      tableNames,
    )
    return names.map((name, index) => this.#table(index, before.tables.get(name) ?? null, updates.get(name)))
  }

  #table(index: number, before: CompiledTable | null, update: TableUpdate | undefined): CompiledTable {
    if (update === undefined) {
      const same = before as CompiledTable
      return same.index === index ? same : new CompiledTable(same.config, index, same.virtualHosts, same)
    }
    const { config, virtualHosts: changes } = update
    const old = before?.virtualHosts ?? []
    if (changes === null) return new CompiledTable(config, index, old, before)
    const left = missingPlaces(old.length, changes.runs).map((at) => old[at] as CompiledVirtualHost)
    const byName = new Map(left.map((v) => [v.name, v]))
    const items = changes.items.map((v) => this.#compile(v, byName.get(v.name) ?? null))
    const virtualHosts = applyListChanges(old, { runs: changes.runs, items })
    return new CompiledTable(config, index, virtualHosts, before)
  }

  #compile(of: VirtualHostPlace, before: CompiledVirtualHost | null): CompiledVirtualHost {
    const virtualHost = new CompiledVirtualHost(of.name, of.domains, this.#virtualHost(of, before), this.#clusters)
    virtualHost.used = before?.used ?? false
    return virtualHost
  }

  /** `before`: what it takes the place of; null: nothing. */
  #virtualHost(
    { place: [arena, at], pieces }: Pick<VirtualHostPlace, 'place' | 'pieces'>,
    before: CompiledVirtualHost | null,
  ): VirtualHostSource {
    const noun = new PackedNoun<VirtualHost>(this.#reader(arena), at)
    return pieces === null ? noun : new PiecedHost(noun, this.#pieces(pieces), before?.takeCompiled() ?? null)
  }

  #pieces(all: Float64Array): RoutePiece[] {
    const pieces: RoutePiece[] = []
    for (let i = 0; i < all.length; i += 3) {
      const arena = all[i] as number
      pieces.push(new PackedPiece(this.#reader(arena), arena, all[i + 1] as number, all[i + 2] as number))
    }
    return pieces
  }

  #chain([whole, ...changes]: readonly Place[]): ClusterSource {
    const [arena, at] = whole as Place
    const cluster = new PackedNoun<Cluster>(this.#reader(arena), at)
    if (changes.length === 0) return cluster
    return new ChangedCluster(
      cluster,
      changes.map(([id, offset]) => new PackedNoun<EndpointChange>(this.#reader(id), offset)),
    )
  }

  #read([arena, at]: Place): unknown {
    return this.#reader(arena).read(at)
  }

  #reader(arena: number): PackedReader {
    return this.#arenas.get(arena) as PackedReader
  }
}

class PackedNoun<T> {
  private readonly reader: PackedReader
  private readonly at: number

  constructor(reader: PackedReader, at: number) {
    this.reader = reader
    this.at = at
  }

  load(): T {
    return this.reader.read(this.at) as T
  }
}

/** Places within an arena are below. */
const ARENA_SCALE = 2 ** 32

class PackedPiece extends PackedNoun<readonly Route[]> implements RoutePiece {
  readonly key: number
  readonly count: number

  constructor(reader: PackedReader, arena: number, at: number, count: number) {
    super(reader, at)
    this.key = arena * ARENA_SCALE + at
    this.count = count
  }
}

class PiecedHost implements VirtualHostSource {
  readonly pieces: readonly RoutePiece[]
  private readonly host: PackedNoun<VirtualHost>
  private compiled: CompiledPieces | null

  constructor(host: PackedNoun<VirtualHost>, pieces: readonly RoutePiece[], compiled: CompiledPieces | null) {
    this.host = host
    this.pieces = pieces
    this.compiled = compiled
  }

  load(): VirtualHost {
    return this.host.load()
  }

  takeCompiled(): CompiledPieces | null {
    const { compiled } = this
    this.compiled = null
    return compiled
  }
}

class ChangedCluster implements ClusterSource {
  private readonly cluster: ClusterSource
  private readonly changes: readonly PackedNoun<EndpointChange>[]

  constructor(cluster: ClusterSource, changes: readonly PackedNoun<EndpointChange>[]) {
    this.cluster = cluster
    this.changes = changes
  }

  load(): Cluster {
    return this.changes.reduce((cluster, change) => withEndpoints(cluster, change.load()), this.cluster.load())
  }
}
