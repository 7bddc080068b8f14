// The filter chains for one port of a service behind a waypoint, at each of its addresses (istiod buildWaypointInternal).
import { canonicalIp } from '../../../base/ip-address.ts'
import {
  type FilterChain,
  type FilterChainMatch,
  HTTP_SETTINGS,
  type HttpChain,
  MATCH_EVERYTHING,
} from '../../../state/listener.ts'
import type { Origin } from '../../../state/origin.ts'
import { byteChains, type OutboundSource, type WantedChain } from '../capture/outbound-chains.ts'
import { isHttp } from '../protocol.ts'
import type { RegistryPort, RegistryService } from '../registry.ts'
import type { World } from '../world.ts'

/** What asks whether a service wants to hear who its clients are. */
const XFCC_ANNOTATION = 'ambient.istio.io/xfcc-include-client-identity'

/** What the inspectors call plaintext HTTP. */
const PLAINTEXT_HTTP = ['http/1.0', 'http/1.1', 'h2c']

/** CIDRs that stand for the service: its virtual addresses, and ranges. */
export function rangesOf(service: RegistryService): string[] {
  const own = service.addresses.flatMap((a) => canonicalIp(a) ?? [])
  return [...own.map((a) => `${a}/${a.includes(':') ? 128 : 32}`), ...service.ranges]
}

export function chainName(service: RegistryService, port: RegistryPort, kind: 'http' | 'tcp'): string {
  return `inbound-vip|${port.number}|${kind}|${service.hostname}`
}

export function serviceChains(source: OutboundSource, service: RegistryService, port: RegistryPort): FilterChain[] {
  const at: FilterChainMatch = { ...MATCH_EVERYTHING, destinationPort: port.number, destinationRanges: rangesOf(service) }
  if (port.protocol === 'UNKNOWN')
    return sniffedChains(
      at,
      { name: chainName(service, port, 'http'), network: httpChain(source.world, chainName(service, port, 'http'), service) },
      { name: chainName(service, port, 'tcp'), network: bytesOf(source, service, port).network },
      port.object.origin(),
    )
  if (isHttp(port.protocol)) {
    const name = chainName(service, port, 'http')
    return [{ name, match: at, tls: null, network: httpChain(source.world, name, service), origin: port.object.origin() }]
  }
  const name = chainName(service, port, 'tcp')
  const named = allBytes(source, service, port).filter((c) => c.match.serverNames.length > 0)
  const otherwise = bytesOf(source, service, port)
  if (named.length === 0) return [{ name, match: at, tls: null, network: otherwise.network, origin: otherwise.origin }]
  return named.map(({ match: { serverNames }, network, origin }) => {
    const match = { ...at, serverNames }
    return { name: `${name} ${serverNames.join(' ')}`, match, tls: null, network, origin }
  })
}

/** Rules for some of a service's addresses are none here: what is behind the service is the same at each. */
function bytesOf(source: OutboundSource, service: RegistryService, port: RegistryPort): WantedChain {
  return allBytes(source, service, port).at(-1) as WantedChain
}

function allBytes(source: OutboundSource, service: RegistryService, port: RegistryPort): WantedChain[] {
  const authorization = source.world.authorizations.filters({ kind: 'tcp', tunnelled: true, service })
  return byteChains(source, service, port, '', false).map((c) => ({ ...c, network: { ...c.network, authorization } }))
}

interface NamedNetwork {
  readonly name: string
  readonly network: FilterChain['network']
}

/** HTTP in plaintext, and whatever else it is; nothing of a match holds for both kinds of bytes that are none (no way back from one that fits better). */
export function sniffedChains(match: FilterChainMatch, http: NamedNetwork, tcp: NamedNetwork, origin: Origin): FilterChain[] {
  const plaintext = { ...match, transportProtocol: 'raw_buffer' as const }
  const rest = { tls: null, origin }
  return [
    { ...http, ...rest, match: { ...plaintext, applicationProtocols: PLAINTEXT_HTTP } },
    { ...tcp, ...rest, match: plaintext },
    { name: `${tcp.name} tls`, network: tcp.network, ...rest, match },
  ]
}

export function httpChain(
  { authentications, authorizations }: World,
  routeTable: string,
  service: RegistryService | null,
): HttpChain {
  const tells = service?.object.annotations[XFCC_ANNOTATION] === 'true'
  return {
    kind: 'http',
    httpVersion: 'auto',
    routeTable,
    allowConnect: false,
    clientCertificate: tells ? 'identities' : 'sanitize',
    edge: null,
    jwt: authentications.filter(service),
    authorization: authorizations.filters({ kind: 'http', tunnelled: true, service }),
    settings: HTTP_SETTINGS,
  }
}
