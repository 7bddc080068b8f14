// Hot lane: two connections as one: bytes both ways, each end passed on by itself, a reset as a reset. Who cannot write pauses the other side's reading.
import type { Connection, ConnectionOwner } from './connection.ts'

export interface SpliceOwner {
  /** Once, when both connections are closed. */
  onSpliceClosed(splice: Splice): void
}

export class Splice {
  readonly first: SpliceSide
  readonly second: SpliceSide
  private readonly owner: SpliceOwner
  /** What ended it: empty for an orderly end of both directions. */
  reason: string
  /** The side that did not end orderly; null: none, or we ended it. */
  failed: SpliceSide | null

  /** Owns both connections from now on. Reading of them goes on as it was: pauses of former owners are theirs to undo. */
  constructor(first: Connection, second: Connection, owner: SpliceOwner) {
    this.owner = owner
    this.reason = ''
    this.failed = null
    this.first = new SpliceSide(this, first)
    this.second = new SpliceSide(this, second)
    first.fedBy(second)
    second.fedBy(first)
    this.first.other = this.second
    this.second.other = this.first
  }

  get lastActiveMs(): number {
    return Math.max(this.first.connection.lastActiveMs, this.second.connection.lastActiveMs)
  }

  /** Cuts both sides. */
  cut(reason: string): void {
    if (this.reason === '') this.reason = reason
    this.first.connection.abort(reason)
    this.second.connection.abort(reason)
  }

  /** From a side. */
  sideClosed(side: SpliceSide, reason: string): void {
    const { connection } = side.other
    if (reason !== '' && this.reason === '') {
      this.reason = reason
      this.failed = side
    }
    if (connection.closed) {
      this.owner.onSpliceClosed(this)
      return
    }
    if (reason !== '') connection.abort(reason)
    // What came before the end was passed on; what still comes has no way.
    else connection.end()
    side.onWritable()
  }
}

/** One of the two: what comes from it goes to the other. */
export class SpliceSide implements ConnectionOwner {
  readonly connection: Connection
  private readonly splice: Splice
  /** Set right after both are made. */
  other: SpliceSide
  /** The other side takes no more for now. */
  private paused: boolean

  constructor(splice: Splice, connection: Connection) {
    this.splice = splice
    this.connection = connection
    this.other = this
    this.paused = false
    connection.owner = this
  }

  onData(bytes: Buffer, length: number): void {
    const to = this.other.connection
    if (to.closed) {
      this.connection.destroy('')
      return
    }
    to.writeBytes(bytes, 0, length)
    if (to.writable || this.paused) return
    this.paused = true
    this.connection.readDisable()
  }

  onEnd(): void {
    this.other.connection.end()
  }

  /** This side takes more again. */
  onWritable(): void {
    const { other } = this
    if (!other.paused) return
    other.paused = false
    other.connection.readEnable()
  }

  onClose(reason: string): void {
    this.splice.sideClosed(this, reason)
  }
}
