// Hot lane: the places for connections of one cluster as one worker sees them, where maxConnections limits them over all workers.
//
// A pool takes a place for each connection, and gives it back behind its end. One that has requests and finds none says so in memory that all
// workers share, has the others told, and looks again every RETRY_MS. Two things are said: that a place would be welcome (WANTING, of the
// cluster), and that requests wait where this worker has no connection at all (STARVING, of the host). Who has an idle connection to
// spare gives it up for the first; for the second also the last one, and a busy one once it has had its SLICE_MS. So requests wait for
// places, but never for ever, and there are never more connections than the limit allows. Without a limit nothing of it happens.
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { type Host, CONNECTIONS as OF_HOST, STARVING } from '../cluster/lb/host.ts'
import type { Io } from '../transport/io.ts'
import { CONNECTIONS, type Limiter, WANTING } from './limiter.ts'

const RETRY_MS = 10
/** A call may have come to nothing, because somebody else was faster: it is repeated after so many tries. */
const CALL_AGAIN = 10
/** How long a busy connection is kept from a worker that has none. Long enough that making connections does not become the main work. */
export const SLICE_MS = 50
/** How long who gave up a connection lets the others go first: twice the time in which they look. */
export const PATIENCE_MS = 20

/** A pool, as far as it looks for places. */
export interface Seeker {
  readonly host: Host
  /** Requests wait for which no connection is under way. */
  readonly seeking: boolean
  /** It has no connection, and none under way. */
  readonly bare: boolean
  /** It is among those that look for places. Written by Places. */
  looking: boolean
  /** Connects as often as it needs to and may. False: no place was free. */
  seek(): boolean
}

export class Places implements DeadlineOwner {
  readonly limiter: Limiter
  private readonly io: Io
  private readonly call: () => void
  /** Pools that look for places, who has looked for longest first. */
  private readonly seekers: Seeker[]
  private readonly starving: Set<Seeker>
  private readonly deadline: Deadline
  private tries: number

  /** `call`: has all who may give up a connection look whether they should. */
  constructor(io: Io, limiter: Limiter, call: () => void) {
    this.io = io
    this.limiter = limiter
    this.call = call
    this.seekers = []
    this.starving = new Set()
    this.deadline = new Deadline(this, 0)
    this.tries = 0
  }

  /** A place for a connection to a host. One that has none in the whole process gets its first beyond the limit (Envoy circuit breakers). */
  take(host: Host): boolean {
    // The host counts first: of several workers that come at the same time only one can be its first.
    const before = host.add(OF_HOST)
    if (this.limiter.take(CONNECTIONS)) return true
    if (before === 0) {
      this.limiter.takeAnyway(CONNECTIONS)
      return true
    }
    host.remove(OF_HOST)
    return false
  }

  /** For a TCP connection, which has nothing to wait with: never beyond the limit. */
  takeStrictly(host: Host): boolean {
    host.add(OF_HOST)
    if (this.limiter.take(CONNECTIONS)) return true
    host.remove(OF_HOST)
    return false
  }

  give(host: Host): void {
    this.limiter.give(CONNECTIONS)
    host.remove(OF_HOST)
  }

  // ---- looking for a place ------------------------------------------------------------------------------------------------

  /** There was none. */
  lookFor(seeker: Seeker): void {
    let news = false
    if (!seeker.looking) {
      seeker.looking = true
      if (this.seekers.length === 0) this.limiter.takeAnyway(WANTING)
      this.seekers.push(seeker)
      news = true
    }
    if (seeker.bare && !this.starving.has(seeker)) {
      this.starving.add(seeker)
      seeker.host.add(STARVING)
      news = true
    }
    if (this.deadline.slot < 0) this.io.timers.arm(this.deadline, RETRY_MS)
    if (news) this.call()
  }

  /** Of one that is looking something has changed: what is no longer so is no longer said. */
  review(seeker: Seeker): void {
    if ((!seeker.bare || !seeker.seeking) && this.starving.delete(seeker)) seeker.host.remove(STARVING)
    if (seeker.seeking) return
    seeker.looking = false
    this.seekers.splice(this.seekers.indexOf(seeker), 1)
    if (this.seekers.length === 0) this.limiter.give(WANTING)
  }

  onDeadline(): void {
    let again = ++this.tries % CALL_AGAIN === 0
    for (const seeker of [...this.seekers]) if (seeker.seek() && seeker.seeking) again = true
    if (this.seekers.length === 0) return
    this.io.timers.arm(this.deadline, RETRY_MS)
    if (again) this.call()
  }

  /** After a mistake in a pool: the others are looked after in the next round. */
  abandon(): void {
    this.io.timers.arm(this.deadline, RETRY_MS)
  }

  // ---- what is to be given up ---------------------------------------------------------------------------------------------

  get limited(): boolean {
    return this.limiter.isLimited(CONNECTIONS)
  }

  /** Elsewhere requests for the same host wait without any connection to it: in another worker, or for another version of HTTP. */
  othersStarve(seeker: Seeker): boolean {
    return seeker.host.count(STARVING) > (this.starving.has(seeker) ? 1 : 0)
  }

  /** Somebody could use a place that becomes free. Beyond the limit one does not. `own`: also pools of this worker count. */
  isWanted(own: boolean): boolean {
    const { limiter } = this
    const wanting = limiter.count(WANTING) - (own ? 0 : limiter.ownCount(WANTING))
    return wanting > 0 && !limiter.isBeyond(CONNECTIONS)
  }
}
