// When what a control plane says is in force: warming, names that are asked for, what is refused, what stays the same.
import { rootCertificates } from 'node:tls'
import t from 'tap'
import { snapshotChanges } from '../../../../lib/server/snapshot-changes.ts'
import { XDS } from '../../../../lib/xds/client/resource-types.ts'
import type { ResourceUpdate, XdsResource } from '../../../../lib/xds/client/resource-update.ts'
import { Cluster } from '../../../../lib/xds/proto/cluster.ts'
import { TypedExtensionConfig } from '../../../../lib/xds/proto/core.ts'
import { encode } from '../../../../lib/xds/proto/encode.ts'
import { ClusterLoadAssignment } from '../../../../lib/xds/proto/endpoint.ts'
import { fromJson, type Json, type JsonObject } from '../../../../lib/xds/proto/json.ts'
import { Listener } from '../../../../lib/xds/proto/listener.ts'
import { REGISTRY } from '../../../../lib/xds/proto/registry.ts'
import { RouteConfiguration } from '../../../../lib/xds/proto/route.ts'
import type { Message } from '../../../../lib/xds/proto/schema.ts'
import { Secret } from '../../../../lib/xds/proto/tls.ts'
import { XdsWorld } from '../../../../lib/xds/store/xds-world.ts'
import { NO_GATEWAY_FIELDS } from '../../../../lib/xds/translate/internal-endpoint.ts'

/** A resource in short. */
interface Plain {
  /** Of a listener: the cluster of routes that it carries itself, or of bytes. */
  readonly own?: string
  readonly tcp?: string
  /** Cluster: name of its endpoints. */
  readonly eds?: string
  /** Listener: its routes. */
  readonly rds?: string
  /** Listener: a filter that comes on its own. */
  readonly ecds?: string
  /** Listener: its certificate. */
  readonly sds?: string
  /** Endpoints: addresses, with spaces between. Routes: where they lead. Listener: its port. */
  readonly to?: string
  /** Cluster, endpoints, routes, extension: something that is not understood. */
  readonly bad?: true
  /** Cluster, routes, listener: the name that stands in it, where that is another. */
  readonly called?: string
}

const [ROOT = ''] = rootCertificates
const TYPE = 'type.googleapis.com/envoy.extensions'
const ADS = { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' }
const ROUTER = { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }

const WRITE: Readonly<Record<string, (name: string, plain: Plain) => Uint8Array>> = {
  [XDS.cluster]: (name, { eds, sds, bad, called }) =>
    bytes(Cluster, {
      name: called ?? name,
      type: eds === undefined ? 'STATIC' : 'EDS',
      ...(eds === undefined ? {} : { eds_cluster_config: { eds_config: ADS, service_name: eds } }),
      ...(sds === undefined ? {} : { transport_socket: tls(sds, 'Upstream') }),
      ...(bad ? { cluster_type: { name: 'envoy.clusters.redis' } } : {}),
    }),
  [XDS.endpoints]: (name, { to, bad }) =>
    bad
      ? Buffer.from([0xff])
      : bytes(ClusterLoadAssignment, {
          cluster_name: name,
          endpoints: [
            {
              lb_endpoints: (to ?? '').split(' ').map((address) => ({
                endpoint: { address: { socket_address: { address, port_value: 80 } } },
              })),
            },
          ],
        }),
  [XDS.listener]: (name, { rds, ecds, sds, to, own, tcp, called }) =>
    bytes(Listener, {
      name: called ?? name,
      address: { socket_address: { address: '0.0.0.0', port_value: Number(to ?? 80) } },
      filter_chains: [
        {
          filters: [
            tcp !== undefined
              ? tcpProxy(tcp)
              : {
                  name: 'envoy.filters.network.http_connection_manager',
                  typed_config: {
                    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                    stat_prefix: name,
                    ...(rds === undefined
                      ? { route_config: { name: 'own', virtual_hosts: own === undefined ? [] : [virtualHost(own)] } }
                      : { rds: { config_source: ADS, route_config_name: rds } }),
                    http_filters: [...(ecds === undefined ? [] : [{ name: ecds, config_discovery: discovery() }]), ROUTER],
                  },
                },
          ],
          ...(sds === undefined ? {} : { transport_socket: tls(sds) }),
        },
      ],
    }),
  [XDS.route]: (name, { to, bad, called }) =>
    bad
      ? Buffer.from([0xff])
      : bytes(RouteConfiguration, {
          name: called ?? name,
          virtual_hosts:
            to === undefined ? [] : [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: to } }] }],
        }),
  [XDS.extension]: (name, { to, bad }) =>
    bytes(TypedExtensionConfig, {
      name,
      typed_config: bad
        ? { '@type': `${TYPE}.filters.http.lua.v3.Lua`, value: '' }
        : { '@type': `${TYPE}.filters.http.${to ?? 'cors.v3.Cors'}` },
    }),
  [XDS.secret]: (name) => bytes(Secret, { name, validation_context: { trusted_ca: { inline_string: ROOT } } }),
}

