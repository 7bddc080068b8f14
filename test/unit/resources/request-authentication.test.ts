// RequestAuthentication objects: what is refused, for whom they hold, and what they come to (Istio ValidateRequestAuthentication; security/v1beta1/request_authentication.proto).
import t, { type Test } from 'tap'
import type { JwtAuthentication, JwtRequirement } from '../../../lib/state/jwt.ts'
import type { Listener } from '../../../lib/state/listener.ts'
import { loadText, type View } from './kit.ts'

const object = (spec: string, name = 'x', namespace = 'default') =>
  `---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`
const JWKS = `'{"keys": []}'`
const rule = (more: string) => `{jwtRules: [{issuer: "https://a.example", jwks: ${JWKS}, ${more}}]}`
const INBOUND: View = {
  listeners: [{ name: 'in', direction: 'inbound', protocol: 'http', forwardTo: '127.0.0.1:9080' }],
}

t.test('refused, with the place and what to write', async (t) => {
  const rows: readonly (readonly [spec: string, reason: RegExp])[] = [
    ['{jwtRule: []}', /unknown field `jwtRule`; did you mean `jwtRules`/],
    ['{jwtRules: [{}]}', /jwtRules\[0\]: expected `issuer`/],
    ['{selector: {}, targetRefs: [{kind: Service, name: a}]}', /only one of selector, targetRef and targetRefs/],
    ['{selector: {matchLabels: {a: "*"}}}', /a selector has no wildcards/],
    [rule('audiences: [a, ""]'), /audiences\[1\]: expected an audience, found an empty text/],
    [rule('jwksUri: "https://a.example/k"'), /jwks and jwksUri cannot both be set/],
    ['{jwtRules: [{issuer: a, jwksUri: "ftp://a.example"}]}', /begins with http:\/\/ or https:\/\/, found `ftp:\/\/a\.example`/],
    ['{jwtRules: [{issuer: a, jwksUri: "nowhere"}]}', /found `nowhere`/],
    ['{jwtRules: [{issuer: a, jwks: "{"}]}', /jwks: expected a JSON Web Key Set: it is no JSON/],
    ['{jwtRules: [{issuer: a, jwks: "[]"}]}', /an object with a list `keys`/],
    [rule('fromHeaders: [{prefix: a}]'), /fromHeaders\[0\]\.name: expected the name of a header/],
    [rule('fromParams: [""]'), /fromParams\[0\]: expected the name of a query parameter/],
    [rule('fromCookies: [""]'), /fromCookies\[0\]: expected the name of a cookie/],
    [rule('outputClaimToHeaders: [{header: x-a}]'), /outputClaimToHeaders\[0\]: expected the name of a claim/],
    [rule('outputClaimToHeaders: [{header: "x a", claim: b}]'), /found `x a`/],
    [rule('timeout: 5'), /timeout: expected a duration/],
    [rule('timeout: 0s'), /timeout/],
    [rule('spaceDelimitedClaims: [""]'), /expected the name of a claim/],
    [rule(`spaceDelimitedClaims: [${Array.from({ length: 65 }, (_, i) => `c${i}`)}]`), /expected 64 at most, found 65/],
  ]
  for (const [spec, reason] of rows) {
    const [status] = loadText(t, object(spec), INBOUND).statuses
    t.equal(status?.state, 'refused', spec)
    t.match(status?.reason, reason, spec)
  }
})

function jwtOf({ filterChains: [chain] }: Listener): JwtAuthentication | null {
  return chain?.network.kind === 'http' ? chain.network.jwt : null
}

function inbound(t: Test, text: string, view: View = {}): JwtAuthentication | null {
  const { snapshot, statuses } = loadText(t, text, { ...INBOUND, ...view })
  t.same(
    statuses.filter((s) => s.state === 'refused'),
    [],
  )
  return jwtOf(snapshot.listeners.find((l) => l.name === 'in') as Listener)
}

const issuers = (jwt: JwtAuthentication | null) => jwt?.providers.map((p) => p.issuer) ?? null
const one = (issuer: string, more = '') => `{${more} jwtRules: [{issuer: "${issuer}", jwks: ${JWKS}}]}`

