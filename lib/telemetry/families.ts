// Every metric that heddle can expose, declared once: name, help, type, buckets. Families whose series always have the same
// labels stand in one group, so that a request or a cluster needs one block of slots and one announcement to the main thread.

export type MetricType = 'counter' | 'gauge' | 'histogram'

export interface Family {
  /** Name in the exposition, without `_bucket`. */
  readonly name: string
  readonly help: string
  readonly type: MetricType
  /** Upper bounds of a histogram without +Inf; empty for the others. */
  readonly bounds: readonly number[]
  /** Slots that a series takes: 1; a histogram has its sum, then a count for each bound, then the count of +Inf. */
  readonly width: number
  /** Fixed labels that tell this member of a group from another with the same name; empty mostly. */
  readonly labels: string
}

export interface FamilyGroup {
  /** What the `series` message carries. */
  readonly name: string
  readonly families: readonly Family[]
  /** Slots of the whole block, families one after the other. */
  readonly width: number
  /** Counts against limits.maxSeries: what traffic can multiply does, what only the configuration can multiply does not. */
  readonly capped: boolean
  /** Exposed only once one of its values is not 0, so that a thousand idle clusters do not fill the page. */
  readonly onlyUsed: boolean
  /** Of a series only those of its metrics are exposed that are not 0: others may have other labels (istio.stats). */
  readonly sparse: boolean
}

/** Envoy's default histogram bounds, for all units (Envoy histogram buckets). */
export const DEFAULT_BOUNDS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
]

function family(type: MetricType, name: string, help: string, labels = ''): Family {
  const bounds = type === 'histogram' ? DEFAULT_BOUNDS : []
  return { name, help, type, bounds, width: type === 'histogram' ? bounds.length + 2 : 1, labels }
}

const counter = (name: string, help: string, labels = '') => family('counter', name, help, labels)
const gauge = (name: string, help: string) => family('gauge', name, help)
const histogram = (name: string, help: string) => family('histogram', name, help)

function group(
  name: string,
  families: readonly Family[],
  options?: { capped?: boolean; onlyUsed?: boolean; sparse?: boolean },
): FamilyGroup {
  const width = families.reduce((sum, f) => sum + f.width, 0)
  const { capped = false, onlyUsed = false, sparse = false } = options ?? {}
  return { name, families, width, capped, onlyUsed, sparse }
}

/** A group of one, under the name of its family. */
const single = (f: Family, options?: { capped?: boolean }) => group(f.name, [f], options)

/** istio_stats of an HTTP or gRPC request. RequestMetrics knows this order. */
export const ISTIO_REQUEST = group(
  'istio_request',
  [
    counter('istio_requests_total', 'Requests that ended, HTTP and gRPC.'),
    histogram('istio_request_duration_milliseconds', 'Time from the first byte of a request to the last byte of its response.'),
    histogram('istio_request_bytes', 'Bytes received from downstream for a request, head and body.'),
    histogram('istio_response_bytes', 'Bytes sent downstream for a response, head and body.'),
  ],
  { capped: true, sparse: true },
)

/** The same of the messages of gRPC, where they are counted (envoy.filters.http.grpc_stats). */
export const ISTIO_GRPC = group(
  'istio_grpc',
  [
    counter('istio_request_messages_total', 'Messages of gRPC that clients have sent.'),
    counter('istio_response_messages_total', 'Messages of gRPC that servers have sent.'),
  ],
  { capped: true, sparse: true },
)

/** istio_stats of a TCP session. Sent and received are named from the view of the proxy towards downstream. */
export const ISTIO_TCP = group(
  'istio_tcp',
  [
    counter('istio_tcp_connections_opened_total', 'TCP connections opened.'),
    counter('istio_tcp_connections_closed_total', 'TCP connections closed.'),
    counter('istio_tcp_sent_bytes_total', 'Bytes sent to downstream over TCP.'),
    counter('istio_tcp_received_bytes_total', 'Bytes received from downstream over TCP.'),
  ],
  { capped: true, sparse: true },
)