const virtualHost = (cluster: string): JsonObject => ({
  name: 'v',
  domains: ['*'],
  routes: [{ match: { prefix: '/' }, route: { cluster } }],
})

const tcpProxy = (cluster: string): JsonObject => ({
  name: 'tcp',
  typed_config: { '@type': `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`, stat_prefix: 'tcp', cluster },
})

function discovery(): JsonObject {
  return { config_source: ADS, type_urls: [`${TYPE}.filters.http.cors.v3.Cors`, `${TYPE}.filters.http.fault.v3.HTTPFault`] }
}

function tls(name: string, side = 'Downstream'): JsonObject {
  const context = { tls_certificate_sds_secret_configs: [{ name, sds_config: { ads: {} } }] }
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: { '@type': `${TYPE}.transport_sockets.tls.v3.${side}TlsContext`, common_tls_context: context },
  }
}

function bytes<T extends object>(of: Message<T>, json: Readonly<Record<string, Json>>): Uint8Array {
  return encode(of, fromJson(of, json, REGISTRY))
}

/** `{ a: {…}, b: null }`: a comes or changes, b goes. */
function update(
  typeUrl: string,
  resources: Readonly<Record<string, Plain | null>>,
  origin: ResourceUpdate['origin'] = 'stream',
): ResourceUpdate {
  const entries = Object.entries(resources)
  const changed = entries
    .filter(([, p]) => p !== null)
    .map(
      ([name, p]): XdsResource => ({
        typeUrl,
        name,
        aliases: [],
        version: '',
        bytes: (WRITE[typeUrl] as (typeof WRITE)[string])(name, p as Plain),
      }),
    )
  return {
    typeUrl,
    origin,
    changed,
    removed: entries.filter(([, p]) => p === null).map(([name]) => name),
    complete: false,
    version: '1',
  }
}

class World {
  readonly xds: XdsWorld
  nowMs: number

  constructor(fetchTimeoutMs = 0, files = new Set<string>()) {
    this.xds = new XdsWorld({
      routes: { unsafeRetries: 'held-back' },
      tunnelFields: '',
      gateway: NO_GATEWAY_FIELDS,
      fetchTimeoutMs,
      files,
    })
    this.nowMs = 0
  }

  /** Takes updates as one event; returns what they were refused for. */
  take(...updates: ResourceUpdate[]): string[] {
    const faults = updates.flatMap((u) => this.xds.take(u, this.nowMs))
    this.xds.settle(this.nowMs)
    return faults.map(({ name, reason }) => `${name}: ${reason}`)
  }

  get clusters(): Record<string, string[]> {
    return Object.fromEntries(this.xds.snapshot.clusters.map((c) => [c.name, c.endpoints.map((e) => e.address)]))
  }

  get listeners(): string[] {
    return this.xds.snapshot.listeners.map((l) => `${l.name}:${l.port}`)
  }

