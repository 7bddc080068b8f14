// What the main thread and the workers say to each other. Plain data only: each message is structured-cloned.

import type { ClusterRows } from '../cluster/shared-hosts.ts'
import type { BootstrapConfig, ServedPod } from '../state/bootstrap-config.ts'
import type { SelfDescription } from '../state/self-description.ts'
import type { WorldChange } from '../state/workload-world.ts'
import type { Secrets } from '../transport/secrets.ts'
import type { ConfigChanges } from './config-changes.ts'

/** `workerData` of a worker. */
export interface WorkerInit {
  /** 0-based; a replacement has the index of the worker that it replaces. */
  readonly index: number
  readonly bootstrap: BootstrapConfig
  readonly self: SelfDescription
  /** From nothing. Null once the worker has it: Node.js keeps `workerData` for as long as the worker lives. */
  config: ConfigChanges | null
  /** Metrics slab of this worker (telemetry/slab.ts); it is its only writer. */
  readonly metrics: SharedArrayBuffer
  /** Int32 cells that all workers add to with Atomics (cluster/shared-limits.ts). */
  readonly shared: SharedArrayBuffer
  /** Rows of all endpoints (cluster/shared-hosts.ts). */
  readonly sharedHosts: SharedArrayBuffer
  /** Certificates, keys and trust; never part of a dump. */
  readonly secrets: Secrets
  /** The port that each listener is to bind, by listener name: port 0 has been resolved, so that all workers agree. One that is not here stays unbound. */
  readonly ports: Readonly<Record<string, number>>
  /** Of role `node`; null: of another role. */
  readonly node: NodeInit | null
}

/** What a worker of role `node` begins with. */
export interface NodeInit {
  readonly pods: readonly ServedPod[]
  /** The control plane tells of workloads when it is asked. */
  readonly onDemand: boolean
}

export type ToWorker =
  /** What differs from the configuration that it has. `ports`: as in WorkerInit. Said to be applied when what is new listens. */
  | { readonly type: 'config'; readonly changes: ConfigChanges; readonly ports: Readonly<Record<string, number>> }
  /** Where the endpoints of a cluster are counted: a worker has used it. */
  | { readonly type: 'rows'; readonly cluster: string; readonly rows: ClusterRows }
  /** Certificates were renewed, or trust has changed. */
  | { readonly type: 'secrets'; readonly secrets: Secrets }
  /**
   * Finish what is in flight, and what comes until `acceptMs` have passed; then stop accepting, cut the rest after the deadline, and say `drained`. Both from
   * now. `inboundOnly`: until then outbound listeners go on as ever.
   */
  | { readonly type: 'drain'; readonly acceptMs: number; readonly deadlineMs: number; readonly inboundOnly: boolean }
  /** The next answer of each connection is its last; all else goes on. `inboundOnly`: not of outbound listeners. */
  | { readonly type: 'announce-drain'; readonly inboundOnly: boolean }
  /** Answered with `reply`: an `Explanation` or null. */
  | { readonly type: 'explain'; readonly call: number; readonly id: string }
  /** Answered with `reply`: what it remembers of failures of an endpoint, FailedRequest[]. */
  | { readonly type: 'failures'; readonly call: number; readonly cluster: string; readonly address: string }
  /** Answered with `reply`: `ConfigUse`. */
  | { readonly type: 'config-use'; readonly call: number }
  /** Answered with `reply`: `WorkerView`. */
  | { readonly type: 'inspect'; readonly call: number }
  | { readonly type: 'log-level'; readonly level: BootstrapConfig['logLevel'] }
  /** In another worker requests wait for a connection of this cluster and find no place under its maxConnections. */
  | { readonly type: 'give-way'; readonly cluster: string }
  /** The addresses that a host name of a workload has; null: the look-up failed. */
  | {
      readonly type: 'addresses'
      readonly hostname: string
      readonly addresses: readonly string[] | null
      readonly ttlMs: number
    }
  /** The control plane has been asked: what it has of the name was told before this. `answered` false: it has not said. */
  | { readonly type: 'asked'; readonly name: string; readonly answered: boolean }
  /** What the tunnel of role `node` knows has changed; the rest of the configuration has not. */
  | { readonly type: 'world'; readonly change: WorldChange }
  /** Answered with `reply`: '' when the pod's connections are taken, else why they are not. One that is served already stays as it is. */
  | { readonly type: 'open-pod'; readonly call: number; readonly pod: ServedPod }
  | { readonly type: 'close-pod'; readonly uid: string }
  /** SIGUSR1: the access log's file was rotated; open it anew. */
  | { readonly type: 'reopen-logs' }

