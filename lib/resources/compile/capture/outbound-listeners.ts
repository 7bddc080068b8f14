// What the application dials, as istiod makes it: one listener that captures, and behind it one for each address and port of services, to which
// it hands connections over.
import { canonicalIp } from '../../../base/ip-address.ts'
import { type FilterChain, type Listener, MATCH_EVERYTHING } from '../../../state/listener.ts'
import { ALL_METRICS } from '../../../state/metric-terms.ts'
import { BUILT_IN, type Origin } from '../../../state/origin.ts'
import type { RouteTable } from '../../../state/route.ts'
import { BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER } from '../clusters.ts'
import type { Protocol } from '../protocol.ts'
import type { Registry, RegistryPort, RegistryService } from '../registry.ts'
import { sniffedTable } from '../route-tables.ts'
import { weighted } from '../tcp-routes.ts'
import type { World } from '../world.ts'
import { ListenerDraft } from './listener-draft.ts'
import { byteChains, httpChain, type OutboundSource } from './outbound-chains.ts'

export interface OutboundCapture {
  readonly listeners: readonly Listener[]
  /** Of ports of which nothing is declared. */
  readonly tables: readonly RouteTable[]
}

/** Stands for every address. */
const ANY_ADDRESS = '0.0.0.0'

/** `tables`: those of ports. */
export function outboundCapture(source: OutboundSource, registry: Registry, tables: readonly RouteTable[]): OutboundCapture {
  if (!source.world.capturesOutbound) return { listeners: [], tables: [] }
  const drafts = new Drafts(source, tables)
  for (const service of inOrder(registry)) for (const port of service.ports) drafts.add(service, port)
  return { listeners: [virtualOutbound(source.world), ...drafts.listeners()], tables: [...drafts.sniffed.values()] }
}

/** Oldest first: of two that want the same the first has it. */
function inOrder(registry: Registry): RegistryService[] {
  const age = (s: RegistryService): number => s.object.createdMs
  return [...registry.values()].sort((a, b) => {
    if (age(a) !== age(b)) return age(a) < age(b) ? -1 : 1
    return a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0
  })
}

class Drafts {
  /** By name. */
  readonly sniffed: Map<string, RouteTable>
  readonly #source: OutboundSource
  readonly #tables: readonly RouteTable[]
  readonly #drafts: Map<string, ListenerDraft>

  constructor(source: OutboundSource, tables: readonly RouteTable[]) {
    this.sniffed = new Map()
    this.#source = source
    this.#tables = tables
    this.#drafts = new Map()
  }

  listeners(): Listener[] {
    const { world } = this.#source
    return [...this.#drafts.values()].map((draft) => draft.finish(passthrough('PassthroughFilterChain', world)))
  }

  add(service: RegistryService, port: RegistryPort): void {
    if (isDeclaredHttp(port.protocol)) {
      this.#draft(ANY_ADDRESS, port.number).add(service, port, [httpChain(String(port.number), BUILT_IN)])
      return
    }
    for (const address of this.#addressesOf(service, port)) this.#addBytes(service, port, address, '')
    for (const range of service.ranges) this.#addBytes(service, port, ANY_ADDRESS, range)
  }

  #addBytes(service: RegistryService, port: RegistryPort, address: string, range: string): void {
    const shared = address === ANY_ADDRESS
    const bytes = byteChains(this.#source, service, port, range, shared)
    const draft = this.#draft(address, port.number)
    if (port.protocol !== 'UNKNOWN') draft.add(service, port, bytes)
    else draft.add(service, port, [httpChain(this.#tableFor(service, port, shared), port.object.origin()), ...bytes])
  }

  /** Where nobody else has the address, the service's own. */
  #tableFor(service: RegistryService, port: RegistryPort, shared: boolean): string {
    if (shared) return String(port.number)
    const table = sniffedTable(this.#tables, service.hostname, port.number)
    if (table !== null) this.sniffed.set(table.name, table)
    return table?.name ?? String(port.number)
  }

  #draft(address: string, port: number): ListenerDraft {
    const key = `${address}_${port}`
    const known = this.#drafts.get(key)
    if (known !== undefined) return known
    const draft = new ListenerDraft(this.#source.world, address, port)
    this.#drafts.set(key, draft)
    return draft
  }

  /**
   * The virtual addresses; of a headless service those of its endpoints, but for our own, which is reached without us. Nothing for one whose
   * endpoints are not there yet: a listener for all addresses would take what is not its own.
   */
  #addressesOf(service: RegistryService, port: RegistryPort): string[] {
    const virtual = service.addresses.flatMap((a) => canonicalIp(a) ?? [])
    if (virtual.length > 0 || service.ranges.length > 0) return virtual
    const { object } = service
    const selects = object.kind === 'Service' || object.spec.workloadSelector !== undefined
    const headless = service.headless || port.resolution === 'NONE'
    if (!headless || (!selects && port.backends.length === 0)) return [ANY_ADDRESS]
    const own = canonicalIp(this.#source.world.bootstrap.workload.address)
    return [...new Set(port.backends.flatMap((b) => canonicalIp(b.address) ?? []))].filter((a) => a !== own)
  }
}

function isDeclaredHttp(protocol: Protocol): boolean {
  return protocol === 'HTTP' || protocol === 'HTTP2' || protocol === 'GRPC'
}

function virtualOutbound(world: World): Listener {
  const { address, outboundPort, origin } = world.bootstrap.capture
  return {
    name: 'virtualOutbound',
    direction: 'outbound',
    address,
    port: outboundPort,
    bind: true,
    capture: 'redirect',
    handOver: true,
    otherAddresses: [],
    proxyProtocol: 'none',
    detectionTimeoutMs: 0,
    originalDst: '',
    filterChains: [
      blackHole('virtualOutbound-blackhole', outboundPort, origin),
      passthrough('virtualOutbound-catchall-tcp', world),
    ],
    defaultFilterChain: null,
    accessLogs: [],
    origin,
  }
}

/** Nobody dials a port that captures, unless by a loop. */
export function blackHole(name: string, destinationPort: number, origin: Origin): FilterChain {
  const network = { kind: 'refuse', reason: name, accessLogs: [] } as const
  return { name, match: { ...MATCH_EVERYTHING, destinationPort }, tls: null, network, origin }
}

/** For what nobody declared: where it was going, or nowhere. */
function passthrough(name: string, world: World): FilterChain {
  const { object, outboundTrafficPolicy } = world.scope
  const origin = object?.spec.outboundTrafficPolicy === undefined ? BUILT_IN : object.origin(['outboundTrafficPolicy'])
  return {
    name,
    match: MATCH_EVERYTHING,
    tls: null,
    origin,
    network: {
      kind: 'tcp',
      clusters: [weighted(outboundTrafficPolicy === 'ALLOW_ANY' ? PASSTHROUGH_CLUSTER : BLACK_HOLE_CLUSTER, 1)],
      byServerName: false,
      tunnel: null,
      hashSourceIp: false,
      connectAttempts: 1,
      serverNamePort: 0,
      metrics: ALL_METRICS,
      idleTimeoutMs: null,
      maxDurationMs: null,
      accessLogs: [],
      authorization: [],
    },
  }
}
