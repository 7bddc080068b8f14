// Hot lane: one attempt to connect to an endpoint, with TLS where that is asked for, within one timeout; the pool's connections and raw ones are made
// by it.
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { ipOf } from '../base/ip-address.ts'
import { isSocketPath } from '../base/socket-path.ts'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { InnerTunnel } from '../hbone/inner-tunnel.ts'
import {
  type PendingTunnel,
  type TunnelFailure,
  type TunnelOwner,
  type TunnelRequest,
  tunnelsOf,
} from '../hbone/tunnel-client.ts'
import type { Cluster, Endpoint, EndpointTunnel, UpstreamBind } from '../state/cluster.ts'
import type { UpstreamTls } from '../state/tls.ts'
import { connectFrom } from '../sys/outbound-socket.ts'
import { ClientHandshake } from '../transport/client-handshake.ts'
import type { UpstreamProtocol } from '../transport/client-tls.ts'
import { type Connection, NOBODY } from '../transport/connection.ts'
import { ConnectionDuplex } from '../transport/connection-duplex.ts'
import type { HandshakeFailure, HandshakeOwner } from '../transport/handshake.ts'
import type { Io } from '../transport/io.ts'
import { type Keepalive, setKeepalive } from '../transport/keepalive.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import type { TlsConnection } from '../transport/tls-connection.ts'
import { AddressRace, type RaceOwner } from './address-race.ts'
import { connectFields, tunnelRoute } from './endpoint-tunnel.ts'
import { RESET_CONNECT_FAILURE, RESET_CONNECT_TIMEOUT } from './exchange.ts'
import { proxyHeader, type ToldClient } from './proxy-header.ts'

/** Exactly one of the two is called, in a later turn, unless the attempt is cancelled. */
export interface ConnectOwner {
  /** The connection is the owner's from now on, who makes itself its owner at once. */
  onConnected(connector: Connector, connection: Connection): void
  /** `reason` is one of the two connect resets of exchange.ts, `detail` the transport's words. */
  onConnectFailed(connector: Connector, reason: number, detail: string): void
}

export interface ConnectTarget {
  readonly io: Io
  readonly address: string
  readonly port: number
  readonly host: { readonly endpoint: Endpoint }
  readonly settings: {
    readonly connectTimeoutMs: number
    readonly keepalive: Keepalive | null
    readonly tls: UpstreamTls | null
    readonly bind: UpstreamBind | null
    readonly proxyProtocol: Cluster['proxyProtocol']
    readonly serverName: string
  }
}

export class Connector implements DeadlineOwner, HandshakeOwner, TunnelOwner, RaceOwner {
  private readonly owner: ConnectOwner
  private readonly target: ConnectTarget
  private readonly protocol: UpstreamProtocol
  private readonly clientAddress: string
  private readonly told: ToldClient | null
  private readonly io: Io
  /** null: a tunnel carries it, or no address has answered yet. */
  private socket: net.Socket | null
  /** Of an endpoint with several addresses. */
  private race: AddressRace | null
  private tunnel: PendingTunnel | null
  /** Begun over the tunnel to a gateway, which is open then. */
  private inner: InnerTunnel | null
  private readonly deadline: Deadline
  private handshake: ClientHandshake | null
  private done: boolean

