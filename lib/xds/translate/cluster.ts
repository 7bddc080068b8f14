// A Cluster without the endpoints that come by EDS, and what it needs beside. `assemble-cluster.ts` puts both together.
import type { Cluster as ClusterNoun, DnsFamily } from '../../state/cluster.ts'
import type { HealthCheck } from '../../state/health-check.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { SecretName } from '../../state/tls.ts'
import type { Credential } from '../../transport/secrets.ts'
import { Cluster, type Cluster as Message } from '../proto/cluster.ts'
import type { Http1ProtocolOptions, Http2ProtocolOptions } from '../proto/core.ts'
import { DynamicForwardProxy } from '../proto/dynamic-forward-proxy.ts'
import { encode } from '../proto/encode.ts'
import { ClusterLoadAssignment } from '../proto/endpoint.ts'
import { HttpProtocolOptions } from '../proto/http-protocol-options.ts'
import { typeUrlOf } from '../proto/schema.ts'
import { translateLimits } from './circuit-breakers.ts'
import type { Findings } from './findings.ts'
import { translateHealthChecks } from './health-check.ts'
import { NO_GATEWAY_FIELDS } from './internal-endpoint.ts'
import { istioMetadata, originOf } from './istio-metadata.ts'
import { anyAddressAt, type LoadAssignment, translateLoadAssignment } from './load-assignment.ts'
import { translateLoadBalancer } from './load-balancer.ts'
import { translateOutlierDetection } from './outlier-detection.ts'
import { translateBind } from './upstream-bind.ts'
import { translateSockets, type UpstreamSockets } from './upstream-tls.ts'

export interface TranslatedCluster {
  /** Without endpoints and locality weights. */
  readonly cluster: ClusterNoun
  /** The ClusterLoadAssignment that it waits for; null: none. */
  readonly edsName: string | null
  /** Secrets that it waits for, each once. */
  readonly secretNames: readonly SecretName[]
  /** Of secrets that the resource has written out (`inline:…`). */
  readonly credentials: readonly Credential[]
  /** Endpoints that stand in it; null: they come by EDS, or the client dials them. */
  readonly inline: LoadAssignment | null
  readonly sockets: UpstreamSockets
  readonly healthCheck: HealthCheck | null
  /** Endpoints of these states get the requests of sessions that they have. */
  readonly keepsSessions: ReadonlySet<string>
  /** Localities get what their weights say. */
  readonly weighsLocalities: boolean
}

/** The last one of filters towards an upstream: what encodes the request. */
const UPSTREAM_CODEC = 'envoy.filters.http.upstream_codec'
const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
const PRESERVE_CASE = 'type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig'
/** What the internal listener of a waypoint is: no endpoint is behind it, since heddle hands streams on by itself. */
const PLUMBING = new Set([
  'main_internal',
  'connect_originate',
  'inner_connect_originate',
  'outer_connect_originate',
  'forward_inner_connect',
])
const ENCAP = 'encap'

const NONE: readonly never[] = []

/** `from`: bytes of an envoy.config.cluster.v3.Cluster. null when they are none. With faults the result is of no use: the resource is refused. */
export function translateCluster(from: Uint8Array, tunnelFields: string, findings: Findings): TranslatedCluster | null {
  const of = findings.decode(from, Cluster)
  return of === null ? null : translateClusterMessage(of, tunnelFields, findings)
}

