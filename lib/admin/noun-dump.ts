// `/config_dump` in Envoy's shape for what came from files: the outline of each noun, as istioctl and Kiali read it: names, addresses, conditions and where things go.
// What else there is of a noun is in heddle's own shape.
import { addressText, isSocketPath } from '../base/socket-path.ts'
import type { BootstrapConfig } from '../state/bootstrap-config.ts'
import type { Cluster, Locality } from '../state/cluster.ts'
import type { FilterChain, FilterChainMatch, Listener } from '../state/listener.ts'
import type { Origin } from '../state/origin.ts'
import type {
  HeaderMatch,
  MetadataMatch,
  PathMatch,
  QueryMatch,
  RequestShare,
  Route,
  RouteAction,
  StringMatch,
  ValueMatch,
  WeightedCluster,
} from '../state/route.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { DumpedConfig, DumpedResource } from './dumped-config.ts'

const TYPE = 'type.googleapis.com/envoy'
const NETWORK_FILTERS = `${TYPE}.extensions.filters.network`

/** Whether an endpoint may be chosen as far as its health goes: `10.0.0.1:80`. */
type IsHealthy = (cluster: string, address: string) => boolean

export function nounDump(
  bootstrap: BootstrapConfig,
  snapshot: Snapshot | null,
  isHealthy: IsHealthy,
): Omit<DumpedConfig, 'fed' | 'startedMs' | 'secrets'> {
  const { workload } = bootstrap
  const all = <T extends { readonly name: string }>(nouns: readonly T[], json: (noun: T) => object): DumpedResource[] =>
    nouns.map((noun) => ({
      name: noun.name,
      active: { version: '', updatedMs: 0, json: () => json(noun) },
      warming: null,
      failure: null,
    }))
  const version = snapshot === null ? '' : String(snapshot.version)
  return {
    node: {
      id: `${bootstrap.role}~${workload.address}~${workload.name}.${workload.namespace}~${workload.namespace}.svc.${bootstrap.mesh.domain}`,
      cluster: `${workload.name}.${workload.namespace}`,
      user_agent_name: 'heddle',
    },
    clustersVersion: version,
    listenersVersion: version,
    clusters: all(snapshot?.clusters ?? [], clusterJson),
    listeners: all(snapshot?.listeners ?? [], listenerJson),
    routes: all(snapshot?.routeTables ?? [], ({ name, virtualHosts }) => ({
      '@type': `${TYPE}.config.route.v3.RouteConfiguration`,
      name,
      virtual_hosts: virtualHosts.map((v) => ({ name: v.name, domains: v.domains, routes: v.routes.map(routeJson) })),
    })),
    inlineRoutes: () => [],
    endpoints: all(
      (snapshot?.clusters ?? []).filter((c) => c.type !== 'ORIGINAL_DST'),
      (c) => assignmentJson(c, isHealthy),
    ),
    extensions: [],
    missingSecrets: [],
  }
}

function clusterJson(c: Cluster): object {
  return {
    '@type': `${TYPE}.config.cluster.v3.Cluster`,
    name: c.name,
    type: c.type === 'DNS' ? (c.firstAddressOnly ? 'LOGICAL_DNS' : 'STRICT_DNS') : c.type,
    ...(c.loadBalancer.kind === 'PASSTHROUGH' || c.type === 'ORIGINAL_DST'
      ? { lb_policy: 'CLUSTER_PROVIDED' }
      : lbPolicy(c.loadBalancer.kind)),
    ...metadata(c.policyOrigin.kind === 'DestinationRule' ? c.policyOrigin : null),
  }
}

/** Round robin is the default; that of heddle alone has no name in Envoy's API. */
function lbPolicy(kind: string): object {
  return kind === 'ROUND_ROBIN' ? {} : { lb_policy: kind === 'PEAK_EWMA' ? 'LOAD_BALANCING_POLICY_CONFIG' : kind }
}

