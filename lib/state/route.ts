// The nouns of routing, at the level at which xDS delivers them (envoy.config.route.v3). Plain data: they cross a worker
// boundary as messages. What makes them fast to evaluate is built by `route/` in the worker that uses them.
import type { Origin } from './origin.ts'

/** Istio StringMatch. `present` asks only that the thing is there. `regex` is RE2 and must match the whole value. */
export interface StringMatch {
  readonly kind: 'exact' | 'prefix' | 'suffix' | 'contains' | 'regex' | 'present'
  /** Empty for `present`. */
  readonly value: string
  readonly ignoreCase: boolean
}

/** Against the normalised path without its query (Istio HTTPMatchRequest). */
export interface PathMatch {
  /** `prefix` is a plain string prefix (VirtualService); `pathPrefix` goes by segments (Gateway API). */
  readonly kind: 'exact' | 'prefix' | 'pathPrefix' | 'regex'
  readonly value: string
  readonly ignoreCase: boolean
}

export interface HeaderMatch {
  /** Lower case; `:method`, `:scheme`, `:authority`, `:path` are the pseudo-headers. */
  readonly name: string
  /** What the operator wrote, for explanations: `method`, `headers[x-canary]`, `withoutHeaders[x-w]`. */
  readonly field: string
  readonly match: StringMatch
  /** withoutHeaders: the outcome is inverted. */
  readonly invert: boolean
  /** withoutHeaders with a value: a missing header counts as the empty string before the inversion. */
  readonly missingIsEmpty: boolean
}

export interface QueryMatch {
  readonly name: string
  /** `queryParams[k]`. */
  readonly field: string
  readonly match: StringMatch
}

/** Of a JSON value (envoy.type.matcher.v3.ValueMatcher). What is not there fits nothing. */
export type ValueMatch =
  | { readonly kind: 'text'; readonly match: StringMatch }
  | { readonly kind: 'null' }
  | { readonly kind: 'bool'; readonly value: boolean }
  /** `first` ≤ value < `end`, or equal when both are the same. */
  | { readonly kind: 'number'; readonly first: number; readonly end: number }
  /** true: anything that is there. false never fits (as Envoy has it). */
  | { readonly kind: 'present'; readonly value: boolean }
  /** An element of a list fits. */
  | { readonly kind: 'element'; readonly of: ValueMatch }
  | { readonly kind: 'or'; readonly of: readonly ValueMatch[] }

/** Where the claims of a verified token are found by `metadata` matches: `payload`, then the names of claims. */
export const JWT_METADATA = 'envoy.filters.http.jwt_authn'

/** What a filter in front has found out: claims of a token are of JWT_METADATA, below `payload` (envoy.type.matcher.v3.MetadataMatcher). */
export interface MetadataMatch {
  readonly filter: string
  readonly path: readonly string[]
  /** What the operator wrote, for explanations: `headers[@request.auth.claims.group]`. */
  readonly field: string
  readonly value: ValueMatch
  /** withoutHeaders: the outcome is inverted, also that of nothing. */
  readonly invert: boolean
}

export interface RouteMatch {
  /** null: any path. */
  readonly path: PathMatch | null
  readonly headers: readonly HeaderMatch[]
  readonly query: readonly QueryMatch[]
  readonly metadata: readonly MetadataMatch[]
  /** null: each request (Envoy runtime_fraction). */
  readonly share: RequestShare | null
  /** Whether its client has shown a certificate that is trusted; null: does not matter (Envoy tls_context). */
  readonly certificate: boolean | null
}

/** `part` of `of` requests. */
export interface RequestShare {
  readonly part: number
  readonly of: number
}

export const ANY_REQUEST: RouteMatch = { path: null, headers: [], query: [], metadata: [], share: null, certificate: null }

/** One edit; a list of them is applied from first to last. Values are templates with `%COMMAND%` operators. */
export interface HeaderEdit {
  /**
   * `addIfAbsent` and `setIfPresent` only where nothing, or something, of that name is there (Envoy append_action). `then`: what stands behind it
   * finds what all before it have made, where edits otherwise find what was there before the first one.
   */
  readonly op: 'remove' | 'set' | 'add' | 'addIfAbsent' | 'setIfPresent' | 'then'
  /** Empty for `then`. */
  readonly name: string
  /** Empty for `remove` and `then`. */
  readonly value: string
}

