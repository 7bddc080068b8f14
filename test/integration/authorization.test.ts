// AuthorizationPolicies in force: who is refused and how, that nothing goes further, dry runs, bytes without requests, gateways, changes, and what is told of it.
import t from 'tap'
import { askAny, connectAny } from '../support/any-client.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { header } from '../support/h1-reader.ts'
import { gateway, service, virtualService, yaml } from '../support/mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import { Upstream } from '../support/upstream.ts'

const policy = (name: string, spec: object, annotations: Readonly<Record<string, string>> = {}) => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name, namespace: 'default', annotations },
  spec,
})
const to = (...paths: string[]) => [{ to: [{ operation: { paths } }] }]

const POLICIES = yaml(
  policy('admin', { action: 'DENY', rules: to('/admin*') }),
  policy('open', {
    rules: [
      { to: [{ operation: { paths: ['/open*', '/admin*'], methods: ['GET'] } }] },
      { to: [{ operation: { paths: ['/team'] } }], when: [{ key: 'request.headers[x-team]', values: ['red*'] }] },
      { to: [{ operation: { paths: ['/grpc.Service/*'] } }] },
    ],
  }),
  policy('rehearsal', { action: 'DENY', rules: to('/open/soon') }, { 'istio.io/dry-run': 'true' }),
)

let app: EchoUpstream
let proxy: HeddleProcess

t.before(async () => {
  app = await EchoUpstream.start(t)
  proxy = await startProxy(t, {
    resources: { 'policies.yaml': POLICIES },
    listeners: [{ name: 'in', direction: 'inbound', forwardTo: app.address }],
  })
})

const ask = (target: string, more: object = {}) => askAny(t, proxy.port(), { host: 'web', target, ...more })

t.test('a refusal: 403, the text, no flag, the policy in the log, nothing at the application', async (t) => {
  const before = app.seen.length
  const rows: readonly (readonly [target: string, method: string, policy: string])[] = [
    ['/admin/users', 'GET', 'ns[default]-policy[admin]-rule[0]'],
    ['/other', 'GET', 'none'],
    ['/open', 'PUT', 'none'],
    // A path is what it means, however it is written.
    ['/open/../admin', 'GET', 'ns[default]-policy[admin]-rule[0]'],
    ['/%61dmin', 'GET', 'ns[default]-policy[admin]-rule[0]'],
  ]
  for (const [target, method, name] of rows) {
    const id = `refused-${method}-${target}`
    const answer = await ask(target, { method, headers: { 'x-request-id': id } })
    t.same([answer.status, answer.body.toString()], [403, 'RBAC: access denied'], target)
    t.equal(header(answer, 'content-type'), 'text/plain')
    t.match(await proxy.logged({ request_id: id }), {
      response_code: 403,
      response_flags: '-',
      response_code_details: `rbac_access_denied_matched_policy[${name}]`,
      upstream_host: null,
    })
  }
  t.equal(app.seen.length, before)
  t.equal((await ask('/open/door')).status, 200)
  t.equal((await ask('/team', { headers: { 'x-team': 'redwood' } })).status, 200)
})

t.test('a request with a body is refused without waiting for it, and its connection can be used by nobody else', async (t) => {
  const client = await RawClient.connect(t, proxy.port())
  client.expectMethod('POST')
  await client.write('POST /other HTTP/1.1\r\nHost: web\r\nContent-Length: 100\r\n\r\nabc')
  t.equal((await client.response()).status, 403)
  await client.closed()
})

t.test('gRPC hears of it as gRPC', async (t) => {
  const headers = { 'content-type': 'application/grpc' }
  const answer = await ask('/other.Service/Call', { method: 'POST', headers })
  t.same([answer.status, header(answer, 'grpc-status'), header(answer, 'grpc-message')], [200, '7', 'RBAC: access denied'])
})

t.test('explain names who refused, who let pass, and what the nearest rule lacked', async (t) => {
  const explained = async (id: string, target: string, more: Readonly<Record<string, string>> = {}) => {
    await ask(target, { headers: { 'x-request-id': id, ...more } })
    await proxy.logged({ request_id: id })
    const { verdict, steps, objects } = (await proxy.explain(id)) as {
      verdict: string
      steps: { step: string; text: string; condition: object | null }[]
      objects: { role: string; name: string }[]
    }
    const of = objects.filter((o) => o.role === 'authorization').map((o) => o.name)
    return { verdict, of, told: steps.filter((s) => s.step === 'authorization'), last: steps.at(-1)?.text }
  }
  const denied = await explained('explain-denied', '/admin')
  t.equal(denied.verdict, 'denied')
  t.match(
    denied.told.at(-1)?.text,
    /^ns\[default\]-policy\[admin\]-rule\[0\], AuthorizationPolicy default\/admin \(.*:\d+:\d+\), denies it$/,
  )
  t.match(denied.last, /^denied: answered 403/)
  t.same(denied.of, ['admin'])
  const missed = await explained('explain-missed', '/team', { 'x-team': 'blue' })
  t.equal(missed.verdict, 'denied')
  t.match(
    missed.told.at(-1)?.text,
    /none of 3 rules that allow fits; the nearest is ns\[default\]-policy\[open\]-rule\[1\].*lacks 1 of 2 conditions/,
  )
  t.same(missed.told.at(-1)?.condition, { field: 'request.headers[x-team]', seen: '"blue"', wanted: 'prefix "red"' })
  const allowed = await explained('explain-allowed', '/open/soon')
  t.equal(allowed.verdict, 'forward')
  t.match(
    allowed.told.map((s) => s.text),
    [
      /^dry run, nothing comes of it: ns\[default\]-policy\[rehearsal\]-rule\[0\].*denies it/,
      /^none of 1 rule that deny fits/,
      /^ns\[default\]-policy\[open\]-rule\[0\].*allows it/,
    ],
  )
})

