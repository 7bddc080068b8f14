// Keys of workloads and CAs, and signatures with them. Made by node:crypto alone.
import { createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto'
import { promisify } from 'node:util'
import type { KeyKind } from '../../state/bootstrap-config.ts'
import type { Asn1, Asn1Writer } from './asn1.ts'

/** Istio's agent makes RSA-2048 by default, ztunnel only ECDSA P-256, which is quicker by far in every handshake. */
export const KEY_KINDS: readonly KeyKind[] = ['ecdsa-p256', 'rsa-2048']

const generate = promisify(generateKeyPair)

/** Off the main thread: RSA takes up to hundreds of milliseconds. */
export async function generateKey(kind: KeyKind): Promise<KeyObject> {
  const pair =
    kind === 'ecdsa-p256'
      ? await generate('ec', { namedCurve: 'prime256v1' })
      : await generate('rsa', { modulusLength: 2048, publicExponent: 0x10001 })
  return pair.privateKey
}

/** PKCS#8, PEM. */
export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}

/** SubjectPublicKeyInfo, DER. Of a private key: of the public one that belongs to it. */
export function publicKeyDer(key: KeyObject): Buffer {
  return (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' })
}

/** `SEQUENCE { body, signatureAlgorithm, signature }`, which certificates and requests have in common. DER. */
export function signed(asn1: Asn1Writer, body: Asn1, key: KeyObject): Buffer {
  const signature = sign('sha256', asn1.der(body), { key, dsaEncoding: 'der' })
  return asn1.der(asn1.sequence(body, signatureAlgorithm(asn1, key), asn1.bits(signature)))
}

/** ecdsa-with-SHA256 (RFC 5758 §3.2) or sha256WithRSAEncryption (RFC 4055 §5), whose parameter is NULL. */
export function signatureAlgorithm(asn1: Asn1Writer, key: KeyObject): Asn1 {
  if (key.asymmetricKeyType === 'ec') return asn1.sequence(asn1.oid('1.2.840.10045.4.3.2'))
  if (key.asymmetricKeyType === 'rsa') return asn1.sequence(asn1.oid('1.2.840.113549.1.1.11'), asn1.null())
  throw new Error(`expected an EC or RSA key; found ${key.asymmetricKeyType}`)
}
