// The admin page as Istio's tools ask it: heddle and Envoy are fed by the same control plane, and say the same of it in the same shape.
import t, { type Test } from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { Envoy, findEnvoy } from '../support/envoy.ts'
import { envoyProtos } from '../support/envoy-protos.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { type HeddleProcess, runHeddle, startProxy } from '../support/proxy.ts'

const ADS = { ads: {}, resource_api_version: 'V3' }
const HCM = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'
const ROUTER = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'
const ADMIN = 'type.googleapis.com/envoy.admin.v3.'

type Json = null | boolean | number | string | readonly Json[] | JsonObject
interface JsonObject {
  readonly [key: string]: Json
}

function put(plane: FakeControlPlane, typeUrl: string, name: string, json: object): void {
  plane.put(typeUrl, name, envoyProtos().encode(typeUrl.slice(typeUrl.indexOf('/') + 1), json as never))
}

function cluster(name: string): object {
  return { name, type: 'EDS', connect_timeout: '1s', eds_cluster_config: { eds_config: ADS, service_name: name } }
}

function listener(name: string, port: number, filter: object): object {
  const manager = {
    '@type': HCM,
    stat_prefix: 'out',
    rds: { config_source: ADS, route_config_name: 'r' },
    http_filters: [filter],
  }
  return {
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
    traffic_direction: 'OUTBOUND',
  }
}

/** Clusters that ask nobody for their endpoints, or not the control plane. */
function putClustersWithEndpoints(plane: FakeControlPlane, upstream: EchoUpstream): void {
  const at = (address: string) => ({
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address, port_value: upstream.port } } } }] }],
  })
  const rows: [name: string, more: object][] = [
    ['own', { type: 'STATIC', load_assignment: { cluster_name: 'other', ...at(upstream.host) } }],
    ['dns', { type: 'STRICT_DNS', dns_lookup_family: 'V4_ONLY', load_assignment: { cluster_name: 'dns', ...at('localhost') } }],
    ['dialled', { type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' }],
  ]
  for (const [name, more] of rows) put(plane, XDS.cluster, name, { name, connect_timeout: '1s', ...more })
}

/** With two more chains, whose routes are their own. */
function withOwnRoutes(of: object): object {
  const chain = (name: string, cluster: string, match: object) => {
    const routes = [{ match: { prefix: '/' }, route: { cluster }, name: 'default' }]
    const manager = {
      '@type': HCM,
      stat_prefix: name,
      route_config: { name, virtual_hosts: [{ name: 'all', domains: ['*'], routes }], validate_clusters: false },
      http_filters: [ROUTER_FILTER],
    }
    return { ...match, name, filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }
  }
  const { filter_chains } = of as { readonly filter_chains: readonly object[] }
  return {
    ...of,
    filter_chains: [...filter_chains, chain('inbound|9||', 'own', { filter_chain_match: { destination_port: 9 } })],
    default_filter_chain: chain('InboundPassthroughCluster', 'dialled', {}),
  }
}

const ROUTES = {
  name: 'r',
  virtual_hosts: [
    { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'one', timeout: '3s' }, name: 'here' }] },
  ],
}
const ROUTER_FILTER = { name: 'envoy.filters.http.router', typed_config: { '@type': ROUTER } }
/** Nobody has such a filter. */
const UNKNOWN_FILTER = { name: 'nonesuch', typed_config: { '@type': 'type.googleapis.com/envoy.config.core.v3.Address' } }

/** A world that both can put in force. Envoy and heddle cannot listen on one port: each has a plane of its own. */
async function fed(t: Test, upstream: EchoUpstream): Promise<{ plane: FakeControlPlane; port: number }> {
  const plane = await FakeControlPlane.start(t)
  plane.alter = (response) => ({ resources: response.resources.map((r) => ({ ...r, version: 'v1' })) })
  put(plane, XDS.cluster, 'one', cluster('one'))
  const address = { socket_address: { address: upstream.host, port_value: upstream.port } }
  const endpoints = [{ locality: { region: 'here' }, lb_endpoints: [{ endpoint: { address } }], load_balancing_weight: 1 }]
  put(plane, XDS.endpoints, 'one', { cluster_name: 'one', endpoints })
  putClustersWithEndpoints(plane, upstream)
  const port = await freePort()
  put(plane, XDS.listener, 'out', withOwnRoutes(listener('out', port, ROUTER_FILTER)))
  put(plane, XDS.route, 'r', ROUTES)
  return { plane, port }
}