t.test('for whom it holds: the root namespace, the namespace, the labels', async (t) => {
  const rows: readonly (readonly [title: string, text: string, issuers: readonly string[] | null])[] = [
    ['none', '', null],
    ['without rules', object('{}'), null],
    ['the namespace', object(one('a')), ['a']],
    ['another namespace', object(one('a'), 'x', 'other'), null],
    ['the root namespace', object(one('a'), 'x', 'istio-system'), ['a']],
    ['the labels', object(one('a', 'selector: {matchLabels: {app: web}},')), ['a']],
    ['other labels', object(one('a', 'selector: {matchLabels: {app: db}},')), null],
    [
      'all that hold, by issuer',
      object(one('c'), 'x', 'istio-system') + object(one('b'), 'y') + object(one('a'), 'z'),
      ['a', 'b', 'c'],
    ],
    ['targets are for gateways and waypoints', object(one('a', 'targetRefs: [{kind: Service, name: s}],')), null],
  ]
  for (const [title, text, wanted] of rows) t.same(issuers(inbound(t, text)), wanted, title)
})

t.test('what is required: one rule or nothing, any of several or nothing', async (t) => {
  const provider = (name: string): JwtRequirement => ({ kind: 'provider', provider: name, audiences: [] })
  const orNothing = (name: string): JwtRequirement => ({ kind: 'any', of: [provider(name), { kind: 'missing' }] })
  t.same(inbound(t, object(one('a')))?.requires, orNothing('origins-0'))
  t.same(inbound(t, object(one('a')) + object(one('b'), 'y'))?.requires, {
    kind: 'any',
    of: [provider('origins-0'), provider('origins-1'), { kind: 'all', of: [orNothing('origins-0'), orNothing('origins-1')] }],
  })
  t.equal(inbound(t, object(one('a')))?.bypassCorsPreflight, true)
})

t.test('every field', async (t) => {
  const spec =
    'audiences: [b], fromHeaders: [{name: X-Token, prefix: "P "}], fromParams: [p], fromCookies: [c], outputPayloadToHeader: X-Payload, forwardOriginalToken: true, ' +
    'outputClaimToHeaders: [{header: X-Sub, claim: a.b}], spaceDelimitedClaims: [roles], timeout: 2s'
  const [provider] = inbound(t, object(rule(spec)))?.providers ?? []
  t.match(provider, {
    name: 'origins-0',
    issuer: 'https://a.example',
    audiences: ['b'],
    keys: { jwks: '{"keys": []}', uri: '' },
    headers: [{ name: 'x-token', prefix: 'P ' }],
    params: ['p'],
    cookies: ['c'],
    forward: true,
    payloadHeader: 'x-payload',
    claimHeaders: [{ header: 'x-sub', claim: 'a.b' }],
    payloadMetadata: 'payload',
    spaceDelimitedClaims: ['permission', 'roles', 'scope'],
    clockSkewS: 60,
    origin: { kind: 'RequestAuthentication', name: 'x', line: 5 },
  })
})

t.test('where keys come from', async (t) => {
  const rows: readonly (readonly [string, object])[] = [
    [
      'jwksUri: "https://a.example/keys"',
      { uri: 'https://a.example/keys', discovery: false, timeoutMs: 5000, refreshMs: 1_200_000 },
    ],
    ['timeout: 1s', { uri: 'https://issuer.example/.well-known/openid-configuration', discovery: true, timeoutMs: 1000 }],
  ]
  for (const [more, wanted] of rows) {
    const [provider] = inbound(t, object(`{jwtRules: [{issuer: "https://issuer.example/", ${more}}]}`))?.providers ?? []
    t.match(provider?.keys, wanted, more)
    t.equal(provider?.keys.jwks, '')
  }
  const [status] = loadText(t, object('{jwtRules: [{issuer: someone}]}'), INBOUND).statuses
  t.equal(status?.state, 'partly')
  t.match(status?.reason, /the issuer `someone` is no address where they could be asked for; each token is refused/)
})

t.test('where there is nobody to ask it is not enforced, and private keys are told of', async (t) => {
  const [status] = loadText(t, object(one('a'))).statuses
  t.equal(status?.state, 'waiting')
  t.match(status?.reason, /NOT ENFORCED/)
  const text = object(`{jwtRules: [{issuer: a, jwks: '{"keys": [{"kty": "EC"}, {"kty": "EC", "d": "x"}]}'}]}`)
  t.match(
    loadText(t, text, INBOUND).notes.map((n) => n.message),
    [/key 1 of `jwks` has private parts/],
  )
})
