// The listeners of one worker: a bound one accepts until configuration has it no more or the worker drains. Configuration changes what they do with
// a connection, and binds and closes sockets only where a listener comes or goes. A capturing listener hands a connection over to the listener that stands for the address that was dialled.
import net from 'node:net'
import { canonicalIp } from '../base/ip-address.ts'
import { RefusedConnection } from '../filter/log/refused-connection.ts'
import type { TunnelEntrance, WorkerParts } from '../filter/network/http-connection-manager.ts'
import { CONNECTIONS, type Limiter } from '../pool/limiter.ts'
import type { Tables } from '../route/compile.ts'
import type { Listener } from '../state/listener.ts'
import { type OriginalDestination, originalDestination } from '../sys/original-destination.ts'
import { NR } from '../telemetry/response-flags.ts'
import { type Connection, NOBODY } from '../transport/connection.ts'
import type { HandshakeFailure } from '../transport/handshake.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { ActiveListener } from './active-listener.ts'
import { Arrival } from './arrival.ts'
import { listen, listenOptionsOf } from './bind.ts'
import type { RunningChain } from './running-chain.ts'

/** Asking for the address of a socket is a system call. */
const NOWHERE: Pick<net.Socket, 'localAddress' | 'localPort'> = {}

export class ListenerSet implements TunnelEntrance {
  readonly parts: WorkerParts
  /** Connections that have no filter chain yet. */
  readonly arrivals: Set<Arrival>
  /** By listener name. */
  private readonly servers: Map<string, readonly net.Server[]>
  /** What each listener that is to be bound has; the others are not to be. */
  private ports: Readonly<Record<string, number>>
  private readonly byName: Map<string, ActiveListener>
  /** Of configurations before, until their connections have ended. */
  private readonly retired: Set<ActiveListener>
  /** Those that are not bound, by `address:port` that they stand for, any address being `0.0.0.0` or `::`. */
  private readonly byDestination: Map<string, ActiveListener>
  /** Places for downstream connections, of all workers together; null: no limit. */
  private readonly places: Limiter | null
  private readonly givePlace: () => void
  private draining: boolean
  /** Whose connections have been asked to end, also those that come with a new configuration. */
  private announced: 'none' | 'inbound' | 'all'

  constructor(parts: Omit<WorkerParts, 'tunnels'>, ports: Readonly<Record<string, number>>, places: Limiter | null) {
    this.parts = { ...parts, tunnels: this }
    this.arrivals = new Set()
    this.servers = new Map()
    this.ports = ports
    this.byName = new Map()
    this.retired = new Set()
    this.byDestination = new Map()
    this.places = places
    this.givePlace = () => places?.give(CONNECTIONS)
    this.draining = false
    this.announced = 'none'
  }

  /** Binds all that are to be bound. Rejects with an errno in `code` and the listener's name in the message. */
  async open(listeners: readonly Listener[], tables: Tables): Promise<void> {
    this.use(listeners, tables, this.ports)
    for (const listener of listeners) await this.bind(listener)
  }

  /** Those of a new configuration that are not bound yet. One that cannot be is logged, and the others serve; null: there are none. */
  bindNew(listeners: readonly Listener[]): Promise<void> | null {
    const wanted = listeners.filter((l) => this.isToBeBound(l))
    if (wanted.length === 0) return null
    const bound = wanted.map((listener) =>
      this.bind(listener).catch((error: unknown) => {
        this.servers.delete(listener.name)
        this.parts.logger.error(`listener ${listener.name} cannot be bound`, { error })
      }),
    )
    return Promise.all(bound).then(() => {})
  }

  private isToBeBound({ name, bind }: Listener): boolean {
    return bind && !this.draining && !this.servers.has(name) && this.ports[name] !== undefined
  }

