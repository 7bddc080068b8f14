// Builds what requests are routed by from a snapshot's plain tables. `find`, `match` and `defaultPort` are hot lane: they
// run for each request, look up in maps and allocate nothing for an authority in lower case.
import { sameValue } from '../base/same-value.ts'
import type { BalancedCluster } from '../cluster/lb/balanced-cluster.ts'
import { type ClusterDirectory, FixedClusters } from '../cluster/lb/cluster-ref.ts'
import type { Route, RouteTable, VirtualHost } from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { CompiledRoute, FITS, type MatchFacts } from './compiled-route.ts'
import { DomainIndex, type DomainMatch } from './domain-index.ts'
import { PathIndex } from './path-index.ts'
import type { RequestView } from './request-view.ts'

/** Hears of the routes that were tried in vain. decide/steps.ts implements it. */
export interface TriedRoutes {
  /**
   * A route's path fitted and condition `condition` (numbered as in `CompiledRoute.failedCondition`) did not. Routes whose
   * path does not fit are not told, since most of them are never looked at: each route before the chosen one of which
   * nothing was heard failed on its path.
   */
  tried(route: number, condition: number): void
}

/** A virtual host as configuration has it, in whatever form it is kept. */
export interface VirtualHostSource {
  /** Made anew by each call. Without its routes where they are in pieces. */
  load(): VirtualHost
  /** Absent: its routes are in it. */
  readonly pieces?: readonly RoutePiece[]
  /** What of it has been compiled already, in a configuration before; given up by it. */
  takeCompiled?(): CompiledPieces | null
}

/** Some of the routes of a virtual host, side by side. */
export interface RoutePiece {
  /** Of what is the same in another configuration. */
  readonly key: number
  readonly count: number
  load(): readonly Route[]
}

/** Routes that are ready, and what they were made of. */
export interface CompiledPieces {
  readonly pieces: readonly RoutePiece[]
  readonly routes: readonly CompiledRoute[]
  readonly paths: PathIndex | null
}

const NO_ROUTES: readonly CompiledRoute[] = []

/** Its routes are fetched and compiled when the first request comes to it. */
export class CompiledVirtualHost {
  readonly name: string
  readonly domains: readonly string[]
  /** A request has come to it, or to what it was in a configuration before. */
  used: boolean
  private source: VirtualHostSource
  private readonly clusters: ClusterDirectory
  /** Null until somebody asks. */
  private loaded: VirtualHost | null
  private compiled: readonly CompiledRoute[]
  private paths: PathIndex | null

  constructor(name: string, domains: readonly string[], source: VirtualHostSource, clusters: ClusterDirectory) {
    this.name = name
    this.domains = domains
    this.used = false
    this.source = source
    this.clusters = clusters
    this.loaded = null
    this.compiled = NO_ROUTES
    this.paths = null
  }

  /** It is the same as before, kept elsewhere. */
  moveTo(source: VirtualHostSource): void {
    this.source = source
  }

  get config(): VirtualHost {
    const config = this.loaded ?? this.load()
    return this.source.pieces === undefined ? config : { ...config, routes: this.compiled.map((r) => r.config) }
  }

  /** For the virtual host that takes its place: what of it need not be compiled again. Null: nothing. */
  takeCompiled(): CompiledPieces | null {
    const { pieces } = this.source
    if (this.loaded === null || pieces === undefined) return this.source.takeCompiled?.() ?? null
    return { pieces, routes: this.compiled, paths: this.paths }
  }

  get routes(): readonly CompiledRoute[] {
    if (this.loaded === null) this.load()
    return this.compiled
  }

  private load(): VirtualHost {
    const config = this.source.load()
    this.used = true
    const { pieces } = this.source
    const before = pieces === undefined ? null : (this.source.takeCompiled?.() ?? null)
    this.compiled =
      pieces === undefined ? config.routes.map((r, i) => new CompiledRoute(r, i, this.clusters)) : this.routesOf(pieces, before)
    const sameIndex = before !== null && haveSamePaths(before.routes, this.compiled)
    this.paths = sameIndex ? before.paths : PathIndex.build(this.compiled.map((r) => r.path))
    this.loaded = config
    return config
  }

  private routesOf(pieces: readonly RoutePiece[], before: CompiledPieces | null): readonly CompiledRoute[] {
    const places = before === null ? null : placesOf(before.pieces)
    const routes: CompiledRoute[] = []
    for (const piece of pieces) {
      const at = places?.get(piece.key)
      const known = at === undefined ? null : (before as CompiledPieces).routes.slice(at, at + piece.count)
      if (known !== null && at === routes.length) routes.push(...known)
      else {
        const configs = known === null ? piece.load() : known.map((r) => r.config)
        for (const config of configs) routes.push(new CompiledRoute(config, routes.length, this.clusters))
      }
    }
    return routes
  }

  /** The first route whose whole predicate holds. */
  match(view: RequestView, facts: MatchFacts, tried: TriedRoutes): CompiledRoute | null {
    if (this.loaded === null) this.load()
    return this.paths === null
      ? this.matchAll(view, facts, tried)
      : this.matchSome(this.paths.candidates(view.path), view, facts, tried)
  }