export function translateClusterMessage(of: Message, tunnelFields: string, findings: Findings): TranslatedCluster {
  refuseUnknown(of, findings)
  const http = httpOptions(of, findings)
  const spoken = protocolOf(of, http, findings)
  const policyOrigin = originOf(of.metadata)
  const sockets = translateSockets(of, http?.upstream_http_protocol_options ?? null, policyOrigin, findings)
  const { weighsLocalities, ...balancing } = translateLoadBalancer(of, findings)
  const common = http?.common_http_protocol_options ?? of.common_http_protocol_options
  const service = serviceOf(of)
  const cluster: ClusterNoun = {
    name: of.name,
    type: typeOf(of, findings),
    dnsNames: NONE,
    firstAddressOnly: of.type === 'LOGICAL_DNS',
    dnsFamily: dnsFamilyOf(of, findings),
    dialsHostAt: dialsHost(of) ? (sockets.tls === null ? 80 : 443) : 0,
    endpoints: NONE,
    ...balancing,
    ...(of.name === ENCAP ? { loadBalancer: { kind: 'PASSTHROUGH' } } : {}),
    localityWeights: null,
    outlierDetection: translateOutlierDetection(of.outlier_detection, findings.at('outlier_detection')),
    limits: translateLimits({ cluster: of, common, http2: spoken.http2 }, findings),
    tls: sockets.tls,
    tlsReason: sockets.reason,
    bind: translateBind(of.upstream_bind_config, findings.at('upstream_bind_config')),
    proxyProtocol: sockets.proxyProtocol,
    protocol: spoken.protocol,
    peers: peersOf(of),
    ...service,
    policyOrigin,
  }
  return {
    cluster,
    edsName: sameText(edsNameOf(of, findings), of.name),
    secretNames: sockets.tls === null ? NONE : [...new Set([sockets.tls.certificate, sockets.tls.trust])].filter((n) => n !== ''),
    credentials: sockets.credentials,
    inline: inlineOf(of, tunnelFields, findings),
    sockets,
    healthCheck: translateHealthChecks(of.health_checks, sockets.tls !== null, policyOrigin, findings),
    keepsSessions: sessionStatesOf(of),
    weighsLocalities,
  }
}

/** Of endpoints that sessions stay with (Envoy override_host_status). */
const SESSION_STATES: ReadonlySet<string> = new Set(['UNKNOWN', 'HEALTHY', 'DEGRADED'])

function sessionStatesOf({ common_lb_config: common }: Message): ReadonlySet<string> {
  const said = common?.override_host_status ?? null
  return said === null ? SESSION_STATES : new Set(said.statuses)
}

function refuseUnknown(of: Message, findings: Findings): void {
  if (of.name === '') findings.at('name').fault('a cluster needs a name')
  if (of.upstream_config !== null)
    findings.at('upstream_config').fault(`the connection pool ${of.upstream_config.name} is not understood`)
  // istio.metadata_exchange is the only one: it is for the ALPN istio-peer-exchange, which heddle does not offer.
  for (const [i, { name, typed_config: config, config_discovery: discovery }] of of.filters.entries())
    if (!OBSERVERS.has(name) && (config !== null || discovery !== null))
      findings.at('filters', i).fault(`the filter ${name} is not understood`)
  if (of.connection_pool_per_downstream_connection)
    findings.at('connection_pool_per_downstream_connection').note('connections to endpoints are shared by all clients')
  const { common_lb_config: common } = of
  if (of.close_connections_on_host_health_failure || common?.close_connections_on_host_set_change === true)
    findings.note('connections to endpoints are not cut when endpoints fail or change')
  if (common?.ignore_new_hosts_until_first_hc === true)
    findings.at('common_lb_config').note('new endpoints are used when their first check is over, or half a second')
  const original = of.original_dst_lb_config
  if (original === null || PLUMBING.has(of.name)) return
  const at = findings.at('original_dst_lb_config')
  if (original.use_http_header) at.at('use_http_header').fault('a client may not choose the endpoint by a header')
  if (original.metadata_key !== null) at.at('metadata_key').fault('the endpoint is where the client dialled, not in metadata')
}

/** Filters that only tell and count. */
const OBSERVERS = new Set([
  'istio.metadata_exchange',
  'envoy.filters.network.upstream.metadata_exchange',
  'upstream_hbone_peer_metadata',
  'upstream_peer_metadata',
])

function dnsFamilyOf({ type, dns_lookup_family: family }: Message, findings: Findings): DnsFamily {
  // Where no name is asked for it means nothing.
  if (type !== 'STRICT_DNS' && type !== 'LOGICAL_DNS' && family === 'AUTO') return 'V4_PREFERRED'
  if (family === 'AUTO' || family === 'V4_ONLY' || family === 'V6_ONLY' || family === 'V4_PREFERRED' || family === 'ALL')
    return family
  findings.at('dns_lookup_family').fault(`${family} is not understood`)
  return 'AUTO'
}

