// Hot lane: output that waits for the end of a turn of the event loop, behind all events that libuv had for us, so that what many of them write to one
// connection leaves in one write. The wait costs something itself: where turn after turn brings one event, output leaves with its event for a
// while, and then it is tried again.
import type { Connection } from './connection.ts'
import type { Io } from './io.ts'

/** So many turns of one event in a row, and waiting is given up … */
const LONELY_TURNS = 8
/** … for so many outputs. */
const STRAIGHT = 64

export class Gathering {
  private readonly io: Io
  private readonly list: Connection[]
  private count: number
  /** Events that have ended since the list was begun. */
  private events: number
  private lonely: number
  /** Outputs that are still not to wait. */
  private straight: number

  constructor(io: Io) {
    this.io = io
    this.list = []
    this.count = 0
    this.events = 0
    this.lonely = 0
    this.straight = 0
  }

  /** From a connection that has begun output: it is flushed when the turn ends. False: it is not to wait. */
  take(c: Connection): boolean {
    if (this.straight > 0) {
      this.straight--
      return false
    }
    if (this.count === 0) this.begin()
    this.list[this.count++] = c
    return true
  }

  private begin(): void {
    this.events = 0
    setImmediate(endTurn, this)
  }

  eventEnded(): void {
    this.events++
  }

  /** The turn ends. What a flush makes others write waits for the next one. */
  endTurn(): void {
    const { io, list, count } = this
    if (this.events > 1) this.lonely = 0
    else if (++this.lonely === LONELY_TURNS) {
      // The next lonely turn is enough.
      this.lonely--
      this.straight = STRAIGHT
    }
    io.flushAll(list, count)
    let left = 0
    for (let i = count; i < this.count; i++) list[left++] = list[i] as Connection
    this.count = left
    if (left > 0) this.begin()
  }
}

function endTurn(gathering: Gathering): void {
  gathering.endTurn()
}
