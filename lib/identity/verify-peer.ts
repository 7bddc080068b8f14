// Who a peer is: X509-SVID validation (X509-SVID.md §5) with the roots of the peer's own trust domain, and secure naming. A pure
// function: the chain, what OpenSSL said of it, the trust store, whom we expect and the time are arguments. It runs once for each
// connection, behind the handshake; TLS has proved then that the peer has the key.
import { certificatesOfPem, chainFault, MAX_CHAIN, openCertificate, type ReadableCertificate } from './chain.ts'
import { leafFaults, type Side } from './leaf-rules.ts'
import { bundleFor, type TrustBundle, type TrustStore, trustedDomains } from './material.ts'
import { type PeerFailure, type PeerFault, peerFailure } from './peer-failure.ts'
import { parseSpiffeId, type SpiffeId, spiffeIdText } from './spiffe-id.ts'
import { type CertificateFacts, readCertificate } from './x509.ts'

/** What the handshake brought. */
export interface PresentedChain {
  /** DER, leaf first, as the peer sent it; certificates behind the tenth are not looked at. Empty: the peer has none. */
  readonly chain: readonly Uint8Array[]
  /** OpenSSL's word for what it found wrong (`authorizationError` of Node), such as CERT_HAS_EXPIRED; '' when it was content. */
  readonly opensslError: string
}

export interface PeerExpectation {
  /** What the peer is in this connection. */
  readonly side: Side
  /** SPIFFE ids of which the peer's must be one, exactly; empty: every identity of a trusted domain. Aliases do not count here. */
  readonly identities: readonly string[]
  /** Beginnings of SPIFFE ids that are as good as one of `identities`. */
  readonly identityPrefixes?: readonly string[]
}

export interface VerifiedPeer {
  /** `spiffe://…`, canonical. */
  readonly identity: string
  readonly id: SpiffeId
  /** Of the leaf: subject, DNS names and validity for headers, logs and `drain-before-expiry`. */
  readonly certificate: CertificateFacts
}

export type PeerVerdict =
  | { readonly ok: true; readonly peer: VerifiedPeer }
  | { readonly ok: false; readonly failure: PeerFailure }

export function verifyPeer(
  presented: PresentedChain,
  store: TrustStore,
  expectation: PeerExpectation,
  nowMs: number,
): PeerVerdict {
  const faults: PeerFault[] = []
  const refused = (): PeerVerdict => ({ ok: false, failure: peerFailure(faults, presented, store, expectation, nowMs) })
  const [leaf] = presented.chain
  if (leaf === undefined) {
    faults.push({ reason: 'no-certificate', words: `the ${expectation.side} presented no certificate` })
    return refused()
  }
  const read = readCertificate(leaf)
  if (!read.ok) {
    faults.push({ reason: 'unreadable-certificate', words: `the certificate cannot be read: ${read.error}` })
    return refused()
  }
  const facts = read.facts
  const id = identityOf(facts, faults)
  if (id !== null) checkTrustDomain(id, presented, store, nowMs, faults)
  for (const words of leafFaults(facts, [expectation.side])) faults.push({ reason: 'unfit-certificate', words })
  checkValidity(facts, nowMs, faults)
  checkOpenssl(presented.opensslError, faults)
  if (id !== null) checkNaming(id, expectation, faults)
  if (id === null || faults.length > 0) return refused()
  return { ok: true, peer: { identity: spiffeIdText(id), id, certificate: facts } }
}

/** X509-SVID.md §2: exactly one URI SAN, and it is the identity. */
function identityOf({ uris }: CertificateFacts, faults: PeerFault[]): SpiffeId | null {
  if (uris.length !== 1) {
    if (uris.length === 0) faults.push({ reason: 'no-identity', words: 'the certificate has no URI SAN, and so no SPIFFE id' })
    else
      faults.push({
        reason: 'several-identities',
        words: `the certificate has ${uris.length} URI SANs, where an SVID has exactly one`,
      })
    return null
  }
  const parsed = parseSpiffeId(uris[0] as string)
  if (!parsed.ok) {
    faults.push({ reason: 'not-a-spiffe-id', words: parsed.error })
    return null
  }
  if (parsed.id.path === '')
    faults.push({ reason: 'no-workload', words: `${spiffeIdText(parsed.id)} names a trust domain, not a workload` })
  return parsed.id
}