function typeOf(of: Message, findings: Findings): ClusterNoun['type'] {
  if (dialsHost(of)) {
    checkDynamic(of, findings.at('cluster_type'))
    return 'ORIGINAL_DST'
  }
  if (of.cluster_type !== null) {
    findings
      .at('cluster_type')
      .fault(`${of.cluster_type.name} is not understood; STATIC, STRICT_DNS, LOGICAL_DNS, EDS and ORIGINAL_DST are`)
    return 'STATIC'
  }
  if (of.name === ENCAP) return 'ORIGINAL_DST'
  switch (of.type) {
    case 'ORIGINAL_DST':
      return 'ORIGINAL_DST'
    case 'STRICT_DNS':
    case 'LOGICAL_DNS':
      return 'DNS'
    case 'STATIC':
    case 'EDS':
    case null:
      return 'STATIC'
    default:
      findings.at('type').fault(`${of.type} is not understood; STATIC, STRICT_DNS, LOGICAL_DNS, EDS and ORIGINAL_DST are`)
      return 'STATIC'
  }
}

const DYNAMIC = typeUrlOf(DynamicForwardProxy)

function dialsHost({ cluster_type: type }: Message): boolean {
  return type?.typed_config?.typeUrl === DYNAMIC
}

/** What is kept of answers, and for how long, is the system's to say. */
function checkDynamic({ cluster_type: type, lb_policy: policy }: Message, findings: Findings): void {
  if (policy !== 'CLUSTER_PROVIDED') findings.fault(`${policy} does not go with hosts that are looked up; CLUSTER_PROVIDED does`)
  const config = findings.unpack(type?.typed_config ?? null, DynamicForwardProxy)
  if (config !== null && config.sub_clusters_config !== null)
    findings.at('sub_clusters_config').fault('a cluster for each host is not made')
}

/** Whatever source it names: resources come over the one stream that there is. */
function edsNameOf(of: Message, findings: Findings): string | null {
  if (of.type !== 'EDS') return null
  const source = of.eds_cluster_config?.eds_config ?? null
  if (source?.path != null)
    findings.at('eds_cluster_config').at('eds_config').fault(`endpoints are not read from the file ${source.path}`)
  return of.eds_cluster_config?.service_name || of.name
}

/** One string where both say the same, which of a name is the rule. */
function sameText(text: string | null, name: string): string | null {
  return text === name ? name : text
}

function inlineOf(of: Message, tunnelFields: string, findings: Findings): LoadAssignment | null {
  const dialledPort = of.type === 'ORIGINAL_DST' ? (of.original_dst_lb_config?.upstream_port_override ?? 0) : 0
  if (dialledPort !== 0 && !PLUMBING.has(of.name)) return anyAddressAt(dialledPort)
  if (of.load_assignment === null || of.type === 'EDS') return null
  // Internal listeners that lead nowhere here.
  if (PLUMBING.has(of.name)) return null
  return translateLoadAssignment(
    encode(ClusterLoadAssignment, of.load_assignment),
    null,
    { tunnelFields, gateway: NO_GATEWAY_FIELDS, mayBeNames: of.type === 'STRICT_DNS' || of.type === 'LOGICAL_DNS' },
    findings.at('load_assignment'),
  )
}

function httpOptions(of: Message, findings: Findings): HttpProtocolOptions | null {
  const packed = of.typed_extension_protocol_options.get(HTTP_OPTIONS)
  const at = findings.at('typed_extension_protocol_options')
  for (const name of of.typed_extension_protocol_options.keys()) if (name !== HTTP_OPTIONS) at.note(`${name} is not understood`)
  return packed === undefined ? null : at.unpack(packed, HttpProtocolOptions)
}

interface Spoken {
  readonly protocol: ClusterNoun['protocol']
  readonly http2: Http2ProtocolOptions | null
}

