// What the certificate of a workload must be (X509-SVID.md §4.1, §4.3, §4.4, §5.2; RFC 5280 §4.2.1.6), for those of peers and for our own.
import { type CertificateFacts, EKU_CLIENT_AUTH, EKU_SERVER_AUTH } from './x509.ts'

export type Side = 'client' | 'server'

/** Clauses; none when the certificate may authenticate on each of these sides. Names and validity are checked elsewhere. */
export function leafFaults(facts: CertificateFacts, sides: readonly Side[]): string[] {
  const { keyUsage: usage, extendedKeyUsage } = facts
  const faults: string[] = []
  if (facts.isCa) faults.push('the certificate is that of a CA, which does not authenticate')
  if (usage === null) faults.push('the certificate has no keyUsage')
  else {
    if (usage.keyCertSign) faults.push('the keyUsage of the certificate has keyCertSign, which only a CA may have')
    if (usage.crlSign) faults.push('the keyUsage of the certificate has cRLSign, which only a CA may have')
    if (!usage.digitalSignature) faults.push('the keyUsage of the certificate lacks digitalSignature')
    if (!usage.critical) faults.push('the keyUsage of the certificate is not critical')
  }
  for (const side of sides) {
    const use = side === 'client' ? EKU_CLIENT_AUTH : EKU_SERVER_AUTH
    if (extendedKeyUsage !== null && !extendedKeyUsage.includes(use))
      faults.push(`the extKeyUsage of the certificate lacks ${side}Auth`)
  }
  // With an empty subject the SAN is the only name.
  if (facts.subject === '' && !facts.subjectAltNameCritical)
    faults.push('the certificate has an empty subject, and its subjectAltName is not critical')
  return faults
}
