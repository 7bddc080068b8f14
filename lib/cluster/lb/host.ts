import { addressText } from '../../base/socket-path.ts'
import type { Endpoint } from '../../state/cluster.ts'

// Cells of a host's row. Those below OWN_CELLS exist a second time for each worker: its own part, which is given back when it dies.
/** Requests in flight. */
export const ACTIVE = 0
/** Connections, open and being opened. */
export const CONNECTIONS = 1
/** Workers in which requests wait for a connection to it and that have none (pool/places.ts). */
export const STARVING = 2
export const OWN_CELLS = 3

/** `ip:port`, `[ip]:port` for IPv6, the path of a socket. */
export function hostAddress({ address, port }: Endpoint): string {
  return addressText(address, port)
}

/**
 * One live endpoint of one cluster in one worker. What configuration says of it is `endpoint`; the rest changes while it
 * lives. It outlives snapshots: who reconciles endpoints keeps the Host as long as its address stays in the cluster.
 */
export class Host {
  /** Dense and unique in a worker: it indexes tables of pools. */
  readonly id: number
  endpoint: Endpoint
  readonly address: string
  /** IP address that it is dialled from, of the one client that it is for (TPROXY); empty: it is for all. */
  readonly clientAddress: string
  /** At least 1. A balancer reads it in `update`, least-request also on a pick. */
  weight: number
  /** Where its counts are: memory that all workers share, or its own until it is told where. */
  cells: Int32Array
  /** First cell of the counts of all workers. */
  row: number
  /** First cell of this worker's own part of them. */
  own: number
  /** False while ejected or failing its checks. After a change the owner calls `BalancedCluster.refresh`. */
  available: boolean
  /** Monotonic ms since when it has been there, or has passed its checks again: slow start counts from there. The end of an ejection is no new start (Envoy). */
  availableSinceMs: number
  /** PEAK_EWMA only: expected latency in ms when it last answered, see peak-ewma.ts. Of this worker's requests. */
  latencyMs: number
  /** Monotonic ms of that answer; -1: none yet. */
  latencyAtMs: number

  /** Index of its locality in the cluster's `localityWeights`; -1: localities are not told apart, or it has no weight. Set by layers.ts. */
  locality: number

  constructor(id: number, endpoint: Endpoint, clientAddress = '') {
    this.id = id
    this.endpoint = endpoint
    this.address = hostAddress(endpoint)
    this.clientAddress = clientAddress
    this.weight = Math.max(1, endpoint.weight)
    this.cells = new Int32Array(2 * OWN_CELLS)
    this.row = 0
    this.own = OWN_CELLS
    this.available = true
    this.availableSinceMs = 0
    this.latencyMs = 0
    this.latencyAtMs = -1
    this.locality = -1
  }

  /** Whether requests of sessions that it has may be sent to it. One that is ejected or fails its checks gets none. */
  get keepsSessions(): boolean {
    return this.endpoint.keepsSessions && (this.available || !this.endpoint.healthy)
  }

  /** Requests in flight from all workers. */
  get active(): number {
    return this.cells[this.row] as number
  }

  count(cell: number): number {
    return this.cells[this.row + cell] as number
  }

  /** This worker's part. */
  ownCount(cell: number): number {
    return this.cells[this.own + cell] as number
  }

  /** One more of a cell below OWN_CELLS, of this worker. Returns the count of all workers before. */
  add(cell: number): number {
    this.cells[this.own + cell]!++
    return Atomics.add(this.cells, this.row + cell, 1)
  }

  remove(cell: number): void {
    Atomics.sub(this.cells, this.row + cell, 1)
    this.cells[this.own + cell]!--
  }

  /** Takes what this worker counts to another place: a row of shared memory, or back to cells of its own when the row is given up. */
  move(cells: Int32Array, row: number, own: number): void {
    for (let cell = 0; cell < OWN_CELLS; cell++) {
      const mine = this.cells[this.own + cell] as number
      Atomics.sub(this.cells, this.row + cell, mine)
      this.cells[this.own + cell] = 0
      Atomics.add(cells, row + cell, mine)
      cells[own + cell]! += mine
    }
    this.cells = cells
    this.row = row
    this.own = own
  }
}
