// heddle.yaml after validation: every field present, every path absolute. Made by `bootstrap/`, read by everybody.
import type { HealthCheck } from './health-check.ts'
import type { Origin } from './origin.ts'
import type { TlsVersion } from './tls.ts'

export type Role = 'sidecar' | 'node' | 'waypoint' | 'gateway'

/** The workload this proxy belongs to. */
export interface WorkloadIdentity {
  readonly namespace: string
  readonly serviceAccount: string
  /** Name of the workload for telemetry; default: the label `app`, else `unknown`. */
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly address: string
  /** `region/zone/subzone`; parts may be missing. */
  readonly locality: string
}

export interface ServedPort {
  readonly port: number
  /** As the name of a Service's port may say it; `auto`: found out by the first bytes. */
  readonly protocol: 'http' | 'http2' | 'grpc' | 'https' | 'tls' | 'tcp' | 'auto'
}

/** Listeners of a sidecar to which rules of the packet filter lead connections (docs/interception.md). A port of 0: there is no such listener. */
export interface CaptureConfig {
  /** How inbound connections are led here; outbound ones are redirected in both. `none`: nothing is captured. */
  readonly mode: 'none' | 'redirect' | 'tproxy'
  /** `::` takes IPv4, too. */
  readonly address: string
  readonly outboundPort: number
  readonly inboundPort: number
  /** HBONE. */
  readonly tunnelPort: number
  /** 0: waits for ever. */
  readonly detectionTimeoutMs: number
  /** What the workload serves although no Service says so. */
  readonly ports: readonly ServedPort[]
  readonly origin: Origin
}

/** Where a gateway listens for what its Gateways name. */
export interface GatewayConfig {
  /** `::` takes IPv4, too. For servers without `bind`. */
  readonly address: string
  /** The port that is bound for one of a Gateway; 0: the system chooses. Those that are not here: what a Service of the workload maps it to, else `portOffset` more. */
  readonly ports: readonly { readonly port: number; readonly bound: number }[]
  readonly portOffset: number
  /** Istio gatewayTopology.numTrustedProxies. */
  readonly trustedProxies: number
  /** Who asks is said by a proxy in front (PROXY protocol, Istio gatewayTopology.proxyProtocol). */
  readonly proxyProtocol: boolean
  readonly origin: Origin
}

/** Of role `waypoint`: what it is in front of. */
export interface WaypointConfig {
  /** Of its Gateway: what labels `istio.io/use-waypoint` say. */
  readonly name: string
  /** Where HBONE is spoken. */
  readonly address: string
  readonly port: number
  /** Which it serves: those that name it by a label, of their own or of their namespace; or with these all of its namespace that name no other. */
  readonly services: 'labelled' | 'namespace'
  /** Istio's `istio.io/waypoint-for`: what is addressed to services, to workloads, or to either. */
  readonly serves: 'service' | 'workload' | 'all'
  /** 0: waits for ever. */
  readonly detectionTimeoutMs: number
  readonly origin: Origin
}

export interface SocketAddress {
  readonly address: string
  readonly port: number
}

export interface ListenerConfig {
  readonly name: string
  readonly direction: 'inbound' | 'outbound'
  readonly protocol: 'http' | 'tcp'
  /** `protocol: http1` and `http2` force one; `http` takes both. */
  readonly httpVersion: 'auto' | 'http1' | 'http2'
  readonly address: string
  readonly port: number
  /** tcp outbound: `host:port` of a service. http outbound: stands in for the original destination (pass-through). */
  readonly destination: string
  /** inbound: `address:port` of the application. */
  readonly forwardTo: string
  /** http outbound: take every request as one captured on this port; 0: the authority's port decides. */
  readonly destinationPort: number
  /** http outbound: CONNECT opens a tunnel to the service that its authority names; otherwise it is answered 404. */
  readonly allowConnect: boolean
  readonly origin: Origin
}

