// Hot lane: who a request says it is by its tokens (Envoy's jwt_authn filter): asked for each request, compiled when configuration changes. Pure: time and the
// verifying of signatures are passed in.

import type { JsonObject } from '../base/json-value.ts'
import type { EditableHeaders } from '../route/request-view.ts'
import type { JwtAuthentication, JwtProvider, JwtRequirement } from '../state/jwt.ts'
import { JwtCache } from './jwt-cache.ts'
import { claimText, NormalizedClaims, sanitizedAudience } from './jwt-claims.ts'
import { type FoundToken, type JwtRequest, removeToken, TokenPlaces } from './jwt-locations.ts'
import * as T from './jwt-status.ts'
import { type ParsedJwt, parseJwt } from './jwt-token.ts'

/** The keys of a provider. */
export interface JwtKeys {
  /** A status of jwt-status.ts. Synchronous: a request does not wait for it. */
  verify(token: ParsedJwt): number
}

/** Of a provider of a name: what it found out about the request. */
export interface VerifiedClaims {
  readonly provider: JwtProvider
  readonly claims: JsonObject
}

/** What is carried through the questions of one request. */
class Asking {
  request: JwtRequest
  nowS: number
  /** Tokens that have been found to be valid. */
  verified: VerifiedClaims[]
  /** Index of the provider that refused last; -1: none of them. */
  refusedBy: number

  constructor() {
    this.request = { headers: NO_HEADERS, query: null }
    this.nowS = 0
    this.verified = []
    this.refusedBy = -1
  }
}

class CompiledProvider {
  readonly config: JwtProvider
  readonly index: number
  readonly places: TokenPlaces
  readonly keys: JwtKeys
  private readonly audiences: ReadonlySet<string>
  private readonly cache: JwtCache
  private readonly claims: NormalizedClaims
  private readonly outputs: readonly string[]

  constructor(config: JwtProvider, index: number, keys: JwtKeys) {
    this.config = config
    this.index = index
    this.places = new TokenPlaces([config])
    this.keys = keys
    this.audiences = audienceSet(config.audiences)
    this.cache = new JwtCache()
    this.claims = new NormalizedClaims(config.spaceDelimitedClaims)
    this.outputs = outputsOf(config)
  }

  /** Whether a token is valid, and what follows from it if it is. `audiences`: in place of the provider's own; null: those. */
  check(asking: Asking, found: FoundToken, audiences: ReadonlySet<string> | null): number {
    const known = this.cache.get(found.text)
    const token = known ?? parseJwt(found.text)
    if (token.status !== T.OK) return token.status
    if (found.place.issuers !== null && !found.place.issuers.has(token.issuer)) return T.UNKNOWN_ISSUER
    const { clockSkewS } = this.config
    if (asking.nowS + clockSkewS < token.notBeforeS) return T.NOT_YET_VALID
    if (token.expiresS !== 0 && asking.nowS > token.expiresS + clockSkewS) {
      if (known !== undefined) this.cache.delete(found.text)
      return T.EXPIRED
    }
    if (!isAllowed(audiences ?? this.audiences, token.audiences)) return T.AUDIENCE_NOT_ALLOWED
    if (known === undefined) {
      const status = this.keys.verify(token)
      if (status !== T.OK) return status
      this.cache.put(found.text, token)
    }
    this.accept(asking, found, token)
    return T.OK
  }

  takeBack({ request, verified }: Asking): void {
    const { config } = this
    if (verified.some((v) => v.provider === config)) for (const name of this.outputs) request.headers.remove(name)
  }

  private accept(asking: Asking, { place }: FoundToken, token: ParsedJwt): void {
    const { config } = this
    const { request } = asking
    if (config.payloadHeader !== '') request.headers.add(config.payloadHeader, token.payload)
    for (const { header, claim } of config.claimHeaders) {
      const text = claimText(token.claims, claim)
      if (text !== '') request.headers.add(header, text)
    }
    if (!config.forward) removeToken(request, place)
    asking.verified.push({ provider: config, claims: this.claims.of(token) })
  }
}

/** Statuses of jwt-status.ts. */
interface CompiledRequirement {
  check(asking: Asking): number
}

