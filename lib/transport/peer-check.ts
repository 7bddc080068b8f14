// Who the other side of a finished handshake is. OpenSSL has verified its chain without ending the handshake for it, so that we can say what is
// wrong; nothing is sent or taken before the verdict. A leaf that was believed once is believed again until secrets change, its validity apart:
// the handshake proves each time that the peer has its key.
import { createHash, type X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type tls from 'node:tls'
import type { TrustStore } from '../identity/material.ts'
import { type PeerExpectation, verifyPeer } from '../identity/verify-peer.ts'
import { readCertificate } from '../identity/x509.ts'
import type { CertificatePins, UpstreamTls } from '../state/tls.ts'
import type { HandshakeFailure } from './handshake.ts'
import { failureOfPeer } from './handshake-failure.ts'
import { PeerCertificate } from './peer-certificate.ts'

/** Who a peer is; `identity` is empty where it has to be none (other trust than the mesh's). */
export interface CheckedPeer {
  readonly identity: string
  readonly certificate: PeerCertificate | null
  /** Of the certificate, epoch ms. */
  readonly notAfterMs: number
}

/** A peer that has not to be anybody. */
export const ANYBODY: CheckedPeer = { identity: '', certificate: null, notAfterMs: Number.POSITIVE_INFINITY }

export type PeerCheck =
  | { readonly ok: true; readonly peer: CheckedPeer }
  | { readonly ok: false; readonly failure: HandshakeFailure }

/** Leaves that are remembered. */
const MAX_REMEMBERED = 4096
/** More certificates than any chain of ours may have: the check says that it is too long. */
const MAX_PRESENTED = 12

interface TlsHandle {
  /** Node: what OpenSSL found wrong with the peer's chain. */
  verifyError?(): NodeJS.ErrnoException | null | undefined
}

/** OpenSSL's word; empty: it was content. Fails closed where Node does not say. */
export function opensslErrorOf(socket: tls.TLSSocket): string {
  const handle = (socket as unknown as { readonly _handle: TlsHandle | null })._handle
  if (handle === null || typeof handle.verifyError !== 'function') return 'UNSPECIFIED'
  const error = handle.verifyError()
  return error === null || error === undefined ? '' : (error.code ?? error.message)
}

/** DER, leaf first. Node gives a client its chain once only, so it is asked for in one place. A resumed session has the leaf at most. */
export function presentedChain(socket: tls.TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  for (
    let next = socket.getPeerX509Certificate();
    next !== undefined && chain.length < MAX_PRESENTED;
    next = next.issuerCertificate
  )
    chain.push(next.raw)
  return chain
}

interface Remembered {
  readonly peer: CheckedPeer
  readonly notBeforeMs: number
}

/** Peers of the mesh: SPIFFE ids, by the bundle of their trust domain. One for each trust store and expectation. */
export class MeshPeers {
  private readonly trust: TrustStore
  private readonly expectation: PeerExpectation
  private readonly remembered: Map<string, Remembered>

  constructor(trust: TrustStore, expectation: PeerExpectation) {
    this.trust = trust
    this.expectation = expectation
    this.remembered = new Map()
  }

  check(socket: tls.TLSSocket, nowMs: number, details: Readonly<Record<string, string>>): PeerCheck {
    const chain = presentedChain(socket)
    const leaf = chain[0] ?? null
    const opensslError = opensslErrorOf(socket)
    const key = leaf === null ? '' : sha256(leaf)
    const known = leaf === null || opensslError !== '' ? undefined : this.remembered.get(key)
    if (known !== undefined && nowMs >= known.notBeforeMs && nowMs <= known.peer.notAfterMs) return { ok: true, peer: known.peer }
    const verdict = verifyPeer({ chain, opensslError }, this.trust, this.expectation, nowMs)
    if (!verdict.ok) return { ok: false, failure: failureOfPeer(verdict.failure, details) }
    const { identity, certificate } = verdict.peer
    const { notBeforeMs, notAfterMs } = certificate
    const peer = { identity, certificate: leaf === null ? null : new PeerCertificate(leaf, notAfterMs), notAfterMs }
    if (this.remembered.size >= MAX_REMEMBERED) this.remembered.clear()
    this.remembered.set(key, { peer, notBeforeMs })
    return { ok: true, peer }
  }
}

type ExpectedNames = Pick<UpstreamTls, 'subjectAltNames' | 'subjectAltNamePrefixes'>

/** Peers by a chain to given roots and one of given names. */
export function checkByNames(
  socket: tls.TLSSocket,
  { subjectAltNames: names, subjectAltNamePrefixes: prefixes }: ExpectedNames,
  host: string,
  details: Readonly<Record<string, string>>,
): PeerCheck {
  const opensslError = opensslErrorOf(socket)
  const certificate = socket.getPeerX509Certificate()
  const refused = (reason: string, text: string, more: Readonly<Record<string, string>>): PeerCheck => ({
    ok: false,
    failure: { reason, text, details: { ...details, ...more } },
  })
  if (certificate === undefined) return refused('no_certificate', 'the peer presented no certificate', {})
  const seen = (certificate.subjectAltName ?? '').slice(0, 1000)
  const about = {
    peer: `${subjectOf(certificate)} [${seen}]`,
    validity: `${certificate.validFrom} to ${certificate.validTo}`,
  }
  if (opensslError !== '') return refused('untrusted_chain', `the peer's chain is refused: ${opensslError}`, about)
  const wanted = names.length + prefixes.length > 0 ? names : host === '' ? [] : [host]
  const shown = [...wanted, ...prefixes.map((prefix) => `${prefix}…`)]
  const isNamed = wanted.some((name) => hasName(certificate, name)) || prefixes.some((p) => hasPrefix(certificate, p))
  if (shown.length > 0 && !isNamed)
    return refused('unexpected_identity', `the peer's certificate is not for ${shown.join(' or ')}`, {
      ...about,
      expected: shown.join(', '),
      seen,
    })
  const notAfterMs = Date.parse(certificate.validTo)
  return { ok: true, peer: { identity: '', certificate: new PeerCertificate(certificate.raw, notAfterMs), notAfterMs } }
}

/** Of a peer that is believed otherwise: whether its own certificate is one of those that are written down. */
export function checkPins(
  socket: tls.TLSSocket,
  { keys, certificates }: CertificatePins,
  believed: PeerCheck,
  details: Readonly<Record<string, string>>,
): PeerCheck {
  const certificate = socket.getPeerX509Certificate()
  const hash = certificate === undefined ? '' : certificate.fingerprint256.replaceAll(':', '').toLowerCase()
  const key = certificate === undefined ? '' : sha256(certificate.publicKey.export({ type: 'spki', format: 'der' }))
  if (certificates.includes(hash) || keys.includes(key)) return believed
  const text = `the peer's certificate is none of those that are pinned: its hash is ${hash}, that of its key ${key}`
  return { ok: false, failure: { reason: 'not_pinned', text, details } }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64')
}

function hasPrefix(certificate: X509Certificate, prefix: string): boolean {
  const facts = readCertificate(certificate.raw)
  return facts.ok && facts.facts.uris.some((uri) => uri.startsWith(prefix))
}

/** Node says undefined of a subject that is empty, whatever its types say; who is known by its alternative names alone has such a one. */
function subjectOf({ subject }: { readonly subject: string | undefined }): string {
  return subject === undefined || subject === '' ? '(no subject)' : subject.replaceAll('\n', ', ')
}

/** URI names are compared as they are, host names and addresses by RFC 9525. */
function hasName(certificate: X509Certificate, name: string): boolean {
  if (name.includes('://')) {
    const facts = readCertificate(certificate.raw)
    return facts.ok && facts.facts.uris.includes(name)
  }
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined
  return certificate.checkHost(name, { subject: 'never' }) !== undefined
}
