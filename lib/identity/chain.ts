// Whether a chain ends in one of the given roots (RFC 5280 §6): signatures, validity, CA flags, path lengths, name constraints of type
// URI. OpenSSL checks a chain too, against all roots that it was given: where these are of several trust domains, this says whose
// root it was.
import { X509Certificate } from 'node:crypto'
import { type CertificateFacts, readCertificate, type UriConstraints } from './x509.ts'

/** A certificate with what it says. */
export interface ReadableCertificate {
  readonly x509: X509Certificate
  readonly facts: CertificateFacts
}

/** Checked signatures of one chain; a stranger chooses how often names fit together. */
const MAX_CHECKS = 30
/** Certificates of one chain; more are not looked at. */
export const MAX_CHAIN = 10

/** Null when either reader refuses the bytes. */
export function openCertificate(der: Uint8Array): ReadableCertificate | null {
  const read = readCertificate(der)
  if (!read.ok) return null
  try {
    return { x509: new X509Certificate(der), facts: read.facts }
  } catch {
    return null
  }
}

/** The certificates of a text with PEM blocks; what stands between is skipped. Null when a block cannot be read. */
export function certificatesOfPem(pem: string): ReadableCertificate[] | null {
  const all = pemBlocks(pem).map((block) => openCertificate(block))
  return all.includes(null) ? null : (all as ReadableCertificate[])
}

/** The DER of each block CERTIFICATE. */
export function pemBlocks(pem: string): Buffer[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g)].map((m) =>
    Buffer.from(m[1] as string, 'base64'),
  )
}

/**
 * Null when the first certificate, over any of the others, leads to a root; else a clause that says why not. What the leaf itself must be
 * is not checked here.
 */
export function chainFault(
  chain: readonly ReadableCertificate[],
  roots: readonly ReadableCertificate[],
  nowMs: number,
): string | null {
  const [leaf, ...others] = chain.slice(0, MAX_CHAIN)
  if (leaf === undefined) return 'there is no certificate'
  const open: { readonly certificate: ReadableCertificate; readonly below: number }[] = [{ certificate: leaf, below: 0 }]
  const unused = new Set(others)
  let fault = 'no certificate of its chain is signed by a root of this trust domain'
  let checks = 0
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const issuer of [...roots, ...unused]) {
      if (!mayHaveIssued(at.certificate, issuer)) continue
      if (checks++ === MAX_CHECKS) return 'its chain has too many ways to go'
      if (!isSignedBy(at.certificate, issuer)) continue
      const wrong = issuerFault(issuer, at.below, leaf.facts.uris, nowMs)
      if (wrong !== null) fault = wrong
      else if (roots.includes(issuer)) return null
      else {
        unused.delete(issuer)
        open.push({ certificate: issuer, below: at.below + 1 })
      }
    }
  }
  return fault
}

/** Names, key identifiers and keyCertSign fit; the signature is another matter. */
function mayHaveIssued(certificate: ReadableCertificate, issuer: ReadableCertificate): boolean {
  return certificate.x509.checkIssued(issuer.x509)
}

/** False also for keys of a kind that this OpenSSL does not know. */
function isSignedBy(certificate: ReadableCertificate, issuer: ReadableCertificate): boolean {
  try {
    return certificate.x509.verify(issuer.x509.publicKey)
  } catch {
    return false
  }
}

function issuerFault(issuer: ReadableCertificate, below: number, uris: readonly string[], nowMs: number): string | null {
  const { facts } = issuer
  const who = `its issuer ${facts.subject === '' ? 'without a name' : facts.subject}`
  if (!facts.isCa) return `${who} is not a CA`
  if (facts.keyUsage !== null && !facts.keyUsage.keyCertSign) return `${who} may not sign certificates`
  if (nowMs < facts.notBeforeMs) return `${who} is not valid until ${isoTime(facts.notBeforeMs)}`
  if (nowMs > facts.notAfterMs) return `${who} expired at ${isoTime(facts.notAfterMs)}`
  if (facts.pathLength !== null && below > facts.pathLength)
    return `${who} allows ${facts.pathLength} CAs below itself, and there are ${below}`
  const forbidden = uris.find((uri) => !permits(facts.uriConstraints, uri))
  return forbidden === undefined ? null : `${who} may not sign for ${forbidden}`
}

function permits(constraints: UriConstraints | null, uri: string): boolean {
  if (constraints === null) return true
  const host = (/^[^:]*:\/\/([^/?#]*)/.exec(uri)?.[1] ?? '').toLowerCase()
  const within = (name: string): boolean => (name.startsWith('.') ? host.endsWith(name) && host !== name : host === name)
  return !constraints.excluded.some(within) && (constraints.permitted === null || constraints.permitted.some(within))
}

/** `2026-03-01T12:00:00Z`. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}
