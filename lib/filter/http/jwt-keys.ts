// Hot lane: signatures of tokens. Libraries for it (jose) verify by promises, and a request must not wait for one between two events; node:crypto verifies in
// place. The key says which algorithms are its own, never the token: what an RSA key is known by everybody must not become the secret of an HMAC.
import { constants, createHmac, createPublicKey, createSecretKey, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import { JwtAuthenticator, type JwtKeys } from '../../policy/jwt.ts'
import * as T from '../../policy/jwt-status.ts'
import { fromBase64Url, type ParsedJwt } from '../../policy/jwt-token.ts'
import type { JwksSource, JwtAuthentication } from '../../state/jwt.ts'

interface Key {
  readonly kid: string
  /** What the key is for; empty: not said. */
  readonly alg: string
  verify(token: ParsedJwt): number
}

const HASHES: Readonly<Record<string, string>> = { '256': 'sha256', '384': 'sha384', '512': 'sha512' }
const CURVES: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }
const ED25519_SIGNATURE_BYTES = 64
/** More keys than that nobody has; a set of them would be asked one by one. */
const MAX_KEYS = 100

function hashOf(alg: string): string {
  return HASHES[alg.slice(2)] as string
}

class RsaKey implements Key {
  readonly kid: string
  readonly alg: string
  private readonly pkcs1: KeyObject
  private readonly pss: { readonly key: KeyObject; readonly padding: number; readonly saltLength: number }

  constructor(kid: string, alg: string, key: KeyObject) {
    this.kid = kid
    this.alg = alg
    this.pkcs1 = key
    this.pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
  }

  verify({ alg, signed, signature }: ParsedJwt): number {
    const kind = alg.slice(0, 2)
    if (kind !== 'RS' && kind !== 'PS') return T.VERIFICATION_FAILS
    return said(verify(hashOf(alg), Buffer.from(signed), kind === 'RS' ? this.pkcs1 : this.pss, signature))
  }
}

class EcKey implements Key {
  readonly kid: string
  readonly alg: string
  private readonly curve: string
  private readonly key: { readonly key: KeyObject; readonly dsaEncoding: 'ieee-p1363' }

  constructor(kid: string, alg: string, curve: string, key: KeyObject) {
    this.kid = kid
    this.alg = alg
    this.curve = curve
    this.key = { key, dsaEncoding: 'ieee-p1363' }
  }

  /** RFC 7518 §3.4: each algorithm has its curve. */
  verify({ alg, signed, signature }: ParsedJwt): number {
    if (CURVES[alg] !== this.curve) return T.VERIFICATION_FAILS
    return said(verify(hashOf(alg), Buffer.from(signed), this.key, signature))
  }
}

class SecretKey implements Key {
  readonly kid: string
  readonly alg: string
  private readonly key: KeyObject

  constructor(kid: string, alg: string, key: KeyObject) {
    this.kid = kid
    this.alg = alg
    this.key = key
  }

  verify({ alg, signed, signature }: ParsedJwt): number {
    if (!alg.startsWith('HS')) return T.VERIFICATION_FAILS
    const mac = createHmac(hashOf(alg), this.key).update(signed).digest()
    return said(mac.length === signature.length && timingSafeEqual(mac, signature))
  }
}

class EdwardsKey implements Key {
  readonly kid: string
  readonly alg: string
  private readonly key: KeyObject

  constructor(kid: string, alg: string, key: KeyObject) {
    this.kid = kid
    this.alg = alg
    this.key = key
  }

  verify({ alg, signed, signature }: ParsedJwt): number {
    if (alg !== 'EdDSA') return T.VERIFICATION_FAILS
    if (signature.length !== ED25519_SIGNATURE_BYTES) return T.ED25519_WRONG_LENGTH
    return said(verify(null, Buffer.from(signed), this.key, signature))
  }
}

function said(valid: boolean): number {
  return valid ? T.OK : T.VERIFICATION_FAILS
}

