// A CA for laptops and tests: `heddle ca`, `heddle dev`, and the source `dev-ca`. Its certificates are what Istio's CA issues. It signs
// whatever it is asked for; who may ask is not its affair.
import { createPrivateKey, type KeyObject, randomBytes } from 'node:crypto'
import type { KeyKind } from '../../state/bootstrap-config.ts'
import { certificatesOfPem } from '../chain.ts'
import { contextTag, derChildren, derElement } from '../der.ts'
import { parseSpiffeId } from '../spiffe-id.ts'
import type { CertificateFacts } from '../x509.ts'
import { type Asn1, Asn1Writer } from './asn1.ts'
import {
  authorityKeyIdentifier,
  basicConstraints,
  extendedKeyUsage,
  keyIdentifier,
  keyUsage,
  subjectAltName,
  subjectKeyIdentifier,
} from './certificate-extensions.ts'
import { toPem } from './der-to-pem.ts'
import { generateKey, privateKeyPem, publicKeyDer, signatureAlgorithm, signed } from './private-key.ts'

/** What a CA is made of; what `heddle ca init` writes. PEM. */
export interface AuthorityMaterial {
  readonly rootPem: string
  /** Null when it is kept elsewhere: only new intermediates need it. */
  readonly rootKeyPem: string | null
  /** Who signs workloads: the root, or an intermediate. */
  readonly issuerPem: string
  readonly issuerKeyPem: string
}

export interface AuthorityOptions {
  /** Lower case. */
  readonly trustDomain: string
  /** Workloads are signed by a second CA, below the root. */
  readonly intermediate: boolean
  readonly keyKind: KeyKind
  /** Epoch milliseconds. */
  readonly nowMs: number
}

/** Istio's CA: certificates begin two minutes ago, so that a clock that is slow does not refuse them. */
export const BACKDATE_MS = 120_000
const DAY_MS = 86_400_000
const ROOT_LIFE_MS = 3650 * DAY_MS
const INTERMEDIATE_LIFE_MS = 1825 * DAY_MS

export class CertificateAuthority {
  readonly material: AuthorityMaterial
  /** Of the SPIFFE id that the root has. */
  readonly trustDomain: string
  readonly #asn1: Asn1Writer
  readonly #issuer: CertificateFacts
  readonly #issuerName: Asn1
  readonly #key: KeyObject

  private constructor(asn1: Asn1Writer, material: AuthorityMaterial, trustDomain: string, issuer: CertificateFacts, name: Asn1) {
    this.material = material
    this.trustDomain = trustDomain
    this.#asn1 = asn1
    this.#issuer = issuer
    this.#issuerName = name
    this.#key = createPrivateKey(material.issuerKeyPem)
  }

  /** A new one: root of ten years, intermediate of five. */
  static async create(options: AuthorityOptions): Promise<CertificateAuthority> {
    const { trustDomain, keyKind, nowMs } = options
    const asn1 = await Asn1Writer.load()
    const ca = async (name: string, lifeMs: number, issuer: SelfOrIssuer | null): Promise<SelfOrIssuer> => {
      const key = await generateKey(keyKind)
      const spki = publicKeyDer(key)
      const subject = asn1.sequence(attribute(asn1, '2.5.4.10', trustDomain.slice(0, 64)), attribute(asn1, '2.5.4.3', name))
      const der = certificate(asn1, {
        issuerName: issuer === null ? subject : issuer.name,
        subject,
        notBeforeMs: nowMs - BACKDATE_MS,
        notAfterMs: nowMs + lifeMs,
        spki,
        extensions: [
          basicConstraints(asn1, true),
          keyUsage(asn1, 'ca'),
          subjectKeyIdentifier(asn1, spki),
          ...(issuer === null ? [] : [authorityKeyIdentifier(asn1, issuer.keyId)]),
          subjectAltName(asn1, [`spiffe://${trustDomain}`], false),
        ],
        key: issuer === null ? key : issuer.key,
      })
      return { certificatePem: toPem('CERTIFICATE', der), key, name: subject, keyId: keyIdentifier(spki) }
    }
    const root = await ca('heddle development root CA', ROOT_LIFE_MS, null)
    const issuer = options.intermediate ? await ca('heddle development CA', INTERMEDIATE_LIFE_MS, root) : root
    return CertificateAuthority.load({
      rootPem: root.certificatePem,
      rootKeyPem: privateKeyPem(root.key),
      issuerPem: issuer.certificatePem,
      issuerKeyPem: privateKeyPem(issuer.key),
    })
  }

