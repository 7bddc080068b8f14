// What all workers know of each endpoint: requests in flight, connections, results, health. Rows of one SharedArrayBuffer; which row is
// whose is said by the main thread alone (host-rows.ts) and told with the configuration, so that nobody has to search.
//
// Layout: header, rows of clusters, rows of hosts. The first cell of the header counts changes of health anywhere: a worker looks at it
// before each decision, and at nothing else as long as nothing has changed.
import { OWN_CELLS } from './lb/host.ts'

const HEADER = 8
export const MAX_CLUSTERS = 8192
export const MAX_HOSTS = 65_536

// Cells of a cluster's row.
/** Counts changes of the health of its hosts. */
export const VERSION = 0
/** Hosts that are ejected now. */
export const EJECTED = 1
/** Ejections that the limit forbade. */
export const EJECTIONS_OVERFLOW = 2
const CLUSTER_CELLS = 8

// Cells of a host's row, behind those of cluster/lb/host.ts.
/** EJECTED_FLAG, FAILED_CHECK_FLAG, UNCHECKED_FLAG; 0: well. */
export const HEALTH = OWN_CELLS
export const CONSECUTIVE_5XX = OWN_CELLS + 1
export const CONSECUTIVE_GATEWAY = OWN_CELLS + 2
export const CONSECUTIVE_LOCAL = OWN_CELLS + 3
/** Results since the last sweep. */
export const RESULTS = OWN_CELLS + 4
export const SUCCESSES = OWN_CELLS + 5
export const LOCAL_RESULTS = OWN_CELLS + 6
export const LOCAL_SUCCESSES = OWN_CELLS + 7
/** Which detector ejected it last: DETECTED_BY_… of cluster/ejecting.ts. */
export const EJECTED_BY = OWN_CELLS + 8
/** Cells of a row, without the workers' own parts. */
export const HOST_CELLS = OWN_CELLS + 9

// Bits of HEALTH.
export const EJECTED_FLAG = 1
export const FAILED_CHECK_FLAG = 2
/** It has a health check, and no result yet. */
export const UNCHECKED_FLAG = 4

/** Where a cluster and its hosts stand; -1: no row was left, counts are the worker's own. */
export interface ClusterRows {
  readonly cluster: number
  /** In the order of the cluster's endpoints. */
  readonly hosts: Int32Array
}

export function sharedHostsBytes(workers: number): number {
  return (HEADER + MAX_CLUSTERS * CLUSTER_CELLS + MAX_HOSTS * hostWidth(workers)) * Int32Array.BYTES_PER_ELEMENT
}

function hostWidth(workers: number): number {
  return HOST_CELLS + OWN_CELLS * workers
}

export class SharedHosts {
  readonly cells: Int32Array
  private readonly width: number
  private readonly worker: number

  /** `worker`: this worker's index, or -1 on the main thread. */
  constructor(shared: SharedArrayBuffer, worker: number, workers: number) {
    this.cells = new Int32Array(shared)
    this.width = hostWidth(workers)
    this.worker = worker
  }

  /** Changes whenever the health of any host does. */
  get version(): number {
    return this.cells[0] as number
  }

  /** First cell of a cluster. */
  clusterAt(row: number): number {
    return HEADER + row * CLUSTER_CELLS
  }

  /** First cell of a host. */
  hostAt(row: number): number {
    return HEADER + MAX_CLUSTERS * CLUSTER_CELLS + row * this.width
  }

  /** First cell of this worker's own part of a host. */
  ownAt(row: number): number {
    return this.hostAt(row) + HOST_CELLS + OWN_CELLS * this.worker
  }

  /** Says to all workers that the health of hosts of this cluster has changed. */
  changed(clusterRow: number): void {
    Atomics.add(this.cells, this.clusterAt(clusterRow) + VERSION, 1)
    Atomics.add(this.cells, 0, 1)
  }

  clearCluster(row: number): void {
    const at = this.clusterAt(row)
    this.cells.fill(0, at, at + CLUSTER_CELLS)
  }

  clearHost(row: number): void {
    const at = this.hostAt(row)
    this.cells.fill(0, at, at + this.width)
  }

  /** A worker died: what it counted in a row is taken back. On the main thread, before its replacement starts. */
  releaseWorker(hostRow: number, worker: number): void {
    const at = this.hostAt(hostRow)
    const own = at + HOST_CELLS + OWN_CELLS * worker
    for (let cell = 0; cell < OWN_CELLS; cell++) {
      Atomics.sub(this.cells, at + cell, this.cells[own + cell] as number)
      this.cells[own + cell] = 0
    }
  }
}
