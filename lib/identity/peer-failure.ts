// The record of a peer that is not believed: what was wrong, in words, and all that an operator compares it with.
import { isoTime, MAX_CHAIN } from './chain.ts'
import { type TrustStore, trustedDomains } from './material.ts'
import { printable } from './printable.ts'
import { parseSpiffeId } from './spiffe-id.ts'
import type { PeerExpectation, PresentedChain } from './verify-peer.ts'
import { type CertificateFacts, readCertificate } from './x509.ts'

/** Stable words, for logs and metrics. */
export type PeerFailureReason =
  | 'no-certificate'
  | 'unreadable-certificate'
  | 'no-identity'
  | 'several-identities'
  | 'not-a-spiffe-id'
  | 'no-workload'
  | 'foreign-trust-domain'
  | 'no-roots'
  | 'unfit-certificate'
  | 'not-yet-valid'
  | 'expired'
  | 'untrusted-chain'
  | 'unexpected-identity'

export interface PeerFault {
  readonly reason: PeerFailureReason
  /** A clause without capital and full stop. */
  readonly words: string
}

/** One certificate of the chain as it was presented. */
export interface PresentedCertificate {
  readonly subject: string
  readonly issuer: string
  readonly serial: string
  /** `URI:spiffe://…`, `DNS:…`. */
  readonly sans: readonly string[]
  /** `2026-03-01T12:00:00Z`; '' when the certificate cannot be read. */
  readonly notBefore: string
  readonly notAfter: string
}

export interface PeerFailure {
  /** Of the first fault. */
  readonly reason: PeerFailureReason
  /** All faults as one line. */
  readonly message: string
  readonly faults: readonly PeerFault[]
  /** '' when OpenSSL was content. */
  readonly opensslError: string
  readonly chain: readonly PresentedCertificate[]
  /** Our clock, with which validity was compared: `2026-03-01T12:00:00Z`. */
  readonly now: string
  /** Trust domains whose peers are let in. */
  readonly trustDomains: readonly string[]
  /** Of the peer; '' when its certificate names none. */
  readonly seenTrustDomain: string
  /** Empty: any of the trusted domains. */
  readonly expectedIdentities: readonly string[]
  /** All URI SANs of the peer's certificate. */
  readonly seenIdentities: readonly string[]
}

const UNREADABLE: PresentedCertificate = {
  subject: '(unreadable)',
  issuer: '',
  serial: '',
  sans: [],
  notBefore: '',
  notAfter: '',
}
/** A certificate may have thousands of names. */
const MAX_SANS = 20

export function peerFailure(
  faults: readonly PeerFault[],
  presented: PresentedChain,
  store: TrustStore,
  expectation: PeerExpectation,
  nowMs: number,
): PeerFailure {
  const certificates = presented.chain.slice(0, MAX_CHAIN).map((der) => readCertificate(der))
  const leaf = certificates[0]?.ok === true ? certificates[0].facts : null
  const seen = leaf?.uris.slice(0, MAX_SANS).map((uri) => printable(uri, 300)) ?? []
  const parsed = leaf?.uris.map((uri) => parseSpiffeId(uri)).find((p) => p.ok)
  return {
    reason: (faults[0] as PeerFault).reason,
    message: faults.map((f) => f.words).join('; '),
    faults,
    opensslError: presented.opensslError,
    chain: certificates.map((c) => (c.ok ? shown(c.facts) : UNREADABLE)),
    now: isoTime(nowMs),
    trustDomains: trustedDomains(store),
    seenTrustDomain: parsed?.ok === true ? parsed.id.trustDomain : '',
    expectedIdentities: [...expectation.identities, ...(expectation.identityPrefixes ?? []).map((p) => `${p}…`)],
    seenIdentities: seen,
  }
}

function shown(facts: CertificateFacts): PresentedCertificate {
  const sans = [
    ...facts.uris.map((uri) => `URI:${printable(uri, 300)}`),
    ...facts.dnsNames.map((name) => `DNS:${printable(name, 300)}`),
    ...facts.ipAddresses.map((hex) => `IP:${ipText(hex)}`),
  ]
  return {
    subject: facts.subject,
    issuer: facts.issuer,
    serial: facts.serial,
    sans: sans.length > MAX_SANS ? [...sans.slice(0, MAX_SANS), `${sans.length - MAX_SANS} more`] : sans,
    notBefore: isoTime(facts.notBeforeMs),
    notAfter: isoTime(facts.notAfterMs),
  }
}

function ipText(hex: string): string {
  if (hex.length === 8) return (hex.match(/../g) as string[]).map((byte) => Number.parseInt(byte, 16)).join('.')
  return hex.length === 32 ? (hex.match(/.{4}/g) as string[]).join(':') : hex
}
