// Hot lane: the open streams of a connection by their ids. Not a Map: what a Map leaves behind when it makes itself new goes on holding the entries of
// that moment and points to its successor, so once one such table has come among V8's old objects, a third of all streams follow it there.
import type { Http2Stream } from './stream.ts'

/** Open addressing. The ids of one side count up by two, so neighbours in time lie side by side and rarely meet. */
export class StreamTable {
  size: number
  /** A power of two, at least twice `size`; none before the first stream. */
  private slots: (Http2Stream | null)[]

  constructor() {
    this.size = 0
    this.slots = []
  }

  get(id: number): Http2Stream | undefined {
    const { slots } = this
    const mask = slots.length - 1
    if (mask < 0) return undefined
    for (let i = (id >>> 1) & mask; ; i = (i + 1) & mask) {
      const stream = slots[i] as Http2Stream | null
      if (stream === null) return undefined
      if (stream.id === id) return stream
    }
  }

  /** There is none with this id. */
  add(stream: Http2Stream): void {
    if (this.size * 2 >= this.slots.length) this.grow()
    this.size++
    this.put(stream)
  }

  private put(stream: Http2Stream): void {
    const { slots } = this
    const mask = slots.length - 1
    let i = (stream.id >>> 1) & mask
    while (slots[i] !== null) i = (i + 1) & mask
    slots[i] = stream
  }

  private grow(): void {
    const before = this.slots
    this.slots = new Array<Http2Stream | null>(Math.max(4, before.length * 2)).fill(null)
    for (const stream of before) if (stream !== null) this.put(stream)
  }

  delete(id: number): void {
    const { slots } = this
    const mask = slots.length - 1
    if (mask < 0) return
    let hole = (id >>> 1) & mask
    while (slots[hole]?.id !== id) {
      if (slots[hole] === null) return
      hole = (hole + 1) & mask
    }
    this.size--
    slots[hole] = null
    // Those behind the hole that would be looked for from before it move up.
    for (let i = (hole + 1) & mask; ; i = (i + 1) & mask) {
      const stream = slots[i] as Http2Stream | null
      if (stream === null) return
      const home = (stream.id >>> 1) & mask
      if (((i - home) & mask) < ((i - hole) & mask)) continue
      slots[hole] = stream
      slots[i] = null
      hole = i
    }
  }

  /** Those that are open now, oldest first, in an array of its own. */
  values(): Http2Stream[] {
    const found: Http2Stream[] = []
    for (const stream of this.slots) if (stream !== null) found.push(stream)
    return found.sort((a, b) => a.id - b.id)
  }

  clear(): void {
    this.size = 0
    this.slots = []
  }
}
