import type { Endpoint } from '../../state/cluster.ts'

/**
 * One live endpoint of one cluster in one worker. What configuration says of it is `endpoint`; the rest changes while it
 * lives. It outlives snapshots: who reconciles endpoints keeps the Host as long as its address stays in the cluster.
 */
export class Host {
  /** Dense and unique in a worker: it indexes tables of pools. */
  readonly id: number
  endpoint: Endpoint
  /** `ip:port`, `[ip]:port` for IPv6. */
  readonly address: string
  /** At least 1. A balancer reads it in `update`, least-request also on a pick. */
  weight: number
  /** Requests in flight from this worker; counted by who sends them. */
  active: number
  /** False while ejected or failing its checks. After a change the owner calls `BalancedCluster.refresh`. */
  available: boolean

  constructor(id: number, endpoint: Endpoint) {
    this.id = id
    this.endpoint = endpoint
    this.address = endpoint.address.includes(':')
      ? `[${endpoint.address}]:${endpoint.port}`
      : `${endpoint.address}:${endpoint.port}`
    this.weight = Math.max(1, endpoint.weight)
    this.active = 0
    this.available = true
  }
}