  /** Those that come on their own, with where their first routes lead. */
  get tables(): string[] {
    return this.xds.snapshot.routeTables
      .filter((r) => /^\d+$/.test(r.name))
      .map(({ name, virtualHosts: [v] }) => {
        const action = v?.routes[0]?.action
        return `${name}>${action?.kind === 'forward' ? action.clusters[0]?.cluster : ''}`
      })
  }
}

t.test('a first configuration is complete when clusters and listeners have come with all that they name', async (t) => {
  const w = new World()
  t.same(w.xds.waitingFor(), ['clusters (CDS)', 'listeners (LDS)'])
  w.take(update(XDS.cluster, { a: { eds: 'e' }, b: {} }))
  t.same(w.xds.waitingFor(), ['listeners (LDS)', 'cluster a waits for the endpoints e'])
  t.same(w.clusters, { b: [] })
  t.same([...(w.xds.wanted().get(XDS.endpoints) ?? [])], ['e'])
  w.take(update(XDS.endpoints, { e: { to: '10.0.0.1' } }))
  w.take(update(XDS.listener, { l: { rds: '80', ecds: 'wasm', sds: 'kubernetes://s' }, m: { sds: 'default' } }))
  t.same(
    w.xds.waitingFor(),
    ['listener l waits for the secret kubernetes://s from the control plane, the routes 80, the extension wasm'],
    'default is ours to provide',
  )
  t.same(w.listeners, ['m:80'])
  t.same([...(w.xds.wanted().get(XDS.secret) ?? [])], ['kubernetes://s'])
  w.take(update(XDS.route, { '80': { to: 'a' } }), update(XDS.extension, { wasm: {} }))
  t.notOk(w.xds.complete)
  w.take(update(XDS.secret, { 'kubernetes://s': {} }))
  t.ok(w.xds.complete)
  t.same([w.listeners, w.tables, w.clusters], [['m:80', 'l:80'], ['80>a'], { b: [], a: ['10.0.0.1'] }])
})

t.test('credentials of files are waited for as secrets are', async (t) => {
  const files = new Set<string>()
  const w = new World(0, files)
  const name = 'file-cert:/c~/k'
  w.take(update(XDS.cluster, { a: { sds: name } }), update(XDS.listener, { l: { sds: name, to: '80' } }))
  t.same(w.xds.waitingFor(), [`cluster a waits for the secret ${name}`, `listener l waits for the secret ${name}`])
  t.same([w.clusters, w.listeners], [{}, []])
  t.same([...(w.xds.wanted().get(XDS.secret) ?? [])], [], 'nobody is asked for it')
  files.add(name)
  w.xds.settle(1000)
  t.ok(w.xds.complete)
  t.same([w.clusters, w.listeners], [{ a: [] }, ['l:80']])
  files.delete(name)
  w.take(update(XDS.cluster, { b: { sds: name } }))
  w.xds.settle(14_999)
  t.same(w.clusters, { a: [] })
  w.xds.settle(15_000)
  t.same(w.clusters, { a: [], b: [] }, 'not for ever')
})

t.test('no clusters and no listeners are a configuration, too', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, {}), update(XDS.listener, {}))
  t.ok(w.xds.complete)
  t.same(w.xds.snapshot.listeners, [])
})

t.test('what is new waits, and what it replaces serves meanwhile', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'a' } }), update(XDS.endpoints, { a: { to: '10.0.0.1' } }))
  w.take(update(XDS.listener, { l: { rds: '80' } }), update(XDS.route, { '80': { to: 'a' } }))
  w.take(update(XDS.listener, { l: { rds: '81', to: '81' } }))
  t.same([w.listeners, w.tables], [['l:80'], ['80>a']])
  w.take(update(XDS.route, { '81': { to: 'b' } }))
  t.same([w.listeners, w.tables], [['l:81'], ['81>b']])
  w.take(update(XDS.cluster, { a: { eds: 'other' } }))
  t.same(w.clusters, { a: ['10.0.0.1'] }, 'the cluster before it still serves')
  w.take(update(XDS.endpoints, { other: { to: '10.0.0.2' } }))
  t.same(w.clusters, { a: ['10.0.0.2'] })
  w.take(update(XDS.cluster, { a: { eds: 'a' } }))
  t.same(w.clusters, { a: ['10.0.0.1'] }, 'endpoints that are held need not come again')
})

