// The certificate of a peer that is believed. Of the mesh there is one object for all connections of a peer.
import { createHash } from 'node:crypto'
import { readCertificate } from '../identity/x509.ts'

export class PeerCertificate {
  /** The leaf. */
  readonly der: Uint8Array
  readonly notAfterMs: number
  private forwardedBy: string
  private forwardedText: string
  private nameList: readonly string[] | null

  constructor(der: Uint8Array, notAfterMs: number) {
    this.der = der
    this.notAfterMs = notAfterMs
    this.forwardedBy = ''
    this.forwardedText = ''
    this.nameList = null
  }

  /**
   * An element of x-forwarded-client-cert as Istio has Envoy make it: `By=…;Hash=…;Subject="…";URI=…;DNS=…`. `by`: our own identity; empty: we have
   * none.
   */
  forwarded(by: string): string {
    if (this.forwardedText === '' || this.forwardedBy !== by) {
      this.forwardedText = this.element(by)
      this.forwardedBy = by
    }
    return this.forwardedText
  }

  /** What it may be known by: its URI SANs, its DNS SANs, its subject as RFC 2253 writes it. */
  get names(): readonly string[] {
    this.nameList ??= namesOf(this.der)
    return this.nameList
  }

  private element(by: string): string {
    const parts = by === '' ? [] : [`By=${value(by)}`]
    parts.push(`Hash=${createHash('sha256').update(this.der).digest('hex')}`)
    const read = readCertificate(this.der)
    if (!read.ok) return parts.join(';')
    const { subjectRfc2253, uris, dnsNames } = read.facts
    parts.push(`Subject="${visible(subjectRfc2253)}"`)
    if (uris.length === 0) parts.push('URI=')
    for (const uri of uris) parts.push(`URI=${value(uri)}`)
    for (const name of dnsNames) parts.push(`DNS=${value(name)}`)
    return parts.join(';')
  }
}

function namesOf(der: Uint8Array): readonly string[] {
  const read = readCertificate(der)
  if (!read.ok) return []
  const { uris, dnsNames, subjectRfc2253 } = read.facts
  return [...uris, ...dnsNames, subjectRfc2253]
}

/** A name may have any bytes; a header's value may not, and the list's own signs are quoted. */
function value(name: string): string {
  const text = visible(name)
  return /[,;="]/.test(text) ? `"${text.replaceAll('"', '\\"')}"` : text
}

/** Of latin1. */
function visible(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}
