// Which version a new connection speaks, told by its first bytes (RFC 9113 §3.4).
import type { Connection, ConnectionOwner } from '../../transport/connection.ts'
import type { HttpConnectionManager } from './http-connection-manager.ts'
import type { HttpSession } from './http-session.ts'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
/** No HTTP/1 request begins so: there is no method PRI, and this much is enough to know. */
const TELLING = 'PRI * HTTP/2.0'.length

/** Owns a connection until its version is known. It counts as an idle session meanwhile. */
export class Preface implements ConnectionOwner, HttpSession {
  readonly connection: Connection
  private readonly manager: HttpConnectionManager
  private readonly sinceMs: number
  private held: Buffer

  constructor(manager: HttpConnectionManager, connection: Connection) {
    this.manager = manager
    this.connection = connection
    this.sinceMs = manager.io.clock.monotonicMs
    this.held = NOTHING
    connection.owner = this
  }

  get activity(): string {
    return 'idle'
  }

  onData(bytes: Buffer, length: number): void {
    if (this.held.length === 0 && bytes[0] !== 0x50) {
      // The type of a handshake record: the codec will refuse it as a method.
      if (bytes[0] === 0x16) this.manager.noteTls(this)
      this.manager.speakHttp1(this, bytes, length)
      return
    }
    const all = Buffer.concat([this.held, bytes.subarray(0, length), Buffer.alloc(1)])
    const known = Math.min(all.length - 1, TELLING)
    if (all.compare(PREFACE, 0, known, 0, known) !== 0) this.manager.speakHttp1(this, all, all.length - 1)
    else if (known === TELLING) this.manager.speakHttp2(this, all, all.length - 1)
    else this.held = all.subarray(0, all.length - 1)
  }

  onEnd(): void {
    this.connection.end()
  }

  onWritable(): void {}

  onClose(): void {
    this.manager.sessionClosed(this)
  }

  sweep(nowMs: number): void {
    const { connectionIdleTimeoutMs, headerTimeoutMs } = this.manager.limits
    const limit = this.held.length > 0 ? headerTimeoutMs : connectionIdleTimeoutMs
    if (limit !== 0 && nowMs - this.sinceMs >= limit) this.connection.destroy('')
  }

  /** Nothing has been asked yet. */
  drain(): void {
    this.connection.destroy('')
  }
}

const NOTHING = Buffer.alloc(0)