  /**
   * Begins at once. `clientAddress`: `ip:port` or address of the client, for a connection that nobody else will use; `told`: what endpoints are told of it, where
   * they are.
   */
  constructor(
    target: ConnectTarget,
    protocol: UpstreamProtocol,
    owner: ConnectOwner,
    clientAddress = '',
    told: ToldClient | null = null,
  ) {
    const { io, settings } = target
    this.owner = owner
    this.target = target
    this.protocol = protocol
    this.clientAddress = clientAddress
    this.told = told
    this.io = io
    this.done = false
    this.handshake = null
    this.deadline = new Deadline(this, 0)
    this.tunnel = null
    this.inner = null
    this.race = null
    this.socket = null
    if (settings.connectTimeoutMs > 0) io.timers.arm(this.deadline, settings.connectTimeoutMs)
    const { tunnel } = target.host.endpoint
    if (tunnel !== null) {
      this.tunnel = this.openTunnel(tunnel, clientAddress)
      return
    }
    const { otherAddresses } = target.host.endpoint
    if (otherAddresses.length > 0) {
      const dialOne = (address: string): net.Socket => dial(target, address, clientAddress)
      this.race = new AddressRace(io, [target.address, ...otherAddresses], dialOne, this)
      return
    }
    const socket = dial(target, target.address, clientAddress)
    this.watch(socket)
    socket.on('connect', () => this.onSocketConnected(socket))
  }

  onRaceWon(socket: net.Socket): void {
    this.race = null
    this.watch(socket)
    this.onSocketConnected(socket)
  }

  onRaceLost(error: NodeJS.ErrnoException): void {
    this.race = null
    this.failed(connectErrorText(error.code ?? error.message))
  }

  private watch(socket: net.Socket): void {
    this.socket = socket
    socket.on('error', (e: NodeJS.ErrnoException) => {
      // Inside of TLS the handshake says it better.
      if (this.handshake === null) this.failed(connectErrorText(e.code ?? e.message))
    })
  }

  private openTunnel(tunnel: EndpointTunnel, clientAddress: string): PendingTunnel {
    const fields = connectFields(tunnel.fields, clientAddress, this.target.settings.serverName)
    return tunnelsOf(this.io).open(this.request(tunnel, fields), this)
  }

  private request(tunnel: EndpointTunnel, fields: string): TunnelRequest {
    const { address, port, settings } = this.target
    const authority =
      tunnel.authority !== '' ? tunnel.authority : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    const route = tunnelRoute(tunnel, settings.connectTimeoutMs, settings.bind === null ? 0 : settings.bind.mark)
    return { route, authority, fields }
  }

  onTunnelOpen(connection: Connection): void {
    this.tunnel = null
    const { settings, host } = this.target
    const { tunnel } = host.endpoint
    if (tunnel !== null && tunnel.innerFields !== null && this.inner === null) {
      const request = this.request(tunnel, connectFields(tunnel.innerFields, this.clientAddress, settings.serverName))
      this.inner = new InnerTunnel(connection, request.route.tls, request, this)
      return
    }
    if (settings.proxyProtocol !== 'none') {
      const header = proxyHeader(settings.proxyProtocol, this.told)
      connection.writeBytes(header, 0, header.length)
    }
    // The application's own TLS, which the tunnel carries.
    if (settings.tls !== null && host.endpoint.tls) this.secure(new ConnectionDuplex(connection), settings.tls)
    else this.succeeded(connection)
  }

  onTunnelFailed(failure: TunnelFailure, _status: number, text: string): void {
    this.tunnel = null
    this.failed(`HBONE: ${text}`, failure === 'timeout' ? RESET_CONNECT_TIMEOUT : RESET_CONNECT_FAILURE)
  }

  private onSocketConnected(socket: net.Socket): void {
    if (this.done) return
    const { settings, host } = this.target
    if (settings.keepalive !== null && !isSocketPath(this.target.address)) setKeepalive(socket, settings.keepalive)
    // Before anything else, TLS as well.
    if (settings.proxyProtocol !== 'none') socket.write(proxyHeader(settings.proxyProtocol, this.told))
    if (settings.tls === null || !host.endpoint.tls) {
      this.succeeded(new SocketConnection(this.io, socket, NOBODY))
      return
    }
    this.secure(socket, settings.tls)
  }

  private secure(carrier: Duplex, tls: UpstreamTls): void {
    const { io, protocol } = this
    const { settings, address, port } = this.target
    const context = io.tls.client(tls)
    if (context === null) {
      carrier.destroy()
      this.tlsFailed({ reason: 'not_ready', text: `our certificate ${tls.certificate} is not there yet`, details: {} })
      return
    }
    this.handshake = new ClientHandshake(io, carrier, context, protocol, settings.serverName, `${address}:${port}`, this)
  }

