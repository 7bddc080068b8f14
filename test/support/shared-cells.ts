// Looks into the memory that all workers share: what is counted there while nothing happens is a leak.
import { ACTIVE, CONNECTIONS } from '../../lib/cluster/lb/host.ts'
import { HOST_CELLS, SharedHosts } from '../../lib/cluster/shared-hosts.ts'
import { KINDS } from '../../lib/pool/limiter.ts'

/** Cells that are not 0, in words. */
export function sharedCells(limits: SharedArrayBuffer, hosts: SharedArrayBuffer, workers: number): string[] {
  return [...limitCells(new Int32Array(limits), workers), ...hostCells(hosts, workers)]
}

/** Rows of cluster/shared-limits.ts: two hashes of a name, the counts of all workers, then each worker's part. */
function limitCells(cells: Int32Array, workers: number): string[] {
  const width = 2 + KINDS * (1 + workers)
  const kinds = ['connections', 'pending', 'requests', 'retries']
  const found: string[] = []
  for (let at = 0; at + width <= cells.length; at += width) {
    if (cells[at] === 0) continue
    for (let k = 0; k < KINDS * (1 + workers); k++) {
      const value = cells[at + 2 + k] as number
      if (value !== 0) found.push(`limit ${kinds[k % KINDS]} of ${whose(Math.floor(k / KINDS))}: ${value}`)
    }
  }
  return found
}

function hostCells(shared: SharedArrayBuffer, workers: number): string[] {
  const hosts = new SharedHosts(shared, 0, workers)
  const first = hosts.hostAt(0)
  const width = hosts.hostAt(1) - first
  const found: string[] = []
  const names = new Map([
    [ACTIVE, 'requests'],
    [CONNECTIONS, 'connections'],
  ])
  for (let at = first; at + width <= hosts.cells.length; at += width) {
    for (let part = 0; part <= workers; part++) {
      for (const [cell, name] of names) {
        const value = hosts.cells[at + cell + (part === 0 ? 0 : HOST_CELLS + names.size * (part - 1))] as number
        if (value !== 0) found.push(`host row ${(at - first) / width}, ${name} of ${whose(part)}: ${value}`)
      }
    }
  }
  return found
}

function whose(part: number): string {
  return part === 0 ? 'all workers' : `worker ${part - 1}`
}
