import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { sameValue } from '../../../lib/base/same-value.ts'
import type { ClusterManager } from '../../../lib/cluster/cluster-manager.ts'
import type { ClusterRows } from '../../../lib/cluster/shared-hosts.ts'
import type { CompiledRoute } from '../../../lib/route/compiled-route.ts'
import type { ConfigChanges } from '../../../lib/server/config-changes.ts'
import { ConfigFeed } from '../../../lib/server/config-feed.ts'
import { WorkerConfig } from '../../../lib/server/worker-config.ts'
import type { Route, RouteTable, VirtualHost } from '../../../lib/state/route.ts'
import type { Snapshot } from '../../../lib/state/snapshot.ts'
import { loadedRoutes, UnloadableHost } from '../../../lib/state/unloadable-host.ts'
import { someSnapshot } from '../../support/changing-snapshots.ts'
import { aClusterManager } from '../../support/clusters.ts'
import { aCluster, anEndpoint, aRoute, aRouteTable, aSnapshot, aVirtualHost } from '../../support/nouns.ts'

const LIMITS = new SharedArrayBuffer(1 << 16)

class Worker {
  readonly clusters: ClusterManager
  readonly config: WorkerConfig
  private readonly arenas: Map<number, SharedArrayBuffer>

  constructor(changes: ConfigChanges) {
    this.arenas = new Map()
    this.clusters = aClusterManager(null, LIMITS)
    this.config = new WorkerConfig(this.clusters)
    this.apply(changes)
  }

  /** As messages cross: cloned. Arenas would be shared; a worker has its own here, since the main thread may look longer. */
  apply(changes: ConfigChanges): void {
    const told = structuredClone(changes)
    const arenas = told.arenas.map(({ id, bytes }) => ({ id, bytes: bytes.slice(0) }))
    for (const { id, bytes } of arenas) this.arenas.set(id, bytes)
    this.config.apply({ ...told, arenas })
    // It may not look there any more.
    for (const id of told.dropped) new Uint8Array(this.arenas.get(id) as SharedArrayBuffer).fill(0xff)
  }

  /** What it would serve by. Looking at a virtual host makes it used; clusters stay as they are. */
  has(expected: Snapshot): boolean {
    const { tables, listeners, world } = this.config
    const routeTables = tables.list.map((table) => ({
      ...table.config,
      virtualHosts: table.virtualHosts.map((v) => v.config),
    }))
    const clusters = expected.clusters.map(({ name }) => this.clusters.configForTest(name))
    const live = [...this.clusters.all()].map((c) => [c.balanced.config, c.hosts.map((h) => h.endpoint.address).sort()])
    const wantedLive = expected.clusters
      .filter(({ name }) => this.clusters.refOf(name).cluster !== null)
      .map((c) => [c, [...new Set(c.endpoints.map((e) => e.address))].sort()])
    return (
      sameValue(
        { listeners, world, routeTables, clusters },
        { listeners: expected.listeners, world: expected.world, routeTables: expected.routeTables, clusters: expected.clusters },
      ) &&
      sameValue(live.map((l) => JSON.stringify(l)).sort(), wantedLive.map((l) => JSON.stringify(l)).sort()) &&
      tables.list.every((table) => table.virtualHosts.every((v, i) => v.domains.every((d) => table.find(d)?.value === i)))
    )
  }
}

/** Makes snapshots as those of a control plane are. What does not change stays the same object. */
function unloading(): (snapshot: Snapshot) => Snapshot {
  const host = remembered((of: VirtualHost) => new UnloadableHost(of))
  const table = remembered((of: RouteTable): RouteTable => ({ ...of, virtualHosts: of.virtualHosts.map(host) }))
  return (snapshot) => ({ ...snapshot, routeTables: snapshot.routeTables.map(table) })
}

function remembered<K extends object, V>(make: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, V>()
  return (key) => {
    const value = known.get(key) ?? make(key)
    known.set(key, value)
    return value
  }
}

