// AuthorizationPolicy objects: what is refused, for whom they hold, and what they let pass (Istio ValidateAuthorizationPolicy; security/v1beta1/authorization_policy.proto).
import t, { type Test } from 'tap'
import type { JsonObject } from '../../../lib/base/json-value.ts'
import { Authorizer } from '../../../lib/policy/rbac.ts'
import type { Listener } from '../../../lib/state/listener.ts'
import type { RbacFilter } from '../../../lib/state/rbac.ts'
import { JWT_METADATA } from '../../../lib/state/route.ts'
import { type Asked, facts } from '../../support/rbac.ts'
import { loadText, statusOf, type View } from './kit.ts'

const object = (spec: string, name = 'x', namespace = 'default', annotations = '{}') =>
  `---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: ${namespace}, annotations: ${annotations}}\nspec: ${spec}\n`
const inbound = (protocol: 'http' | 'tcp'): View => ({
  listeners: [{ name: 'in', direction: 'inbound', protocol, forwardTo: '127.0.0.1:9080' }],
})

t.test('refused, with the place and what to write', async (t) => {
  const from = (source: string) => `{rules: [{from: [{source: ${source}}]}]}`
  const to = (operation: string) => `{rules: [{to: [{operation: ${operation}}]}]}`
  const when = (condition: string) => `{rules: [{when: [${condition}]}]}`
  const rows: readonly (readonly [spec: string, reason: RegExp])[] = [
    [
      '{action: deny}',
      /line 5:16: spec\.action: expected one of ALLOW, DENY, AUDIT, CUSTOM, found the text "deny"; did you mean `DENY`/,
    ],
    ['{rule: []}', /unknown field `rule`; did you mean `rules`/],
    ['{action: DENY}', /spec\.action: DENY without rules it never takes effect; for every request write `rules: \[\{\}\]`/],
    ['{action: DENY, rules: []}', /DENY without rules/],
    ['{action: CUSTOM, provider: {name: a}}', /CUSTOM without rules/],
    ['{action: CUSTOM, rules: [{}]}', /CUSTOM needs `provider\.name`/],
    ['{rules: [{}], provider: {name: a}}', /only CUSTOM has a provider, and the action is ALLOW/],
    // To the API server it is no rule at all, to a careless reader one that allows everything.
    ['{rules: [null]}', /spec\.rules\[0\]: expected a map/],
    ['{selector: {matchLabels: {a: "*"}}}', /a selector has no wildcards/],
    [
      '{selector: {}, targetRefs: [{kind: Service, name: a}]}',
      /only one of selector, targetRef and targetRefs can be set, found selector and targetRefs/,
    ],
    ['{targetRef: {kind: Service, name: a}, targetRefs: [{kind: Service, name: a}]}', /found targetRef and targetRefs/],
    ['{targetRefs: [{kind: Service}]}', /targetRefs\[0\]: expected the name of an object/],
    ['{targetRefs: [{kind: Service, name: a, namespace: b}]}', /objects of its own namespace/],
    [
      '{targetRefs: [{kind: Services, name: a}]}',
      /expected one of Service, ServiceEntry, Gateway, GatewayClass, found `Services`; did you mean `Service`/,
    ],
    ['{targetRefs: [{kind: Gateway, name: a}]}', /Gateway is of the group `gateway\.networking\.k8s\.io`, found ``/],
    ['{rules: [{from: []}]}', /rules\[0\]\.from: the list is empty/],
    ['{rules: [{to: []}]}', /rules\[0\]\.to: the list is empty/],
    ['{rules: [{from: [{}]}]}', /rules\[0\]\.from\[0\]: expected a source that says something/],
    [from('{}'), /from\[0\]\.source: expected a source that says something/],
    [from('{principals: []}'), /expected a source that says something/],
    [to('{}'), /to\[0\]\.operation: expected an operation that says something/],
    [from('{principals: [""]}'), /principals\[0\]: the value is empty/],
    [to('{paths: [""]}'), /paths\[0\]: the value is empty/],
    [to('{ports: [80]}'), /put it in quotes: "80"/],
    [to('{ports: ["x"]}'), /expected a port from 0 to 65535, found `x`/],
    [to('{notPorts: ["65536"]}'), /found `65536`/],
    [from('{ipBlocks: ["10.0.0.0/33"]}'), /ipBlocks\[0\]: expected an address or a CIDR such as 10\.1\.0\.0\/16/],
    [from('{notRemoteIpBlocks: ["10.0.0"]}'), /expected an address or a CIDR/],
    [from('{serviceAccounts: ["a*"]}'), /service accounts have no wildcards/],
    [from('{serviceAccounts: ["a/b/c"]}'), /expected `name` or `namespace\/name`, found `a\/b\/c`/],
    [from('{serviceAccounts: ["/b"]}'), /expected `name` or `namespace\/name`/],
    [from('{serviceAccounts: [a], namespaces: [b]}'), /serviceAccounts cannot stand beside namespaces/],
    [from('{trustDomains: ["a/b"]}'), /a trust domain has no `\/`/],
    [from('{trustDomains: ["a*b"]}'), /one `\*` at most, at the begin or the end/],
    [to('{paths: ["/a/{**}/{*}"]}'), /nothing that stands for segments can follow `\{\*\*\}`/],
    [to('{paths: ["/a{*}"]}'), /each of which fills a segment alone/],
    [to('{paths: ["/{id}"]}'), /each of which fills a segment alone/],
    [to('{notPaths: ["/{*}/a*"]}'), /a segment has characters of a path only/],
    [when('{values: [a]}'), /when\[0\]: expected what the condition is about in `key`/],
    [when('{key: source.ip}'), /at least one of `values` and `notValues` for `source\.ip`/],
    [when('{key: source.ips, values: [a]}'), /unknown key `source\.ips`; did you mean `source\.ip`/],
    [when('{key: source.ip, values: [a]}'), /values\[0\]: expected an address or a CIDR/],
    [when('{key: destination.port, notValues: [a]}'), /expected a port/],
    [when('{key: request.headers, values: [a]}'), /expected a name in brackets such as `request\.headers\[name\]`/],
    [when('{key: "request.headers[]", values: [a]}'), /expected a name in brackets/],
    [when('{key: "request.headersx[a]", values: [a]}'), /expected a name in brackets/],
    [when('{key: destination.namespace, values: [a]}'), /there is no `destination\.namespace`/],
    [
      when('{key: "destination.labels[a]", values: [a]}'),
      /there is no `destination\.labels`: the selector of the policy says it/,
    ],
    [
      '{action: CUSTOM, provider: {name: a}, rules: [{from: [{source: {principals: [a]}}]}]}',
      /principals cannot be asked with the action CUSTOM/,
    ],
    [
      '{action: CUSTOM, provider: {name: a}, rules: [{when: [{key: request.auth.principal, values: [a]}]}]}',
      /`request\.auth\.principal` cannot be asked/,
    ],
  ]
  for (const [spec, reason] of rows) {
    const [status] = loadText(t, object(spec), inbound('http')).statuses
    t.equal(status?.state, 'refused', spec)
    t.match(status?.reason, reason, spec)
  }
})

