// A listener as it runs in one worker: its filter chains, which a new configuration changes without touching a connection.
import type { Loggers } from '../filter/log/loggers.ts'
import { loggersOf, type WorkerParts } from '../filter/network/http-connection-manager.ts'
import type { Tables } from '../route/compile.ts'
import type { Listener } from '../state/listener.ts'
import { ChainMatcher } from './chain-match.ts'
import { RunningChain } from './running-chain.ts'

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.join() === b.join()
}

export class ActiveListener {
  /** As the newest configuration has it. */
  listener: Listener
  /** What it is bound to, or for one that is not bound what it stands for. */
  readonly port: number
  /** Of connections that no chain takes; null: they are not logged. */
  loggers: Loggers | null
  private readonly parts: WorkerParts
  private chains: RunningChain[]
  private matcher: ChainMatcher<RunningChain>
  /** Of configurations before: they take no connections and are there until those that they have are gone. */
  private leaving: RunningChain[]

  constructor(parts: WorkerParts, listener: Listener, port: number, tables: Tables) {
    this.parts = parts
    this.listener = listener
    this.port = port
    this.loggers = null
    this.chains = []
    this.leaving = []
    this.matcher = new ChainMatcher<RunningChain>([], null)
    this.use(listener, tables)
  }

  get match(): ChainMatcher<RunningChain> {
    return this.matcher
  }

  /** Whether a listener of this name in a new configuration is this one: its socket cannot move. */
  isAt({ bind, address, otherAddresses }: Listener, port: number): boolean {
    const { listener } = this
    if (listener.bind !== bind) return false
    const others = otherAddresses.length === 0 && listener.otherAddresses.length === 0
    return (
      !bind ||
      (listener.address === address && this.port === port && (others || sameList(listener.otherAddresses, otherAddresses)))
    )
  }

  /** New configuration. */
  use(listener: Listener, tables: Tables): void {
    if (listener === this.listener && this.chains.length > 0) {
      for (const chain of this.chains) chain.useTables(tables)
      return
    }
    const before = new Map(this.chains.map((c) => [c.name, c]))
    const renew = (config: Listener['filterChains'][number]): RunningChain => {
      const old = before.get(config.name)
      if (old === undefined || !old.continuesAs(config)) return new RunningChain(this.parts, listener, config, this.port, tables)
      before.delete(config.name)
      old.use(listener, config, tables)
      return old
    }
    const chains = listener.filterChains.map(renew)
    const otherwise = listener.defaultFilterChain === null ? null : renew(listener.defaultFilterChain)
    this.listener = listener
    this.loggers = loggersOf(this.parts, listener.accessLogs)
    this.chains = otherwise === null ? chains : [...chains, otherwise]
    this.matcher = new ChainMatcher(chains, otherwise)
    this.leave([...before.values()])
  }

  private leave(chains: readonly RunningChain[]): void {
    for (const chain of chains) chain.leave()
    this.leaving = [...this.leaving, ...chains].filter((c) => c.connections > 0)
  }

  /** It is not in the configuration any more. */
  retire(): void {
    this.leave(this.chains)
    this.chains = []
    this.matcher = new ChainMatcher<RunningChain>([], null)
  }

  /** All that may have connections. */
  *running(): IterableIterator<RunningChain> {
    yield* this.chains
    yield* this.leaving
  }

  get connections(): number {
    let n = 0
    for (const chain of this.running()) n += chain.connections
    return n
  }

  sweep(): void {
    for (const chain of this.running()) chain.sweep()
    if (this.leaving.length > 0) this.leaving = this.leaving.filter((c) => c.connections > 0)
  }

  announceDrain(): void {
    for (const chain of this.running()) chain.filter?.announceDrain()
  }

  drain(): void {
    for (const chain of this.running()) chain.filter?.drain()
  }
}