export type FromWorker =
  /** Listening; traffic is served. */
  | { readonly type: 'ready' }
  | { readonly type: 'applied'; readonly version: number }
  /** It has used a cluster that has no rows yet. Answered with `rows`. */
  | { readonly type: 'first-use'; readonly cluster: string }
  /** The worker allotted slots of its slab; see telemetry/slab.ts. */
  | { readonly type: 'series'; readonly family: string; readonly labels: string; readonly slot: number }
  /** It has ejected an endpoint; `detector`: DETECTED_BY_… of cluster/ejecting.ts, `atMs`: epoch. */
  | {
      readonly type: 'ejected'
      readonly cluster: string
      readonly address: string
      readonly detector: number
      readonly atMs: number
    }
  | { readonly type: 'reply'; readonly call: number; readonly value: unknown }
  | { readonly type: 'drained'; readonly cut: readonly CutConnection[] }
  /** Answered with `addresses`. */
  | { readonly type: 'resolve'; readonly hostname: string }
  /** Whether the control plane has a name of the workload feed, where it tells on demand; answered with `asked`. */
  | { readonly type: 'ask'; readonly name: string }
  /** To be passed on to the other workers, as `give-way`. */
  | { readonly type: 'wants-connection'; readonly cluster: string }
  /** A listener could not be bound, or the worker cannot serve for another reason. It exits afterwards. */
  | { readonly type: 'failed'; readonly message: string }

/** Answered by a message to all workers. */
export type WorkerQuestion = Extract<FromWorker, { readonly type: 'resolve' | 'ask' }>

/** A connection or request that the drain deadline ended. */
export interface CutConnection {
  readonly listener: string
  readonly peer: string
  /** `GET /path of reviews` or `idle` or `tunnel`. */
  readonly what: string
  readonly reason: string
}

/** What of the configuration requests have needed so far in one worker. */
export interface ConfigUse {
  /** Names, also of clusters that configuration has no more. */
  readonly clusters: readonly string[]
  readonly virtualHosts: readonly { readonly table: string; readonly name: string; readonly domains: readonly string[] }[]
  /** JavaScript heap of the worker, bytes. */
  readonly heapBytes: number
}

/** For `heddle top config`. */
export interface ConfigUseReport {
  readonly workers: readonly ConfigUse[]
  /** Of memory that the workers share, by kind of noun; `arenas` is all of it, with what is waste. */
  readonly bytes: { readonly clusters: number; readonly virtualHosts: number; readonly arenas: number }
}

/** One worker's part of `/clusters` and `/listeners`. */
export interface WorkerView {
  readonly clusters: readonly {
    readonly name: string
    /** Its part of what connectionPool limits. */
    readonly inUse: {
      readonly connections: number
      readonly pendingRequests: number
      readonly requests: number
      readonly retries: number
    }
    readonly hosts: readonly {
      readonly address: string
      readonly activeRequests: number
      readonly connections: number
      readonly idleConnections: number
      /** Those of `connections` that carry HTTP/2. */
      readonly http2Connections: number
      readonly requestsTotal: number
      readonly connectFailures: number
    }[]
  }[]
  readonly downstreamConnections: number
  readonly activeRequests: number
}
