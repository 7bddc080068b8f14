// Hot lane: circuit-breaker counts of one cluster. They live in shared memory, so that a limit of 100 is 100 and not 100 a worker.

// Kinds of things counted; also offsets of their cells.
export const CONNECTIONS = 0
export const PENDING = 1
export const REQUESTS = 2
export const RETRIES = 3
/** Workers with requests that wait for a place of CONNECTIONS (pool/places.ts). */
export const WANTING = 4
export const KINDS = 5

/** Two workers can never both take the last place, and nobody is refused while there is one. */
export class Limiter {
  private readonly cells: Int32Array
  /** First cell of the counts of all workers. */
  private readonly all: number
  /** First cell of this worker's own part: what has to be given back when it dies. */
  private readonly own: number
  /** 0: no limit. */
  private readonly max: Float64Array
  /** -1: none, `max` holds for retries. */
  private budgetPercent: number
  private budgetMin: number

  constructor(cells: Int32Array, all: number, own: number) {
    this.cells = cells
    this.all = all
    this.own = own
    this.max = new Float64Array(KINDS)
    this.budgetPercent = -1
    this.budgetMin = 0
  }

  setMax(kind: number, max: number): void {
    this.max[kind] = max
  }

  /** False: the limit is reached, nothing was reserved. */
  take(kind: number): boolean {
    const max = this.max[kind] as number
    if (max !== 0) return this.takeUpTo(kind, max)
    this.takeAnyway(kind)
    return true
  }

  private takeUpTo(kind: number, max: number): boolean {
    const at = this.all + kind
    for (let seen = Atomics.load(this.cells, at); ; ) {
      if (seen + 1 > max) return false
      const found = Atomics.compareExchange(this.cells, at, seen, seen + 1)
      if (found === seen) break
      seen = found
    }
    this.cells[this.own + kind]!++
    return true
  }

  /** `percent` of the requests in flight and waiting, at least `min`, in place of a fixed number of retries; -1: the fixed number. */
  setRetryBudget(percent: number, min: number): void {
    this.budgetPercent = percent
    this.budgetMin = min
  }

  get hasRetryBudget(): boolean {
    return this.budgetPercent >= 0
  }

  /**
   * Takes a place for a retry. The budget follows the counts of all workers at this moment; places that were given when there was more to do stay
   * given (Envoy retry budget).
   */
  takeRetry(): boolean {
    if (this.budgetPercent < 0) return this.take(RETRIES)
    const busy = this.count(REQUESTS) + this.count(PENDING)
    return this.takeUpTo(RETRIES, Math.max((this.budgetPercent * busy) / 100, this.budgetMin))
  }

  giveRetry(): void {
    this.give(RETRIES)
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

  isLimited(kind: number): boolean {
    return this.max[kind] !== 0
  }

  /** More than the limit allows: it was lowered, or places were taken anyway. */
  isBeyond(kind: number): boolean {
    return this.count(kind) > (this.max[kind] as number)
  }

  /** This worker's part of the present count. */
  ownCount(kind: number): number {
    return this.cells[this.own + kind] as number
  }

  /** Present count over all workers. */
  count(kind: number): number {
    return Atomics.load(this.cells, this.all + kind)
  }
}
