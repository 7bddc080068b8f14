// A Connection as a Node stream, for what can only be given one: TLS inside of a tunnel. Rare, so that it may cost what streams cost.
import { Duplex } from 'node:stream'
import type { Connection, ConnectionOwner } from './connection.ts'

type Done = (error?: Error | null) => void

export class ConnectionDuplex extends Duplex implements ConnectionOwner {
  readonly connection: Connection
  /** A write whose bytes have not left yet. */
  private pending: Done | null
  private paused: boolean

  /** Owns the connection from now on. */
  constructor(connection: Connection) {
    super({ allowHalfOpen: true })
    this.connection = connection
    this.pending = null
    this.paused = false
    connection.owner = this
  }

  // ---- ConnectionOwner -------------------------------------------------------------------------------------------------

  onData(bytes: Buffer, length: number): void {
    if (this.push(Buffer.from(bytes.subarray(0, length))) || this.paused) return
    this.paused = true
    this.connection.readDisable()
  }

  onEnd(): void {
    this.push(null)
  }

  onWritable(): void {
    const done = this.pending
    this.pending = null
    done?.()
  }

  onClose(reason: string): void {
    const done = this.pending
    this.pending = null
    const error = reason === '' ? null : Object.assign(new Error(`the connection was closed: ${reason}`), { code: reason })
    done?.(error)
    this.destroy(error ?? undefined)
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