class ProviderRequirement implements CompiledRequirement {
  private readonly provider: CompiledProvider
  private readonly audiences: ReadonlySet<string> | null

  constructor(provider: CompiledProvider, audiences: readonly string[]) {
    this.provider = provider
    this.audiences = audiences.length === 0 ? null : audienceSet(audiences)
  }

  /** All tokens have to be valid: who stands behind us might take the other one. */
  check(asking: Asking): number {
    const { provider } = this
    // Who is asked twice says it once (Envoy takes off what a provider has said when it is asked).
    if (asking.verified.length > 0) provider.takeBack(asking)
    const tokens = provider.places.find(asking.request)
    if (tokens.length === 0) return T.MISSING
    for (let i = tokens.length - 1; i >= 0; i--) {
      const status = provider.check(asking, tokens[i] as FoundToken, this.audiences)
      if (status === T.OK) continue
      asking.refusedBy = provider.index
      return status
    }
    return T.OK
  }
}

/** Of whichever provider has issued it: the tokens of all places of all of them. */
class MissingRequirement implements CompiledRequirement {
  private readonly providers: readonly CompiledProvider[]
  private readonly places: TokenPlaces
  private readonly failedToo: boolean

  constructor(providers: readonly CompiledProvider[], failedToo: boolean) {
    this.providers = providers
    this.places = new TokenPlaces(providers.map((p) => p.config))
    this.failedToo = failedToo
  }

  check(asking: Asking): number {
    const tokens = this.places.find(asking.request)
    let said = T.OK
    for (let i = tokens.length - 1; i >= 0; i--) {
      const status = this.checkOne(asking, tokens[i] as FoundToken)
      if (status !== T.OK) said = status
    }
    return this.failedToo ? T.OK : said
  }

  private checkOne(asking: Asking, found: FoundToken): number {
    const { status, issuer } = parseJwt(found.text)
    if (status !== T.OK) return status
    const provider = this.providers.find((p) => p.config.issuer === issuer) ?? this.providers.find((p) => p.config.issuer === '')
    if (provider === undefined) return T.UNKNOWN_ISSUER
    const said = provider.check(asking, found, null)
    if (said !== T.OK) asking.refusedBy = provider.index
    return said
  }
}

class AllRequirement implements CompiledRequirement {
  private readonly of: readonly CompiledRequirement[]

  constructor(of: readonly CompiledRequirement[]) {
    this.of = of
  }

  check(asking: Asking): number {
    for (const one of this.of) {
      const status = one.check(asking)
      if (status !== T.OK) return status
    }
    return T.OK
  }
}

/** One that says that something may be missing speaks last, for all the others. */
class AnyRequirement implements CompiledRequirement {
  private readonly of: readonly CompiledRequirement[]
  private readonly allowsMissing: boolean
  private readonly allowsFailed: boolean

  constructor(of: readonly CompiledRequirement[], allowsMissing: boolean, allowsFailed: boolean) {
    this.of = of
    this.allowsMissing = allowsMissing
    this.allowsFailed = allowsFailed
  }

  check(asking: Asking): number {
    let said = T.MISSING
    for (const one of this.of) {
      const status = one.check(asking)
      if (status === T.OK) return T.OK
      // What is wrong with a token says more than that its issuer is another's, and that more than that there is none.
      if ((status !== T.MISSING && status !== T.UNKNOWN_ISSUER) || said === T.MISSING) said = status
    }
    return this.allowsFailed || (this.allowsMissing && said === T.MISSING) ? T.OK : said
  }
}

const NOTHING: CompiledRequirement = { check: () => T.OK }

/** The filter of a chain. One for all of its requests: an answer is read before the next question. */
export class JwtAuthenticator {
  readonly config: JwtAuthentication
  /** Of the last question: what is believed of the client; empty unless the answer was OK. */
  verified: readonly VerifiedClaims[]
  /** Of the last question: index of the provider that refused it; -1: none did. */
  refusedBy: number
  private readonly root: CompiledRequirement
  private readonly outputs: readonly string[]
  private readonly places: TokenPlaces
  private readonly asking: Asking

