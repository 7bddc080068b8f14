// A handshake that did not come about, in words: what the alert of the other side or OpenSSL's error means, and what is known of it.
import type tls from 'node:tls'
import { isoTime, pemBlocks } from '../identity/chain.ts'
import type { PeerFailure } from '../identity/peer-failure.ts'
import { printable } from '../identity/printable.ts'
import { readCertificate } from '../identity/x509.ts'
import type { HandshakeFailure } from './handshake.ts'

/** RFC 8446 §6.2: what the peer says it does not like about us. */
const ALERTS: Readonly<Record<number, string>> = {
  40: 'handshake_failure: no version, cipher or signature that both sides accept',
  42: 'bad_certificate: our certificate is not what the peer accepts',
  43: 'unsupported_certificate',
  44: 'certificate_revoked: our certificate was revoked',
  45: 'certificate_expired: our certificate has expired by the peer’s clock',
  46: 'certificate_unknown: the peer does not accept our certificate',
  48: 'unknown_ca: our certificate is of a CA that the peer does not trust',
  49: 'access_denied',
  70: 'protocol_version: the peer does not speak our TLS versions',
  71: 'insufficient_security',
  80: 'internal_error',
  112: 'unrecognized_name: the peer does not serve the name that was asked for',
  116: 'certificate_required: the peer wants a client certificate and got none',
  120: 'no_application_protocol: none of the offered protocols is spoken',
}

/** What the other side did to a handshake. */
const OPENSSL: Readonly<Record<string, readonly [reason: string, text: string]>> = {
  ERR_SSL_WRONG_VERSION_NUMBER: ['plaintext', 'the peer does not speak TLS here: its first bytes are not a TLS record'],
  ERR_SSL_HTTP_REQUEST: ['plaintext', 'the peer speaks plaintext HTTP to a TLS port'],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ['plaintext', 'the peer does not speak TLS here: its first bytes are not a TLS record'],
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: ['no_certificate', 'the client presented no certificate, and one is required'],
  ERR_SSL_NO_SHARED_CIPHER: ['protocol', 'the client offers no cipher that is accepted here'],
  ERR_SSL_UNSUPPORTED_PROTOCOL: ['protocol', 'the peer speaks only versions of TLS that are not accepted here'],
  ERR_SSL_NO_PROTOCOLS_AVAILABLE: ['protocol', 'the two sides have no version of TLS in common'],
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: ['protocol', 'none of the offered application protocols (ALPN) is spoken here'],
  ECONNRESET: ['closed', 'the peer closed the connection in the middle of the handshake'],
  EPIPE: ['closed', 'the peer closed the connection in the middle of the handshake'],
}

/** The peer's alert, by name and meaning; empty: it is none. */
function alertOf(error: NodeJS.ErrnoException | null): string {
  const number = /alert number (\d+)/i.exec(error?.message ?? '')
  return number === null ? '' : (ALERTS[Number(number[1])] ?? `alert ${number[1]}`)
}

/** Node's message of an error of OpenSSL is a line of its source. */
function wordsOf(error: (NodeJS.ErrnoException & { readonly reason?: string }) | null): string {
  return error === null ? 'the handshake failed' : (error.reason ?? error.message)
}

/** Of an `error` event, or of a close without one. */
export function failureOfError(error: NodeJS.ErrnoException | null, details: Readonly<Record<string, string>>): HandshakeFailure {
  const code = error === null ? 'ECONNRESET' : (error.code ?? '')
  const name = alertOf(error)
  if (name !== '') {
    return { reason: 'alert', text: `the peer ended the handshake with ${name}`, details: { ...details, alert: name } }
  }
  const known = OPENSSL[code]
  if (known !== undefined) return { reason: known[0], text: known[1], details }
  return { reason: 'protocol', text: wordsOf(error), details }
}

