// A listener for one address and port while services add their filter chains to it, and what becomes of those that want the same (istiod's
// listener conflicts).
import { type FilterChain, type FilterChainMatch, type Listener, MATCH_EVERYTHING } from '../../../state/listener.ts'
import { BUILT_IN } from '../../../state/origin.ts'
import { identityText } from '../../resource-object.ts'
import type { Protocol } from '../protocol.ts'
import type { RegistryPort, RegistryService } from '../registry.ts'
import type { World } from '../world.ts'
import type { WantedChain } from './outbound-chains.ts'

/** Servers speak first there, so that what shares the port with another protocol would hang. */
const SERVER_FIRST = new Set([25, 53, 3306, 27017])

interface Taken {
  readonly chain: WantedChain
  readonly service: RegistryService
}

export class ListenerDraft {
  readonly #world: World
  readonly #address: string
  readonly #port: number
  readonly #taken: Taken[]
  #protocol: Protocol | null

  constructor(world: World, address: string, port: number) {
    this.#world = world
    this.#address = address
    this.#port = port
    this.#taken = []
    this.#protocol = null
  }

  /** Of two chains that fit the same connections the first stays. */
  add(service: RegistryService, port: RegistryPort, chains: readonly WantedChain[]): void {
    this.#protocol ??= port.protocol
    if (SERVER_FIRST.has(this.#port) && port.protocol !== this.#protocol) {
      this.#lost(service, port, this.#taken[0]?.service)
      return
    }
    for (const chain of chains) {
      const other = this.#taken.find((t) => sameMatch(t.chain.match, chain.match))
      if (other === undefined) this.#taken.push({ chain, service })
      // HTTP is told apart by its host.
      else if (chain.network.kind === 'tcp') this.#lost(service, port, other.service)
    }
  }

  #lost(service: RegistryService, port: RegistryPort, by: RegistryService | undefined): void {
    if (by === undefined || by === service) return
    const place = `${this.#address === '0.0.0.0' ? 'any address' : this.#address}, port ${this.#port}`
    const reason = `captured connections to ${place} go to ${identityText(by.object)}, which is older and cannot be told apart from ${service.hostname}`
    this.#world.verdicts.partly(port.object, ['ports'], reason, true)
  }

  /** `otherwise`: for connections that no chain fits. */
  finish(otherwise: FilterChain): Listener {
    const chains = this.#taken.map(({ chain }) => ({ ...chain, name: nameOf(chain), tls: null }))
    // Else a connection that fits some of a chain's conditions and not all would be closed.
    const all = chains.length > 1 ? chains.find((c) => sameMatch(c.match, MATCH_EVERYTHING)) : undefined
    const alone = chains.length === 1 && sameMatch(chains[0]!.match, MATCH_EVERYTHING)
    return {
      name: `${this.#address}_${this.#port}`,
      direction: 'outbound',
      address: this.#address,
      port: this.#port,
      bind: false,
      capture: 'none',
      handOver: false,
      otherAddresses: [],
      proxyProtocol: 'none',
      detectionTimeoutMs: this.#world.bootstrap.capture.detectionTimeoutMs,
      originalDst: '',
      filterChains: chains.filter((c) => c !== all),
      defaultFilterChain: alone ? null : (all ?? otherwise),
      accessLogs: [],
      origin: this.#origin(),
    }
  }

  /** The service that has it alone. */
  #origin(): Listener['origin'] {
    const services = new Set(this.#taken.map((t) => t.service))
    const [first] = services
    return services.size === 1 && this.#address !== '0.0.0.0' && first !== undefined ? first.origin : BUILT_IN
  }
}

function sameMatch(a: FilterChainMatch, b: FilterChainMatch): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
}

function sorted(m: FilterChainMatch): unknown {
  const lists = [m.destinationRanges, m.serverNames, m.applicationProtocols].map((list) => list.toSorted())
  return [m.destinationPort, m.transportProtocol, ...lists]
}

/** `http`, `tcp`, `tls a.example.com 10.0.0.0/8`: as unique as its match. */
function nameOf({ match, network }: WantedChain): string {
  const kind = network.kind === 'http' ? 'http' : match.serverNames.length > 0 ? 'tls' : 'tcp'
  return [kind, ...match.serverNames, ...match.destinationRanges].join(' ')
}
