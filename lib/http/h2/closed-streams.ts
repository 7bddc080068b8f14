// Hot lane: which streams we have reset. The peer may have sent more on them before it knew: that is ignored, where on other closed streams it
// would be an error (RFC 9113 §5.1).

const REMEMBERED = 256

export class ClosedStreams {
  private readonly ids: Set<number>
  /** Empty before the first. */
  private ring: Int32Array
  private next: number
  /** The highest id that had to be forgotten: below it nothing is certain, and the benefit of the doubt is given. */
  private forgotten: number

  constructor() {
    this.ids = new Set()
    this.ring = NONE
    this.next = 0
    this.forgotten = 0
  }

  add(id: number): void {
    if (this.ring === NONE) this.ring = new Int32Array(REMEMBERED)
    const old = this.ring[this.next] as number
    if (old !== 0) {
      this.ids.delete(old)
      if (old > this.forgotten) this.forgotten = old
    }
    this.ring[this.next] = id
    this.next = (this.next + 1) % REMEMBERED
    this.ids.add(id)
  }

  /** May frames of the peer still come on this closed stream? */
  mayTrail(id: number): boolean {
    return id <= this.forgotten || this.ids.has(id)
  }
}

const NONE = new Int32Array(0)
