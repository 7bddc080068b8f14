// Hot lane: circuit-breaker counts of one cluster. They live in shared memory, so that a limit of 100 is 100 and not 100 a worker.

// Kinds of things counted; also offsets of their cells.
export const CONNECTIONS = 0
export const PENDING = 1
export const REQUESTS = 2
export const RETRIES = 3
export const KINDS = 4

/** Reserves by adding and takes back when that was one too many, so that two workers can never both take the last place. */
export class Limiter {
  private readonly cells: Int32Array
  /** First cell of the counts of all workers. */
  private readonly all: number
  /** First cell of this worker's own part: what has to be given back when it dies. */
  private readonly own: number
  /** 0: no limit. */
  private readonly max: Float64Array

  constructor(cells: Int32Array, all: number, own: number) {
    this.cells = cells
    this.all = all
    this.own = own
    this.max = new Float64Array(KINDS)
  }

  setMax(kind: number, max: number): void {
    this.max[kind] = max
  }

  /** False: the limit is reached, nothing was reserved. */
  take(kind: number): boolean {
    const before = Atomics.add(this.cells, this.all + kind, 1)
    const max = this.max[kind] as number
    if (max !== 0 && before >= max) {
      Atomics.sub(this.cells, this.all + kind, 1)
      return false
    }
    this.cells[this.own + kind]!++
    return true
  }

  /** Reserves beyond the limit: a host without any connection always gets one (Envoy, Envoy circuit breakers). */
  takeAnyway(kind: number): void {
    Atomics.add(this.cells, this.all + kind, 1)
    this.cells[this.own + kind]!++
  }

  give(kind: number): void {
    Atomics.sub(this.cells, this.all + kind, 1)
    this.cells[this.own + kind]!--
  }

  /** Present count over all workers. */
  count(kind: number): number {
    return Atomics.load(this.cells, this.all + kind)
  }
}
