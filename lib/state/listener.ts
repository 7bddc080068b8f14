import type { AccessLogger } from './access-log.ts'
import type { Limits, PathNormalization } from './bootstrap-config.ts'
import type { JwtAuthentication } from './jwt.ts'
import { ALL_METRICS, type MetricTerms } from './metric-terms.ts'
import type { Origin } from './origin.ts'
import type { RbacFilter } from './rbac.ts'
import type { SessionState, WeightedCluster } from './route.ts'
import type { DownstreamTls } from './tls.ts'

/** A listener as the data path needs it: made from the bootstrap's explicit listeners, and for roles that intercept from services and policies. */
export interface Listener {
  readonly name: string
  readonly direction: 'inbound' | 'outbound'
  readonly address: string
  /** Further ones, with the same port: of the other family of a service, a pod or a gateway (Envoy additional_addresses). */
  readonly otherAddresses: readonly string[]
  /** 0: the system chooses; `/listeners` shows what it chose. */
  readonly port: number
  /** false: nobody listens on it; it takes connections that a capturing listener hands over by their destination (Envoy bind_to_port). */
  readonly bind: boolean
  /** How connections get here: dialled, or intercepted; then where each was going is asked of the kernel, or is its local address. */
  readonly capture: 'none' | 'redirect' | 'tproxy'
  /**
   * Of a capturing listener: a connection goes to the listener of its destination, by address and port or by port, and stays here when there
   * is none (Envoy use_original_dst).
   */
  readonly handOver: boolean
  /** A proxy in front says who asks (PROXY protocol): to be believed when it does, or refused when it does not. */
  readonly proxyProtocol: 'none' | 'optional' | 'required'
  /** A client that shows no protocol for so long is taken for one that waits for the server to begin: plaintext, unknown. 0: waits for ever. */
  readonly detectionTimeoutMs: number
  /** `address:port` that stands in for the address the client dialled; empty: unknown. PassthroughCluster dials it. */
  readonly originalDst: string
  /** The one that fits best takes a connection (FilterChainMatch). */
  readonly filterChains: readonly FilterChain[]
  /** For connections that none fits; null: they are closed. */
  readonly defaultFilterChain: FilterChain | null
  /** Of connections that no filter chain takes. */
  readonly accessLogs: readonly AccessLogger[]
  readonly origin: Origin
}

/**
 * What a connection must be like (envoy.config.listener.v3.FilterChainMatch). An empty field fits all. The fields are looked at in this order, each
 * takes the most specific chains that fit and drops the others, and there is no way back.
 */
export interface FilterChainMatch {
  /** Of the address that was dialled; 0: any. */
  readonly destinationPort: number
  /** CIDRs. */
  readonly destinationRanges: readonly string[]
  /** Exact, or `*.suffix`; lower case. */
  readonly serverNames: readonly string[]
  readonly transportProtocol: '' | 'tls' | 'raw_buffer'
  /** What the client offers by ALPN; of plaintext `http/1.0`, `http/1.1`, `h2c` by its first bytes. */
  readonly applicationProtocols: readonly string[]
  /** CIDRs of the other end of the connection. */
  readonly directSourceRanges: readonly string[]
  readonly sourceType: '' | 'same-ip-or-loopback' | 'external'
  /** CIDRs of the client; the other end of the connection, where no PROXY protocol says otherwise. */
  readonly sourceRanges: readonly string[]
  readonly sourcePorts: readonly number[]
}

export const MATCH_EVERYTHING: FilterChainMatch = {
  destinationPort: 0,
  destinationRanges: [],
  serverNames: [],
  transportProtocol: '',
  applicationProtocols: [],
  directSourceRanges: [],
  sourceType: '',
  sourceRanges: [],
  sourcePorts: [],
}

export interface FilterChain {
  /** Unique in its listener: what a new configuration knows it by. */
  readonly name: string
  readonly match: FilterChainMatch
  /** null: the bytes are taken as they come. */
  readonly tls: DownstreamTls | null
  readonly network: HttpChain | TcpChain | TunnelChain | RefuseChain
  readonly origin: Origin
}

