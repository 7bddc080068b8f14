// The listeners of one worker: bound once, they accept until the worker drains. Configuration changes what they do with a connection, never
// their sockets.
import net from 'node:net'
import { HttpConnectionManager, type WorkerParts } from '../filter/network/http-connection-manager.ts'
import { TcpProxy } from '../filter/network/tcp-proxy.ts'
import { CONNECTIONS, type Limiter } from '../pool/limiter.ts'
import type { Tables } from '../route/compile.ts'
import type { Listener } from '../state/listener.ts'
import { listen } from './bind.ts'

/** What accepts a listener's connections: its one filter chain. */
type FilterChain = HttpConnectionManager | TcpProxy

interface Bound {
  readonly listener: Listener
  readonly server: net.Server
  readonly chain: FilterChain
}

export class ListenerSet {
  private readonly parts: WorkerParts
  private readonly bound: Bound[]
  /** Places for downstream connections, of all workers together; null: no limit. */
  private readonly places: Limiter | null
  private readonly givePlace: () => void
  private draining: boolean

  constructor(parts: WorkerParts, places: Limiter | null) {
    this.parts = parts
    this.bound = []
    this.places = places
    this.givePlace = () => places?.give(CONNECTIONS)
    this.draining = false
  }

  /** Binds all. Rejects with an errno in `code` and the listener's name in the message. */
  async open(listeners: readonly Listener[], ports: Readonly<Record<string, number>>, tables: Tables): Promise<void> {
    for (const listener of listeners) {
      if (this.draining) return
      const port = ports[listener.name] ?? listener.port
      const chain =
        listener.protocol === 'http'
          ? new HttpConnectionManager(this.parts, listener, port, tables)
          : new TcpProxy(this.parts, listener, tables.clusters)
      const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
        this.accept(chain, socket),
      )
      this.bound.push({ listener, server, chain })
      await listen(server, listener.address, port)
      // Told to drain while it was starting, as a replacement may be.
      if (this.draining) server.close()
      // An accept error (EMFILE) is the process's trouble, not this listener's end.
      server.on('error', (error) => this.parts.logger.error(`listener ${listener.name}`, { error }))
    }
  }

  private accept(chain: FilterChain, socket: net.Socket): void {
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
      chain.accept(socket)
    } catch (error) {
      io.report(error, 'accept', null)
      socket.destroy()
    } finally {
      io.leave()
    }
  }

  get connections(): number {
    let n = 0
    for (const { chain } of this.bound) n += chain.sessions.size
    return n
  }

  get chains(): readonly { readonly listener: Listener; readonly chain: FilterChain }[] {
    return this.bound
  }

  /** New configuration. A listener that the snapshot does not have any more keeps what it has. */
  use(tables: Tables): void {
    for (const { listener, chain } of this.bound) {
      const fresh = tables.snapshot.listeners.find((l) => l.name === listener.name) ?? listener
      if (chain instanceof HttpConnectionManager) chain.useTables(tables)
      else chain.useClusters(fresh, tables.clusters)
    }
  }

  sweep(): void {
    for (const { chain } of this.bound) chain.sweep()
  }

  /** Stops accepting, and asks connections to end. */
  drain(): void {
    this.draining = true
    for (const { server, chain } of this.bound) {
      server.close()
      chain.drain()
    }
  }
}