function startFed(t: Test, plane: FakeControlPlane): Promise<HeddleProcess> {
  const bootstrap = { resources: [], listeners: [], xds: { address: plane.hostAndPort, transport: 'plaintext' } }
  return startProxy(t, { bootstrap })
}

/** Each field by its path, with the kind of its value; of lists all elements together. */
function shape(value: Json, at = '', out = new Map<string, string>()): Map<string, string> {
  if (Array.isArray(value)) for (const v of value) shape(v as Json, `${at}[]`, out)
  else if (typeof value === 'object' && value !== null) {
    const type = (value as JsonObject)['@type']
    const where = typeof type === 'string' ? `${at}<${type.slice(type.lastIndexOf('.') + 1)}>` : at
    for (const [key, v] of Object.entries(value)) shape(v, `${where}.${key}`, out)
  } else out.set(at, typeof value)
  return out
}

const configs = (dump: unknown): readonly JsonObject[] => (dump as { configs: JsonObject[] }).configs

/** What differs, and may: what Envoy is started with, and what it writes with defaults. */
const OTHERWISE =
  /^\[\]<BootstrapConfigDump>\.bootstrap|static_clusters|static_endpoint_configs|health_check_config|\.policy\.|lb_endpoints\[\]\.load_balancing_weight/

t.test('fed by a control plane', async (t) => {
  const upstream = await EchoUpstream.start(t)
  const { plane, port } = await fed(t, upstream)
  const proxy = await startFed(t, plane)
  const dump = async (query = ''): Promise<readonly JsonObject[]> => configs(await proxy.adminJson(`/config_dump${query}`))

  t.test('all types are acknowledged, with the nonce of the last response', async (t) => {
    await plane.synced()
    const status = (await proxy.adminJson('/control_plane')) as { state: string; types: { short: string; answer: string }[] }
    t.equal(status.state, 'connected')
    t.strictSame(
      status.types.map(({ short, answer }) => `${short} ${answer}`),
      // Of the last two no name was wanted yet.
      ['CDS ACK', 'EDS ACK', 'LDS ACK', 'RDS ACK', 'SDS waiting', 'ECDS waiting'],
    )
  })

  t.test('what was sent is counted', async (t) => {
    const bytes = plane.world.get(XDS.listener)?.get('out')?.bytes.length
    const { sent } = (await proxy.adminJson('/config_use')) as { sent: readonly { kind: string }[] }
    t.match(
      sent.find(({ kind }) => kind === 'listeners'),
      { count: 1, bytes },
    )
    t.match((await runHeddle(['top', 'config', '--config', proxy.configFile])).stdout, /^endpoints +1 /m)
  })

  t.test('the dump is an envoy.admin.v3.ConfigDump', async (t) => {
    put(plane, XDS.listener, 'bad', listener('bad', port, UNKNOWN_FILTER))
    const nack = await plane.answered(XDS.listener, 'NACK')
    t.match(nack.error, /^bad: .*nonesuch/)
    plane.answers = (typeUrl) => typeUrl !== XDS.endpoints
    put(plane, XDS.cluster, 'waits', cluster('waits'))
    await plane.answered(XDS.cluster)
    const text = (await proxy.admin('/config_dump?include_eds=true')).body
    const protos = envoyProtos().load('envoy/admin/v3')
    t.doesNotThrow(
      () => protos.encode('envoy.admin.v3.ConfigDump', JSON.parse(text)),
      'no field that the definition does not have',
    )
    const types = configs(JSON.parse(text)).map((c) => String(c['@type']).replace(ADMIN, ''))
    t.strictSame(types, [
      'BootstrapConfigDump',
      'ClustersConfigDump',
      'EndpointsConfigDump',
      'ListenersConfigDump',
      'ScopedRoutesConfigDump',
      'RoutesConfigDump',
      'SecretsConfigDump',
    ])
    const [bad] = (await dump('?resource=dynamic_listeners&name_regex=bad')) as readonly [JsonObject]
    t.match(bad, {
      name: 'bad',
      error_state: { details: /nonesuch/, last_update_attempt: /^20..-/, failed_configuration: { name: 'bad' } },
    })
    t.notOk('active_state' in bad, 'nothing of that name serves')
    const waiting = await dump('?resource=dynamic_warming_clusters&mask=cluster.name')
    t.match(waiting, [{ cluster: { name: 'waits' } }])
    t.match(await proxy.adminJson('/control_plane'), { warming: [/^cluster waits waits for /] })

    plane.answers = () => true
    put(plane, XDS.listener, 'out', listener('out', port, UNKNOWN_FILTER))
    await plane.answered(XDS.listener, 'NACK')
    const [out] = (await dump('?resource=dynamic_listeners&name_regex=out')) as readonly [JsonObject]
    t.match(out, { active_state: { version_info: 'v1', listener: { name: 'out' } }, error_state: { details: /nonesuch/ } })
    t.match(JSON.stringify(out['active_state']), ROUTER, 'the one before it serves')
  })

  t.test('heddle xds status says so', async (t) => {
    const file = { '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog', path: '/dev/stdout' }
    const log = {
      name: 'envoy.access_loggers.file',
      typed_config: { ...file, log_format: { text_format_source: { filename: '/f' } } },
    }
    put(plane, XDS.listener, 'logs', { ...listener('logs', await freePort(), ROUTER_FILTER), access_log: [log] })
    const notes = async () => ((await proxy.adminJson('/control_plane')) as { readonly notes: readonly object[] }).notes
    await eventually('it is accepted', async () => (await notes()).length > 0)
    const { stdout, code } = await runHeddle(['xds', 'status', '--config', proxy.configFile])
    t.equal(code, 1, 'there is something to say')
    t.match(stdout, /^control plane 127\.0\.0\.1:\d+: connected since /)
    t.match(stdout, /^CDS +SYNCED +\d+/m)
    t.match(stdout, /^LDS +NACK /m)
    t.match(stdout, /^ {2}LDS refused bad: .*nonesuch/m)
    t.match(stdout, /^accepted, and without effect here:\n {2}LDS logs: .*it is not in the message itself/m)
    const json = await runHeddle(['xds', 'status', '--admin', `127.0.0.1:${proxy.adminPort}`, '--json'])
    t.match(JSON.parse(json.stdout), { state: 'connected' })
    plane.stop()
    await eventually(
      'it is noticed',
      async () => ((await proxy.adminJson('/control_plane')) as JsonObject)['state'] !== 'connected',
    )
    t.match((await runHeddle(['xds', 'status', '--config', proxy.configFile])).stdout, /away since |connecting since /)
  })
})

