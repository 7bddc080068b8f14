// One pod in one worker: three sockets in its network namespace, and all connections that come through them.
import { statSync } from 'node:fs'
import net from 'node:net'
import { canonicalIp, ipOf, unmapped } from '../base/ip-address.ts'
import { decideInboundPlain } from '../decide/tunnel/inbound.ts'
import type { IpPort } from '../decide/tunnel/outbound-decision.ts'
import { HBONE_PORT } from '../hbone/options.ts'
import type { TunnelRoute } from '../hbone/tunnel-client.ts'
import { type ListenOptions, listen } from '../listener/bind.ts'
import { CONNECTIONS } from '../pool/limiter.ts'
import type { ServedPod } from '../state/bootstrap-config.ts'
import { addressText } from '../state/network-address.ts'
import type { DownstreamTls } from '../state/tls.ts'
import { type Workload, workloadIdentity, workloadInfoText } from '../state/workload.ts'
import { isIpv6Disabled, type Netns, openNetns } from '../sys/netns.ts'
import { originalDestination } from '../sys/original-destination.ts'
import { NOBODY } from '../transport/connection.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { ConnectionRecord } from './connection-record.ts'
import { DIAL_MS, KEEPALIVE_MS } from './dial.ts'
import { InboundSession } from './inbound-session.ts'
import { InboundTunnel, note } from './inbound-tunnel.ts'
import type { NodeTunnel } from './node-tunnel.ts'
import { OutboundSession } from './outbound-session.ts'
import type { TunnelParts } from './tunnel-parts.ts'
import { clientTls, serverTls } from './tunnel-tls.ts'

/** Routes that are remembered. */
const MAX_ROUTES = 4096

type Session = OutboundSession | InboundSession
type Accept = (socket: net.Socket, peer: IpPort) => void

export class PodTunnel {
  readonly tunnel: NodeTunnel
  readonly parts: TunnelParts
  readonly config: ServedPod
  netns: Netns | null
  readonly sessions: Set<Session>
  readonly tunnels: Set<InboundTunnel>
  /** Those that took a place that no socket gives back. */
  private readonly placed: Set<Session>
  private servers: net.Server[]
  private readonly routes: Map<string, TunnelRoute>
  /** Its identity, and how tunnels to it are terminated. */
  private tls: DownstreamTls | null
  /** What was said last of why it has no sockets. */
  private trouble: string
  private opening: boolean
  private closed: boolean
  /** As it was when connections were last asked about. */
  private lastLocal: Workload | null

  constructor(tunnel: NodeTunnel, config: ServedPod) {
    this.tunnel = tunnel
    this.parts = tunnel.parts
    this.config = config
    this.netns = null
    this.sessions = new Set()
    this.tunnels = new Set()
    this.placed = new Set()
    this.servers = []
    this.routes = new Map()
    this.tls = null
    this.trouble = ''
    this.opening = false
    this.closed = false
    this.lastLocal = null
  }

  /** Who it is; null: nobody has told yet. */
  get local(): Workload | null {
    return this.tunnel.index.workloadByInfo(this.config)
  }

  get listening(): boolean {
    return this.netns !== null && !this.opening
  }

  get connections(): number {
    let n = this.sessions.size
    for (const tunnel of this.tunnels) if (tunnel.streams === 0) n++
    return n
  }

  // ---- its sockets -----------------------------------------------------------------------------------------------------

  /** Does nothing when its sockets are there. What is wrong is logged, returned, and tried again. */
  async open(): Promise<string> {
    if (this.opening) return 'its sockets are being opened'
    if (this.netns !== null || this.closed) return ''
    this.opening = true
    try {
      this.netns = openNetns(this.config.netns)
      const { netnsIdentity } = this.config
      if (netnsIdentity !== '' && netnsIdentity !== this.netns.identity) throw new Error('its network namespace is gone')
      await this.listenAll(this.netns)
      if (this.trouble !== '') this.say('its sockets are there now')
      this.trouble = ''
    } catch (error) {
      this.closeSockets()
      const { code, message } = error as NodeJS.ErrnoException
      this.complain(code === 'ENOENT' ? `there is no network namespace ${this.config.netns}` : message)
    }
    this.opening = false
    if (this.closed) this.closeSockets()
    return this.trouble
  }

