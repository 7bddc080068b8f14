// The filter chains for one port of the workload, by its mTLS mode and by what it speaks (istiod getFilterChainMatchOptions).

import type { JwtAuthentication } from '../../../state/jwt.ts'
import {
  type FilterChain,
  type FilterChainMatch,
  HTTP_SETTINGS,
  type HttpChain,
  MATCH_EVERYTHING,
  type TcpChain,
} from '../../../state/listener.ts'
import { ALL_METRICS } from '../../../state/metric-terms.ts'
import type { Origin } from '../../../state/origin.ts'
import type { MtlsMode } from '../../../state/peer-authentication.ts'
import type { RbacFilter } from '../../../state/rbac.ts'
import type { TlsVersion } from '../../../state/tls.ts'
import type { Protocol } from '../protocol.ts'
import { weighted } from '../tcp-routes.ts'
import type { World } from '../world.ts'
import { MESH_ALPN, MESH_HTTP_ALPN, MESH_TCP_ALPN, meshTls } from './mesh-tls.ts'

/** Of a port as its filter chains see it. */
export type PortKind = 'http' | 'tcp' | 'auto'

export interface InboundChainsOptions {
  /** Chains are named after it. */
  readonly name: string
  /** 0: every port that has no chains of its own. */
  readonly port: number
  readonly kind: PortKind
  readonly mode: MtlsMode
  readonly cluster: string
  readonly routeTable: string
  /** Of plaintext; inside of TLS it is `auto` too, where ALPN did not say it. */
  readonly httpVersion: HttpChain['httpVersion']
  readonly minVersion: TlsVersion
  /** Of chains for requests, and of those for bytes. */
  readonly authorization: ChainAuthorization
  readonly origin: Origin
}

export interface ChainAuthorization {
  readonly jwt: JwtAuthentication | null
  readonly http: readonly RbacFilter[]
  readonly tcp: readonly RbacFilter[]
}

/** `tunnelled`: the chains take what comes out of tunnels. */
export function inboundAuthorization({ authentications, authorizations }: World, tunnelled: boolean): ChainAuthorization {
  const site = { tunnelled, service: null }
  return {
    jwt: authentications.filter(null),
    http: authorizations.filters({ ...site, kind: 'http' }),
    tcp: authorizations.filters({ ...site, kind: 'tcp' }),
  }
}

interface ChainPlan {
  readonly suffix: string
  readonly match: Partial<FilterChainMatch>
  readonly network: 'http' | 'tcp'
  readonly terminates: boolean
}

const PLAINTEXT_HTTP = ['http/1.1', 'h2c']

const plan = (
  suffix: string,
  network: 'http' | 'tcp',
  terminates: boolean,
  transportProtocol: FilterChainMatch['transportProtocol'],
  applicationProtocols: readonly string[] = [],
): ChainPlan => ({ suffix, match: { transportProtocol, applicationProtocols }, network, terminates })

/**
 * Where nothing but plaintext is taken, the chain for bytes asks for none: TLS of the application is bytes like others, and nobody has to wait
 * for what the client says first.
 */
const PLANS: Readonly<Record<MtlsMode, Readonly<Record<PortKind, readonly ChainPlan[]>>>> = {
  PERMISSIVE: {
    auto: [
      plan('http mtls', 'http', true, 'tls', MESH_HTTP_ALPN),
      plan('http plaintext', 'http', false, 'raw_buffer', PLAINTEXT_HTTP),
      plan('tcp mtls', 'tcp', true, 'tls', MESH_TCP_ALPN),
      plan('tcp plaintext', 'tcp', false, 'raw_buffer'),
      plan("tcp application's tls", 'tcp', false, 'tls'),
    ],
    http: [plan('http mtls', 'http', true, 'tls', MESH_ALPN), plan('http plaintext', 'http', false, 'raw_buffer')],
    tcp: [
      plan('tcp mtls', 'tcp', true, 'tls', MESH_ALPN),
      plan("tcp application's tls", 'tcp', false, 'tls'),
      plan('tcp plaintext', 'tcp', false, 'raw_buffer'),
    ],
  },
  STRICT: {
    auto: [plan('http mtls', 'http', true, 'tls', MESH_HTTP_ALPN), plan('tcp mtls', 'tcp', true, 'tls')],
    http: [plan('http mtls', 'http', true, 'tls')],
    tcp: [plan('tcp mtls', 'tcp', true, 'tls')],
  },
  DISABLE: {
    auto: [plan('http plaintext', 'http', false, 'raw_buffer', PLAINTEXT_HTTP), plan('tcp plaintext', 'tcp', false, '')],
    http: [plan('http plaintext', 'http', false, '')],
    tcp: [plan('tcp plaintext', 'tcp', false, '')],
  },
}

export function inboundChains(options: InboundChainsOptions): FilterChain[] {
  const { name, port, kind, mode, minVersion, origin } = options
  return PLANS[mode][kind].map(({ suffix, match, network, terminates }) => ({
    name: `${name} ${suffix}`,
    match: { ...MATCH_EVERYTHING, ...match, destinationPort: port },
    tls: terminates ? meshTls(network, minVersion) : null,
    network: network === 'http' ? httpChain(options) : tcpChain(options),
    origin,
  }))
}

export function kindOf(protocol: Protocol): PortKind {
  if (protocol === 'UNKNOWN') return 'auto'
  return protocol === 'HTTP' || protocol === 'HTTP2' || protocol === 'GRPC' ? 'http' : 'tcp'
}

function httpChain({ routeTable, httpVersion, authorization }: InboundChainsOptions): HttpChain {
  return {
    kind: 'http',
    httpVersion,
    routeTable,
    allowConnect: false,
    clientCertificate: 'append_forward',
    edge: null,
    jwt: authorization.jwt,
    authorization: authorization.http,
    settings: HTTP_SETTINGS,
  }
}

function tcpChain({ cluster, authorization }: InboundChainsOptions): TcpChain {
  return {
    kind: 'tcp',
    clusters: [weighted(cluster, 1)],
    byServerName: false,
    tunnel: null,
    hashSourceIp: false,
    connectAttempts: 1,
    serverNamePort: 0,
    metrics: ALL_METRICS,
    idleTimeoutMs: null,
    maxDurationMs: null,
    accessLogs: [],
    authorization: authorization.tcp,
  }
}
