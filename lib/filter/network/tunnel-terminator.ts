// Hot lane: the end of HBONE: each CONNECT stream of an mTLS HTTP/2 connection becomes a connection of its own, which filter chains take as if it had been
// dialled (Envoy connect_terminate and internal listeners).

import { SERVER_OPTIONS } from '../../hbone/options.ts'
import { TunnelConnection } from '../../hbone/tunnel-connection.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../../http/h2/server-connection.ts'
import type { Http2Stream } from '../../http/h2/stream.ts'
import type { TunnelChain } from '../../state/listener.ts'
import { type Connection, NOBODY } from '../../transport/connection.ts'
import type { WorkerParts } from './http-connection-manager.ts'
import type { HttpSession } from './http-session.ts'

export class TunnelTerminator {
  readonly parts: WorkerParts
  readonly sessions: Set<TunnelSession>
  config: TunnelChain

  constructor(parts: WorkerParts, config: TunnelChain) {
    this.parts = parts
    this.config = config
    this.sessions = new Set()
  }

  /** New configuration, for the streams from now on. */
  use(config: TunnelChain): void {
    this.config = config
  }

  accept(connection: Connection): void {
    this.sessions.add(new TunnelSession(this, connection))
  }

  sweep(): void {
    for (const session of this.sessions) session.sweep()
  }

  drain(): void {
    for (const session of this.sessions) session.drain()
  }
}

/** One connection from another proxy. */
export class TunnelSession implements Http2ServerEvents, HttpSession {
  readonly connection: Connection
  readonly codec: Http2ServerConnection
  private readonly terminator: TunnelTerminator

  constructor(terminator: TunnelTerminator, connection: Connection) {
    this.terminator = terminator
    this.connection = connection
    this.codec = new Http2ServerConnection(connection, this, SERVER_OPTIONS)
    connection.owner = this.codec
  }

  get activity(): string {
    const n = this.codec.streams.size
    return n === 0 ? 'idle' : `${n} tunnels`
  }

  sweep(): void {
    if (this.connection.retired) this.drain()
  }

  drain(): void {
    this.codec.shutdown()
  }

  // ---- Http2ServerEvents -----------------------------------------------------------------------------------------------

  onRequest(stream: Http2Stream): void {
    if (stream.method !== 'CONNECT' || stream.protocol !== '') {
      this.refuse(stream, 404, `expected method CONNECT, got ${stream.method}`)
      return
    }
    const target = targetOf(stream.authority)
    if (target === null) {
      this.refuse(stream, 400, `the authority ${stream.authority} is not ip:port`)
      return
    }
    const { parts, config } = this.terminator
    const { connection } = this
    if (!parts.tunnels.takes(config.to, target.address, target.port)) {
      this.refuse(stream, 503, `nothing takes connections to ${stream.authority}`)
      return
    }
    stream.sendHeaders(200, '', false)
    const inner = new TunnelConnection(stream, NOBODY, connection.peerAddress, connection.localAddress, connection.tls)
    inner.originalDst = stream.authority
    parts.tunnels.enter(config.to, inner, target.address, target.port)
  }

  onRefusedRequest(stream: Http2Stream): void {
    this.refuse(stream, 400, `malformed: fault ${stream.fault}`)
  }

  private refuse(stream: Http2Stream, status: number, why: string): void {
    const { logger, io, worker } = this.terminator.parts
    worker.connectionCut('tunnel_refused')
    if (logger.every(`tunnel ${status}`, 1000, io.clock.monotonicMs))
      logger.warning(`a tunnel is refused with ${status}: ${why}`, {
        peer: this.connection.peerAddress,
        identity: this.connection.tls?.peerIdentity ?? '',
      })
    stream.sendHeaders(status, '', true)
    stream.stopReceiving()
  }

  onSettings(): void {}

  onStreamClosed(stream: Http2Stream): void {
    if (stream.events instanceof TunnelConnection) stream.events.onStreamClosed()
  }

  onGoaway(): void {}

  onConnectionError(): void {
    this.terminator.parts.worker.connectionCut('http2_protocol_error')
  }

  onClose(): void {
    this.terminator.sessions.delete(this)
  }
}

/** `10.0.0.1:80`, `[fd00::1]:80`; null: it is something else. */
export function targetOf(authority: string): { readonly address: string; readonly port: number } | null {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(authority)
  if (parts === null) return null
  const port = Number(parts[3])
  return port > 0 && port < 65_536 ? { address: (parts[1] ?? parts[2]) as string, port } : null
}