t.test('endpoints that do not exist are none, and so are routes', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'a' } }), update(XDS.listener, { l: { rds: '80' } }))
  w.take(update(XDS.endpoints, { a: null }), update(XDS.route, { '80': null }))
  t.ok(w.xds.complete)
  t.same([w.clusters, w.tables], [{ a: [] }, ['80>']])
})

t.test('a limit of time ends the wait', async (t) => {
  const w = new World(15_000)
  w.take(update(XDS.cluster, { a: { eds: 'a' } }), update(XDS.listener, {}))
  w.nowMs = 14_999
  w.take()
  t.notOk(w.xds.complete)
  w.nowMs = 15_000
  w.take()
  t.same([w.xds.complete, w.clusters], [true, { a: [] }])
})

t.test('a bad resource is refused alone, and its last good version serves', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'a' }, b: {} }), update(XDS.endpoints, { a: { to: '10.0.0.1' } }))
  const faults = w.take(update(XDS.cluster, { a: { eds: 'other', bad: true }, c: {}, d: { bad: true } }))
  t.match(faults, [/^a: .*envoy.clusters.redis/, /^d: .*envoy.clusters.redis/])
  t.same(w.clusters, { a: ['10.0.0.1'], b: [], c: [] })
  t.match(w.xds.refusals(), [
    /^CDS a is refused, its last good version serves: /,
    /^CDS d is refused, nothing serves in its place: /,
  ])
  w.take(update(XDS.cluster, { a: { eds: 'a' }, d: null }))
  t.same(w.xds.refusals(), [])
})

t.test('no resource takes the place of another by the name that stands in it', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: {}, b: {} }), update(XDS.listener, { l: { rds: '80' }, m: { own: 'a', to: '81' } }))
  w.take(update(XDS.route, { '80': { to: 'a' } }))
  const faults = w.take(
    update(XDS.cluster, { b: { called: 'a' }, c: { called: '' } }),
    update(XDS.listener, { m: { called: 'l', to: '82' } }),
    update(XDS.route, { '80': { called: '81', to: 'b' } }),
  )
  t.match(faults, [/^b: the name in it is "a"$/, /^c: .*a cluster needs a name/, /^m: .* "l"$/, /^80: .* "81"$/])
  t.same([w.clusters, w.listeners, w.tables], [{ a: [], b: [] }, ['m:81', 'l:80'], ['80>a']])
  t.equal(w.xds.refusals().length, 4)
})

t.test('names of odd characters are names like others', async (t) => {
  const odd = ['__proto__', 'constructor', 'toString', 'a\nb', 'ä\u0000|\u202e', ' ', 'x'.repeat(70_000)]
  const clusters = odd.map((name) => update(XDS.cluster, { [name]: { eds: name } }))
  const w = new World()
  t.same(w.take(...clusters, update(XDS.listener, { l: { own: '__proto__' } })), [])
  t.same([...(w.xds.wanted().get(XDS.endpoints) ?? [])], odd)
  t.same(w.take(...odd.map((name) => update(XDS.endpoints, { [name]: { to: '10.0.0.1' } }))), [])
  t.same(
    w.xds.snapshot.clusters.map((c) => [c.name, c.endpoints[0]?.address]),
    odd.map((name) => [name, '10.0.0.1']),
  )
  t.ok(w.xds.complete)
})