t.test('whoever has applied all that was pushed has the last snapshot, from whichever push on', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(someSnapshot, fc.subarray(['a', 'b', 'c', 'd'])), { minLength: 1, maxLength: 30 }),
      (pushes) => {
        const feed = new ConfigFeed(() => null)
        const unloadable = unloading()
        const workers: Worker[] = []
        for (const [snapshot, used] of pushes) {
          const changes = feed.push(unloadable(snapshot))
          for (const worker of workers) worker.apply(changes)
          workers.push(new Worker(feed.everything()))
          if (JSON.stringify(feed.told) !== JSON.stringify(snapshot)) return false
          for (const name of used) workers[0]?.clusters.refOf(name).live()
          if (!workers.every((w) => w.has(snapshot))) return false
          if (workers.length > 4) workers.splice(1, 1)
        }
        return true
      },
    ),
    { numRuns: 60 },
  )
})

t.test('clusters come, go and come back for routes that were not compiled anew', async (t) => {
  const table = aRouteTable({ name: '80', virtualHosts: [aVirtualHost({ domains: ['v'], routes: [aRoute()] })] })
  const c = aCluster({ name: 'c', endpoints: [anEndpoint()] })
  const without = aSnapshot({ version: 1, routeTables: [table] })
  const feed = new ConfigFeed(() => null)
  feed.push(without)
  const worker = new Worker(feed.everything())
  const target = worker.config.tables.list[0]?.virtualHosts[0]?.routes[0]?.weighted[0]?.target
  t.equal(target?.live(), null)
  worker.apply(feed.push({ ...without, version: 2, clusters: [c] }))
  t.equal(worker.clusters.used().length, 0, 'nobody has used it')
  const live = target?.live()
  t.equal(live?.name, 'c')
  t.same(worker.clusters.used(), ['c'])
  worker.apply(feed.push({ ...without, version: 3 }))
  t.equal(target?.live(), null)
  t.equal(target?.last, live)
  worker.apply(feed.push({ ...without, version: 4, clusters: [{ ...c, endpoints: [anEndpoint({ address: '10.9.9.9' })] }] }))
  t.equal(target?.live(), live, 'the same as before')
  t.same(
    live?.hosts.map((h) => h.endpoint.address),
    ['10.9.9.9'],
  )
})

t.test('what did not change stays compiled, and hosts stay the same', async (t) => {
  const hosts = ['a', 'b', 'c'].map((name) => aVirtualHost({ name, domains: [name], routes: [aRoute()] }))
  const other = aVirtualHost({ name: 'b', domains: ['b'], routes: [] })
  const of = (virtualHosts: typeof hosts, address: string): Snapshot =>
    aSnapshot({
      version: 1,
      routeTables: [aRouteTable({ name: '80', virtualHosts }), first.routeTables[0] ?? aRouteTable({ name: '81' })],
      clusters: [aCluster({ name: 'c', endpoints: [anEndpoint(), anEndpoint({ address })] })],
    })
  const first = aSnapshot({ routeTables: [aRouteTable({ name: '81', virtualHosts: hosts })] })
  const feed = new ConfigFeed(() => null)
  feed.push(of(hosts, '10.0.0.1'))
  const worker = new Worker(feed.everything())
  const before = worker.config.tables
  const [kept] = worker.clusters.refOf('c').live()?.hosts ?? []
  worker.apply(feed.push(of([hosts[0], other, hosts[2]] as typeof hosts, '10.0.0.2')))
  const after = worker.config.tables
  t.not(after.list[0], before.list[0])
  t.equal(after.list[1], before.list[1])
  t.same(
    after.list[0]?.virtualHosts.map((v, i) => v === before.list[0]?.virtualHosts[i]),
    [true, false, true],
  )
  t.equal(worker.clusters.refOf('c').cluster?.hosts[0], kept)
  t.equal(worker.clusters.refOf('c').cluster?.hosts[1]?.address, '10.0.0.2:9080')
})

const manyRoutes = (count: number): Route[] => Array.from({ length: count }, (_, i) => aRoute({ name: `route-${i}` }))
const ofRoutes = (routes: readonly Route[], version = 1): Snapshot =>
  aSnapshot({
    version,
    routeTables: [aRouteTable({ name: '80', virtualHosts: [aVirtualHost({ name: 'v', domains: ['v'], routes })] })],
  })

