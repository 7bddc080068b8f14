// Hot lane: counters and gauges in shared memory. A worker allots slots when it meets a series for the first time; from then on
// a count is `slab.values[slot]++`. The worker is the only writer, the main thread reads at a scrape, so nothing needs Atomics:
// an aligned 64-bit store is never seen half done.
import { type FamilyGroup, METRIC_OVERFLOW } from './families.ts'

/** Slots of a worker's slab: 8 MB of address space, of which only pages that were written cost memory. */
export const SLAB_SLOTS = 1 << 20

/** Slots 0 to 127 belong to no series: where writes go when the slab itself is full. Wider than the widest group. */
export const SINK_SLOTS = 128

/** Label of the one series of a group that takes all that found no room. */
export const OVERFLOW_LABELS = 'overflow="true"'

/** Tells the main thread of a new series; `family` is the name of the group. */
export type Announce = (family: string, labels: string, slot: number) => void

export function createSlabBuffer(slots: number = SLAB_SLOTS): SharedArrayBuffer {
  return new SharedArrayBuffer(slots * 8)
}

export class MetricsSlab {
  /** Index it with slots of `allot`. */
  readonly values: Float64Array
  readonly announce: Announce
  readonly maxSeries: number
  /** By group name, then by label text. */
  readonly slots: Map<string, Map<string, number>>
  /** Series that count against `maxSeries`. */
  series: number
  nextSlot: number
  overflowSlot: number

  /** @param maxSeries limits.maxSeries; 0: no limit but the size of the buffer. */
  constructor(buffer: SharedArrayBuffer, announce: Announce, maxSeries: number) {
    this.values = new Float64Array(buffer)
    this.announce = announce
    this.maxSeries = maxSeries
    this.slots = new Map()
    this.series = 0
    this.nextSlot = SINK_SLOTS
    this.overflowSlot = 0
    this.overflowSlot = this.allot(METRIC_OVERFLOW, '')
  }

  /**
   * First slot of the series; the same labels give the same slot. Beyond `maxSeries` it is the group's overflow series, so
   * that totals over all labels stay right; when the buffer is full it is slot 0, which nobody reads.
   * @param labels rendered by labels.ts, without braces
   */
  allot(group: FamilyGroup, labels: string): number {
    let byLabels = this.slots.get(group.name)
    if (byLabels === undefined) {
      byLabels = new Map()
      this.slots.set(group.name, byLabels)
    }
    const known = byLabels.get(labels)
    if (known !== undefined) return known
    if (group.capped && labels !== OVERFLOW_LABELS) {
      if (this.maxSeries !== 0 && this.series + group.families.length > this.maxSeries) return this.#overflow(group)
      this.series += group.families.length
    }
    return this.#take(group, byLabels, labels)
  }

  #overflow(group: FamilyGroup): number {
    this.values[this.overflowSlot]! += 1
    return this.allot(group, OVERFLOW_LABELS)
  }

  #take(group: FamilyGroup, byLabels: Map<string, number>, labels: string): number {
    if (this.nextSlot + group.width > this.values.length) {
      this.values[this.overflowSlot]! += 1
      return 0
    }
    const slot = this.nextSlot
    this.nextSlot += group.width
    byLabels.set(labels, slot)
    this.announce(group.name, labels, slot)
    return slot
  }
}

/**
 * Counts `value` into a histogram whose block begins at `slot`. The buckets are not cumulative here; the exposition adds
 * them up. Nineteen bounds are scanned faster than they are searched.
 */
export function observe(values: Float64Array, slot: number, bounds: readonly number[], value: number): void {
  values[slot]! += value
  let i = 0
  const n = bounds.length
  while (i < n && value > (bounds[i] as number)) i++
  values[slot + 1 + i]! += 1
}
