// RouteAction of envoy.config.route.v3 to ForwardAction.
import { regexRewrite } from '../../route/regex-rewrite.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import type { ForwardAction, HostRewrite, Mirror, PathRewrite, RouteMatch, WeightedCluster } from '../../state/route.ts'
import type { ClusterWeight, RequestMirrorPolicy, RetryPolicy, RouteAction } from '../proto/route.ts'
import type { Findings } from './findings.ts'
import { runtimePercentOf } from './fraction.ts'
import { hashPolicyOf } from './hash-policy.ts'
import { headerEditsOf } from './header-edits.ts'
import { overriding, type PerFilterConfig, routeFiltersOf } from './per-filter-config.ts'
import { regexOf } from './regex-substitute.ts'
import { retryPolicyOf } from './retry-policy.ts'
import type { RouteSurroundings } from './route.ts'
import { SharedValues } from './shared-values.ts'

/** Where none is said (envoy.config.route.v3.RouteAction.timeout). */
const DEFAULT_TIMEOUT_MS = 15_000
const NOT_FOUND_STATUS: Readonly<Record<string, number>> = {
  SERVICE_UNAVAILABLE: 503,
  NOT_FOUND: 404,
  INTERNAL_SERVER_ERROR: 500,
}

/** What most routes have, each once. */
const retries = new SharedValues<NonNullable<ForwardAction['retry']>>()
const NONE: readonly never[] = []

export function forwardActionOf(
  action: RouteAction,
  match: RouteMatch,
  config: PerFilterConfig,
  around: RouteSurroundings,
  origin: Origin,
  findings: Findings,
): ForwardAction {
  tellWhatIsNotUnderstood(action, findings)
  const clusters = clustersOf(action, config, findings)
  // Where the other is said, this one is not looked at (Envoy).
  const timeoutMs = action.max_stream_duration === null ? (action.timeout ?? DEFAULT_TIMEOUT_MS) : 0
  const limit = action.max_grpc_timeout
  if (limit !== null && limit !== timeoutMs)
    findings.at('max_grpc_timeout').note('calls of gRPC have the timeout of all requests, and no more than grpc-timeout asks for')
  const retry = action.retry_policy ?? around.retry
  const { fault, cors, session } = routeFiltersOf(config, findings)
  // Each field by its name: there are thousands, and an object that another's fields are put into has a shape of its own.
  return {
    kind: 'forward',
    clusters,
    totalWeight: clusters.reduce((sum, c) => sum + c.weight, 0),
    timeoutMs,
    timeoutOrigin: timeoutMs > 0 ? origin : BUILT_IN,
    idleTimeoutMs: action.idle_timeout,
    maxStreamDurationMs: action.max_stream_duration?.max_stream_duration ?? null,
    grpcStreamMaxMs: action.max_stream_duration?.grpc_timeout_header_max ?? null,
    retry: retry === null ? null : retryOf(retry, around, origin, findings.at('retry_policy')),
    hashPolicies: orNone(action.hash_policy.flatMap((h, i) => hashPolicyOf(h, findings.at('hash_policy', i)) ?? [])),
    pathRewrite: pathRewriteOf(action, match, findings),
    hostRewrite: action.host_rewrite_literal ?? '',
    hostRewriteFrom: hostRewriteOf(action, findings),
    countsAttempts: around.countsAttempts,
    appendForwardedHost: action.append_x_forwarded_host,
    mirrors: orNone(
      action.request_mirror_policies.flatMap((m, i) => mirrorOf(m, findings.at('request_mirror_policies', i)) ?? []),
    ),
    fault,
    cors,
    session,
    clusterNotFoundStatus: NOT_FOUND_STATUS[action.cluster_not_found_response_code] ?? 503,
  }
}

/** Lists that are empty are one. */
function orNone<T>(items: readonly T[]): readonly T[] {
  return items.length === 0 ? NONE : items
}

function retryOf(retry: RetryPolicy, around: RouteSurroundings, origin: Origin, findings: Findings): ForwardAction['retry'] {
  const noun = retryPolicyOf(retry, around.terms.unsafeRetries, origin, findings)
  return noun === null ? null : retries.of(noun)
}

