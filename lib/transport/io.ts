// Hot lane: what the sockets of one thread share: the clock, the read buffer, the blocks, and the boundary around every event.
import { BlockPool } from '../base/block-pool.ts'
import { Clock } from '../base/clock.ts'
import { TimerWheel } from '../base/timer-wheel.ts'
import type { Connection } from './connection.ts'
import { Gathering } from './gathering.ts'
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
  private readonly gathering: Gathering
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
    this.gathering = new Gathering(this)
    this.depth = 0
    this.timers = new TimerWheel(
      this.clock,
      (run) => this.run('timer', run),
      (error) => this.report(error, 'timer', null),
    )
  }

  /** Called by a connection that has got something to write: it is flushed when the event ends, or the turn. `much`: that is too much to wait for more. */
  markDirty(c: Connection, much: boolean): void {
    if (much || !c.gathers || !this.gathering.take(c)) this.dirty[this.dirtyCount++] = c
  }

  /** Sends what the first `count` of `list` have, each inside of a boundary. */
  flushAll(list: readonly Connection[], count: number): void {
    this.depth++
    for (let i = 0; i < count; i++) this.flush(list[i] as Connection)
    this.leave()
  }

  private flush(c: Connection): void {
    try {
      c.flush()
    } catch (error) {
      this.report(error, 'flush', c)
      c.destroy('internal_error')
    }
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
    for (let i = 0; i < this.dirtyCount; i++) this.flush(list[i] as Connection)
    this.dirtyCount = 0
    this.gathering.eventEnded()
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
