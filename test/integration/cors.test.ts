// CORS (Istio CorsPolicy): preflights are answered by the proxy, responses to allowed origins are marked, and nothing is refused.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { type HeaderPair, header, headerValues } from '../support/h1-reader.ts'
import { service, virtualService, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { EMPTY_LENGTH } from '../support/versions.ts'

let upstream: EchoUpstream
let proxy: HeddleProcess

const OK = 'http://ok.test'
const policy = {
  allowOrigins: [{ exact: OK }],
  allowMethods: ['GET', 'POST'],
  allowHeaders: ['x-a', 'x-b'],
  exposeHeaders: ['x-e'],
  maxAge: '24h',
  allowCredentials: true,
}

t.before(async () => {
  upstream = await EchoUpstream.start(t)
  const route = [{ destination: { host: 'web' } }]
  const on = (prefix: string, more: object) => ({ match: [{ uri: { prefix } }], ...more })
  proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [upstream] }),
      service({ host: 'empty', endpoints: [] }),
      virtualService(
        'web',
        ['web'],
        [
          on('/cors', { corsPolicy: policy, route, headers: { response: { set: { 'x-edit': 'yes' } } } }),
          on('/ignore', { corsPolicy: { ...policy, unmatchedPreflights: 'IGNORE' }, route }),
          on('/star', { corsPolicy: { allowOrigins: [{ regex: '.*' }], allowMethods: ['*'], allowHeaders: ['*'] }, route }),
          on('/old', { corsPolicy: { allowOrigin: ['*'] }, route }),
          on('/empty', { corsPolicy: policy, route: [{ destination: { host: 'empty' } }] }),
          on('/gone', { corsPolicy: policy, route: [{ destination: { host: 'gone' } }] }),
          on('/direct', { corsPolicy: policy, directResponse: { status: 200, body: { string: 'hi' } } }),
          on('/redirect', { corsPolicy: policy, redirect: { uri: '/x' } }),
          on('/abort', { corsPolicy: policy, route, fault: { abort: { httpStatus: 503, percentage: { value: 100 } } } }),
          { route },
        ],
      ),
    ),
  })
})

const ask = (target: string, origin: string, more: Record<string, string> = {}, method = 'GET') =>
  askAny(t, proxy.port(), { host: 'web', method, target, headers: { Origin: origin, ...more } })

const preflight = (target: string, origin: string, more: Record<string, string> = {}) =>
  ask(target, origin, { 'Access-Control-Request-Method': 'GET', ...more }, 'OPTIONS')

const corsHeaders = (response: { readonly headers: readonly HeaderPair[] }) =>
  Object.fromEntries(response.headers.filter(([name]) => /^access-control-/i.test(name)))

t.test('a preflight of an allowed origin is answered here', async (t) => {
  const before = upstream.seen.length
  const answer = await preflight('/cors', OK, { 'Access-Control-Request-Headers': 'x-z' })
  t.same([answer.status, answer.body.length, header(answer, 'content-length')], [200, 0, EMPTY_LENGTH])
  t.same(corsHeaders(answer), {
    'access-control-allow-origin': OK,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'GET,POST',
    'access-control-allow-headers': 'x-a,x-b',
    'access-control-max-age': '86400',
    'access-control-expose-headers': 'x-e',
  })
  t.equal(header(answer, 'x-edit'), undefined, 'edits of the route are for what it forwards, and for local replies')
  t.equal(upstream.seen.length, before)
  t.match(await proxy.logged({ path: '/cors' }), {
    response_code: 200,
    response_flags: '-',
    response_code_details: 'cors_response',
    upstream_host: null,
  })
})

t.test('the list of methods is told, not enforced', async (t) => {
  const answer = await preflight('/cors', OK, { 'Access-Control-Request-Method': 'PUT' })
  t.same([answer.status, header(answer, 'access-control-allow-methods')], [200, 'GET,POST'])
})

t.test('`*` names what was asked for', async (t) => {
  const more = { 'Access-Control-Request-Method': 'PATCH', 'Access-Control-Request-Headers': 'x-1, x-2' }
  t.same(corsHeaders(await preflight('/star', 'http://any.test', more)), {
    'access-control-allow-origin': 'http://any.test',
    'access-control-allow-methods': 'PATCH',
    'access-control-allow-headers': 'x-1, x-2',
  })
  t.same(corsHeaders(await preflight('/old', 'http://any.test')), { 'access-control-allow-origin': 'http://any.test' })
})