/** The keys of one JWK Set. Those that are not understood are left out, as RFC 7517 §5 has it. */
export class JwkSet implements JwtKeys {
  private readonly keys: readonly Key[]
  /** What is said of each token while there are no keys. */
  private readonly without: number

  constructor({ jwks, uri }: Pick<JwksSource, 'jwks' | 'uri'>) {
    this.keys = keysOf(jwks)
    this.without = jwks === '' && uri !== '' ? T.FETCH_FAILED : T.NO_VALID_KEYS
  }

  verify(token: ParsedJwt): number {
    if (this.keys.length === 0) return this.without
    if (token.critical) return T.VERIFICATION_FAILS
    let status = T.NO_MATCHING_KEY
    for (const key of this.keys) {
      if (token.kid !== '' && key.kid !== '' && key.kid !== token.kid) continue
      if (key.alg !== '' && key.alg !== token.alg) continue
      const verified = key.verify(token)
      if (verified === T.OK || verified === T.ED25519_WRONG_LENGTH) return verified
      status = T.VERIFICATION_FAILS
    }
    return status
  }

  get size(): number {
    return this.keys.length
  }
}

function keysOf(jwks: string): Key[] {
  if (jwks === '') return []
  try {
    const { keys } = JSON.parse(jwks) as { keys?: unknown }
    return Array.isArray(keys) ? keys.slice(0, MAX_KEYS).flatMap((jwk) => keyOf(jwk) ?? []) : []
  } catch {
    return []
  }
}

type Jwk = Readonly<Record<string, string>>

/** null: it is none that tokens are verified with. */
function keyOf(value: unknown): Key | null {
  if (typeof value !== 'object' || value === null) return null
  const jwk = value as Jwk
  const { kty } = jwk
  const kid = textOf(jwk['kid'])
  const alg = textOf(jwk['alg'])
  try {
    if (kty === 'RSA') return alg === '' || /^[RP]S/.test(alg) ? new RsaKey(kid, alg, publicKey(jwk, ['n', 'e'])) : null
    if (kty === 'EC') return ecKey(jwk, kid, alg)
    if (kty === 'OKP' && jwk['crv'] === 'Ed25519')
      return alg === '' || alg === 'EdDSA' ? new EdwardsKey(kid, alg, publicKey(jwk, ['crv', 'x'])) : null
    if (kty === 'oct') return secretKey(jwk, kid, alg)
  } catch {
    // createPublicKey says by throwing that this is no key.
  }
  return null
}

function ecKey(jwk: Jwk, kid: string, alg: string): Key | null {
  // Without a curve that of the algorithm is meant, without either the usual one (Envoy).
  const crv = jwk['crv'] ?? CURVES[alg] ?? 'P-256'
  if (!Object.values(CURVES).includes(crv) || (alg !== '' && CURVES[alg] !== crv)) return null
  return new EcKey(kid, alg, crv, publicKey({ ...jwk, crv }, ['crv', 'x', 'y']))
}

function secretKey(jwk: Jwk, kid: string, alg: string): Key | null {
  const secret = fromBase64Url(textOf(jwk['k']))
  if (secret === null || secret.length === 0 || (alg !== '' && !alg.startsWith('HS'))) return null
  return new SecretKey(kid, alg, createSecretKey(secret))
}

/** Of a private key, which should not be there, the public part only. */
function publicKey(jwk: Jwk, fields: readonly string[]): KeyObject {
  const parts = Object.fromEntries(['kty', ...fields].map((name) => [name, jwk[name] ?? '']))
  return createPublicKey({ key: parts, format: 'jwk' })
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The chains of a listener have mostly the same filter. */
const known = new WeakMap<JwtAuthentication, JwtAuthenticator>()

/** null: nobody asks for tokens. The same filter gives the same authenticator, with what it has verified. */
export function jwtAuthenticatorFor(config: JwtAuthentication | null): JwtAuthenticator | null {
  if (config === null) return null
  const found = known.get(config)
  if (found !== undefined) return found
  const made = new JwtAuthenticator(config, ({ keys }) => new JwkSet(keys))
  known.set(config, made)
  return made
}