/** What a cluster has of endpoints now: those of DNS as they were resolved. */
export function assignmentJson({ name, endpoints, dnsNames }: Cluster, isHealthy: IsHealthy): object {
  const hosts = new Set(dnsNames.map(({ host }) => host))
  const [hostname = ''] = hosts.size === 1 ? hosts : []
  return {
    '@type': `${TYPE}.config.endpoint.v3.ClusterLoadAssignment`,
    cluster_name: name,
    endpoints: endpoints.map((e) => ({
      locality: localityJson(e.locality),
      lb_endpoints: [
        {
          endpoint: { address: socketAddress(e.address, e.port), ...(hostname === '' ? {} : { hostname }) },
          health_status: e.healthy && isHealthy(name, addressText(e.address, e.port)) ? 'HEALTHY' : 'UNHEALTHY',
          load_balancing_weight: e.weight,
        },
      ],
      priority: e.priority,
    })),
  }
}

function localityJson({ region, zone, subzone }: Locality): object {
  return Object.fromEntries(Object.entries({ region, zone, sub_zone: subzone }).filter(([, value]) => value !== ''))
}

function socketAddress(address: string, port: number): object {
  return isSocketPath(address) ? { pipe: { path: address } } : { socket_address: { address, port_value: port } }
}

function listenerJson(l: Listener): object {
  return {
    '@type': `${TYPE}.config.listener.v3.Listener`,
    name: l.name,
    address: socketAddress(l.address, l.port),
    ...(l.otherAddresses.length === 0
      ? {}
      : { additional_addresses: l.otherAddresses.map((other) => ({ address: socketAddress(other, l.port) })) }),
    filter_chains: l.filterChains.map(chainJson),
    ...(l.defaultFilterChain === null ? {} : { default_filter_chain: chainJson(l.defaultFilterChain) }),
    traffic_direction: l.direction === 'inbound' ? 'INBOUND' : 'OUTBOUND',
    ...(l.handOver ? { use_original_dst: true } : {}),
    ...(l.bind ? {} : { bind_to_port: false }),
  }
}

function chainJson(chain: FilterChain): object {
  const { network, tls } = chain
  return {
    filter_chain_match: chainMatch(chain.match),
    filters: networkFilters(chain),
    ...(tls === null
      ? {}
      : { transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: downstreamTls(tls.requireClientCertificate) } }),
    name: chain.name,
    ...metadata(network.kind === 'refuse' ? null : chain.origin),
  }
}

function downstreamTls(required: boolean): object {
  return {
    '@type': `${TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
    ...(required ? { require_client_certificate: true } : {}),
  }
}

function chainMatch(m: FilterChainMatch): object {
  const ranges = (all: readonly string[]): object[] =>
    all.map((cidr) => ({ address_prefix: cidr.replace(/\/.*/, ''), prefix_len: Number(cidr.replace(/.*\//, '')) }))
  const fields: Record<string, unknown> = {
    destination_port: m.destinationPort,
    prefix_ranges: ranges(m.destinationRanges),
    server_names: m.serverNames,
    transport_protocol: m.transportProtocol,
    application_protocols: m.applicationProtocols,
    source_prefix_ranges: ranges(m.sourceRanges),
    source_ports: m.sourcePorts,
  }
  return Object.fromEntries(
    Object.entries(fields).filter(([, v]) => v !== 0 && v !== '' && !(Array.isArray(v) && v.length === 0)),
  )
}

function networkFilters({ network, name }: FilterChain): object[] {
  if (network.kind === 'http' || network.kind === 'tunnel') {
    const config_source = { ads: {}, resource_api_version: 'V3' }
    const table = network.kind === 'http' ? network.routeTable : ''
    const manager = {
      '@type': `${NETWORK_FILTERS}.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      ...(table === '' ? {} : { rds: { config_source, route_config_name: table } }),
    }
    return [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }]
  }
  const to = network.kind === 'tcp' ? destinations(network.clusters) : { cluster: 'BlackHoleCluster' }
  const proxy = { '@type': `${NETWORK_FILTERS}.tcp_proxy.v3.TcpProxy`, stat_prefix: name, ...to }
  return [{ name: 'envoy.filters.network.tcp_proxy', typed_config: proxy }]
}

/** One cluster, or several by weight. */
function destinations(all: readonly WeightedCluster[]): object {
  const [first, ...others] = all
  if (others.length === 0 && first !== undefined && first.clusterHeader !== '') return { cluster_header: first.clusterHeader }
  if (others.length === 0) return { cluster: first?.cluster ?? 'BlackHoleCluster' }
  const named = ({ cluster, clusterHeader }: WeightedCluster): object =>
    clusterHeader === '' ? { name: cluster } : { cluster_header: clusterHeader }
  return { weighted_clusters: { clusters: all.map((c) => ({ ...named(c), weight: c.weight })) } }
}

