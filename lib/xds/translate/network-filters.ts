// Network filters of a chain, in their order. The last one takes the connection: bytes to a cluster, or requests.
import type { HttpChain, RefuseChain, TcpChain } from '../../state/listener.ts'
import type { MetricTerms } from '../../state/metric-terms.ts'
import type { RbacFilter } from '../../state/rbac.ts'
import { SniDynamicForwardProxy } from '../proto/dynamic-forward-proxy.ts'
import type { Filter } from '../proto/listener.ts'
import type { ChainScope, FilterTranslator } from './chain-scope.ts'
import { configOf } from './filter-config.ts'
import type { Findings } from './findings.ts'
import { httpConnectionManager } from './http-connection-manager.ts'
import { metricTermsOf } from './istio-stats.ts'
import { networkRbac } from './network-filters/rbac.ts'
import { networkFilterState } from './network-filters/set-filter-state.ts'
import { networkWasm } from './network-filters/wasm.ts'
import { tcpProxy } from './tcp-proxy.ts'

export class NetworkDraft {
  readonly authorization: RbacFilter[]
  /** The cluster is the one that has the name that the client's TLS says. */
  byServerName: boolean
  /** The endpoint is the host that the client's TLS names, at this port; 0: it is not. */
  serverNamePort: number
  /** null: nobody has said. */
  metrics: MetricTerms | null
  /** null: no filter takes the connection yet. */
  network: HttpChain | TcpChain | RefuseChain | null

  constructor() {
    this.authorization = []
    this.byServerName = false
    this.serverNamePort = 0
    this.metrics = null
    this.network = null
  }
}

/** Envoy's. */
const DEFAULT_SNI_PORT = 443

type Translator = FilterTranslator<NetworkDraft>

const NETWORK = 'envoy.extensions.filters.network.'

const nothing: Translator = () => {}
const observes: Translator = (_config, _draft, findings) => findings.note('what is said inside of connections is not observed')
const stats: Translator = (config, draft, findings) => {
  draft.metrics ??= metricTermsOf(config, findings)
}
const sniDynamicForwardProxy: Translator = (config, draft, findings) => {
  const settings = findings.unpack(config, SniDynamicForwardProxy)
  draft.serverNamePort = settings?.port_value || DEFAULT_SNI_PORT
}
const sniCluster: Translator = (_config, draft) => {
  draft.byServerName = true
}
const notYet =
  (what: string): Translator =>
  (_config, _draft, findings) =>
    findings.fault(what)

const KNOWN: ReadonlyMap<string, Translator> = new Map<string, Translator>([
  [`${NETWORK}http_connection_manager.v3.HttpConnectionManager`, httpConnectionManager],
  [`${NETWORK}tcp_proxy.v3.TcpProxy`, tcpProxy],
  [`${NETWORK}rbac.v3.RBAC`, networkRbac],
  [`${NETWORK}set_filter_state.v3.Config`, networkFilterState],
  [`${NETWORK}wasm.v3.Wasm`, networkWasm],
  // Of use where both ends agree on it by ALPN, which heddle does not (downstream-tls.ts).
  ['envoy.tcp.metadataexchange.config.MetadataExchange', nothing],
  ['envoy.extensions.network_filters.peer_metadata.Config', nothing],
  ['envoy.extensions.network_filters.peer_metadata.UpstreamConfig', nothing],
  ['stats.PluginConfig', stats],
  [`${NETWORK}mongo_proxy.v3.MongoProxy`, observes],
  [`${NETWORK}mysql_proxy.v3.MySQLProxy`, observes],
  [
    'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz',
    notYet('authorizers outside of the proxy (CUSTOM) are not asked yet'),
  ],
  [`${NETWORK}redis_proxy.v3.RedisProxy`, notYet('Redis is not proxied')],
  [`${NETWORK}sni_cluster.v3.SniCluster`, sniCluster],
  [`${NETWORK}sni_dynamic_forward_proxy.v3.FilterConfig`, sniDynamicForwardProxy],
])

export function translateNetworkFilters(filters: readonly Filter[], scope: ChainScope, findings: Findings): NetworkDraft {
  const draft = new NetworkDraft()
  for (const [i, filter] of filters.entries()) {
    const at = findings.at('filters', i)
    if (draft.network !== null) {
      at.fault(`the filter ${filter.name} is behind one that takes the connection`)
      continue
    }
    const config = configOf(filter, scope, at)
    if (config === null) continue
    const translate = KNOWN.get(config.typeName)
    if (translate === undefined) at.fault(`the filter ${filter.name} (${config.typeName}) is not understood`)
    else translate(config.config, draft, at, scope, config.json)
  }
  if (draft.network === null && scope.missing.size === 0 && findings.faults.length === 0)
    findings.at('filters').fault('no filter takes the connection; http_connection_manager or tcp_proxy is expected at the end')
  return draft
}