/** Limits are on by default; 0 switches one off. `config/reference.yaml` documents each. */
export interface Limits {
  /** Bytes of one header section. 61440 (60 KiB). Envoy max_request_headers_kb. */
  readonly maxHeaderBytes: number
  /** Header lines of one message. 100. */
  readonly maxHeaders: number
  /** Bytes that may wait in one direction of one stream before its source is paused; also the replay limit of a retry. 1 MiB. */
  readonly bufferBytes: number
  /** Downstream connections of the process. 10000. */
  readonly maxConnections: number
  /** Requests on one downstream connection before `connection: close`. 100000. */
  readonly maxRequestsPerConnection: number
  /** Milliseconds from the first byte of a request to the end of its headers. 60000. */
  readonly headerTimeoutMs: number
  /** A downstream connection without a request. 3600000. */
  readonly connectionIdleTimeoutMs: number
  /** A stream on which nothing moves; 0 as in Istio sidecars. */
  readonly streamIdleTimeoutMs: number
  /** HTTP/2: a stream whose client takes nothing of what waits for it, since its windows are used up. 30000. Envoy stream_flush_timeout. */
  readonly streamStallTimeoutMs: number
  /** Series of metrics of the process; more are folded into one. 10000. */
  readonly maxSeries: number
}

/** Which endpoints are asked how they are, and how. The first rule that fits a cluster is the one for it. */
export interface HealthCheckRule {
  /** Services: exact, `*.suffix` or `*`; a name without a dot is one of the workload's namespace. Lower case. */
  readonly hosts: readonly string[]
  /** Of the service; empty: all. */
  readonly ports: readonly number[]
  /** Inbound listeners whose application is asked. */
  readonly listeners: readonly string[]
  readonly check: HealthCheck
}

export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES'

export interface MeshSettings {
  /** Istio rootNamespace. */
  readonly rootNamespace: string
  /** Cluster domain, `cluster.local`. */
  readonly domain: string
  /** Unknown hosts: ALLOW_ANY passes them on where the original destination is known, REGISTRY_ONLY answers 502. */
  readonly outboundTrafficPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY'
  /** What is done to a path before it is matched and sent on (Istio pathNormalization). NONE: as it came. */
  readonly pathNormalization: PathNormalization
  /** Of routes without `retries`: attempts beyond the first, and on what. Empty: Istio's own list (Istio defaultHttpRetryPolicy). */
  readonly defaultRetryAttempts: number
  readonly defaultRetryOn: string
  /** Where no rule and no Service says otherwise, and outlierDetection is on: endpoints near the workload first (Istio localityLbSetting.enabled). */
  readonly localityFailover: 'on' | 'off'
  /** Endpoints that have a sidecar are spoken to by mutual TLS where no DestinationRule says otherwise (Istio enableAutoMtls). */
  readonly autoMtls: 'on' | 'off'
  /** Of connections within the mesh, both ways (Istio meshMTLS.minProtocolVersion). */
  readonly minTlsVersion: TlsVersion
  /** Milliseconds between look-ups of a DNS name whose answer has no TTL. 60000. */
  readonly dnsRefreshMs: number
  /** `address:port` of DNS servers to ask in place of the system's; empty: the system's. */
  readonly dnsServers: readonly string[]
}

export type KeyKind = 'ecdsa-p256' | 'rsa-2048'

/** Who this proxy is among others, and how it proves it. `config/reference.yaml` documents each field. */
export interface IdentityConfig {
  /** Where certificates come from; `none`: there are none, and no mutual TLS. */
  readonly source: 'none' | 'files' | 'dev-ca' | 'workload-api' | 'istio-ca'
  /** Our own, in lower case. Istio trustDomain: cluster.local. */
  readonly trustDomain: string
  /** Istio trustDomainAliases. */
  readonly trustDomainAliases: readonly string[]
  /** Canonical; '': of `workload` with a CA, what the source delivers first otherwise. */
  readonly spiffeId: string
  /** Of keys that are made here, for a CA to sign. */
  readonly key: KeyKind
  /** Wished for from a CA. Istio SECRET_TTL: 24 h. */
  readonly certificateTtlMs: number
  /** Istio SECRET_GRACE_PERIOD_RATIO and its _JITTER. */
  readonly rotation: { readonly graceRatio: number; readonly jitter: number }
  /** Connections whose certificate, ours or the peer's, comes to its end. */
  readonly onOldCertificate: 'keep' | 'drain-before-expiry'
  /** Absolute paths of PEM files with the roots of other trust domains, by name. */
  readonly bundles: readonly { readonly trustDomain: string; readonly file: string }[]
  /** Absolute path of a PEM file with revocation lists of the mesh's CAs; it need not be there. '': revocation is not looked at. */
  readonly revocation: string
  /** Absolute paths. */
  readonly files: { readonly certificateChain: string; readonly privateKey: string; readonly roots: string }
  /** Absolute path of a folder made by `heddle ca init`; '': a CA that lives and dies with this process. */
  readonly devCa: { readonly folder: string }
  readonly workloadApi: {
    /** `unix:///…` or `tcp://…`; '': the variable SPIFFE_ENDPOINT_SOCKET. */
    readonly socket: string
    /** Of the SVID that is the workload's own; '': the first. */
    readonly hint: string
  }
  readonly istioCa: {
    /** `host:port`. */
    readonly address: string
    /** What the CA's certificate must be for; '': the host of `address`. */
    readonly serverName: string
    /** Absolute paths; '' (roots): those of Node; '' (others): none. */
    readonly roots: string
    readonly token: string
    readonly clientCertificate: string
    readonly clientKey: string
    readonly clusterId: string
    /** Istio's CertSigner; '': the CA's default. */
    readonly certSigner: string
  }
}

