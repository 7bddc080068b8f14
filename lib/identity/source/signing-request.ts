// Certificate signing requests (PKCS#10, RFC 2986): what we send to a CA, and what our own CA reads.
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { DER_BIT_STRING, DER_SEQUENCE, derChildren, derElement } from '../der.ts'
import { Asn1Writer } from './asn1.ts'
import { subjectAltName } from './certificate-extensions.ts'
import { toPem } from './der-to-pem.ts'
import { publicKeyDer, signed } from './private-key.ts'

/** As Istio's agent and ztunnel make them: the subject is empty, and the SPIFFE id a critical SAN. */
export async function signingRequest(identity: string, key: KeyObject): Promise<string> {
  const asn1 = await Asn1Writer.load()
  const extensions = asn1.sequence(subjectAltName(asn1, [identity], true))
  // extensionRequest (RFC 2985 §5.4.2).
  const attribute = asn1.sequence(asn1.oid('1.2.840.113549.1.9.14'), asn1.set(extensions))
  const body = asn1.sequence(
    asn1.integer(Buffer.from([0])),
    asn1.sequence(),
    asn1.parsed(publicKeyDer(key)),
    asn1.tagged(0, attribute),
  )
  return toPem('CERTIFICATE REQUEST', signed(asn1, body, key))
}

/** The key that asks, or null: not a request, or not signed by that key. What else it asks for is not read: a CA decides the name. */
export function requestedKey(csrPem: string): KeyObject | null {
  const block = /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]*)-----END/.exec(csrPem)
  const der = Buffer.from(block?.[1] ?? '', 'base64')
  const whole = derElement(der, 0, der.length)
  const [body, , signature] = (whole?.tag === DER_SEQUENCE && whole.end === der.length ? derChildren(der, whole, 3) : null) ?? []
  const spki = (body?.tag === DER_SEQUENCE ? derChildren(der, body, 4) : null)?.[2]
  if (body === undefined || spki === undefined || signature?.tag !== DER_BIT_STRING) return null
  try {
    const key = createPublicKey({ key: der.subarray(spki.start, spki.end), type: 'spki', format: 'der' })
    const bytes = der.subarray(signature.contentStart + 1, signature.end)
    return verify('sha256', der.subarray(body.start, body.end), { key, dsaEncoding: 'der' }, bytes) ? key : null
  } catch {
    return null
  }
}
