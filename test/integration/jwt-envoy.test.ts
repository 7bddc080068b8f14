// The same filter and the same requests to Envoy and to heddle: both have to say the same, and send the same to the application.
import { createHmac } from 'node:crypto'
import t from 'tap'
import { fromJson, type JsonObject } from '../../lib/xds/proto/json.ts'
import { JwtAuthentication } from '../../lib/xds/proto/jwt.ts'
import { REGISTRY } from '../../lib/xds/proto/registry.ts'
import { Findings } from '../../lib/xds/translate/findings.ts'
import { translateJwt } from '../../lib/xds/translate/http-filters/jwt-authn.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { Envoy, findEnvoy } from '../support/envoy.ts'
import { header, type ResponseMessage } from '../support/h1-reader.ts'
import {
  aCluster,
  aDestination,
  aFilterChain,
  aForward,
  aListener,
  anEndpoint,
  anHttpChain,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../support/nouns.ts'
import { OneWorker } from '../support/one-worker.ts'
import { RawClient } from '../support/raw-client.ts'
import { ecKey, edKey, jwksText, octKey, rsaKey, token } from '../support/tokens.ts'

const skip = findEnvoy() === null ? 'no Envoy: set ENVOY to one (bench/README.md says whence)' : ''

const ISSUER = 'https://issuer.example'
const rsa = rsaKey({ kid: 'rsa' })
const rsaOnly = rsaKey({ kid: 'rsa-512', alg: 'RS512' })
const ec256 = ecKey('P-256', { kid: 'ec' })
const ec384 = ecKey('P-384', { kid: 'ec384' })
const ec521 = ecKey('P-521', { kid: 'ec521' })
const ed = edKey({ kid: 'ed', alg: 'EdDSA' })
const oct = octKey('a secret that is long enough for an HMAC', { kid: 'oct' })
const stranger = rsaKey()
const second = ecKey('P-256')

const now = Math.floor(Date.now() / 1000)
const claims = { iss: ISSUER, sub: 'ada', aud: 'shop', exp: now + 3600 }

const PROVIDERS: JsonObject = {
  'origins-0': {
    issuer: ISSUER,
    audiences: ['shop', 'https://audience.example/'],
    local_jwks: { inline_string: jwksText(rsa, rsaOnly, ec256, ec384, ec521, ed, oct) },
    forward_payload_header: 'X-Payload',
    claim_to_headers: [
      { header_name: 'x-sub', claim_name: 'sub' },
      { header_name: 'x-number', claim_name: 'number' },
      { header_name: 'x-yes', claim_name: 'yes' },
      { header_name: 'x-nested', claim_name: 'a.b' },
    ],
    payload_in_metadata: 'payload',
    normalize_payload_in_metadata: { space_delimited_claims: ['permission', 'scope'] },
  },
  'origins-1': {
    issuer: 'second',
    local_jwks: { inline_string: jwksText(second) },
    from_headers: [{ name: 'X-Token' }, { name: 'x-odd', value_prefix: 'key=' }],
    from_params: ['tok'],
    from_cookies: ['session'],
    payload_in_metadata: 'payload',
  },
}

const orMissing = (name: string) => ({ requires_any: { requirements: [{ provider_name: name }, { allow_missing: {} }] } })
const either = { requirements: [orMissing('origins-0'), orMissing('origins-1')] }

/** As istiod writes it: of one rule, and of several. */
const CONFIGS: Readonly<Record<string, JsonObject>> = {
  one: { providers: { 'origins-0': PROVIDERS['origins-0'] as JsonObject }, requires: orMissing('origins-0') },
  two: {
    providers: PROVIDERS,
    requires: {
      requires_any: {
        requirements: [{ provider_name: 'origins-0' }, { provider_name: 'origins-1' }, { requires_all: either }],
      },
    },
  },
  needed: { providers: PROVIDERS, requires: { provider_name: 'origins-0' } },
  both: {
    providers: PROVIDERS,
    requires: { requires_all: { requirements: [{ provider_name: 'origins-0' }, { provider_name: 'origins-1' }] } },
  },
  any: { providers: PROVIDERS, requires: { allow_missing: {} } },
  whatever: { providers: PROVIDERS, requires: { allow_missing_or_failed: {} } },
  audience: {
    providers: PROVIDERS,
    requires: { provider_and_audiences: { provider_name: 'origins-0', audiences: ['other'] } },
  },
}

function filterOf({ providers, requires }: JsonObject): JsonObject {
  return { providers, rules: [{ match: { prefix: '/' }, requires }], bypass_cors_preflight: true } as unknown as JsonObject
}

type Headers = readonly (readonly [name: string, value: string])[]
interface Row {
  readonly name: string
  readonly with?: keyof typeof CONFIGS
  readonly method?: string
  readonly target?: string
  readonly headers?: Headers
}

const bearer = (text: string): Headers => [['Authorization', `Bearer ${text}`]]
const good = token(rsa, 'RS256', claims)
const [head = '', payload = '', sig = ''] = good.split('.')
const other = token(second, 'ES256', { iss: 'second', sub: 'bob' })
const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`
/** The public key as the secret of an HMAC. */
const confused = (() => {
  const signed = `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.${payload}`
  const secret = (rsa.jwk as { n: string }).n
  return `${signed}.${createHmac('sha256', Buffer.from(secret, 'base64url')).update(signed).digest('base64url')}`
})()

const ROWS: readonly Row[] = [
  { name: 'no token' },
  { name: 'no token where one is needed', with: 'needed' },
  { name: 'RS256', headers: bearer(good) },
  { name: 'RS256 without kid', headers: bearer(token(rsa, 'RS256', claims)) },
  { name: 'RS384 with kid', headers: bearer(token(rsa, 'RS384', claims, { kid: 'rsa' })) },
  { name: 'RS512 of a key for it', headers: bearer(token(rsaOnly, 'RS512', claims, { kid: 'rsa-512' })) },
  { name: 'RS256 of a key for RS512', headers: bearer(token(rsaOnly, 'RS256', claims, { kid: 'rsa-512' })) },
  { name: 'PS256', headers: bearer(token(rsa, 'PS256', claims)) },
  { name: 'PS512', headers: bearer(token(rsa, 'PS512', claims)) },
  { name: 'ES256', headers: bearer(token(ec256, 'ES256', claims)) },
  { name: 'ES384', headers: bearer(token(ec384, 'ES384', claims)) },
  { name: 'ES512', headers: bearer(token(ec521, 'ES512', claims)) },
  { name: 'EdDSA', headers: bearer(token(ed, 'EdDSA', claims)) },
  { name: 'EdDSA that is too short', headers: bearer(`${token(ed, 'EdDSA', claims, { kid: 'ed' }).slice(0, -10)}`) },
  { name: 'HS256 with an oct key', headers: bearer(token(oct, 'HS256', claims, { kid: 'oct' })) },
  { name: 'HS512 with an oct key', headers: bearer(token(oct, 'HS512', claims, { kid: 'oct' })) },
  { name: 'HS256 with the public key as its secret', headers: bearer(confused) },
  { name: 'another key', headers: bearer(token(stranger, 'RS256', claims)) },
  { name: 'a kid that nobody has', headers: bearer(token(rsa, 'RS256', claims, { kid: 'nobody' })) },
  { name: 'a kid that is no text', headers: bearer(token(rsa, 'RS256', claims, { kid: 7 })) },
  { name: 'alg none', headers: bearer(`${none}x`) },
  { name: 'alg none and no signature', headers: bearer(none) },
  { name: 'alg is not there', headers: bearer(token(rsa, 'RS256', claims, '{"typ":"JWT"}')) },
  { name: 'alg is a number', headers: bearer(token(rsa, 'RS256', claims, '{"alg":1}')) },
  {
    name: 'a payload that was changed',
    headers: bearer(`${head}.${Buffer.from(JSON.stringify({ ...claims, sub: 'eve' })).toString('base64url')}.${sig}`),
  },
  { name: 'a signature that was changed', headers: bearer(`${good.slice(0, -5)}AAAAA`) },
  { name: 'no dots', headers: bearer('nonsense') },
  { name: 'one dot', headers: bearer('a.b') },
  { name: 'four parts', headers: bearer(`${good}.x`) },
  { name: 'an empty part', headers: bearer(`${head}..${sig}`) },
  { name: 'nothing behind Bearer', headers: [['authorization', 'Bearer']] },
  { name: 'nothing behind Bearer and a blank', headers: [['authorization', 'Bearer %']] },
  { name: 'Basic', headers: [['authorization', 'Basic YTpi']] },
  { name: 'bearer in lower case', headers: [['authorization', `bearer ${good}`]] },
  { name: 'something in front of Bearer', headers: [['authorization', `xBearer  ${good}`]] },
  { name: 'a header that is no base64', headers: bearer(`a+b.${payload}.${sig}`) },
  { name: 'a header that is no JSON', headers: bearer(`${Buffer.from('{').toString('base64url')}.${payload}.${sig}`) },
  { name: 'a header that is a list', headers: bearer(`${Buffer.from('[]').toString('base64url')}.${payload}.${sig}`) },
  { name: 'a payload that is no base64', headers: bearer(`${head}.a+b.${sig}`) },
  { name: 'a payload that is no JSON', headers: bearer(token(rsa, 'RS256', '{"iss"')) },
  { name: 'a payload that is a text', headers: bearer(token(rsa, 'RS256', '"iss"')) },
  { name: 'a signature that is no base64', headers: bearer(`${head}.${payload}.a+b`) },
  { name: 'expired', headers: bearer(token(rsa, 'RS256', { ...claims, exp: now - 120 })) },
  { name: 'expired within the skew', headers: bearer(token(rsa, 'RS256', { ...claims, exp: now - 30 })) },
  { name: 'expires never', headers: bearer(token(rsa, 'RS256', { iss: ISSUER, aud: 'shop' })) },
  { name: 'exp of 0', headers: bearer(token(rsa, 'RS256', { ...claims, exp: 0 })) },
  { name: 'not yet valid', headers: bearer(token(rsa, 'RS256', { ...claims, nbf: now + 300 })) },
  { name: 'not yet valid within the skew', headers: bearer(token(rsa, 'RS256', { ...claims, nbf: now + 30 })) },
  { name: 'exp as text', headers: bearer(token(rsa, 'RS256', { ...claims, exp: '1' })) },
  { name: 'exp below zero', headers: bearer(token(rsa, 'RS256', { ...claims, exp: -1 })) },
  { name: 'nbf as text', headers: bearer(token(rsa, 'RS256', { ...claims, nbf: true })) },
  { name: 'iat as text', headers: bearer(token(rsa, 'RS256', { ...claims, iat: 'today' })) },
  { name: 'iat beyond 64 bits', headers: bearer(token(rsa, 'RS256', { ...claims, iat: 1e30 })) },
  { name: 'iss as number', headers: bearer(token(rsa, 'RS256', { ...claims, iss: 1 })) },
  { name: 'sub as list', headers: bearer(token(rsa, 'RS256', { ...claims, sub: ['a'] })) },
  { name: 'jti as number', headers: bearer(token(rsa, 'RS256', { ...claims, jti: 1 })) },
  { name: 'aud as number', headers: bearer(token(rsa, 'RS256', { ...claims, aud: 1 })) },
  { name: 'aud with a number in it', headers: bearer(token(rsa, 'RS256', { ...claims, aud: ['shop', 1] })) },
  { name: 'another issuer', headers: bearer(token(rsa, 'RS256', { ...claims, iss: 'somebody' })) },
  { name: 'no issuer', headers: bearer(token(rsa, 'RS256', { aud: 'shop' })) },
  { name: 'another audience', headers: bearer(token(rsa, 'RS256', { ...claims, aud: 'other' })) },
  { name: 'no audience', headers: bearer(token(rsa, 'RS256', { iss: ISSUER })) },
  { name: 'one audience of several', headers: bearer(token(rsa, 'RS256', { ...claims, aud: ['x', 'shop'] })) },
  {
    name: 'an audience with a scheme and a slash',
    headers: bearer(token(rsa, 'RS256', { ...claims, aud: 'http://audience.example' })),
  },
  {
    name: 'the audience of the requirement',
    with: 'audience',
    headers: bearer(token(rsa, 'RS256', { ...claims, aud: 'other' })),
  },
  { name: 'the audience of the provider only', with: 'audience', headers: bearer(good) },
  { name: 'in the query', target: `/p?a=1&access_token=${good}&b=2` },
  { name: 'in the query, bad', target: '/p?access_token=x.y.z&b=2' },
  { name: 'in the query, empty', target: '/p?access_token=' },
  { name: 'in the query alone', target: `/p?access_token=${good}` },
  { name: 'in the query and the header', target: `/p?access_token=${good}`, headers: bearer(good) },
  { name: 'good in the header and bad in the query', target: '/p?access_token=x', headers: bearer(good) },
  { name: 'bad in the header and good in the query', target: `/p?access_token=${good}`, headers: bearer('x') },
  { name: 'two headers, one of them bad', headers: [...bearer(good), ...bearer('x.y.z')] },
  { name: 'two good headers', headers: [...bearer(good), ...bearer(good)] },
  {
    name: 'output headers of a client without a token',
    headers: [
      ['x-payload', 'forged'],
      ['X-Sub', 'root'],
      ['x-nested', 'n'],
    ],
  },
  { name: 'output headers of a client with a token', headers: [...bearer(good), ['x-payload', 'forged'], ['x-nested', 'n']] },
  { name: 'claims of other types', headers: bearer(token(rsa, 'RS256', { ...claims, number: 42, yes: true, a: { b: 'c' } })) },
  { name: 'a fraction', headers: bearer(token(rsa, 'RS256', { ...claims, number: -1.5, yes: false, a: { b: { c: 1 } } })) },
  { name: 'a large number', headers: bearer(token(rsa, 'RS256', { ...claims, number: 12345678901234, a: 'b' })) },
  { name: 'null as a claim', headers: bearer(token(rsa, 'RS256', { ...claims, number: null, yes: [], a: { b: '' } })) },
  { name: 'a claim beyond ASCII', headers: bearer(token(rsa, 'RS256', { ...claims, sub: 'Zoë' })) },
  {
    name: 'CORS preflight with a bad token',
    method: 'OPTIONS',
    headers: [...bearer('x'), ['origin', 'http://a'], ['access-control-request-method', 'PUT']],
  },
  { name: 'OPTIONS that is no preflight', method: 'OPTIONS', headers: [...bearer('x'), ['origin', 'http://a']] },
  { name: 'a long path in the realm', target: `/${'p'.repeat(300)}`, headers: bearer('x') },
  { name: 'a query in the realm', target: '/p?q=1', headers: bearer('x') },
  { name: 'gRPC with a bad token', method: 'POST', headers: [...bearer('x'), ['content-type', 'application/grpc']] },
  {
    name: 'gRPC for another audience',
    method: 'POST',
    headers: [...bearer(token(rsa, 'RS256', { iss: ISSUER })), ['content-type', 'application/grpc']],
  },
  { name: 'two rules, no token', with: 'two' },
  { name: 'two rules, a token of the first', with: 'two', headers: bearer(good) },
  { name: 'two rules, a token of the second', with: 'two', headers: [['X-Token', other]] },
  { name: 'two rules, a token of each', with: 'two', headers: [...bearer(good), ['x-token', other]] },
  { name: 'two rules, good and bad', with: 'two', headers: [...bearer(good), ['x-token', 'bad']] },
  { name: 'two rules, bad and good', with: 'two', headers: [...bearer('bad'), ['x-token', other]] },
  { name: 'two rules, the second in the place of the first', with: 'two', headers: bearer(other) },
  { name: 'two rules, bad', with: 'two', headers: bearer('x') },
  { name: 'two rules, expired', with: 'two', headers: bearer(token(rsa, 'RS256', { ...claims, exp: 1 })) },
  { name: 'two rules, wrong audience', with: 'two', headers: bearer(token(rsa, 'RS256', { iss: ISSUER })) },
  { name: 'two rules, unknown issuer', with: 'two', headers: bearer(token(rsa, 'RS256', { iss: 'x' })) },
  { name: 'a header with a prefix of its own', with: 'two', headers: [['x-odd', `key=${other}`]] },
  { name: 'a header without its prefix', with: 'two', headers: [['x-odd', other]] },
  { name: 'a parameter of its own', with: 'two', target: `/p?tok=${other}` },
  { name: 'a parameter of its own, percent-encoded', with: 'two', target: `/p?t%6Fk=${other.replace('.', '%2E')}` },
  { name: 'a cookie', with: 'two', headers: [['cookie', `a=b; session=${other}; c=d`]] },
  { name: 'a cookie in quotes', with: 'two', headers: [['cookie', `session="${other}"`]] },
  { name: 'two cookies of a name', with: 'two', headers: [['cookie', `session=${other}; session=x`]] },
  { name: 'a bad cookie', with: 'two', headers: [['cookie', 'session=x']] },
  { name: 'both needed, both there', with: 'both', headers: [...bearer(good), ['x-token', other]] },
  { name: 'both needed, one there', with: 'both', headers: bearer(good) },
  { name: 'both needed, the second bad', with: 'both', headers: [...bearer(good), ['x-token', 'x']] },
  { name: 'any provider, no token', with: 'any' },
  { name: 'any provider, a good one', with: 'any', headers: bearer(good) },
  { name: 'any provider, unknown issuer', with: 'any', headers: bearer(token(rsa, 'RS256', { iss: 'x' })) },
  { name: 'any provider, in the place of another', with: 'any', headers: bearer(other) },
  { name: 'whatever, bad', with: 'whatever', headers: bearer('x') },
  { name: 'whatever, good and bad', with: 'whatever', headers: [...bearer(good), ['x-token', 'x']] },
]

/** What of an answer is compared. */
function said(answer: ResponseMessage, details: string): object {
  const refused = header(answer, 'x-upstream') === undefined
  return {
    status: answer.status,
    body: refused ? answer.body.toString() : '',
    authenticate: header(answer, 'www-authenticate'),
    type: refused ? header(answer, 'content-type') : '',
    grpc: [header(answer, 'grpc-status'), header(answer, 'grpc-message')],
    details: refused ? details : '',
  }
}

const COMPARED = /^(authorization|cookie|x-payload|x-sub|x-number|x-yes|x-nested|x-token|x-odd)$/

t.test('Envoy and heddle say the same of tokens', { skip }, async (t) => {
  const app = await EchoUpstream.start(t)
  const seen = () =>
    app.seen.splice(0).map(({ target, headers }) => {
      const compared = headers
        .map(([name, value]) => [name.toLowerCase(), value] as const)
        .filter(([name]) => COMPARED.test(name))
      return { target, headers: compared.toSorted(([a], [b]) => (a < b ? -1 : 1)) }
    })
  for (const [name, config] of Object.entries(CONFIGS)) {
    const rows = ROWS.filter((r) => (r.with ?? 'one') === name)
    const json = filterOf(config)
    const typed = { '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication', ...json }
    const envoy = await Envoy.filters(t, [{ name: 'jwt', typed_config: typed }], app.port)
    const findings = new Findings()
    const jwt = translateJwt(fromJson(JwtAuthentication, json, REGISTRY), findings)
    t.same(findings.faults, [])
    const route = aRoute({ action: aForward({ clusters: [aDestination('app')] }) })
    const heddle = await OneWorker.start(
      t,
      aSnapshot({
        listeners: [
          aListener({
            name: 'in',
            direction: 'inbound',
            filterChains: [aFilterChain({ network: anHttpChain({ jwt, routeTable: 'any' }) })],
          }),
        ],
        routeTables: [aRouteTable({ name: 'any', virtualHosts: [aVirtualHost({ routes: [route] })] })],
        clusters: [aCluster({ name: 'app', endpoints: [anEndpoint({ port: app.port })] })],
      }),
    )
    let asked = 0
    for (const row of rows) {
      const ask = async (port: number): Promise<ResponseMessage> => {
        const client = await RawClient.connect(t, port)
        client.expectMethod(row.method ?? 'GET')
        const lines = (row.headers ?? []).map(([n, v]) => `${n}: ${v}\r\n`).join('')
        const length = row.method === 'POST' ? 'content-length: 0\r\n' : ''
        await client.write(
          `${row.method ?? 'GET'} ${row.target ?? '/p'} HTTP/1.1\r\nhost: web.example:81\r\n${lines}${length}\r\n`,
        )
        const answer = await client.response()
        client.destroy()
        return answer
      }
      const theirs = await ask(envoy.port)
      const theirUpstream = seen()
      const ours = await ask(heddle.ports['in'] as number)
      const ourUpstream = seen()
      const record = await heddle.record(asked++)
      t.same(
        { ...said(ours, String(record['response_code_details'])), upstream: ourUpstream },
        { ...said(theirs, header(theirs, 'x-details') ?? ''), upstream: theirUpstream },
        `${name}: ${row.name}`,
      )
    }
  }
})
