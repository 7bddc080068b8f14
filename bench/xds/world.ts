// What the control plane serves, in the shapes that istiod gives it: services that nobody asks for, and one route whose answer says which version of
// the configuration is in force.
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { envoyProtos } from '../../test/support/envoy-protos.ts'
import type { FakeControlPlane } from '../../test/support/fake-control-plane.ts'

const ADS = { ads: {}, resource_api_version: 'V3' }
const HCM = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'
const ROUTER = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'

/** Where the version is asked for. */
export const PROBE = '/which-version'
export const ENDPOINTS = 20

const namespaceOf = (i: number) => `namespace-${i % 50}`
const hostOf = (i: number) => `service-${i}.${namespaceOf(i)}.svc.cluster.local`
const clusterName = (i: number) => `outbound|80||${hostOf(i)}`

function set(plane: FakeControlPlane, typeUrl: string, name: string, json: object): void {
  plane.set(typeUrl, name, envoyProtos().encode(typeUrl.slice(typeUrl.indexOf('/') + 1), json as never))
}

function cluster(i: number): object {
  const service = { name: `service-${i}`, namespace: namespaceOf(i), host: hostOf(i) }
  return {
    name: clusterName(i),
    type: 'EDS',
    connect_timeout: '10s',
    lb_policy: 'LEAST_REQUEST',
    eds_cluster_config: { eds_config: ADS, service_name: clusterName(i) },
    circuit_breakers: {
      thresholds: [{ max_connections: 1000, max_pending_requests: 1000, max_requests: 1000, max_retries: 100 }],
    },
    metadata: { filter_metadata: { istio: { services: [service], default_original_port: 80 } } },
  }
}

/** `round`: its second endpoint is another. More than 254 endpoints: of a service below 256. */
function endpoints(i: number, round: number, count = ENDPOINTS): object {
  const lb_endpoints = Array.from({ length: count }, (_, k) => ({
    endpoint: { address: { socket_address: { address: addressOf(i, k), port_value: k === 1 ? 8080 + round : 8080 } } },
    load_balancing_weight: 1,
    metadata: { filter_metadata: { istio: { workload: `service-${i}-v1;${namespaceOf(i)};service-${i};v1;Kubernetes` } } },
  }))
  const localities = ['a', 'b'].map((zone, z) => ({
    locality: { region: 'region1', zone },
    lb_endpoints: lb_endpoints.filter((_, k) => k % 2 === z),
    load_balancing_weight: count / 2,
  }))
  return { cluster_name: clusterName(i), endpoints: count === 0 ? [] : localities }
}

function addressOf(i: number, k: number): string {
  const place = i < 256 ? (i << 16) + k + 1 : (i << 8) + k + 1
  return `10.${place >> 16}.${(place >> 8) & 255}.${place & 255}`
}

/** `routes`: the last one, for all paths, is what a service without a VirtualService has. */
function virtualHost(i: number, routes = 1): object {
  const [namespace, host] = [namespaceOf(i), hostOf(i)]
  const retry_policy = {
    retry_on: 'connect-failure,refused-stream,unavailable,cancelled',
    num_retries: 2,
    retry_host_predicate: [],
    host_selection_retry_max_attempts: 5,
  }
  const to = (name: string, prefix: string) => ({
    name,
    match: { prefix },
    route: { cluster: clusterName(i), timeout: '0s', retry_policy },
  })
  const parts = Array.from({ length: routes - 1 }, (_, r) => to(`part-${r}`, `/part-${r}/`))
  return {
    name: `${host}:80`,
    domains: [host, `service-${i}.${namespace}`, `service-${i}.${namespace}.svc`, `10.96.${i >> 8}.${i & 255}`],
    routes: [...parts, to('default', '/')],
  }
}

/** `routes` in the virtual host that says its version, the last of which says it; virtual hosts of `services` beside it, each of `each` routes. */
export function setRoutes(plane: FakeControlPlane, version: number, routes: number, services: number, each = 1): void {
  const probe = { match: { path: PROBE }, direct_response: { status: 200, body: { inline_string: String(version) } } }
  const others = Array.from({ length: routes - 1 }, (_, i) => ({
    name: `route-${i}`,
    match: { prefix: `/part-${i}/` },
    direct_response: { status: 404 },
  }))
  const own = { name: 'own', domains: ['*'], routes: [...others, probe] }
  set(plane, XDS.route, 'r', {
    name: 'r',
    virtual_hosts: [own, ...Array.from({ length: services }, (_, i) => virtualHost(i, each))],
    validate_clusters: false,
  })
}

export function setListener(plane: FakeControlPlane, port: number): void {
  const manager = {
    '@type': HCM,
    stat_prefix: 'out',
    rds: { config_source: ADS, route_config_name: 'r' },
    http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': ROUTER } }],
  }
  set(plane, XDS.listener, 'out', {
    name: 'out',
    traffic_direction: 'OUTBOUND',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
  })
}

export function setServices(plane: FakeControlPlane, services: number, each = ENDPOINTS): void {
  for (let i = 0; i < services; i++) {
    set(plane, XDS.cluster, clusterName(i), cluster(i))
    set(plane, XDS.endpoints, clusterName(i), endpoints(i, 0, each))
  }
}

/** What services are made of, much of each and nothing else. */
export interface Part {
  readonly title: string
  readonly count: number
  set(plane: FakeControlPlane): void
}

export const PARTS: readonly Part[] = [
  { title: 'cluster without endpoints', count: 5000, set: (plane) => setServices(plane, 5000, 0) },
  { title: 'endpoint, of clusters of 500', count: 50_000, set: (plane) => setServices(plane, 100, 500) },
  { title: 'virtual host of a route', count: 5000, set: (plane) => setRoutes(plane, 0, 1, 5000) },
  { title: 'route, of virtual hosts of 500', count: 50_000, set: (plane) => setRoutes(plane, 0, 1, 100, 500) },
]

/** Not pushed. */
export function setEndpoint(plane: FakeControlPlane, service: number, round: number): void {
  set(plane, XDS.endpoints, clusterName(service), endpoints(service, round))
}