t.test('taken', async (t) => {
  for (const spec of [
    '{}',
    '{rules: [{}]}',
    '{action: AUDIT}',
    '{rules: [{from: [{source: {ipBlocks: ["10.0.0.0/8", "fd00::/8", "10.1.2.3", "::1"]}}]}]}',
    '{rules: [{to: [{operation: {paths: ["/a*b", "/{*}/{**}", "/{**}/a"]}}]}]}',
    '{rules: [{when: [{key: "request.auth.claims[a][b]", values: [c], notValues: [d]}]}]}',
    '{rules: [{when: [{key: "experimental.envoy.filters.http.x[y]", values: ["[z]"]}]}]}',
  ])
    t.equal(loadText(t, object(spec), inbound('http')).statuses[0]?.state, 'in-force', spec)
})

function filtersOf(listeners: readonly Listener[], name: string): readonly RbacFilter[] {
  const chain = listeners.find((l) => l.name === name)?.filterChains[0]?.network
  if (chain?.kind !== 'http' && chain?.kind !== 'tcp') throw new Error(`no chain of ${name}`)
  return chain.authorization
}

function admits(t: Test, spec: string, asked: Asked, protocol: 'http' | 'tcp' = 'http'): boolean {
  const { snapshot, statuses } = loadText(t, object(spec), inbound(protocol))
  if (statuses[0]?.state === 'refused') throw new Error(statuses[0].reason)
  return new Authorizer(filtersOf(snapshot.listeners, 'in')).admits(facts(asked), { asked: () => {} })
}