t.test('of a virtual host of many routes a change of one is packed, told and compiled alone', async (t) => {
  const all = manyRoutes(2000)
  const feed = new ConfigFeed(() => null)
  const whole = feed.push(ofRoutes(all)).arenas[0]?.bytes.byteLength as number
  const worker = new Worker(feed.everything())
  const routesOf = () => worker.config.tables.list[0]?.virtualHosts[0]?.routes as readonly CompiledRoute[]
  const before = routesOf()
  const after = ofRoutes(all.with(1000, aRoute({ name: 'another' })), 2)
  const changes = feed.push(after)
  t.ok((changes.arenas[0]?.bytes.byteLength as number) < whole / 20)
  worker.apply(changes)
  t.ok(worker.has(after))
  const compiled = routesOf().filter((route, i) => route !== before[i]).length
  t.ok(compiled > 0 && compiled < 100, `${compiled} are compiled`)
  for (let version = 3; version < 50; version++) {
    const next = ofRoutes(all.with((version * 97) % 2000, aRoute({ name: `another ${version}` })), version)
    worker.apply(feed.push(next))
    if (version % 20 === 0) t.ok(worker.has(next), `version ${version}, of arenas that were put together`)
  }
  t.ok(feed.bytes.arenas < 2.5 * whole)
})

t.test('routes of a large virtual host come, go and move', async () => {
  const known = manyRoutes(300)
  const edit = fc.record({ at: fc.nat(300), gone: fc.nat(80), come: fc.nat(80), first: fc.nat(219) })
  fc.assert(
    fc.property(fc.array(fc.array(edit, { maxLength: 3 }), { minLength: 1, maxLength: 12 }), (pushes) => {
      const feed = new ConfigFeed(() => null)
      feed.push(ofRoutes(known))
      const workers = [new Worker(feed.everything()), new Worker(feed.everything())]
      let routes: readonly Route[] = known
      for (const [i, edits] of pushes.entries()) {
        for (const { at, gone, come, first } of edits) routes = routes.toSpliced(at, gone, ...known.slice(first, first + come))
        const snapshot = ofRoutes(routes, i + 2)
        const changes = feed.push(snapshot)
        for (const worker of workers) worker.apply(changes)
        // The other one is asked for the first time at the end.
        if (!workers[0]?.has(snapshot)) return false
      }
      const last = ofRoutes(routes, pushes.length + 1)
      const indices = workers[0]?.config.tables.list[0]?.virtualHosts[0]?.routes.every((route, i) => route.index === i)
      return workers.every((w) => w.has(last)) && indices === true && new Worker(feed.everything()).has(last)
    }),
    { numRuns: 20 },
  )
})

t.test('rows go with the clusters that have them', async (t) => {
  const rows: ClusterRows = { cluster: 3, hosts: Int32Array.of(7) }
  const feed = new ConfigFeed((name) => (name === 'a' ? rows : null))
  const changes = feed.push(aSnapshot({ clusters: [aCluster({ name: 'a' }), aCluster({ name: 'b' })] }))
  t.same(
    changes.clusters.map((c) => [c.name, c.rows]),
    [
      ['a', rows],
      ['b', null],
    ],
  )
  t.same(
    feed.everything().clusters.map((c) => c.rows),
    [rows, null],
  )
})

t.test('memory for what is no more is given back', async (t) => {
  const many = (from: number) =>
    Array.from({ length: 200 }, (_, i) =>
      aCluster({ name: `c${from + i}`, endpoints: [anEndpoint({ address: `10.0.${from}.${i}` })] }),
    )
  const feed = new ConfigFeed(() => null)
  const stays = aCluster({ name: 'stays', endpoints: [anEndpoint()] })
  const table = aRouteTable({
    name: '80',
    virtualHosts: [aVirtualHost({ name: 'stays', domains: ['stays'], routes: [aRoute()] })],
  })
  feed.push(aSnapshot({ version: 1, clusters: [stays, ...many(0)], routeTables: [table] }))
  const first = feed.bytes.arenas
  const worker = new Worker(feed.everything())
  for (let v = 2; v < 100; v++)
    worker.apply(feed.push(aSnapshot({ version: v, clusters: [stays, ...many(v)], routeTables: [table] })))
  t.ok(feed.bytes.arenas < 3 * first, `${feed.bytes.arenas} bytes after 99 pushes, ${first} after the first`)
  t.same(worker.clusters.configForTest('stays'), stays)
  t.same(worker.config.tables.list[0]?.virtualHosts[0]?.config, table.virtualHosts[0])
  for (let v = 100; v < 300; v++) {
    const one = aCluster({ name: `x${v}` })
    worker.apply(feed.push({ ...feed.told, version: v, clusters: [...feed.told.clusters, one] }))
  }
  t.ok(feed.everything().arenas.length <= 33, `${feed.everything().arenas.length} arenas after 200 small pushes`)
  for (let v = 100; v < 300; v++) t.same(worker.clusters.configForTest(`x${v}`)?.name, `x${v}`)
})