/** The bundle of this trust domain and no other (X509-SVID.md §5.2). */
function checkTrustDomain(id: SpiffeId, presented: PresentedChain, store: TrustStore, nowMs: number, faults: PeerFault[]): void {
  const bundle = bundleFor(store, id.trustDomain)
  if (bundle === null) {
    const ours = id.trustDomain === store.trustDomain || store.aliases.includes(id.trustDomain)
    faults.push(
      ours
        ? { reason: 'no-roots', words: `there are no roots yet for the trust domain ${store.trustDomain}` }
        : {
            reason: 'foreign-trust-domain',
            words: `the trust domain ${id.trustDomain} is not one of ${trustedDomains(store).join(', ')}`,
          },
    )
    return
  }
  // With one bundle, OpenSSL had only its roots, and has said what there is to say.
  if (presented.opensslError !== '' || (store.bundles.length === 1 && bundle.rootsPem.length > 0)) return
  const roots = rootsOf(bundle)
  const chain = presented.chain.slice(0, MAX_CHAIN).map((der) => openCertificate(der))
  // What cannot be read does not help; the leaf, which is first, can.
  const usable = chain.filter((c): c is ReadableCertificate => c !== null)
  const fault = chain[0] === null ? 'it cannot be read' : chainFault(usable, roots, nowMs)
  if (fault !== null)
    faults.push({ reason: 'untrusted-chain', words: `the chain does not lead to a root of ${bundle.trustDomain}: ${fault}` })
}

function checkValidity(facts: CertificateFacts, nowMs: number, faults: PeerFault[]): void {
  const { notBeforeMs, notAfterMs } = facts
  if (nowMs < notBeforeMs)
    faults.push({
      reason: 'not-yet-valid',
      words: `the certificate is not valid yet; it will be in ${span(notBeforeMs - nowMs)}`,
    })
  else if (nowMs > notAfterMs)
    faults.push({ reason: 'expired', words: `the certificate expired ${span(nowMs - notAfterMs)} ago` })
}

const EXPIRED = 'CERT_HAS_EXPIRED'
const NOT_YET = 'CERT_NOT_YET_VALID'

function checkOpenssl(error: string, faults: PeerFault[]): void {
  if (error === '') return
  // The same thing is not said twice.
  if (error === EXPIRED && faults.some((f) => f.reason === 'expired')) return
  if (error === NOT_YET && faults.some((f) => f.reason === 'not-yet-valid')) return
  faults.push({ reason: 'untrusted-chain', words: OPENSSL_WORDS[error] ?? `OpenSSL refuses the chain with ${error}` })
}

/** Codes of X509_verify_cert (openssl-verification-options(1)). */
const OPENSSL_WORDS: Readonly<Record<string, string>> = {
  UNABLE_TO_GET_ISSUER_CERT: 'an issuer of the chain is neither in the chain nor among our roots',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the chain leads to an issuer that is not among our roots',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the issuer of the certificate is neither in the chain nor among our roots',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is signed with its own key, and not one of our roots',
  SELF_SIGNED_CERT_IN_CHAIN: 'the chain ends in a root that is not one of ours',
  CERT_SIGNATURE_FAILURE: 'a signature in the chain is wrong: it was made with another key',
  [EXPIRED]: 'a CA in the chain has expired',
  [NOT_YET]: 'a CA in the chain is not valid yet',
  INVALID_CA: 'an issuer in the chain is not a CA',
  INVALID_PURPOSE: 'a certificate in the chain may not be used for this',
  PATH_LENGTH_EXCEEDED: 'the chain has more CAs than one of them allows',
  CERT_CHAIN_TOO_LONG: 'the chain is too long',
  CERT_REVOKED: 'a certificate in the chain is revoked',
}

function checkNaming(id: SpiffeId, { side, identities, identityPrefixes = [] }: PeerExpectation, faults: PeerFault[]): void {
  const seen = spiffeIdText(id)
  if (identities.length + identityPrefixes.length === 0 || identities.includes(seen)) return
  if (identityPrefixes.some((prefix) => seen.startsWith(prefix))) return
  const wanted = [...identities, ...identityPrefixes.map((prefix) => `${prefix}…`)]
  const shown = wanted.length > 5 ? [...wanted.slice(0, 5), `${wanted.length - 5} more`] : wanted
  faults.push({ reason: 'unexpected-identity', words: `the ${side} is ${seen}; expected ${shown.join(' or ')}` })
}

/** Roots are opened once: a bundle is replaced whole. */
const opened = new WeakMap<TrustBundle, readonly ReadableCertificate[]>()

function rootsOf(bundle: TrustBundle): readonly ReadableCertificate[] {
  const known = opened.get(bundle)
  if (known !== undefined) return known
  const roots = bundle.rootsPem.flatMap((pem) => certificatesOfPem(pem) ?? [])
  opened.set(bundle, roots)
  return roots
}

/** `3h12m`, `45s`, `12d4h`: two units are enough for an operator. */
export function span(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const units: readonly (readonly [unit: string, seconds: number])[] = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ]
  const first = units.findIndex(([, size]) => seconds >= size)
  if (first === -1) return 'less than 1s'
  const [unit, size] = units[first] as readonly [string, number]
  const rest = units[first + 1]
  const second = rest === undefined ? 0 : Math.floor((seconds % size) / rest[1])
  return `${Math.floor(seconds / size)}${unit}${second > 0 ? `${second}${rest?.[0]}` : ''}`
}
