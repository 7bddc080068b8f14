// The filter chains that a port of a service needs on the listener of its address (istiod buildSidecarOutboundTCPTLSFilterChainOpts).
import { type FilterChainMatch, HTTP_SETTINGS, type HttpChain, MATCH_EVERYTHING, type TcpChain } from '../../../state/listener.ts'
import type { Origin } from '../../../state/origin.ts'
import type { L4MatchSpec, TlsMatchSpec } from '../../schema/virtual-service.ts'
import type { DestinationHashes } from '../hash-policies.ts'
import { covers } from '../host-names.ts'
import type { Protocol } from '../protocol.ts'
import type { RegistryPort, RegistryService } from '../registry.ts'
import { isOneOf } from '../route-match.ts'
import type { VirtualServiceRules } from '../rules.ts'
import { chainToRoutes, chainToService } from '../tcp-routes.ts'
import type { World } from '../world.ts'

/** A filter chain that has no name yet. */
export interface WantedChain {
  readonly match: FilterChainMatch
  readonly network: HttpChain | TcpChain
  readonly origin: Origin
}

export interface OutboundSource {
  readonly world: World
  readonly virtualServices: readonly VirtualServiceRules[]
  readonly hashes: DestinationHashes
}

/** What `http_inspector` says of HTTP in plaintext that istiod takes: HTTP/1.0 is none. */
const PLAINTEXT_HTTP: FilterChainMatch = {
  ...MATCH_EVERYTHING,
  transportProtocol: 'raw_buffer',
  applicationProtocols: ['http/1.1', 'h2c'],
}

export function httpChain(routeTable: string, origin: Origin): WantedChain {
  const network: HttpChain = {
    kind: 'http',
    httpVersion: 'auto',
    routeTable,
    allowConnect: false,
    clientCertificate: 'sanitize',
    edge: null,
    jwt: null,
    authorization: [],
    settings: HTTP_SETTINGS,
  }
  return { match: PLAINTEXT_HTTP, network, origin }
}

/** `range`: a CIDR of the service, empty for a listener of its own address. `shared`: others may have the same address. */
export function byteChains(
  source: OutboundSource,
  service: RegistryService,
  port: RegistryPort,
  range: string,
  shared: boolean,
): WantedChain[] {
  const ranges = range === '' ? [] : [range]
  return isTls(port.protocol) ? tlsChains(source, service, port, ranges, shared) : tcpChains(source, service, port, ranges)
}

function isTls(protocol: Protocol): boolean {
  return protocol === 'TLS'
}

function tlsChains(
  source: OutboundSource,
  service: RegistryService,
  port: RegistryPort,
  ranges: readonly string[],
  shared: boolean,
): WantedChain[] {
  const { world, hashes } = source
  const chains: WantedChain[] = []
  const handled = new Set<string>()
  for (const { object } of rulesFor(source, service)) {
    for (const [i, { match = [], route = [] }] of (object.spec.tls ?? []).entries()) {
      for (const [k, m] of match.entries()) {
        // What only the connection can tell: of two rules that ask for the same of it the first is in force.
        const asked = JSON.stringify([m.sniHosts ?? [], m.destinationSubnets ?? []])
        if (!isForClient(world, m, port.number) || handled.has(asked)) continue
        handled.add(asked)
        const wanted = ranges.length > 0 || (m.destinationSubnets ?? []).length === 0 ? ranges : []
        const destinationRanges = (m.destinationSubnets ?? []).length > 0 ? (m.destinationSubnets ?? []) : wanted
        chains.push({
          match: { ...MATCH_EVERYTHING, destinationRanges, serverNames: (m.sniHosts ?? []).map((s) => s.toLowerCase()) },
          network: chainToRoutes(world, route, object.namespace, port.number, hashes),
          origin: object.origin(['tls', i, 'match', k]),
        })
      }
    }
  }
  if (chains.length > 0) return chains
  // Where several services share an address, the server name is all that tells them apart.
  const serverNames = shared || ranges.length > 0 ? [service.hostname] : []
  return [
    {
      match: { ...MATCH_EVERYTHING, destinationRanges: ranges, serverNames },
      network: chainToService(service, port.number, hashes),
      origin: port.object.origin(),
    },
  ]
}

function tcpChains(
  source: OutboundSource,
  service: RegistryService,
  port: RegistryPort,
  ranges: readonly string[],
): WantedChain[] {
  const { world, hashes } = source
  const chains: WantedChain[] = []
  for (const { object } of rulesFor(source, service)) {
    for (const [i, { match = [], route = [] }] of (object.spec.tcp ?? []).entries()) {
      const chain = (destinationRanges: readonly string[]): WantedChain => ({
        match: { ...MATCH_EVERYTHING, destinationRanges },
        network: chainToRoutes(world, route, object.namespace, port.number, hashes),
        origin: object.origin(['tcp', i]),
      })
      const fitting = match.filter((m) => isForClient(world, m, port.number))
      // Nothing more of the connection is asked: what follows is never reached.
      if (match.length === 0 || fitting.some((m) => (m.destinationSubnets ?? []).length === 0)) return [...chains, chain(ranges)]
      const subnets = fitting.flatMap((m) => m.destinationSubnets ?? [])
      if (subnets.length > 0) chains.push(chain(subnets))
    }
  }
  const rest = { ...MATCH_EVERYTHING, destinationRanges: ranges }
  return [...chains, { match: rest, network: chainToService(service, port.number, hashes), origin: port.object.origin() }]
}

function rulesFor({ virtualServices }: OutboundSource, service: RegistryService): VirtualServiceRules[] {
  return virtualServices.filter(({ hosts }) => hosts.some((host) => covers(host, service.hostname)))
}

/** What is known before there is a connection (istiod matchTCP, matchTLS). */
function isForClient({ client }: World, match: L4MatchSpec | TlsMatchSpec, port: number): boolean {
  const { gateways = [] } = match
  if ((match.port ?? 0) !== 0 && match.port !== port) return false
  if (gateways.length > 0 && !gateways.includes('mesh')) return false
  return isOneOf(client, match)
}