t.test('names that nobody has and no route names are forgotten', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const manager = aClusterManager(null, LIMITS)
  const kept = manager.refOf('kept')
  for (let i = 0; i < 10_000; i++) {
    manager.put(`c${i}`, { load: () => aCluster({ name: `c${i}` }) }, null)
    manager.remove(`c${i}`)
    manager.refOf(`x${i}`)
    // What a reference points to stays until the end of the event.
    if (i % 500 === 499) {
      await new Promise((resolve) => setImmediate(resolve))
      collect()
    }
  }
  t.equal(manager.refOf('kept'), kept)
  manager.put('kept', { load: () => aCluster({ name: 'kept' }) }, null)
  t.equal(kept.live()?.name, 'kept')
  t.ok(manager.missingForTest < 10_000, `${manager.missingForTest} names`)
})

t.test('a push that fails half-way leaves everything as it was', async (t) => {
  const of = (weights: readonly number[]) =>
    aCluster({ name: 'a', endpoints: weights.map((weight, i) => anEndpoint({ address: `10.0.0.${i}`, weight })) })
  const [first, second, third] = [of([1, 1, 1]), of([1, 2, 1]), of([1, 2, 3])]
  const host = aVirtualHost({ name: 'v', domains: ['v'], routes: [aRoute()] })
  const table = aRouteTable({ virtualHosts: [host] })
  const unloadable = unloading()
  const snapshot = (version: number, cluster: typeof first): Snapshot =>
    aSnapshot({ version, clusters: [cluster], routeTables: [table] })
  const feed = new ConfigFeed(() => null)
  feed.push(unloadable(snapshot(1, first)))
  const worker = new Worker(feed.everything())
  const broken = { ...aCluster({ name: 'b' }), host: (() => '') as unknown as string }
  t.throws(() => feed.push({ ...unloadable(snapshot(2, second)), clusters: [second, broken] }), /packed/)
  t.equal(feed.told.version, 1)
  t.same(feed.told.routeTables[0]?.virtualHosts[0]?.routes, host.routes, 'routes that are elsewhere are still there')
  const late = new Worker(feed.everything())
  t.ok(late.has(snapshot(1, first)))
  const changes = feed.push(unloadable(snapshot(3, third)))
  for (const w of [worker, late]) {
    w.apply(changes)
    t.ok(w.has(snapshot(3, third)))
  }
})

t.test('routes that the workers have been told are kept packed, and read again for who asks', async (t) => {
  const host = (name: string, routes: readonly Route[]) => aVirtualHost({ name, domains: [name], routes })
  const hosts = [host('a', [aRoute({ name: 'first' })]), host('b', manyRoutes(32)), host('many', manyRoutes(33))]
  const table = aRouteTable({ name: '80', virtualHosts: hosts })
  const snapshot = unloading()(aSnapshot({ routeTables: [table] }))
  const [a, b, many] = snapshot.routeTables[0]?.virtualHosts as readonly [VirtualHost, VirtualHost, VirtualHost]
  const feed = new ConfigFeed(() => null)
  t.same(
    [a, b, many].map(loadedRoutes),
    hosts.map((h) => h.routes),
    'nobody has been told',
  )
  feed.push(snapshot)
  t.same([a, b].map(loadedRoutes), [null, null])
  t.equal(loadedRoutes(many)?.length, 33, 'but for those by which the next change finds what stays')
  t.same(
    [a, b, many].map((h) => h.routes),
    hosts.map((h) => h.routes),
  )
  t.same(JSON.parse(JSON.stringify(snapshot)).routeTables, [table], 'as pages show it')
  // They are moved again and again meanwhile.
  for (let version = 2; version < 200; version++) {
    const one = aRouteTable({ name: '81', virtualHosts: [new UnloadableHost(host('x', [aRoute({ name: `x${version}` })]))] })
    feed.push({ ...snapshot, version, routeTables: [...snapshot.routeTables, one] })
  }
  t.same(a.routes, hosts[0]?.routes)
  feed.push(aSnapshot({ version: 200 }))
  feed.push(aSnapshot({ version: 201, clusters: [aCluster({ name: 'c' })] }))
  t.same(a.routes, hosts[0]?.routes, 'whoever has it still can ask it')
})
