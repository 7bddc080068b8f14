// The certificate of a peer that is believed. Of the mesh there is one object for all connections of a peer.
import { createHash } from 'node:crypto'
import { type CertificateFacts, readCertificate } from '../identity/x509.ts'

export class PeerCertificate {
  /** The leaf. */
  readonly der: Uint8Array
  readonly notAfterMs: number
  private forwardedBy: string
  private forwardedText: string
  private forwardedWhole: boolean
  private nameList: readonly string[] | null
  private read: CertificateFacts | null | undefined
  private pemText: string

  constructor(der: Uint8Array, notAfterMs: number) {
    this.der = der
    this.notAfterMs = notAfterMs
    this.forwardedBy = ''
    this.forwardedText = ''
    this.forwardedWhole = false
    this.nameList = null
    this.read = undefined
    this.pemText = ''
  }

  /** null: it is not readable. */
  get facts(): CertificateFacts | null {
    if (this.read === undefined) {
      const read = readCertificate(this.der)
      this.read = read.ok ? read.facts : null
    }
    return this.read
  }

  /** PEM in URL encoding, as x-forwarded-client-cert has it. */
  get pem(): string {
    if (this.pemText === '') {
      const lines =
        Buffer.from(this.der)
          .toString('base64')
          .match(/.{1,64}/g) ?? []
      const pem = `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
      this.pemText = encodeURIComponent(pem)
    }
    return this.pemText
  }

  fingerprint(algorithm: 'sha1' | 'sha256'): string {
    return createHash(algorithm).update(this.der).digest('hex')
  }

  /**
   * An element of x-forwarded-client-cert as Istio has Envoy make it: `By=…;Hash=…;Subject="…";URI=…;DNS=…`. `by`: our own identity; empty: we have
   * none. `whole`: with `Cert="…"` behind the hash, as on gateways.
   */
  forwarded(by: string, whole = false): string {
    if (this.forwardedText === '' || this.forwardedBy !== by || this.forwardedWhole !== whole) {
      this.forwardedText = this.element(by, whole)
      this.forwardedBy = by
      this.forwardedWhole = whole
    }
    return this.forwardedText
  }

  /** What it may be known by: its URI SANs, its DNS SANs, its subject as RFC 2253 writes it. */
  get names(): readonly string[] {
    this.nameList ??= namesOf(this.facts)
    return this.nameList
  }

  private element(by: string, whole: boolean): string {
    const parts = by === '' ? [] : [`By=${value(by)}`]
    parts.push(`Hash=${createHash('sha256').update(this.der).digest('hex')}`)
    if (whole) parts.push(`Cert="${this.pem}"`)
    const { facts } = this
    if (facts === null) return parts.join(';')
    const { subjectRfc2253, uris, dnsNames } = facts
    parts.push(`Subject="${visible(subjectRfc2253)}"`)
    if (uris.length === 0) parts.push('URI=')
    for (const uri of uris) parts.push(`URI=${value(uri)}`)
    for (const name of dnsNames) parts.push(`DNS=${value(name)}`)
    return parts.join(';')
  }
}

function namesOf(facts: CertificateFacts | null): readonly string[] {
  if (facts === null) return []
  const { uris, dnsNames, subjectRfc2253 } = facts
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
