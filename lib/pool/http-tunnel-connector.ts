// Hot lane: opens a tunnel for one TCP session through a proxy that is the endpoint: a stream of its pool, and a CONNECT or POST on it (Envoy TcpProxy
// tunneling_config, Istio DestinationRule `tunnel`).
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { HeaderMap } from '../http/header-map.ts'
import { RequestHead } from '../http/request-head.ts'
import type { TcpTunnel } from '../state/listener.ts'
import type { EndpointPool } from './endpoint-pool.ts'
import { type PoolWaiter, RESET_CONNECT_FAILURE, RESET_CONNECT_TIMEOUT } from './exchange.ts'
import { HttpTunnelConnection, type TunnelAsker } from './http-tunnel-connection.ts'
import type { TcpConnectOwner } from './tcp-connector.ts'
import type { UpstreamStream } from './upstream-stream.ts'

export class HttpTunnelConnector implements PoolWaiter, TunnelAsker, DeadlineOwner {
  private readonly pool: EndpointPool
  private readonly tunnel: TcpTunnel
  private readonly owner: TcpConnectOwner
  private readonly deadline: Deadline
  /** null: it waits for a stream, or is over. */
  private connection: HttpTunnelConnection | null
  private waiting: boolean
  /** The pool's request is not given back yet. */
  private counted: boolean
  private done: boolean

  constructor(pool: EndpointPool, tunnel: TcpTunnel, owner: TcpConnectOwner) {
    this.pool = pool
    this.tunnel = tunnel
    this.owner = owner
    this.deadline = new Deadline(this, 0)
    this.connection = null
    this.waiting = false
    this.counted = false
    this.done = false
  }

  /** The proxy has as long as a connection may take. */
  start(_clientAddress: string, _dialled: string): void {
    const { pool } = this
    const { connectTimeoutMs } = pool.settings
    if (connectTimeoutMs > 0) pool.io.timers.arm(this.deadline, connectTimeoutMs)
    this.waiting = true
    pool.acquire(this)
  }

  onPoolReady(stream: UpstreamStream): void {
    this.waiting = false
    this.counted = true
    const isConnect = this.tunnel.method === 'CONNECT'
    const connection = new HttpTunnelConnection(this.pool.io, stream, isConnect, this.pool.host.address, this)
    this.connection = connection
    stream.assign(connection, this.tunnel.method)
    stream.sendHeaders(headOf(this.tunnel, stream), 0, false)
  }

  onPoolFailure(reason: number, detail: string): void {
    this.waiting = false
    this.failed(reason, detail)
  }

  onTunnelAnswered(connection: HttpTunnelConnection): void {
    if (this.over()) return
    this.owner.onTcpConnected(connection)
  }

  onTunnelRefused(status: number, reason: number, detail: string): void {
    this.giveBack()
    if (status === 0) this.failed(reason === 0 ? RESET_CONNECT_FAILURE : reason, detail)
    else this.failed(RESET_CONNECT_FAILURE, `tunnel_response:${status}`)
  }

  private failed(reason: number, detail: string): void {
    if (this.over()) return
    this.owner.onTcpFailed(reason, detail)
  }

  onDeadline(): void {
    if (this.done) return
    this.done = true
    this.stop()
    this.owner.onTcpFailed(RESET_CONNECT_TIMEOUT, '')
  }

  /** A mistake in the owner costs this connection. */
  abandon(): void {
    this.stop()
  }

  /** True: it was over already. */
  private over(): boolean {
    if (this.done) return true
    this.done = true
    this.pool.io.timers.cancel(this.deadline)
    return false
  }

  /** The session is over. */
  release(_bytesRead: number, _bytesWritten: number): void {
    this.giveBack()
  }

  /** Nobody waits for it any more; harmless once it is open or has failed. */
  cancel(): void {
    if (!this.over()) this.stop()
  }

  private stop(): void {
    if (this.waiting) this.pool.cancel(this)
    this.waiting = false
    if (this.connection !== null) this.connection.destroy('cancelled')
    this.giveBack()
  }

  private giveBack(): void {
    if (!this.counted) return
    this.counted = false
    this.pool.requestDone()
  }
}

/** A CONNECT of HTTP/2 has neither scheme nor path (RFC 9113 §8.5); on HTTP/1 its target is the authority. */
function headOf({ method, authority, path, headers }: TcpTunnel, stream: UpstreamStream): RequestHead {
  const map = new HeaderMap()
  map.append('host', authority)
  for (const [name, value] of headers) map.append(name, value)
  const isConnect = method === 'CONNECT'
  const http2 = stream.protocol === 'HTTP/2'
  const scheme = isConnect && http2 ? '' : stream.tls === null ? 'http' : 'https'
  const target = !isConnect ? path : http2 ? '' : authority
  return new RequestHead(method, scheme, target, '', map, '', !isConnect, '')
}
