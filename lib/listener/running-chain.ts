// A filter chain as it runs in one worker: what takes its connections, whatever configuration made of it.
import type { Loggers } from '../filter/log/loggers.ts'
import { RefusedConnection } from '../filter/log/refused-connection.ts'
import { HttpConnectionManager, loggersOf, type WorkerParts } from '../filter/network/http-connection-manager.ts'
import { TcpProxy } from '../filter/network/tcp-proxy.ts'
import { TunnelTerminator } from '../filter/network/tunnel-terminator.ts'
import type { Tables } from '../route/compile.ts'
import type { AccessLogger } from '../state/access-log.ts'
import type { FilterChain, FilterChainMatch, HttpChain, Listener, TcpChain, TunnelChain } from '../state/listener.ts'
import type { DownstreamTls } from '../state/tls.ts'
import { UH } from '../telemetry/response-flags.ts'
import type { Connection } from '../transport/connection.ts'

/** What a chain does with connections. */
export type NetworkFilter = HttpConnectionManager | TcpProxy | TunnelTerminator

export class RunningChain {
  readonly name: string
  readonly kind: FilterChain['network']['kind']
  /** null: its connections are closed. */
  readonly filter: NetworkFilter | null
  /** Of connections that it refuses; null: they are not logged. */
  private refusals: Loggers | null
  /** Replaced by `use`. */
  config: FilterChain
  /** When it left configuration; 0: it has not. */
  private leftMs: number
  private readonly parts: WorkerParts

  constructor(parts: WorkerParts, listener: Listener, config: FilterChain, port: number, tables: Tables) {
    this.name = config.name
    this.kind = config.network.kind
    this.config = config
    this.leftMs = 0
    this.parts = parts
    this.filter = filterOf(parts, listener, config, port, tables)
    this.refusals = refusalsOf(parts, config)
  }

  get accessLogs(): readonly AccessLogger[] {
    const { network } = this.config
    return network.kind === 'http' ? network.settings.accessLogs : network.kind === 'tunnel' ? NO_LOGS : network.accessLogs
  }

  get goesByServerName(): boolean {
    const { network } = this.config
    return network.kind === 'tcp' && (network.byServerName || network.serverNamePort !== 0)
  }

  get match(): FilterChainMatch {
    return this.config.match
  }

  /** Why it takes nothing; empty: it does. */
  get refusal(): string {
    return this.config.network.kind === 'refuse' ? this.config.network.reason : ''
  }

  get tls(): DownstreamTls | null {
    return this.config.tls
  }

  /**
   * Whether connections that this chain has taken are such as a chain of the new configuration would have taken, and in the same way. For requests whatever
   * else changed holds from the next one on; bytes were let through once and for all.
   */
  continuesAs(config: FilterChain): boolean {
    const { match, tls, network } = this.config
    if (config === this.config) return true
    if (network.kind !== config.network.kind || !isSame(match, config.match) || !isSame(tls, config.tls)) return false
    return network.kind !== 'tcp' || isSame(network.authorization, (config.network as TcpChain).authorization)
  }

  /** It takes no more connections. Those that it has are told as their protocol can say it. */
  leave(): void {
    this.leftMs = this.parts.io.clock.monotonicMs
    if (this.filter !== null) this.filter.drain()
  }

  sweep(): void {
    const { filter, leftMs, parts } = this
    if (filter === null) return
    filter.sweep()
    if (leftMs === 0 || parts.drainMs === 0 || parts.io.clock.monotonicMs - leftMs < parts.drainMs) return
    for (const session of filter.sessions) {
      parts.worker.connectionCut('chain_gone')
      session.connection.destroy('chain_gone')
    }
  }

  /** The same chain in a new configuration. Connections that are open stay. */
  use(listener: Listener, config: FilterChain, tables: Tables): void {
    this.config = config
    this.refusals = refusalsOf(this.parts, config)
    const { filter } = this
    if (filter instanceof HttpConnectionManager) filter.use(listener, config.network as HttpChain, tables)
    else if (filter instanceof TcpProxy) filter.use(listener, config.network as TcpChain)
    else if (filter instanceof TunnelTerminator) filter.use(config.network as TunnelChain)
  }

  /** Nothing but the tables is another. */
  useTables(tables: Tables): void {
    const { filter } = this
    if (filter instanceof HttpConnectionManager) filter.tables = tables
  }

  /** What Envoy has in such a place is a TCP proxy to a cluster without endpoints. Nothing where it refuses nobody. */
  logRefusal(connection: Connection): void {
    this.refusals?.log(new RefusedConnection(connection, 'TcpConnectionEnd', UH, '', 'BlackHoleCluster'))
  }

  /** The caller is inside the boundary. */
  accept(connection: Connection): void {
    if (this.filter === null) connection.destroy('refused')
    else this.filter.accept(connection)
  }

  get connections(): number {
    return this.filter === null ? 0 : this.filter.sessions.size
  }
}

const NO_LOGS: readonly AccessLogger[] = []

function refusalsOf(parts: WorkerParts, { network }: FilterChain): Loggers | null {
  return network.kind === 'refuse' ? loggersOf(parts, network.accessLogs) : null
}

/** Plain data, which has crossed from another thread. */
function isSame(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}

function filterOf(
  parts: WorkerParts,
  listener: Listener,
  { network }: FilterChain,
  port: number,
  tables: Tables,
): NetworkFilter | null {
  switch (network.kind) {
    case 'http':
      return new HttpConnectionManager(parts, listener, network, port, tables)
    case 'tcp':
      return new TcpProxy(parts, listener, network)
    case 'tunnel':
      return new TunnelTerminator(parts, network)
    case 'refuse':
      return null
  }
}
