// Small worlds for tables of routing tests: everything that a row does not name has its default.
import { BalancedCluster } from '../../../lib/cluster/lb/balanced-cluster.ts'
import { Host } from '../../../lib/cluster/lb/host.ts'
import { compileTables, type Tables, type TriedRoutes } from '../../../lib/route/compile.ts'
import type { EditableHeaders, RequestView } from '../../../lib/route/request-view.ts'
import type { Cluster, Endpoint } from '../../../lib/state/cluster.ts'
import type { Origin } from '../../../lib/state/origin.ts'
import {
  ANY_REQUEST,
  type ForwardAction,
  type HeaderMatch,
  type PathMatch,
  type QueryMatch,
  type Route,
  type RouteAction,
  type RouteMatch,
  type RouteTable,
  type StringMatch,
  type VirtualHost,
  type WeightedCluster,
} from '../../../lib/state/route.ts'
import type { Snapshot } from '../../../lib/state/snapshot.ts'
import {
  aCluster,
  aDestination,
  aForward,
  anEndpoint,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../../support/nouns.ts'

/** An ordered list of headers, as the codec keeps them. Names are lower case. */
export class HeaderList implements EditableHeaders {
  readonly entries: [string, string][]

  constructor(entries: readonly (readonly [string, string])[] = []) {
    this.entries = entries.map(([n, v]) => [n, v])
  }

  get(name: string): string | null {
    return this.entries.find(([n]) => n.toLowerCase() === name)?.[1] ?? null
  }

  indexOf(name: string, from: number): number {
    return this.entries.findIndex(([n], i) => i >= from && n.toLowerCase() === name)
  }

  valueAt(index: number): string {
    return (this.entries[index] as [string, string])[1]
  }

  remove(name: string): void {
    this.entries.splice(0, this.entries.length, ...this.entries.filter(([n]) => n.toLowerCase() !== name.toLowerCase()))
  }

  set(name: string, value: string): void {
    this.remove(name)
    this.add(name, value)
  }

  add(name: string, value: string): void {
    this.entries.push([name, value])
  }
}

export function view(
  target: string,
  over: { method?: string; scheme?: string; authority?: string; headers?: readonly (readonly [string, string])[] } = {},
): RequestView {
  const mark = target.indexOf('?')
  return {
    method: over.method ?? 'GET',
    path: mark < 0 ? target : target.slice(0, mark),
    query: mark < 0 ? null : target.slice(mark + 1),
    scheme: over.scheme ?? 'http',
    authority: over.authority ?? 'a',
    headers: new HeaderList(over.headers ?? []),
    metadata: null,
  }
}

export function origin(name: string, line = 1, kind = 'VirtualService'): Origin {
  return { kind, namespace: 'default', name, file: 'mesh.yaml', line, column: 3 }
}

export function str(kind: StringMatch['kind'], value = '', ignoreCase = false): StringMatch {
  return { kind, value, ignoreCase }
}

export function path(kind: PathMatch['kind'], value: string, ignoreCase = false): Partial<RouteMatch> {
  return { path: { kind, value, ignoreCase } }
}

export function header(name: string, match: StringMatch): HeaderMatch {
  return { name, field: `headers[${name}]`, match, invert: false, missingIsEmpty: false }
}

export function without(name: string, match: StringMatch): HeaderMatch {
  const missingIsEmpty = match.kind !== 'present'
  return { name, field: `withoutHeaders[${name}]`, match, invert: true, missingIsEmpty }
}

export function query(name: string, match: StringMatch): QueryMatch {
  return { name, field: `queryParams[${name}]`, match }
}

export function weighted(cluster: string, weight = 1): WeightedCluster {
  return aDestination(cluster, weight)
}

/** To cluster `a` unless it says otherwise. */
export function forward(over: Partial<ForwardAction> = {}): ForwardAction {
  return aForward({ clusters: [weighted('a')], ...over })
}

export function route(name: string, match: Partial<RouteMatch> = {}, action: RouteAction = forward()): Route {
  return aRoute({ name, origin: origin('vs'), match: { ...ANY_REQUEST, ...match }, action })
}

export function virtualHost(name: string, domains: readonly string[], routes: readonly Route[] = [route('all')]): VirtualHost {
  return aVirtualHost({ name, domains, routes, origin: origin(name) })
}

export function table(port: number, virtualHosts: readonly VirtualHost[], name = String(port)): RouteTable {
  return aRouteTable({ name, port, virtualHosts })
}

export function endpoint(address: string, port = 9080, weight = 1): Endpoint {
  return anEndpoint({ address, port, weight, origin: origin('slice', 9, 'EndpointSlice') })
}

export function cluster(
  name: string,
  kind: 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM' | 'PASSTHROUGH' = 'ROUND_ROBIN',
  endpoints: readonly Endpoint[] = [],
): Cluster {
  return aCluster({
    name,
    type: kind === 'PASSTHROUGH' ? 'ORIGINAL_DST' : 'STATIC',
    endpoints,
    loadBalancer: { kind },
    origin: origin(name, 5, 'Service'),
  })
}

export function balanced(config: Cluster, id = 0): BalancedCluster {
  const made = new BalancedCluster(id, config)
  made.update(
    config,
    config.endpoints.map((e, i) => new Host(id * 100 + i, e)),
    0,
  )
  return made
}

export function world(
  tables: readonly RouteTable[],
  clusters: readonly Cluster[] = [cluster('a', 'ROUND_ROBIN', [endpoint('127.0.0.1')])],
  defaultPorts: Snapshot['defaultPorts'] = [],
): Tables {
  const snapshot = aSnapshot({ routeTables: tables, defaultPorts, clusters })
  return compileTables(snapshot, new Map(clusters.map((c, i) => [c.name, balanced(c, i)])))
}

/** Collects what failed, as `route:condition`. */
export class Tried implements TriedRoutes {
  readonly list: string[] = []

  tried(route: number, condition: number): void {
    this.list.push(`${route}:${condition}`)
  }
}
