// Hot lane: what is made of the claims of a token that has been verified.

import type { JsonObject, JsonValue } from '../base/json-value.ts'
import { own, type ParsedJwt } from './jwt-token.ts'

/** What a header can say: no more than bytes, and nothing that would end its line. */
const NO_HEADER_VALUE = /[\0\r\n]/

/** A claim as the value of a header: texts, numbers and booleans as such, objects and lists as base64 of their JSON. Empty: it is not there, or cannot be said in one. `a.b` is `b` of the object `a`. */
export function claimText(claims: JsonObject, path: string): string {
  const value = claimAt(claims, path)
  if (typeof value === 'boolean') return value ? 'true' : 'false'
  if (typeof value === 'number') return numberText(value)
  if (typeof value === 'object' && value !== null) return Buffer.from(JSON.stringify(value), 'utf8').toString('base64')
  if (typeof value !== 'string' || NO_HEADER_VALUE.test(value)) return ''
  return utf8AsBytes(value)
}

/** null: there is none. */
export function claimAt(claims: JsonObject, path: string): JsonValue {
  let object: JsonValue | undefined = claims
  for (const name of path.split('.')) {
    if (typeof object !== 'object' || object === null || Array.isArray(object)) return null
    object = own(object as JsonObject, name)
  }
  return object ?? null
}

/** Integers from zero on as such, other numbers with six decimals, as Envoy has it. */
function numberText(value: number): string {
  if (value < 0 || value >= 2 ** 64 || !Number.isInteger(value)) return value.toFixed(6)
  return BigInt(value).toString()
}

/** Texts of headers have a character for each byte. */
function utf8AsBytes(text: string): string {
  return /^[\0-\x7f]*$/.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1')
}

/** `https://name/` and `name` are one audience (Envoy CheckAudience). */
export function sanitizedAudience(audience: string): string {
  const start = audience.startsWith('https://') ? 8 : audience.startsWith('http://') ? 7 : 0
  const end = audience.endsWith('/') ? audience.length - 1 : audience.length
  return start > end ? '' : audience.substring(start, end)
}

/** Claims that are lists with spaces between, as lists. Made once for each token. */
export class NormalizedClaims {
  private readonly names: readonly string[]
  private readonly made: WeakMap<ParsedJwt, JsonObject>

  constructor(names: readonly string[]) {
    this.names = names
    this.made = new WeakMap()
  }

  of(token: ParsedJwt): JsonObject {
    const { claims } = token
    if (!this.names.some((name) => typeof own(claims, name) === 'string')) return claims
    const known = this.made.get(token)
    if (known !== undefined) return known
    const made = withLists(claims, this.names)
    this.made.set(token, made)
    return made
  }
}

/** Those of these names that are texts are lists of their words. */
export function withLists(claims: JsonObject, names: readonly string[]): JsonObject {
  const made: Record<string, JsonValue> = { ...claims }
  for (const name of names) {
    const value = own(claims, name)
    if (typeof value === 'string') made[name] = value.split(' ').filter((word) => word !== '')
  }
  return made
}