function tellWhatIsNotUnderstood(action: RouteAction, findings: Findings): void {
  for (const field of ['metadata_match', 'path_rewrite_policy'] as const)
    if (action[field] !== null) findings.at(field).fault('it is not understood')
  if (action.hedge_policy !== null)
    findings.at('hedge_policy').note('a request is not sent a second time while the first is under way')
  if (action.internal_redirect_policy !== null)
    findings.at('internal_redirect_policy').note('redirects of upstreams go to the client')
  if (action.rate_limits.length > 0) findings.at('rate_limits').note('no limit is asked for')
  if (action.auto_host_rewrite === true) findings.at('auto_host_rewrite').note('the host stays what the client asked for')
  if ((action.max_stream_duration?.grpc_timeout_header_offset ?? 0) > 0)
    findings.at('max_stream_duration').at('grpc_timeout_header_offset').note('it has no effect')
}

function hostRewriteOf(action: RouteAction, findings: Findings): HostRewrite | null {
  const { host_rewrite_header: name, host_rewrite_path_regex: path } = action
  if (name !== null && name !== '') return { kind: 'header', name }
  return path === null ? null : { kind: 'path', ...regexOf(path, findings.at('host_rewrite_path_regex')) }
}

function clustersOf(action: RouteAction, config: PerFilterConfig, findings: Findings): readonly WeightedCluster[] {
  const { cluster: named, cluster_header: header, weighted_clusters: weighted } = action
  const cluster = named ?? (header === null ? null : '')
  if (cluster !== null)
    return [
      {
        cluster,
        clusterHeader: header ?? '',
        weight: 1,
        requestEdits: NONE,
        responseEdits: NONE,
        hostRewrite: '',
        filters: null,
      },
    ]
  if (weighted === null) {
    findings.fault('it names no cluster, nor clusters with weights; other ways to choose one are not understood')
    return []
  }
  const at = findings.at('weighted_clusters')
  if (weighted.header_name !== null) at.fault('a header that draws the cluster is not understood')
  const all = weighted.clusters.map((c, i) => weightedClusterOf(c, config, at.at('clusters', i)))
  // What has no weight is never drawn.
  const drawn = all.filter((c) => c.weight > 0)
  if (drawn.length === 0) at.fault('no cluster has a weight')
  return drawn
}

function weightedClusterOf(cluster: ClusterWeight, config: PerFilterConfig, findings: Findings): WeightedCluster {
  if (cluster.metadata_match !== null) findings.at('metadata_match').fault('it is not understood')
  const own = cluster.typed_per_filter_config
  return {
    cluster: cluster.name,
    clusterHeader: cluster.cluster_header,
    weight: cluster.weight ?? 0,
    requestEdits: headerEditsOf(cluster.request_headers_to_add, cluster.request_headers_to_remove, 'request_headers', findings),
    responseEdits: headerEditsOf(
      cluster.response_headers_to_add,
      cluster.response_headers_to_remove,
      'response_headers',
      findings,
    ),
    hostRewrite: cluster.host_rewrite_literal ?? '',
    filters: own.size === 0 ? null : routeFiltersOf(overriding(config, own), findings),
  }
}

/** An exact or regex match is replaced whole, a prefix only as far as it matched. */
function pathRewriteOf(action: RouteAction, match: RouteMatch, findings: Findings): PathRewrite | null {
  if (action.regex_rewrite !== null) {
    const { pattern, value } = regexOf(action.regex_rewrite, findings.at('regex_rewrite'))
    return regexRewrite(pattern, value, match)
  }
  if (action.prefix_rewrite === '') return null
  const whole = match.path !== null && (match.path.kind === 'exact' || match.path.kind === 'regex')
  return { kind: whole ? 'full' : 'prefix', pattern: '', value: action.prefix_rewrite }
}

function mirrorOf(policy: RequestMirrorPolicy, findings: Findings): Mirror | null {
  if (policy.cluster_header !== '') findings.fault('a header that names the cluster is not understood')
  if (!policy.disable_shadow_host_suffix_append)
    findings.note('what is appended to the host of a copy is said by `mirror.hostSuffix` of heddle.yaml')
  const percent = runtimePercentOf(policy.runtime_fraction)
  return percent === 0 ? null : { cluster: policy.cluster, percent }
}