t.test('a preflight of another origin', async (t) => {
  const forwarded = await preflight('/cors', 'http://bad.test')
  t.equal(header(forwarded, 'x-upstream'), 'echo', 'FORWARD: an OPTIONS like any other')
  t.same(corsHeaders(forwarded), {})
  const ignored = await preflight('/ignore', 'http://bad.test')
  t.same([ignored.status, ignored.body.length, header(ignored, 'x-upstream')], [200, 0, undefined])
  t.same(corsHeaders(ignored), {
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'GET,POST',
    'access-control-allow-headers': 'x-a,x-b',
    'access-control-max-age': '86400',
  })
})

t.test('what is no preflight goes on', async (t) => {
  for (const more of [{}, { 'Access-Control-Request-Method': '' }] as Record<string, string>[]) {
    const answer = await ask('/cors', OK, more, 'OPTIONS')
    t.same([header(answer, 'x-upstream'), header(answer, 'access-control-allow-origin')], ['echo', OK])
  }
  const noOrigin = await askAny(t, proxy.port(), {
    host: 'web',
    method: 'OPTIONS',
    target: '/cors',
    headers: { 'Access-Control-Request-Method': 'GET' },
  })
  t.equal(header(noOrigin, 'x-upstream'), 'echo')
  t.same(corsHeaders(noOrigin), {})
})

t.test('a response to an allowed origin: its headers replace those of the upstream', async (t) => {
  const said = JSON.stringify({ 'Access-Control-Allow-Origin': 'http://up.test', 'access-control-expose-headers': 'x-up' })
  const allowed = await ask('/cors', OK, { 'x-response-headers': said })
  t.same(headerValues(allowed, 'access-control-allow-origin'), [OK])
  t.same(headerValues(allowed, 'access-control-expose-headers'), ['x-e'])
  t.same(headerValues(allowed, 'access-control-allow-credentials'), ['true'])
  t.equal(header(allowed, 'x-edit'), 'yes')
  const other = await ask('/cors', 'http://bad.test', { 'x-response-headers': said })
  t.same(headerValues(other, 'access-control-allow-origin'), ['http://up.test'], 'untouched')
})

t.test('local replies are marked too', async (t) => {
  for (const [target, status] of [
    ['/cors?reset=1', 503],
    ['/empty', 503],
    ['/gone', 503],
  ] as const) {
    const answer = await ask(target, OK)
    t.same([answer.status, header(answer, 'access-control-allow-origin')], [status, OK], target)
  }
  t.equal((await preflight('/empty', OK)).status, 200, 'a preflight needs no endpoint')
})

t.test('a fault comes before CORS, and redirects and direct responses have none', async (t) => {
  const aborted = await preflight('/abort', OK)
  t.same([aborted.status, corsHeaders(aborted)], [503, {}])
  t.same([(await ask('/abort', OK)).status, corsHeaders(await ask('/abort', OK))], [503, {}])
  const direct = await preflight('/direct', OK)
  t.same([direct.body.toString(), corsHeaders(direct)], ['hi', {}])
  const redirected = await preflight('/redirect', OK)
  t.same([redirected.status, corsHeaders(redirected)], [301, {}])
})

t.test('a preflight leaves the connection usable, its body too', async (t) => {
  const client = await connectAny(t, proxy.port())
  const headers = { Origin: OK, 'Access-Control-Request-Method': 'GET' }
  t.equal((await client.ask({ host: 'web', method: 'OPTIONS', target: '/cors', headers })).status, 200)
  t.equal((await client.ask({ host: 'web', method: 'OPTIONS', target: '/cors', headers })).status, 200)
  t.equal((await client.ask({ host: 'web', target: '/plain' })).status, 200)
})

t.test('explain and metrics tell of it', async (t) => {
  await preflight('/cors/explained', OK, { 'x-request-id': 'cors-1' })
  await ask('/cors/explained-2', 'http://bad.test', { 'x-request-id': 'cors-2' })
  await proxy.logged({ path: '/cors/explained-2' })
  const steps = async (id: string) => {
    const explanation = (await proxy.adminJson(`/explain?id=${id}`)) as { steps: { step: string; text: string }[] }
    return explanation.steps.filter((s) => s.step === 'cors').map((s) => s.text)
  }
  t.same(await steps('cors-1'), ['the CORS policy allows its origin: the preflight was answered here'])
  t.same(await steps('cors-2'), ['the CORS policy does not allow its origin: the response stays as it is'])
  const metrics = await proxy.metrics()
  t.ok((metrics.value('envoy_http_cors_origin_valid') ?? 0) > 0)
  t.ok((metrics.value('envoy_http_cors_origin_invalid') ?? 0) > 0)
})
