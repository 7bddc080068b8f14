// Hot lane: the half of a TCP session that faces its endpoint.
import type { Connection, ConnectionOwner } from '../../transport/connection.ts'
import type { TcpSession } from './tcp-proxy-session.ts'

/** The half towards the endpoint. */
export class UpstreamSide implements ConnectionOwner {
  readonly connection: Connection
  private readonly session: TcpSession
  private paused: boolean
  private source: Connection | null

  constructor(session: TcpSession, connection: Connection) {
    this.session = session
    this.connection = connection
    connection.owner = this
    this.paused = false
    this.source = null
  }

  /** This side takes no more: the client is not read until it does. */
  pauseSource(source: Connection): void {
    if (this.source !== null) return
    this.source = source
    source.readDisable()
  }

  pause(): void {
    if (this.paused) return
    this.paused = true
    this.connection.readDisable()
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.connection.readEnable()
  }

  onData(bytes: Buffer, length: number): void {
    this.session.onUpstreamData(bytes, length)
  }

  onEnd(): void {
    this.session.onUpstreamEnd()
  }

  onWritable(): void {
    const { source } = this
    this.source = null
    if (source !== null) source.readEnable()
  }

  onClose(reason: string): void {
    this.session.onUpstreamClosed(reason)
  }
}
