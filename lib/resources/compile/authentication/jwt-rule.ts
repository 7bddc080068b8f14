// One rule of a RequestAuthentication as a provider of tokens, and all of a workload together (istiod convertToEnvoyJwtConfig).
import type { JwksSource, JwtAuthentication, JwtProvider, JwtRequirement } from '../../../state/jwt.ts'
import type { ResourceObject } from '../../resource-object.ts'
import { durationMs } from '../../schema/fields.ts'
import type { JwtRuleSpec } from '../../schema/request-authentication.ts'
import { isHttpAddress } from '../../validate/request-authentication.ts'

export interface PlacedRule {
  readonly object: ResourceObject<'RequestAuthentication'>
  readonly index: number
  readonly rule: JwtRuleSpec
}

/** Envoy's. */
const CLOCK_SKEW_S = 60
const TIMEOUT_MS = 5000
/** PILOT_JWT_PUB_KEY_REFRESH_INTERVAL. */
const REFRESH_MS = 20 * 60_000
const ALWAYS_SPACED = ['permission', 'scope']
/** What the claims are known by behind the filter. */
const PAYLOAD = 'payload'
const DISCOVERY = '/.well-known/openid-configuration'

/** By issuer; those of one issuer as they came. `choosesRoute`: see JwtAuthentication. */
export function compileRules(rules: readonly PlacedRule[], choosesRoute: boolean): JwtAuthentication | null {
  if (rules.length === 0) return null
  const sorted = rules.toSorted((a, b) => compare(issuerOf(a), issuerOf(b)))
  const providers = sorted.map((placed, i) => providerOf(`origins-${i}`, placed))
  return { providers, requires: requirementOf(providers.map((p) => p.name)), bypassCorsPreflight: true, choosesRoute }
}

function issuerOf({ rule }: PlacedRule): string {
  return rule.issuer ?? ''
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** What is presented has to be valid by one of them, or nothing is presented: for those who share a place each is asked first by itself. */
function requirementOf(names: readonly string[]): JwtRequirement {
  const each = names.map((provider): JwtRequirement => ({ kind: 'provider', provider, audiences: [] }))
  const optional = each.map((one): JwtRequirement => ({ kind: 'any', of: [one, { kind: 'missing' }] }))
  return optional.length === 1 ? (optional[0] as JwtRequirement) : { kind: 'any', of: [...each, { kind: 'all', of: optional }] }
}

function providerOf(name: string, { object, index, rule }: PlacedRule): JwtProvider {
  return {
    name,
    issuer: rule.issuer ?? '',
    audiences: rule.audiences ?? [],
    keys: keysOf(rule),
    headers: (rule.fromHeaders ?? []).map((h) => ({ name: (h.name ?? '').toLowerCase(), prefix: h.prefix ?? '' })),
    params: rule.fromParams ?? [],
    cookies: rule.fromCookies ?? [],
    forward: rule.forwardOriginalToken ?? false,
    payloadHeader: (rule.outputPayloadToHeader ?? '').toLowerCase(),
    claimHeaders: (rule.outputClaimToHeaders ?? []).map((c) => ({
      header: (c.header ?? '').toLowerCase(),
      claim: c.claim ?? '',
    })),
    payloadMetadata: PAYLOAD,
    spaceDelimitedClaims: [...new Set([...(rule.spaceDelimitedClaims ?? []), ...ALWAYS_SPACED])].toSorted(compare),
    clockSkewS: CLOCK_SKEW_S,
    origin: object.origin(['jwtRules', index]),
  }
}

/** Written out, at an address, or where the issuer's own document says (OpenID Connect Discovery §4). */
function keysOf({ issuer = '', jwks = '', jwksUri, jwks_uri: older, timeout }: JwtRuleSpec): JwksSource {
  const uri = jwksUri ?? older ?? ''
  if (jwks !== '') return { jwks, uri: '', discovery: false, timeoutMs: 0, refreshMs: 0, through: null }
  const timeoutMs = timeout === undefined ? TIMEOUT_MS : durationMs(timeout)
  if (uri !== '') return { jwks: '', uri, discovery: false, timeoutMs, refreshMs: REFRESH_MS, through: null }
  return {
    jwks: '',
    uri: issuer.replace(/\/$/, '') + DISCOVERY,
    discovery: true,
    timeoutMs,
    refreshMs: REFRESH_MS,
    through: null,
  }
}

/** Why no key of the rule can ever be had; null: one can. */
export function keysProblem(rule: JwtRuleSpec): string | null {
  const { uri, discovery } = keysOf(rule)
  if (!discovery || isHttpAddress(uri)) return null
  return `there are no keys: neither jwks nor jwksUri is set, and the issuer \`${rule.issuer ?? ''}\` is no address where they could be asked for; each token is refused`
}

/** What says of a private key in a key set that everybody may read. */
export function privateKeysOf({ jwks = '' }: JwtRuleSpec): readonly number[] {
  try {
    const { keys } = JSON.parse(jwks) as { keys?: unknown }
    if (!Array.isArray(keys)) return []
    return keys.flatMap((k: unknown, i) => (typeof k === 'object' && k !== null && ('d' in k || 'k' in k) ? [i] : []))
  } catch {
    return []
  }
}
