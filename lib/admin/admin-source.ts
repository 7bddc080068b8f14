// What the admin page needs of the proxy: the one seam between `admin/` and `server/`.
import type { Ejection } from '../cluster/ejection.ts'
import type { BootstrapConfig, SocketAddress } from '../state/bootstrap-config.ts'
import type { ResourceStatus, Snapshot } from '../state/snapshot.ts'
import type { WorkloadWorld } from '../state/workload-world.ts'
import type { ServerState } from '../telemetry/main-metrics.ts'
import type { KindUse } from './config-use-page.ts'
import type { DumpedConfig } from './dumped-config.ts'

export interface ProxyState {
  /** `LIVE` is the only state in which /ready and /healthz/ready answer 200. */
  readonly server: ServerState
  /** Version of the snapshot in force; 0: none yet. */
  readonly configVersion: number
  /** True: the newest configuration was refused, and the last good one serves. */
  readonly lastGood: boolean
  /** Why the newest configuration is not in force, one `file:line:column: message` each; empty when it is. */
  readonly problems: readonly string[]
  /** Workers that serve, and how many there should be. */
  readonly workersReady: number
  readonly workers: number
}

export interface ListenerView {
  readonly name: string
  readonly direction: 'inbound' | 'outbound'
  /** What its first filter chain does with connections; `captured` of a listener that intercepts. */
  readonly protocol: 'http' | 'tcp' | 'tunnel' | 'refuse' | 'captured'
  /** The port is the one that was bound. */
  readonly bound: SocketAddress
}

/** One worker's part of `/clusters`; the `WorkerView` of server/messages.ts is one. */
export interface WorkerLoad {
  readonly clusters: readonly {
    readonly name: string
    /** Its part of what connectionPool limits. */
    readonly inUse: LimitedUse
    readonly hosts: readonly HostLoad[]
  }[]
}

export interface LimitedUse {
  readonly connections: number
  readonly pendingRequests: number
  readonly requests: number
  readonly retries: number
}

export interface HostLoad {
  /** `10.0.0.1:80`, `[::1]:80`. */
  readonly address: string
  readonly activeRequests: number
  readonly connections: number
  readonly idleConnections: number
  /** Those of `connections` that carry HTTP/2. */
  readonly http2Connections: number
  readonly requestsTotal: number
  readonly connectFailures: number
}

/** What is known of an endpoint's health. */
export interface HostHealth {
  readonly failedOutlierCheck: boolean
  readonly failedActiveCheck: boolean
  /** It has a health check, and no result yet. */
  readonly unchecked: boolean
  /** Percent of the last interval; null: not judged. */
  readonly successRate: number | null
  readonly localSuccessRate: number | null
  /** null: it is not ejected. */
  readonly ejection: Ejection | null
}

/** `/workloads`. */
export interface TunnelView {
  readonly source: 'files' | 'control plane'
  /** Which node it is, and which pod of its own; '': nobody has said so. */
  readonly node: { readonly name: string; readonly pod: string; readonly network: string; readonly clusterId: string }
  /** What readiness waits for; empty when it is there. */
  readonly waitingFor: readonly string[]
  readonly pods: readonly {
    readonly uid: string
    readonly name: string
    readonly namespace: string
    readonly serviceAccount: string
    /** Its workload's; empty: nobody has told of it yet. */
    readonly workload: string
    readonly identity: string
    readonly hasCertificate: boolean
  }[]
  readonly world: WorkloadWorld
}

/** The ConfigUseReport of server/messages.ts, and what a control plane sent. */
export interface ConfigUseView {
  /** Of each worker that answers. */
  readonly workers: readonly {
    /** Names, also of clusters that configuration has no more. */
    readonly clusters: readonly string[]
    readonly virtualHosts: readonly { readonly table: string; readonly name: string; readonly domains: readonly string[] }[]
    /** JavaScript heap of the worker, bytes. */
    readonly heapBytes: number
  }[]
  /** Of memory that the workers share; `arenas` is all of it. */
  readonly bytes: { readonly clusters: number; readonly virtualHosts: number; readonly arenas: number }
  readonly sent: readonly KindUse[]
}

export interface ServerInfo {
  readonly version: string
  readonly uptimeSeconds: number
  /** Shown as it is. */
  readonly bootstrap: BootstrapConfig
}

/** Something that a control plane sent, which is accepted and has no effect. */
export interface FedNote {
  /** The type of the resources: `LDS`. */
  readonly short: string
  readonly text: string
  /** How many say it. */
  readonly resources: number
  /** Name of one of them. */
  readonly example: string
}

/** All of it may be called at any time between `listen` and `close`. */
export interface AdminSource {
  state(): ProxyState
  /** Prometheus text 0.0.4, fresh. */
  metricsText(): string
  /** null until the first one is in force. */
  snapshot(): Snapshot | null
  statuses(): readonly ResourceStatus[]
  /** One of each worker that answers. */
  workerViews(): Promise<readonly WorkerLoad[]>
  listeners(): readonly ListenerView[]
  serverInfo(): ServerInfo
  logLevel(): BootstrapConfig['logLevel']
  /** Main thread and workers. */
  setLogLevel(level: BootstrapConfig['logLevel']): void
  /** True: readiness fails until it is taken back. */
  setUnwell(unwell: boolean): void
  /** Shut down as SIGTERM does; returns before that is done. */
  quit(): void
  /** Stop accepting and finish what is in flight, but stay. */
  drain(): void
  /** An `Explanation` of the request with this x-request-id; null when no worker remembers it. */
  explain(id: string): Promise<unknown>
  /** Of role `node`: what its tunnel knows, and where from; null for other roles. */
  tunnel(): TunnelView | null
  /** How it stands with the control plane (xds/client/ads-status.ts); null: there is none. */
  controlPlane(): object | null
  /** For `/config_dump` in Envoy's shape. */
  dumpedConfig(): DumpedConfig
  /** What of the configuration requests have needed so far. */
  configUse(): Promise<ConfigUseView>
  /** Newest first; those that last, and the last ones that are over. */
  ejections(): readonly Ejection[]
  hostHealth(cluster: string, address: string): HostHealth
}
