// Hot lane: the last requests of a worker, for `heddle explain ID`. A request is kept as it is: its decision points to the tables it was made
// on, so that it is explained with the configuration of its time.
//
// What is kept outlives the young generation, and that is what garbage collection costs: of a busy worker's requests a share is kept, of a quiet one's all.
import type { HttpStream } from './http-stream.ts'

const CAPACITY = 1024
/** Of so many ms the first so many requests that went well are kept, and so many of those that did not: nobody asks for the ninetieth in a ms. */
const SPAN_MS = 100
const KEPT_OF_SPAN = 128
/** So many configurations, the one in force among them, are kept for requests that are over; each may be megabytes. */
const CONFIGURATIONS = 8

export class RecentRequests {
  private readonly ring: (HttpStream | null)[]
  private readonly ids: string[]
  private next: number
  private spanEndsMs: number
  private goodLeft: number
  private badLeft: number

  constructor() {
    this.ring = new Array<HttpStream | null>(CAPACITY).fill(null)
    this.ids = new Array<string>(CAPACITY).fill('')
    this.next = 0
    this.spanEndsMs = 0
    this.goodLeft = 0
    this.badLeft = 0
  }

  /** At the end of a request, while its headers are still its own. */
  add(stream: HttpStream): void {
    if (!this.claim(stream)) return
    const at = this.next
    this.next = (at + 1) % CAPACITY
    this.ring[at] = stream
    this.ids[at] = stream.requestHeader('x-request-id') ?? ''
    stream.router = null
  }

  private claim(stream: HttpStream): boolean {
    if (stream.endMs >= this.spanEndsMs) {
      this.spanEndsMs = stream.endMs + SPAN_MS
      this.goodLeft = KEPT_OF_SPAN
      this.badLeft = KEPT_OF_SPAN
    }
    return stream.responseFlags === 0 && stream.responseCode < 400 ? this.goodLeft-- > 0 : this.badLeft-- > 0
  }

  /** A new configuration is in force: requests that were made on one long gone are forgotten, or they would hold it in memory. */
  configurationChanged(version: number): void {
    for (let at = 0; at < CAPACITY; at++) {
      const stream = this.ring[at]
      if (stream === null || stream === undefined || stream.tables.version > version - CONFIGURATIONS) continue
      this.ring[at] = null
      this.ids[at] = ''
    }
  }

  /** The newest request with this x-request-id. */
  find(id: string): HttpStream | null {
    for (let i = 1; i <= CAPACITY; i++) {
      const at = (this.next - i + CAPACITY) % CAPACITY
      if (this.ids[at] === id) return this.ring[at] as HttpStream | null
    }
    return null
  }
}