  onSecure(connection: TlsConnection): void {
    const alpn = connection.tls === null ? '' : connection.tls.alpn
    if (this.protocol === 'http2' && alpn === 'http/1.1') {
      connection.destroy('protocol')
      this.tlsFailed({ reason: 'protocol', text: 'the endpoint speaks HTTP/1.1 where HTTP/2 was wanted', details: { alpn } })
    } else this.succeeded(connection)
  }

  onHandshakeFailed(failure: HandshakeFailure): void {
    this.tlsFailed(failure)
  }

  private tlsFailed(failure: HandshakeFailure): void {
    if (this.done) return
    const { address, port } = this.target
    this.io.tls.report('client', `${address}:${port}`, failure)
    this.failed(`TLS_error: ${failure.text}`)
  }

  private succeeded(connection: Connection): void {
    if (this.over()) return
    if (!this.io.run('connect', () => this.owner.onConnected(this, connection))) connection.destroy('internal_error')
  }

  private failed(detail: string, reason = RESET_CONNECT_FAILURE): void {
    if (this.over()) return
    this.socket?.destroy()
    this.io.run('connect', () => this.owner.onConnectFailed(this, reason, detail))
  }

  /** True: it was over already. */
  private over(): boolean {
    if (this.done) return true
    this.done = true
    this.io.timers.cancel(this.deadline)
    return false
  }

  /** A mistake in the owner costs this connection. */
  abandon(): void {
    this.stop()
  }

  onDeadline(): void {
    if (this.done) return
    this.done = true
    this.stop()
    this.owner.onConnectFailed(this, RESET_CONNECT_TIMEOUT, this.timeoutText())
  }

  private timeoutText(): string {
    if (this.handshake !== null) return 'TLS_error: the handshake took too long'
    const { tunnel } = this.target.host.endpoint
    return tunnel === null ? '' : `HBONE: ${tunnel.address}:${tunnel.port} has not answered in time`
  }

  /** Nobody waits for it any more. False when it is over already. */
  cancel(): boolean {
    if (this.over()) return false
    this.stop()
    return true
  }

  private stop(): void {
    if (this.handshake !== null) this.handshake.cancel()
    if (this.tunnel !== null) tunnelsOf(this.io).cancel(this.tunnel)
    if (this.inner !== null) this.inner.cancel()
    if (this.race !== null) this.race.callOff()
    this.socket?.destroy()
  }
}

function dial({ port, settings: { bind } }: ConnectTarget, address: string, clientAddress: string): net.Socket {
  if (isSocketPath(address)) return net.connect({ path: address, allowHalfOpen: true })
  if (bind === null) return net.connect({ host: address, port, noDelay: true, allowHalfOpen: true })
  const own = (address.includes(':') ? bind.source6 : bind.source4) || null
  // A client of the other family cannot be the source.
  const client =
    bind.clientSource && clientAddress !== '' ? (net.isIP(clientAddress) === 0 ? ipOf(clientAddress) : clientAddress) : ''
  const asClient = client !== '' && client.includes(':') === address.includes(':')
  const source = asClient ? client : own
  return connectFrom({ source, foreignSource: asClient, mark: bind.mark, netns: null }, address, port)
}

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Connection refused',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  ETIMEDOUT: 'Connection timed out',
  ECONNRESET: 'Connection reset by peer',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  EMFILE: 'Too many open files',
  EACCES: 'Permission denied',
  ENOENT: 'No such file or directory',
}

/** As Envoy words a failed connect (`%UPSTREAM_TRANSPORT_FAILURE_REASON%`). */
function connectErrorText(code: string): string {
  return `delayed connect error: ${ERRNO_TEXTS[code] ?? code}`
}