  /** For good. */
  close(error: string): void {
    this.closed = true
    this.cut(error)
    if (!this.opening) this.closeSockets()
  }

  private async listenAll(netns: Netns): Promise<void> {
    const { config, io } = this.parts
    const address = isIpv6Disabled(netns) ? '0.0.0.0' : '::'
    const ways: readonly (readonly [port: number, accept: Accept])[] = [
      [config.outboundPort, (socket, peer) => this.acceptOutbound(socket, peer)],
      [config.inboundPort, (socket, peer) => this.acceptPlain(socket, peer)],
      [config.tunnelPort, (socket, peer) => this.acceptTunnel(socket, peer)],
    ]
    for (const [port, accept] of ways) {
      const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
        io.run('accept', () => this.accept(socket, accept)),
      )
      this.servers.push(server)
      const options: ListenOptions = { dualStack: address === '::', transparent: true, mark: config.mark, netns }
      try {
        await listen(server, address, port, options)
      } catch (error) {
        // Without it all works but for who redirects by TPROXY.
        if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
        await listen(server, address, port, { ...options, transparent: false })
      }
      server.on('error', (error) => this.parts.logger.error(`pod ${this.name}, port ${port}`, { error }))
      if (this.closed || this.tunnel.draining) server.close()
    }
  }

  /** About once a second: a pod that is gone is shut down, and one that has come is opened. */
  sweep(): void {
    for (const session of this.sessions) session.sweep()
    if (this.opening || this.closed || this.tunnel.draining) return
    if (this.netns !== null && identityOf(this.config.netns) !== this.netns.identity) {
      this.say('its network namespace is gone')
      this.cut('connection closed: the pod is gone')
      this.closeSockets()
    }
    if (this.netns === null) void this.open()
  }

  private closeSockets(): void {
    for (const server of this.servers.splice(0)) server.close()
    this.netns?.close()
    this.netns = null
    this.routes.clear()
  }

  private get name(): string {
    return workloadInfoText(this.config)
  }

  private say(what: string): void {
    if (this.tunnel.speaks) this.parts.logger.info(`pod ${this.name}: ${what}`)
  }

  private complain(what: string): void {
    if (what !== this.trouble && this.tunnel.speaks)
      this.parts.logger.warning(`pod ${this.name}: ${what}; it is tried again every second`)
    this.trouble = what
  }

  // ---- what comes ------------------------------------------------------------------------------------------------------

  private accept(socket: net.Socket, how: Accept): void {
    if (!this.takePlace()) {
      this.parts.stats.connectionCut('max_connections')
      socket.destroy()
      return
    }
    socket.once('close', this.givePlace)
    const { remoteAddress, remotePort } = socket
    // Reset before it was accepted.
    if (remoteAddress === undefined || remotePort === undefined) {
      socket.destroy()
      return
    }
    socket.setKeepAlive(true, KEEPALIVE_MS)
    how(socket, { ip: plainIp(remoteAddress), port: remotePort })
  }

  takePlace(): boolean {
    return this.parts.places === null || this.parts.places.take(CONNECTIONS)
  }

  readonly givePlace = (): void => this.parts.places?.give(CONNECTIONS)

  private acceptOutbound(socket: net.Socket, peer: IpPort): void {
    const destination = dialledBy(socket)
    const connection = new SocketConnection(this.parts.io, socket, NOBODY)
    if (destination === null || this.isDirect(socket, destination)) {
      this.refuseDirect(connection, 'outbound', peer)
      return
    }
    const session = new OutboundSession(this, connection, peer, destination)
    this.sessions.add(session)
    session.begin()
  }

  private acceptPlain(socket: net.Socket, peer: IpPort): void {
    const { parts, tunnel } = this
    const destination = dialledBy(socket)
    const connection = new SocketConnection(parts.io, socket, NOBODY)
    if (destination === null || this.isDirect(socket, destination)) {
      this.refuseDirect(connection, 'inbound', peer)
      return
    }
    const record = new ConnectionRecord(parts, 'inbound', addressText(peer.ip, peer.port), '')
    const decision = decideInboundPlain(tunnel.index, tunnel.authorizer, {
      local: this.local,
      localInfo: this.config,
      source: peer,
      destination,
      ownPorts: tunnel.ownPorts,
      keepSource: parts.config.keepSource,
    })
    note(record, decision, '')
    if (decision.verdict === 'refuse') {
      record.failed(decision.error, decision.flag)
      record.finish(0, 0)
      connection.abort('refused')
      return
    }
    record.opened()
    this.sessionBegun(new InboundSession(this, connection, null, record, decision), false)
  }

  private acceptTunnel(socket: net.Socket, peer: IpPort): void {
    const { localAddress = '', localPort = 0 } = socket
    const tunnel = new InboundTunnel(this, socket, peer, { ip: plainIp(localAddress), port: localPort })
    this.tunnels.add(tunnel)
    tunnel.begin()
  }

  /** Nobody was redirected to us: whoever dials such a port would be sent to it again, for ever. */
  private isDirect({ localAddress = '', localPort }: net.Socket, { ip, port }: IpPort): boolean {
    return port === localPort && ip === plainIp(localAddress)
  }

  private refuseDirect(connection: SocketConnection, direction: 'inbound' | 'outbound', peer: IpPort): void {
    const record = new ConnectionRecord(this.parts, direction, addressText(peer.ip, peer.port), '')
    record.failed('attempted recursive call to ourselves', '')
    record.finish(0, 0)
    connection.abort('direct_to_capture_port')
    this.parts.stats.connectionCut('direct_to_capture_port')
  }

  /** `place`: one was taken for it that no socket gives back. */
  sessionBegun(session: InboundSession, place: boolean): void {
    this.sessions.add(session)
    if (place) this.placed.add(session)
  }

  sessionOver(session: Session): void {
    this.sessions.delete(session)
    if (this.placed.delete(session)) this.givePlace()
  }

  tunnelOver(tunnel: InboundTunnel): void {
    this.tunnels.delete(tunnel)
  }

  // ---- as whom ---------------------------------------------------------------------------------------------------------

  /** null: it is not known who the pod is. */
  serverTls(): DownstreamTls | null {
    const { local } = this
    if (local === null) return null
    const identity = workloadIdentity(local)
    if (this.tls?.certificate !== identity) this.tls = serverTls(identity)
    return this.tls
  }

  /** From inside of the pod, as the pod, to a proxy that has one of these identities. The same object for the same ones. */
  routeTo(to: IpPort, identities: readonly string[]): TunnelRoute {
    const { local } = this
    const identity = local === null ? '' : workloadIdentity(local)
    const key = `${identity} ${to.ip} ${to.port} ${identities.join(' ')}`
    const known = this.routes.get(key)
    if (known !== undefined) return known
    const route: TunnelRoute = {
      address: to.ip,
      port: to.port || HBONE_PORT,
      tls: clientTls(identity, identities),
      source: null,
      foreignSource: false,
      mark: this.parts.config.mark,
      netns: this.netns,
      connectTimeoutMs: DIAL_MS,
    }
    if (this.routes.size >= MAX_ROUTES) this.routes.clear()
    this.routes.set(key, route)
    return route
  }

  // ---- changes and ends ------------------------------------------------------------------------------------------------

  /** Workloads or policies have changed. Of others than its own workload no verdict depends. */
  recheck(policies: boolean): void {
    const { local } = this
    if (!policies && local === this.lastLocal) return
    this.lastLocal = local
    for (const session of [...this.sessions]) if (session instanceof InboundSession) session.recheck()
  }

  drain(): void {
    for (const server of this.servers) server.close()
    for (const tunnel of [...this.tunnels]) tunnel.drain()
  }

  /** Ends all that it has. */
  cut(error: string): void {
    for (const session of [...this.sessions]) session.cut(error)
    for (const tunnel of [...this.tunnels]) tunnel.cut()
  }
}

function dialledBy(socket: net.Socket): IpPort | null {
  const found = originalDestination(socket)
  return found === null ? null : { ip: found.address, port: found.port }
}

/** As the workloads' addresses are written. */
function plainIp(address: string): string {
  const plain = ipOf(address.includes(':') ? `[${address}]:0` : `${address}:0`)
  return canonicalIp(plain) ?? unmapped(plain)
}

/** As `Netns` has it; empty: there is none. */
function identityOf(path: string): string {
  try {
    const { dev, ino } = statSync(path)
    return `${dev}:${ino}`
  } catch {
    return ''
  }
}