  private async bind(listener: Listener): Promise<void> {
    const active = this.byName.get(listener.name)
    if (active === undefined || !this.isToBeBound(listener)) return
    const addresses = [listener.address, ...listener.otherAddresses]
    const servers = addresses.map(() =>
      net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => this.accept(active, socket)),
    )
    this.servers.set(listener.name, servers)
    try {
      for (const [i, server] of servers.entries()) {
        await listen(server, addresses[i] as string, active.port, listenOptionsOf(listener))
        // An accept error (EMFILE) is the process's trouble, not this listener's end.
        server.on('error', (error) => this.parts.logger.error(`listener ${listener.name}`, { error }))
        // Told to drain while it was starting, as a replacement may be; or configuration has changed its mind.
        if (this.draining || this.servers.get(listener.name) !== servers) break
      }
    } catch (error) {
      closeAll(servers)
      throw error
    }
    if (this.draining || this.servers.get(listener.name) !== servers) closeAll(servers)
  }

  private unbind(name: string): void {
    const servers = this.servers.get(name)
    this.servers.delete(name)
    if (servers !== undefined) closeAll(servers)
  }

  private accept(active: ActiveListener, socket: net.Socket): void {
    if (this.places !== null) {
      if (!this.places.take(CONNECTIONS)) {
        this.parts.worker.connectionCut('max_connections')
        socket.destroy()
        return
      }
      socket.once('close', this.givePlace)
    }
    // Reset before it was accepted: the kernel has told its error to accept and would now only say that the peer sends no more.
    if (socket.remoteAddress === undefined) {
      socket.destroy()
      return
    }
    const { io } = this.parts
    io.enter()
    try {
      this.admit(active, socket)
    } catch (error) {
      io.report(error, 'accept', null)
      socket.destroy()
    } finally {
      io.leave()
    }
  }

  private admit(active: ActiveListener, socket: net.Socket): void {
    const connection = new SocketConnection(this.parts.io, socket, NOBODY)
    if (active.listener.capture === 'none') {
      const { localAddress = '', localPort = 0 } = active.match.asksForDestination ? socket : NOWHERE
      this.arrive(active, connection, localAddress, localPort)
      return
    }
    const dialled = originalDestination(socket)
    // Nobody was redirected to us: whoever dials a capturing port would be sent to it again, for ever (Envoy's black-hole chains).
    if (dialled === null || dialled.port === active.port) {
      this.tellRefusal(
        'direct_to_capture_port',
        active.listener,
        connection,
        'it dialled this port itself, where only captured connections come',
      )
      for (const chain of active.running()) chain.logRefusal(connection)
      connection.destroy('direct_to_capture_port')
      return
    }
    connection.originalDst = destinationText(dialled.address, dialled.port)
    this.arrive(this.listenerFor(active, dialled), connection, dialled.address, dialled.port)
  }

  /** The listener that stands for an address, or for its port at any address, or else the one that captured. */
  private listenerFor(active: ActiveListener, { address, port }: OriginalDestination): ActiveListener {
    if (!active.listener.handOver) return active
    return (
      this.byDestination.get(`${address}:${port}`) ??
      this.byDestination.get(`${address.includes(':') ? '::' : '0.0.0.0'}:${port}`) ??
      this.byDestination.get(`0.0.0.0:${port}`) ??
      active
    )
  }

  /** To the filter chain that fits best. `address`, `port`: what was dialled; empty and 0: unknown. */
  private arrive(active: ActiveListener, connection: Connection, address: string, port: number): void {
    new Arrival(this, active, connection, address, port).begin()
  }

  // ---- TunnelEntrance --------------------------------------------------------------------------------------------------

  takes(listener: string, address: string, port: number): boolean {
    const active = this.byName.get(listener)
    return active !== undefined && !this.draining && active.match.mayTake(address, port)
  }

  enter(listener: string, connection: Connection, address: string, port: number): void {
    const active = this.byName.get(listener)
    if (active === undefined || this.draining) connection.destroy('draining')
    else this.arrive(active, connection, address, port)
  }

  /** No chain wants it: `chain` is null, or one that refuses. `offer`: what the client came with. */
  refused({ listener: active, connection }: Arrival, chain: RunningChain | null, offer: string): void {
    if (chain === null) {
      this.tellRefusal('filter_chain_not_found', active.listener, connection, `no filter chain takes ${offer}`)
      active.loggers?.log(new RefusedConnection(connection, 'NotSet', NR, 'filter_chain_not_found', ''))
    } else {
      this.tellRefusal('refused', active.listener, connection, chain.refusal)
      chain.logRefusal(connection)
    }
  }

  /** No proxy in front has said who asks, or not in a form that could be read. */
  refusedHeader({ listener: active, connection }: Arrival): void {
    this.tellRefusal('proxy_protocol', active.listener, connection, 'it does not begin with a header of the PROXY protocol')
  }

  /** One line for each kind of refusal, listener and second: a scanner must not fill the log. */
  private tellRefusal(why: string, { name }: Listener, { peerAddress, originalDst }: Connection, words: string): void {
    this.parts.worker.connectionCut(why)
    const { logger, io } = this.parts
    if (!logger.enabled('warning') || !logger.every(`${why} ${name}`, 1000, io.clock.monotonicMs)) return
    const dialled = originalDst === '' ? {} : { dialled: originalDst }
    logger.warning(`a connection was refused: ${words}`, { listener: name, peer: peerAddress, ...dialled, reason: why })
  }

  handshakeFailed(arrival: Arrival, failure: HandshakeFailure): void {
    this.parts.worker.connectionCut(`tls_${failure.reason}`)
    const details = { listener: arrival.listener.listener.name, ...failure.details }
    this.parts.io.tls.report('server', arrival.connection.peerAddress, { ...failure, details })
  }

  get connections(): number {
    let n = this.arrivals.size
    for (const active of [...this.byName.values(), ...this.retired]) n += active.connections
    return n
  }

  /** All chains that may have connections, with their listener. */
  *chains(): IterableIterator<{ readonly listener: Listener; readonly chain: RunningChain }> {
    for (const active of [...this.byName.values(), ...this.retired])
      for (const chain of active.running()) yield { listener: active.listener, chain }
  }

  /** New configuration: listeners are made, changed and retired. `bindNew` binds what is new. */
  use(listeners: readonly Listener[], tables: Tables, ports: Readonly<Record<string, number>>): void {
    this.ports = ports
    for (const listener of listeners) {
      const { name } = listener
      const port = ports[name] ?? listener.port
      const active = this.byName.get(name)
      if (active?.isAt(listener, port)) active.use(listener, tables)
      else {
        if (active !== undefined) this.retire(name, active)
        this.byName.set(name, new ActiveListener(this.parts, listener, port, tables))
      }
    }
    const named = new Set(listeners.map((l) => l.name))
    for (const [name, active] of this.byName) if (!named.has(name)) this.retire(name, active)
    if (this.announced !== 'none') this.announceDrain(this.announced === 'inbound')
    this.byDestination.clear()
    for (const l of listeners) {
      const active = this.byName.get(l.name)
      if (l.bind || active === undefined) continue
      for (const address of [l.address, ...l.otherAddresses])
        this.byDestination.set(`${canonicalIp(address) ?? address}:${l.port}`, active)
    }
  }

  /** Files of access logs that nobody writes to any more are closed. */
  private keepLogs(): void {
    const { logs } = this.parts
    if (logs.size === 0) return
    const paths = new Set<string>()
    for (const { accessLogs } of [...this.byName.values()].map((a) => a.listener))
      for (const { path } of accessLogs) paths.add(path)
    for (const { chain } of this.chains()) for (const { path } of chain.accessLogs) paths.add(path)
    logs.keep(paths)
  }

  sweep(): void {
    this.keepLogs()
    const { connectionIdleTimeoutMs } = this.parts.limits
    const oldest = this.parts.io.clock.monotonicMs - connectionIdleTimeoutMs
    // A handshake has its own limit.
    if (connectionIdleTimeoutMs !== 0)
      for (const arrival of [...this.arrivals]) if (arrival.connection.lastActiveMs <= oldest) arrival.cancel()
    for (const active of this.byName.values()) active.sweep()
    for (const active of this.retired) {
      active.sweep()
      if (active.connections === 0) this.retired.delete(active)
    }
  }

  /** It takes no new connections; those that it has may end. */
  private retire(name: string, active: ActiveListener): void {
    this.unbind(name)
    this.byName.delete(name)
    active.retire()
    if (active.connections > 0) this.retired.add(active)
  }

  /** The next answer of each connection is its last. New connections are taken still. */
  announceDrain(inboundOnly: boolean): void {
    this.announced = inboundOnly ? 'inbound' : 'all'
    for (const active of [...this.byName.values(), ...this.retired])
      if (!inboundOnly || active.listener.direction === 'inbound') active.announceDrain()
  }

  /** Stops accepting, and asks connections to end. */
  drain(): void {
    this.draining = true
    for (const servers of this.servers.values()) closeAll(servers)
    for (const arrival of [...this.arrivals]) arrival.cancel()
    for (const active of this.byName.values()) active.drain()
    for (const active of this.retired) active.drain()
  }
}

function closeAll(servers: readonly net.Server[]): void {
  for (const server of servers) if (server.listening) server.close()
}

function destinationText(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
