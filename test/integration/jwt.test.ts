// RequestAuthentications in force: what clients hear, what the application sees, what policies know of it, where keys come from, and what is told.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { askAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { header } from '../support/h1-reader.ts'
import { yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { ecKey, jwksText, rsaKey, token } from '../support/tokens.ts'

const ISSUER = 'https://issuer.example'
const rsa = rsaKey({ kid: 'rsa' })
const now = Math.floor(Date.now() / 1000)
const claims = { iss: ISSUER, sub: 'ada', aud: 'shop', exp: now + 3600, scope: 'read write' }
const good = token(rsa, 'RS256', claims, { kid: 'rsa' })

const object = (kind: string, name: string, spec: object) => ({
  apiVersion: 'security.istio.io/v1',
  kind,
  metadata: { name, namespace: 'default' },
  spec,
})
const rule = (more: object = {}) => ({
  issuer: ISSUER,
  audiences: ['shop'],
  jwks: jwksText(rsa),
  outputPayloadToHeader: 'x-payload',
  outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
  ...more,
})

/** Everything is open, but for what needs a token, and what needs one with a claim. */
const POLICIES = [
  object('AuthorizationPolicy', 'who', {
    rules: [
      { to: [{ operation: { paths: ['/open*'] } }] },
      { from: [{ source: { requestPrincipals: [`${ISSUER}/ada`] } }], to: [{ operation: { paths: ['/ada'] } }] },
      { to: [{ operation: { paths: ['/write'] } }], when: [{ key: 'request.auth.claims[scope]', values: ['write'] }] },
      { to: [{ operation: { paths: ['/admin'] } }], when: [{ key: 'request.auth.claims[scope]', values: ['admin'] }] },
      { to: [{ operation: { paths: ['/grpc.Service/*'] } }] },
    ],
  }),
]

interface Mesh {
  readonly app: EchoUpstream
  readonly proxy: HeddleProcess
}

async function start(t: Teardown, ...objects: readonly Readonly<Record<string, unknown>>[]): Promise<Mesh> {
  const app = await EchoUpstream.start(t)
  const proxy = await startProxy(t, {
    resources: { 'policies.yaml': yaml(...objects, ...POLICIES) },
    listeners: [{ name: 'in', direction: 'inbound', forwardTo: app.address }],
  })
  return { app, proxy }
}

const bearer = (text: string) => ({ authorization: `Bearer ${text}` })

t.test('what becomes of tokens', async (t) => {
  const { app, proxy } = await start(t, object('RequestAuthentication', 'tokens', { jwtRules: [rule()] }))
  const ask = (target: string, headers: Record<string, string> = {}, more: object = {}) =>
    askAny(t, proxy.port(), { host: 'web', target, headers, ...more })
  const invalid = (path: string) => `Bearer realm="http://web${path}", error="invalid_token"`

  t.test('no token: the request goes on without a principal', async (t) => {
    t.equal((await ask('/open')).status, 200)
    const refused = await ask('/ada')
    t.same([refused.status, refused.body.toString()], [403, 'RBAC: access denied'])
  })

  t.test('a valid token: principal and claims are known to policies', async (t) => {
    t.equal((await ask('/ada', bearer(good))).status, 200)
    t.equal((await ask('/write', bearer(good))).status, 200)
    t.equal((await ask('/admin', bearer(good))).status, 403)
  })

  t.test('a token that is not forwarded is gone at the application, its claims are there', async (t) => {
    app.seen.splice(0)
    t.equal((await ask('/open', { ...bearer(good), 'x-payload': 'forged', 'x-sub': 'root' })).status, 200)
    const headers = new Map(app.seen[0]?.headers.map(([n, v]) => [n.toLowerCase(), v]))
    t.equal(headers.get('authorization'), undefined)
    t.equal(headers.get('x-payload'), good.split('.')[1])
    t.equal(headers.get('x-sub'), 'ada')
  })

  t.test('output headers of a client without a token are gone', async (t) => {
    app.seen.splice(0)
    t.equal((await ask('/open', { 'x-payload': 'forged', 'X-Sub': 'root' })).status, 200)
    t.notOk(app.seen[0]?.headers.some(([n]) => /^x-(payload|sub)$/i.test(n)))
  })

  t.test('an invalid token: 401 with the text, the challenge, and details in the log', async (t) => {
    const before = app.seen.length
    const answer = await ask('/open?q=1', { ...bearer('a.b.c'), 'x-request-id': 'bad-one' })
    t.same([answer.status, answer.body.toString()], [401, 'Jwt header is an invalid Base64url encoded'])
    t.equal(header(answer, 'www-authenticate'), invalid('/open?q=1'))
    t.match(await proxy.logged({ request_id: 'bad-one' }), {
      response_code: 401,
      response_flags: '-',
      response_code_details: 'jwt_authn_access_denied{Jwt_header_is_an_invalid_Base64url_encoded}',
    })
    t.equal(app.seen.length, before)
  })

  t.test('another audience: 403', async (t) => {
    const answer = await ask('/open', bearer(token(rsa, 'RS256', { ...claims, aud: 'other' })))
    t.same([answer.status, answer.body.toString()], [403, 'Audiences in Jwt are not allowed'])
    t.equal(header(answer, 'www-authenticate'), invalid('/open'))
  })

  t.test('gRPC hears of it as gRPC: 16, or 7 for another audience', async (t) => {
    const grpc = { 'content-type': 'application/grpc' }
    const bad = await ask('/grpc.Service/M', { ...grpc, ...bearer('x') }, { method: 'POST' })
    t.same([bad.status, header(bad, 'grpc-status')], [200, '16'])
    const other = token(rsa, 'RS256', { ...claims, aud: 'other' })
    t.equal(header(await ask('/grpc.Service/M', { ...grpc, ...bearer(other) }, { method: 'POST' }), 'grpc-status'), '7')
  })

  t.test('a CORS preflight needs no token', async (t) => {
    const headers = { ...bearer('x'), origin: 'http://a', 'access-control-request-method': 'PUT' }
    t.equal((await ask('/open', headers, { method: 'OPTIONS' })).status, 200)
    t.equal((await ask('/open', bearer('x'), { method: 'OPTIONS' })).status, 401)
  })

  t.test('exp and nbf may be a minute off, and no exp is for ever', async (t) => {
    const rows: readonly (readonly [number, object])[] = [
      [200, { exp: now - 30 }],
      [401, { exp: now - 120 }],
      [200, { nbf: now + 30 }],
      [401, { nbf: now + 120 }],
      [200, { exp: undefined }],
    ]
    for (const [status, more] of rows)
      t.equal((await ask('/open', bearer(token(rsa, 'RS256', { ...claims, ...more })))).status, status, JSON.stringify(more))
  })

  t.test('what a header names as critical is not understood (RFC 7515 4.1.11)', async (t) => {
    const critical = token(rsa, 'RS256', claims, { kid: 'rsa', crit: ['b64'], b64: true })
    t.same((await ask('/open', bearer(critical))).body.toString(), 'Jwt verification fails')
  })

  t.test('a token in the query is not logged, be it good or bad, and gone at the application', async (t) => {
    app.seen.splice(0)
    t.equal((await ask(`/open?a=1&access_token=${good}&b=%20x`, { 'x-request-id': 'query-good' })).status, 200)
    t.equal(app.seen[0]?.target, '/open?a=1&b=%20x')
    t.match(await proxy.logged({ request_id: 'query-good' }), { path: '/open?a=1&b=%20x' })
    t.equal((await ask('/open?access_token=secret', { 'x-request-id': 'query-bad' })).status, 401)
    t.match(await proxy.logged({ request_id: 'query-bad' }), { path: '/open' })
  })

  t.test('it is counted', async (t) => {
    const metrics = await proxy.metrics()
    t.ok((metrics.value('envoy_http_jwt_authn_allowed', { http_conn_manager_prefix: 'in' }) ?? 0) > 0)
    t.ok((metrics.value('envoy_http_jwt_authn_denied', { http_conn_manager_prefix: 'in' }) ?? 0) > 0)
    t.equal(metrics.value('envoy_http_jwt_authn_cors_preflight_bypassed', { http_conn_manager_prefix: 'in' }), 1)
  })

  t.test('explain says who it was, or what was wrong, and never the token', async (t) => {
    await ask('/ada', { ...bearer(good), 'x-request-id': 'explain-good' })
    const told = JSON.stringify(await proxy.explain('explain-good'))
    t.match(told, /token: it is valid: the client is .{1,4}ada.{1,4} of .{1,4}https:\/\/issuer\.example/)
    t.notMatch(told, good.split('.')[2])
    await ask('/ada', { ...bearer('not-a-token'), 'x-request-id': 'explain-bad' })
    const bad = JSON.stringify(await proxy.explain('explain-bad'))
    t.match(bad, /Jwt is not in the form/)
    t.match(bad, /RequestAuthentication default\/tokens \(/)
    t.notMatch(bad, 'not-a-token')
  })
})

/** Serves keys, or whatever else the test says. */
class KeyServer {
  readonly asked: string[]
  answer: (req: IncomingMessage, res: ServerResponse) => void
  readonly port: () => number

  constructor(t: Teardown) {
    this.asked = []
    this.answer = (_req, res) => res.writeHead(503).end()
    const server = createServer((req, res) => {
      this.asked.push(req.url ?? '')
      this.answer(req, res)
    }).listen(0, '127.0.0.1')
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    this.port = () => (server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port()}`
  }
}

t.test('keys are fetched: until they are there tokens are refused, then they are valid in every worker', async (t) => {
  const keys = new KeyServer(t)
  await eventually('the server of keys', () => keys.port() > 0)
  const { proxy } = await start(
    t,
    object('RequestAuthentication', 'tokens', { jwtRules: [rule({ jwks: undefined, jwksUri: `${keys.url}/keys` })] }),
  )
  const ask = () => askAny(t, proxy.port(), { host: 'web', target: '/open', headers: bearer(good) })
  const refused = await ask()
  t.same([refused.status, refused.body.toString()], [401, 'Jwks remote fetch is failed'])
  await proxy.said(
    /the keys at http:\/\/127\.0\.0\.1:\d+\/keys cannot be fetched: the answer is 503; tokens that need them are refused/,
  )
  keys.answer = (_req, res) => res.end(jwksText(rsa))
  await eventually('the keys to be fetched', async () => (await ask()).status === 200, 15_000)
  await proxy.said(/could be fetched again/)
})

t.test('an issuer without keys says itself where they are (OpenID Connect Discovery)', async (t) => {
  const keys = new KeyServer(t)
  await eventually('the server of keys', () => keys.port() > 0)
  const ec = ecKey('P-256')
  keys.answer = (req, res) => {
    const discovery = req.url === '/realm/.well-known/openid-configuration'
    res.end(discovery ? JSON.stringify({ jwks_uri: `${keys.url}/certs` }) : jwksText(ec))
  }
  const issuer = `${keys.url}/realm`
  const { proxy } = await start(t, object('RequestAuthentication', 'tokens', { jwtRules: [{ issuer }] }))
  const mine = token(ec, 'ES256', { iss: issuer, sub: 'eve' })
  t.equal((await askAny(t, proxy.port(), { host: 'web', target: '/open', headers: bearer(mine) })).status, 200)
  t.same(keys.asked, ['/realm/.well-known/openid-configuration', '/certs'])
})