  /** Throws an Error whose message is a sentence when the parts cannot be read or do not belong together. */
  static async load(material: AuthorityMaterial): Promise<CertificateAuthority> {
    const [issuer] = certificatesOfPem(material.issuerPem) ?? []
    const [root] = certificatesOfPem(material.rootPem) ?? []
    if (issuer === undefined || root === undefined) throw new Error('a certificate of the CA cannot be read')
    if (!issuer.facts.isCa) throw new Error('the certificate of the CA is not one of a CA')
    const key = createPrivateKey(material.issuerKeyPem)
    if (!issuer.x509.checkPrivateKey(key)) throw new Error('the key of the CA does not belong to its certificate')
    const id = parseSpiffeId(root.facts.uris[0] ?? '')
    const asn1 = await Asn1Writer.load()
    const name = asn1.parsed(subjectOf(issuer.x509.raw))
    return new CertificateAuthority(asn1, material, id.ok ? id.id.trustDomain : '', issuer.facts, name)
  }

  /**
   * The certificate of a workload, followed by the intermediate where there is one: what a TLS server sends. PEM. Its life is cut to that of
   * the CA.
   */
  issue(identity: string, publicKey: KeyObject, ttlMs: number, nowMs: number): string {
    const asn1 = this.#asn1
    const spki = publicKeyDer(publicKey)
    const der = certificate(asn1, {
      issuerName: this.#issuerName,
      subject: asn1.sequence(),
      notBeforeMs: Math.max(nowMs - BACKDATE_MS, this.#issuer.notBeforeMs),
      notAfterMs: Math.min(nowMs + ttlMs, this.#issuer.notAfterMs),
      spki,
      extensions: [
        keyUsage(asn1, 'workload'),
        extendedKeyUsage(asn1),
        basicConstraints(asn1, false),
        subjectKeyIdentifier(asn1, spki),
        authorityKeyIdentifier(asn1, Buffer.from(this.#issuer.subjectKeyId ?? '', 'hex')),
        subjectAltName(asn1, [identity], true),
      ],
      key: this.#key,
    })
    const leaf = toPem('CERTIFICATE', der)
    return this.material.issuerPem === this.material.rootPem ? leaf : leaf + this.material.issuerPem
  }
}

interface SelfOrIssuer {
  readonly certificatePem: string
  readonly key: KeyObject
  readonly name: Asn1
  readonly keyId: Buffer
}

interface CertificateParts {
  readonly issuerName: Asn1
  readonly subject: Asn1
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly spki: Buffer
  readonly extensions: readonly Asn1[]
  /** The issuer's. */
  readonly key: KeyObject
}

/** RFC 5280 §4.1, version 3. */
function certificate(asn1: Asn1Writer, parts: CertificateParts): Buffer {
  const body = asn1.sequence(
    asn1.tagged(0, asn1.integer(Buffer.from([2]))),
    asn1.integer(serialNumber()),
    signatureAlgorithm(asn1, parts.key),
    parts.issuerName,
    asn1.sequence(asn1.time(parts.notBeforeMs), asn1.time(parts.notAfterMs)),
    parts.subject,
    asn1.parsed(parts.spki),
    asn1.tagged(3, asn1.sequence(...parts.extensions)),
  )
  return signed(asn1, body, parts.key)
}

/** The subject of a certificate that has been read, DER. */
function subjectOf(certificate: Buffer): Buffer {
  const children = (at: number, end: number): ReturnType<typeof derChildren> => {
    const element = derElement(certificate, at, end)
    return element === null ? null : derChildren(certificate, element, 12)
  }
  const tbs = children(0, certificate.length)?.[0]
  const parts = (tbs === undefined ? null : children(tbs.start, tbs.end)) ?? []
  const subject = parts[parts[0]?.tag === contextTag(0, true) ? 5 : 4]
  if (subject === undefined) throw new Error('expected a certificate')
  return certificate.subarray(subject.start, subject.end)
}

/** 126 random bits. The first byte is neither negative nor zero. */
function serialNumber(): Buffer {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  return serial
}

function attribute(asn1: Asn1Writer, oid: string, value: string): Asn1 {
  return asn1.set(asn1.sequence(asn1.oid(oid), asn1.utf8(value)))
}