/** Nothing said is HTTP/1.1, for clusters of plain TCP too. */
function protocolOf(of: Message, http: HttpProtocolOptions | null, findings: Findings): Spoken {
  const at = findings.at('typed_extension_protocol_options')
  const explicit = http?.explicit_http_config ?? null
  const downstream = http?.use_downstream_protocol_config ?? null
  const auto = http?.auto_config ?? null
  const options = explicit ?? downstream ?? auto
  if (options?.http3_protocol_options != null) {
    if (explicit !== null) at.at('explicit_http_config').fault('HTTP/3 is not spoken')
    else at.note('HTTP/3 is not spoken')
  }
  if ((http?.outlier_detection.length ?? 0) > 0 && of.outlier_detection !== null)
    at.at('outlier_detection').note('which responses are failures is not understood: those of 5xx are')
  noteHttp1(options?.http_protocol_options ?? null, at)
  for (const [i, { name, is_optional: optional, disabled }] of (http?.http_filters ?? []).entries())
    if (name !== UPSTREAM_CODEC && !optional && !disabled) at.at('http_filters', i).fault(`the filter ${name} is not understood`)
  const http2 = options?.http2_protocol_options ?? of.http2_protocol_options
  if (downstream !== null || of.protocol_selection === 'USE_DOWNSTREAM_PROTOCOL') return { protocol: 'client', http2 }
  if (auto !== null) {
    at.at('auto_config').note('endpoints are spoken to with HTTP/1.1')
    return { protocol: 'http1', http2 }
  }
  return { protocol: http2 === null ? 'http1' : 'http2', http2 }
}

function noteHttp1(options: Http1ProtocolOptions | null, at: Findings): void {
  const format = options?.header_key_format ?? null
  // To keep the case that names came in (preserve_case) is what heddle does in any case.
  if (format !== null && format.stateful_formatter?.typed_config?.typeUrl !== PRESERVE_CASE)
    at.note('header_key_format is not carried out: names of headers go out as they came')
}

/** Who is dialled by address is of nobody knows where (Istio). */
function peersOf({ name, metadata }: Message): ClusterNoun['peers'] {
  const { external, disable_mx: never } = istioMetadata(metadata)
  if (never === true) return 'never'
  return external === true || name === 'PassthroughCluster' ? 'outside' : 'mesh'
}

type ServiceFacts = Pick<ClusterNoun, 'host' | 'serviceName' | 'serviceNamespace' | 'port' | 'subset' | 'origin'>

/** Of metadata, which has the service, and of the name, which has port and subset: `outbound|9080|v2|reviews.prod.svc.cluster.local`. */
function serviceOf({ name, metadata }: Message): ServiceFacts {
  const [direction = '', port = '', middle = '', host = ''] = name.split('|')
  const [service] = servicesOf(metadata)
  const facts = {
    host: service?.host ?? host,
    serviceName: service?.name ?? '',
    serviceNamespace: service?.namespace ?? '',
    port: /^\d+$/.test(port) ? Number(port) : 0,
    // Of a waypoint's clusters: `http/v2`.
    subset: direction === 'inbound-vip' ? middle.replace(/^(http|tcp)\/?/, '') : middle,
  }
  return { ...facts, origin: serviceOrigin(facts.serviceName, facts.serviceNamespace, facts.host) }
}

interface ServiceMetadata {
  readonly host: string
  readonly name: string
  readonly namespace: string
}

function servicesOf(metadata: Message['metadata']): ServiceMetadata[] {
  const services = istioMetadata(metadata)['services']
  if (!Array.isArray(services)) return []
  return services.flatMap((s): ServiceMetadata[] => {
    if (typeof s !== 'object' || s === null) return []
    const text = (key: string): string => (typeof s[key] === 'string' ? (s[key] as string) : '')
    return [{ host: text('host'), name: text('name'), namespace: text('namespace') }]
  })
}

/** A service of Kubernetes has its name in its host; of another one istiod does not say by which object it was declared. */
function serviceOrigin(name: string, namespace: string, host: string): Origin {
  if (name === '' || !host.startsWith(`${name}.${namespace}.svc`)) return BUILT_IN
  return { kind: 'Service', namespace, name, file: '', line: 0, column: 0 }
}
