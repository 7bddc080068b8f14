// Hot lane: what happens to a request before it is routed: who is asked for (Host), what belongs to the connection only, what an untrusted
// client may not say (Envoy header sanitising), and the path in its one true form.
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import { normalizePathAs } from '../../route/path.ts'
import { takeFromOutside } from './edge-headers.ts'
import type { HttpStream } from './http-stream.ts'
import { takeClient } from './peer-metadata.ts'
import * as R from './reasons.ts'

/** Field names that a Connection header may not take away (Envoy: sanitizeConnectionHeader). */
const PROTECTED_PREFIX = 'x-forwarded-'
const MAX_NOMINATED = 10

/** Prepares the request of `stream` for routing. Null, or why it is refused. */
export function intake(stream: HttpStream, headers: HeaderMap): R.Reason | null {
  if (stream.minor === 0 && !stream.manager.config.settings.http10) return R.LOW_VERSION
  return (
    readConnection(stream, headers) ??
    readHost(stream, headers) ??
    readTarget(stream, headers) ??
    readExpect(stream, headers) ??
    sanitise(stream, headers)
  )
}

function readConnection(stream: HttpStream, headers: HeaderMap): R.Reason | null {
  const first = headers.firstKnown(H.H_CONNECTION)
  if (first < 0) {
    stream.clientKeepsAlive = stream.minor === 1
    if (headers.firstKnown(H.H_UPGRADE) >= 0) headers.removeKnown(H.H_UPGRADE)
    return null
  }
  let value = headers.valueAt(first)
  for (let i = headers.nextKnown(H.H_CONNECTION, first); i >= 0; i = headers.nextKnown(H.H_CONNECTION, i))
    value += `,${headers.valueAt(i)}`
  headers.removeKnown(H.H_CONNECTION)
  // What clients nearly always say.
  if (value === 'keep-alive' || value === 'Keep-Alive') {
    stream.clientKeepsAlive = true
    headers.removeKnown(H.H_UPGRADE)
    return null
  }
  return readConnectionOptions(stream, headers, value)
}

function readConnectionOptions(stream: HttpStream, headers: HeaderMap, value: string): R.Reason | null {
  let close = false
  let keep = false
  let upgrade = false
  let nominated = 0
  for (const word of value.split(',')) {
    const option = word.trim().toLowerCase()
    if (option === '') continue
    if (option === 'close') close = true
    else if (option === 'keep-alive') keep = true
    else if (option === 'upgrade') {
      upgrade = true
      stream.upgradeOption = word.trim()
    } else {
      // Without its length a body would be read as the next request by who comes after us.
      const rejected = option.startsWith(':') || option.startsWith(PROTECTED_PREFIX) || option === 'content-length'
      if (++nominated >= MAX_NOMINATED || rejected) return R.CONNECTION_HEADER_REJECTED
      if (option === 'host') headers.removeKnown(H.H_HOST)
      else if (option !== 'te') headers.remove(option)
    }
  }
  stream.clientKeepsAlive = !close && (stream.minor === 1 || keep)
  // RFC 9110 §7.8: an HTTP/1.0 client's Upgrade is ignored.
  const protocol = upgrade && stream.minor === 1 ? headers.known(H.H_UPGRADE, 'upgrade') : null
  headers.removeKnown(H.H_UPGRADE)
  // h2c is an offer, not a demand: the request is served as it is. Any other protocol is looked at once the route is known.
  if (protocol !== null && protocol.toLowerCase() !== 'h2c') stream.upgrade = protocol
  return null
}