/** Of a node's tunnel, with the labels of its other TCP metrics. */
export const ISTIO_TCP_FAILED = single(
  counter('istio_tcp_connections_failed_total', 'TCP connections that a tunnel refused or could not carry to their end.'),
  { capped: true },
)

export const ISTIO_TCP_SOCKETS = single(gauge('istio_tcp_sockets_open', 'TCP connections of pods now, by reporter.'))

const CLASSES = [1, 2, 3, 4, 5] as const
const classes = (name: string, help: string) => CLASSES.map((c) => counter(name, help, `response_code_class="${c}xx"`))

/** Of `ClusterStats`, in the order of its slots; label cluster_name. Envoy does not add `_total` to its own names. */
export const CLUSTER = group(
  'envoy_cluster',
  [
    counter('envoy_cluster_upstream_cx_total', 'Connections to endpoints that were begun.'),
    counter('envoy_cluster_upstream_cx_http1_total', 'Connections that were opened to carry HTTP/1.'),
    counter('envoy_cluster_upstream_cx_http2_total', 'Connections that were opened to carry HTTP/2.'),
    counter('envoy_cluster_upstream_cx_close_notify', 'Connections whose end endpoints announced: `connection: close`, GOAWAY.'),
    gauge('envoy_cluster_upstream_cx_active', 'Connections to endpoints now.'),
    counter('envoy_cluster_upstream_cx_connect_fail', 'Connections to endpoints that failed to open.'),
    counter('envoy_cluster_upstream_cx_connect_timeout', 'Connections to endpoints that did not open in time.'),
    counter('envoy_cluster_upstream_cx_idle_timeout', 'Connections closed because nothing used them.'),
    counter('envoy_cluster_upstream_cx_max_requests', 'Connections closed after maxRequestsPerConnection requests.'),
    counter('envoy_cluster_upstream_cx_max_duration_reached', 'Connections closed because of their age.'),
    counter('envoy_cluster_upstream_cx_overflow', 'Times that the connection limit was met.'),
    counter('envoy_cluster_upstream_cx_none_healthy', 'Times that no healthy endpoint was there.'),
    counter('envoy_cluster_upstream_cx_protocol_error', 'Connections closed because the endpoint broke the protocol.'),
    counter('envoy_cluster_upstream_cx_destroy', 'Connections to endpoints that ended.'),
    counter('envoy_cluster_upstream_cx_destroy_remote', 'Connections that the endpoint ended.'),
    counter('envoy_cluster_upstream_cx_destroy_with_active_rq', 'Connections that ended under a request.'),
    counter('envoy_cluster_upstream_cx_rx_bytes_total', 'Bytes received from endpoints.'),
    counter('envoy_cluster_upstream_cx_tx_bytes_total', 'Bytes sent to endpoints.'),
    counter('envoy_cluster_upstream_rq_total', 'Attempts sent or to be sent to endpoints.'),
    gauge('envoy_cluster_upstream_rq_active', 'Attempts in progress.'),
    counter('envoy_cluster_upstream_rq_completed', 'Attempts that were answered.'),
    counter('envoy_cluster_upstream_rq_pending_total', 'Attempts that waited for a connection.'),
    gauge('envoy_cluster_upstream_rq_pending_active', 'Attempts waiting for a connection.'),
    counter('envoy_cluster_upstream_rq_pending_overflow', 'Requests refused because of a circuit breaker.'),
    counter('envoy_cluster_upstream_rq_pending_failure_eject', 'Waiting attempts that failed with their connection.'),
    counter('envoy_cluster_upstream_rq_cancelled', 'Attempts given up before a connection was there.'),
    counter('envoy_cluster_upstream_rq_timeout', 'Requests that ran into the route timeout.'),
    counter('envoy_cluster_upstream_rq_per_try_timeout', 'Attempts that ran into the per-try timeout.'),
    counter('envoy_cluster_upstream_rq_rx_reset', 'Attempts that the endpoint reset.'),
    counter('envoy_cluster_upstream_rq_tx_reset', 'Attempts that we reset.'),
    counter('envoy_cluster_upstream_rq_retry', 'Retries.'),
    counter('envoy_cluster_upstream_rq_retry_success', 'Retries that ended well.'),
    counter('envoy_cluster_upstream_rq_retry_overflow', 'Retries refused by the circuit breaker.'),
    counter('envoy_cluster_upstream_rq_retry_limit_exceeded', 'Requests that used up their retries.'),
    ...classes('envoy_cluster_upstream_rq_xx', 'Answers of endpoints by class.'),
  ],
  { onlyUsed: true },
)

