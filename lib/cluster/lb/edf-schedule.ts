// Hot lane: `next` runs for each request to a cluster whose weights differ. Earliest deadline first (Envoy EdfScheduler):
// an entry's next turn comes 1/weight after its last, which spreads turns evenly where a weighted draw would clump them.
import { drawIndex } from './picker.ts'

/** How long until the next turn of an entry: 1 / its weight, asked for each time that it is put back. */
export interface Turns {
  /** `nowMs`: monotonic. */
  after(index: number, nowMs: number): number
}

/** Weights that do not change. */
export class FixedTurns implements Turns {
  readonly #after: Float64Array

  constructor(weights: readonly number[]) {
    this.#after = Float64Array.from(weights, (w) => 1 / w)
  }

  after(index: number): number {
    return this.#after[index] as number
  }
}

/** A binary heap of deadlines over entries 0 … n−1, at least one. */
export class EdfSchedule {
  readonly #turns: Turns
  /** Heap of indices, earliest deadline first. */
  readonly #heap: Int32Array
  /** By index. */
  readonly #deadline: Float64Array
  /** By index: when it was last put back; the elder goes first among equals, so that ties take turns. */
  readonly #order: Float64Array
  #puts: number
  #started: boolean

  constructor(n: number, turns: Turns, nowMs: number) {
    this.#turns = turns
    this.#heap = new Int32Array(n)
    this.#deadline = new Float64Array(n)
    this.#order = new Float64Array(n)
    this.#puts = 0
    this.#started = false
    for (let i = 0; i < n; i++) {
      this.#heap[i] = i
      this.#deadline[i] = turns.after(i, nowMs)
      this.#order[i] = this.#puts++
    }
    for (let i = (n >> 1) - 1; i >= 0; i--) this.#sink(i)
  }

  /** Index of the entry whose turn it is. `draw` shifts the start, so that workers do not march in step. */
  next(draw: number, nowMs: number): number {
    if (!this.#started) {
      this.#started = true
      for (let skip = drawIndex(draw, this.#heap.length); skip > 0; skip--) this.#take(nowMs)
    }
    return this.#take(nowMs)
  }

  #take(nowMs: number): number {
    const index = this.#heap[0] as number
    this.#deadline[index] = (this.#deadline[index] as number) + this.#turns.after(index, nowMs)
    this.#order[index] = this.#puts++
    this.#sink(0)
    return index
  }

  #before(a: number, b: number): boolean {
    const da = this.#deadline[a] as number
    const db = this.#deadline[b] as number
    return da < db || (da === db && (this.#order[a] as number) < (this.#order[b] as number))
  }

  #sink(at: number): void {
    const heap = this.#heap
    const moving = heap[at] as number
    let i = at
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#before(heap[child + 1] as number, heap[child] as number)) child++
      if (!this.#before(heap[child] as number, moving)) break
      heap[i] = heap[child] as number
      i = child
    }
    heap[i] = moving
  }
}