t.test('what is refused from the beginning holds nobody up', async (t) => {
  const w = new World()
  w.take(
    update(XDS.cluster, { a: { eds: 'a' }, b: { eds: 'b' } }),
    update(XDS.listener, { l: { rds: '80' }, f: { ecds: 'f', to: '81' } }),
  )
  w.take(update(XDS.endpoints, { a: { bad: true }, b: { to: '10.0.0.2' } }))
  w.take(update(XDS.route, { '80': { bad: true } }))
  t.same(w.xds.waitingFor(), ['listener f waits for the extension f'])
  w.take(update(XDS.extension, { f: { bad: true } }))
  t.same(w.xds.waitingFor(), [])
  t.same([w.clusters, w.listeners, w.tables], [{ a: [], b: ['10.0.0.2'] }, ['l:80'], ['80>']], 'without f nothing of f is there')
  t.match(w.xds.refusals(), [
    /^EDS a is refused, nothing serves in its place: /,
    /^RDS 80 is refused, nothing serves in its place: /,
    /^ECDS f is refused, nothing serves in its place: /,
  ])
  w.take(update(XDS.endpoints, { a: { to: '10.0.0.1' } }), update(XDS.route, { '80': { to: 'a' } }))
  w.take(update(XDS.extension, { f: {} }))
  t.same([w.clusters, w.tables], [{ a: ['10.0.0.1'], b: ['10.0.0.2'] }, ['80>a']])
  t.same([...w.listeners].sort(), ['f:81', 'l:80'])
  t.same(w.xds.refusals(), [])
})

t.test('a Secret that does not come is waited for as Envoy does', async (t) => {
  const w = new World()
  w.take(
    update(XDS.cluster, {}),
    update(XDS.listener, { l: { sds: 'kubernetes://gone' }, m: { rds: '80', sds: 'kubernetes://s', to: '81' } }),
  )
  w.nowMs = 14_999
  w.take()
  t.same(w.listeners, [])
  w.nowMs = 15_000
  w.take()
  t.same(w.listeners, ['l:80'], 'its handshakes fail')
  t.match(w.xds.waitingFor(), [/^listener m waits for .* the routes 80$/], 'routes are sent in any case')
})

t.test('what goes is gone: clusters, listeners, and what only they named', async (t) => {
  const w = new World()
  w.take(
    update(XDS.cluster, { a: { eds: 'a' }, b: {} }),
    update(XDS.endpoints, { a: { to: '10.0.0.1' } }),
    update(XDS.listener, { l: { rds: '80' }, m: {} }),
    update(XDS.route, { '80': {} }),
  )
  w.take(update(XDS.cluster, { a: null }), update(XDS.listener, { l: null }))
  w.xds.forgetUnwanted()
  t.same([w.clusters, w.listeners, w.tables], [{ b: [] }, ['m:80'], []])
  t.same([w.xds.endpoints.held.size, w.xds.routes.held.size], [0, 0])
})

t.test('clusters that share endpoints change together', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: { eds: 'e' }, b: { eds: 'e' } }), update(XDS.endpoints, { e: { to: '10.0.0.1' } }))
  w.take(update(XDS.endpoints, { e: { to: '10.0.0.2' } }))
  t.same(w.clusters, { a: ['10.0.0.2'], b: ['10.0.0.2'] })
})

t.test('a filter that changes is one of the listener that names it', async (t) => {
  const w = new World()
  w.take(update(XDS.listener, { l: { ecds: 'f' } }))
  w.take(update(XDS.extension, { f: {} }))
  const before = w.xds.snapshot.listeners[0]
  w.take(update(XDS.extension, { f: { to: 'fault.v3.HTTPFault' } }))
  t.not(w.xds.snapshot.listeners[0], before, 'translated again')
})