const DETECTORS = [
  ['consecutive_5xx', 'runs of 5xx'],
  ['consecutive_gateway_failure', 'runs of 502, 503 and 504'],
  ['consecutive_local_origin_failure', 'runs of failures seen on this side'],
  ['success_rate', 'success rate'],
  ['local_origin_success_rate', 'success rate seen on this side'],
  ['failure_percentage', 'share of failures'],
  ['local_origin_failure_percentage', 'share of failures seen on this side'],
] as const

/** Of `OutlierStats`, in the order of its slots; label cluster_name. Written by whoever detects, a worker or the main thread. */
export const OUTLIER = group(
  'envoy_cluster_outlier_detection',
  [
    counter('envoy_cluster_outlier_detection_ejections_enforced_total', 'Endpoints ejected.'),
    counter('envoy_cluster_outlier_detection_ejections_overflow', 'Ejections that maxEjectionPercent forbade.'),
    ...DETECTORS.flatMap(([name, what]) => [
      counter(`envoy_cluster_outlier_detection_ejections_detected_${name}`, `Outliers detected by ${what}.`),
      counter(`envoy_cluster_outlier_detection_ejections_enforced_${name}`, `Endpoints ejected because of ${what}.`),
    ]),
  ],
  { onlyUsed: true },
)

/**
 * Of `MembershipMetrics`, label cluster_name; by the main thread, for clusters that have outlier detection or health checks: of the others
 * all endpoints are healthy, and a thousand of them would fill the page.
 */
export const MEMBERSHIP = group(
  'envoy_cluster_membership',
  [
    gauge('envoy_cluster_outlier_detection_ejections_active', 'Endpoints that are ejected now.'),
    gauge('envoy_cluster_membership_healthy', 'Endpoints that are neither ejected nor failing their health checks.'),
    gauge('envoy_cluster_membership_total', 'Endpoints of a cluster that has outlier detection or health checks.'),
  ],
  { onlyUsed: true },
)

/** Of `HealthCheckStats`; label cluster_name. Of clusters that have a check. */
export const HEALTH_CHECK = group(
  'envoy_cluster_health_check',
  [
    counter('envoy_cluster_health_check_attempt', 'Health checks that have ended.'),
    counter('envoy_cluster_health_check_success', 'Health checks that passed.'),
    counter('envoy_cluster_health_check_failure', 'Health checks that failed.'),
    counter('envoy_cluster_health_check_network_failure', 'Health checks that got no answer, or none in time.'),
    gauge('envoy_cluster_health_check_healthy', 'Endpoints that are well by their health checks.'),
  ],
  { onlyUsed: true },
)

