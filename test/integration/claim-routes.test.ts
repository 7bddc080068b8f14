// Routes of VirtualServices that are chosen by claims of a verified token.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { askAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { gateway, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { jwksText, rsaKey, token } from '../support/tokens.ts'

const ISSUER = 'https://issuer.example'
const rsa = rsaKey({ kid: 'rsa' })
const stranger = rsaKey({ kid: 'rsa' })
const claims = { iss: ISSUER, sub: 'ada' }
const signed = (more: object, key = rsa) => token(key, 'RS256', { ...claims, ...more }, { kid: 'rsa' })

const bearer = (text: string): Readonly<Record<string, string>> => ({ authorization: `Bearer ${text}` })

const authentication = (more: object = {}) => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'RequestAuthentication',
  metadata: { name: 'tokens', namespace: 'default' },
  spec: {
    jwtRules: [
      {
        issuer: ISSUER,
        jwks: jwksText(rsa),
        outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
        fromHeaders: [{ name: 'authorization', prefix: 'Bearer ' }],
        fromParams: ['tok'],
        ...more,
      },
      { issuer: 'plain', jwks: jwksText(rsa), fromHeaders: [{ name: 'authorization', prefix: 'Bearer ' }] },
    ],
  },
})

const says = (name: string, match: object) => ({ name, match: [match], directResponse: { status: 200, body: { string: name } } })

/** The first that fits. */
const RULES = [
  says('spoofable', { uri: { prefix: '/header' }, headers: { 'x-sub': { exact: 'ada' } } }),
  says('admins', { uri: { prefix: '/group' }, headers: { '@request.auth.claims.group': { exact: 'admin' } } }),
  says('realm', { uri: { prefix: '/group' }, headers: { '@Request.Auth.Claims[realm][role]': { prefix: 'op' } } }),
  says('writers', { uri: { prefix: '/group' }, headers: { '@request.auth.claims.scope': { regex: 'w.*e' } } }),
  says('anybody', { uri: { prefix: '/group' }, headers: { '@request.auth.claims[any]': {} } }),
  says('others', { uri: { prefix: '/without' }, withoutHeaders: { '@request.auth.claims.group': { exact: 'admin' } } }),
  { name: 'all', route: [{ destination: { host: 'web' } }] },
]

async function atGateway(t: Teardown, tokens: object): Promise<{ app: EchoUpstream; proxy: HeddleProcess; ask: Ask }> {
  const app = await EchoUpstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [app] }),
      gateway('edge', [{ port: { number: 8080, name: 'http', protocol: 'HTTP' }, hosts: ['shop.test'] }]),
      virtualService('shop', ['shop.test'], RULES, { gateways: ['edge'] }),
      tokens as Record<string, unknown>,
    ),
    listeners: [],
    bootstrap: {
      role: 'gateway',
      workload: { labels: { istio: 'ingress' } },
      gateway: { address: '127.0.0.1', ports: { 8080: 0 } },
    },
  })
  const ask: Ask = async (target, headers = {}, method = 'GET') => {
    const { status, body } = await askAny(t, proxy.port(), { host: 'shop.test', method, target, headers })
    const text = body.toString()
    return status === 200 ? (text.startsWith('{') ? 'all' : text) : `${status} ${text}`
  }
  return { app, proxy, ask }
}

type Ask = (target: string, headers?: Readonly<Record<string, string>>, method?: string) => Promise<string>

