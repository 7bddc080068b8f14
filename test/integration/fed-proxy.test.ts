// heddle run fed by a control plane: what changes there changes here, and what happens to traffic while it is away, wrong, or gone since before the start.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { envoyProtos } from '../support/envoy-protos.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { startProxy } from '../support/proxy.ts'

const ADS = { ads: {}, resource_api_version: 'V3' }
const HCM = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'
const ROUTER = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'

function put(plane: FakeControlPlane, typeUrl: string, name: string, json: object): void {
  plane.put(typeUrl, name, envoyProtos().encode(typeUrl.slice(typeUrl.indexOf('/') + 1), json as never))
}

function cluster(name: string): object {
  return { name, type: 'EDS', connect_timeout: '1s', eds_cluster_config: { eds_config: ADS, service_name: name } }
}

function endpoints(name: string, ...upstreams: readonly EchoUpstream[]): object {
  const lb_endpoints = upstreams.map(({ host, port }) => ({
    endpoint: { address: { socket_address: { address: host, port_value: port } } },
  }))
  return { cluster_name: name, endpoints: [{ lb_endpoints, load_balancing_weight: 1 }] }
}

function listener(port: number, filters: readonly object[] = []): object {
  const manager = {
    '@type': HCM,
    stat_prefix: 'out',
    rds: { config_source: ADS, route_config_name: 'r' },
    http_filters: [...filters, { name: 'envoy.filters.http.router', typed_config: { '@type': ROUTER } }],
  }
  return {
    name: 'out',
    traffic_direction: 'OUTBOUND',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
  }
}

function route(to: string): object {
  const routes = [{ match: { prefix: '/' }, route: { cluster: to } }]
  return { name: 'r', virtual_hosts: [{ name: 'all', domains: ['*'], routes }] }
}

t.test('fed, changed, refused, alone, and started alone', async (t) => {
  const plane = await FakeControlPlane.start(t)
  const [a, b] = [await EchoUpstream.start(t, { name: 'a' }), await EchoUpstream.start(t, { name: 'b' })]
  const port = await freePort()
  const state = mkdtempSync(path.join(tmpdir(), 'heddle-state-'))
  t.teardown(() => rmSync(state, { recursive: true, force: true }))
  for (const [name, upstream] of [
    ['one', a],
    ['two', b],
  ] as const) {
    put(plane, XDS.cluster, name, cluster(name))
    put(plane, XDS.endpoints, name, endpoints(name, upstream))
  }
  put(plane, XDS.listener, 'out', listener(port))
  put(plane, XDS.route, 'r', route('one'))
  const bootstrap = { resources: [], listeners: [], xds: { address: plane.hostAndPort, transport: 'plaintext', state } }
  const proxy = await startProxy(t, { bootstrap })
  const answers = async (): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${port}/`)
    return response.headers.get('x-upstream') ?? String(response.status)
  }
  t.equal(await answers(), 'a')

  put(plane, XDS.route, 'r', route('two'))
  await eventually('the route is another', async () => (await answers()) === 'b')
  put(plane, XDS.endpoints, 'two', endpoints('two', a))
  await eventually('the endpoint is another', async () => (await answers()) === 'a')

  const unknown = {
    name: 'guard',
    typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC', rules: { action: 'LOG' } },
  }
  put(plane, XDS.listener, 'bad', { ...listener(port, [unknown]), name: 'bad', address: { pipe: { path: '/nowhere' } } })
  const nack = await plane.answered(XDS.listener, 'NACK')
  t.match(nack.error, /^bad: /)
  const status = JSON.parse((await proxy.admin('/control_plane')).body)
  t.match(status, { state: 'connected', address: plane.hostAndPort })
  const listeners = status.types.find((type: { readonly short: string }) => type.short === 'LDS')
  t.match(listeners, { answer: 'NACK', refused: [{ name: 'bad' }], lastNack: { text: nack.error } })
  t.equal(await answers(), 'a', 'the others stay')
  plane.remove(XDS.listener, 'bad')
  await plane.answered(XDS.listener)

  plane.stop()
  await eventually('it is noticed', async () => (await proxy.metrics()).value('envoy_control_plane_connected_state') === 0)
  t.equal(await answers(), 'a', 'what is in force stays')
  plane.set(XDS.route, 'r', envoyProtos().encode('envoy.config.route.v3.RouteConfiguration', route('one') as never))
  plane.set(
    XDS.endpoints,
    'one',
    envoyProtos().encode('envoy.config.endpoint.v3.ClusterLoadAssignment', endpoints('one', b) as never),
  )
  await plane.resume()
  await eventually('what changed meanwhile is in force', async () => (await answers()) === 'b', 20_000)

  await proxy.stop()
  plane.stop()
  await startProxy(t, { bootstrap })
  t.equal(await answers(), 'b', 'from disk')
  plane.set(XDS.route, 'r', envoyProtos().encode('envoy.config.route.v3.RouteConfiguration', route('two') as never))
  await plane.resume()
  await eventually('the control plane is back', async () => (await answers()) === 'a', 20_000)
})