const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const token = (claims: JsonObject): Asked => ({ metadata: { [JWT_METADATA]: { payload: claims } } })

t.test('what is let pass', async (t) => {
  const from = (source: string) => `{rules: [{from: [{source: ${source}}]}]}`
  const to = (operation: string) => `{rules: [{to: [{operation: ${operation}}]}]}`
  const when = (...conditions: string[]) => `{rules: [{when: [${conditions.join()}]}]}`
  const rows: readonly (readonly [spec: string, asked: Asked, passes: boolean])[] = [
    ['{}', {}, false],
    ['{rules: []}', {}, false],
    ['{rules: [{}]}', {}, true],
    ['{action: DENY, rules: [{}]}', {}, false],
    ['{action: AUDIT, rules: [{}]}', {}, true],
    ['{action: AUDIT}', {}, true],
    ['{action: CUSTOM, provider: {name: a}, rules: [{}]}', {}, false],
    // One rule is enough; within one all of its parts have to hold, of each list one.
    ['{rules: [{to: [{operation: {paths: [/a]}}]}, {to: [{operation: {paths: [/b]}}]}]}', { path: '/b' }, true],
    ['{rules: [{from: [{source: {ipBlocks: [10.9.0.0/16]}}], to: [{operation: {paths: [/a]}}]}]}', { path: '/a' }, false],
    ['{rules: [{from: [{source: {ipBlocks: [10.9.0.0/16]}}, {source: {ipBlocks: [10.1.2.3]}}]}]}', {}, true],
    ['{rules: [{to: [{operation: {paths: [/a], methods: [PUT]}}]}]}', { path: '/a' }, false],
    [to('{paths: [/a, /b], methods: [GET, PUT]}'), { path: '/b', method: 'PUT' }, true],
    [to('{paths: ["/a*"], notPaths: [/ab]}'), { path: '/ab' }, false],
    [to('{paths: ["/a*"], notPaths: [/ab]}'), { path: '/ac' }, true],
    [to('{notMethods: [GET]}'), {}, false],
    [to('{hosts: ["A.test"]}'), { authority: 'a.TEST' }, true],
    [to('{hosts: ["a.test"]}'), { authority: 'a.test:80' }, false],
    [to('{hosts: ["a.*"]}'), { authority: 'A.test:80' }, true],
    [to('{hosts: ["*"]}'), { authority: 'x' }, true],
    [to('{ports: ["80"]}'), {}, true],
    [to('{notPorts: ["80"]}'), {}, false],
    [to('{paths: ["/a/{*}"]}'), { path: '/a/b' }, true],
    [to('{paths: ["/a/{*}"]}'), { path: '/a/b/c' }, false],
    // A star inside is a star.
    [to('{paths: ["/a*b"]}'), { path: '/axb' }, false],
    [to('{paths: ["/a*b"]}'), { path: '/a*b' }, true],
    [from('{principals: [cluster.local/ns/shop/sa/web]}'), { names: [WEB] }, true],
    [from('{principals: ["cluster.local/ns/shop/*"]}'), { names: [WEB] }, true],
    [from('{principals: ["*/sa/web"]}'), { names: [WEB] }, true],
    [from('{principals: ["*.local/ns/shop/sa/web"]}'), { names: [WEB.replace('cluster.local', 'clusterxlocal')] }, false],
    [from('{principals: ["*"]}'), {}, false],
    [from('{notPrincipals: ["*"]}'), {}, true],
    [from('{namespaces: [shop]}'), { names: [WEB] }, true],
    [from('{namespaces: [sho]}'), { names: [WEB] }, false],
    [from('{namespaces: [shop]}'), { names: ['spiffe://cluster.local/xns/shop/sa/web'] }, false],
    [from('{namespaces: ["s*p"]}'), { names: [WEB] }, true],
    [from('{namespaces: ["s.op"]}'), { names: [WEB] }, false],
    [from('{serviceAccounts: [shop/web]}'), { names: [WEB] }, true],
    [from('{serviceAccounts: [web]}'), { names: [WEB] }, false],
    [from('{serviceAccounts: [web]}'), { names: ['spiffe://any/ns/default/sa/web'] }, true],
    [from('{serviceAccounts: [web]}'), { names: ['spiffe://any/ns/default/sa/web-2'] }, false],
    [from('{trustDomains: [cluster.local]}'), { names: [WEB] }, true],
    [from('{trustDomains: [cluster]}'), { names: [WEB] }, false],
    [from('{trustDomains: ["*.local"]}'), { names: [WEB] }, true],
    [from('{trustDomains: ["*"]}'), { names: [] }, false],
    [from('{remoteIpBlocks: [10.8.0.0/16]}'), { client: '10.8.0.1' }, true],
    [from('{ipBlocks: [10.8.0.0/16]}'), { client: '10.8.0.1' }, false],
    [when('{key: "request.headers[X-K]", values: ["v*"]}'), { headers: [['x-k', 'v1']] }, true],
    [when('{key: "request.headers[x-k]", values: ["*"]}'), {}, false],
    [when('{key: "request.headers[x-k]", notValues: [a]}'), {}, true],
    [when('{key: "request.headers[Host]", values: [web]}'), {}, true],
    [when('{key: source.ip, values: [10.1.2.3]}', '{key: source.ip, notValues: [10.1.0.0/16]}'), {}, false],
    [when('{key: remote.ip, notValues: [10.8.0.0/16]}'), { client: '10.8.0.1' }, false],
    [when('{key: source.namespace, values: [shop]}'), { names: [WEB] }, true],
    [when('{key: source.principal, values: [cluster.local/ns/shop/sa/web]}'), { names: [WEB] }, true],
    [when('{key: source.serviceAccount, values: [shop/web]}'), { names: [WEB] }, true],
    [when('{key: source.trustDomain, notValues: [cluster.local]}'), { names: [WEB] }, false],
    [when('{key: destination.ip, values: [10.9.0.0/24]}'), {}, true],
    [when('{key: destination.port, values: ["81"]}'), {}, false],
    [when('{key: connection.sni, values: ["*.test"]}'), { sni: 'a.test' }, true],
    // Tokens.
    [from('{requestPrincipals: ["*"]}'), {}, false],
    [from('{requestPrincipals: ["*"]}'), token({ iss: 'i', sub: 's' }), true],
    [from('{requestPrincipals: ["*"]}'), token({ iss: 'i' }), false],
    [from('{requestPrincipals: ["https://i/x/s"]}'), token({ iss: 'https://i/x', sub: 's' }), true],
    [from('{requestPrincipals: ["i/*"]}'), token({ iss: 'i', sub: 'any' }), true],
    [from('{requestPrincipals: ["i/a*"]}'), token({ iss: 'i', sub: 'b' }), false],
    [from('{requestPrincipals: ["*/s"]}'), token({ iss: 'any', sub: 's' }), true],
    [from('{requestPrincipals: ["*i/s"]}'), token({ iss: 'xi', sub: 's' }), true],
    [from('{requestPrincipals: ["i*"]}'), token({ iss: 'ix', sub: 'any' }), true],
    [from('{requestPrincipals: ["*s"]}'), token({ iss: 'any', sub: 'xs' }), true],
    [from('{notRequestPrincipals: ["*"]}'), {}, true],
    [when('{key: request.auth.principal, values: ["i/s"]}'), token({ iss: 'i', sub: 's' }), true],
    [when('{key: request.auth.audiences, values: [a]}'), token({ aud: ['b', 'a'] }), true],
    [when('{key: request.auth.audiences, values: [a]}'), token({ aud: 'a' }), true],
    [when('{key: request.auth.presenter, values: [p]}'), token({ azp: 'p' }), true],
    [when('{key: "request.auth.claims[groups]", values: [x, y]}'), token({ groups: ['y'] }), true],
    [when('{key: "request.auth.claims[a][b]", values: [c]}'), token({ a: { b: 'c' } }), true],
    [when('{key: "request.auth.claims[a]", notValues: [c]}'), {}, true],
    [
      when('{key: "experimental.envoy.filters.http.x[y]", values: ["[z]"]}'),
      { metadata: { 'envoy.filters.http.x': { y: ['z'] } } },
      true,
    ],
  ]
  for (const [spec, asked, passes] of rows) t.equal(admits(t, spec, asked), passes, `${spec} ${JSON.stringify(asked)}`)
})

