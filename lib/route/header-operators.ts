// Hot lane: what the operators of header values stand for (Envoy substitution formatter), by their names. Text that is not known (yet) is empty, and so is
// what the operator makes of it: in headers Envoy leaves it out where an access log would print `-`.
import type { CertificateFacts } from '../identity/x509.ts'
import { flagsLongText, flagsText } from '../telemetry/response-flags.ts'
import { grpcStatusName } from './grpc-status-names.ts'
import type { HeaderView } from './request-view.ts'
import { timeText } from './time-text.ts'

/** What a handshake said. */
export interface TlsView {
  readonly version: string
  readonly cipher: string
  readonly peerIdentity: string
  readonly localIdentity: string
  /** null: the peer presented none. */
  readonly peerCertificate: CertificateView | null
}

export interface CertificateView {
  /** null: it is not readable. */
  readonly facts: CertificateFacts | null
  /** PEM in URL encoding. */
  readonly pem: string
  /** Hexadecimal. */
  fingerprint(algorithm: 'sha1' | 'sha256'): string
}

/** What operators read. The HTTP stream implements it. */
export interface EditContext {
  readonly method: string
  readonly scheme: string
  readonly authority: string
  /** Path with query as routed: normalised, before rewrites. `%PATH%`. */
  readonly pathWithQuery: string
  /** As it goes to the upstream: after a rewrite, once there was one. `%REQ(:path)%`. */
  readonly sentPath: string
  readonly protocol: string
  /** `ip:port`. Who asks; `…Direct…` the other end of the connection. */
  readonly downstreamRemoteAddress: string
  readonly downstreamDirectRemoteAddress: string
  readonly downstreamLocalAddress: string
  readonly upstreamHost: string
  readonly upstreamCluster: string
  readonly upstreamLocalAddress: string
  readonly upstreamTransportFailureReason: string
  readonly connectionTerminationDetails: string
  readonly requestedServerName: string
  /** null: plaintext. */
  readonly downstreamTls: TlsView | null
  readonly upstreamTls: TlsView | null
  readonly routeName: string
  readonly virtualHostName: string
  /** 0 before the response. */
  readonly responseCode: number
  /** Bits of telemetry/response-flags.ts. */
  readonly responseFlags: number
  readonly responseCodeDetails: string
  /** Negative: none. */
  readonly grpcStatus: number
  /** ms since the epoch. */
  readonly startTimeMs: number
  readonly durationMs: number
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly attempts: number
  /** Name of this machine. */
  readonly hostname: string
  readonly requestHeaders: HeaderView
  /** null while a request is edited. */
  readonly responseHeaders: HeaderView | null
  /** What filters have found out, by their names; null: nothing. */
  readonly metadata: ReadonlyMap<string, Readonly<Record<string, unknown>>> | null
  /** Another one each time. */
  uniqueId(): string
  environment(name: string): string
}

type Reader = (c: EditContext) => string

