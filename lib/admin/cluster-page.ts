// `/clusters`: what every cluster and endpoint is and does, all workers together, in Envoy's text lines and JSON names.
import { addressText, isSocketPath } from '../base/socket-path.ts'
import type { Cluster, ClusterLimits, Endpoint, Locality } from '../state/cluster.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { HostHealth, HostLoad, LimitedUse, WorkerLoad } from './admin-source.ts'

const NO_LIMIT = 0xffffffff

/** What the main thread knows. */
export interface MainKnowledge {
  readonly healthOf: (cluster: string, address: string) => HostHealth
  /** Clusters come from a control plane. */
  readonly fed: boolean
}

interface HostSum extends HostLoad {
  /** null: known to a worker only. */
  readonly endpoint: Endpoint | null
}

interface ClusterSum {
  readonly cluster: Cluster
  readonly inUse: LimitedUse
  readonly hosts: readonly HostSum[]
}

/** Lines `cluster::host:port::stat::value`. */
export function clustersText(snapshot: Snapshot | null, views: readonly WorkerLoad[], { healthOf, fed }: MainKnowledge): string {
  let text = ''
  for (const { cluster, inUse, hosts } of sumUp(snapshot, views)) {
    const name = cluster.name
    text += `${name}::observability_name::${name}\n`
    for (const [key, value] of [...limitStats(cluster.limits), ...inUseStats(inUse)])
      text += `${name}::default_priority::${key}::${value}\n`
    text += `${name}::added_via_api::${fed}\n`
    for (const host of hosts) {
      for (const [key, value] of hostStats(host)) text += `${name}::${host.address}::${key}::${value}\n`
      for (const [key, value] of [...hostFacts(host), ...healthFacts(healthOf(name, host.address))])
        text += `${name}::${host.address}::${key}::${value}\n`
    }
  }
  return text
}

/** Shape of envoy.admin.v3.Clusters, with `in_use` and `ejection` beside it, which readers of that leave out. 64-bit numbers are strings, as protobuf JSON has them. */
export function clustersJson(snapshot: Snapshot | null, views: readonly WorkerLoad[], { healthOf, fed }: MainKnowledge): unknown {
  return {
    cluster_statuses: sumUp(snapshot, views).map(({ cluster, inUse, hosts }) => ({
      name: cluster.name,
      added_via_api: fed,
      observability_name: cluster.name,
      circuit_breakers: {
        thresholds: [
          {
            priority: 'DEFAULT',
            ...Object.fromEntries(limitStats(cluster.limits)),
          },
        ],
        in_use: Object.fromEntries(inUseStats(inUse)),
      },
      host_statuses: hosts.map((host) => ({
        address: isSocketPath(host.address) ? { pipe: { path: host.address } } : { socket_address: socketAddress(host.address) },
        stats: hostStats(host).map(([name, value]) => ({
          name,
          value: String(value),
          type: name.endsWith('_active') ? 'GAUGE' : 'COUNTER',
        })),
        ...healthJson(healthOf(cluster.name, host.address), host.endpoint?.healthy ?? true),
        weight: host.endpoint?.weight ?? 1,
        locality: host.endpoint === null ? {} : localityJson(host.endpoint.locality),
      })),
    })),
  }
}

function localityJson({ region, zone, subzone }: Locality): object {
  return { region, zone, sub_zone: subzone }
}

/** `[::1]:80` and `10.0.0.1:80` taken apart. */
export function socketAddress(text: string): { address: string; port_value: number } {
  const colon = text.lastIndexOf(':')
  const address = text.slice(0, colon).replace(/^\[|\]$/g, '')
  return { address, port_value: Number(text.slice(colon + 1)) }
}

/** No limit is 2³²−1, as istiod has it. The budget takes the place of max_retries; the names of its two lines are those of Envoy's RetryBudget. */
function limitStats({
  maxConnections,
  maxPendingRequests,
  maxRequests,
  maxRetries,
  retryBudget,
}: ClusterLimits): [string, number][] {
  const limits: [string, number][] = [
    ['max_connections', maxConnections || NO_LIMIT],
    ['max_pending_requests', maxPendingRequests || NO_LIMIT],
    ['max_requests', maxRequests || NO_LIMIT],
  ]
  if (retryBudget === null) return [...limits, ['max_retries', maxRetries || NO_LIMIT]]
  return [...limits, ['budget_percent', retryBudget.percent], ['min_retry_concurrency', retryBudget.minConcurrency]]
}

/** Under limits or not, this is what the limits count; of heddle, Envoy tells it in metrics only. */
function inUseStats(use: LimitedUse): [string, number][] {
  return [
    ['connections', use.connections],
    ['pending_requests', use.pendingRequests],
    ['requests', use.requests],
    ['retries', use.retries],
  ]
}

