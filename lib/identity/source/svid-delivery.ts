// What a message of the Workload API means: which certificates, which roots, and what of it cannot be used.
import { derElement } from '../der.ts'
import type { TrustBundle } from '../material.ts'
import { printable } from '../printable.ts'
import { parseSpiffeId, parseTrustDomain, spiffeIdText } from '../spiffe-id.ts'
import { readCertificate } from '../x509.ts'
import type { DeliveredCertificate, Delivery } from './certificate-source.ts'
import { certificatesToPem, toPem } from './der-to-pem.ts'
import { decodeX509SvidResponse, type X509Svid } from './workload-api-messages.ts'

export interface ReadDelivery {
  /** Null: nothing of the message can be used, and what was delivered before stays. */
  readonly delivery: Delivery | null
  /** A clause for each part that is left out. */
  readonly faults: readonly string[]
}

interface ReadSvid {
  readonly certificate: DeliveredCertificate
  readonly trustDomain: string
  readonly rootsPem: readonly string[]
  readonly hint: string
}

/** `hint`: that of the SVID which is to be the first; null for the agent's own order. Throws ProtobufError. */
export function readX509SvidResponse(message: Uint8Array, hint: string | null): ReadDelivery {
  const { svids, federatedBundles } = decodeX509SvidResponse(message)
  const faults: string[] = []
  const read: ReadSvid[] = []
  const hints = new Set<string>()
  for (const svid of svids) {
    // §5.4: of several with the same hint the first counts.
    if (svid.hint !== '' && hints.has(svid.hint)) continue
    if (svid.hint !== '') hints.add(svid.hint)
    const one = readSvid(svid)
    if (typeof one === 'string') faults.push(one)
    else read.push(one)
  }
  if (svids.length === 0) faults.push('the answer has no SVID')
  const own = hint === null ? 0 : read.findIndex((s) => s.hint === hint)
  if (own < 0 && read.length > 0) {
    const seen = [...hints].map((h) => `"${printable(h)}"`).join(', ')
    faults.push(`no SVID has the hint "${printable(hint ?? '')}"; hints are ${seen === '' ? 'not given' : seen}`)
  }
  if (read.length === 0 || own < 0) return { delivery: null, faults }
  const inOrder = [...read.slice(own, own + 1), ...read.slice(0, own), ...read.slice(own + 1)]
  const bundles = bundlesOf(read, federatedBundles, faults)
  return { delivery: { certificates: inOrder.map((s) => s.certificate), bundles }, faults }
}

/** A clause when it has to be left out: a field that must be there is not, or its parts do not belong together. */
function readSvid(svid: X509Svid): ReadSvid | string {
  const parsed = parseSpiffeId(svid.spiffeId)
  const who = `the SVID ${svid.spiffeId === '' ? 'without an id' : `"${printable(svid.spiffeId)}"`}`
  if (!parsed.ok) return `${who} is left out: ${svid.spiffeId === '' ? 'it has no SPIFFE id' : parsed.error}`
  for (const part of ['certificates', 'key', 'bundle'] as const) {
    if (svid[part].length === 0) return `${who} is left out: it has no ${part}`
  }
  const chain = certificatesToPem(svid.certificates)
  const roots = certificatesToPem(svid.bundle)
  if (chain === null) return `${who} is left out: its certificates are not concatenated DER`
  if (roots === null) return `${who} is left out: its bundle is not concatenated DER`
  const leaf = readCertificate(svid.certificates.subarray(0, leafLength(svid.certificates)))
  if (!leaf.ok) return `${who} is left out: of its certificate ${leaf.error}`
  const [uri, ...more] = leaf.facts.uris
  const named = uri === undefined ? null : parseSpiffeId(uri)
  if (more.length > 0 || named === null || !named.ok || spiffeIdText(named.id) !== spiffeIdText(parsed.id)) {
    const found = leaf.facts.uris.map((u) => `"${printable(u)}"`).join(', ')
    return `${who} is left out: its certificate is for ${found === '' ? 'nobody' : found}`
  }
  return {
    certificate: { certificateChainPem: chain.join(''), privateKeyPem: toPem('PRIVATE KEY', svid.key) },
    trustDomain: parsed.id.trustDomain,
    rootsPem: roots,
    hint: svid.hint,
  }
}

function leafLength(certificates: Uint8Array): number {
  return derElement(certificates, 0, certificates.length)?.end ?? 0
}

/** Of each trust domain once; what the SVIDs bring for their own comes before what is federated under the same name. */
function bundlesOf(svids: readonly ReadSvid[], federated: ReadonlyMap<string, Uint8Array>, faults: string[]): TrustBundle[] {
  const roots = new Map<string, Set<string>>()
  for (const { trustDomain, rootsPem } of svids) {
    const known = roots.get(trustDomain) ?? new Set()
    for (const pem of rootsPem) known.add(pem)
    roots.set(trustDomain, known)
  }
  const own = new Set(roots.keys())
  for (const [name, der] of federated) {
    const domain = trustDomainOf(name)
    const pems = certificatesToPem(der)
    if (domain === null) faults.push(`the bundle of "${printable(name)}" is left out: that is no trust domain`)
    else if (pems === null) faults.push(`the bundle of "${printable(name)}" is left out: it is not concatenated DER`)
    else if (!own.has(domain)) roots.set(domain, new Set(pems))
  }
  return [...roots].map(([trustDomain, pems]) => ({ trustDomain, rootsPem: [...pems] }))
}

/** A key of `federated_bundles` is the SPIFFE id of a trust domain. */
function trustDomainOf(text: string): string | null {
  const id = parseSpiffeId(text)
  if (id.ok) return id.id.path === '' ? id.id.trustDomain : null
  const bare = parseTrustDomain(text)
  return bare.ok ? bare.name : null
}