/** Requests are routed. */
export interface HttpChain {
  readonly kind: 'http'
  /** `auto` tells HTTP/2 (with prior knowledge) from HTTP/1 by the first bytes, and inside of TLS by ALPN where that was agreed on. */
  readonly httpVersion: 'auto' | 'http1' | 'http2'
  /**
   * Name of the route table that this chain always uses, as an intercepted port does; empty: the table is chosen by the
   * port of the request's authority.
   */
  readonly routeTable: string
  /** CONNECT opens a tunnel to the service that its authority names; otherwise it is answered 404. */
  readonly allowConnect: boolean
  /**
   * What becomes of x-forwarded-client-cert, and what is added to it (Envoy forward_client_cert_details). `identities`: it says who both ends of the
   * tunnel are and no more (`By=…;URI=…`, Istio's waypoints).
   */
  readonly clientCertificate:
    | 'sanitize'
    | 'forward_only'
    | 'append_forward'
    | 'sanitize_set'
    | 'always_forward_only'
    | 'identities'
  /** null: clients are of the mesh. */
  readonly edge: EdgeSettings | null
  /** Whose tokens are believed, and which requests need one; null: tokens are not looked at. Stands before `authorization`. */
  readonly jwt: JwtAuthentication | null
  /** Who may ask for what, in the order of evaluation. Empty: everybody for everything. */
  readonly authorization: readonly RbacFilter[]
  readonly settings: HttpSettings
}

/** How requests are taken in, and which optional filters a chain has (envoy …http_connection_manager.v3.HttpConnectionManager). */
export interface HttpSettings {
  /** The filter is there; without it what routes say for it has no effect. */
  readonly fault: boolean
  readonly cors: boolean
  /** gRPC-Web is made gRPC (Envoy grpc_web); otherwise it is passed on as it is. */
  readonly grpcWeb: boolean
  /** Sessions stay with their endpoints: this one where routes do not say otherwise, `routes`: only where they do; null: the filter is not there. */
  readonly session: SessionState | 'routes' | null
  /** Upgrades to WebSocket are let through (Envoy upgrade_configs). */
  readonly upgrades: boolean
  /** null: as heddle.yaml says. */
  readonly pathNormalization: PathNormalization | null
  /** What the header `server` of responses says; empty: `envoy` towards the mesh, else `istio-envoy`. */
  readonly serverName: string
  /** What becomes of an upstream's own (Envoy server_header_transformation). */
  readonly serverHeader: 'overwrite' | 'append_if_absent' | 'pass_through'
  /** Clients of HTTP/1.0 are served (Envoy accept_http_10); otherwise they are told to upgrade, 426. */
  readonly http10: boolean
  /** x-forwarded-client-cert has the certificate itself, too (Envoy set_current_client_cert_details.cert). */
  readonly forwardsCertificate: boolean
  /** Requests without x-request-id get one. */
  readonly requestIds: boolean
  /** Responses say the x-request-id of their request (Envoy always_set_request_id_in_response). */
  readonly answersRequestIds: boolean
  /** x-forwarded-port is set where it is not there. */
  readonly forwardedPort: boolean
  /** Upstreams and clients are told timeouts, what was rewritten and how long it took by x-envoy-… (false: Envoy suppress_envoy_headers). */
  readonly envoyHeaders: boolean
  /** Of each request. */
  readonly metrics: MetricTerms
  /** Messages of gRPC are counted (Envoy grpc_stats). */
  readonly grpcMessages: boolean
  /** Proxies of the mesh tell each other by x-envoy-peer-metadata who they are. null: they do not. */
  readonly peers: PeerSettings | null
  /** From the head of a request to its end; 0: as long as it likes (Envoy request_timeout). */
  readonly requestTimeoutMs: number
  /** From the head of a request to the end of its answer, where its route does not say otherwise; 0: as long as it likes. */
  readonly maxStreamDurationMs: number
  /** Connections that are older end with their next answer; 0: of any age. */
  readonly maxConnectionDurationMs: number
  /** Of requests, beside the log of heddle.yaml. */
  readonly accessLogs: readonly AccessLogger[]
  /** In place of those of heddle.yaml. */
  readonly limits: Readonly<Partial<Pick<Limits, ChainLimit>>>
}

