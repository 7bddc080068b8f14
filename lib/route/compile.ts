// Builds what requests are routed by from a snapshot's plain tables. `find`, `match` and `defaultPort` are hot lane: they
// run for each request, look up in maps and allocate nothing for an authority in lower case.
import type { BalancedCluster } from '../cluster/lb/balanced-cluster.ts'
import type { RouteTable, VirtualHost } from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { CompiledRoute, FITS } from './compiled-route.ts'
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

export class CompiledVirtualHost {
  readonly config: VirtualHost
  /** Position in its table. */
  readonly index: number
  readonly routes: readonly CompiledRoute[]
  readonly #paths: PathIndex | null

  constructor(config: VirtualHost, index: number, clusters: ReadonlyMap<string, BalancedCluster>) {
    this.config = config
    this.index = index
    this.routes = config.routes.map((r, i) => new CompiledRoute(r, i, clusters))
    this.#paths = PathIndex.build(this.routes.map((r) => r.path))
  }

  /** The first route whose whole predicate holds. */
  match(view: RequestView, tried: TriedRoutes): CompiledRoute | null {
    return this.#paths === null ? this.#matchAll(view, tried) : this.#matchSome(this.#paths.candidates(view.path), view, tried)
  }

  #matchAll(view: RequestView, tried: TriedRoutes): CompiledRoute | null {
    const routes = this.routes
    for (let i = 0; i < routes.length; i++) {
      const route = routes[i] as CompiledRoute
      const failed = route.failedCondition(view)
      if (failed === FITS) return route
      if (failed > 0) tried.tried(i, failed)
    }
    return null
  }

  #matchSome(candidates: Int32Array, view: RequestView, tried: TriedRoutes): CompiledRoute | null {
    for (let i = 0; i < candidates.length; i++) {
      const at = candidates[i] as number
      const route = this.routes[at] as CompiledRoute
      const failed = route.failedCondition(view)
      if (failed === FITS) return route
      if (failed > 0) tried.tried(at, failed)
    }
    return null
  }
}

export class CompiledTable {
  readonly config: RouteTable
  readonly name: string
  readonly port: number
  /** Position in the snapshot. */
  readonly index: number
  readonly virtualHosts: readonly CompiledVirtualHost[]
  readonly #domains: DomainIndex<CompiledVirtualHost>

  constructor(config: RouteTable, index: number, clusters: ReadonlyMap<string, BalancedCluster>) {
    this.config = config
    this.name = config.name
    this.port = config.port
    this.index = index
    this.virtualHosts = config.virtualHosts.map((v, i) => new CompiledVirtualHost(v, i, clusters))
    this.#domains = new DomainIndex(this.virtualHosts.flatMap((v) => v.config.domains.map((d) => [d, v] as const)))
  }

  /** The virtual host for a host as `hostOf` returns it (a whole authority without `ignorePort`), and how it was found; null when the table has none. */
  find(host: string): DomainMatch<CompiledVirtualHost> | null {
    return this.#domains.find(host)
  }
}

/** Everything routing needs of one snapshot. */
export class Tables {
  readonly version: number
  readonly snapshot: Snapshot
  /** In the order of the snapshot. */
  readonly list: readonly CompiledTable[]
  readonly tables: ReadonlyMap<string, CompiledTable>
  /** Outbound tables only: those that are named by their port. */
  readonly byPort: ReadonlyMap<number, CompiledTable>
  readonly clusters: ReadonlyMap<string, BalancedCluster>
  readonly #defaultPorts: DomainIndex<number>

  constructor(snapshot: Snapshot, clusters: ReadonlyMap<string, BalancedCluster>) {
    this.version = snapshot.version
    this.snapshot = snapshot
    this.list = snapshot.routeTables.map((t, i) => new CompiledTable(t, i, clusters))
    this.tables = new Map(this.list.map((t) => [t.name, t]))
    this.byPort = new Map(this.list.filter((t) => t.name === String(t.port)).map((t) => [t.port, t]))
    this.clusters = clusters
    this.#defaultPorts = new DomainIndex(snapshot.defaultPorts)
  }

  /** The port of a host (as `hostOf` returns it) whose authority names none; 80 for one that is not known. */
  defaultPort(authorityHost: string): number {
    const found = this.#defaultPorts.find(authorityHost)
    return found === null ? 80 : found.value
  }
}

/**
 * `clusters` holds the live clusters of this worker by name. A route to one that is not in it answers "cluster not found"
 * until tables are compiled anew.
 */
export function compileTables(snapshot: Snapshot, clusters: ReadonlyMap<string, BalancedCluster>): Tables {
  return new Tables(snapshot, clusters)
}
