// envoy.filters.network.tcp_proxy: bytes to a cluster.
import type { WeightedCluster } from '../../state/route.ts'
import type { Any } from '../proto/schema.ts'
import { TcpProxy } from '../proto/tcp-proxy.ts'
import { noteAccessLogs } from './access-log.ts'
import type { ChainScope } from './chain-scope.ts'
import type { Findings } from './findings.ts'
import type { NetworkDraft } from './network-filters.ts'

/** Envoy's. */
const IDLE_MS = 3_600_000
/** What dials the capturing port itself. Other connections that lead nowhere are counted and logged as those of BlackHoleCluster, which has no endpoints. */
const LOOP_GUARD = /^virtual(?:Out|In)bound-blackhole$/

export function tcpProxy(config: Any | null, draft: NetworkDraft, findings: Findings, scope: ChainScope): void {
  const proxy = findings.unpack(config, TcpProxy)
  if (proxy === null) return
  noteAccessLogs(proxy.access_log, findings)
  if (proxy.tunneling_config !== null)
    findings.at('tunneling_config').fault('TCP is tunnelled by CONNECT to endpoints of a mesh only, not by a rule')
  if ((proxy.max_connect_attempts ?? 1) > 1) findings.at('max_connect_attempts').note('one attempt is made for each connection')
  if (proxy.metadata_match !== null)
    findings.at('metadata_match').fault('endpoints are not chosen by their metadata; a cluster for each subset is expected')
  if (LOOP_GUARD.test(scope.chainName)) {
    draft.network = { kind: 'refuse', reason: scope.chainName }
    return
  }
  draft.network = {
    kind: 'tcp',
    clusters: clustersOf(proxy, findings),
    byServerName: draft.byServerName,
    hashSourceIp: hashes(proxy, findings),
    idleTimeoutMs: proxy.idle_timeout ?? IDLE_MS,
    maxDurationMs: proxy.max_downstream_connection_duration ?? 0,
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

function destination(cluster: string, weight: number): WeightedCluster {
  return { cluster, weight, requestEdits: [], responseEdits: [], hostRewrite: '', filters: null }
}

function hashes(proxy: TcpProxy, findings: Findings): boolean {
  for (const [i, { source_ip: source }] of proxy.hash_policy.entries())
    if (source === null) findings.at('hash_policy', i).note('only the address of the client is hashed')
  return proxy.hash_policy.some((p) => p.source_ip !== null)
}
