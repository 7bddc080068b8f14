// Hot lane: slots of the counters that rooms of the data path keep. The fields are slot numbers: `slab.values[stats.rqTotal]!++`.
import {
  BOUNDARY_ERRORS,
  CLUSTER,
  CONNECTIONS_CUT,
  type FamilyGroup,
  HTTP_LISTENER,
  MIRRORS_DROPPED,
  REQUESTS_REFUSED,
  RETRIES_HELD_BACK,
  TCP_LISTENER,
} from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsSlab } from './slab.ts'

/** envoy_cluster_…{cluster_name}. Made with the live cluster; the same name gives the same slots. */
export class ClusterStats {
  readonly cxTotal: number
  readonly cxHttp1Total: number
  readonly cxHttp2Total: number
  /** `connection: close` or GOAWAY of an endpoint. */
  readonly cxCloseNotify: number
  /** Gauge. */
  readonly cxActive: number
  readonly cxConnectFail: number
  readonly cxConnectTimeout: number
  readonly cxIdleTimeout: number
  readonly cxMaxRequests: number
  readonly cxMaxDurationReached: number
  readonly cxOverflow: number
  readonly cxNoneHealthy: number
  readonly cxProtocolError: number
  readonly cxDestroy: number
  readonly cxDestroyRemote: number
  readonly cxDestroyWithActiveRq: number
  readonly cxRxBytes: number
  readonly cxTxBytes: number
  readonly rqTotal: number
  /** Gauge. */
  readonly rqActive: number
  readonly rqCompleted: number
  readonly rqPendingTotal: number
  /** Gauge. */
  readonly rqPendingActive: number
  readonly rqPendingOverflow: number
  readonly rqPendingFailureEject: number
  readonly rqCancelled: number
  readonly rqTimeout: number
  readonly rqPerTryTimeout: number
  readonly rqRxReset: number
  readonly rqTxReset: number
  readonly rqRetry: number
  readonly rqRetrySuccess: number
  readonly rqRetryOverflow: number
  readonly rqRetryLimitExceeded: number
  /** Slot of 1xx; the other classes follow: `rqXx + (code / 100 | 0) - 1`, for codes 100–599. */
  readonly rqXx: number

  constructor(slab: MetricsSlab, clusterName: string) {
    const slot = slab.allot(CLUSTER, renderLabels([['cluster_name', clusterName]]))
    const at = (name: string): number => slot + offsetOf(CLUSTER, `envoy_cluster_upstream_${name}`)
    this.cxTotal = at('cx_total')
    this.cxHttp1Total = at('cx_http1_total')
    this.cxHttp2Total = at('cx_http2_total')
    this.cxCloseNotify = at('cx_close_notify')
    this.cxActive = at('cx_active')
    this.cxConnectFail = at('cx_connect_fail')
    this.cxConnectTimeout = at('cx_connect_timeout')
    this.cxIdleTimeout = at('cx_idle_timeout')
    this.cxMaxRequests = at('cx_max_requests')
    this.cxMaxDurationReached = at('cx_max_duration_reached')
    this.cxOverflow = at('cx_overflow')
    this.cxNoneHealthy = at('cx_none_healthy')
    this.cxProtocolError = at('cx_protocol_error')
    this.cxDestroy = at('cx_destroy')
    this.cxDestroyRemote = at('cx_destroy_remote')
    this.cxDestroyWithActiveRq = at('cx_destroy_with_active_rq')
    this.cxRxBytes = at('cx_rx_bytes_total')
    this.cxTxBytes = at('cx_tx_bytes_total')
    this.rqTotal = at('rq_total')
    this.rqActive = at('rq_active')
    this.rqCompleted = at('rq_completed')
    this.rqPendingTotal = at('rq_pending_total')
    this.rqPendingActive = at('rq_pending_active')
    this.rqPendingOverflow = at('rq_pending_overflow')
    this.rqPendingFailureEject = at('rq_pending_failure_eject')
    this.rqCancelled = at('rq_cancelled')
    this.rqTimeout = at('rq_timeout')
    this.rqPerTryTimeout = at('rq_per_try_timeout')
    this.rqRxReset = at('rq_rx_reset')
    this.rqTxReset = at('rq_tx_reset')
    this.rqRetry = at('rq_retry')
    this.rqRetrySuccess = at('rq_retry_success')
    this.rqRetryOverflow = at('rq_retry_overflow')
    this.rqRetryLimitExceeded = at('rq_retry_limit_exceeded')
    this.rqXx = at('rq_xx')
  }
}