t.test('metrics tell how many, and what a dry run would have done', async (t) => {
  const before = await proxy.metrics()
  await ask('/open')
  await ask('/open/soon')
  await ask('/other')
  const after = await proxy.metrics()
  const grown = (name: string) => (after.value(name) ?? 0) - (before.value(name) ?? 0)
  t.equal(grown('envoy_http_rbac_allowed'), 2)
  t.equal(grown('envoy_http_rbac_denied'), 1)
  t.equal(grown('envoy_http_rbac_shadow_denied'), 1)
  t.equal(grown('envoy_http_rbac_shadow_allowed'), 2)
})

t.test('a new policy holds for the next request of a connection, and one that is broken changes nothing', async (t) => {
  const client = await connectAny(t, proxy.port())
  t.equal((await client.ask({ host: 'web', target: '/open' })).status, 200)
  const more = (spec: object) => ({ 'more.yaml': yaml(policy('more', spec)) })
  await proxy.reload(more({ action: 'DENY', rules: to('/open') }))
  t.equal((await client.ask({ host: 'web', target: '/open' })).status, 403)
  proxy.writeResources(more({ action: 'DENY', rules: [{ to: [{ operation: {} }] }] }))
  await proxy.said(/more\.yaml:\d+.*expected an operation that says something/)
  t.equal((await client.ask({ host: 'web', target: '/open' })).status, 403, 'the last good one is in force')
  await proxy.reload({ 'more.yaml': null })
  t.equal((await client.ask({ host: 'web', target: '/open' })).status, 200)
})

t.test('what an external authorizer would decide is refused, and it is said so', async (t) => {
  await proxy.reload({
    'custom.yaml': yaml(policy('ask', { action: 'CUSTOM', provider: { name: 'opa' }, rules: to('/open/vault') })),
  })
  await proxy.said(/AuthorizationPolicy default\/ask.*REFUSES what its rules match/)
  t.equal((await ask('/open/vault')).status, 403)
  t.equal((await ask('/open/door')).status, 200)
  await proxy.reload({ 'custom.yaml': null })
})

t.test('bytes: nobody is dialled for who may not connect', async (t) => {
  const db = await Upstream.start(t, { raw: true })
  const deny = (blocks: string[]) =>
    yaml(
      policy('db', {
        action: 'DENY',
        rules: [{ from: [{ source: { ipBlocks: blocks } }], to: [{ operation: { ports: [String(db.port)] } }] }],
      }),
    )
  const tcp = await startProxy(t, {
    resources: { 'policy.yaml': deny(['127.0.0.0/8']) },
    listeners: [{ name: 'db', direction: 'inbound', protocol: 'tcp', forwardTo: db.address }],
  })
  const refused = await RawClient.connect(t, tcp.port())
  await refused.closed()
  t.match(await tcp.logged({ downstream_remote_address: refused.localAddress }), {
    response_flags: '-',
    connection_termination_details: 'rbac_access_denied_matched_policy[ns[default]-policy[db]-rule[0]]',
    upstream_host: null,
  })
  t.equal(db.connections.length, 0)
  t.equal((await tcp.metrics()).value('envoy_tcp_rbac_denied'), 1)
  await tcp.reload({ 'policy.yaml': deny(['10.0.0.0/8']) })
  const admitted = await RawClient.connect(t, tcp.port())
  await admitted.write('hello')
  const connection = await db.nextConnection()
  await connection.until('hello', () => connection.text === 'hello')
})

t.test('a gateway refuses before it says that there is no route, and injects no fault', async (t) => {
  const web = await EchoUpstream.start(t)
  const fault = { abort: { httpStatus: 418, percentage: { value: 100 } } }
  const edge = await startProxy(t, {
    resources: yaml(
      service({ host: 'web', endpoints: [web] }),
      gateway('edge', [{ port: { number: 8080, name: 'http', protocol: 'HTTP' }, hosts: ['shop.test'] }]),
      virtualService('shop', ['shop.test'], [{ fault, route: [{ destination: { host: 'web' } }] }], { gateways: ['edge'] }),
      policy('no-admin', { selector: { matchLabels: { istio: 'ingress' } }, action: 'DENY', rules: to('/admin') }),
      policy('inside', { action: 'DENY', rules: [{ from: [{ source: { remoteIpBlocks: ['203.0.113.0/24'] } }] }] }),
    ),
    listeners: [],
    bootstrap: {
      role: 'gateway',
      workload: { labels: { istio: 'ingress' } },
      gateway: { address: '127.0.0.1', ports: { 8080: 0 } },
    },
  })
  const at = (host: string, target: string, headers: Readonly<Record<string, string>> = {}) =>
    askAny(t, edge.port(), { host, target, headers })
  t.equal((await at('shop.test', '/')).status, 418, 'the fault')
  t.equal((await at('shop.test', '/admin')).status, 403)
  t.equal((await at('nobody.test', '/')).status, 404)
  t.equal((await at('nobody.test', '/admin')).status, 403)
  t.equal(
    (await at('shop.test', '/', { 'x-forwarded-for': '203.0.113.9' })).status,
    418,
    'who claims to be another is not believed',
  )
})
