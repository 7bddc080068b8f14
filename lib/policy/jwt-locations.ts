// Hot lane: where tokens are in a request (Envoy's jwt_authn extractor), and how one is taken out of it.
import type { EditableHeaders } from '../route/request-view.ts'
import type { JwtProvider } from '../state/jwt.ts'

/** A request as tokens are found in it and taken off it. */
export interface JwtRequest {
  readonly headers: EditableHeaders
  /** Without the `?`; null: there is none. */
  query: string | null
}

/** Where a token is. `issuers`: whose may be there; null: anybody's. */
interface Place {
  readonly kind: 'header' | 'param' | 'cookie'
  readonly name: string
  readonly prefix: string
  issuers: Set<string> | null
}

export interface FoundToken {
  readonly text: string
  readonly place: Place
}

export type TokenPlace = Place

const NONE: readonly FoundToken[] = []

/** Where the tokens of some providers are: headers, then parameters, then cookies, each by name, as Envoy finds them. */
export class TokenPlaces {
  private readonly headers: readonly Place[]
  private readonly params: readonly Place[]
  private readonly cookies: readonly Place[]

  constructor(providers: readonly JwtProvider[]) {
    const places = new Map<string, Place>()
    for (const provider of providers) addPlaces(places, provider)
    const sorted = [...places].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, place]) => place)
    this.headers = sorted.filter((p) => p.kind === 'header')
    this.params = sorted.filter((p) => p.kind === 'param')
    this.cookies = sorted.filter((p) => p.kind === 'cookie')
  }

  /** All tokens of a request. None of them costs no memory. */
  find({ headers, query }: JwtRequest): readonly FoundToken[] {
    let found = NONE as FoundToken[]
    for (const place of this.headers) {
      if (place.name === AUTHORIZATION) {
        const value = joined(headers)
        const text = value === null ? null : behindPrefix(value, place.prefix)
        if (text !== null) found = added(found, text, place)
        continue
      }
      for (let i = headers.indexOf(place.name, 0); i >= 0; i = headers.indexOf(place.name, i + 1)) {
        const text = behindPrefix(headers.valueAt(i), place.prefix)
        if (text !== null) found = added(found, text, place)
      }
    }
    if (query !== null) {
      for (const place of this.params) {
        const text = paramOf(query, place.name)
        if (text !== null) found = added(found, text, place)
      }
    }
    for (const place of this.cookies) {
      const text = cookieOf(headers, place.name)
      if (text !== null) found = added(found, text, place)
    }
    return found
  }

  /** Headers in which tokens may be, for those who show them. */
  hide(headers: EditableHeaders): void {
    for (const { name } of this.headers) if (headers.indexOf(name, 0) >= 0) headers.set(name, '(may be a token)')
    if (this.cookies.length > 0 && headers.indexOf('cookie', 0) >= 0) headers.set('cookie', '(may be a token)')
  }

  /** What of a query may be shown: without the parameters that may be tokens. */
  withoutTokens(query: string): string | null {
    let left: string | null = query
    for (const { name } of this.params) if (left !== null) left = withoutParam(left, name)
    return left
  }
}

function added(found: FoundToken[], text: string, place: Place): FoundToken[] {
  if (found === NONE) return [{ text, place }]
  found.push({ text, place })
  return found
}

function addPlaces(places: Map<string, Place>, { issuer, headers, params, cookies }: JwtProvider): void {
  const put = (kind: Place['kind'], name: string, prefix: string): void => {
    const key = `${name}${prefix}`
    const id = `${kind} ${key}`
    const known = places.get(id)
    if (known === undefined) places.set(id, { kind, name, prefix, issuers: issuer === '' ? null : new Set([issuer]) })
    else if (issuer === '') known.issuers = null
    else known.issuers?.add(issuer)
  }
  for (const { name, prefix } of headers) put('header', name, prefix)
  for (const name of params) put('param', name, '')
  for (const name of cookies) put('cookie', name, '')
  if (headers.length > 0 || params.length > 0 || cookies.length > 0) return
  put('header', 'authorization', 'Bearer ')
  put('param', 'access_token', '')
}

/** It is one field, which cannot be a list (RFC 9110 §11.6.2): several of them are one, with commas, in which nobody finds a token. */
const AUTHORIZATION = 'authorization'

function joined(headers: EditableHeaders): string | null {
  const first = headers.indexOf(AUTHORIZATION, 0)
  if (first < 0) return null
  let value = headers.valueAt(first)
  for (let i = headers.indexOf(AUTHORIZATION, first + 1); i >= 0; i = headers.indexOf(AUTHORIZATION, i + 1))
    value += `,${headers.valueAt(i)}`
  return value
}

const TOKEN_CHARACTER = /[A-Za-z0-9_.-]/

/** What is behind the prefix, wherever that is, from the first character on that a token can have; null: there is no prefix. */
function behindPrefix(value: string, prefix: string): string | null {
  if (prefix === '') return value
  const at = value.indexOf(prefix)
  if (at < 0) return null
  const rest = value.substring(at + prefix.length)
  const start = rest.search(TOKEN_CHARACTER)
  // Envoy takes the whole value then, which is no token either.
  return start < 0 ? value : rest.substring(start)
}

/** The first value of a parameter, decoded. */
function paramOf(query: string, name: string): string | null {
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=')
    if (decoded(equals < 0 ? pair : pair.substring(0, equals)) === name)
      return equals < 0 ? '' : decoded(pair.substring(equals + 1))
  }
  return null
}

/** The query without a parameter; the others stay as they were written. */
export function withoutParam(query: string, name: string): string | null {
  const left = query.split('&').filter((pair) => {
    const equals = pair.indexOf('=')
    return decoded(equals < 0 ? pair : pair.substring(0, equals)) !== name
  })
  return left.length === 0 ? null : left.join('&')
}

function decoded(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** The first cookie of this name; quotes around its value are not of it. */
function cookieOf(headers: EditableHeaders, name: string): string | null {
  for (let i = headers.indexOf('cookie', 0); i >= 0; i = headers.indexOf('cookie', i + 1)) {
    for (const part of headers.valueAt(i).split(';')) {
      const equals = part.indexOf('=')
      if (equals < 0 || part.substring(0, equals).trimStart() !== name) continue
      const value = part.substring(equals + 1)
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
    }
  }
  return null
}

/** Takes a token off the request, wherever of its kind else it is. Cookies stay. */
export function removeToken(request: JwtRequest, { kind, name }: Place): void {
  if (kind === 'header') request.headers.remove(name)
  else if (kind === 'param' && request.query !== null) request.query = withoutParam(request.query, name)
}