/** Istio's peer_metadata filter, with headers (`istio_headers`). */
export interface PeerSettings {
  /** What clients say is read and taken out, and answered. */
  readonly clients: boolean
  /** Who is told: all endpoints, or those of the mesh. */
  readonly upstreams: 'never' | 'mesh' | 'always'
  /** What endpoints answer is read and taken out. */
  readonly readsUpstreams: boolean
}

export type ChainLimit =
  | 'maxHeaderBytes'
  | 'maxHeaders'
  | 'maxRequestsPerConnection'
  | 'headerTimeoutMs'
  | 'connectionIdleTimeoutMs'
  | 'streamIdleTimeoutMs'

/** All filters, and otherwise what heddle.yaml says. */
export const HTTP_SETTINGS: HttpSettings = {
  fault: true,
  cors: true,
  session: null,
  grpcWeb: false,
  upgrades: true,
  pathNormalization: null,
  serverName: '',
  serverHeader: 'overwrite',
  http10: true,
  forwardsCertificate: false,
  requestIds: true,
  answersRequestIds: false,
  forwardedPort: false,
  envoyHeaders: true,
  metrics: ALL_METRICS,
  grpcMessages: true,
  peers: null,
  requestTimeoutMs: 0,
  maxStreamDurationMs: 0,
  maxConnectionDurationMs: 0,
  accessLogs: [],
  limits: {},
}

/** Clients are of the outside: what they say of themselves is not believed (Envoy use_remote_address). */
export interface EdgeSettings {
  /** Proxies in front of this one that are believed what they write into x-forwarded-for (Istio numTrustedProxies). */
  readonly trustedProxies: number
  /** Their x-request-id is kept (Envoy preserve_external_request_id). */
  readonly keepsRequestIds: boolean
}

/** Bytes go to an endpoint. */
export interface TcpChain {
  readonly kind: 'tcp'
  /** Where connections go, drawn by weight. Empty: connections are closed with NC. */
  readonly clusters: readonly WeightedCluster[]
  /** In place of `clusters`: to the one that has the name that the client's TLS says (Envoy sni_cluster, Istio AUTO_PASSTHROUGH). */
  readonly byServerName: boolean
  /** The host that the client's TLS names is dialled at this port, by clusters that dial hosts (Envoy sni_dynamic_forward_proxy). 0: it is not. */
  readonly serverNamePort: number
  /** null: endpoints are where bytes go. */
  readonly tunnel: TcpTunnel | null
  /** The endpoint is chosen by the client's address, where the balancer hashes (consistentHash.useSourceIp). */
  readonly hashSourceIp: boolean
  /** Endpoints that are tried at most, each drawn anew (Envoy max_connect_attempts). */
  readonly connectAttempts: number
  /** Of each connection. */
  readonly metrics: MetricTerms
  /** Nothing moved for so long: closed. 0: never; null: as the cluster has it. */
  readonly idleTimeoutMs: number | null
  /** Closed when it is so old. 0: never; null: as the cluster has it. */
  readonly maxDurationMs: number | null
  /** Of connections, beside the log of heddle.yaml. */
  readonly accessLogs: readonly AccessLogger[]
  /** Who may connect, in the order of evaluation. Empty: everybody. */
  readonly authorization: readonly RbacFilter[]
}

/** Bytes go through a proxy, which is the endpoint, to somewhere else (Envoy TcpProxy tunneling_config, Istio DestinationRule `tunnel`). */
export interface TcpTunnel {
  readonly method: 'CONNECT' | 'POST'
  /** `host:port` that the proxy is asked for. */
  readonly authority: string
  /** Of a POST. */
  readonly path: string
  /** Further ones. Lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

/** HTTP/2 CONNECT streams are connections of their own (HBONE, connect_terminate). */
export interface TunnelChain {
  readonly kind: 'tunnel'
  /** Name of the listener whose filter chains take them. */
  readonly to: string
  /** What authorities that are no addresses stand for; others are refused. */
  readonly names: readonly TunnelName[]
}

/** An authority `host:from` leads to `address:port`. */
export interface TunnelName {
  /** Lower case. */
  readonly host: string
  readonly from: number
  readonly address: string
  readonly port: number
}

/** Connections are closed at once. */
export interface RefuseChain {
  readonly kind: 'refuse'
  /** For logs, in words: `virtualOutbound-blackhole`. */
  readonly reason: string
  readonly accessLogs: readonly AccessLogger[]
}
