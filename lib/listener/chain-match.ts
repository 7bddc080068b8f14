// Which filter chain takes a connection (envoy.config.listener.v3.FilterChainMatch): compiled for each configuration, walked once for each connection.
import { type AddressRange, parseRange } from '../base/ip-prefix.ts'
import type { FilterChainMatch } from '../state/listener.ts'

/** What is known of a connection. */
export interface ChainFacts {
  readonly destinationAddress: string
  readonly destinationPort: number
  /** Lower case; empty: none was sent. */
  readonly serverName: string
  readonly transportProtocol: 'tls' | 'raw_buffer'
  readonly applicationProtocols: readonly string[]
  /** Of the client: the other end of the connection, where no PROXY protocol says otherwise. */
  readonly sourceAddress: string
  readonly directSourceAddress: string
  readonly sourcePort: number
}

interface Matched {
  readonly match: FilterChainMatch
  /** What becomes of its connections depends on the server name of their TLS. */
  readonly goesByServerName?: boolean
}

/** Chains for connections to one port; those of other ports are out of question. */
export interface PortChains<C> {
  readonly chains: readonly C[]
  /** The first bytes must be seen: some chain asks for TLS, its server name or its ALPN. */
  readonly inspectsTls: boolean
  /** Some chain asks which HTTP plaintext is. */
  readonly inspectsHttp: boolean
}

const HTTP_PROTOCOLS = new Set(['http/1.0', 'http/1.1', 'h2c'])

export class ChainMatcher<C extends Matched> {
  private readonly byPort: ReadonlyMap<number, PortChains<C>>
  private readonly otherPorts: PortChains<C>
  private readonly ranges: ReadonlyMap<C, readonly AddressRange[]>
  /** null: no chain asks where connections come from. */
  private readonly sources: ReadonlyMap<C, SourceRanges> | null
  readonly otherwise: C | null
  /** Some chain asks for the address or the port that was dialled. */
  readonly asksForDestination: boolean

  constructor(chains: readonly C[], otherwise: C | null) {
    const ports = new Set(chains.map((c) => c.match.destinationPort))
    ports.delete(0)
    this.byPort = new Map([...ports].map((port) => [port, portChains(chains.filter((c) => c.match.destinationPort === port))]))
    this.otherPorts = portChains(chains.filter((c) => c.match.destinationPort === 0))
    this.ranges = new Map(chains.map((c) => [c, rangesOf(c.match.destinationRanges)]))
    this.sources = chains.some((c) => asksForSource(c.match)) ? new Map(chains.map((c) => [c, sourceRangesOf(c.match)])) : null
    this.otherwise = otherwise
    this.asksForDestination = ports.size > 0 || chains.some((c) => c.match.destinationRanges.length > 0)
  }

  /** A port that has chains of its own never falls back to those of any port, as in Envoy. */
  forPort(port: number): PortChains<C> {
    return this.byPort.get(port) ?? this.otherPorts
  }

  /** The chain for a connection; null: it is refused. */
  find(facts: ChainFacts): C | null {
    let left = this.mostSpecificRange(this.forPort(facts.destinationPort).chains, facts.destinationAddress)
    left = byServerName(left, facts.serverName)
    left = bySpecific(left, (m) => (m.transportProtocol === '' ? null : m.transportProtocol === facts.transportProtocol))
    left = byApplicationProtocol(left, facts.applicationProtocols)
    if (this.sources !== null) left = this.bySource(left, this.sources, facts)
    return left[0] ?? this.otherwise
  }

  private bySource(chains: readonly C[], sources: ReadonlyMap<C, SourceRanges>, facts: ChainFacts): readonly C[] {
    const { sourceAddress, directSourceAddress, sourcePort, destinationAddress } = facts
    let left = mostSpecific(chains, (c) => longestOf(sources.get(c)?.direct ?? NONE, directSourceAddress))
    const local = isLocal(sourceAddress, destinationAddress)
    left = bySpecific(left, (m) => (m.sourceType === '' ? null : (m.sourceType === 'same-ip-or-loopback') === local))
    left = mostSpecific(left, (c) => longestOf(sources.get(c)?.client ?? NONE, sourceAddress))
    return bySpecific(left, (m) => (m.sourcePorts.length === 0 ? null : m.sourcePorts.includes(sourcePort)))
  }

