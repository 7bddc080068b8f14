// Tokens and what is said of them, by Envoy's words: forms that are none, several tokens, requirements, the cache. Envoy itself is asked in integration/jwt-envoy.test.ts.
import t from 'tap'
import { JwkSet } from '../../../lib/filter/http/jwt-keys.ts'
import { HeaderMap } from '../../../lib/http/header-map.ts'
import { JwtAuthenticator, type JwtKeys } from '../../../lib/policy/jwt.ts'
import { JwtCache } from '../../../lib/policy/jwt-cache.ts'
import { claimText } from '../../../lib/policy/jwt-claims.ts'
import { statusText } from '../../../lib/policy/jwt-status.ts'
import { fromBase64Url, parseJwt } from '../../../lib/policy/jwt-token.ts'
import type { JwtProvider, JwtRequirement } from '../../../lib/state/jwt.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'
import { ecKey, edKey, jwksText, octKey, rsaKey, token } from '../../support/tokens.ts'

const NOW_S = 1_800_000_000
const ec = ecKey('P-256', { kid: 'ec' })

function provider(over: Partial<JwtProvider> = {}): JwtProvider {
  return {
    name: 'p',
    issuer: 'me',
    audiences: [],
    keys: { jwks: jwksText(ec), uri: '', discovery: false, timeoutMs: 0, refreshMs: 0, through: null },
    headers: [],
    params: [],
    cookies: [],
    forward: false,
    payloadHeader: '',
    claimHeaders: [],
    payloadMetadata: 'payload',
    spaceDelimitedClaims: [],
    clockSkewS: 60,
    origin: BUILT_IN,
    ...over,
  }
}

const P: JwtRequirement = { kind: 'provider', provider: 'p', audiences: [] }

function authenticator(
  requires: JwtRequirement = P,
  providers: readonly JwtProvider[] = [provider()],
  keysOf: (p: JwtProvider) => JwtKeys = ({ keys }) => new JwkSet(keys),
): JwtAuthenticator {
  return new JwtAuthenticator({ providers, requires, bypassCorsPreflight: false, choosesRoute: false }, keysOf)
}

function request(headers: readonly (readonly [string, string])[], query: string | null = null) {
  const map = new HeaderMap()
  for (const [name, value] of headers) map.add(name, value)
  return { headers: map, query }
}
const bearer = (text: string) => request([['authorization', `Bearer ${text}`]])
const ask = (a: JwtAuthenticator, text: string, nowS = NOW_S) => statusText(a.check(bearer(text), nowS))
const signed = (claims: object, header: object = {}) => token(ec, 'ES256', { iss: 'me', ...claims }, header)

t.test('a provider that is asked twice says it once', (t) => {
  const claimHeaders = [{ header: 'x-sub', claim: 'sub' }]
  const a = authenticator({ kind: 'all', of: [P, P] }, [provider({ forward: true, payloadHeader: 'x-payload', claimHeaders })])
  const asked = bearer(signed({ sub: 'ada' }))
  t.equal(statusText(a.check(asked, NOW_S)), statusText(0))
  for (const name of ['x-sub', 'x-payload'])
    t.equal(asked.headers.indexOf(name, asked.headers.indexOf(name, 0) + 1), -1, `one ${name}`)
  t.equal(asked.headers.get('x-sub'), 'ada')
  t.end()
})

t.test('a place that is not in the request has no token in it', (t) => {
  const optional: JwtRequirement = { kind: 'any', of: [P, { kind: 'missing' }] }
  for (const name of ['authorization', 'x-token']) {
    const a = authenticator(optional, [provider({ headers: [{ name, prefix: '' }] })])
    t.equal(statusText(a.check(request([]), NOW_S)), statusText(0), name)
    t.not(statusText(a.check(request([[name, '']]), NOW_S)), statusText(0), `${name} that is empty`)
  }
  t.end()
})