t.test('bytes: a rule that asks for requests allows nobody, and denies by what is left of it', async (t) => {
  const tcp = { tcp: true } as const
  const rows: readonly (readonly [spec: string, asked: Asked, passes: boolean])[] = [
    ['{rules: [{to: [{operation: {ports: ["80"]}}]}]}', tcp, true],
    ['{rules: [{to: [{operation: {ports: ["80"], methods: [GET]}}]}]}', tcp, false],
    ['{rules: [{to: [{operation: {ports: ["80"], notPaths: [/a]}}]}]}', tcp, false],
    [
      '{rules: [{from: [{source: {ipBlocks: [10.1.2.3]}}], to: [{operation: {paths: [/]}}]}, {to: [{operation: {ports: ["80"]}}]}]}',
      tcp,
      true,
    ],
    ['{rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}', tcp, false],
    ['{rules: [{when: [{key: "request.headers[a]", notValues: [b]}]}]}', tcp, false],
    ['{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}', tcp, false],
    ['{action: DENY, rules: [{to: [{operation: {paths: [/a], ports: ["81"]}}]}]}', tcp, true],
    ['{action: DENY, rules: [{to: [{operation: {paths: [/a], ports: ["80"]}}]}]}', tcp, false],
    ['{action: DENY, rules: [{from: [{source: {requestPrincipals: ["*"], namespaces: [shop]}}]}]}', tcp, true],
  ]
  for (const [spec, asked, passes] of rows) t.equal(admits(t, spec, asked, 'tcp'), passes, spec)
})