  /** Whether there is a chain for the address, whatever is said over the connection. */
  mayTake(address: string, port: number): boolean {
    return this.otherwise !== null || this.mostSpecificRange(this.forPort(port).chains, address).length > 0
  }

  private mostSpecificRange(chains: readonly C[], address: string): readonly C[] {
    return mostSpecific(chains, (c) => longestOf(this.ranges.get(c) ?? NONE, address))
  }
}

interface SourceRanges {
  readonly direct: readonly AddressRange[]
  readonly client: readonly AddressRange[]
}

const NONE: readonly AddressRange[] = []

function rangesOf(texts: readonly string[]): readonly AddressRange[] {
  return texts.map(parseRange).filter((r) => r !== null)
}

function sourceRangesOf(m: FilterChainMatch): SourceRanges {
  return { direct: rangesOf(m.directSourceRanges), client: rangesOf(m.sourceRanges) }
}

function asksForSource(m: FilterChainMatch): boolean {
  return m.directSourceRanges.length > 0 || m.sourceType !== '' || m.sourceRanges.length > 0 || m.sourcePorts.length > 0
}

/** Where both ends are one machine, or nothing came over a wire (Envoy SAME_IP_OR_LOOPBACK). */
function isLocal(source: string, destination: string): boolean {
  return source === destination || source.startsWith('127.') || source === '::1' || source === ''
}

/** -1: it is in none of them; 0: there are none, or it is a range of all addresses. */
function longestOf(ranges: readonly AddressRange[], address: string): number {
  if (ranges.length === 0) return 0
  let longest = -1
  for (const range of ranges) if (range.bits > longest && range.contains(address)) longest = range.bits
  return longest
}

/** Those with the longest range, negative lengths being none. */
function mostSpecific<C>(chains: readonly C[], lengthOf: (chain: C) => number): readonly C[] {
  let longest = 0
  let best: C[] = []
  for (const c of chains) {
    const length = lengthOf(c)
    if (length > longest) {
      longest = length
      best = [c]
    } else if (length === longest) best.push(c)
  }
  return best
}

function portChains<C extends Matched>(chains: readonly C[]): PortChains<C> {
  const tls = chains.some(
    ({ match: m, goesByServerName = false }) =>
      goesByServerName || m.transportProtocol !== '' || m.serverNames.length > 0 || m.applicationProtocols.length > 0,
  )
  const http = chains.some(({ match }) => match.applicationProtocols.some((p) => HTTP_PROTOCOLS.has(p)))
  return { chains, inspectsTls: tls, inspectsHttp: http }
}

/** Those that say it of themselves and are right, or if there are none those that say nothing. */
function bySpecific<C extends Matched>(chains: readonly C[], fits: (m: FilterChainMatch) => boolean | null): readonly C[] {
  const right = chains.filter((c) => fits(c.match) === true)
  return right.length > 0 ? right : chains.filter((c) => fits(c.match) === null)
}

/** Those with the first of the client's offers that any of them names, or if there are none those that ask for nothing. */
function byApplicationProtocol<C extends Matched>(chains: readonly C[], offers: readonly string[]): readonly C[] {
  for (const offered of offers) {
    const fits = chains.filter((c) => c.match.applicationProtocols.includes(offered))
    if (fits.length > 0) return fits
  }
  return chains.filter((c) => c.match.applicationProtocols.length === 0)
}

/** An exact name, then the longest wildcard, then those that ask for none. */
function byServerName<C extends Matched>(chains: readonly C[], name: string): readonly C[] {
  if (chains.every((c) => c.match.serverNames.length === 0)) return chains
  for (let wanted = name; wanted !== ''; wanted = widened(wanted)) {
    const fits = chains.filter((c) => c.match.serverNames.includes(wanted))
    if (fits.length > 0) return fits
  }
  return chains.filter((c) => c.match.serverNames.length === 0 || c.match.serverNames.includes('*'))
}

/** `a.b.c` → `*.b.c` → `*.c` → nothing. */
function widened(name: string): string {
  const from = name.startsWith('*.') ? 2 : 0
  const dot = name.indexOf('.', from)
  return dot < 0 ? '' : `*${name.slice(dot)}`
}