/** A pod whose connections the tunnel of its node carries. */
export interface PodConfig {
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
  /** Absolute path of its network namespace: `/run/netns/blue`, `/proc/17/ns/net`. */
  readonly netns: string
}

/** A pod that is served: one of the configuration, or one that the node's agent has handed over. */
export interface ServedPod extends PodConfig {
  /** Of the pod in Kubernetes; `namespace/name` for one of the configuration. */
  readonly uid: string
  /** What `netns` must lead to, as `Netns.identity`; '': whatever is there. */
  readonly netnsIdentity: string
}

/** Of role `node`: what ztunnel has from its environment and its local file. */
export interface NodeConfig {
  /** Absolute paths of files in ztunnel's local format: workloads, services, policies. */
  readonly workloads: readonly string[]
  readonly pods: readonly PodConfig[]
  /** Absolute path of the unix socket at which the node's agent hands over more pods; '' for none. ztunnel's INPOD_UDS. */
  readonly agentSocket: string
  /** In the network namespace of each pod: what it sends, what is sent to it in plain text, and tunnels to it. 15001, 15006, 15008. */
  readonly outboundPort: number
  readonly inboundPort: number
  readonly tunnelPort: number
  /** Applications see their clients' addresses (ztunnel ENABLE_ORIG_SRC). */
  readonly keepSource: boolean
  /** SO_MARK of every socket of the tunnel, which the rules of ambient pods know: 1337. */
  readonly mark: number
  /** Applications that end tunnels themselves are reached on loopback (ztunnel LOCALHOST_APP_TUNNEL). */
  readonly localTunnel: boolean
}

/** A control plane as the source of configuration. `config/reference.yaml` documents each field. */
export interface XdsConfig {
  /** `host:port`; '': there is none. */
  readonly address: string
  /** Incremental, or the state of the world, for servers that know no other. */
  readonly protocol: 'delta' | 'sotw'
  /** istiod: 15012 with TLS, 15010 in plain text and without an identity. */
  readonly transport: 'tls' | 'plaintext'
  /** What its certificate must be for; '': the host of `address`. */
  readonly serverName: string
  /** Absolute paths; '' (roots): those of the system; '' (others): none. */
  readonly roots: string
  readonly token: string
  readonly clientCertificate: string
  readonly clientKey: string
  /** Of the workload, in the metadata of calls and of the node. */
  readonly clusterId: string
  /** Further metadata of calls. */
  readonly headers: Readonly<Record<string, string>>
  /** Absolute path of the folder in which the last good resources are kept; '': they are not. */
  readonly state: string
  /** Role `node`: workloads are asked for when they are met, not all at once (ztunnel XDS_ON_DEMAND). */
  readonly onDemand: boolean
  /** In place of the one that is made of role and workload; '': that one. */
  readonly nodeId: string
  /** Over what role, workload and environment say. */
  readonly metadata: Readonly<Record<string, string>>
  /** What istiod takes this proxy for. */
  readonly istioVersion: string
  /** Absolute paths of files of the downward API; they may be missing. */
  readonly podLabels: string
  readonly podAnnotations: string
}

/** How the kubelet's probe of a container is carried out, since it cannot reach the container itself. */
export interface AppProbe {
  /** `/app-health/web/livez`. */
  readonly path: string
  readonly timeoutMs: number
  readonly ask:
    | {
        readonly kind: 'http'
        readonly port: number
        readonly path: string
        readonly tls: boolean
        readonly headers: readonly (readonly [name: string, value: string])[]
      }
    | { readonly kind: 'tcp'; readonly port: number }
    | { readonly kind: 'grpc'; readonly port: number; readonly service: string }
}

