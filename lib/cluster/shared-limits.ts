// Cells of circuit-breaker counts that all workers share. A cluster is found by the hash of its name, so that workers need not agree on
// numbers with anybody: who comes first enters the name, the others find it.
//
// Layout of a row: two hashes of the name, KINDS cells of all workers, then KINDS cells for each worker: its own part of the count.
import { CONNECTIONS, KINDS, Limiter, REQUESTS } from '../pool/limiter.ts'

const KEYS = 2

export class SharedLimits {
  private readonly cells: Int32Array
  private readonly worker: number
  private readonly row: number
  private readonly rows: number

  /** `worker` is this worker's index, `workers` their number; both fix the layout. */
  constructor(shared: SharedArrayBuffer, worker: number, workers: number) {
    this.cells = new Int32Array(shared)
    this.worker = worker
    this.row = KEYS + KINDS * (1 + workers)
    this.rows = Math.floor(this.cells.length / this.row)
  }

  /** The worker died: what it had reserved is given back. Called on the main thread, between its end and the start of its replacement. */
  releaseOwn(): void {
    for (let r = 0; r < this.rows; r++) {
      const base = r * this.row
      for (let k = 0; k < KINDS; k++) {
        const own = base + KEYS + KINDS * (1 + this.worker) + k
        const left = this.cells[own] as number
        if (left === 0) continue
        Atomics.sub(this.cells, base + KEYS + k, left)
        this.cells[own] = 0
      }
    }
  }

  /** Downstream connections of the process, which have the row of a name that no cluster has; null: no limit. */
  downstream(max: number): Limiter | null {
    if (max === 0) return null
    const limiter = this.limiterFor('')
    limiter.setMax(CONNECTIONS, max)
    return limiter
  }

  /** Mirrored copies of the process; no cluster has a name like that. `max` 0: no limit. */
  mirrors(max: number): Limiter {
    const limiter = this.limiterFor(' mirrors')
    limiter.setMax(REQUESTS, max)
    return limiter
  }

  /** When the table is full (thousands of clusters), the cluster is counted in this worker alone. */
  limiterFor(cluster: string): Limiter {
    const first = hash(cluster, 0x811c9dc5) | 1
    const second = hash(cluster, 0x01000193)
    let r = Math.abs(first % this.rows)
    for (let i = 0; i < this.rows; i++, r = (r + 1) % this.rows) {
      const base = r * this.row
      const seen = Atomics.compareExchange(this.cells, base, 0, first)
      if (seen === 0) Atomics.store(this.cells, base + 1, second)
      // A neighbour may be between its two stores: equal first hashes are enough to tell names apart in practice, and
      // clusters that did collide would share a limit, not lose one.
      if (seen === 0 || (seen === first && sameSecond(this.cells, base + 1, second))) {
        return new Limiter(this.cells, base + KEYS, base + KEYS + KINDS * (1 + this.worker))
      }
    }
    return new Limiter(new Int32Array(2 * KINDS), 0, KINDS)
  }
}

function sameSecond(cells: Int32Array, at: number, second: number): boolean {
  const seen = Atomics.load(cells, at)
  return seen === second || seen === 0
}

/** FNV-1a. */
function hash(text: string, seed: number): number {
  let h = seed
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h
}

/** Clusters for which there is room; some of the memory is never touched. */
const SHARED_CLUSTERS = 8192

/** Bytes of the memory that all workers share. A row holds two hashes, the count of all workers and the part of each. */
export function sharedLimitBytes(workers: number): number {
  return SHARED_CLUSTERS * (2 + KINDS * (1 + workers)) * Int32Array.BYTES_PER_ELEMENT
}
