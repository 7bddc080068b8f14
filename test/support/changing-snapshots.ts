// Snapshots that follow one another, as a source makes them: what does not change stays the same object. For properties.
import fc from 'fast-check'
import type { Cluster, Endpoint } from '../../lib/state/cluster.ts'
import type { Listener } from '../../lib/state/listener.ts'
import type { RouteTable, VirtualHost } from '../../lib/state/route.ts'
import type { Snapshot } from '../../lib/state/snapshot.ts'
import { aCluster, aListener, anEndpoint, aRoute, aRouteTable, aSnapshot, aVirtualHost } from './nouns.ts'

/** Keeps the same object for the same arguments. */
function remembered<K, V>(make: (key: K) => V): (key: K) => V {
  const known = new Map<string, V>()
  return (key) => {
    const text = JSON.stringify(key)
    const value = known.get(text) ?? make(key)
    known.set(text, value)
    return value
  }
}

const endpoint = remembered(([n, weight]: readonly [number, number]): Endpoint => anEndpoint({ address: `10.0.0.${n}`, weight }))
const localities = (weights: readonly number[]): Cluster['localityWeights'] =>
  weights.length === 0
    ? null
    : weights.map((weight) => ({ locality: { region: 'r', zone: '', subzone: '' }, priority: 0, weight }))
const cluster = remembered(
  ([name, port, hosts, weights]: readonly [string, number, readonly (readonly [number, number])[], readonly number[]]): Cluster =>
    aCluster({ name, port, endpoints: hosts.map(endpoint), localityWeights: localities(weights) }),
)
const virtualHost = remembered(
  ([name, routes]: readonly [string, readonly string[]]): VirtualHost =>
    aVirtualHost({ name, domains: [name, `${name}.local`], routes: routes.map((route) => aRoute({ name: route })) }),
)
const table = remembered(
  ([name, port, hosts]: readonly [string, number, readonly (readonly [string, readonly string[]])[]]): RouteTable =>
    aRouteTable({ name, port, virtualHosts: hosts.map(virtualHost) }),
)
const listener = remembered(([name, port]: readonly [string, number]): Listener => aListener({ name, port }))

const letters = (text: string) => fc.constantFrom(...text)
const few = <T>(item: fc.Arbitrary<T>, by: (item: T) => unknown) => fc.uniqueArray(item, { maxLength: 7, selector: by })
const small = fc.integer({ min: 1, max: 3 })

const someEndpoints = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), small), { maxLength: 9 })
const someCluster = fc.tuple(
  letters('abcdefg'),
  fc.constantFrom(80, 80, 80, 90),
  someEndpoints,
  fc.array(small, { maxLength: 2 }),
)
const someHost = fc.tuple(letters('abcdefg'), fc.array(letters('rstuv'), { maxLength: 3 }))
const someTable = fc.tuple(
  letters('TUVWX'),
  small,
  few(someHost, ([name]) => name),
)

export const someSnapshot: fc.Arbitrary<Snapshot> = fc
  .record({
    version: fc.integer({ min: 1, max: 1000 }),
    listeners: few(fc.tuple(letters('lmno'), small), ([name]) => name),
    tables: few(someTable, ([name]) => name),
    clusters: few(someCluster, ([name]) => name),
    defaultPorts: few(fc.tuple(letters('abc'), small), ([name]) => name),
    pods: fc.integer({ min: 0, max: 1 }),
  })
  .map(({ version, listeners, tables, clusters, defaultPorts }) =>
    aSnapshot({
      version,
      listeners: listeners.map(listener),
      routeTables: tables.map(table),
      clusters: clusters.map(cluster),
      defaultPorts,
    }),
  )
