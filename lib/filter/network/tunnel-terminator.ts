// Hot lane: the end of HBONE: each CONNECT stream of an mTLS HTTP/2 connection becomes a connection of its own, which filter chains take as if it had been
// dialled (Envoy connect_terminate and internal listeners).

import { canonicalIp } from '../../base/ip-address.ts'
import { SERVER_OPTIONS } from '../../hbone/options.ts'
import { TunnelConnection } from '../../hbone/tunnel-connection.ts'
import { Http2ServerConnection, type Http2ServerEvents } from '../../http/h2/server-connection.ts'
import type { Http2Stream } from '../../http/h2/stream.ts'
import type { TunnelChain } from '../../state/listener.ts'
import { type Connection, NOBODY } from '../../transport/connection.ts'
import { factsThrough, type TlsFacts } from '../../transport/tls-facts.ts'
import type { WorkerParts } from './http-connection-manager.ts'
import type { HttpSession } from './http-session.ts'

export class TunnelTerminator {
  readonly parts: WorkerParts
  readonly sessions: Set<TunnelSession>
  config: TunnelChain
  draining: boolean

  constructor(parts: WorkerParts, config: TunnelChain) {
    this.parts = parts
    this.config = config
    this.sessions = new Set()
    this.draining = false
  }

  /** New configuration, for the streams from now on. */
  use(config: TunnelChain): void {
    this.config = config
  }

  /** null: nobody here goes by that name. */
  resolve({ address, port }: TunnelTarget): TunnelTarget | null {
    return this.config.names.find((n) => n.host === address && n.from === port) ?? null
  }

  accept(connection: Connection): void {
    this.sessions.add(new TunnelSession(this, connection))
  }

  sweep(): void {
    for (const session of this.sessions) session.sweep()
  }

  /** GOAWAY: what begins elsewhere need not end. Who connects anew is told with its first tunnel. */
  announceDrain(): void {
    this.draining = true
    for (const session of this.sessions) session.drain()
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
  private readonly facts: TlsFacts | null

  constructor(terminator: TunnelTerminator, connection: Connection) {
    this.terminator = terminator
    this.connection = connection
    this.facts = factsThrough(connection.tls)
    this.codec = new Http2ServerConnection(connection, this, SERVER_OPTIONS)
    connection.owner = this.codec
    connection.gathers = true
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
    if (this.terminator.draining) this.codec.shutdown()
    if (stream.method !== 'CONNECT' || stream.protocol !== '') {
      this.refuse(stream, 404, `expected method CONNECT, got ${stream.method}`)
      return
    }
    const { parts, config } = this.terminator
    const authority = authorityOf(stream.authority)
    if (authority === null) {
      this.refuse(stream, 400, `the authority ${stream.authority} is neither ip:port nor host:port`)
      return
    }
    const target = canonicalIp(authority.address) === null ? this.terminator.resolve(authority) : authority
    if (target === null) {
      this.refuse(stream, 503, `the name in the authority ${stream.authority} is not known here`)
      return
    }
    const { connection } = this
    if (!parts.tunnels.takes(config.to, target.address, target.port)) {
      this.refuse(stream, 503, `nothing takes connections to ${stream.authority}`)
      return
    }
    const baggage = stream.headers.get('baggage')
    stream.sendHeaders(200, '', false)
    const inner = new TunnelConnection(stream, NOBODY, connection.peerAddress, connection.localAddress, this.facts)
    inner.originalDst = addressText(target)
    if (baggage !== null) inner.told = parts.metrics.peers.readBaggage(baggage)
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

export interface TunnelTarget {
  /** IP address, or a host name in lower case. */
  readonly address: string
  readonly port: number
}

/** `10.0.0.1:80`, `[fd00::1]:80`, `a.example:80`; null: it is something else. */
export function authorityOf(authority: string): TunnelTarget | null {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([-._a-zA-Z0-9]+)):([0-9]{1,5})$/.exec(authority)
  if (parts === null) return null
  const port = Number(parts[3])
  if (port === 0 || port > 65_535) return null
  const [, six, other = ''] = parts
  if (six !== undefined) {
    const address = canonicalIp(six)
    return address === null || !address.includes(':') ? null : { address, port }
  }
  // What looks like an address and is none is no name either.
  if (/^[0-9.]+$/.test(other) && canonicalIp(other) === null) return null
  return { address: other.toLowerCase(), port }
}

function addressText({ address, port }: TunnelTarget): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
