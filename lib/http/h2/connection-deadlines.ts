// Hot lane: the deadlines of one connection, made when they are first needed.
import { Deadline, type DeadlineOwner } from '../../base/timer-wheel.ts'
import type { Io } from '../../transport/io.ts'

// Kinds.
export const SETTINGS_ACK = 0
/** A frame or header block has begun and is not complete. */
export const HEAD = 1
export const STALL = 2
export const KEEPALIVE = 3
export const KEEPALIVE_ANSWER = 4
/** The second GOAWAY of an orderly end. */
export const GOAWAY = 5
/** After our end: what the peer still sends is read and dropped, so that a reset does not destroy what we said last. */
export const LINGER = 6
/** Streams that are open only because the peer still sends what nobody wants. */
export const UNWANTED = 7
const KINDS = 8

export class ConnectionDeadlines {
  private readonly io: Io
  private readonly owner: DeadlineOwner
  private readonly armed: (Deadline | null)[]

  constructor(io: Io, owner: DeadlineOwner) {
    this.io = io
    this.owner = owner
    this.armed = new Array<Deadline | null>(KINDS).fill(null)
  }

  /** Unless it is armed already, or `delayMs` is 0: then false. */
  arm(kind: number, delayMs: number): boolean {
    if (delayMs === 0) return false
    let d = this.armed[kind] as Deadline | null
    if (d === null) {
      d = new Deadline(this.owner, kind)
      this.armed[kind] = d
    } else if (d.slot >= 0) return false
    this.io.timers.arm(d, delayMs)
    return true
  }

  cancel(kind: number): void {
    const d = this.armed[kind] as Deadline | null
    if (d !== null) this.io.timers.cancel(d)
  }

  cancelAll(): void {
    for (let kind = 0; kind < KINDS; kind++) this.cancel(kind)
  }
}