/** envoy_http_…{http_conn_manager_prefix}: one HTTP listener. */
export class ListenerStats {
  readonly cxTotal: number
  /** Gauge. */
  readonly cxActive: number
  readonly cxDestroy: number
  readonly cxDestroyActiveRq: number
  readonly cxProtocolError: number
  readonly cxIdleTimeout: number
  readonly cxMaxRequestsReached: number
  readonly cxDrainClose: number
  readonly cxOverflow: number
  readonly cxRxBytes: number
  readonly cxTxBytes: number
  /** Gauge. */
  readonly cxUpgradesActive: number
  readonly rqTotal: number
  /** Gauge. */
  readonly rqActive: number
  readonly rqCompleted: number
  readonly rqRxReset: number
  readonly rqTimeout: number
  readonly rqHeaderTimeout: number
  readonly rqIdleTimeout: number
  readonly noRoute: number
  readonly noCluster: number
  readonly corsOriginValid: number
  readonly corsOriginInvalid: number
  readonly faultDelays: number
  readonly faultAborts: number
  /** Gauge. */
  readonly faultsActive: number
  readonly jwtAllowed: number
  readonly jwtDenied: number
  readonly jwtCorsPreflightBypassed: number
  readonly rbacAllowed: number
  readonly rbacDenied: number
  readonly rbacShadowAllowed: number
  readonly rbacShadowDenied: number
  /** Slot of 1xx; the other classes follow: `rqXx + (code / 100 | 0) - 1`, for codes 100–599. */
  readonly rqXx: number

  constructor(slab: MetricsSlab, listenerName: string) {
    const slot = slab.allot(HTTP_LISTENER, renderLabels([['http_conn_manager_prefix', listenerName]]))
    const at = (name: string): number => slot + offsetOf(HTTP_LISTENER, `envoy_http_${name}`)
    this.cxTotal = at('downstream_cx_total')
    this.cxActive = at('downstream_cx_active')
    this.cxDestroy = at('downstream_cx_destroy')
    this.cxDestroyActiveRq = at('downstream_cx_destroy_active_rq')
    this.cxProtocolError = at('downstream_cx_protocol_error')
    this.cxIdleTimeout = at('downstream_cx_idle_timeout')
    this.cxMaxRequestsReached = at('downstream_cx_max_requests_reached')
    this.cxDrainClose = at('downstream_cx_drain_close')
    this.cxOverflow = at('downstream_cx_overflow')
    this.cxRxBytes = at('downstream_cx_rx_bytes_total')
    this.cxTxBytes = at('downstream_cx_tx_bytes_total')
    this.cxUpgradesActive = at('downstream_cx_upgrades_active')
    this.rqTotal = at('downstream_rq_total')
    this.rqActive = at('downstream_rq_active')
    this.rqCompleted = at('downstream_rq_completed')
    this.rqRxReset = at('downstream_rq_rx_reset')
    this.rqTimeout = at('downstream_rq_timeout')
    this.rqHeaderTimeout = at('downstream_rq_header_timeout')
    this.rqIdleTimeout = at('downstream_rq_idle_timeout')
    this.noRoute = at('no_route')
    this.noCluster = at('no_cluster')
    this.corsOriginValid = at('cors_origin_valid')
    this.corsOriginInvalid = at('cors_origin_invalid')
    this.faultDelays = at('fault_delays_injected')
    this.faultAborts = at('fault_aborts_injected')
    this.faultsActive = at('fault_active_faults')
    this.jwtAllowed = at('jwt_authn_allowed')
    this.jwtDenied = at('jwt_authn_denied')
    this.jwtCorsPreflightBypassed = at('jwt_authn_cors_preflight_bypassed')
    this.rbacAllowed = at('rbac_allowed')
    this.rbacDenied = at('rbac_denied')
    this.rbacShadowAllowed = at('rbac_shadow_allowed')
    this.rbacShadowDenied = at('rbac_shadow_denied')
    this.rqXx = at('downstream_rq_xx')
  }
}