t.test('a VirtualService at a gateway', async (t) => {
  let keys = ''
  const server = createServer((_req, res) => (keys === '' ? res.writeHead(503).end() : res.end(keys))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const jwksUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
  const { app, proxy, ask } = await atGateway(t, authentication({ jwks: undefined, jwksUri }))
  const admin = bearer(signed({ group: 'admin' }))
  t.equal(await ask('/group', admin), '401 Jwks remote fetch is failed', 'nobody is believed without keys')
  t.equal(await ask('/group'), 'all')
  keys = jwksText(rsa)
  await eventually('the keys to be fetched', async () => (await ask('/group', admin)) === 'admins', 15_000)

  const rows: readonly (readonly [what: string, target: string, headers: Readonly<Record<string, string>>, chosen: string])[] = [
    ['no token', '/group', {}, 'all'],
    ['no token, without', '/without', {}, 'others'],
    ['a text', '/group', bearer(signed({ group: 'admin' })), 'admins'],
    ['a list', '/group', bearer(signed({ group: ['x', 'admin'] })), 'admins'],
    ['another text', '/group', bearer(signed({ group: 'user' })), 'all'],
    ['a number', '/group', bearer(signed({ group: 1 })), 'all'],
    ['nested', '/group', bearer(signed({ realm: { role: 'operator' } })), 'realm'],
    ['words', '/group', bearer(signed({ scope: 'read write' })), 'writers'],
    ['whatever it is', '/group', bearer(signed({ any: 0 })), 'anybody'],
    ['null is something', '/group', bearer(signed({ any: null })), 'anybody'],
    ['in the query', `/group?tok=${signed({ group: 'admin' })}`, {}, 'admins'],
    ['of another issuer', '/group', bearer(signed({ iss: 'plain', group: 'admin' })), 'admins'],
    ['without, with it', '/without', bearer(signed({ group: 'admin' })), 'all'],
    ['without, with another', '/without', bearer(signed({ group: 'user' })), 'others'],
    ['a header made of a claim', '/header', bearer(signed({})), 'spoofable'],
    ['a header that only we may make', '/header', { 'x-sub': 'ada' }, 'all'],
    ['such a header beside the token of another', '/header', { ...bearer(signed({ sub: 'bob' })), 'x-sub': 'ada' }, 'all'],
    ['another key', '/group', bearer(signed({ group: 'admin' }, stranger)), '401 Jwt verification fails'],
  ]
  for (const [what, target, headers, chosen] of rows) t.equal(await ask(target, headers), chosen, what)
  t.notOk(
    app.seen.some(({ headers }) => headers.some(([name]) => name.toLowerCase() === 'authorization')),
    'tokens stay here',
  )
  const preflight = { ...bearer(signed({ group: 'admin' })), origin: 'http://a', 'access-control-request-method': 'PUT' }
  t.equal(await ask('/group', preflight, 'OPTIONS'), 'all', 'nobody has looked at the token of a preflight')
  t.equal(await ask('/without', preflight, 'OPTIONS'), 'others')

  t.test('explain names the claim', async (t) => {
    const explained = async (path: string, headers: Readonly<Record<string, string>>) => {
      await ask(path, headers)
      const { request_id } = await proxy.logged({ path })
      const { steps } = (await proxy.explain(String(request_id))) as { steps: { readonly text: string }[] }
      return steps.map((s) => s.text).join('\n')
    }
    const chosen = await explained('/group/1', bearer(signed({ group: ['user', 'admin'] })))
    t.match(chosen, 'route admins fits: headers[@request.auth.claims.group]: seen ["user","admin"], wanted exact "admin"')
    const other = await explained('/group/2', bearer(signed({ realm: { role: 'guest' } })))
    t.match(other, 'route admins does not fit: headers[@request.auth.claims.group]: seen nothing, wanted exact "admin"')
    t.match(other, 'headers[@Request.Auth.Claims[realm][role]]: seen "guest", wanted prefix "op"')
    const [, , signature = ''] = signed({ realm: { role: 'guest' } }).split('.')
    t.notMatch(other, signature)
    const forged = await explained('/header/4', { 'x-sub': 'ada' })
    t.match(forged, 'route spoofable does not fit: headers[x-sub]: seen nothing, wanted exact "ada"')
    const bob = await explained('/header/5', { 'x-sub': 'ada', ...bearer(signed({ sub: 'bob' })) })
    t.match(bob, 'route spoofable does not fit: headers[x-sub]: seen "bob", wanted exact "ada"')
  })
})

t.test('in the mesh nobody has verified a token when a route is chosen', async (t) => {
  const app = await EchoUpstream.start(t)
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [app] }),
      virtualService('web', ['web.default.svc.cluster.local'], RULES),
      authentication() as Record<string, unknown>,
    ),
  })
  const ask = async (target: string) => {
    const headers = bearer(signed({ group: 'admin' }))
    const { body } = await askAny(t, proxy.port(), { host: 'web.default.svc.cluster.local', target, headers })
    return body.toString()
  }
  t.match(await ask('/group'), '{"upstream"')
  t.equal(await ask('/without'), 'others')
})
