// Hot lane: what the sockets of one thread share: the clock, the read buffer, the blocks, and the boundary around every event.
import { BlockPool } from '../base/block-pool.ts'
import { Clock } from '../base/clock.ts'
import { TimerWheel } from '../base/timer-wheel.ts'
import type { Connection } from './connection.ts'
import { NO_SECRETS } from './secrets.ts'
import { type HandshakeReport, TlsContexts } from './tls-contexts.ts'

/** Bytes that one read can bring. All sockets read into one buffer of this size: what a callback does not use up, it copies. */
export const READ_BYTES = 128 * 1024

/** Told of an exception in a socket callback; it must not throw. `where` is the event's name. */
export type BoundaryReport = (error: unknown, where: string, connection: Connection | null) => void

export class Io {
  readonly clock: Clock
  readonly timers: TimerWheel
  readonly blocks: BlockPool
  /** One byte longer than what reads may fill: the parsers want a sentinel behind the last byte. */
  readonly readBuffer: Buffer
  readonly readView: Buffer
  readonly report: BoundaryReport
  readonly tls: TlsContexts
  /** Connections with output that waits for the end of the event. */
  private readonly dirty: Connection[]
  private dirtyCount: number
  /** Those whose output waits for the end of the turn. */
  private readonly gathering: Connection[]
  private gatheringCount: number
  private depth: number

  constructor(report: BoundaryReport, handshakeFailed: HandshakeReport = () => {}) {
    this.clock = new Clock()
    this.blocks = new BlockPool()
    this.readBuffer = Buffer.allocUnsafeSlow(READ_BYTES + 1)
    this.readView = this.readBuffer.subarray(0, READ_BYTES)
    this.report = report
    this.tls = new TlsContexts(NO_SECRETS, handshakeFailed)
    this.dirty = []
    this.dirtyCount = 0
    this.gathering = []
    this.gatheringCount = 0
    this.depth = 0
    this.timers = new TimerWheel(
      this.clock,
      (run) => this.run('timer', run),
      (error) => this.report(error, 'timer', null),
    )
  }

  /** Called by a connection that has got something to write; written when the event ends. */
  markDirty(c: Connection): void {
    if (!c.gathers) this.dirty[this.dirtyCount++] = c
    else {
      if (this.gatheringCount === 0) setImmediate(endTurn, this)
      this.gathering[this.gatheringCount++] = c
    }
  }

  /** All events that libuv had for us are done: what connections have gathered leaves. */
  flushGathered(): void {
    this.depth++
    const list = this.gathering
    const count = this.gatheringCount
    for (let i = 0; i < count; i++) {
      const c = list[i] as Connection
      try {
        c.flush()
      } catch (error) {
        this.report(error, 'flush', c)
        c.destroy('internal_error')
      }
    }
    // What a flush made others write waits for the next turn.
    let left = 0
    for (let i = count; i < this.gatheringCount; i++) list[left++] = list[i] as Connection
    this.gatheringCount = left
    if (left > 0) setImmediate(endTurn, this)
    this.leave()
  }

  /** Every socket event begins here. */
  enter(): void {
    this.depth++
    this.clock.update()
  }

  /** … and ends here: all output of the event leaves, one write for each connection. */
  leave(): void {
    if (--this.depth > 0) return
    // A flush can make more output (an error closes the other side): the list is walked until it is empty.
    const list = this.dirty
    for (let i = 0; i < this.dirtyCount; i++) {
      const c = list[i] as Connection
      try {
        c.flush()
      } catch (error) {
        this.report(error, 'flush', c)
        c.destroy('internal_error')
      }
    }
    this.dirtyCount = 0
  }

  /** For what does not begin in a socket: timers, messages. An exception is reported and ends there; then false is returned. */
  run(where: string, body: () => void): boolean {
    this.enter()
    try {
      body()
      return true
    } catch (error) {
      this.report(error, where, null)
      return false
    } finally {
      this.leave()
    }
  }
}

function endTurn(io: Io): void {
  io.flushGathered()
}