function readTarget(stream: HttpStream, headers: HeaderMap): R.Reason | null {
  let target = stream.target
  if (stream.method === 'CONNECT') {
    stream.authority = target
    stream.path = '/'
    return null
  }
  if (target.charCodeAt(0) !== 0x2f) {
    if (target === '*') {
      stream.path = '*'
      return stream.method === 'OPTIONS' ? R.ASTERISK_TARGET : R.MALFORMED
    }
    const form = /^(https?):\/\/([^/?#]*)(.*)$/i.exec(target)
    if (form === null || form[2] === '' || !isHost(form[2] as string)) return R.MALFORMED
    // RFC 9112 §3.2.2: the authority of an absolute form replaces Host.
    stream.absoluteScheme = (form[1] as string).toLowerCase()
    if (stream.absoluteScheme === 'https' && mustBeTrue(stream)) return R.HTTPS_IN_PLAIN_TEXT
    headers.removeKnown(H.H_HOST)
    headers.append('host', form[2] as string)
    stream.authority = form[2] as string
    target = (form[3] as string).startsWith('/') ? (form[3] as string) : `/${form[3]}`
  }
  return splitTarget(stream, target)
}

/** Nobody in front, and no TLS: a client from outside cannot have asked by https, whatever policies on :scheme make of it (Envoy validate_scheme). */
function mustBeTrue({ manager, session }: HttpStream): boolean {
  const { edge } = manager.config
  return edge !== null && edge.trustedProxies === 0 && session.connection.tls === null
}

function splitTarget(stream: HttpStream, target: string): R.Reason | null {
  const hash = target.indexOf('#')
  const end = hash < 0 ? target.length : hash
  const mark = target.indexOf('?')
  const pathEnd = mark < 0 || mark > end ? end : mark
  stream.query = pathEnd === mark ? target.substring(mark + 1, end) : null
  stream.path = target.substring(0, pathEnd)
  const normal = normalizePathAs(stream.manager.pathNormalization, stream.path)
  if (normal === null) return R.PATH_NOT_NORMAL
  stream.path = normal
  return null
}

function readHost(stream: HttpStream, headers: HeaderMap): R.Reason | null {
  if (stream.method === 'CONNECT') return null
  const { authority } = stream.session
  if (authority !== '') {
    stream.authority = authority
    return isHost(authority) ? null : R.HTTP2_MALFORMED
  }
  const i = headers.firstKnown(H.H_HOST)
  if (i < 0) {
    const first = stream.target.charCodeAt(0)
    // An absolute form names its host itself.
    if (first !== 0x2f && first !== 0x2a) return null
    if (stream.minor === 1) return R.MISSING_HOST
    // HTTP/1.0 clients need not name a host; to an HTTP/1.1 upstream it is said that there is none (RFC 9112 §3.2).
    headers.append('host', '')
    return null
  }
  if (headers.nextKnown(H.H_HOST, i) >= 0) return R.TWO_HOSTS
  const host = headers.valueAt(i)
  stream.authority = host
  return isHost(host) ? null : R.MALFORMED
}

/**
 * Bytes of `uri-host [ ":" port ]` (RFC 9110 §7.2). A comma may stand in a name by its grammar; nobody has such a name, and who joins two Host
 * fields makes one.
 */
const HOST_BYTE = new Uint8Array(256)
for (const c of "-._~!$&'()*+;=%[]:0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") HOST_BYTE[c.charCodeAt(0)] = 1

/** An empty one is: it says that there is none. */
function isHost(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (HOST_BYTE[text.charCodeAt(i)] !== 1) return false
  return true
}

function readExpect(stream: HttpStream, headers: HeaderMap): R.Reason | null {
  const i = headers.firstKnown(H.H_EXPECT)
  if (i < 0) return null
  if (headers.valueAt(i).toLowerCase() !== '100-continue' || headers.nextKnown(H.H_EXPECT, i) >= 0) return R.EXPECTATION_FAILED
  // RFC 9110 §10.1.1: an HTTP/1.0 client's expectation is ignored.
  if (stream.minor === 0) headers.removeKnown(H.H_EXPECT)
  return null
}

function sanitise(stream: HttpStream, headers: HeaderMap): R.Reason | null {
  headers.removeKnown(H.H_KEEP_ALIVE)
  headers.removeKnown(H.H_PROXY_CONNECTION)
  headers.removeKnown(H.H_TRANSFER_ENCODING)
  headers.removeKnown(H.H_HTTP2_SETTINGS)
  forwardClientCertificate(stream, headers)
  headers.removeKnown(H.H_X_ENVOY_INTERNAL)
  headers.removeKnown(H.H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS)
  headers.removeKnown(H.H_X_ENVOY_STRIPPED)
  if (stream.outbound) headers.removeKnown(H.H_X_ENVOY_ATTEMPT_COUNT)
  const te = headers.firstKnown(H.H_TE)
  if (te >= 0) keepTrailersOnly(headers, te)
  const referer = headers.firstKnown(H.H_REFERER)
  if (referer >= 0 && !/^https?:\/\/[^\s]+$/i.test(headers.valueAt(referer))) headers.removeKnown(H.H_REFERER)
  const { edge, settings } = stream.manager.config
  if (edge !== null) takeFromOutside(stream, headers, edge)
  if (settings.peers?.clients === true) takeClient(stream, headers)
  readScheme(stream, headers)
  if (settings.forwardedPort) nameLocalPort(stream, headers)
  if (headers.firstKnown(H.H_X_REQUEST_ID) < 0 && settings.requestIds)
    headers.append('x-request-id', stream.manager.requestIds.create())
  return null
}

/** Envoy append_x_forwarded_port: where the client came to, unless a proxy in front has said it. */
function nameLocalPort({ session }: HttpStream, headers: HeaderMap): void {
  if (headers.get('x-forwarded-port') !== null) return
  const { originalDst, localAddress } = session.connection
  const at = originalDst || localAddress
  headers.append('x-forwarded-port', at.slice(at.lastIndexOf(':') + 1))
}

/** What stands there is believed from nobody who has no certificate (Envoy forward_client_cert_details). */
function forwardClientCertificate(stream: HttpStream, headers: HeaderMap): void {
  const { clientCertificate: mode, settings } = stream.manager.config
  const { tls } = stream.session.connection
  const first = headers.firstKnown(H.H_X_FORWARDED_CLIENT_CERT)
  if (mode === 'always_forward_only') return
  if (mode === 'sanitize' || tls === null || tls.peerCertificate === null) {
    if (first >= 0) headers.removeKnown(H.H_X_FORWARDED_CLIENT_CERT)
    return
  }
  if (mode === 'forward_only') return
  const ours =
    mode === 'identities'
      ? `By=${tls.localIdentity};URI=${tls.peerIdentity}`
      : tls.peerCertificate.forwarded(tls.localIdentity, settings.forwardsCertificate)
  if (first < 0) {
    headers.append('x-forwarded-client-cert', ours)
    return
  }
  let before = ''
  for (let i = first; i >= 0; i = headers.nextKnown(H.H_X_FORWARDED_CLIENT_CERT, i)) before += `${headers.valueAt(i)},`
  headers.removeKnown(H.H_X_FORWARDED_CLIENT_CERT)
  headers.append('x-forwarded-client-cert', mode === 'append_forward' ? before + ours : ours)
}

/**
 * The scheme is what the request says of itself, in :scheme or an absolute form; without that, or when it is none of HTTP, what a proxy in front has noted.
 * x-forwarded-proto is of the connection (Envoy mutateRequestHeaders).
 */
function readScheme(stream: HttpStream, headers: HeaderMap): void {
  const said = stream.absoluteScheme === '' ? stream.session.scheme : stream.absoluteScheme
  const i = headers.firstKnown(H.H_X_FORWARDED_PROTO)
  const { tls } = stream.session.connection
  const encrypted = tls !== null && !tls.tunnel
  if (i < 0) headers.append('x-forwarded-proto', encrypted ? 'https' : 'http')
  if (isScheme(said, 'https')) stream.scheme = 'https'
  else if (isScheme(said, 'http')) stream.scheme = 'http'
  else if (i < 0) stream.scheme = encrypted ? 'https' : 'http'
  else stream.scheme = headers.nextKnown(H.H_X_FORWARDED_PROTO, i) < 0 && isScheme(headers.valueAt(i), 'https') ? 'https' : 'http'
}

function isScheme(text: string, scheme: string): boolean {
  return text === scheme || (text.length === scheme.length && text.toLowerCase() === scheme)
}

/** RFC 9110 §10.1.4: of TE only `trailers` means anything to the next hop. */
function keepTrailersOnly(headers: HeaderMap, first: number): void {
  // What gRPC says with every request.
  if (headers.valueAt(first) === 'trailers' && headers.nextKnown(H.H_TE, first) < 0) return
  let trailers = false
  for (let i = first; i >= 0; i = headers.nextKnown(H.H_TE, i)) {
    if (/(^|,)\s*trailers\s*(,|;|$)/i.test(headers.valueAt(i))) trailers = true
  }
  headers.removeKnown(H.H_TE)
  if (trailers) headers.append('te', 'trailers')
}
