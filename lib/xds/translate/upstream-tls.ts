// How the endpoints of a cluster are spoken to: one transport socket for all, or the first whose `match` fits an endpoint's metadata. istiod's are
// `tlsMode-istio`, `tlsMode-disabled` and `hbone`, whose way through an internal listener is the endpoint's address (internal-endpoint.ts).
import type { Cluster as ClusterNoun } from '../../state/cluster.ts'
import { BUILT_IN, type Origin } from '../../state/origin.ts'
import { MESH_TRUST, type TlsReason, type UpstreamTls } from '../../state/tls.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { Cluster } from '../proto/cluster.ts'
import type { TransportSocket } from '../proto/core.ts'
import type { UpstreamHttpProtocolOptions } from '../proto/http-protocol-options.ts'
import type { Decoded, Struct } from '../proto/schema.ts'
import { typeUrlOf } from '../proto/schema.ts'
import { UpstreamTlsContext } from '../proto/tls.ts'
import { InternalUpstreamTransport, ProxyProtocolUpstreamTransport, RawBuffer } from '../proto/transport-sockets.ts'
import { commonTls } from './common-tls.ts'
import type { Findings } from './findings.ts'
import { istioMetadata } from './istio-metadata.ts'
import { SharedValues } from './shared-values.ts'

export interface UpstreamSockets {
  /** null: plaintext for all. */
  readonly tls: UpstreamTls | null
  readonly reason: TlsReason
  /** In order; the first one that fits an endpoint is its own. */
  readonly matches: readonly SocketMatch[]
  /** Of endpoints that none fits. */
  readonly otherwise: boolean
  readonly proxyProtocol: ClusterNoun['proxyProtocol']
  readonly credentials: readonly Credential[]
}

export interface SocketMatch {
  readonly match: Struct
  /** The cluster's TLS; false: plaintext. */
  readonly tls: boolean
}

/** Of an endpoint. `reason` null: as its cluster. */
export interface EndpointSocket {
  readonly tls: boolean
  readonly reason: TlsReason | null
}

const OFF: TlsReason = { why: 'off', origin: BUILT_IN }
const EXTERNAL: TlsReason = { why: 'external', origin: BUILT_IN }
const AUTOMATIC: TlsReason = { why: 'automatic', origin: BUILT_IN }
const BY_SIDECAR: EndpointSocket = { tls: true, reason: AUTOMATIC }
const NO_SIDECAR: EndpointSocket = { tls: false, reason: { why: 'no-sidecar', origin: BUILT_IN } }
const SECURE: EndpointSocket = { tls: true, reason: null }
const PLAINTEXT: EndpointSocket = { tls: false, reason: null }

const sharedMatches = new SharedValues<readonly SocketMatch[]>()
const plaintext = new SharedValues<UpstreamSockets>()

type HttpUpstream = Decoded<typeof UpstreamHttpProtocolOptions>

/** `origin`: of the DestinationRule. */
export function translateSockets(
  cluster: Cluster,
  http: HttpUpstream | null,
  origin: Origin,
  findings: Findings,
): UpstreamSockets {
  const maker = new SocketMaker(http)
  const matches = cluster.transport_socket_matches.map(({ match, transport_socket: socket }, i): SocketMatch => {
    const at = findings.at('transport_socket_matches', i).at('transport_socket')
    return { match: match ?? {}, tls: maker.isTls(socket, at) }
  })
  const otherwise = maker.isTls(cluster.transport_socket, findings.at('transport_socket'))
  const { tls, credentials } = maker
  const proxyProtocol = maker.proxyProtocol(findings)
  const reason = reasonOf(cluster, tls, matches, origin)
  const sockets = { tls, reason, matches: sharedMatches.of(matches), otherwise, proxyProtocol, credentials }
  // TLS is each cluster's own.
  return tls === null ? plaintext.of(sockets) : sockets
}

/** `metadata`: the endpoint's, by `envoy.transport_socket_match`. */
export function socketOf({ matches, otherwise, reason }: UpstreamSockets, metadata: Struct): EndpointSocket {
  const found = matches.find(({ match }) => fits(match, metadata))
  const tls = found === undefined ? otherwise : found.tls
  if (reason.why === 'automatic') return tls ? BY_SIDECAR : NO_SIDECAR
  return tls ? SECURE : PLAINTEXT
}

/** Every entry of the match is one of the endpoint's; an empty one fits all. */
function fits(match: Struct, metadata: Struct): boolean {
  return Object.entries(match).every(([key, value]) => JSON.stringify(metadata[key]) === JSON.stringify(value))
}

function reasonOf(cluster: Cluster, tls: UpstreamTls | null, matches: readonly SocketMatch[], origin: Origin): TlsReason {
  if (tls === null) return istioMetadata(cluster.metadata)['external'] === true ? EXTERNAL : OFF
  const automatic = matches.some((m) => m.tls && m.match['tlsMode'] === 'istio')
  return automatic ? AUTOMATIC : { why: 'rule', origin }
}

/** Within another socket none is the same as this. */
const RAW: TransportSocket = { name: 'raw_buffer', typed_config: null }

/** All sockets of a cluster have to have the same TLS, or none. */
class SocketMaker {
  tls: UpstreamTls | null
  credentials: readonly Credential[]
  readonly #http: HttpUpstream | null
  readonly #told: Set<ClusterNoun['proxyProtocol']>

  constructor(http: HttpUpstream | null) {
    this.tls = null
    this.credentials = []
    this.#http = http
    this.#told = new Set()
  }