t.test('a filter that no listener can use is refused, and the one before it stays', async (t) => {
  const w = new World()
  w.take(update(XDS.listener, { l: { ecds: 'f' } }), update(XDS.extension, { f: {} }))
  const fault = 'fault.v3.HTTPFault'
  t.match(w.take(update(XDS.extension, { f: { bad: true } })), [/^f: the listener l cannot use it: /])
  t.match(w.xds.refusals(), [/^ECDS f is refused, its last good version serves: /])
  t.same(w.take(update(XDS.listener, { l: { ecds: 'f', to: '81' } })), [], 'the listener may change all the same')
  t.same(w.listeners, ['l:81'])
  t.same(w.take(update(XDS.extension, { f: { to: fault } })), [])
  t.same(w.xds.refusals(), [])
})

t.test('what is replaced keeps what it names until it is', async (t) => {
  const w = new World()
  const first = [
    update(XDS.listener, { l: { rds: '80', sds: 'kubernetes://old' } }),
    update(XDS.route, { '80': { to: 'a' } }),
    update(XDS.secret, { 'kubernetes://old': {} }),
    update(XDS.cluster, { a: { eds: 'one' } }),
    update(XDS.endpoints, { one: { to: '10.0.0.1' } }),
  ]
  w.take(...first)
  const names = (typeUrl: string) => [...(w.xds.wanted().get(typeUrl) ?? [])].sort()
  const second = [update(XDS.listener, { l: { rds: '81', sds: 'kubernetes://new' } }), update(XDS.cluster, { a: { eds: 'two' } })]
  for (const u of second) {
    w.xds.take(u, 0)
    w.xds.forgetUnwanted()
  }
  w.take()
  w.xds.forgetUnwanted()
  const all = [names(XDS.route), names(XDS.secret), names(XDS.endpoints)]
  t.same(all, [
    ['80', '81'],
    ['kubernetes://new', 'kubernetes://old'],
    ['one', 'two'],
  ])
  w.take(update(XDS.route, { '80': { to: 'b' } }))
  t.same(w.tables, ['80>b'], 'its routes go on changing')
  t.same(
    w.xds.credentials().map((c) => c.name),
    ['kubernetes://old'],
  )
  w.take(
    update(XDS.route, { '81': { to: 'a' } }),
    update(XDS.secret, { 'kubernetes://new': {} }),
    update(XDS.endpoints, { two: { to: '10.0.0.2' } }),
  )
  t.same([names(XDS.route), names(XDS.secret), names(XDS.endpoints)], [['81'], ['kubernetes://new'], ['two']])
})

t.test('a listener waits for clusters of routes that it carries, and of bytes, but not for long', async (t) => {
  for (const kind of ['own', 'tcp']) {
    const w = new World()
    w.take(update(XDS.cluster, { a: {} }), update(XDS.listener, { l: { to: '80', [kind]: 'a' } }))
    t.same(w.listeners, ['l:80'], kind)
    w.take(update(XDS.cluster, { b: { eds: 'b' } }), update(XDS.listener, { l: { to: '81', [kind]: 'b' } }))
    t.same([w.listeners, w.xds.waitingFor().at(-1)], [['l:80'], 'listener l waits for the cluster b'], kind)
    w.take(update(XDS.endpoints, { b: { to: '10.0.0.2' } }))
    t.same([w.listeners, w.xds.waiting], [['l:81'], 0], kind)
    w.take(update(XDS.listener, { l: { to: '82', [kind]: 'nowhere' } }))
    t.same(w.listeners, ['l:82'], `${kind}: one that nobody has announced is not waited for`)
    w.take(update(XDS.cluster, { d: { eds: 'd' } }), update(XDS.listener, { l: { to: '83', [kind]: 'd' } }))
    w.nowMs = 4999
    w.take()
    t.same(w.listeners, ['l:82'], kind)
    w.nowMs = 5000
    w.take()
    t.same(w.listeners, ['l:83'], kind)
  }
})

