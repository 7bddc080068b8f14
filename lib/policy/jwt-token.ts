// Hot lane: a token in its compact form (RFC 7515 §7.1) taken apart: what it claims, before anybody has verified that. Once for each token that is not known.

import type { JsonObject, JsonValue } from '../base/json-value.ts'
import * as T from './jwt-status.ts'

/** A token as it was read. Nothing in it is to be believed before its signature is verified. */
export interface ParsedJwt {
  /** OK, or what is wrong with its form. Then the fields behind it say nothing. */
  readonly status: number
  readonly alg: string
  /** Empty: none. */
  readonly kid: string
  /** The header asks for something that has to be understood (RFC 7515 §4.1.11), which nothing is. */
  readonly critical: boolean
  readonly issuer: string
  readonly audiences: readonly string[]
  /** Seconds; 0: not said. */
  readonly notBeforeS: number
  readonly expiresS: number
  readonly claims: JsonObject
  /** The payload as it was sent: base64url. */
  readonly payload: string
  /** What was signed: header and payload with the dot between them. */
  readonly signed: string
  readonly signature: Uint8Array
}

const ALGORITHMS = new Set([
  ...['ES256', 'ES384', 'ES512', 'HS256', 'HS384', 'HS512'],
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA'],
])

const NO_BYTES = new Uint8Array(0)

function failed(status: number): ParsedJwt {
  return {
    status,
    alg: '',
    kid: '',
    critical: false,
    issuer: '',
    audiences: [],
    notBeforeS: 0,
    expiresS: 0,
    claims: {},
    payload: '',
    signed: '',
    signature: NO_BYTES,
  }
}

export function parseJwt(token: string): ParsedJwt {
  const parts = token.split('.')
  const [first = '', payload = '', last = ''] = parts
  if (parts.length !== 3 || first === '' || payload === '' || last === '') return failed(T.BAD_FORMAT)
  const headerBytes = fromBase64Url(first)
  if (headerBytes === null) return failed(T.HEADER_BAD_BASE64)
  const header = jsonObject(headerBytes)
  if (header === null) return failed(T.HEADER_BAD_JSON)
  const alg = own(header, 'alg')
  if (typeof alg !== 'string') return failed(T.HEADER_BAD_ALG)
  // `none` is one of those that are not there.
  if (!ALGORITHMS.has(alg)) return failed(T.ALG_NOT_SUPPORTED)
  const kid = own(header, 'kid') ?? ''
  if (typeof kid !== 'string') return failed(T.HEADER_BAD_KID)
  const payloadBytes = fromBase64Url(payload)
  if (payloadBytes === null) return failed(T.PAYLOAD_BAD_BASE64)
  const claims = jsonObject(payloadBytes)
  if (claims === null) return failed(T.PAYLOAD_BAD_JSON)
  const wrong = wrongClaim(claims)
  if (wrong !== T.OK) return failed(wrong)
  const signature = fromBase64Url(last)
  if (signature === null) return failed(T.SIGNATURE_BAD_BASE64)
  return {
    status: T.OK,
    alg,
    kid,
    critical: own(header, 'crit') !== undefined,
    issuer: (own(claims, 'iss') as string | undefined) ?? '',
    audiences: audiencesOf(own(claims, 'aud')) ?? [],
    notBeforeS: Math.trunc((own(claims, 'nbf') as number | undefined) ?? 0),
    expiresS: Math.trunc((own(claims, 'exp') as number | undefined) ?? 0),
    claims,
    payload,
    signed: `${first}.${payload}`,
    signature,
  }
}

/** Registered claims have the types that RFC 7519 §4.1 gives them, in the order in which Envoy looks at them. */
function wrongClaim(claims: JsonObject): number {
  if (isNoText(own(claims, 'iss'))) return T.ISS_NOT_STRING
  if (isNoText(own(claims, 'sub'))) return T.SUB_NOT_STRING
  const iat = wrongTime(own(claims, 'iat'), T.IAT_NOT_INTEGER, T.IAT_OUT_OF_RANGE)
  if (iat !== T.OK) return iat
  const nbf = wrongTime(own(claims, 'nbf'), T.NBF_NOT_INTEGER, T.NBF_OUT_OF_RANGE)
  if (nbf !== T.OK) return nbf
  const exp = wrongTime(own(claims, 'exp'), T.EXP_NOT_INTEGER, T.EXP_OUT_OF_RANGE)
  if (exp !== T.OK) return exp
  if (isNoText(own(claims, 'jti'))) return T.JTI_NOT_STRING
  const aud = own(claims, 'aud')
  return aud !== undefined && audiencesOf(aud) === null ? T.AUD_NOT_STRING : T.OK
}

function isNoText(value: JsonValue | undefined): boolean {
  return value !== undefined && typeof value !== 'string'
}

function wrongTime(value: JsonValue | undefined, type: number, range: number): number {
  if (value === undefined) return T.OK
  if (typeof value !== 'number') return type
  return value < 0 || value >= 2 ** 64 ? range : T.OK
}

/** null: it is neither a text nor a list of texts. */
function audiencesOf(value: JsonValue | undefined): readonly string[] | null {
  if (value === undefined) return []
  if (typeof value === 'string') return [value]
  if (!Array.isArray(value) || !value.every((v) => typeof v === 'string')) return null
  return value as readonly string[]
}

/** A claim of an object that a stranger has written: `constructor` is none unless it is there. */
export function own(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

const BASE64_URL = /^[A-Za-z0-9_-]*(={0,2})$/

/** null when it is none. Padding may be there, as Envoy takes it. */
export function fromBase64Url(text: string): Uint8Array | null {
  const form = BASE64_URL.exec(text)
  if (form === null) return null
  const padding = (form[1] as string).length
  const rest = (text.length - padding) % 4
  if (rest === 1 || (padding > 0 && rest + padding !== 4)) return null
  return Buffer.from(text, 'base64url')
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A stranger's JSON, which has to be an object. Parsers say by throwing that it is none. */
function jsonObject(bytes: Uint8Array): JsonObject | null {
  try {
    const value = JSON.parse(UTF8.decode(bytes)) as JsonValue
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null
  } catch {
    return null
  }
}
