// The jwt_authn filter, mostly with an RBAC filter over the claims behind it.
import type { Dice } from '../../chaos/dice.ts'
import type { HeaderPair } from '../../support/h1-reader.ts'
import { ecKey, jwksText, octKey, rsaKey, type SigningKey, token } from '../../support/tokens.ts'
import { httpFilter } from '../../support/xds-json.ts'
import { EVERYWHERE, rbacFilter } from './draw-rbac.ts'
import { requestOf } from './draw-requests.ts'
import { stringMatcher } from './draw-texts.ts'
import { type FuzzRequest, mixed, type Subject, several } from './subject.ts'

const KEYS: readonly (readonly [alg: string, kid: string, key: SigningKey])[] = [
  ['RS256', 'r', rsaKey({ kid: 'r' })],
  ['RS256', 's', rsaKey({ kid: 's', alg: 'RS256' })],
  ['ES256', 'e', ecKey('P-256', { kid: 'e' })],
  ['PS256', 'p', rsaKey({ kid: 'p' })],
  ['RS256', '', rsaKey()],
  ['HS256', 'h', octKey('0123456789abcdef0123456789abcdef', { kid: 'h' })],
]
/** Nobody's; it says that it is one of the others. */
const STRANGER = rsaKey({ kid: 'r' })
const ISSUERS = ['https://a.example', 'b@example', 'c']
const AUDIENCES = ['x', 'y', 'https://x/', 'https://x', 'x,y', '']
const FUTURE = 4_102_444_800
const NAMES = ['authorization', 'x-jwt', 'x-a', 'cookie'] as const

const claims = (dice: Dice): object => ({
  ...(dice.chance(0.93) ? { iss: dice.one(ISSUERS) } : {}),
  ...(dice.chance(0.8) ? { sub: dice.one(['a', 'b', 'admin', '', 'a b', '\u00e4']) } : {}),
  ...(dice.chance(0.5)
    ? { aud: dice.one<unknown>(['x', 'y', ['x', 'z'], [], 'https://x', 'http://x/', ['https://x/'], '']) }
    : {}),
  ...(dice.chance(0.5) ? { exp: dice.one<unknown>([FUTURE, FUTURE, FUTURE, 1, 0, FUTURE + 0.5, String(FUTURE), -1]) } : {}),
  ...(dice.chance(0.15) ? { nbf: dice.one([1, FUTURE]) } : {}),
  ...(dice.chance(0.05) ? { iat: dice.one<unknown>([1, 'x']) } : {}),
  ...(dice.chance(0.4)
    ? { group: dice.one<unknown>(['admin', ['admin', 'b'], 1, true, null, [], { admin: 1 }, 1.5, 10_000_000_000_000_000]) }
    : {}),
  ...(dice.chance(0.3) ? { scope: dice.one<unknown>(['a b', 'admin', ['a', 'b'], 'a  b', '']) } : {}),
  ...(dice.chance(0.2)
    ? { realm: dice.one<unknown>([{ role: 'admin' }, { role: ['admin', 'a'] }, 'admin', [{ role: 'a' }]]) }
    : {}),
})

/** That `alg` chooses no other kind of key is for unit tests: Envoy takes some that heddle refuses. */
function tokenOf(dice: Dice): string {
  const [alg, kid, key] = dice.one(KEYS)
  const header = {
    ...(kid !== '' && dice.chance(0.85) ? { kid } : {}),
    ...(dice.chance(0.05) ? { kid: dice.one(['r', 'none', '']) } : {}),
    ...(dice.chance(0.05) ? { alg: dice.one(['none', 'rs256', '', 1]) } : {}),
  }
  const text = dice.chance(0.06) ? token(STRANGER, 'RS256', claims(dice), { kid: 'r' }) : token(key, alg, claims(dice), header)
  return dice.chance(0.85) ? text : garbled(dice, text)
}

function garbled(dice: Dice, text: string): string {
  const [head = '', payload = '', signature = ''] = text.split('.')
  return dice.one([
    `${head}.${payload}.`,
    `${head}.${payload}`,
    `${head}..${signature}`,
    `.${payload}.${signature}`,
    `${text}.x`,
    `${text}=`,
    `${text}==`,
    `${text},x`,
    `x${text}`,
    `${head}.${payload}.${signature.slice(1)}`,
    `${head}.${payload}.${signature.slice(0, -1)}A`,
    `${head}.${payload.slice(0, -2)}.${signature}`,
    `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`,
    text.toUpperCase(),
    `${text}\x22`,
    'a.b.c',
    '..',
    '',
    'x',
  ])
}