/** Of `ListenerStats`, in the order of its slots; labels http_conn_manager_prefix (Envoy HTTP stats). */
export const HTTP_LISTENER = group('envoy_http', [
  counter('envoy_http_downstream_cx_total', 'Connections accepted.'),
  gauge('envoy_http_downstream_cx_active', 'Connections of clients now.'),
  counter('envoy_http_downstream_cx_destroy', 'Connections of clients that ended.'),
  counter('envoy_http_downstream_cx_destroy_active_rq', 'Connections of clients that ended under a request.'),
  counter('envoy_http_downstream_cx_protocol_error', 'Connections closed because the client broke the protocol.'),
  counter('envoy_http_downstream_cx_idle_timeout', 'Connections of clients closed because nothing used them.'),
  counter('envoy_http_downstream_cx_max_requests_reached', 'Connections closed after maxRequestsPerConnection requests.'),
  counter('envoy_http_downstream_cx_drain_close', 'Connections closed because of a drain.'),
  counter('envoy_http_downstream_cx_overflow', 'Connections refused because of limits.maxConnections.'),
  counter('envoy_http_downstream_cx_rx_bytes_total', 'Bytes received from clients.'),
  counter('envoy_http_downstream_cx_tx_bytes_total', 'Bytes sent to clients.'),
  gauge('envoy_http_downstream_cx_upgrades_active', 'Upgraded connections and tunnels now.'),
  counter('envoy_http_downstream_rq_total', 'Requests received.'),
  gauge('envoy_http_downstream_rq_active', 'Requests in progress.'),
  counter('envoy_http_downstream_rq_completed', 'Requests that were answered.'),
  counter('envoy_http_downstream_rq_rx_reset', 'Requests that the client gave up.'),
  counter('envoy_http_downstream_rq_timeout', 'Requests that ran into a timeout.'),
  counter('envoy_http_downstream_rq_header_timeout', 'Requests whose headers did not arrive in time.'),
  counter('envoy_http_downstream_rq_idle_timeout', 'Streams on which nothing moved.'),
  counter('envoy_http_no_route', 'Requests for which no route was there.'),
  counter('envoy_http_no_cluster', 'Requests whose cluster does not exist.'),
  counter('envoy_http_cors_origin_valid', 'Requests whose origin a CORS policy allows.'),
  counter('envoy_http_cors_origin_invalid', 'Requests whose origin no CORS policy of their route allows.'),
  counter('envoy_http_fault_delays_injected', 'Requests that were delayed on purpose.'),
  counter('envoy_http_fault_aborts_injected', 'Requests that were aborted on purpose.'),
  gauge('envoy_http_fault_active_faults', 'Requests that are held by a delay now.'),
  counter(
    'envoy_http_jwt_authn_allowed',
    'Requests whose tokens are valid, or that need none, of listeners that look at tokens.',
  ),
  counter('envoy_http_jwt_authn_denied', 'Requests that were refused because of a token.'),
  counter('envoy_http_jwt_authn_cors_preflight_bypassed', 'CORS preflights, which need no token.'),
  counter('envoy_http_rbac_allowed', 'Requests that authorization let pass, of listeners that have any.'),
  counter('envoy_http_rbac_denied', 'Requests that authorization refused.'),
  counter('envoy_http_rbac_shadow_allowed', 'Dry run: requests that its policies would have let pass.'),
  counter('envoy_http_rbac_shadow_denied', 'Dry run: requests that its policies would have refused.'),
  ...classes('envoy_http_downstream_rq_xx', 'Answers to clients by class.'),
])

/** Of `TcpListenerStats`, in the order of its slots; label tcp_prefix. */
export const TCP_LISTENER = group('envoy_tcp', [
  counter('envoy_tcp_downstream_cx_total', 'TCP sessions accepted.'),
  gauge('envoy_tcp_downstream_cx_active', 'TCP sessions now.'),
  counter('envoy_tcp_downstream_cx_no_route', 'TCP sessions closed because no cluster was there.'),
  counter('envoy_tcp_downstream_cx_rx_bytes_total', 'Bytes received from TCP clients.'),
  counter('envoy_tcp_downstream_cx_tx_bytes_total', 'Bytes sent to TCP clients.'),
  counter('envoy_tcp_idle_timeout', 'TCP sessions closed because nothing moved.'),
  counter('envoy_tcp_max_downstream_connection_duration', 'TCP sessions closed because of their age.'),
  counter('envoy_tcp_rbac_allowed', 'TCP sessions that authorization let pass, of listeners that have any.'),
  counter('envoy_tcp_rbac_denied', 'TCP sessions that authorization refused.'),
  counter('envoy_tcp_rbac_shadow_allowed', 'Dry run: TCP sessions that its policies would have let pass.'),
  counter('envoy_tcp_rbac_shadow_denied', 'Dry run: TCP sessions that its policies would have refused.'),
])