function routeJson(route: Route): object {
  const { headers, query, path, metadata: found, share, certificate } = route.match
  return {
    match: {
      ...pathMatch(path),
      ...(headers.length === 0 ? {} : { headers: headers.map(headerMatch) }),
      ...(query.length === 0
        ? {}
        : { query_parameters: query.map(({ name, match }: QueryMatch) => ({ name, ...matcher(match) })) }),
      ...(found.length === 0 ? {} : { dynamic_metadata: found.map(metadataMatch) }),
      ...(share === null ? {} : { runtime_fraction: fractionOf(share) }),
      ...(certificate === null ? {} : { tls_context: { presented: certificate } }),
    },
    ...actionJson(route.action),
    ...metadata(route.origin),
    name: route.name,
  }
}

function pathMatch(path: PathMatch | null): object {
  if (path === null) return { prefix: '/' }
  const sensitive = path.ignoreCase ? { case_sensitive: false } : {}
  switch (path.kind) {
    case 'exact':
      return { path: path.value, ...sensitive }
    case 'prefix':
      return { prefix: path.value, ...sensitive }
    case 'pathPrefix':
      return path.value === '/' ? { prefix: '/' } : { path_separated_prefix: path.value, ...sensitive }
    default:
      return { safe_regex: { regex: path.value }, ...sensitive }
  }
}

function headerMatch({ name, match, invert, missingIsEmpty }: HeaderMatch): object {
  const inverted = invert ? { invert_match: true } : {}
  return { name, ...matcher(match), ...inverted, ...(missingIsEmpty ? { treat_missing_header_as_empty: true } : {}) }
}

const DENOMINATORS: Readonly<Record<number, string>> = { 100: 'HUNDRED', 10000: 'TEN_THOUSAND', 1000000: 'MILLION' }

function fractionOf({ part, of }: RequestShare): object {
  return { default_value: { numerator: part, denominator: DENOMINATORS[of] ?? 'HUNDRED' } }
}

function metadataMatch({ filter, path, value, invert }: MetadataMatch): object {
  const inverted = invert ? { invert: true } : {}
  return { filter, path: path.map((key) => ({ key })), value: valueMatch(value), ...inverted }
}

function valueMatch(v: ValueMatch): object {
  switch (v.kind) {
    case 'text':
      return matcher(v.match)
    case 'element':
      return { list_match: { one_of: valueMatch(v.of) } }
    case 'or':
      return { or_match: { value_matchers: v.of.map(valueMatch) } }
    case 'null':
      return { null_match: {} }
    case 'number':
      return { double_match: v.first === v.end ? { exact: v.first } : { range: { start: v.first, end: v.end } } }
    default:
      return { [`${v.kind}_match`]: v.value }
  }
}

function matcher({ kind, value, ignoreCase }: StringMatch): object {
  if (kind === 'present') return { present_match: true }
  const of = kind === 'regex' ? { safe_regex: { regex: value } } : { [kind]: value }
  return { string_match: { ...of, ...(ignoreCase ? { ignore_case: true } : {}) } }
}

function actionJson(action: RouteAction): object {
  if (action.kind === 'direct') return { direct_response: { status: action.status } }
  if (action.kind === 'redirect') {
    const { authority, path, scheme, prefixRewrite } = action
    const fields = { host_redirect: authority, path_redirect: path, scheme_redirect: scheme, prefix_rewrite: prefixRewrite ?? '' }
    return { redirect: Object.fromEntries(Object.entries(fields).filter(([, v]) => v !== '')) }
  }
  return { route: { ...destinations(action.clusters), timeout: `${action.timeoutMs / 1000}s` } }
}

const APIS: Readonly<Record<string, string>> = {
  VirtualService: '/apis/networking.istio.io/v1/namespaces/NS/virtual-service/',
  DestinationRule: '/apis/networking.istio.io/v1/namespaces/NS/destination-rule/',
}

/** As istiod says which object something came from. */
function metadata(origin: Origin | null): object {
  const api = origin === null ? undefined : APIS[origin.kind]
  if (origin === null || api === undefined) return {}
  return { metadata: { filter_metadata: { istio: { config: `${api.replace('NS', origin.namespace)}${origin.name}` } } } }
}