  /** Of all of its sockets. */
  proxyProtocol(findings: Findings): ClusterNoun['proxyProtocol'] {
    const [first = 'none', ...others] = this.#told
    if (others.length > 0)
      findings
        .at('transport_socket_matches')
        .fault('some endpoints of one cluster told of clients, and others not, is not carried out; all alike are')
    return first
  }

  isTls(socket: TransportSocket | null, at: Findings, told: ClusterNoun['proxyProtocol'] = 'none'): boolean {
    const proxied = socket?.typed_config?.typeUrl === typeUrlOf(ProxyProtocolUpstreamTransport)
    const isWrapper = proxied || socket?.typed_config?.typeUrl === typeUrlOf(InternalUpstreamTransport)
    if (!isWrapper && socket !== null) this.#told.add(told)
    if (socket === null) return false
    const packed = socket.typed_config
    if (packed === null) {
      // By name alone, as older control planes do.
      if (!/(^|\.)raw_buffer$/.test(socket.name)) at.fault(`the transport socket ${socket.name} has no typed_config`)
      return false
    }
    switch (packed.typeUrl) {
      case typeUrlOf(RawBuffer):
        return false
      case typeUrlOf(InternalUpstreamTransport): {
        const inner = at.decode(packed.value, InternalUpstreamTransport)
        return this.isTls(inner?.transport_socket ?? RAW, at.at('transport_socket'), told)
      }
      case typeUrlOf(ProxyProtocolUpstreamTransport): {
        const outer = at.decode(packed.value, ProxyProtocolUpstreamTransport)
        const passed = outer?.config?.pass_through_tlvs ?? null
        if (passed !== null) at.at('config').at('pass_through_tlvs').note('further values of the header are not passed on')
        const version = outer?.config?.version === 'V2' ? 'v2' : 'v1'
        return this.isTls(outer?.transport_socket ?? RAW, at.at('transport_socket'), version)
      }
      case typeUrlOf(UpstreamTlsContext): {
        const context = at.decode(packed.value, UpstreamTlsContext)
        if (context !== null) this.#add(context, at)
        return true
      }
      default:
        at.fault(`the transport socket ${socket.name} (${packed.typeUrl}) is not understood`)
        return false
    }
  }

  #add(context: UpstreamTlsContext, at: Findings): void {
    const { tls, credentials } = translateUpstreamTls(context, this.#http, at)
    if (this.tls !== null && JSON.stringify(this.tls) !== JSON.stringify(tls))
      at.fault('endpoints of one cluster with different TLS are not carried out; plaintext and one kind of TLS are')
    this.tls = tls
    this.credentials = credentials
  }
}

/** What heddle offers by itself, by the protocol that it speaks on the connection. */
const OWN_ALPN = new Set([
  'h2',
  'http/1.1',
  'http/1.0',
  'istio',
  'istio-peer-exchange',
  'istio-h2',
  'istio-http/1.0',
  'istio-http/1.1',
])

/** `http`: auto_sni and auto_san_validation. */
export function translateUpstreamTls(
  context: UpstreamTlsContext,
  http: HttpUpstream | null,
  findings: Findings,
): { readonly tls: UpstreamTls; readonly credentials: readonly Credential[] } {
  const common = commonTls(context.common_tls_context, findings)
  if (context.allow_renegotiation) findings.at('allow_renegotiation').note('heddle never renegotiates')
  const { certificate, trust, minVersion, maxVersion, alpn } = common
  if (common.pins !== null) findings.at('common_tls_context').fault('pinned certificates of servers are not carried out')
  const autoSni = http?.auto_sni === true
  if ((http?.override_auto_sni_header ?? '') !== '')
    findings.at('common_tls_context').fault(`the server name is the host, not the header ${http?.override_auto_sni_header}`)
  // Who the server has to be is known only by the request.
  if (http?.auto_san_validation === true && !autoSni)
    findings.fault('auto_san_validation is carried out together with auto_sni only')
  if (context.auto_host_sni)
    findings.at('auto_host_sni').note('the server name is the one of `sni` or of the request, not the name of the endpoint')
  const bySni = context.auto_sni_san_validation
  if (bySni && (context.auto_host_sni || (context.sni === '' && !autoSni)))
    findings.at('auto_sni_san_validation').fault('it is carried out together with `sni` or auto_sni only')
  if (bySni && trust === '')
    findings.at('auto_sni_san_validation').fault('there are no roots that a certificate could be verified with')
  // The server name takes the place of the names.
  const subjectAltNames = !bySni ? common.subjectAltNames : autoSni ? [] : [context.sni]
  const subjectAltNamePrefixes = bySni ? [] : common.subjectAltNamePrefixes
  const anyName = subjectAltNames.length + subjectAltNamePrefixes.length === 0
  if (autoSni && anyName && trust !== '' && trust !== MESH_TRUST && http?.auto_san_validation !== true && !bySni)
    findings.at('sni').note('the certificate has to be for the host of the request all the same')
  return {
    tls: {
      certificate,
      trust,
      // The request's host is asked for instead (Envoy auto_sni).
      sni: autoSni ? '' : context.sni,
      autoSni,
      subjectAltNames,
      subjectAltNamePrefixes,
      alpn: alpn.every((name) => OWN_ALPN.has(name)) ? [] : alpn,
      minVersion,
      maxVersion,
      cipherSuites: common.cipherSuites,
      curves: common.curves,
    },
    credentials: common.credentials,
  }
}
