// Which row of shared-hosts.ts is whose. Main thread only: it alone sees every configuration, and knows when nobody can use a row any more.
import type { Endpoint } from '../state/cluster.ts'
import { hostAddress } from './lb/host.ts'
import { type ClusterRows, MAX_CLUSTERS, MAX_HOSTS, type SharedHosts } from './shared-hosts.ts'

/** A worker that has not followed a message for so long is no more: what it was told to leave may be given to others. */
const QUARANTINE_MS = 300_000

class Rows {
  private readonly max: number
  private readonly clear: (row: number) => void
  private next: number
  private readonly free: number[]
  /** Left at a time; oldest first. */
  private readonly left: { readonly row: number; readonly atMs: number }[]

  constructor(max: number, clear: (row: number) => void) {
    this.max = max
    this.clear = clear
    this.next = 0
    this.free = []
    this.left = []
  }

  take(nowMs: number): number {
    while (this.left[0] !== undefined && nowMs - this.left[0].atMs >= QUARANTINE_MS) {
      const { row } = this.left.shift() as { row: number }
      this.clear(row)
      this.free.push(row)
    }
    const row = this.free.pop()
    if (row !== undefined) return row
    return this.next < this.max ? this.next++ : -1
  }

  leave(row: number, nowMs: number): void {
    if (row >= 0) this.left.push({ row, atMs: nowMs })
  }
}

interface Entry {
  readonly row: number
  /** By address. */
  readonly hosts: Map<string, number>
}

export class HostRows {
  private readonly shared: SharedHosts
  private readonly now: () => number
  private readonly clusterRows: Rows
  private readonly hostRows: Rows
  private readonly clusters: Map<string, Entry>
  private taken: number

  /** `now`: monotonic ms. */
  constructor(shared: SharedHosts, now: () => number) {
    this.shared = shared
    this.now = now
    this.clusterRows = new Rows(MAX_CLUSTERS, (row) => shared.clearCluster(row))
    this.hostRows = new Rows(MAX_HOSTS, (row) => shared.clearHost(row))
    this.clusters = new Map()
    this.taken = 0
  }

  /** How many hosts have rows. */
  get hosts(): number {
    return this.taken
  }

  has(name: string): boolean {
    return this.clusters.has(name)
  }

  /** The cluster is no more: its rows are left. */
  release(name: string): void {
    const entry = this.clusters.get(name)
    if (entry === undefined) return
    this.clusters.delete(name)
    this.clusterRows.leave(entry.row, this.now())
    for (const row of entry.hosts.values()) this.hostRows.leave(row, this.now())
    this.taken -= entry.hosts.size
  }

  /** Of one cluster, which is new or has these endpoints now. */
  assignHosts(name: string, endpoints: readonly Endpoint[]): ClusterRows {
    const now = this.now()
    let entry = this.clusters.get(name)
    if (entry === undefined) {
      entry = { row: this.clusterRows.take(now), hosts: new Map() }
      this.clusters.set(name, entry)
    }
    const { hosts } = entry
    const addresses = endpoints.map(hostAddress)
    const wanted = new Set(addresses)
    for (const [address, row] of hosts) {
      if (wanted.has(address)) continue
      hosts.delete(address)
      this.hostRows.leave(row, now)
      this.taken--
    }
    const rows = addresses.map((address) => {
      const known = hosts.get(address)
      if (known !== undefined) return known
      const row = this.hostRows.take(now)
      hosts.set(address, row)
      this.taken++
      return row
    })
    return { cluster: entry.row, hosts: Int32Array.from(rows) }
  }

  /** Every row in use, for sweeps on the main thread. */
  *each(): Iterable<{ readonly cluster: string; readonly clusterRow: number; readonly address: string; readonly row: number }> {
    for (const [cluster, entry] of this.clusters)
      for (const [address, row] of entry.hosts) if (row >= 0) yield { cluster, clusterRow: entry.row, address, row }
  }

  rowOf(cluster: string, address: string): number {
    return this.clusters.get(cluster)?.hosts.get(address) ?? -1
  }

  /** By address; empty when there is no such cluster. Not to be kept. */
  hostsOf(cluster: string): ReadonlyMap<string, number> {
    return this.clusters.get(cluster)?.hosts ?? new Map()
  }

  clusterRowOf(cluster: string): number {
    return this.clusters.get(cluster)?.row ?? -1
  }

  /** A worker died: what it counted in any row is taken back. Rows that were left are cleared before somebody has them. */
  releaseWorker(worker: number): void {
    for (const { row } of this.each()) this.shared.releaseWorker(row, worker)
  }
}
