// envoy.filters.network.tcp_proxy: bytes to a cluster.
import type { TcpTunnel } from '../../state/listener.ts'
import { ALL_METRICS, NO_METRICS } from '../../state/metric-terms.ts'
import type { WeightedCluster } from '../../state/route.ts'
import type { Any } from '../proto/schema.ts'
import { TcpProxy, type TunnelingConfig } from '../proto/tcp-proxy.ts'
import { translateAccessLogs } from './access-log.ts'
import type { ChainScope } from './chain-scope.ts'
import type { Findings } from './findings.ts'
import type { NetworkDraft } from './network-filters.ts'

/** Envoy's. */
const IDLE_MS = 3_600_000
/** What dials the capturing port itself. Other connections that lead nowhere are counted and logged as those of BlackHoleCluster, which has no endpoints. */
const LOOP_GUARD = /^virtual(?:Out|In)bound-blackhole$/

/** Names that istiod gives: where it says nothing of metrics it wants none, and others have no word for them. */
const ISTIOS = /^(?:inbound|outbound)(?:-vip)?\||^outbound_\.|^(?:Inbound)?PassthroughCluster$|^BlackHoleCluster$/

export function tcpProxy(config: Any | null, draft: NetworkDraft, findings: Findings, scope: ChainScope): void {
  const proxy = findings.unpack(config, TcpProxy)
  if (proxy === null) return
  const accessLogs = translateAccessLogs(proxy.access_log, findings)
  if (proxy.metadata_match !== null)
    findings.at('metadata_match').fault('endpoints are not chosen by their metadata; a cluster for each subset is expected')
  if (LOOP_GUARD.test(scope.chainName)) {
    draft.network = { kind: 'refuse', reason: scope.chainName, accessLogs }
    return
  }
  const clusters = clustersOf(proxy, findings)
  draft.network = {
    kind: 'tcp',
    clusters,
    byServerName: draft.byServerName,
    serverNamePort: draft.serverNamePort,
    tunnel: proxy.tunneling_config === null ? null : tunnelOf(proxy.tunneling_config, findings.at('tunneling_config')),
    hashSourceIp: hashes(proxy, findings),
    connectAttempts: Math.max(1, proxy.max_connect_attempts ?? 1),
    metrics: draft.metrics ?? (clusters.some((c) => ISTIOS.test(c.cluster)) ? NO_METRICS : ALL_METRICS),
    idleTimeoutMs: proxy.idle_timeout ?? IDLE_MS,
    maxDurationMs: proxy.max_downstream_connection_duration ?? 0,
    accessLogs,
    authorization: draft.authorization,
  }
}

function clustersOf(proxy: TcpProxy, findings: Findings): readonly WeightedCluster[] {
  if (proxy.cluster !== null && proxy.cluster !== '') return [destination(proxy.cluster, 1)]
  const weighted = proxy.weighted_clusters?.clusters ?? []
  const at = findings.at(proxy.weighted_clusters === null ? 'cluster' : 'weighted_clusters')
  if (weighted.length === 0) at.fault('a cluster is missing')
  else if (weighted.every((c) => c.weight === 0)) at.fault('all weights are 0')
  return weighted.map(({ name, weight }) => destination(name, weight))
}

function tunnelOf(of: TunnelingConfig, at: Findings): TcpTunnel {
  if (of.hostname === '' || of.hostname.includes('%'))
    at.at('hostname').fault(`a host with its port is expected, without operators, not "${of.hostname}"`)
  const headers: [string, string][] = []
  for (const [i, { header }] of of.headers_to_add.entries()) {
    const { key = '', value = '' } = header ?? {}
    if (value.includes('%'))
      at.at('headers_to_add', i).note(`the operators of "${value}" are not carried out: ${key} is not sent`)
    else headers.push([key.toLowerCase(), value])
  }
  return { method: of.use_post ? 'POST' : 'CONNECT', authority: of.hostname, path: of.post_path || '/', headers }
}

function destination(cluster: string, weight: number): WeightedCluster {
  return { cluster, clusterHeader: '', weight, requestEdits: [], responseEdits: [], hostRewrite: '', filters: null }
}

function hashes(proxy: TcpProxy, findings: Findings): boolean {
  for (const [i, { source_ip: source }] of proxy.hash_policy.entries())
    if (source === null) findings.at('hash_policy', i).note('only the address of the client is hashed')
  return proxy.hash_policy.some((p) => p.source_ip !== null)
}