t.test('for whom', async (t) => {
  const labels = { app: 'web' }
  const gatewayLabels = { ...labels, 'gateway.networking.k8s.io/gateway-name': 'edge' }
  const gatewayRef = (name: string) => `{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: ${name}}]}`
  const rows: readonly (readonly [spec: string, namespace: string, view: View, state: string])[] = [
    ['{}', 'default', { labels }, 'in-force'],
    ['{}', 'istio-system', { labels }, 'in-force'],
    ['{}', 'prod', { labels }, 'waiting'],
    ['{selector: {matchLabels: {app: web}}}', 'default', { labels }, 'in-force'],
    ['{selector: {matchLabels: {app: web}}}', 'istio-system', { labels }, 'in-force'],
    ['{selector: {matchLabels: {app: db}}}', 'default', { labels }, 'waiting'],
    ['{selector: {matchLabels: {app: web, version: v1}}}', 'default', { labels }, 'waiting'],
    ['{targetRefs: [{kind: Service, name: web}]}', 'default', { labels }, 'waiting'],
    [gatewayRef('edge'), 'default', { labels }, 'waiting'],
    [gatewayRef('edge'), 'default', { labels: gatewayLabels }, 'in-force'],
    [gatewayRef('other'), 'default', { labels: gatewayLabels }, 'waiting'],
    [gatewayRef('edge'), 'istio-system', { labels: gatewayLabels }, 'waiting'],
    ['{selector: {matchLabels: {app: web}}}', 'default', { labels: gatewayLabels }, 'in-force'],
  ]
  for (const [spec, namespace, view, state] of rows) {
    const result = loadText(t, object(spec, 'x', namespace), { ...inbound('http'), ...view })
    t.equal(statusOf(result, 'x').state, state, `${spec} of ${namespace} for ${JSON.stringify(view)}`)
  }
})

