// What the workers have been told is on the main thread no longer there as objects but for what it needs itself; what came stays as bytes.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { ConfigFeed } from '../../../../lib/server/config-feed.ts'
import type { RouteTable } from '../../../../lib/state/route.ts'
import { XDS } from '../../../../lib/xds/client/resource-types.ts'
import type { XdsResource } from '../../../../lib/xds/client/resource-update.ts'
import { XdsWorld } from '../../../../lib/xds/store/xds-world.ts'
import { NO_GATEWAY_FIELDS } from '../../../../lib/xds/translate/internal-endpoint.ts'
import type { LoadAssignment } from '../../../../lib/xds/translate/load-assignment.ts'
import { bytesOf, endpointAt, type Json } from '../translate/kit.ts'

const SERVICES = 100
const ADS = { ads: {}, resource_api_version: 'V3' }

/** Fed by a control plane, and telling workers. */
class Fed {
  readonly world: XdsWorld
  readonly feed: ConfigFeed

  constructor() {
    const routes = { unsafeRetries: 'held-back' } as const
    this.world = new XdsWorld({ routes, tunnelFields: '', gateway: NO_GATEWAY_FIELDS, fetchTimeoutMs: 0 })
    this.feed = new ConfigFeed(() => null)
  }

  take(typeUrl: string, resources: Readonly<Record<string, Json>>): void {
    const type = typeUrl.slice(typeUrl.indexOf('/') + 1)
    const changed = Object.entries(resources).map(
      ([name, json]): XdsResource => ({ typeUrl, name, aliases: [], version: '', bytes: bytesOf(type, json) }),
    )
    const faults = this.world.take({ typeUrl, origin: 'stream', changed, removed: [], complete: false, version: '' }, 0)
    t.same(faults, [])
  }

  push(): ReturnType<ConfigFeed['push']> {
    this.world.settle(0)
    return this.feed.push(this.world.snapshot)
  }
}

const routesOf = (change: Readonly<Record<number, string>> = {}): Json => ({
  name: '80',
  virtual_hosts: Array.from({ length: SERVICES }, (_, i) => ({
    name: `v${i}`,
    domains: [`v${i}`],
    routes: [{ match: { prefix: '/' }, route: { cluster: change[i] ?? `c${i}` } }],
  })),
})

const listener: Json = {
  name: 'l',
  address: { socket_address: { address: '0.0.0.0', port_value: 80 } },
  filter_chains: [
    {
      filters: [
        {
          name: 'envoy.filters.network.http_connection_manager',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
            stat_prefix: 'l',
            rds: { config_source: ADS, route_config_name: '80' },
            http_filters: [
              {
                name: 'envoy.filters.http.router',
                typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
              },
            ],
          },
        },
      ],
    },
  ],
}

const clusterOf = (name: string, more: Json = {}): Json => ({
  ...{ name, type: 'EDS', connect_timeout: '1s', eds_cluster_config: { eds_config: ADS, service_name: name } },
  ...more,
})

/** Ten each, in two localities; the third one is of this weight. */
const endpointsOf = (name: string, load_balancing_weight = 1): Json => ({
  cluster_name: name,
  endpoints: ['a', 'b'].map((zone, z) => ({
    locality: { zone },
    lb_endpoints: Array.from({ length: 5 }, (_, i) =>
      endpointAt(`10.${z}.0.${i}`, 80, z === 0 && i === 2 ? { load_balancing_weight } : {}),
    ),
  })),
})

const names = Array.from({ length: SERVICES }, (_, i) => `c${i}`)
const each = (make: (name: string) => Json) => Object.fromEntries(names.map((name) => [name, make(name)]))

function fed(): Fed {
  const all = new Fed()
  all.take(XDS.cluster, each(clusterOf))
  all.take(XDS.endpoints, each(endpointsOf))
  all.take(XDS.listener, { l: listener })
  all.take(XDS.route, { '80': routesOf() })
  return all
}

const CHECK: Json = {
  ...{ timeout: '1s', interval: '1s', unhealthy_threshold: 1, healthy_threshold: 1 },
  tcp_health_check: {},
}

/** How many of these objects are there still. */
async function alive(refs: readonly WeakRef<object>[]): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // What a reference points to stays until the end of the event.
  await new Promise((resolve) => setImmediate(resolve))
  collect()
  return refs.filter((ref) => ref.deref() !== undefined).length
}

const ofTable = ({ world }: Fed): RouteTable => world.snapshot.routeTables[0] as RouteTable

t.test('routes', async (t) => {
  const all = fed()
  all.world.settle(0)
  const plain = JSON.stringify(ofTable(all))
  const refs = ofTable(all).virtualHosts.flatMap(({ routes }) => routes.map((route) => new WeakRef<object>(route)))
  t.equal(await alive(refs), SERVICES, 'until the workers have been told')
  all.push()
  t.equal(await alive(refs), 0)
  t.equal(JSON.stringify(ofTable(all)), plain, 'read again they are the same')

  all.take(XDS.route, { '80': routesOf({ 7: 'another' }) })
  const [table] = all.push().tables
  t.same(
    table?.virtualHosts?.items.map(({ name }) => name),
    ['v7'],
    'and others need not be read for a change of one',
  )
  t.match(ofTable(all).virtualHosts[7]?.routes, [{ action: { clusters: [{ cluster: 'another' }] } }])
})

t.test('endpoints', async (t) => {
  const all = fed()
  const assignments = names.map((name) => all.world.endpoints.get(name) as LoadAssignment)
  const refs = assignments.flatMap((a) => Array.from({ length: 10 }, (_, i) => new WeakRef<object>(a.endpointAt(i))))
  t.equal(await alive(refs), 10 * SERVICES, 'until they are in clusters')
  all.push()
  t.equal(await alive(refs), 0, 'as they came')

  all.take(XDS.endpoints, { c3: endpointsOf('c3', 9) })
  const [change, ...others] = all.push().clusters
  t.same([change?.name, others.length], ['c3', 0])
  const weights = ({ world }: Fed, name: string) =>
    world.snapshot.clusters.find((c) => c.name === name)?.endpoints.map((e) => e.weight)
  t.same(weights(all, 'c3'), [1, 1, 9, 1, 1, 1, 1, 1, 1, 1])
  const known = new Set(all.world.snapshot.clusters.find((c) => c.name === 'c4')?.endpoints)
  // Its endpoints are others now, and are read again.
  all.take(XDS.cluster, { c4: clusterOf('c4', { health_checks: [CHECK] }) })
  all.push()
  const read = all.world.snapshot.clusters.find((c) => c.name === 'c4')?.endpoints ?? []
  t.same(
    read.map((e) => [e.address, e.locality.zone, known.has(e), e.healthCheck?.intervalMs]),
    Array.from({ length: 10 }, (_, i) => [`10.${i < 5 ? 0 : 1}.0.${i % 5}`, i < 5 ? 'a' : 'b', false, 1000]),
  )
})
