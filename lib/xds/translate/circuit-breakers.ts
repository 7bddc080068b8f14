// Limits of a cluster: envoy.config.cluster.v3.CircuitBreakers, HttpProtocolOptions and what a Cluster says of its connections.
import type { ClusterLimits, RetryBudget } from '../../state/cluster.ts'
import type { CircuitBreakers, Cluster, Thresholds } from '../proto/cluster.ts'
import type { HttpProtocolOptions as ForAllVersions, Http2ProtocolOptions, TcpKeepalive } from '../proto/core.ts'
import type { Findings } from './findings.ts'
import { SharedValues } from './shared-values.ts'

const shared = new SharedValues<ClusterLimits>()

/** Envoy's defaults, where no threshold is written. istiod writes all of them, the largest number for none. */
const DEFAULTS = { max_connections: 1024, max_pending_requests: 1024, max_requests: 1024, max_retries: 3 } as const
const NO_LIMIT = 4_294_967_295
const CONNECT_TIMEOUT_MS = 5000
const IDLE_TIMEOUT_MS = 3_600_000
const BUDGET_PERCENT = 20
const BUDGET_MIN_CONCURRENCY = 3
/** Linux tcp_keepalive_time. */
const KEEPALIVE_SECONDS = 7200

export interface LimitSources {
  readonly cluster: Cluster
  readonly common: ForAllVersions | null
  readonly http2: Http2ProtocolOptions | null
}

export function translateLimits({ cluster, common, http2 }: LimitSources, findings: Findings): ClusterLimits {
  const thresholds = thresholdsOf(cluster.circuit_breakers, findings.at('circuit_breakers'))
  const at = findings.at('circuit_breakers').at('thresholds', 0)
  const noRetries = thresholds?.max_retries === 0
  if ((common?.max_stream_duration ?? 0) > 0)
    findings
      .at('common_http_protocol_options')
      .at('max_stream_duration')
      .note('how long a request may take is said by routes and listeners')
  return shared.of({
    maxConnections: limit(thresholds, 'max_connections', at),
    maxPendingRequests: limit(thresholds, 'max_pending_requests', at),
    maxRequests: limit(thresholds, 'max_requests', at),
    maxRetries: noRetries ? 0 : limit(thresholds, 'max_retries', at),
    maxRequestsPerConnection: common?.max_requests_per_connection ?? cluster.max_requests_per_connection ?? 0,
    connectTimeoutMs: cluster.connect_timeout ?? CONNECT_TIMEOUT_MS,
    httpIdleTimeoutMs: common?.idle_timeout ?? IDLE_TIMEOUT_MS,
    // A session of bytes has the timeout of the filter that carries it, TcpProxy.idle_timeout.
    tcpIdleTimeoutMs: IDLE_TIMEOUT_MS,
    maxConnectionDurationMs: common?.max_connection_duration ?? 0,
    ...keepaliveOf(cluster.upstream_connection_options?.tcp_keepalive ?? null),
    maxConcurrentStreams: http2?.max_concurrent_streams ?? 0,
    http2KeepaliveIntervalMs: http2?.connection_keepalive?.interval ?? 0,
    http2KeepaliveTimeoutMs: http2?.connection_keepalive?.timeout ?? 0,
    // No retry at all is a budget of nothing: among limits 0 stands for none.
    retryBudget: noRetries ? { percent: 0, minConcurrency: 0 } : budgetOf(thresholds),
  })
}

/** Of DEFAULT priority, which is that of all requests here. */
function thresholdsOf(breakers: CircuitBreakers | null, at: Findings): Thresholds | null {
  if (breakers === null) return null
  if (breakers.per_host_thresholds.length > 0) at.at('per_host_thresholds').note('limits of single endpoints are not carried out')
  if (breakers.thresholds.some((t) => t.priority !== 'DEFAULT'))
    at.at('thresholds').note('only those of priority DEFAULT are in force, for all requests')
  const own = breakers.thresholds.find((t) => t.priority === 'DEFAULT') ?? null
  if (own?.max_connection_pools != null && own.max_connection_pools !== NO_LIMIT)
    at.at('thresholds').note('max_connection_pools is not carried out')
  return own
}

function limit(thresholds: Thresholds | null, field: keyof typeof DEFAULTS, at: Findings): number {
  const value = thresholds?.[field] ?? DEFAULTS[field]
  if (value === 0) at.at(field).fault('0 lets nothing through, which is not carried out; 1 is the least')
  return value === NO_LIMIT ? 0 : value
}

function budgetOf(thresholds: Thresholds | null): RetryBudget | null {
  const budget = thresholds?.retry_budget ?? null
  if (budget === null) return null
  return {
    percent: budget.budget_percent?.value ?? BUDGET_PERCENT,
    minConcurrency: budget.min_retry_concurrency ?? BUDGET_MIN_CONCURRENCY,
  }
}

function keepaliveOf(
  keepalive: TcpKeepalive | null,
): Pick<ClusterLimits, 'tcpKeepaliveSeconds' | 'tcpKeepaliveIntervalSeconds' | 'tcpKeepaliveProbes'> {
  return {
    tcpKeepaliveSeconds: keepalive === null ? 0 : (keepalive.keepalive_time ?? KEEPALIVE_SECONDS),
    tcpKeepaliveIntervalSeconds: keepalive?.keepalive_interval ?? 0,
    tcpKeepaliveProbes: keepalive?.keepalive_probes ?? 0,
  }
}
