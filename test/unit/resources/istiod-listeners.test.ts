// The listeners, the clusters of the application and the TLS towards endpoints that istiod generated from the same YAML, against ours.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type LoadResult, ResourceLoader } from '../../../lib/resources/load.ts'
import type { FilterChain, Listener } from '../../../lib/state/listener.ts'
import { chainText } from './chain-text.ts'
import { bootstrapFor, peersFolder } from './kit.ts'

const peers = peersFolder()
const SIDECARS = [
  ...['match', 'hosts', 'rewrite', 'headers', 'limits-and-paths', 'retry', 'faults', 'weights', 'grpc', 'registry-only'],
  ...['inbound', 'visibility', 'gateway-api-mesh'],
].map((name) => join('cases', name))
const EXAMPLES = ['routing', 'resilience', 'inbound-policy'].map((name) => join('examples', name))

/*
 * What is otherwise here, on purpose:
 * - chains have names of their own, because a new configuration knows them by these; istiod gives several the same;
 * - what dials the capturing port itself is refused by its chain, where istiod leads it to BlackHoleCluster;
 * - for bytes istiod's servers agree on istio-peer-exchange by ALPN, and h2 and http/1.1: heddle speaks no peer exchange, and answers no ALPN;
 * - TLS 1.3 has its suites in one list with those of TLS 1.2, because Node takes the absence of either for a wish to do without it;
 * - a pod that names no service account runs as `default`, as Kubernetes has it; istiod, which is told so by the API server, finds it empty here.
 */

interface RecordedChain {
  readonly name?: string
  readonly filter_chain_match?: {
    readonly destination_port?: number
    readonly transport_protocol?: string
    readonly application_protocols?: readonly string[]
    readonly server_names?: readonly string[]
    readonly prefix_ranges?: readonly { readonly address_prefix: string; readonly prefix_len: number }[]
  }
  readonly filters: readonly { readonly name: string; readonly typed_config: RecordedFilter }[]
  readonly transport_socket?: { readonly typed_config: RecordedTls }
}

interface RecordedFilter {
  readonly cluster?: string
  readonly rds?: { readonly route_config_name: string }
  readonly route_config?: RecordedTable
  readonly forward_client_cert_details?: string
}

interface RecordedTable {
  readonly name: string
  readonly virtual_hosts: readonly {
    readonly name: string
    readonly domains: readonly string[]
    readonly routes: readonly {
      readonly name: string
      readonly route: {
        readonly cluster: string
        readonly retry_policy?: { readonly retry_on: string; readonly num_retries: number }
      }
    }[]
  }[]
}

interface RecordedTls {
  readonly require_client_certificate?: boolean
  readonly sni?: string
  readonly common_tls_context: {
    readonly tls_params?: Record<string, string | readonly string[]>
    readonly alpn_protocols?: readonly string[]
    readonly tls_certificate_sds_secret_configs?: readonly { readonly name: string }[]
    readonly combined_validation_context?: {
      readonly default_validation_context?: { readonly match_subject_alt_names?: readonly { readonly exact?: string }[] }
      readonly validation_context_sds_secret_config: { readonly name: string }
    }
  }
}

interface RecordedListener {
  readonly name: string
  readonly address: { readonly socket_address: { readonly address: string; readonly port_value: number } }
  readonly bind_to_port?: boolean
  readonly use_original_dst?: boolean
  readonly traffic_direction: string
  readonly filter_chains: readonly RecordedChain[]
  readonly default_filter_chain?: RecordedChain
}

interface RecordedCluster {
  readonly name: string
  readonly type: string
  readonly upstream_bind_config?: { readonly source_address: { readonly address: string } }
  readonly transport_socket_matches?: readonly {
    readonly name: string
    readonly transport_socket: { readonly typed_config: RecordedTls }
  }[]
  readonly metadata?: {
    readonly filter_metadata?: { readonly istio?: { readonly services?: readonly { readonly host: string }[] } }
  }
}

interface Recorded {
  readonly listeners: readonly RecordedListener[]
  readonly clusters: readonly RecordedCluster[]
}

