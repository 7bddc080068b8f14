// Tokens for tests: keys of each kind, and what is signed with them by node:crypto, well-formed or not.
import { constants, createHmac, createSecretKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

const HASHES: Readonly<Record<string, string>> = { 256: 'sha256', 384: 'sha384', 512: 'sha512' }

/** A key of an issuer. `jwk` is what its JWK Set says of it. */
export interface SigningKey {
  readonly private: KeyObject
  readonly jwk: Readonly<Record<string, unknown>>
}

function pair(keys: { publicKey: KeyObject; privateKey: KeyObject }, more: object): SigningKey {
  return { private: keys.privateKey, jwk: { ...keys.publicKey.export({ format: 'jwk' }), ...more } }
}

export function rsaKey(more: object = {}): SigningKey {
  return pair(generateKeyPairSync('rsa', { modulusLength: 2048 }), more)
}

export function ecKey(namedCurve: 'P-256' | 'P-384' | 'P-521', more: object = {}): SigningKey {
  return pair(generateKeyPairSync('ec', { namedCurve }), more)
}

export function edKey(more: object = {}): SigningKey {
  return pair(generateKeyPairSync('ed25519'), more)
}

export function octKey(secret: string, more: object = {}): SigningKey {
  const bytes = Buffer.from(secret)
  return { private: createSecretKey(bytes), jwk: { kty: 'oct', k: bytes.toString('base64url'), ...more } }
}

export function jwksText(...keys: readonly SigningKey[]): string {
  return JSON.stringify({ keys: keys.map((k) => k.jwk) })
}

function part(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
}

/** Signed as `alg` says, with whatever key. */
export function signature(signed: string, key: SigningKey, alg: string): Buffer {
  const hash = HASHES[alg.slice(2)] ?? ''
  if (key.private.type === 'secret') return createHmac(hash, key.private).update(signed).digest()
  if (alg.startsWith('PS')) {
    const padding = constants.RSA_PKCS1_PSS_PADDING
    return sign(hash, Buffer.from(signed), { key: key.private, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })
  }
  if (alg.startsWith('ES')) return sign(hash, Buffer.from(signed), { key: key.private, dsaEncoding: 'ieee-p1363' })
  return sign(alg === 'EdDSA' ? null : hash, Buffer.from(signed), key.private)
}

/** `claims` and `header` as objects, or as the exact text. */
export function token(key: SigningKey, alg: string, claims: unknown, header: object | string = {}): string {
  const head = typeof header === 'string' ? header : { alg, typ: 'JWT', ...header }
  const signed = `${part(head)}.${part(claims)}`
  return `${signed}.${signature(signed, key, alg).toString('base64url')}`
}