export interface PathRewrite {
  /** `prefix`: replace the matched prefix (without a path match: the leading `/`), as it is written, and take it off where `value` is empty; `full`: the whole path;
   *  `regex`: each match of `pattern`, `\1` groups in `value`. The query stays in all three. */
  readonly kind: 'prefix' | 'full' | 'regex'
  /** RE2; empty unless kind is `regex`. */
  readonly pattern: string
  readonly value: string
}

/** Of a header of the request, or of its path without the query: each match of `pattern` (RE2) replaced by `value`. */
export type HostRewrite =
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'path'; readonly pattern: string; readonly value: string }

export interface Percent {
  /** 0–100, resolution one millionth. */
  readonly percent: number
}

export interface Fault {
  readonly delay: (Percent & { readonly fixedMs: number }) | null
  readonly abort: (Percent & { readonly httpStatus: number /** -1: not a gRPC abort */; readonly grpcStatus: number }) | null
}

export interface Mirror extends Percent {
  readonly cluster: string
}

/** Istio CorsPolicy. */
export interface Cors {
  readonly allowOrigins: readonly StringMatch[]
  readonly allowMethods: string
  readonly allowHeaders: string
  readonly exposeHeaders: string
  /** Seconds as text; empty when not set. */
  readonly maxAge: string
  readonly allowCredentials: boolean
  readonly forwardNotMatchingPreflights: boolean
}

/** Istio HTTPRetry and Envoy retry state. */
export interface RetryPolicy {
  /** Keywords of retryOn; status codes are in `statusCodes`. */
  readonly on: readonly string[]
  readonly statusCodes: readonly number[]
  /** Retries beyond the first attempt. */
  readonly attempts: number
  /** 0: none. */
  readonly perTryTimeoutMs: number
  readonly baseIntervalMs: number
  readonly maxIntervalMs: number
  /** Pick again up to this often when the pick was already tried. */
  readonly hostSelectionAttempts: number
  readonly avoidPreviousHosts: boolean
  /** Priorities that were tried are left out as long as there is another (Envoy previous_priorities). */
  readonly remoteLocalities: boolean
  /** `retriable-headers`: any of them in the response. */
  readonly responseHeaders: readonly HeaderMatch[]
  /** `held-back`: what is not provably safe to repeat is not repeated, whatever `on` says. */
  readonly unsafe: 'held-back' | 'allowed'
  readonly origin: Origin
}

/** What a consistent hash is made of; several are combined in their order (envoy.config.route.v3.RouteAction.HashPolicy). */
export type HashPolicy =
  | { readonly kind: 'header'; readonly name: string }
  | {
      readonly kind: 'cookie'
      readonly name: string
      readonly path: string
      /** 0: a session cookie; -1: none is made for a client that has none. */
      readonly ttlSeconds: number
      readonly attributes: readonly { readonly name: string; readonly value: string }[]
    }
  | { readonly kind: 'sourceIp' }
  /** Case-sensitive. */
  | { readonly kind: 'query'; readonly name: string }

/** Requests of a session stay with the endpoint that answered its first one (envoy.extensions.filters.http.stateful_session.v3). */
export interface SessionState {
  /** Where the client keeps the endpoint's address for us: a cookie that we set, or a header that it sends back. */
  readonly kind: 'cookie' | 'header'
  readonly name: string
  /** Of a cookie: sent for this path and below; empty: for all, and none is said. */
  readonly path: string
  /** Of a cookie; 0: until the browser is closed. */
  readonly ttlSeconds: number
  /** A session whose endpoint is gone is answered 503; otherwise it goes on with another one. */
  readonly strict: boolean
}

export interface WeightedCluster {
  /** Empty: see `clusterHeader`. */
  readonly cluster: string
  /** The header of the request that names the cluster (Envoy cluster_header); empty: none does. */
  readonly clusterHeader: string
  readonly weight: number
  /** Only when there are several destinations: these run before the route's own edits (Istio Headers). */
  readonly requestEdits: readonly HeaderEdit[]
  readonly responseEdits: readonly HeaderEdit[]
  /** Empty: not rewritten. */
  readonly hostRewrite: string
  /** null: the route's. */
  readonly filters: RouteFilters | null
}

