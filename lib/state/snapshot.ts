// One consistent world, frozen and plain, so that it can cross to a worker as a message. It is replaced whole; a request
// finishes on the snapshot that it began with.
import type { Cluster } from './cluster.ts'
import type { Listener } from './listener.ts'
import type { RouteTable } from './route.ts'
import type { WorkloadWorld } from './workload-world.ts'

export interface Snapshot {
  /** Counts up from 1. */
  readonly version: number
  readonly listeners: readonly Listener[]
  /** One table for each service port that is known, and one for each inbound listener. */
  readonly routeTables: readonly RouteTable[]
  /**
   * For an authority without a port on an explicit listener: lower-case domain (exact or `*.suffix`) → the service's only or
   * first HTTP port. A domain that is not here means port 80.
   */
  readonly defaultPorts: readonly (readonly [domain: string, port: number])[]
  readonly clusters: readonly Cluster[]
  /** What the tunnel of role `node` knows; empty for the other roles. */
  readonly world: WorkloadWorld
}

export type ResourceState = 'in-force' | 'shadowed' | 'partly' | 'refused' | 'waiting'

/** What `heddle check` says of one object. Each object is in exactly one state. */
export interface ResourceStatus {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly state: ResourceState
  /** Empty when in force. Several findings are joined with `; `. */
  readonly reason: string
  readonly file: string
  readonly line: number
  readonly column: number
}

/** What an operator may want to know of an object, or of heddle.yaml (kind `bootstrap`), that is in force as it was written. Changes nobody's state. */
export interface ResourceNote {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** Name of the route that it is about, as access logs have it; empty for one without a name. */
  readonly route: string
  readonly message: string
  readonly file: string
  readonly line: number
  readonly column: number
}