function hostStats(host: HostSum): [string, number][] {
  return [
    ['cx_active', host.connections],
    ['cx_connect_fail', host.connectFailures],
    ['cx_http2', host.http2Connections],
    ['cx_idle', host.idleConnections],
    ['rq_active', host.activeRequests],
    ['rq_total', host.requestsTotal],
  ]
}

function hostFacts(host: HostSum): [string, string | number][] {
  return [
    ['weight', host.endpoint?.weight ?? 1],
    ['region', host.endpoint?.locality.region ?? ''],
    ['zone', host.endpoint?.locality.zone ?? ''],
    ['sub_zone', host.endpoint?.locality.subzone ?? ''],
    ['priority', host.endpoint?.priority ?? 0],
  ]
}

/** Flags in Envoy's words and order. The last three lines are heddle's own; the end is the earliest possible. */
function healthFacts(health: HostHealth): [string, string | number][] {
  const flags = [
    health.failedActiveCheck ? '/failed_active_hc' : '',
    health.failedOutlierCheck ? '/failed_outlier_check' : '',
    health.unchecked ? '/pending_active_hc' : '',
  ].join('')
  const { ejection } = health
  return [
    ['health_flags', flags === '' ? 'healthy' : flags],
    ['success_rate', health.successRate ?? -1],
    ['local_origin_success_rate', health.localSuccessRate ?? -1],
    ...(ejection === null
      ? []
      : ([
          ['ejected_by', ejection.detector],
          ['ejected_since', new Date(ejection.sinceMs).toISOString()],
          ['ejected_until', new Date(ejection.sinceMs + ejection.durationMs).toISOString()],
        ] satisfies [string, string][])),
  ]
}

/** Fields of envoy.admin.v3.HostStatus. What is false or not judged is left out, as protobuf JSON has it. */
function healthJson(health: HostHealth, healthy: boolean): object {
  const { ejection } = health
  return {
    health_status: {
      ...(health.failedActiveCheck ? { failed_active_health_check: true } : {}),
      ...(health.failedOutlierCheck ? { failed_outlier_check: true } : {}),
      ...(health.unchecked ? { pending_active_hc: true } : {}),
      eds_health_status: healthy ? 'HEALTHY' : 'UNHEALTHY',
    },
    ...(health.successRate === null ? {} : { success_rate: { value: health.successRate } }),
    ...(health.localSuccessRate === null ? {} : { local_origin_success_rate: { value: health.localSuccessRate } }),
    ...(ejection === null
      ? {}
      : {
          ejection: {
            detector: ejection.detector,
            since: new Date(ejection.sinceMs).toISOString(),
            until: new Date(ejection.sinceMs + ejection.durationMs).toISOString(),
          },
        }),
  }
}

/** All clusters of the snapshot, with all endpoints that the snapshot or a worker knows (DNS answers are with the workers). */
function sumUp(snapshot: Snapshot | null, views: readonly WorkerLoad[]): ClusterSum[] {
  if (snapshot === null) return []
  const live = new Map<string, WorkerLoad['clusters'][number][]>()
  for (const view of views) {
    for (const cluster of view.clusters) live.set(cluster.name, [...(live.get(cluster.name) ?? []), cluster])
  }
  return snapshot.clusters.map((cluster) => {
    const parts = live.get(cluster.name) ?? []
    const sum = (field: keyof LimitedUse): number => parts.reduce((total, p) => total + p.inUse[field], 0)
    return {
      cluster,
      inUse: {
        connections: sum('connections'),
        pendingRequests: sum('pendingRequests'),
        requests: sum('requests'),
        retries: sum('retries'),
      },
      hosts: hostsOf(
        cluster,
        parts.flatMap((p) => p.hosts),
      ),
    }
  })
}

function hostsOf(cluster: Cluster, live: readonly HostLoad[]): HostSum[] {
  const endpoints = new Map(cluster.endpoints.map((e) => [addressText(e.address, e.port), e]))
  const addresses = new Set([...endpoints.keys(), ...live.map((h) => h.address)])
  return [...addresses].map((address) => {
    const views = live.filter((h) => h.address === address)
    const sum = (field: keyof Omit<HostLoad, 'address'>): number => views.reduce((total, v) => total + v[field], 0)
    return {
      address,
      endpoint: endpoints.get(address) ?? null,
      activeRequests: sum('activeRequests'),
      connections: sum('connections'),
      idleConnections: sum('idleConnections'),
      http2Connections: sum('http2Connections'),
      requestsTotal: sum('requestsTotal'),
      connectFailures: sum('connectFailures'),
    }
  })
}
