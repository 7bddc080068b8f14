// Where certificates come from. A source signs what it is asked to sign (a CA), or delivers what somebody else decided (files, the
// Workload API). Neither is believed: the CertificateManager checks what comes, keeps what is good, and decides when to ask again.
import type { TrustBundle } from '../material.ts'

export type CertificateSource = SigningSource | DeliveringSource

/** A CA: the manager makes the key, asks, and renews in time. */
export interface SigningSource {
  readonly kind: 'signs'
  /** For messages: `Istio CA istiod.istio-system.svc:15012`. */
  readonly name: string
  /** One try. Rejects with SourceError, also when `signal` ends it; when to try again is the manager's affair. */
  sign(request: SigningRequest, signal: AbortSignal): Promise<SignedCertificate>
  /** Ends connections. Calls in flight reject. */
  close(): void
}

export interface SigningRequest {
  /** `spiffe://…`, canonical; also the one SAN of the CSR. */
  readonly identity: string
  /** PKCS#10, PEM, signed with a key that only the manager has. */
  readonly csrPem: string
  /** Wished for; the CA may give less. */
  readonly ttlMs: number
}

export interface SignedCertificate {
  /** Leaf first, then intermediates. A root at the end does no harm. */
  readonly certificateChainPem: string
  /** The roots of the identity's trust domain, one or several certificates in each. */
  readonly rootsPem: readonly string[]
}

/** Files, or the Workload API: certificates arrive with their keys, when the source thinks fit. */
export interface DeliveringSource {
  readonly kind: 'delivers'
  /** For messages: `files in /etc/certs`. */
  readonly name: string
  /** Called once. Goes on until `close`, whatever happens to the other end. */
  start(sink: DeliverySink): void
  close(): void
}

export interface DeliverySink {
  /** The whole state: what is not in it any more was withdrawn. */
  deliver(state: Delivery): void
  /** For the log and the admin page. What was delivered stays in force. */
  failed(error: SourceError): void
}

export interface Delivery {
  /** The first is the workload's own unless configuration names another. */
  readonly certificates: readonly DeliveredCertificate[]
  /** All that this source knows of, the own trust domain's among them. */
  readonly bundles: readonly TrustBundle[]
}

export interface DeliveredCertificate {
  /** Leaf first, then intermediates. */
  readonly certificateChainPem: string
  /** PKCS#8, PKCS#1 or SEC1, without a passphrase. */
  readonly privateKeyPem: string
}

/**
 * `unavailable`: nobody answers, or not now. `refused`: the other end answered no. `invalid`: what came cannot be used. All are tried
 * again with back-off; the difference is for who reads the message.
 */
export type SourceErrorKind = 'unavailable' | 'refused' | 'invalid'

export class SourceError extends Error {
  readonly kind: SourceErrorKind

  /** `message` names the source, what was tried and what came of it; never a token or a key. */
  constructor(kind: SourceErrorKind, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SourceError'
    this.kind = kind
  }
}
