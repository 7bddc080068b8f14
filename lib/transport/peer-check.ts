// Who the other side of a finished handshake is. OpenSSL has verified its chain without ending the handshake for it, so that we can say what is
// wrong; nothing is sent or taken before the verdict. A leaf that was believed once is believed again until secrets change, its validity apart:
// the handshake proves each time that the peer has its key.
import { createHash } from 'node:crypto'
import tls from 'node:tls'
import type { TrustStore } from '../identity/material.ts'
import { type PeerExpectation, verifyPeer } from '../identity/verify-peer.ts'
import type { HandshakeFailure } from './handshake.ts'
import { failureOfPeer } from './handshake-failure.ts'

/** Who a peer is; `identity` is empty where it has to be none (other trust than the mesh's). */
export interface CheckedPeer {
  readonly identity: string
  readonly certificate: Uint8Array | null
}

export type PeerCheck =
  | { readonly ok: true; readonly peer: CheckedPeer }
  | { readonly ok: false; readonly failure: HandshakeFailure }

/** Leaves that are remembered. */
const MAX_REMEMBERED = 4096

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

/** DER, leaf first. */
export function presentedChain(socket: tls.TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  let next: tls.DetailedPeerCertificate | undefined = socket.getPeerCertificate(true)
  // A root is its own issuer.
  while (next?.raw !== undefined && chain.length < 12) {
    chain.push(next.raw)
    if (next.issuerCertificate === next) break
    next = next.issuerCertificate
  }
  return chain
}

interface Remembered {
  readonly identity: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
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
    const leaf = socket.getPeerX509Certificate()?.raw ?? null
    const opensslError = opensslErrorOf(socket)
    const key = leaf === null ? '' : createHash('sha256').update(leaf).digest('base64')
    const known = this.remembered.get(key)
    if (known !== undefined && leaf !== null && opensslError === '' && nowMs >= known.notBeforeMs && nowMs <= known.notAfterMs)
      return { ok: true, peer: { identity: known.identity, certificate: leaf } }
    const verdict = verifyPeer({ chain: presentedChain(socket), opensslError }, this.trust, this.expectation, nowMs)
    if (!verdict.ok) return { ok: false, failure: failureOfPeer(verdict.failure, details) }
    const { identity, certificate } = verdict.peer
    if (this.remembered.size >= MAX_REMEMBERED) this.remembered.clear()
    this.remembered.set(key, { identity, notBeforeMs: certificate.notBeforeMs, notAfterMs: certificate.notAfterMs })
    return { ok: true, peer: { identity, certificate: leaf } }
  }
}

/** Peers by a chain to given roots and one of given names. */
export function checkByNames(
  socket: tls.TLSSocket,
  names: readonly string[],
  host: string,
  details: Readonly<Record<string, string>>,
): PeerCheck {
  const opensslError = opensslErrorOf(socket)
  const certificate = socket.getPeerX509Certificate()
  const refused = (reason: string, text: string): PeerCheck => ({ ok: false, failure: { reason, text, details } })
  if (certificate === undefined) return refused('no_certificate', 'the peer presented no certificate')
  const seen = (certificate.subjectAltName ?? certificate.subject).replaceAll('\n', ', ')
  const about = { ...details, peer: `${certificate.subject.replaceAll('\n', ', ')} [${seen}]`, validity: `${certificate.validFrom} to ${certificate.validTo}` }
  if (opensslError !== '') return { ok: false, failure: { reason: 'untrusted_chain', text: `the peer's chain is refused: ${opensslError}`, details: about } }
  const names_ = names.length > 0 ? names : host === '' ? [] : [host]
  if (names_.length > 0 && !names_.some((name) => hasName(socket, name)))
    return { ok: false, failure: { reason: 'unexpected_identity', text: `the peer's certificate is not for ${names_.join(' or ')}`, details: { ...about, expected: names_.join(', '), seen } } }
  return { ok: true, peer: { identity: '', certificate: certificate.raw } }
}

function hasName(socket: tls.TLSSocket, name: string): boolean {
  const certificate = socket.getPeerCertificate(false)
  if (name.includes('://')) return (certificate.subjectaltname ?? '').split(', ').includes(`URI:${name}`)
  return tls.checkServerIdentity(name, certificate) === undefined
}