t.test('what is not enforced says so loudly, and what cannot be carried out refuses', async (t) => {
  const outbound = statusOf(loadText(t, object('{rules: [{}]}')), 'x')
  t.match(outbound, { state: 'waiting', reason: /^NOT ENFORCED/ }, 'nothing comes in here')
  const custom = statusOf(loadText(t, object('{action: CUSTOM, provider: {name: opa}, rules: [{}]}'), inbound('http')), 'x')
  t.match(custom, { state: 'partly', reason: /spec\.action: REFUSES what its rules match/ })
})

t.test('a DENY of requests alone is noted: it denies all other bytes', async (t) => {
  const noted = (rules: string, action = 'DENY') =>
    loadText(t, object(`{action: ${action}, rules: [${rules}]}`), inbound('http')).notes.filter(
      (n) => n.kind === 'AuthorizationPolicy',
    )
  const paths = '{to: [{operation: {paths: [/a]}}]}'
  t.match(noted(paths), [{ name: 'x', line: 5, message: /on ports that carry other bytes it denies every connection/ }])
  t.equal(noted('{from: [{source: {requestPrincipals: [a]}}]}').length, 1)
  t.same(noted('{to: [{operation: {paths: [/a], ports: ["80"]}}]}'), [])
  t.same(noted('{from: [{source: {namespaces: [a]}}], to: [{operation: {paths: [/a]}}]}'), [], 'only of that namespace')
  t.same(noted('{}'), [], 'which is meant')
  t.same(noted(paths, 'ALLOW'), [])
})

t.test('a dry run', async (t) => {
  const of = (value: string, spec = '{action: DENY, rules: [{}]}') => {
    const result = loadText(t, object(spec, 'x', 'default', `{"istio.io/dry-run": ${value}}`), inbound('http'))
    const [filter] = filtersOf(result.snapshot.listeners, 'in')
    return { enforced: filter?.rules != null, rehearsed: filter?.shadow != null, status: statusOf(result, 'x') }
  }
  t.match(of('"true"'), { enforced: false, rehearsed: true, status: { state: 'in-force' } })
  t.match(of('"false"'), { enforced: true, rehearsed: false, status: { state: 'in-force' } })
  t.match(of('"yes"'), { enforced: true, rehearsed: false, status: { state: 'partly', reason: /the policy is enforced/ } })
  const custom = '{action: CUSTOM, provider: {name: opa}, rules: [{}]}'
  t.match(of('"true"', custom), { enforced: true, rehearsed: false }, 'the authorizer would be asked all the same')
})

t.test('the order: AUDIT, DENY, ALLOW; the names in theirs', async (t) => {
  const rules = (n: number) => `[${Array.from({ length: n }, () => '{}').join()}]`
  const { snapshot } = loadText(
    t,
    [
      object(`{rules: ${rules(11)}}`, 'b'),
      object(`{rules: ${rules(1)}}`, 'a'),
      object(`{action: DENY, rules: ${rules(1)}}`, 'd'),
      object(`{action: AUDIT, rules: ${rules(1)}}`, 'c'),
    ].join(''),
    inbound('http'),
  )
  const filters = filtersOf(snapshot.listeners, 'in')
  t.same(
    filters.map((f) => f.rules?.action),
    ['LOG', 'DENY', 'ALLOW'],
  )
  const names = filters[2]?.rules?.policies.map((p) => p.name.replace('ns[default]-policy', '')) ?? []
  t.same(names.slice(0, 5), ['[a]-rule[0]', '[b]-rule[0]', '[b]-rule[10]', '[b]-rule[1]', '[b]-rule[2]'])
  t.match(filters[2]?.rules?.policies[0]?.origin, { kind: 'AuthorizationPolicy', name: 'a', line: 10 })
})