/** What a route, or one of its destinations, says for optional filters. */
export interface RouteFilters {
  readonly fault: Fault | null
  readonly cors: Cors | null
  /** null: as the listener says; `none`: requests have no session. */
  readonly session: SessionState | 'none' | null
}

export interface ForwardAction extends RouteFilters {
  readonly kind: 'forward'
  /** At least one; a single one takes everything whatever its weight. */
  readonly clusters: readonly WeightedCluster[]
  readonly totalWeight: number
  /** Overall timeout, from the end of the request to the end of the response; 0: none. */
  readonly timeoutMs: number
  readonly timeoutOrigin: Origin
  /** Nothing may move for so long; 0: for ever; null: as the listener says (Envoy idle_timeout). */
  readonly idleTimeoutMs: number | null
  /** From the head of the request to the end of the answer; 0: as long as it likes; null: as the listener says. */
  readonly maxStreamDurationMs: number | null
  /**
   * `grpc-timeout` of a call is that limit, and no more than this; 0: whatever it says; null: it lowers `timeoutMs` instead (Envoy
   * grpc_timeout_header_max and max_grpc_timeout).
   */
  readonly grpcStreamMaxMs: number | null
  readonly retry: RetryPolicy | null
  /** Empty: requests have no hash, and consistent-hash balancers draw. */
  readonly hashPolicies: readonly HashPolicy[]
  readonly pathRewrite: PathRewrite | null
  /** Empty: not rewritten. */
  readonly hostRewrite: string
  /** Where the host comes from when `hostRewrite` is empty; null: it stays. What leads to no host leaves it. */
  readonly hostRewriteFrom: HostRewrite | null
  /** Upstreams are told the number of the attempt by x-envoy-attempt-count; null: on the way out (Envoy include_request_attempt_count). */
  readonly countsAttempts: boolean | null
  /** A host that is rewritten is appended to x-forwarded-host first. */
  readonly appendForwardedHost: boolean
  readonly mirrors: readonly Mirror[]
  /** Answer when the cluster is unknown: 503 for a sidecar, 500 under gateway semantics. */
  readonly clusterNotFoundStatus: number
}

/** Istio HTTPRedirect. */
export interface RedirectAction {
  readonly kind: 'redirect'
  readonly code: number
  /** Empty: the request's own. */
  readonly scheme: string
  readonly authority: string
  /** 0: see `portFromListener`. */
  readonly port: number
  /** derivePort FROM_REQUEST_PORT. */
  readonly portFromListener: boolean
  /** Replaces the whole path; the query is kept unless it holds a `?`. Empty: path kept. */
  readonly path: string
  /** Replaces the matched prefix; null when not asked for. */
  readonly prefixRewrite: string | null
  /** Each match in the path is replaced; null when not asked for. */
  readonly regexRewrite: { readonly pattern: string; readonly value: string } | null
  /** The query of the request is left out. */
  readonly stripQuery: boolean
}

export interface DirectResponseAction {
  readonly kind: 'direct'
  readonly status: number
  /** Latin-1 text of the bytes to send. */
  readonly body: string
}

export type RouteAction = ForwardAction | RedirectAction | DirectResponseAction

export interface Route {
  /** Istio virtual hosts: `route.name`, plus `.match.name`; `default` without any rule. */
  readonly name: string
  /** The object; line and column are those of the match or rule. */
  readonly origin: Origin
  readonly match: RouteMatch
  readonly action: RouteAction
  readonly requestEdits: readonly HeaderEdit[]
  readonly responseEdits: readonly HeaderEdit[]
}

export interface VirtualHost {
  readonly name: string
  /** Lower case: exact names, `*.suffix`, `prefix.*` or `*`. A domain occurs once in a table. */
  readonly domains: readonly string[]
  readonly routes: readonly Route[]
  readonly origin: Origin
}

/** One for each service port, as a sidecar has one route configuration for each outbound port. */
export interface RouteTable {
  /** `9080`; `inbound|8081` for an inbound listener. */
  readonly name: string
  readonly port: number
  /** Domains are those of hosts, the port that a request names beside its host does not matter; otherwise they are those of whole authorities. */
  readonly ignorePort: boolean
  readonly virtualHosts: readonly VirtualHost[]
}