export const BOUNDARY_ERRORS = single(
  counter('heddle_boundary_errors_total', 'Exceptions in socket callbacks; each cost one connection and is a bug of heddle.'),
)
export const REQUESTS_REFUSED = single(counter('heddle_requests_refused_total', 'Requests refused by heddle, by reason.'))
export const CONNECTIONS_CUT = single(counter('heddle_connections_cut_total', 'Connections that heddle ended, by reason.'))
/** Label cluster_name: only the configuration can multiply it. */
export const RETRIES_HELD_BACK = single(
  counter(
    'heddle_retries_held_back_total',
    'Retries that a policy asks for and that were not made because they are not known to be safe.',
  ),
)
export const MIRRORS_DROPPED = single(
  counter('heddle_mirrors_dropped_total', 'Mirrored copies that were not sent, or not to their end, by reason.'),
)
export const METRIC_OVERFLOW = single(
  counter('heddle_metric_overflow_total', 'Series that found no room under limits.maxSeries and went to the overflow series.'),
)
export const ACCESS_LOG_LINES = single(counter('heddle_access_log_lines_total', 'Access log lines made.'))
export const ACCESS_LOG_DROPPED = single(
  counter('heddle_access_log_dropped_total', 'Access log lines dropped because the log could not be written fast enough.'),
)

export const ISTIO_BUILD = single(gauge('istio_build', 'Component and version of this proxy; always 1.'))

/** Of `MainMetrics`, in the order of its slots; no labels. */
export const MAIN = group('main', [
  gauge('heddle_config_version', 'Version of the snapshot in force.'),
  counter('heddle_config_reload_success_total', 'Configuration changes put in force.'),
  counter('heddle_config_reload_failure_total', 'Configuration changes refused; the last good configuration keeps serving.'),
  gauge('heddle_config_last_reload_successful', '1: the newest configuration is in force. 0: the last good one serves.'),
  gauge('heddle_config_last_reload_success_timestamp_seconds', 'When a configuration was last put in force.'),
  gauge('heddle_config_resources_refused', 'Objects of the configuration that are refused.'),
  gauge('heddle_workers', 'Workers that serve.'),
  counter('heddle_worker_restarts_total', 'Workers that died and were replaced.'),
  gauge('envoy_server_state', '0 live, 1 draining, 2 pre-initializing, 3 initializing.'),
  gauge('envoy_server_live', '1 while serving and not draining.'),
  gauge('envoy_server_uptime', 'Seconds since the start.'),
  gauge('envoy_server_concurrency', 'Workers asked for.'),
  gauge(
    'envoy_server_memory_allocated',
    'Memory of the process; what of it is free inside of the heaps of its threads is not told apart.',
  ),
  gauge('envoy_server_memory_heap_size', 'As envoy_server_memory_allocated.'),
  gauge('envoy_server_memory_physical_size', 'As process_resident_memory_bytes.'),
  gauge('envoy_listener_manager_workers_started', '1 once all workers have served.'),
  counter('process_cpu_user_seconds_total', 'CPU time of the process in user mode.'),
  counter('process_cpu_system_seconds_total', 'CPU time of the process in the kernel.'),
  counter('process_cpu_seconds_total', 'CPU time of the process.'),
  gauge('process_resident_memory_bytes', 'Resident memory of the process.'),
  gauge('process_start_time_seconds', 'Start of the process since the epoch.'),
  gauge('nodejs_main_event_loop_utilization', 'Share of the time since the last scrape that the main thread was busy.'),
])

