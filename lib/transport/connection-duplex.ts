// A Connection as a Node stream, for what can only be given one: TLS inside of a tunnel. Rare, so that it may cost what streams cost.
//
// What arrives is handed on when the event is over. TLS decrypts in the midst of a push, and what it decrypts is read into the buffer of all connections of the
// thread: into the very bytes that the tunnel around it has not looked at yet.
import { Duplex } from 'node:stream'
import type { Connection, ConnectionOwner } from './connection.ts'

type Done = (error?: Error | null) => void

export class ConnectionDuplex extends Duplex implements ConnectionOwner {
  readonly connection: Connection
  /** A write whose bytes have not left yet. */
  private pending: Done | null
  private paused: boolean
  /** Not handed on yet. */
  private arrived: Buffer[]
  private ended: boolean
  /** null: open. */
  private closeReason: string | null
  /** It is handed on when the event is over. */
  private due: boolean

  /** Owns the connection from now on. */
  constructor(connection: Connection) {
    super({ allowHalfOpen: true })
    this.connection = connection
    this.pending = null
    this.paused = false
    this.arrived = []
    this.ended = false
    this.closeReason = null
    this.due = false
    connection.owner = this
  }

  // ---- ConnectionOwner -------------------------------------------------------------------------------------------------

  onData(bytes: Buffer, length: number): void {
    this.arrived.push(Buffer.from(bytes.subarray(0, length)))
    this.handOnSoon()
  }

  onEnd(): void {
    this.ended = true
    this.handOnSoon()
  }

  onWritable(): void {
    const done = this.pending
    this.pending = null
    done?.()
  }

  onClose(reason: string): void {
    const done = this.pending
    this.pending = null
    done?.(errorOf(reason))
    this.closeReason = reason
    this.handOnSoon()
  }

  private handOnSoon(): void {
    if (this.due) return
    this.due = true
    process.nextTick(handOn, this)
  }

  /** For `handOn`, outside of all events. */
  handOn(): void {
    this.due = false
    const { arrived, connection, closeReason } = this
    if (this.destroyed) return
    this.arrived = []
    let room = true
    for (const chunk of arrived) room = this.push(chunk)
    if (!room && !this.paused) {
      this.paused = true
      connection.readDisable()
    }
    if (this.ended) {
      this.ended = false
      this.push(null)
    }
    if (closeReason !== null) this.destroy(errorOf(closeReason) ?? undefined)
  }

  // ---- Duplex ----------------------------------------------------------------------------------------------------------

  override _read(): void {
    if (!this.paused) return
    this.paused = false
    this.connection.readEnable()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    const { connection } = this
    if (connection.closed) {
      done(Object.assign(new Error('the connection is closed'), { code: 'EPIPE' }))
      return
    }
    connection.io.run('write', () => connection.writeBytes(chunk, 0, chunk.length))
    if (connection.writable) done()
    else this.pending = done
  }

  override _final(done: Done): void {
    this.connection.io.run('end', () => this.connection.end())
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.connection.destroy(error === null ? '' : 'aborted')
    done(error)
  }
}

function handOn(duplex: ConnectionDuplex): void {
  duplex.handOn()
}

function errorOf(reason: string): Error | null {
  return reason === '' ? null : Object.assign(new Error(`the connection was closed: ${reason}`), { code: reason })
}