/** Commands without a parameter. */
export const PLAIN: Readonly<Record<string, Reader>> = {
  PROTOCOL: (c) => c.protocol,
  DOWNSTREAM_REMOTE_ADDRESS: (c) => c.downstreamRemoteAddress,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (c) => ipOf(c.downstreamRemoteAddress),
  DOWNSTREAM_REMOTE_PORT: (c) => portOf(c.downstreamRemoteAddress),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: (c) => c.downstreamDirectRemoteAddress,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: (c) => ipOf(c.downstreamDirectRemoteAddress),
  DOWNSTREAM_DIRECT_REMOTE_PORT: (c) => portOf(c.downstreamDirectRemoteAddress),
  DOWNSTREAM_LOCAL_ADDRESS: (c) => c.downstreamLocalAddress,
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (c) => ipOf(c.downstreamLocalAddress),
  DOWNSTREAM_LOCAL_PORT: (c) => portOf(c.downstreamLocalAddress),
  RESPONSE_CODE: (c) => String(c.responseCode),
  RESPONSE_FLAGS: (c) => flagsText(c.responseFlags),
  RESPONSE_FLAGS_LONG: (c) => flagsLongText(c.responseFlags),
  CONNECTION_TERMINATION_DETAILS: (c) => c.connectionTerminationDetails,
  GRPC_STATUS_NUMBER: (c) => (c.grpcStatus < 0 ? '' : String(c.grpcStatus)),
  UPSTREAM_HOST: (c) => c.upstreamHost,
  UPSTREAM_HOST_NAME: (c) => c.upstreamHost,
  UPSTREAM_HOST_NAME_WITHOUT_PORT: (c) => ipOf(c.upstreamHost),
  UPSTREAM_REMOTE_ADDRESS: (c) => c.upstreamHost,
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (c) => ipOf(c.upstreamHost),
  UPSTREAM_REMOTE_PORT: (c) => portOf(c.upstreamHost),
  UPSTREAM_LOCAL_ADDRESS: (c) => c.upstreamLocalAddress,
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: (c) => ipOf(c.upstreamLocalAddress),
  UPSTREAM_LOCAL_PORT: (c) => portOf(c.upstreamLocalAddress),
  UPSTREAM_CLUSTER: (c) => c.upstreamCluster,
  UPSTREAM_CLUSTER_RAW: (c) => c.upstreamCluster,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (c) => String(c.attempts),
  UPSTREAM_TRANSPORT_FAILURE_REASON: (c) => c.upstreamTransportFailureReason,
  ROUTE_NAME: (c) => c.routeName,
  VIRTUAL_HOST_NAME: (c) => c.virtualHostName,
  HOSTNAME: (c) => c.hostname,
  BYTES_RECEIVED: (c) => String(c.bytesReceived),
  BYTES_SENT: (c) => String(c.bytesSent),
  DURATION: (c) => String(c.durationMs),
  UNIQUE_ID: (c) => c.uniqueId(),
  STREAM_ID: (c) => c.requestHeaders.get('x-request-id') ?? '',
  TRACE_ID: traceIdOf,
  ...ofHandshake('DOWNSTREAM', (c) => c.downstreamTls),
  ...ofHandshake('UPSTREAM', (c) => c.upstreamTls),
}

/** Those of one side. Names of our own certificate that are no SPIFFE id are not at hand here. */
function ofHandshake(side: string, tlsOf: (c: EditContext) => TlsView | null): Record<string, Reader> {
  const peer =
    (read: (certificate: CertificateView) => string): Reader =>
    (c) => {
      const certificate = tlsOf(c)?.peerCertificate ?? null
      return certificate === null ? '' : read(certificate)
    }
  const fact = (read: (facts: CertificateFacts) => string): Reader =>
    peer(({ facts }) => (facts === null ? '' : headerText(read(facts))))
  return {
    [`${side}_PEER_URI_SAN`]: (c) => tlsOf(c)?.peerIdentity || fact((f) => f.uris.join())(c),
    [`${side}_LOCAL_URI_SAN`]: (c) => tlsOf(c)?.localIdentity ?? '',
    [`${side}_TLS_VERSION`]: (c) => tlsOf(c)?.version ?? '',
    [`${side}_TLS_CIPHER`]: (c) => tlsOf(c)?.cipher ?? '',
    [`${side}_PEER_DNS_SAN`]: fact((f) => f.dnsNames.join()),
    [`${side}_PEER_IP_SAN`]: fact((f) => f.ipAddresses.map(ipText).join()),
    [`${side}_PEER_SUBJECT`]: fact((f) => f.subjectRfc2253),
    [`${side}_PEER_ISSUER`]: fact((f) => f.issuerRfc2253),
    [`${side}_PEER_SERIAL`]: fact((f) => f.serial),
    [`${side}_PEER_CERT`]: peer((p) => p.pem),
    [`${side}_PEER_FINGERPRINT_256`]: peer((p) => p.fingerprint('sha256')),
    [`${side}_PEER_FINGERPRINT_1`]: peer((p) => p.fingerprint('sha1')),
  }
}