function provider(dice: Dice, issuer: string): object {
  const keys = dice.chance(0.7) ? KEYS : KEYS.filter(() => dice.chance(0.5))
  const some = keys.length === 0 ? KEYS : keys
  return {
    ...(dice.chance(0.9) ? { issuer } : {}),
    ...(dice.chance(0.4) ? { audiences: several(dice, 1, 2, () => dice.one(AUDIENCES.filter((a) => a !== ''))) } : {}),
    local_jwks: { inline_string: jwksText(...some.map(([, , key]) => key)) },
    ...(dice.chance(0.4) ? { forward: true } : {}),
    ...(dice.chance(0.4)
      ? {
          from_headers: several(dice, 1, 2, () => ({
            name: dice.one(['authorization', 'x-jwt', 'X-A']),
            ...(dice.chance(0.6) ? { value_prefix: dice.one(['Bearer ', 'Bearer', 'jwt=']) } : {}),
          })),
        }
      : {}),
    ...(dice.chance(0.3) ? { from_params: several(dice, 1, 2, () => dice.one(['t', 'q', 'access_token'])) } : {}),
    ...(dice.chance(0.2) ? { from_cookies: ['c'] } : {}),
    ...(dice.chance(0.3) ? { forward_payload_header: 'x-payload' } : {}),
    ...(dice.chance(0.5)
      ? {
          claim_to_headers: several(dice, 1, 2, () => ({
            header_name: dice.one(['x-sub', 'x-b']),
            claim_name: dice.one(['sub', 'group', 'realm.role', 'aud', 'exp', 'scope', 'realm']),
          })),
        }
      : {}),
    payload_in_metadata: 'payload',
    ...(dice.chance(0.5) ? { normalize_payload_in_metadata: { space_delimited_claims: ['scope', 'permission'] } } : {}),
    ...(dice.chance(0.2) ? { clock_skew_seconds: dice.one([1, 60, 600]) } : {}),
  }
}

function requirement(dice: Dice, names: readonly string[], depth: number): object {
  const list = (): object => ({ requirements: several(dice, 2, 3, () => requirement(dice, names, depth - 1)) })
  return dice.weighted<() => object>([
    [4, () => ({ provider_name: dice.one(names) })],
    [
      2,
      () => ({
        provider_and_audiences: { provider_name: dice.one(names), audiences: several(dice, 0, 2, () => dice.one(AUDIENCES)) },
      }),
    ],
    [
      depth > 0 ? 6 : 0,
      () => ({
        requires_any: {
          requirements: [{ provider_name: dice.one(names) }, ...several(dice, 1, 2, () => requirement(dice, names, depth - 1))],
        },
      }),
    ],
    [depth > 0 ? 3 : 0, () => ({ requires_all: list() })],
    [1.5, () => ({ allow_missing: {} })],
    [0.7, () => ({ allow_missing_or_failed: {} })],
  ])()
}

function jwtFilter(dice: Dice): object {
  const names = ['p', 'q', 'r'].slice(0, dice.whole(1, 4))
  // Of two of one issuer it is not said which is asked.
  const issuers = mixed(dice, ISSUERS)
  return httpFilter('http.jwt_authn.v3.JwtAuthentication', {
    providers: Object.fromEntries(names.map((name, i) => [name, provider(dice, issuers[i] as string)])),
    rules: [{ match: { prefix: '/' }, requires: requirement(dice, names, 2) }],
    ...(dice.chance(0.5) ? { bypass_cors_preflight: true } : {}),
  })
}

function claimMatcher(dice: Dice): object {
  const path = dice.one([['sub'], ['group'], ['scope'], ['aud'], ['iss'], ['realm', 'role'], ['exp'], []])
  const string_match = stringMatcher(dice, ['a', 'admin', 'b', 'A', 'x', 'a b', 'https://a.example', ''])
  const value = dice.weighted<object>([
    [3, { string_match }],
    [3, { list_match: { one_of: { string_match } } }],
    [3, { or_match: { value_matchers: [{ string_match }, { list_match: { one_of: { string_match } } }] } }],
    [1, { present_match: true }],
    [0.5, { bool_match: true }],
    [0.5, { null_match: {} }],
    [0.5, { double_match: { exact: 1 } }],
    [0.5, { double_match: { range: { start: 0, end: 2 } } }],
  ])
  const keys = ['payload', ...path].map((key) => ({ key }))
  return { filter: 'envoy.filters.http.jwt_authn', path: keys, value, ...(dice.chance(0.3) ? { invert: true } : {}) }
}

function withTokens(dice: Dice): FuzzRequest {
  const headers: HeaderPair[] = several(dice, 0, 2, () => {
    const name = dice.weighted([
      [6, NAMES[0]],
      [2, NAMES[1]],
      [2, NAMES[2]],
      [1, NAMES[3]],
    ])
    if (name === 'cookie')
      return [name, dice.one([`c=${tokenOf(dice)}`, `x=1; c=${tokenOf(dice)}`, `c="${tokenOf(dice)}"`, `C=${tokenOf(dice)}`])]
    const prefix = dice.weighted([
      [6, 'Bearer '],
      [2, ''],
      [1, 'Bearer'],
      [1, 'jwt='],
      [1, 'bearer '],
      [1, 'Basic a Bearer '],
      [0.5, 'Bearer  '],
    ])
    return [name, `${prefix}${tokenOf(dice)}`]
  })
  const query = dice.chance(0.25)
    ? `?${dice.one(['', 'z=1&'])}${dice.one(['t', 'q', 'access_token', 'T', '%74'])}=${tokenOf(dice)}${dice.one(['', '&y=2', '&t=x'])}`
    : dice.one(['', '?y=1'])
  const cors: HeaderPair[] = dice.chance(0.05)
    ? [
        ['origin', 'http://a'],
        ['access-control-request-method', 'GET'],
      ]
    : []
  return requestOf(dice, [...headers, ...cors], `${dice.one(['/', '/a', '/admin'])}${query}`)
}

export function drawJwt(dice: Dice): Subject {
  return {
    filters: [jwtFilter(dice), ...(dice.chance(0.6) ? [rbacFilter(dice, () => claimMatcher(dice), 6)] : [])],
    manager: { normalize_path: true },
    routes: EVERYWHERE,
    requests: several(dice, 40, 40, () => withTokens(dice)),
  }
}
