// Hot lane: `next` runs for each request to a cluster whose weights differ. Earliest deadline first (Envoy EdfScheduler):
// a host's next turn comes 1/weight after its last, which spreads turns evenly where a weighted draw would clump them.
import type { Host } from './host.ts'
import { drawIndex } from './picker.ts'

/** A binary heap of deadlines over a fixed list of hosts, at least one. */
export class EdfSchedule {
  readonly #hosts: readonly Host[]
  /** Heap of indices into `#hosts`, earliest deadline first. */
  readonly #heap: Int32Array
  /** By host index. */
  readonly #deadline: Float64Array
  /** By host index: when it was last put back; the elder goes first among equals, so that ties take turns. */
  readonly #order: Float64Array
  /** A host's share falls with the requests that it has in flight (least-request). */
  readonly #byActive: boolean
  #puts: number
  #started: boolean

  constructor(hosts: readonly Host[], byActive: boolean) {
    this.#hosts = hosts
    this.#heap = new Int32Array(hosts.length)
    this.#deadline = new Float64Array(hosts.length)
    this.#order = new Float64Array(hosts.length)
    this.#byActive = byActive
    this.#puts = 0
    this.#started = false
    for (let i = 0; i < hosts.length; i++) {
      this.#heap[i] = i
      this.#deadline[i] = this.#turn(hosts[i] as Host)
      this.#order[i] = this.#puts++
    }
    for (let i = (hosts.length >> 1) - 1; i >= 0; i--) this.#sink(i)
  }

  /** The host whose turn it is. `draw` shifts the start, so that workers do not march in step. */
  next(draw: number): Host {
    if (!this.#started) {
      this.#started = true
      for (let skip = drawIndex(draw, this.#hosts.length); skip > 0; skip--) this.#take()
    }
    return this.#take()
  }

  #take(): Host {
    const index = this.#heap[0] as number
    const host = this.#hosts[index] as Host
    this.#deadline[index] = (this.#deadline[index] as number) + this.#turn(host)
    this.#order[index] = this.#puts++
    this.#sink(0)
    return host
  }

  #turn(host: Host): number {
    return (this.#byActive ? host.active + 1 : 1) / host.weight
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