/** envoy_tcp_…{tcp_prefix}: one TCP listener. */
export class TcpListenerStats {
  readonly cxTotal: number
  /** Gauge. */
  readonly cxActive: number
  readonly cxNoRoute: number
  readonly cxRxBytes: number
  readonly cxTxBytes: number
  readonly idleTimeout: number
  readonly maxDuration: number
  readonly rbacAllowed: number
  readonly rbacDenied: number
  readonly rbacShadowAllowed: number
  readonly rbacShadowDenied: number

  constructor(slab: MetricsSlab, listenerName: string) {
    const slot = slab.allot(TCP_LISTENER, renderLabels([['tcp_prefix', listenerName]]))
    const at = (name: string): number => slot + offsetOf(TCP_LISTENER, `envoy_tcp_${name}`)
    this.cxTotal = at('downstream_cx_total')
    this.cxActive = at('downstream_cx_active')
    this.cxNoRoute = at('downstream_cx_no_route')
    this.cxRxBytes = at('downstream_cx_rx_bytes_total')
    this.cxTxBytes = at('downstream_cx_tx_bytes_total')
    this.idleTimeout = at('idle_timeout')
    this.maxDuration = at('max_downstream_connection_duration')
    this.rbacAllowed = at('rbac_allowed')
    this.rbacDenied = at('rbac_denied')
    this.rbacShadowAllowed = at('rbac_shadow_allowed')
    this.rbacShadowDenied = at('rbac_shadow_denied')
  }
}

/** What a worker counts besides: rare, so that a look-up by reason is cheap enough. Reasons are heddle's own codes, never text of a peer. */
export class WorkerStats {
  readonly slab: MetricsSlab
  readonly boundaryErrors: number

  constructor(slab: MetricsSlab) {
    this.slab = slab
    this.boundaryErrors = slab.allot(BOUNDARY_ERRORS, '')
  }

  /** A socket callback threw. */
  boundaryError(): void {
    this.slab.values[this.boundaryErrors]! += 1
  }

  /** We answered instead of forwarding. */
  requestRefused(reason: string): void {
    this.#count(REQUESTS_REFUSED, 'reason', reason)
  }

  /** We ended a connection. */
  connectionCut(reason: string): void {
    this.#count(CONNECTIONS_CUT, 'reason', reason)
  }

  /** A retry was asked for and is not known to be safe. */
  retryHeldBack(cluster: string): void {
    this.#count(RETRIES_HELD_BACK, 'cluster_name', cluster)
  }

  /** A copy was not sent, or given up. */
  mirrorDropped(reason: string): void {
    this.#count(MIRRORS_DROPPED, 'reason', reason)
  }

  #count(group: FamilyGroup, label: string, value: string): void {
    this.slab.values[this.slab.allot(group, renderLabels([[label, value]]))]! += 1
  }
}

/** Slots before the first family with this name. A name that is not there is a bug of this file. */
export function offsetOf(group: FamilyGroup, name: string): number {
  let offset = 0
  for (const family of group.families) {
    if (family.name === name) return offset
    offset += family.width
  }
  throw new Error(`no family ${name} in ${group.name}`)
}
