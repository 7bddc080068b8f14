// Hot lane: a deadline per request must cost an assignment, not a timer. Deadlines hang in slots of a wheel that one coarse
// timer turns; the timer stops when nothing hangs in it, so an idle proxy sleeps.
import type { Clock } from './clock.ts'

/** What a deadline calls. `kind` tells the owner which of its deadlines it was. */
export interface DeadlineOwner {
  onDeadline(kind: number): void
  /** After an exception in `onDeadline`: ends what the deadline was about, so that nothing waits for it for ever. */
  abandon(): void
}

/** One armed or idle deadline; embedded in its owner and reused. Links are the wheel's. */
export class Deadline {
  readonly owner: DeadlineOwner
  readonly kind: number
  /** Monotonic ms; 0 when not armed. */
  atMs: number
  next: Deadline | null
  previous: Deadline | null
  slot: number

  constructor(owner: DeadlineOwner, kind: number) {
    this.owner = owner
    this.kind = kind
    this.atMs = 0
    this.next = null
    this.previous = null
    this.slot = -1
  }
}

const SLOTS = 256
/** Coarser than the 1 ms of libuv, finer than any timeout that people write. */
const TICK_MS = 5

export class TimerWheel {
  private readonly clock: Clock
  private readonly slots: (Deadline | null)[]
  private readonly guard: (run: () => void) => void
  private readonly report: (error: unknown) => void
  private cursor: number
  private armed: number
  private timer: NodeJS.Timeout | null

  /** `guard` runs a turn inside the thread's boundary; `report` is told of an exception in one owner, which the others do not notice. */
  constructor(clock: Clock, guard: (run: () => void) => void, report: (error: unknown) => void) {
    this.clock = clock
    this.slots = new Array<Deadline | null>(SLOTS).fill(null)
    this.guard = guard
    this.report = report
    this.cursor = 0
    this.armed = 0
    this.timer = null
  }

  /** Arms (or moves) a deadline to `delayMs` from now. */
  arm(d: Deadline, delayMs: number): void {
    if (d.slot >= 0) this.unlink(d)
    d.atMs = this.clock.monotonicMs + delayMs
    if (this.timer === null) this.start()
    this.link(d, Math.floor(d.atMs / TICK_MS))
  }

  /** Harmless when not armed. */
  cancel(d: Deadline): void {
    if (d.slot >= 0) this.unlink(d)
    d.atMs = 0
  }

  private start(): void {
    this.cursor = Math.floor(this.clock.monotonicMs / TICK_MS)
    this.timer = setInterval(() => this.guard(this.turn), TICK_MS)
    this.timer.unref()
  }

  private link(d: Deadline, tick: number): void {
    // A deadline in a slot that has been passed waits for the next turn of the cursor, never for a whole round.
    const slot = Math.max(tick, this.cursor + 1) % SLOTS
    d.slot = slot
    d.previous = null
    d.next = this.slots[slot] as Deadline | null
    if (d.next !== null) d.next.previous = d
    this.slots[slot] = d
    this.armed++
  }

  private unlink(d: Deadline): void {
    if (d.previous !== null) d.previous.next = d.next
    else this.slots[d.slot] = d.next
    if (d.next !== null) d.next.previous = d.previous
    d.next = null
    d.previous = null
    d.slot = -1
    this.armed--
  }

  private fire(d: Deadline): void {
    try {
      d.owner.onDeadline(d.kind)
    } catch (error) {
      this.report(error)
      d.owner.abandon()
    }
  }

  /** Visits the slots that the clock has passed and fires what is due; later rounds stay where they are. */
  private readonly turn = (): void => {
    const now = this.clock.monotonicMs
    const tick = Math.floor(now / TICK_MS)
    if (tick - this.cursor > SLOTS) this.cursor = tick - SLOTS
    while (this.cursor < tick) {
      this.cursor++
      let d = this.slots[this.cursor % SLOTS] as Deadline | null
      while (d !== null) {
        const following: Deadline | null = d.next
        // The slot covers TICK_MS: what falls due inside it waits for its end, so nothing fires early.
        if (d.atMs <= now) {
          this.unlink(d)
          d.atMs = 0
          this.fire(d)
          // The owner may have changed this very list: begin it again.
          d = this.slots[this.cursor % SLOTS] as Deadline | null
        } else {
          if (Math.floor(d.atMs / TICK_MS) === this.cursor) {
            this.unlink(d)
            this.link(d, this.cursor + 1)
          }
          d = following
        }
      }
    }
    if (this.armed === 0 && this.timer !== null) {
      clearInterval(this.timer)
      this.timer = null
    }
  }
}