/** Of a client that did not finish. Some go without an alert once they have seen a certificate that they do not like. `shown`: it has seen ours. */
export function failureOfServer(
  error: NodeJS.ErrnoException | null,
  presented: string,
  shown: boolean,
  details: Readonly<Record<string, string>>,
): HandshakeFailure {
  const failure = failureOfError(error, { ...details, presented })
  if (failure.reason !== 'closed' || !shown) return failure
  return { ...failure, text: `${failure.text}: it has probably refused our certificate; ${weShowed(presented)}` }
}

/**
 * Of an error on a connection whose handshake was done: in TLS 1.3 a client is done before the server has looked at its certificate, and hears of a
 * refusal behind that. null: it is not TLS that says so.
 */
export function failureOfLateError(
  error: NodeJS.ErrnoException,
  presented: string,
  details: Readonly<Record<string, string>>,
): HandshakeFailure | null {
  const name = alertOf(error)
  const all = { ...details, presented: presented === '' ? 'none' : presented }
  if (name !== '')
    return {
      reason: 'alert',
      text: `the peer ended the connection with ${name}; ${weShowed(presented)}`,
      details: { ...all, alert: name },
    }
  if (error.code?.startsWith('ERR_SSL_') !== true) return null
  return { reason: 'protocol', text: OPENSSL[error.code]?.[1] ?? wordsOf(error), details: all }
}

/** Of a connection that the peer ended right behind the handshake, before it sent a byte. Some say no alert when they refuse a certificate. */
export function failureOfSilence(presented: string, details: Readonly<Record<string, string>>): HandshakeFailure {
  const probably = presented === '' ? 'it probably wants a certificate' : 'it has probably refused our certificate'
  return {
    reason: 'closed_behind_handshake',
    text: `the peer closed right behind the handshake without a byte: ${probably}; ${weShowed(presented)}`,
    details: { ...details, presented: presented === '' ? 'none' : presented },
  }
}

function weShowed(presented: string): string {
  return presented === '' ? 'we presented none' : `we presented ${presented}`
}

/** Our certificate as peers see it. `text`: `spiffe://…, valid to 2026-11-22T16:00:00Z, of O=cluster.local`; empty: it cannot be read. */
export function presentedOf(chainPem: string): { readonly text: string; readonly notAfterMs: number } {
  const [leaf] = pemBlocks(chainPem)
  const read = leaf === undefined ? null : readCertificate(leaf)
  if (read === null || !read.ok) return { text: '', notAfterMs: Number.POSITIVE_INFINITY }
  const { uris, dnsNames, subject, issuer, notAfterMs } = read.facts
  const name = uris[0] ?? dnsNames[0] ?? subject
  const text = `${printable(name, 300)}, valid to ${isoTime(notAfterMs)}${issuer === '' ? '' : `, of ${printable(issuer)}`}`
  return { text, notAfterMs }
}

/** Of a certificate that is not believed. */
export function failureOfPeer(failure: PeerFailure, details: Readonly<Record<string, string>>): HandshakeFailure {
  const leaf = failure.chain[0]
  const more: Record<string, string> = { ...details }
  if (leaf !== undefined) {
    more['peer'] = failure.chain
      .map((c) => `${c.subject === '' ? '(no subject)' : c.subject} [${c.sans.join(', ')}]`)
      .join(' <- ')
    more['validity'] = `${leaf.notBefore} to ${leaf.notAfter}, now ${failure.now}`
  }
  more['trusted_domains'] = failure.trustDomains.join(', ')
  if (failure.seenTrustDomain !== '') more['seen_trust_domain'] = failure.seenTrustDomain
  if (failure.expectedIdentities.length > 0) more['expected'] = failure.expectedIdentities.slice(0, 5).join(', ')
  if (failure.seenIdentities.length > 0) more['seen'] = failure.seenIdentities.join(', ')
  return { reason: failure.reason.replaceAll('-', '_'), text: failure.message, details: more }
}

/** What a socket knows of its handshake, as far as that got. */
export function detailsOf(socket: tls.TLSSocket, sni: string): Record<string, string> {
  const details: Record<string, string> = {}
  if (sni !== '') details['sni'] = sni
  const alpn = socket.alpnProtocol
  if (typeof alpn === 'string' && alpn !== '') details['alpn'] = alpn
  return details
}
