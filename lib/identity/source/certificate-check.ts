// Whether what a source gave may be used: no source is believed. A certificate that our peers would refuse must not replace a good one.
import type { KeyObject } from 'node:crypto'
import { certificatesOfPem, chainFault, isoTime, type ReadableCertificate } from '../chain.ts'
import { leafFaults } from '../leaf-rules.ts'
import { parseSpiffeId, spiffeIdText } from '../spiffe-id.ts'
import { publicKeyDer } from './private-key.ts'

export interface CertificateToCheck {
  /** Leaf first. */
  readonly certificateChainPem: string
  /** The key that must be in the leaf; of a private key: the public one that belongs to it. */
  readonly key: KeyObject
  /** Of the trust domain of the leaf. */
  readonly rootsPem: readonly string[]
  /** Null: any, of `trustDomain`. */
  readonly expectedIdentity: string | null
  readonly trustDomain: string
  readonly nowMs: number
}

export interface CheckedCertificate {
  /** Canonical. */
  readonly identity: string
  /** Leaf and intermediates, without roots, newly written. */
  readonly certificateChainPem: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export type CheckResult =
  | { readonly ok: true; readonly certificate: CheckedCertificate }
  /** A clause: `the certificate expired at …`. */
  | { readonly ok: false; readonly error: string }

export function checkCertificate(given: CertificateToCheck): CheckResult {
  const wrong = (error: string): CheckResult => ({ ok: false, error })
  const chain = certificatesOfPem(given.certificateChainPem)
  if (chain === null) return wrong('a certificate of the chain cannot be read')
  const [leaf] = chain
  if (leaf === undefined) return wrong('there is no PEM certificate')
  const { facts } = leaf
  if (facts.uris.length !== 1) return wrong(`the certificate has ${facts.uris.length} URI SANs, where an SVID has exactly one`)
  const parsed = parseSpiffeId(facts.uris[0] as string)
  if (!parsed.ok) return wrong(parsed.error)
  const identity = spiffeIdText(parsed.id)
  if (given.expectedIdentity !== null && identity !== given.expectedIdentity)
    return wrong(`the certificate is for ${identity}; asked was for ${given.expectedIdentity}`)
  if (parsed.id.trustDomain !== given.trustDomain)
    return wrong(
      `the certificate is for ${identity}, which is not of our trust domain ${given.trustDomain} (identity.trustDomain)`,
    )
  if (parsed.id.path === '') return wrong(`${identity} names a trust domain, not a workload`)
  if (!publicKeyDer(leaf.x509.publicKey).equals(publicKeyDer(given.key)))
    return wrong('the key does not belong to the certificate')
  const [unfit] = leafFaults(facts, ['client', 'server'])
  if (unfit !== undefined) return wrong(unfit)
  const clock = `our clock says ${isoTime(given.nowMs)}`
  if (facts.notAfterMs <= given.nowMs) return wrong(`the certificate expired at ${isoTime(facts.notAfterMs)}; ${clock}`)
  if (facts.notBeforeMs > given.nowMs) return wrong(`the certificate is not valid until ${isoTime(facts.notBeforeMs)}; ${clock}`)
  const roots = given.rootsPem.flatMap((text) => certificatesOfPem(text) ?? [])
  const fault = chainFault(chain, roots, given.nowMs)
  if (fault !== null) return wrong(`the certificate does not lead to a root that came with it: ${fault}`)
  return {
    ok: true,
    certificate: {
      identity,
      certificateChainPem: withoutRoots(chain, roots),
      notBeforeMs: facts.notBeforeMs,
      notAfterMs: facts.notAfterMs,
    },
  }
}

/** A root that is sent along tells a peer nothing. */
function withoutRoots(chain: readonly ReadableCertificate[], roots: readonly ReadableCertificate[]): string {
  const known = new Set(roots.map((root) => root.x509.fingerprint256))
  return chain
    .filter((c, index) => index === 0 || !known.has(c.x509.fingerprint256))
    .map((c) => c.x509.toString())
    .join('')
}