function caseOf(folder: string): { xds: Recorded; result: LoadResult } {
  const xds = JSON.parse(readFileSync(join(folder, 'xds.json'), 'utf8')) as Recorded
  const proxy = JSON.parse(readFileSync(join(folder, 'proxy.json'), 'utf8')) as {
    ip: string
    namespace: string
    labels: Record<string, string>
  }
  const mesh = join(folder, 'mesh.yaml')
  const registryOnly = existsSync(mesh) && readFileSync(mesh, 'utf8').includes('REGISTRY_ONLY')
  const files = readdirSync(folder).filter((f) => f.endsWith('.yaml') && f !== 'mesh.yaml')
  const bootstrap = bootstrapFor(
    files.map((f) => join(folder, f)),
    {
      namespace: proxy.namespace,
      labels: proxy.labels,
      address: proxy.ip,
      outboundTrafficPolicy: registryOnly ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
      listeners: [],
      // Sidecars of Istio have no HBONE unless told.
      capture: { mode: 'redirect', tunnelPort: 0 },
      identity: 'files',
      minTlsVersion: 'TLSv1.2',
    },
  )
  return { xds, result: new ResourceLoader(bootstrap).load() }
}

/** As `chainText` has ours. */
function recordedText({ filter_chain_match: m = {}, filters, transport_socket: tls }: RecordedChain): string {
  const ranges = (m.prefix_ranges ?? []).map((r) => `${r.address_prefix}/${r.prefix_len}`)
  const conditions = [
    m.destination_port === undefined ? '' : String(m.destination_port),
    ranges.join(),
    (m.server_names ?? []).join(),
    m.transport_protocol ?? '',
    (m.application_protocols ?? []).join(),
  ].filter((text) => text !== '')
  const { cluster, rds, route_config: table } = filters.at(-1)!.typed_config
  const http = rds?.route_config_name ?? table?.name
  const guards = cluster === 'BlackHoleCluster' && m.destination_port !== undefined
  const to = http !== undefined ? `http ${http}` : guards ? 'refused' : `tcp ${cluster}`
  return [conditions.length === 0 ? 'any' : conditions.join(' '), '→', ...(tls === undefined ? [] : ['mtls']), to].join(' ')
}

function compareListeners(t: Test, ours: readonly Listener[], theirs: readonly RecordedListener[]): void {
  t.same(ours.map((l) => l.name).sort(), theirs.map((l) => l.name).sort(), 'names')
  for (const recorded of theirs) {
    const own = ours.find((l) => l.name === recorded.name)
    if (own === undefined) continue
    const { address, port_value: port } = recorded.address.socket_address
    const facts = { address, port, bind: recorded.bind_to_port !== false, direction: recorded.traffic_direction.toLowerCase() }
    t.match(own, { ...facts, handOver: recorded.use_original_dst === true }, `${own.name}: facts`)
    t.same(own.filterChains.map(chainText), recorded.filter_chains.map(recordedText), `${own.name}: chains`)
    const otherwise = recorded.default_filter_chain
    t.equal(
      own.defaultFilterChain === null ? '' : chainText(own.defaultFilterChain),
      otherwise === undefined ? '' : recordedText(otherwise),
      `${own.name}: default chain`,
    )
    for (const [i, chain] of recorded.filter_chains.entries()) compareChain(t, own.filterChains[i]!, chain)
  }
}

/** TLS, and what becomes of x-forwarded-client-cert. */
function compareChain(t: Test, own: FilterChain, { filters, transport_socket: socket, name }: RecordedChain): void {
  const { forward_client_cert_details: details } = filters.at(-1)!.typed_config
  if (own.network.kind === 'http' && details !== undefined)
    t.equal(own.network.clientCertificate, details.toLowerCase(), `${name}: client certificate`)
  if (socket === undefined) return
  const { common_tls_context: context, require_client_certificate: requires } = socket.typed_config
  const suites = context.tls_params?.['cipher_suites'] as readonly string[]
  t.match(
    own.tls,
    {
      certificate: context.tls_certificate_sds_secret_configs?.[0]?.name,
      trust: context.combined_validation_context?.validation_context_sds_secret_config.name,
      requireClientCertificate: requires,
      minVersion: versionOf(context.tls_params?.['tls_minimum_protocol_version'] as string),
      maxVersion: versionOf(context.tls_params?.['tls_maximum_protocol_version'] as string),
      alpn: own.network.kind === 'http' ? context.alpn_protocols : [],
    },
    `${name}: TLS`,
  )
  t.same(
    own.tls?.cipherSuites.filter((suite) => !suite.startsWith('TLS_')),
    suites,
    `${name}: suites`,
  )
}