  constructor(config: JwtAuthentication, keysOf: (provider: JwtProvider) => JwtKeys) {
    const providers = config.providers.map((p, i) => new CompiledProvider(p, i, keysOf(p)))
    this.config = config
    this.verified = NOBODY
    this.refusedBy = -1
    this.root = compiled(config.requires, providers)
    this.outputs = [...new Set(config.providers.flatMap(outputsOf))]
    this.places = new TokenPlaces(config.providers)
    this.asking = new Asking()
  }

  /** OK, or why the request is refused: a status of jwt-status.ts. Takes valid tokens off the request and puts their claims on it. */
  check(request: JwtRequest, nowS: number): number {
    const { asking } = this
    asking.request = request
    asking.nowS = nowS
    asking.verified = []
    asking.refusedBy = -1
    const status = this.root.check(asking)
    asking.request = NO_REQUEST
    this.verified = status === T.OK ? asking.verified : NOBODY
    this.refusedBy = status === T.OK ? -1 : asking.refusedBy
    return status
  }

  /** Nobody but us says what a token claims, also where there is none. Before `check`. */
  removeOutputs({ headers }: JwtRequest): void {
    for (const name of this.outputs) headers.remove(name)
  }

  /** For explanations: headers as the choice of the route saw them, `found` being what was told of the request (`payloadMetadata`); null: nothing. */
  outputsOf(request: JwtRequest, found: JsonObject | null): void {
    this.removeOutputs(request)
    for (const { issuer, payloadMetadata, payloadHeader, claimHeaders } of this.config.providers) {
      const claims = found?.[payloadMetadata] as JsonObject | undefined
      if (claims === undefined || (issuer !== '' && claims['iss'] !== issuer)) continue
      if (payloadHeader !== '') request.headers.add(payloadHeader, '(the payload)')
      for (const { header, claim } of claimHeaders) {
        const text = claimText(claims, claim)
        if (text !== '') request.headers.add(header, text)
      }
    }
  }

  /** Headers as they may be shown. */
  hideTokens(headers: EditableHeaders): void {
    this.places.hide(headers)
  }

  /** A query as it may be logged; null: nothing of it is left. */
  withoutTokens(query: string): string | null {
    return this.places.withoutTokens(query)
  }
}

const NOBODY: readonly VerifiedClaims[] = []
const NO_HEADERS: JwtRequest['headers'] = {
  get: () => null,
  indexOf: () => -1,
  valueAt: () => '',
  remove: () => {},
  set: () => {},
  add: () => {},
}
const NO_REQUEST: JwtRequest = { headers: NO_HEADERS, query: null }

function compiled(requirement: JwtRequirement, providers: readonly CompiledProvider[]): CompiledRequirement {
  switch (requirement.kind) {
    case 'none':
      return NOTHING
    case 'provider': {
      const provider = providers.find((p) => p.config.name === requirement.provider)
      if (provider === undefined) throw new Error(`jwt: there is no provider ${requirement.provider}`)
      return new ProviderRequirement(provider, requirement.audiences)
    }
    case 'all':
      return new AllRequirement(requirement.of.map((r) => compiled(r, providers)))
    case 'any':
      return compiledAny(requirement.of, providers)
    case 'missing':
      return new MissingRequirement(providers, false)
    case 'missingOrFailed':
      return new MissingRequirement(providers, true)
  }
}

function compiledAny(of: readonly JwtRequirement[], providers: readonly CompiledProvider[]): CompiledRequirement {
  const missing = of.some((r) => r.kind === 'missing')
  const failed = of.some((r) => r.kind === 'missingOrFailed')
  const others = of.filter((r) => r.kind !== 'missing' && r.kind !== 'missingOrFailed')
  if (others.length === 0 && (missing || failed)) return new MissingRequirement(providers, failed)
  return new AnyRequirement(
    others.map((r) => compiled(r, providers)),
    missing,
    failed,
  )
}

function outputsOf({ payloadHeader, claimHeaders }: JwtProvider): string[] {
  return [...(payloadHeader === '' ? [] : [payloadHeader]), ...claimHeaders.map((c) => c.header)]
}

function audienceSet(audiences: readonly string[]): ReadonlySet<string> {
  return new Set(audiences.map(sanitizedAudience))
}

function isAllowed(allowed: ReadonlySet<string>, audiences: readonly string[]): boolean {
  return allowed.size === 0 || audiences.some((a) => allowed.has(sanitizedAudience(a)))
}