/** With a parameter, which each reads in its own way. */
export const WITH_PARAMETER: Readonly<Record<string, (c: EditContext, parameter: string) => string>> = {
  RESPONSE_CODE_DETAILS: (c) => c.responseCodeDetails,
  REQUESTED_SERVER_NAME: serverName,
  GRPC_STATUS: (c, form) => (c.grpcStatus < 0 ? '' : grpcStatusName(c.grpcStatus, form)),
  START_TIME: (c, format) => timeText(c.startTimeMs, format),
  START_TIME_LOCAL: (c, format) => timeText(c.startTimeMs, format),
  EMIT_TIME: (c, format) => timeText(c.startTimeMs + c.durationMs, format),
  EMIT_TIME_LOCAL: (c, format) => timeText(c.startTimeMs + c.durationMs, format),
  QUERY_PARAM: queryParameter,
  QUERY_PARAMS: (c) => queryOf(c.pathWithQuery),
  PATH: (c, parameter) => (/^NQ/.test(parameter) ? withoutQuery(c.pathWithQuery) : c.pathWithQuery),
  ENVIRONMENT: (c, name) => c.environment(name),
  DYNAMIC_METADATA: dynamicMetadata,
  FILTER_STATE: (c, parameter) => principal(c, /^[^:]*/.exec(parameter)?.[0] ?? ''),
  PER_REQUEST_STATE: principal,
}

/** Commands that Envoy knows and that say nothing here: what they tell is not measured or kept for headers. */
export const WITHOUT_VALUE: ReadonlySet<string> = new Set([
  ...[
    'ACCESS_LOG_TYPE',
    'BYTES_RETRANSMITTED',
    'PACKETS_RETRANSMITTED',
    'CEL',
    'CLUSTER_METADATA',
    'COMMON_DURATION',
    'CONNECTION_ID',
  ],
  ...[
    'CUSTOM_FLAGS',
    'LISTENER_METADATA',
    'LOCAL_REPLY_BODY',
    'METADATA',
    'ROUTE_METADATA',
    'SPAN_ID',
    'TRAILER',
    'RESPONSE_TRAILER',
  ],
  ...['UPSTREAM_METADATA', 'UPSTREAM_CLUSTER_METADATA', 'VIRTUAL_HOST_METADATA', 'VIRTUAL_CLUSTER_NAME', 'UPSTREAM_FILTER_STATE'],
  ...['REQUEST_DURATION', 'REQUEST_TX_DURATION', 'RESPONSE_DURATION', 'RESPONSE_TX_DURATION', 'ROUNDTRIP_DURATION'],
  ...['FILTER_CHAIN_NAME', 'DOWNSTREAM_HANDSHAKE_DURATION', 'UPSTREAM_CONNECTION_POOL_READY_DURATION'],
  ...['REQUEST_HEADERS_BYTES', 'RESPONSE_HEADERS_BYTES', 'RESPONSE_TRAILERS_BYTES'],
  ...['UPSTREAM_CONNECTION_ID', 'UPSTREAM_PROTOCOL', 'UPSTREAM_HOSTS_ATTEMPTED', 'UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT'],
  ...['UPSTREAM_HOST_NAMES_ATTEMPTED', 'UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT', 'UPSTREAM_CONNECTION_IDS_ATTEMPTED'],
  ...[
    'UPSTREAM_DETECTED_CLOSE_TYPE',
    'UPSTREAM_LOCAL_CLOSE_REASON',
    'DOWNSTREAM_DETECTED_CLOSE_TYPE',
    'DOWNSTREAM_LOCAL_CLOSE_REASON',
  ],
  ...['DOWNSTREAM_TRANSPORT_FAILURE_REASON', 'DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID', 'DOWNSTREAM_REMOTE_ADDRESS_ENDPOINT_ID'],
  ...['DOWNSTREAM_DIRECT_LOCAL_ADDRESS', 'DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT', 'DOWNSTREAM_DIRECT_LOCAL_PORT'],
  ...['DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID', 'UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID', 'UPSTREAM_LOCAL_ADDRESS_ENDPOINT_ID'],
  ...['TLS_JA3_FINGERPRINT', 'TLS_JA4_FINGERPRINT', 'DOWNSTREAM_PEER_CERT_V_START', 'DOWNSTREAM_PEER_CERT_V_END'],
  ...['DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1', 'DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256', 'DOWNSTREAM_PEER_CHAIN_SERIALS'],
  ...['DOWNSTREAM', 'UPSTREAM'].flatMap((side) => [
    ...['WIRE', 'HEADER', 'DECOMPRESSED_HEADER'].flatMap((what) => [
      `${side}_${what}_BYTES_SENT`,
      `${side}_${what}_BYTES_RECEIVED`,
    ]),
    ...['LOCAL_DNS_SAN', 'LOCAL_IP_SAN', 'LOCAL_EMAIL_SAN', 'LOCAL_OTHERNAME_SAN', 'LOCAL_SUBJECT', 'PEER_EMAIL_SAN'].map(
      (what) => `${side}_${what}`,
    ),
    ...['PEER_OTHERNAME_SAN', 'TLS_SESSION_ID'].map((what) => `${side}_${what}`),
  ]),
])