t.test('routes wait for a cluster that is new and waits itself, but not for long', async (t) => {
  const w = new World()
  w.take(update(XDS.cluster, { a: {} }), update(XDS.listener, { l: { rds: '80' } }), update(XDS.route, { '80': { to: 'a' } }))
  w.take(update(XDS.cluster, { b: { eds: 'b' } }), update(XDS.route, { '80': { to: 'b' } }))
  t.same(w.tables, ['80>a'])
  w.take(update(XDS.endpoints, { b: { to: '10.0.0.2' } }))
  t.same([w.tables, w.xds.waiting], [['80>b'], 0])
  w.take(update(XDS.route, { '80': { to: 'nowhere' } }))
  t.same(w.tables, ['80>nowhere'], 'one that nobody has announced is not waited for')
  w.take(update(XDS.cluster, { b: { eds: 'c' } }), update(XDS.route, { '80': { to: 'b' } }))
  t.same(w.tables, ['80>b'], 'the version before it serves')

  w.take(update(XDS.cluster, { d: { eds: 'd' } }), update(XDS.route, { '80': { to: 'd' } }))
  w.nowMs = 4999
  w.take(update(XDS.route, { '80': { to: 'd' } }))
  t.same(w.tables, ['80>b'])
  w.nowMs = 5000
  w.take()
  t.same(w.tables, ['80>d'])
})

t.test('routes that are in force do not wait for what they lead to, and hold up no others', async (t) => {
  const w = new World()
  const routes = (name: string, clusters: readonly string[]): ResourceUpdate => {
    const virtual_hosts = clusters.map((to, i) => ({ ...virtualHost(to), name: `v${i}`, domains: [`v${i}`] }))
    const resource = {
      typeUrl: XDS.route,
      name,
      aliases: [],
      version: '',
      bytes: bytes(RouteConfiguration, { name, virtual_hosts }),
    }
    return { typeUrl: XDS.route, origin: 'stream', changed: [resource], removed: [], complete: false, version: '' }
  }
  const leads = () => {
    const hosts = w.xds.snapshot.routeTables.find((table) => table.name === '80')?.virtualHosts ?? []
    return hosts.flatMap((v) =>
      v.routes.flatMap(({ action }) => (action.kind === 'forward' ? action.clusters.map((c) => c.cluster) : [])),
    )
  }
  w.take(update(XDS.cluster, { a: {} }), update(XDS.listener, { l: { rds: '80' } }), routes('80', ['nowhere', 'a']))
  w.take(update(XDS.cluster, { nowhere: { eds: 'nowhere' }, b: { eds: 'b' } }), routes('80', ['nowhere', 'nowhere']))
  t.same(leads(), ['nowhere', 'a'], 'what leads there anew waits')
  w.take(routes('80', ['nowhere', 'gone']))
  t.same(leads(), ['nowhere', 'gone'])
  w.take(routes('80', ['nowhere', 'b']))
  t.same(leads(), ['nowhere', 'gone'])
  w.take(update(XDS.endpoints, { b: { to: '10.0.0.2' } }))
  t.same(leads(), ['nowhere', 'b'])
})

t.test('a secret that is another is a change', async (t) => {
  const w = new World()
  w.take(
    update(XDS.listener, { l: { sds: 'kubernetes://s' } }),
    update(XDS.cluster, {}),
    update(XDS.secret, { 'kubernetes://s': {} }),
  )
  w.xds.take(update(XDS.secret, { 'kubernetes://s': {} }), 0)
  t.ok(w.xds.settle(0))
})