function versionOf(text: string): string {
  return text.replace('TLSv1_', 'TLSv1.')
}

function compareApplication(t: Test, { snapshot }: LoadResult, { listeners, clusters }: Recorded): void {
  const inbound = clusters.filter((c) => c.name.startsWith('inbound|') || c.name === 'InboundPassthroughCluster')
  const ours = snapshot.clusters.filter((c) => c.name.startsWith('inbound|') || c.name === 'InboundPassthroughCluster')
  t.same(ours.map((c) => c.name).sort(), inbound.map((c) => c.name).sort(), 'clusters of the application')
  for (const { name, type, upstream_bind_config: bind, metadata } of inbound) {
    const own = ours.find((c) => c.name === name)
    t.match(own, { type, bind: { source4: bind?.source_address.address, clientSource: false } }, name)
    t.equal(own?.host, metadata?.filter_metadata?.istio?.services?.[0]?.host ?? '', `${name}: service`)
  }
  for (const { filters } of listeners.flatMap((l) => l.filter_chains)) {
    const table = filters.at(-1)!.typed_config.route_config
    if (table === undefined) continue
    const own = snapshot.routeTables.find((r) => r.name === table.name)
    for (const [i, host] of table.virtual_hosts.entries()) {
      const found = own?.virtualHosts[i]
      t.same([found?.name, found?.domains], [host.name, host.domains], `${table.name}: virtual host`)
      for (const [k, { name, route }] of host.routes.entries()) {
        const action = found?.routes[k]?.action
        const retry = action?.kind === 'forward' ? action.retry : undefined
        t.equal(found?.routes[k]?.name, name)
        t.equal(action?.kind === 'forward' ? action.clusters[0]?.cluster : '', route.cluster)
        t.equal(retry?.on.join() ?? '', route.retry_policy?.retry_on ?? '', `${table.name}: retries`)
        t.equal(retry?.attempts ?? 0, route.retry_policy?.num_retries ?? 0, `${table.name}: attempts`)
      }
    }
  }
}

function compareUpstreamTls(t: Test, { snapshot }: LoadResult, { clusters }: Recorded): void {
  for (const { name, type, transport_socket_matches: matches = [] } of clusters.filter((c) => c.name.startsWith('outbound|'))) {
    const own = snapshot.clusters.find((c) => c.name === name)
    t.equal(own?.type === 'ORIGINAL_DST', type === 'ORIGINAL_DST', `${name}: where endpoints come from`)
    const secure = matches.find((m) => m.name === 'tlsMode-istio')?.transport_socket.typed_config
    t.equal(own?.tls?.sni ?? '', secure?.sni ?? '', `${name}: server name`)
    if (secure === undefined) continue
    const { default_validation_context: expected } = secure.common_tls_context.combined_validation_context!
    const names = (expected?.match_subject_alt_names ?? []).map((n) => (n.exact ?? '').replace(/\/sa\/$/, '/sa/default'))
    t.same(own?.tls?.subjectAltNames, names, `${name}: identities`)
    t.match(own?.tls, { certificate: 'default', trust: 'ROOTCA', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' })
    // Nobody of these worlds has the label.
    t.notOk(own?.endpoints.some((e) => e.tls))
  }
}

t.test('recorded sidecars', { skip: peers === null ? 'the peers folder is not there (HEDDLE_PEERS)' : false }, async (t) => {
  for (const name of [...SIDECARS, ...EXAMPLES]) {
    t.test(name, async (t) => {
      const { xds, result } = caseOf(join(peers!, name))
      compareListeners(t, result.snapshot.listeners, xds.listeners)
      compareApplication(t, result, xds)
      compareUpstreamTls(t, result, xds)
    })
  }
})