t.test('as Envoy', { skip: findEnvoy() === null ? 'there is no Envoy' : '' }, async (t) => {
  const upstream = await EchoUpstream.start(t)
  const ours = await fed(t, upstream)
  const theirs = await fed(t, upstream)
  const [host = '', port = ''] = theirs.plane.hostAndPort.split(':')
  const nodeId = 'sidecar~127.0.0.1~x.default~default.svc.cluster.local'
  const envoy = await Envoy.fed(t, { host, port: Number(port), nodeId })
  const proxy = await startFed(t, ours.plane)
  for (const { plane, port } of [ours, theirs]) {
    put(plane, XDS.listener, 'bad', listener('bad', port, UNKNOWN_FILTER))
    await plane.answered(XDS.listener, 'NACK')
  }
  const both = async (query: string): Promise<[JsonObject, JsonObject]> => {
    const clean = (text: string): JsonObject => {
      const timeless = text.replace(/"20\d\d-[^"]*Z"/g, '"2026-01-01T00:00:00Z"')
      return JSON.parse(timeless.replaceAll(String(ours.port), '1').replaceAll(String(theirs.port), '1'))
    }
    return [clean((await proxy.admin(query)).body), clean((await envoy.admin(query)).body)]
  }

  t.test('every field has the same place and kind', async (t) => {
    const [mine, its] = await both('/config_dump?include_eds')
    const [a, b] = [shape(configs(mine) as never), shape(configs(its) as never)]
    for (const [path, kind] of b) if (!OTHERWISE.test(path)) t.equal(a.get(path), kind, path)
    const protos = envoyProtos().load('envoy/admin/v3')
    t.doesNotThrow(() => protos.encode('envoy.admin.v3.ConfigDump', mine as never))
  })

  t.test('the resources are the same', async (t) => {
    for (const query of [
      'resource=dynamic_active_clusters&name_regex=one',
      'resource=dynamic_active_clusters&name_regex=one&mask=cluster.name,cluster.type',
      'resource=dynamic_active_clusters&name_regex=none',
      'resource=dynamic_route_configs',
      'mask=dynamic_route_configs',
    ]) {
      const [mine, its] = await both(`/config_dump?${query}`)
      t.strictSame(mine, its, query)
    }
    // Each list in whatever order.
    const nameOf = (c: JsonObject, field: string) => String(((c[field] ?? {}) as JsonObject)['name'])
    const elements = async (query: string): Promise<(readonly JsonObject[])[]> =>
      (await both(`/config_dump?${query}`)).map((json) =>
        configs(json).toSorted((a, b) => nameOf(a, 'route_config').localeCompare(nameOf(b, 'route_config'))),
      )
    const [tables, itsTables] = await elements('resource=static_route_configs')
    t.strictSame(tables, itsTables, 'what listeners carry themselves')
    t.equal(tables?.length, 2)
    const [of, itsOf] = await elements('include_eds&resource=dynamic_endpoint_configs&mask=endpoint_config.cluster_name')
    t.strictSame(
      of?.map((c) => JSON.stringify(c)).sort(),
      itsOf?.map((c) => JSON.stringify(c)).sort(),
      'endpoints of all clusters',
    )
    for (const name of ['one', 'own', 'dns']) {
      const [has, itsHas] = (await elements(`include_eds&resource=dynamic_endpoint_configs&name_regex=${name}`)).map((all) =>
        JSON.stringify(all).match(/"(?:address|hostname|port_value|health_status)":["\w.]+/g),
      )
      t.strictSame(has?.sort(), itsHas?.sort(), name)
      t.not(has?.length ?? 0, 0, name)
    }
    // Envoy's filter by name leaves refused listeners in.
    const [mine, its] = await both('/config_dump?resource=dynamic_listeners&mask=name,active_state.listener')
    t.strictSame(configs(mine)[0], configs(its)[0])
  })

  t.test('questions without an answer', async (t) => {
    for (const query of [
      'resource=dynamic_foo',
      'resource=version_info',
      'resource=dynamic_endpoint_configs',
      'mask=foo',
      'name_regex=(',
    ]) {
      const [mine, its] = [await proxy.admin(`/config_dump?${query}`), await envoy.admin(`/config_dump?${query}`)]
      t.equal(mine.status, its.status, query)
      if (query.startsWith('resource')) t.equal(mine.body, its.body, query)
    }
  })

  t.test('readiness fails when it is told to, until it is told otherwise', async (t) => {
    const steps: [method: string, page: string][] = [
      ['GET', '/healthcheck/fail'],
      ['POST', '/healthcheck/fail'],
      ['POST', '/healthcheck/fail'],
      ['POST', '/healthcheck/ok'],
    ]
    const all = async (asked: typeof envoy.admin): Promise<unknown[]> => {
      const seen: unknown[] = []
      for (const [method, page] of steps) {
        const { status } = await asked(page, method)
        const ready = await asked('/ready')
        const { body } = await asked('/stats/prometheus')
        const live = /^envoy_server_live(?:\{\})? (\d)$/m.exec(body)?.[1]
        seen.push([method, page, status, ready.status, ready.body, live])
      }
      return seen
    }
    const mine = await all((target, method) => proxy.admin(target, method))
    t.same(mine, await all((target, method) => envoy.admin(target, method)))
  })

  t.test('other pages have the fields of Envoy’s', async (t) => {
    const of = (path: string): RegExp => new RegExp(`^\\.(?:${path})`)
    const rows: [page: string, fields: RegExp][] = [
      [
        '/clusters?format=json',
        of(
          'cluster_statuses\\[\\]\\.(name|host_statuses\\[\\]\\.(address|health_status|weight|locality)|observability_name|circuit_breakers)',
        ),
      ],
      ['/listeners?format=json', of('listener_statuses')],
      [
        '/server_info',
        of(
          'version|state|uptime|hot_restart_version|node\\.(id|cluster|user_agent_name)|command_line_options\\.(concurrency|mode|drain_time|log_level)$',
        ),
      ],
      ['/memory', of('')],
      ['/stats?format=json&usedonly', of('stats\\[\\]\\.name')],
    ]
    for (const [page, fields] of rows) {
      const [mine, its] = (await both(page)).map((json) => shape(json)) as [Map<string, string>, Map<string, string>]
      const wanted = [...its].filter(([path]) => fields.test(path))
      t.not(wanted.length, 0, page)
      for (const [path, kind] of wanted) t.equal(mine.get(path), kind, `${page} ${path}`)
    }
    t.strictSame(await both('/certs'), [{ certificates: [] }, { certificates: [] }])
    const level = await proxy.admin('/logging?level=trace', 'POST')
    t.match(level.body, /^active loggers:\n {2}heddle: debug\n/)
  })
})
