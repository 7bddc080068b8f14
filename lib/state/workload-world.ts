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
