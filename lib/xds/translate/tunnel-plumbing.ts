// What istiod builds of internal listeners for HBONE. heddle has tunnels of its own, so that most of it has nothing to do here: it is recognised by its names, and
// refused where its shape is another than the one that those tunnels have.
import { type FilterChain, MATCH_EVERYTHING } from '../../state/listener.ts'
import type { Credential } from '../../transport/secrets.ts'
import { HttpSetFilterState, NetworkSetFilterState } from '../proto/filters.ts'
import { HttpConnectionManager } from '../proto/http-connection-manager.ts'
import { type ListenerShell, FilterChain as SentChain } from '../proto/listener.ts'
import type { Any } from '../proto/schema.ts'
import { TcpProxy } from '../proto/tcp-proxy.ts'
import { ChainScope, type Extensions } from './chain-scope.ts'
import { chainTls } from './filter-chain.ts'
import { configOf } from './filter-config.ts'
import { checkFilterState } from './filter-state.ts'
import type { Findings } from './findings.ts'
import { InlineTables } from './inline-tables.ts'
import { originOf } from './istio-metadata.ts'

const CONNECT_TERMINATE = 'connect_terminate'
/** Where what comes out of tunnels goes. */
const MAIN_INTERNAL = 'main_internal'
const FORWARD_INNER = 'forward_inner_connect'

/** With which authority each asks for a tunnel. */
const ORIGINATING: ReadonlyMap<string, string> = new Map([
  ['connect_originate', '%DOWNSTREAM_LOCAL_ADDRESS%'],
  ['inner_connect_originate', '%FILTER_STATE(istio.double_hbone.hbone_target_address:PLAIN)%'],
  ['outer_connect_originate', '%FILTER_STATE(istio.double_hbone.hbone_target_address:PLAIN)%'],
  [FORWARD_INNER, ''],
])

/** Names of listeners that heddle knows the meaning of. */
export const PLUMBING: ReadonlySet<string> = new Set([CONNECT_TERMINATE, MAIN_INTERNAL, ...ORIGINATING.keys()])

/** It opens tunnels to others: which, the endpoints of clusters say. */
export function isOriginating({ name, internal_listener: internal }: ListenerShell): boolean {
  return internal !== null && ORIGINATING.has(name)
}

/** It ends tunnels of others. */
export function isTunnelEnd({ name, internal_listener: internal }: ListenerShell): boolean {
  return internal === null && name === CONNECT_TERMINATE
}

/** Anything but a CONNECT with the authority that heddle sends would be lost. */
export function checkOriginating(shell: ListenerShell, findings: Findings): void {
  const [bytes] = shell.filter_chains
  if (bytes === undefined || shell.filter_chains.length > 1) {
    findings.at('filter_chains').fault('one filter chain is expected')
    return
  }
  const at = findings.at('filter_chains', 0)
  const chain = at.decode(bytes, SentChain)
  const scope = scopeOf('outbound', new Map())
  for (const [i, filter] of (chain?.filters ?? []).entries()) {
    const place = at.at('filters', i)
    const config = configOf(filter, scope, place)
    if (config?.typeName === NetworkSetFilterState.typeName)
      checkFilterState(place.unpack(config.config, NetworkSetFilterState)?.on_new_connection ?? [], place, 'on_new_connection')
    else if (config?.typeName === TcpProxy.typeName) checkTunneling(shell.name, place.unpack(config.config, TcpProxy), place)
    else if (config !== null && !OBSERVING.has(config.typeName))
      place.fault(`the filter ${filter.name} (${config.typeName}) is none that tunnels are opened with`)
  }
}

const OBSERVING = new Set([
  'io.istio.http.peer_metadata.Config',
  'envoy.extensions.network_filters.peer_metadata.Config',
  'envoy.tcp.metadataexchange.config.MetadataExchange',
  'stats.PluginConfig',
])

function checkTunneling(name: string, proxy: TcpProxy | null, findings: Findings): void {
  const expected = ORIGINATING.get(name) ?? ''
  const hostname = proxy?.tunneling_config?.hostname ?? ''
  if (proxy !== null && hostname !== expected)
    findings.at('tunneling_config').at('hostname').fault(`\`${hostname}\` is not the \`${expected}\` that ${name} asks with`)
}

export interface TunnelEnd {
  readonly chain: FilterChain
  readonly secretNames: readonly string[]
  readonly credentials: readonly Credential[]
}

/** `before`: what it was; the same object when nothing changed. */
export function tunnelChain(
  shell: ListenerShell,
  before: FilterChain | null,
  extensions: Extensions,
  findings: Findings,
): TunnelEnd {
  const [bytes] = shell.filter_chains
  const at = findings.at('filter_chains', 0)
  if (shell.filter_chains.length !== 1 || shell.default_filter_chain.length > 0)
    findings.at('filter_chains').fault('one filter chain is expected where tunnels end')
  const sent = bytes === undefined ? SentChain.empty : (at.decode(bytes, SentChain) ?? SentChain.empty)
  const scope = scopeOf('inbound', extensions)
  const tls = chainTls(sent, scope, at.at('transport_socket'))
  if (tls === null || !tls.requireClientCertificate || tls.trust === '')
    at.at('transport_socket').fault('HBONE is mutual TLS: a certificate of the client has to be required')
  for (const [i, filter] of sent.filters.entries()) {
    const place = at.at('filters', i)
    const config = configOf(filter, scope, place)
    if (config?.typeName === HttpConnectionManager.typeName) checkConnect(config.config, scope, place)
    else if (config !== null && !OBSERVING.has(config.typeName))
      place.fault(`the filter ${filter.name} (${config.typeName}) is not understood where tunnels end`)
  }
  const chain: FilterChain = {
    name: sent.name || 'default',
    match: MATCH_EVERYTHING,
    tls,
    network: { kind: 'tunnel', to: MAIN_INTERNAL, names: [] },
    origin: originOf(sent.metadata),
  }
  const same = before !== null && JSON.stringify(before) === JSON.stringify(chain)
  return { chain: same ? before : chain, secretNames: [...scope.secretNames], credentials: scope.credentials }
}

/** Each CONNECT has to lead to where tunnels lead, and nobody may stand in between whom heddle would not ask. */
function checkConnect(config: Any | null, scope: ChainScope, findings: Findings): void {
  const hcm = findings.unpack(config, HttpConnectionManager)
  if (hcm === null) return
  for (const [i, filter] of hcm.http_filters.entries()) {
    const at = findings.at('http_filters', i)
    const found = configOf(filter, scope, at)
    if (found === null) continue
    if (found.typeName === HttpSetFilterState.typeName)
      checkFilterState(at.unpack(found.config, HttpSetFilterState)?.on_request_headers ?? [], at, 'on_request_headers')
    else if (!OBSERVING.has(found.typeName) && found.typeName !== ROUTER)
      at.fault(`the filter ${filter.name} (${found.typeName}) is not carried out where tunnels end`)
  }
  const routes = (hcm.route_config?.virtual_hosts ?? []).flatMap((host) => host.routes)
  const leads = routes.every((r) => r.match?.connect_matcher != null && r.route?.cluster === MAIN_INTERNAL)
  if (routes.length === 0 || !leads)
    findings.at('route_config').fault(`each route is expected to lead a CONNECT to the cluster ${MAIN_INTERNAL}`)
}

const ROUTER = 'envoy.extensions.filters.http.router.v3.Router'

function scopeOf(direction: 'inbound' | 'outbound', extensions: Extensions): ChainScope {
  return new ChainScope(direction, '', extensions, new InlineTables([], { unsafeRetries: 'held-back' }))
}
