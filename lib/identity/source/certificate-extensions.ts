// Extensions of certificates as bytes (RFC 5280 §4.2.1).
import { createHash } from 'node:crypto'
import { DER_BIT_STRING, derChildren, derElement } from '../der.ts'
import { EKU_CLIENT_AUTH, EKU_SERVER_AUTH } from '../x509.ts'
import type { Asn1, Asn1Writer } from './asn1.ts'

function extension(asn1: Asn1Writer, oid: string, critical: boolean, value: Asn1): Asn1 {
  const flag = critical ? [asn1.boolean(true)] : []
  return asn1.sequence(asn1.oid(oid), ...flag, asn1.octets(asn1.der(value)))
}

/** §4.2.1.6. `critical`: when the subject is empty. */
export function subjectAltName(asn1: Asn1Writer, uris: readonly string[], critical: boolean): Asn1 {
  const names = uris.map((uri) => asn1.taggedBytes(6, Buffer.from(uri, 'latin1')))
  return extension(asn1, '2.5.29.17', critical, asn1.sequence(...names))
}

/** §4.2.1.9. False is the default, and left out. */
export function basicConstraints(asn1: Asn1Writer, isCa: boolean): Asn1 {
  return extension(asn1, '2.5.29.19', true, asn1.sequence(...(isCa ? [asn1.boolean(true)] : [])))
}

/** §4.2.1.3, X.690 §11.2.2: no trailing zero bits. */
export function keyUsage(asn1: Asn1Writer, of: 'workload' | 'ca'): Asn1 {
  // digitalSignature (0) and keyEncipherment (2), as Istio's CA sets them; keyCertSign (5) and cRLSign (6).
  return extension(
    asn1,
    '2.5.29.15',
    true,
    of === 'workload' ? asn1.bits(Buffer.from([0xa0]), 5) : asn1.bits(Buffer.from([0x06]), 1),
  )
}

/** §4.2.1.12: workloads are both. */
export function extendedKeyUsage(asn1: Asn1Writer): Asn1 {
  return extension(asn1, '2.5.29.37', false, asn1.sequence(asn1.oid(EKU_SERVER_AUTH), asn1.oid(EKU_CLIENT_AUTH)))
}

/** §4.2.1.2. Strict verifiers want it, and the issuer's, in every certificate. */
export function subjectKeyIdentifier(asn1: Asn1Writer, publicKeyDer: Buffer): Asn1 {
  return extension(asn1, '2.5.29.14', false, asn1.octets(keyIdentifier(publicKeyDer)))
}

/** §4.2.1.1. `id`: the issuer's subjectKeyIdentifier. */
export function authorityKeyIdentifier(asn1: Asn1Writer, id: Buffer): Asn1 {
  return extension(asn1, '2.5.29.35', false, asn1.sequence(asn1.taggedBytes(0, id)))
}

/** RFC 7093 §2, method 1: the first 160 bits of the SHA-256 of the key's bits. */
export function keyIdentifier(publicKeyDer: Buffer): Buffer {
  const spki = derElement(publicKeyDer, 0, publicKeyDer.length)
  const bits = (spki === null ? null : derChildren(publicKeyDer, spki, 2))?.[1]
  if (bits?.tag !== DER_BIT_STRING) throw new Error('expected a SubjectPublicKeyInfo')
  return createHash('sha256')
    .update(publicKeyDer.subarray(bits.contentStart + 1, bits.end))
    .digest()
    .subarray(0, 20)
}