/** Of role node. */
export const NODE_PODS = group('node_pods', [
  gauge('workload_manager_active_proxy_count', 'Pods that are served.'),
  gauge('workload_manager_pending_proxy_count', 'Pods that were handed over and are not served yet.'),
  counter('workload_manager_proxies_started_total', 'Pods that were served, each time anew.'),
  counter('workload_manager_proxies_stopped_total', 'Pods that are served no more.'),
])

/** Of a proxy that is fed by a control plane. */
export const CONTROL_PLANE = group('control_plane', [
  gauge('envoy_control_plane_connected_state', '1 while the control plane has answered on the stream that is open.'),
  counter('heddle_xds_streams_total', 'Streams to the control plane that were begun.'),
  counter('heddle_xds_stream_failures_total', 'Streams that ended with a fault, or were never there.'),
])

/** Label type: `CDS`, `EDS` … */
export const XDS_TYPE = group('heddle_xds_type', [
  counter('heddle_xds_responses_total', 'Responses of the control plane.'),
  counter('heddle_xds_response_bytes_total', 'Bytes of these responses.'),
  counter('heddle_xds_acks_total', 'Responses that were accepted.'),
  counter('heddle_xds_nacks_total', 'Responses of which at least one resource was refused.'),
  counter('heddle_xds_apply_seconds_total', 'Time that the main thread took to read responses and to accept or refuse them.'),
  gauge('heddle_xds_last_response_timestamp_seconds', 'When the last response came.'),
  gauge('heddle_xds_resources', 'Resources that are held.'),
  gauge('heddle_xds_refused_resources', 'Resources whose last version was refused.'),
])

/** Label outcome: what became of a question. */
export const DNS_QUERIES = group('heddle_dns_queries_total', [
  counter(
    'heddle_dns_queries_total',
    'Questions to the DNS proxy that came to their end, by outcome: table, upstream, failed, refused, dropped.',
  ),
])
export const DNS_UPSTREAM = group('heddle_dns_upstream', [
  counter('heddle_dns_upstream_failures_total', 'Servers that were asked and did not answer, or could not.'),
])

const updates = (prefix: string, what: string) =>
  group(`${prefix}_update`, [
    counter(`${prefix}_update_attempt`, `Responses with ${what}.`),
    counter(`${prefix}_update_success`, `Responses with ${what} that were accepted.`),
    counter(`${prefix}_update_failure`, `Streams that failed while ${what} were wanted.`),
    counter(`${prefix}_update_rejected`, `Responses with ${what} of which at least one was refused.`),
  ])
export const CDS_UPDATE = updates('envoy_cluster_manager_cds', 'clusters')
export const LDS_UPDATE = updates('envoy_listener_manager_lds', 'listeners')

/** All groups; the main thread finds the group of a `series` message here. */
export const GROUPS: readonly FamilyGroup[] = [
  ISTIO_REQUEST,
  ISTIO_GRPC,
  ISTIO_TCP,
  ISTIO_TCP_FAILED,
  ISTIO_TCP_SOCKETS,
  ISTIO_BUILD,
  CLUSTER,
  OUTLIER,
  MEMBERSHIP,
  HEALTH_CHECK,
  HTTP_LISTENER,
  TCP_LISTENER,
  BOUNDARY_ERRORS,
  REQUESTS_REFUSED,
  CONNECTIONS_CUT,
  MIRRORS_DROPPED,
  RETRIES_HELD_BACK,
  METRIC_OVERFLOW,
  ACCESS_LOG_LINES,
  ACCESS_LOG_DROPPED,
  NODE_PODS,
  CONTROL_PLANE,
  XDS_TYPE,
  DNS_QUERIES,
  DNS_UPSTREAM,
  CDS_UPDATE,
  LDS_UPDATE,
  MAIN,
]
