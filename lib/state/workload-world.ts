// Everything that a node's tunnel knows, as one plain value that can cross to a worker. `decide/tunnel/mesh-index.ts` makes it
// quick to ask, `policy/l4-authorizer.ts` its policies.
import type { Authorization } from './authorization.ts'
import type { MeshService } from './mesh-service.ts'
import type { Workload } from './workload.ts'

export interface WorkloadWorld {
  /** One of each uid. */
  readonly workloads: readonly Workload[]
  /** One of each namespace and host name. */
  readonly services: readonly MeshService[]
  /** One of each namespace and name. */
  readonly policies: readonly Authorization[]
}

export const EMPTY_WORLD: WorkloadWorld = { workloads: [], services: [], policies: [] }

/** From one world to the next: what is new or other than it was, and the keys of what is gone. Nothing is in both. */
export interface WorldChange {
  readonly put: WorkloadWorld
  readonly removed: {
    /** `uid`. */
    readonly workloads: readonly string[]
    /** `serviceKey`. */
    readonly services: readonly string[]
    /** `policyKey`. */
    readonly policies: readonly string[]
  }
}

export function isEmptyChange({ put, removed }: WorldChange): boolean {
  return [put.workloads, put.services, put.policies, removed.workloads, removed.services, removed.policies].every(
    (list) => list.length === 0,
  )
}