t.test('what changed is told, and nothing else', async (t) => {
  const w = new World()
  const addresses = Array.from({ length: 5000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
  const many = (to: readonly string[]) => update(XDS.endpoints, { big: { to: to.join(' ') } })
  w.take(update(XDS.cluster, { big: { eds: 'big' }, b: {} }), update(XDS.listener, { l: { rds: '80' } }))
  w.take(many(addresses), update(XDS.route, { '80': { to: 'big' } }))
  const before = w.xds.snapshot
  w.take(many(addresses.with(2500, '10.9.9.9')))
  const one = snapshotChanges(before, w.xds.snapshot)
  t.same(
    one.clusters.map((c) => c.endpoints?.endpoints?.items.map((e) => e.address)),
    [['10.9.9.9']],
    'of 5,000 endpoints one',
  )
  t.same([one.listeners, one.tables, one.clusterNames, one.gone], [null, [], null, []])

  const then = w.xds.snapshot
  const services = Array.from({ length: 500 }, (_, i) => `s${i}`)
  w.take(update(XDS.cluster, Object.fromEntries(services.map((name) => [name, { eds: name }]))))
  t.notOk(w.xds.settle(0), 'without endpoints nothing is in force')
  w.take(update(XDS.endpoints, Object.fromEntries(services.map((name) => [name, { to: '10.1.0.1' }]))))
  const all = snapshotChanges(then, w.xds.snapshot)
  t.same(
    all.clusters.map((c) => c.cluster.name),
    services,
    'the new ones, together',
  )
  t.equal(all.listeners, null)
})

t.test('what does not change stays the same object, and without a change there is no new snapshot', async (t) => {
  const w = new World()
  w.take(
    update(XDS.cluster, { a: { eds: 'a' }, b: {} }),
    update(XDS.endpoints, { a: { to: '10.0.0.1' } }),
    update(XDS.listener, { l: { rds: '80' } }),
    update(XDS.route, { '80': { to: 'a' } }),
  )
  const before = w.xds.snapshot
  t.notOk(w.xds.settle(0))
  w.take(update(XDS.endpoints, { a: { to: '10.0.0.2' } }), update(XDS.route, { '80': { to: 'a' } }))
  const after = w.xds.snapshot
  const named = (name: string) => [before, after].map((s) => s.clusters.find((c) => c.name === name))
  t.equal(after.version, before.version + 1)
  t.not(named('a')[0], named('a')[1])
  t.equal(named('b')[0], named('b')[1])
  t.equal(after.listeners[0], before.listeners[0])
  t.equal(after.routeTables[0], before.routeTables[0])
  t.equal(after.routeTables[1], before.routeTables[1])
})

t.test('a push touches what it changes: all else stays the same object', async (t) => {
  const w = new World()
  const names = Array.from({ length: 100 }, (_, i) => `c${i}`)
  w.take(
    update(XDS.cluster, Object.fromEntries(names.map((name) => [name, { eds: name }]))),
    update(XDS.endpoints, Object.fromEntries(names.map((name) => [name, { to: '10.0.0.1' }]))),
    update(XDS.listener, { l: { rds: '80', sds: 'kubernetes://s' } }),
    update(XDS.route, { '80': { to: 'c1' } }),
    update(XDS.secret, { 'kubernetes://s': {} }),
  )
  const before = w.xds.snapshot
  const credentials = w.xds.credentials()
  w.take(update(XDS.endpoints, { c7: { to: '10.0.0.2' } }))
  const after = w.xds.snapshot
  t.same(
    after.clusters.flatMap((c, i) => (c === before.clusters[i] ? [] : c.name)),
    ['c7'],
  )
  t.equal(after.listeners, before.listeners)
  t.equal(after.routeTables, before.routeTables)
  t.equal(w.xds.credentials(), credentials, 'nor are secrets looked for')
  w.take(update(XDS.route, { '80': { to: 'c2' } }))
  t.equal(w.xds.snapshot.clusters, after.clusters)
  t.equal(w.xds.snapshot.listeners, before.listeners)
  w.take(update(XDS.secret, { 'kubernetes://s': {} }))
  t.not(w.xds.credentials(), credentials)
  w.take(update(XDS.endpoints, Object.fromEntries(names.slice(0, 40).map((name) => [name, { to: '10.0.0.3' }]))))
  t.same(
    w.xds.snapshot.clusters.flatMap((c, i) => (c === after.clusters[i] ? [] : c.name)),
    names.slice(0, 40),
  )
  w.take(update(XDS.cluster, { c3: null, new: {} }))
  t.same(
    w.xds.snapshot.clusters.map((c) => c.name),
    [...names.filter((name) => name !== 'c3'), 'new'],
  )
})