  private matchAll(view: RequestView, facts: MatchFacts, tried: TriedRoutes): CompiledRoute | null {
    const routes = this.compiled
    for (let i = 0; i < routes.length; i++) {
      const route = routes[i] as CompiledRoute
      const failed = route.failedCondition(view, facts)
      if (failed === FITS) return route
      if (failed > 0) tried.tried(i, failed)
    }
    return null
  }

  private matchSome(candidates: Int32Array, view: RequestView, facts: MatchFacts, tried: TriedRoutes): CompiledRoute | null {
    for (let i = 0; i < candidates.length; i++) {
      const at = candidates[i] as number
      const route = this.compiled[at] as CompiledRoute
      const failed = route.failedCondition(view, facts)
      if (failed === FITS) return route
      if (failed > 0) tried.tried(at, failed)
    }
    return null
  }
}

/** By key, where the routes of each piece begin. */
function placesOf(pieces: readonly RoutePiece[]): ReadonlyMap<number, number> {
  const places = new Map<number, number>()
  let at = 0
  for (const { key, count } of pieces) {
    places.set(key, at)
    at += count
  }
  return places
}

function haveSamePaths(some: readonly CompiledRoute[], others: readonly CompiledRoute[]): boolean {
  return (
    some.length === others.length &&
    some.every((route, i) => route === others[i] || sameValue(route.config.match.path, others[i]?.config.match.path))
  )
}

/** A table but for its virtual hosts. */
export type TableSettings = Omit<RouteTable, 'virtualHosts'>

export class CompiledTable {
  readonly config: TableSettings
  readonly name: string
  readonly port: number
  /** Position in its configuration. */
  readonly index: number
  readonly virtualHosts: readonly CompiledVirtualHost[]
  /** By position in `virtualHosts`, so that it need not be built anew where a virtual host is another one with the same domains. */
  private readonly domains: DomainIndex<number>

  /** `before`: what this table was, if it was there. */
  constructor(config: TableSettings, index: number, virtualHosts: readonly CompiledVirtualHost[], before: CompiledTable | null) {
    this.config = config
    this.name = config.name
    this.port = config.port
    this.index = index
    this.virtualHosts = virtualHosts
    this.domains =
      before !== null && sameDomains(before.virtualHosts, virtualHosts)
        ? before.domains
        : new DomainIndex(domainsOf(virtualHosts))
  }

  /**
   * Which of `virtualHosts` a host as `hostOf` returns it (a whole authority without `ignorePort`) belongs to, and how it was found; null when the table
   * has none.
   */
  find(host: string): DomainMatch<number> | null {
    return this.domains.find(host)
  }
}

function* domainsOf(virtualHosts: readonly CompiledVirtualHost[]): Iterable<readonly [string, number]> {
  for (const [at, { domains }] of virtualHosts.entries()) for (const domain of domains) yield [domain, at]
}

function sameDomains(a: readonly CompiledVirtualHost[], b: readonly CompiledVirtualHost[]): boolean {
  return a === b || (a.length === b.length && a.every((v, i) => sameTexts(v.domains, (b[i] as CompiledVirtualHost).domains)))
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((text, i) => text === b[i]))
}

/** Everything routing needs of one configuration. */
export class Tables {
  readonly version: number
  /** In the order of the configuration. */
  readonly list: readonly CompiledTable[]
  readonly tables: ReadonlyMap<string, CompiledTable>
  /** Outbound tables only: those that are named by their port. */
  readonly byPort: ReadonlyMap<number, CompiledTable>
  private readonly defaultPorts: DomainIndex<number>

  constructor(version: number, list: readonly CompiledTable[], defaultPorts: DomainIndex<number>) {
    this.version = version
    this.list = list
    this.tables = new Map(list.map((t) => [t.name, t]))
    this.byPort = new Map(list.filter((t) => t.name === String(t.port)).map((t) => [t.port, t]))
    this.defaultPorts = defaultPorts
  }

  /** The port of a host (as `hostOf` returns it) whose authority names none; 80 for one that is not known. */
  defaultPort(authorityHost: string): number {
    const found = this.defaultPorts.find(authorityHost)
    return found === null ? 80 : found.value
  }
}

/** A whole snapshot at once. A route to a cluster that `clusters` does not have answers "cluster not found". */
export function compileTables(snapshot: Snapshot, clusters: ReadonlyMap<string, BalancedCluster> | ClusterDirectory): Tables {
  const directory = clusters instanceof Map ? new FixedClusters(clusters) : (clusters as ClusterDirectory)
  const list = snapshot.routeTables.map(({ virtualHosts, ...config }, index) => {
    const compiled = virtualHosts.map((v) => new CompiledVirtualHost(v.name, v.domains, { load: () => v }, directory))
    return new CompiledTable(config, index, compiled, null)
  })
  return new Tables(snapshot.version, list, new DomainIndex(snapshot.defaultPorts))
}