/** Of bytes that may be in a certificate and may not be in a header. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

/** Of 8 or 32 hexadecimal digits. */
function ipText(hex: string): string {
  const words = hex.match(/.{1,4}/g) ?? []
  if (hex.length !== 8) return words.map((w) => Number.parseInt(w, 16).toString(16)).join(':')
  return (hex.match(/../g) ?? []).map((b) => Number.parseInt(b, 16)).join('.')
}

function traceIdOf({ requestHeaders }: EditContext): string {
  const parent = requestHeaders.get('traceparent')
  return parent === null ? (requestHeaders.get('x-b3-traceid') ?? '') : (parent.split('-')[1] ?? '')
}

/** What this proxy knows of filter state: who both ends are (Istio's keys). */
function principal(c: EditContext, key: string): string {
  if (key === 'io.istio.peer_principal') return c.downstreamTls?.peerIdentity ?? ''
  return key === 'io.istio.local_principal' ? (c.downstreamTls?.localIdentity ?? '') : ''
}

/** `SNI_ONLY` (also without one), `SNI_FIRST`, `HOST_FIRST`, each with `:ORIG`. */
function serverName(c: EditContext, parameter: string): string {
  const host = () => c.authority.replace(/:\d+$/, '')
  if (parameter.startsWith('HOST_FIRST')) return host() || c.requestedServerName
  return c.requestedServerName || (parameter.startsWith('SNI_FIRST') ? host() : '')
}

/** `NAMESPACE:KEY:KEY`, or as older routes write it `["NAMESPACE", "KEY"]`. */
function dynamicMetadata(c: EditContext, parameter: string): string {
  const quoted = parameter.startsWith('[')
  const path = quoted ? (parameter.match(/[^[\]",\s]+/g) ?? []) : parameter.split(':')
  let at: unknown = c.metadata?.get(path[0] ?? '')
  for (const key of path.slice(1)) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return ''
    at = (at as Readonly<Record<string, unknown>>)[key]
  }
  if (at === undefined || at === null) return ''
  return headerText(typeof at === 'string' ? at : JSON.stringify(at))
}

function queryOf(path: string): string {
  const mark = path.indexOf('?')
  return mark < 0 ? '' : path.substring(mark + 1)
}

function withoutQuery(path: string): string {
  const mark = path.indexOf('?')
  return mark < 0 ? path : path.substring(0, mark)
}

/** The first of its name, as it stands there. */
function queryParameter(c: EditContext, name: string): string {
  for (const pair of queryOf(c.pathWithQuery).split('&')) {
    const sign = pair.indexOf('=')
    if ((sign < 0 ? pair : pair.substring(0, sign)) === name) return sign < 0 ? '' : pair.substring(sign + 1)
  }
  return ''
}

/** `ip` of `ip:port`; brackets of IPv6 go too. */
function ipOf(address: string): string {
  const colon = address.lastIndexOf(':')
  const ip = colon < 0 ? address : address.substring(0, colon)
  return ip.startsWith('[') ? ip.substring(1, ip.length - 1) : ip
}

function portOf(address: string): string {
  return address.substring(address.lastIndexOf(':') + 1)
}