/** What Istio's agent does beside Envoy. A port of 0: there is no such server. */
export interface AgentConfig {
  /** `::` takes IPv4, too. */
  readonly address: string
  /** Metrics of the application and of the proxy, and the application's probes. Istio: 15020. */
  readonly statusPort: number
  /** The proxy's metrics alone. Istio: 15090. */
  readonly metricsPort: number
  /** Who may have the metrics of `statusPort`. */
  readonly metricsFor: 'all' | 'local'
  /** Where on loopback the application's own metrics are. */
  readonly applicationMetrics: readonly { readonly port: number; readonly path: string }[]
  /** The address at which probes are asked. */
  readonly probeAddress: string
  readonly probes: readonly AppProbe[]
  /** What is told to the control plane of the application of a virtual machine; null: nothing. */
  readonly readinessProbe: ReadinessProbe | null
}

/** Istio ProxyConfig.readinessProbe. */
export interface ReadinessProbe {
  readonly initialDelayMs: number
  readonly timeoutMs: number
  readonly periodMs: number
  /** In a row. */
  readonly successThreshold: number
  readonly failureThreshold: number
  /** Name or address; empty: `probeAddress`. */
  readonly host: string
  readonly ask: AppProbe['ask'] | { readonly kind: 'exec'; readonly command: readonly string[] }
}

/** Answers the application's questions for names of the mesh, and passes all others on. */
export interface DnsConfig {
  /** Not of role node, which answers at both loopback addresses of each pod. */
  readonly address: string
  /** 0: there is none. Istio: 15053. */
  readonly port: number
  /** `address:port` of those who are asked what is not known here; empty: those of /etc/resolv.conf. */
  readonly servers: readonly string[]
}

/** Envoy's default line, Istio's, which has more, or Istio's keys as JSON. */
export type AccessLogFormat = 'text' | 'istio' | 'json'

export interface BootstrapConfig {
  readonly role: Role
  readonly workload: WorkloadIdentity
  /** Worker threads, at least 1. */
  readonly concurrency: number
  readonly admin: SocketAddress
  readonly health: SocketAddress
  /** `path` null: no access log. `isDefault`: nobody has named the path. */
  readonly accessLog: { readonly path: string | null; readonly format: AccessLogFormat; readonly isDefault: boolean }
  readonly logLevel: 'debug' | 'info' | 'warning' | 'error'
  /** Absolute paths of files and folders of YAML. */
  readonly resources: readonly string[]
  /** In place of `resources` when it has an address. */
  readonly xds: XdsConfig
  readonly listeners: readonly ListenerConfig[]
  readonly capture: CaptureConfig
  readonly gateway: GatewayConfig
  readonly waypoint: WaypointConfig
  readonly drain: {
    /** From the beginning of the drain: how long new connections are taken, at most the deadline; then what is in flight is cut. */
    readonly acceptMs: number
    readonly deadlineMs: number
    /** Of connections whose filter chain is not there any more; 0: as long as they like. Istio drainDuration. */
    readonly changesMs: number
  }
  readonly limits: Limits
  readonly mesh: MeshSettings
  /** A client that ends its side after a complete request: `serve` still answers it, `abort` takes it for gone, as Envoy does. */
  readonly http1: { readonly halfClose: 'serve' | 'abort' }
  /** Suffix of the Host of a mirrored copy; `-shadow` by default, empty is what current Istio does. */
  readonly mirror: {
    readonly hostSuffix: string
    /** Copies in flight of the process; more are not sent, and counted. 1024; 0: no limit. */
    readonly maxRequests: number
  }
  /** `guarded`: nothing is sent twice unless that is provably safe or its route allows it. `exact`: as the policies say, Istio's behaviour. */
  readonly retries: 'guarded' | 'exact'
  /** `x-envoy-fault-*` of requests: `ignore`, or `allow` clients to ask for faults on routes with a fault policy and on others. */
  readonly faults: { readonly headers: 'ignore' | 'allow' }
  readonly healthChecks: readonly HealthCheckRule[]
  readonly identity: IdentityConfig
  readonly node: NodeConfig
  readonly agent: AgentConfig
  readonly dns: DnsConfig
  /** Path of heddle.yaml, for messages. */
  readonly file: string
}
