// Roots that a control plane says hold in its mesh (Istio ProxyConfig.caCertificatesPem), put to those that are known. Pure.
import { certificatesOfPem } from './chain.ts'
import { OTHER_TRUST_DOMAINS, type TrustBundle } from './material.ts'
import { parseSpiffeId } from './spiffe-id.ts'
import { readCertificate } from './x509.ts'

/**
 * A root that names its trust domain holds for that one. Of others nobody says whose they are: as in Istio they hold for our own trust domain beside its
 * roots, and for those of which no root is known otherwise. Our own has no bundle until its source has said one.
 */
export function withMeshRoots(known: readonly TrustBundle[], rootsPem: readonly string[], own: string): readonly TrustBundle[] {
  if (rootsPem.length === 0) return known
  const roots = rootsPem
    .flatMap((pem) => certificatesOfPem(pem) ?? [])
    .map(({ x509 }) => ({ pem: x509.toString(), of: trustDomainOf(x509.raw) }))
  const anybodys = roots.filter(({ of }) => of === '').map(({ pem }) => pem)
  const more = (trustDomain: string): readonly string[] => [
    ...roots.filter(({ of }) => of === trustDomain).map(({ pem }) => pem),
    ...(trustDomain === own ? anybodys : []),
  ]
  const bundles = known.map((b) => ({ ...b, rootsPem: [...new Set([...b.rootsPem, ...more(b.trustDomain)])] }))
  const unknown = new Set(
    roots.map(({ of }) => of).filter((of) => of !== '' && of !== own && !known.some((b) => b.trustDomain === of)),
  )
  for (const trustDomain of unknown) bundles.push({ trustDomain, rootsPem: [...more(trustDomain)] })
  if (anybodys.length > 0) bundles.push({ trustDomain: OTHER_TRUST_DOMAINS, rootsPem: [...new Set(anybodys)] })
  return bundles
}

/** '': the certificate does not say (SPIFFE X509-SVID.md §3: a CA should, and need not). */
function trustDomainOf(der: Uint8Array): string {
  const read = readCertificate(der)
  const [uri = ''] = read.ok ? read.facts.uris : []
  const parsed = parseSpiffeId(uri)
  return parsed.ok ? parsed.id.trustDomain : ''
}