t.test('alg never chooses the kind of key: of each kind only its own, and none at all is none', async (t) => {
  const rsa = rsaKey()
  const ec384 = ecKey('P-384')
  const ed = edKey()
  const oct = octKey('secret')
  const sets: Readonly<Record<string, string>> = {
    RS256: jwksText(rsa),
    PS384: jwksText(rsa),
    ES256: jwksText(ec),
    ES384: jwksText(ec384),
    EdDSA: jwksText(ed),
    HS256: jwksText(oct),
  }
  const makers: Readonly<Record<string, () => string>> = {
    RS256: () => token(rsa, 'RS256', { iss: 'me' }),
    PS384: () => token(rsa, 'PS384', { iss: 'me' }),
    ES256: () => token(ec, 'ES256', { iss: 'me' }),
    ES384: () => token(ec384, 'ES384', { iss: 'me' }),
    EdDSA: () => token(ed, 'EdDSA', { iss: 'me' }),
    HS256: () => token(oct, 'HS256', { iss: 'me' }),
  }
  const sameKey = new Set(['RS256 PS384', 'PS384 RS256'])
  for (const [of, jwks] of Object.entries(sets))
    for (const [alg, make] of Object.entries(makers)) {
      const keys = { jwks, uri: '', discovery: false, timeoutMs: 0, refreshMs: 0, through: null }
      const said = ask(authenticator(P, [provider({ keys })]), make())
      const fits = of === alg || sameKey.has(`${of} ${alg}`)
      const length = of === 'EdDSA' && said === 'Jwt ED25519 signature is wrong length'
      t.equal(said, fits ? 'OK' : length ? said : 'Jwt verification fails', `${alg} by a key for ${of}`)
    }
  // The hash is the header's, the key is the set's: signed with P-256, said to be ES384.
  t.equal(ask(authenticator(), token(ec, 'ES384', { iss: 'me' })), 'Jwt verification fails')
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.e30`
  t.equal(ask(authenticator(), none), 'Jwt header [alg] is not supported')
})

t.test('keys that are none, or not there', async (t) => {
  const rows: readonly (readonly [jwks: string, uri: string, said: string])[] = [
    ['', 'https://a/keys', 'Jwks remote fetch is failed'],
    ['{"keys":[]}', '', "Jwks doesn't have any valid public key"],
    ['{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}', '', "Jwks doesn't have any valid public key"],
    ['{"keys":[{"kty":"oct","k":""},{"kty":"strange"},7,null]}', '', "Jwks doesn't have any valid public key"],
    [jwksText(ecKey('P-256', { kid: 'other' })), '', "Jwks doesn't have key to match kid or alg from Jwt"],
    [jwksText(ecKey('P-256')), '', 'Jwt verification fails'],
    [`{"keys":[{"kty":"strange"},${JSON.stringify(ec.jwk)}]}`, '', 'OK'],
  ]
  for (const [jwks, uri, said] of rows) {
    const keys = { jwks, uri, discovery: false, timeoutMs: 0, refreshMs: 0, through: null }
    t.equal(ask(authenticator(P, [provider({ keys })]), signed({}, { kid: 'ec' })), said, jwks)
  }
})

t.test('an RSA key is no secret of an HMAC', async (t) => {
  const rsa = rsaKey()
  const set = new JwkSet({ jwks: jwksText(rsa), uri: '' })
  const forged = token(octKey(String(rsa.jwk['n'])), 'HS256', { iss: 'me' })
  t.equal(statusText(set.verify(parseJwt(forged))), 'Jwt verification fails')
})

t.test('base64url', async (t) => {
  for (const [text, bytes] of [
    ['', ''],
    ['YQ', 'a'],
    ['YQ==', 'a'],
    ['YWI', 'ab'],
    ['YWI=', 'ab'],
    ['YWJj', 'abc'],
  ] as const)
    t.equal(Buffer.from(fromBase64Url(text) ?? 'no').toString(), bytes, text)
  for (const text of ['Y', 'YQ=', 'YWJj=', 'Y+', 'Y/', 'Y Q', 'Y=Q', '===', 'YQ\n']) t.equal(fromBase64Url(text), null, text)
})

t.test('what is signed is believed of its own properties only', async (t) => {
  t.equal(parseJwt(signed({})).audiences.length, 0)
  t.equal(claimText(JSON.parse('{"a":{"b":"c"}}'), 'constructor.name'), '')
  t.equal(claimText(JSON.parse('{"__proto__":{"x":"y"}}'), '__proto__.x'), 'y')
})

t.test('claims as headers end no line', async (t) => {
  const rows: readonly (readonly [claim: unknown, header: string])[] = [
    ['a', 'a'],
    ['a\r\nx-admin: 1', ''],
    ['a\0', ''],
    ['Zoë', 'Zo\u00c3\u00ab'],
    [7, '7'],
    [-7, '-7.000000'],
    [1.5, '1.500000'],
    [true, 'true'],
    [null, ''],
    [['a'], Buffer.from('["a"]').toString('base64')],
  ]
  for (const [claim, header] of rows) t.equal(claimText({ claim: claim as string }, 'claim'), header, String(claim))
})

t.test('times: a minute of skew, and no exp is for ever', async (t) => {
  const rows: readonly (readonly [claims: object, said: string])[] = [
    [{}, 'OK'],
    [{ exp: NOW_S - 60 }, 'OK'],
    [{ exp: NOW_S - 61 }, 'Jwt is expired'],
    [{ nbf: NOW_S + 60 }, 'OK'],
    [{ nbf: NOW_S + 61 }, 'Jwt not yet valid'],
    [{ exp: 0 }, 'OK'],
  ]
  for (const [claims, said] of rows) t.equal(ask(authenticator(), signed(claims)), said, JSON.stringify(claims))
})

t.test('a verified token is not verified again until it expires, and a refused one is each time', async (t) => {
  let asked = 0
  const counting = (valid: boolean) => (): JwtKeys => ({
    verify: () => {
      asked++
      return valid ? 0 : 25
    },
  })
  const good = authenticator(P, [provider()], counting(true))
  const mine = signed({ exp: NOW_S, sub: 'a' })
  for (let i = 0; i < 3; i++) t.equal(ask(good, mine), 'OK')
  t.equal(asked, 1)
  t.equal(ask(good, mine, NOW_S + 61), 'Jwt is expired')
  t.equal(ask(good, mine), 'OK')
  t.equal(asked, 2, 'its entry had ended with it')
  const bad = authenticator(P, [provider()], counting(false))
  asked = 0
  for (let i = 0; i < 3; i++) ask(bad, mine)
  t.equal(asked, 3)
})

t.test('the cache has a hundred tokens of 4096 characters, and the oldest makes room', async (t) => {
  const cache = new JwtCache()
  const parsed = parseJwt(signed({}))
  for (let i = 0; i < 150; i++) cache.put(`t${i}`, parsed)
  t.equal(cache.size, 100)
  t.equal(cache.get('t49'), undefined)
  t.equal(cache.get('t50'), parsed)
  cache.put('x'.repeat(4097), parsed)
  t.equal(cache.get('x'.repeat(4097)), undefined)
})

t.test('claims are believed only when the whole requirement holds', async (t) => {
  const two: JwtRequirement = { kind: 'all', of: [P, { kind: 'provider', provider: 'q', audiences: [] }] }
  const a = authenticator(two, [provider(), provider({ name: 'q', headers: [{ name: 'x-q', prefix: '' }] })])
  t.equal(statusText(a.check(bearer(signed({})), NOW_S)), 'Jwt is missing')
  t.equal(a.verified.length, 0)
  const both = request([
    ['authorization', `Bearer ${signed({})}`],
    ['x-q', signed({})],
  ])
  t.equal(statusText(a.check(both, NOW_S)), 'OK')
  t.equal(a.verified.length, 2)
  t.equal(both.headers.get('x-q'), null)
})

t.test('output headers go for all providers, whichever is asked', async (t) => {
  const other = provider({ name: 'q', claimHeaders: [{ header: 'x-q-sub', claim: 'sub' }] })
  const a = authenticator(P, [provider({ payloadHeader: 'x-p' }), other])
  const forged = request([
    ['X-P', 'a'],
    ['x-q-sub', 'root'],
    ['x-q-sub', 'root'],
    ['x-r', 'stays'],
  ])
  a.removeOutputs(forged)
  t.same(
    ['x-p', 'x-q-sub', 'x-r'].map((n) => forged.headers.get(n)),
    [null, null, 'stays'],
  )
})

t.test('claims that are lists with spaces', async (t) => {
  const a = authenticator(P, [provider({ spaceDelimitedClaims: ['scope', 'permission'] })])
  ask(a, signed({ scope: 'read  write', permission: ['x y'], roles: 'a b' }))
  t.match(a.verified[0]?.claims, { scope: ['read', 'write'], permission: ['x y'], roles: 'a b' })
})

t.test('what is shown of a request is without its tokens', async (t) => {
  const a = authenticator(P, [provider({ params: ['tok'], headers: [{ name: 'x-t', prefix: '' }], cookies: ['c'] })])
  t.equal(a.withoutTokens('a=1&tok=x&t%6Fk=y&b=%20'), 'a=1&b=%20')
  t.equal(a.withoutTokens('tok=x'), null)
  const { headers } = request([
    ['x-t', 'secret'],
    ['cookie', 'c=secret'],
    ['x-u', 'u'],
  ])
  a.hideTokens(headers)
  t.same(
    ['x-t', 'cookie', 'x-u'].map((n) => headers.get(n)),
    ['(may be a token)', '(may be a token)', 'u'],
  )
})
