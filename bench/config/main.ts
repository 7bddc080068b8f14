// What configuration costs: memory of what no request needs, and the time of a small change in a large world, beside telling and making the whole of it.
// `node --expose-gc build/bench/config/main.js [services] [endpoints of each]`; 5,000 of 20 unless said otherwise.
import { getHeapStatistics } from 'node:v8'
import type { ClusterManager } from '../../lib/cluster/cluster-manager.ts'
import { compileTables } from '../../lib/route/compile.ts'
import type { ConfigChanges } from '../../lib/server/config-changes.ts'
import { ConfigFeed } from '../../lib/server/config-feed.ts'
import { WorkerConfig } from '../../lib/server/worker-config.ts'
import type { Cluster } from '../../lib/state/cluster.ts'
import type { VirtualHost } from '../../lib/state/route.ts'
import type { Snapshot } from '../../lib/state/snapshot.ts'
import { aClusterManager } from '../../test/support/clusters.ts'
import {
  aCluster,
  aDestination,
  aForward,
  anEndpoint,
  aRetryPolicy,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../../test/support/nouns.ts'
import { median } from '../load/summary.ts'
import { table } from '../load/table.ts'
import { keep } from '../micro/contract.ts'

const SERVICES = Number(process.argv[2] ?? 5000)
const ENDPOINTS = Number(process.argv[3] ?? 20)
const ROUNDS = 30
const LOCALITIES = ['a', 'b', 'c'].map((zone) => ({ region: 'r', zone, subzone: '' }))

const namespaceOf = (i: number) => `namespace-${i % 50}`
const hostOf = (i: number) => `service-${i}.${namespaceOf(i)}.svc.cluster.local`

function clusterOf(i: number): Cluster {
  const [namespace, name] = [namespaceOf(i), `service-${i}`]
  const origin = { kind: 'Service', namespace, name, file: '', line: 0, column: 0 }
  const workload = {
    workload: `${name}-v1`,
    namespace,
    app: name,
    version: 'v1',
    canonicalService: name,
    canonicalRevision: 'v1',
    cluster: '',
  }
  const endpoints = Array.from({ length: ENDPOINTS }, (_, k) => {
    const address = `10.${i >> 8}.${i & 255}.${k}`
    return anEndpoint({ address, port: 8080, workload, locality: LOCALITIES[k % 3]!, tls: true, origin })
  })
  const host = hostOf(i)
  return aCluster({
    name: `outbound|80||${host}`,
    host,
    serviceName: name,
    serviceNamespace: namespace,
    port: 80,
    origin,
    endpoints,
  })
}

function virtualHostOf(i: number): VirtualHost {
  const [namespace, name, host] = [namespaceOf(i), `service-${i}`, hostOf(i)]
  const origin = { kind: 'VirtualService', namespace, name, file: '', line: 0, column: 0 }
  const action = aForward({ clusters: [aDestination(`outbound|80||${host}`)], retry: aRetryPolicy() })
  const domains = [name, `${name}.${namespace}`, `${name}.${namespace}.svc`, host, `10.96.${i >> 8}.${i & 255}`]
  return aVirtualHost({ name: `${host}:80`, domains, origin, routes: [aRoute({ name: 'default', origin, action })] })
}

function heap(): number {
  if (globalThis.gc === undefined) throw new Error('to be run with --expose-gc')
  globalThis.gc()
  globalThis.gc()
  return getHeapStatistics().used_heap_size
}

/** Bytes for each service that stay when `make` is done. */
function grown<T>(make: () => T): { readonly made: T; readonly bytes: number } {
  const before = heap()
  const made = make()
  return { made, bytes: Math.round((heap() - before) / SERVICES) }
}

/** With the CPU time of this process, which other processes do not disturb as much as the clock. */
function timed<T>(run: () => T): { readonly ms: number; readonly value: T } {
  const before = process.cpuUsage()
  const value = run()
  const { user, system } = process.cpuUsage(before)
  return { ms: (user + system) / 1000, value }
}

const newWorker = (): { readonly clusters: ClusterManager; readonly config: WorkerConfig } => {
  const clusters = aClusterManager(null, new SharedArrayBuffer(1 << 22))
  return { clusters, config: new WorkerConfig(clusters) }
}

/** Changes cross as messages do. */
const cross = (changes: ConfigChanges) => structuredClone(changes)

function withOther<T>(list: readonly T[], at: number, change: (item: T) => T): T[] {
  const copy = [...list]
  copy[at] = change(copy[at] as T)
  return copy
}

const otherEndpoint = (round: number) => (cluster: Cluster) => ({
  ...cluster,
  endpoints: withOther(cluster.endpoints, 1 % ENDPOINTS, (e) => ({ ...e, weight: 2 + round })),
})
const otherRoutes = (round: number) => (v: VirtualHost) => ({
  ...v,
  routes: v.routes.map((r) => ({ ...r, name: `route-${round}` })),
})

/** As it was before there were differences: all is cloned, all clusters are live, all tables are compiled. */
function wholeWorld(snapshot: Snapshot): void {
  const { clusters, routeTables } = structuredClone(snapshot)
  const manager = aClusterManager(null, new SharedArrayBuffer(1 << 22))
  for (const cluster of clusters) {
    manager.put(cluster.name, { load: () => cluster }, null)
    manager.refOf(cluster.name).live()
  }
  for (const { virtualHosts } of compileTables({ ...snapshot, routeTables }, manager).list)
    keep(virtualHosts.map((v) => v.routes.length))
}

/** Small changes, one after the other; ms of each step. */
function changeAgainAndAgain(begin: Snapshot, feed: ConfigFeed, worker: WorkerConfig) {
  const times = { endpoint: [] as number[], endpointApplied: [] as number[], host: [] as number[], hostApplied: [] as number[] }
  let snapshot = begin
  for (let round = 0; round < ROUNDS; round++) {
    const at = (round * 7) % SERVICES
    snapshot = { ...snapshot, version: 3 + 2 * round, clusters: withOther(snapshot.clusters, at, otherEndpoint(round)) }
    const endpoint = timed(() => feed.push(snapshot))
    times.endpoint.push(endpoint.ms)
    times.endpointApplied.push(timed(() => worker.apply(cross(endpoint.value))).ms)
    const routeTables = snapshot.routeTables.map((t) => ({
      ...t,
      virtualHosts: withOther(t.virtualHosts, at, otherRoutes(round)),
    }))
    snapshot = { ...snapshot, version: 4 + 2 * round, routeTables }
    const host = timed(() => feed.push(snapshot))
    times.host.push(host.ms)
    times.hostApplied.push(timed(() => worker.apply(cross(host.value))).ms)
  }
  return times
}

function main(): void {
  const clusters = grown(() => Array.from({ length: SERVICES }, (_, i) => clusterOf(i)))
  const virtualHosts = grown(() => Array.from({ length: SERVICES }, (_, i) => virtualHostOf(i)))
  const feed = new ConfigFeed(() => null)
  const { clusters: managed, config: worker } = newWorker()
  const begin = aSnapshot({ version: 1, clusters: clusters.made })
  const snapshot = { ...begin, version: 2, routeTables: [aRouteTable({ name: '80', virtualHosts: virtualHosts.made })] }
  const times = { clusters: 0, hosts: 0 }
  // Messages are garbage once they are applied.
  const both = grown(() => {
    const push = timed(() => feed.push(begin))
    times.clusters = push.ms
    worker.apply(cross(push.value))
  })
  const bothHosts = grown(() => {
    const push = timed(() => feed.push(snapshot))
    times.hosts = push.ms
    worker.apply(cross(push.value))
  })
  const { bytes } = feed
  const second = newWorker()
  const everything = grown(() => second.config.apply(cross(feed.everything())))
  const small = changeAgainAndAgain(snapshot, feed, worker)
  const used = grown(() => {
    for (const { name } of snapshot.clusters) managed.refOf(name).live()
  })
  const compiled = grown(() => worker.tables.list.map((t) => t.virtualHosts.map((v) => v.routes.length)))
  const whole = median([1, 2, 3].map(() => timed(() => wholeWorld(snapshot)).ms))

  const ms = (values: readonly number[]) => median(values).toFixed(2)
  const per = (n: number) => String(Math.round(n / SERVICES))
  console.log(`${SERVICES} services of ${ENDPOINTS} endpoints, one table; Node.js ${process.versions.node}\n`)
  console.log(
    table(
      ['bytes for each', 'cluster', 'virtual host', 'both'],
      [
        ["main thread: the nouns, which are their source's", String(clusters.bytes), String(virtualHosts.bytes), ''],
        ['shared by all threads: packed', per(bytes.clusters), per(bytes.virtualHosts), per(bytes.arenas)],
        [
          'main thread and one worker: not used',
          String(both.bytes),
          String(bothHosts.bytes),
          String(both.bytes + bothHosts.bytes),
        ],
        ['each further worker: not used', '', '', String(everything.bytes)],
        ['each worker: used, beyond that', String(used.bytes), String(compiled.bytes), String(used.bytes + compiled.bytes)],
      ],
    ),
  )
  console.log(
    `\n${table(
      ['ms of CPU', 'main thread', 'each worker'],
      [
        ['all clusters', times.clusters.toFixed(0), ''],
        ['all virtual hosts', times.hosts.toFixed(0), ''],
        ['one endpoint is another', ms(small.endpoint), ms(small.endpointApplied)],
        ['one virtual host is another', ms(small.host), ms(small.hostApplied)],
        ['the whole world, cloned and made', '', whole.toFixed(0)],
      ],
    )}`,
  )
}

main()
