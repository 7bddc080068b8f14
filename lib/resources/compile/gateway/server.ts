// What a gateway serves on one of its ports, whichever kind of Gateway asked for it.
import { type FilterChainMatch, MATCH_EVERYTHING, type TcpChain } from '../../../state/listener.ts'
import type { Origin } from '../../../state/origin.ts'
import type { Route } from '../../../state/route.ts'
import type { DownstreamTls } from '../../../state/tls.ts'
import type { Path } from '../../finding.ts'
import type { ResourceObject } from '../../resource-object.ts'

/** One of `servers` of a Gateway of Istio, or of `listeners` of one of the Gateway API. */
export interface GatewayServer {
  readonly object: ResourceObject
  /** Of the server in the object's spec. */
  readonly path: Path
  /** For messages: `443 https of Gateway shop/web`. */
  readonly text: string
  /** As the Gateway says it; `ports.ts` knows what is bound. */
  readonly port: number
  /** Empty: the address of heddle.yaml. */
  readonly bind: string
  /**
   * http: plaintext; https: TLS that ends here, and requests are routed; tls: connections are told apart by server name, and their bytes are passed on,
   * with their TLS or without; tcp: all that comes.
   */
  readonly kind: 'http' | 'https' | 'tls' | 'tcp'
  /** Of http: clients speak gRPC-Web, and services gRPC. */
  readonly grpcWeb: boolean
  /** Lower case: exact, `*.suffix` or `*`. */
  readonly hosts: readonly string[]
  /** null: plaintext, or TLS that is passed on. */
  readonly tls: DownstreamTls | null
  /** Of https: the name of its own route table. */
  readonly tableName: string
  /** Of http and https. */
  readonly domains: readonly ServedDomain[]
  /** Of tls and tcp. */
  readonly chains: readonly ServedBytes[]
  readonly origin: Origin
}

/** Routes for a host, in the order in which they are asked unless those of another server for the same host come between. */
export interface ServedDomain {
  /** Lower case: exact, `*.suffix` or `*`. */
  readonly domain: string
  readonly routes: readonly Route[]
  /** Plaintext is sent to https. */
  readonly redirects: boolean
  /** `append`: joined with those of others for this domain, catch-alls last; `alone`: nobody else has the domain. */
  readonly origin: Origin
}

export interface ServedBytes {
  /** Empty: any name, and none. */
  readonly serverNames: readonly string[]
  /** What the client offers by ALPN; empty: anything, and nothing. */
  readonly applicationProtocols: readonly string[]
  /** CIDRs of the destination. */
  readonly ranges: readonly string[]
  readonly network: TcpChain
  readonly origin: Origin
}

/** Servers of one family share a port; those of others are in conflict with the first. */
export type Family = 'http' | 'tls' | 'tcp'

export function familyOf({ kind }: GatewayServer): Family {
  return kind === 'http' ? 'http' : kind === 'tcp' ? 'tcp' : 'tls'
}

/** `*` is no server name that anybody asks for. */
export function matchNames(
  serverNames: readonly string[],
  ranges: readonly string[] = [],
  applicationProtocols: readonly string[] = [],
): FilterChainMatch {
  const all = serverNames.includes('*') ? [] : serverNames
  return { ...MATCH_EVERYTHING, serverNames: all, destinationRanges: ranges, transportProtocol: 'tls', applicationProtocols }
}

/** The names that two hosts have in common, which is the more special of them; null: none. */
export function intersection(a: string, b: string): string | null {
  if (a === b || b === '*') return a
  if (a === '*') return b
  if (a.startsWith('*.') && b.endsWith(a.slice(1)) && b.length > a.length - 1) return b
  if (b.startsWith('*.') && a.endsWith(b.slice(1)) && a.length > b.length - 1) return a
  return null
}
