// The Gateway API: what is refused, which parents take a route, in which order rules are asked, and what is said of the rest. Expected values are those of
// its specification, and of Istio's rendering where it leaves a choice.
import t from 'tap'
import type { LoadResult } from '../../../lib/resources/load.ts'
import type { Route } from '../../../lib/state/route.ts'
import { GATEWAY_NAME, k8sGateway, k8sService, route } from '../../support/gateway-api.ts'
import { gateway, resource, virtualService, yaml } from '../../support/mesh.ts'
import { loadText, statusOf, tableOf, type View } from './kit.ts'

type Resource = Readonly<Record<string, unknown>>

const EDGE: View = { role: 'gateway', labels: { [GATEWAY_NAME]: 'edge', istio: 'ingress' }, listeners: [] }
const SIDECAR: View = { listeners: [{ destination: '192.0.2.1:80' }] }
const web = k8sService('web', '127.0.0.1:9000')
const other = k8sService('web', '127.0.0.1:9001', 'other')
const toWeb = { backendRefs: [{ name: 'web', port: 80 }] }
const http = (name: string, more: Resource = {}) => ({ name, port: 80, protocol: 'HTTP', ...more })
const atEdge = { parentRefs: [{ name: 'edge' }] }
const ofWeb = (more: Resource = {}) => ({ parentRefs: [{ group: '', kind: 'Service', name: 'web', ...more }] })
const httpRoute = (name: string, spec: Resource, more: Resource = {}) => route('HTTPRoute', name, spec, more)

function routesOf(result: LoadResult, table: string, domain: string): readonly Route[] {
  const hosts = result.snapshot.routeTables.find((r) => r.name === table)?.virtualHosts ?? []
  return hosts.find((v) => v.domains.includes(domain))?.routes ?? []
}

const names = (routes: readonly Route[]) => routes.map((r) => r.name)

t.test('what is refused', async (t) => {
  const rule = (spec: Resource) => httpRoute('x', { ...atEdge, rules: [spec] })
  const match = (spec: Resource) => rule({ ...toWeb, matches: [spec] })
  const filter = (type: string, spec: Resource, more: Resource = toWeb) => rule({ ...more, filters: [{ type, ...spec }] })
  const listener = (spec: Resource) => k8sGateway('x', [{ ...http('a'), ...spec }])
  const cases: [title: string, object: Resource, reason: RegExp][] = [
    ['a field that is none', rule({ backendRef: [] }), /line \d+:\d+: spec\.rules\[0\].*did you mean `backendRefs`/],
    ['a path without a slash', match({ path: { value: 'a' } }), /matches\[0\]\.path\.value: a path begins with `\/`/],
    ['two slashes', match({ path: { value: '/a//b' } }), /cannot hold `\/\/`/],
    ['a pattern that is none', match({ path: { type: 'RegularExpression', value: '(' } }), /not an RE2 expression/],
    ['an unknown type', match({ path: { type: 'Prefix', value: '/' } }), /expected one of Exact, PathPrefix, RegularExpression/],
    [
      'a header twice',
      match({
        headers: [
          { name: 'a', value: '1' },
          { name: 'a', value: '2' },
        ],
      }),
      /`a` is asked for twice/,
    ],
    ['no port', rule({ backendRefs: [{ name: 'web' }] }), /a reference to a Service needs a `port`/],
    ['a weight', rule({ backendRefs: [{ name: 'web', port: 80, weight: -1 }] }), /expected 0 to 1000000, found -1/],
    ['a filter without its field', filter('URLRewrite', {}), /a filter URLRewrite needs `urlRewrite`/],
    [
      'with the field of another',
      filter('CORS', { cors: {}, urlRewrite: {} }),
      /`urlRewrite` belongs to a filter of type URLRewrite/,
    ],
    ['a redirect with backends', filter('RequestRedirect', { requestRedirect: {} }), /a rule that redirects has no backends/],
    ['a status', filter('RequestRedirect', { requestRedirect: { statusCode: 200 } }, {}), /expected one of 301, 302/],
    [
      'a prefix of no prefix',
      rule({
        ...toWeb,
        matches: [{ path: { type: 'Exact', value: '/a' } }],
        filters: [{ type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/b' } } }],
      }),
      /ReplacePrefixMatch needs exactly one match/,
    ],
    [
      'times',
      rule({ ...toWeb, timeouts: { request: '1s', backendRequest: '2s' } }),
      /expected at most the request's 1s, found 2s/,
    ],
    ['a time', rule({ ...toWeb, timeouts: { request: '1.5s' } }), /expected a duration such as 5s/],
    ['an address for a host', httpRoute('x', { ...atEdge, hostnames: ['192.0.2.1'] }), /found the address/],
    ['a wildcard', httpRoute('x', { ...atEdge, hostnames: ['*a.test'] }), /a wildcard is a whole label/],
    ['a parent twice', httpRoute('x', { parentRefs: [{ name: 'a' }, { name: 'a' }] }), /named twice/],
    ['a method of gRPC', route('GRPCRoute', 'x', { rules: [{ matches: [{ method: {} }] }] }), /one of `service` and `method`/],
    ['two rules of bytes', route('TCPRoute', 'x', { rules: [toWeb, toWeb] }), /expected exactly one rule, found 2/],
    ['no listeners', k8sGateway('x', []), /at least one of `listeners`/],
    ['a name twice', k8sGateway('x', [http('a'), http('a', { port: 81 })]), /the name `a` is used twice/],
    ['the same listener', k8sGateway('x', [http('a'), http('b')]), /the listener `a` has the same port, protocol and hostname/],
    ['TLS for plaintext', listener({ tls: { certificateRefs: [{ name: 'c' }] } }), /a listener for HTTP has no `tls`/],
    ['HTTPS that is passed on', listener({ protocol: 'HTTPS', tls: { mode: 'Passthrough' } }), /HTTPS ends here/],
    ['no certificate', listener({ protocol: 'HTTPS', tls: {} }), /needs `certificateRefs`/],
    ['a host for bytes', listener({ protocol: 'TCP', hostname: 'a.test' }), /a listener for TCP has no hostname/],
    ['a grant to nobody', route('ReferenceGrant', 'x', { to: [{ kind: 'Secret' }] }), /at least one of `from`/],
    ['a version', { ...httpRoute('x', {}), apiVersion: 'gateway.networking.k8s.io/v2' }, /unknown version .*expected gateway/],
  ]
  for (const [title, object, reason] of cases) {
    const { state, reason: found } = statusOf(loadText(t, yaml(object), EDGE), 'x')
    t.equal(state, 'refused', title)
    t.match(found, reason, title)
  }
})

t.test('the two kinds of Gateway are apart', async (t) => {
  const servers = [{ port: { number: 80, name: 'http', protocol: 'HTTP' }, hosts: ['a.test'] }]
  const result = loadText(t, yaml(gateway('edge', servers), k8sGateway('edge', [http('a', { port: 81 })])), EDGE)
  t.same(
    result.statuses.map((s) => [s.kind, s.name, s.state]),
    [
      ['Gateway', 'edge', 'in-force'],
      ['Gateway', 'edge', 'in-force'],
    ],
  )
  t.same(result.snapshot.listeners.map((l) => l.name).toSorted(), ['0.0.0.0_80', '0.0.0.0_81'])
})

t.test('the order in which rules are asked', async (t) => {
  const rules = (...list: [name: string, match: Resource][]) => list.map(([name, m]) => ({ name, ...toWeb, matches: [m] }))
  const path = (value: string, type = 'PathPrefix') => ({ path: { type, value } })
  const created = (creationTimestamp: string) => ({ creationTimestamp })
  const older = httpRoute(
    'z-older',
    {
      ...atEdge,
      rules: rules(
        ['regex', path('/a.*', 'RegularExpression')],
        ['any', {}],
        ['short', path('/a/')],
        ['query', { ...path('/ab'), queryParams: [{ name: 'a', value: '1' }] }],
        ['tie', path('/ab')],
      ),
    },
    created('2020-01-01T00:00:00Z'),
  )
  const newer = httpRoute(
    'a-newer',
    {
      ...atEdge,
      rules: rules(
        ['exact', path('/a', 'Exact')],
        ['long', path('/abc')],
        ['header', { ...path('/ab'), headers: [{ name: 'a', value: '1' }] }],
        ['method', { ...path('/ab'), method: 'POST' }],
        ['tie-2', path('/ab')],
      ),
    },
    created('2021-01-01T00:00:00Z'),
  )
  const result = loadText(t, yaml(k8sGateway('edge', [http('http')]), newer, older, ...web), EDGE)
  const routes = routesOf(result, 'http.80', '*')
  // A prefix comes before a pattern, also one that takes everything: what is behind it is never asked, as with Istio.
  t.same(names(routes), ['exact', 'long', 'method', 'header', 'query', 'tie', 'tie-2', 'short', 'any'])
  t.equal(routes.find((r) => r.name === 'short')?.match.path?.value, '/a', 'a slash at its end says nothing')
  t.same([routes[0]?.origin.kind, routes[0]?.origin.name], ['HTTPRoute', 'a-newer'], 'who wrote it')
  t.ok((routes[0]?.origin.line ?? 0) > 1)
})

t.test('which parents take a route', async (t) => {
  const listeners = [
    http('all', { port: 80, hostname: '*.a.test', allowedRoutes: { namespaces: { from: 'All' } } }),
    http('same', { port: 81 }),
    http('some', { port: 82, allowedRoutes: { namespaces: { from: 'Selector', selector: { matchLabels: { team: 'red' } } } } }),
    http('grpc', { port: 83, allowedRoutes: { kinds: [{ kind: 'GRPCRoute' }] } }),
  ]
  const edge = (sectionName: string, more: Resource = {}) => ({
    parentRefs: [{ name: 'edge', namespace: 'default', sectionName, ...more }],
  })
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other', labels: { team: 'red' } } }
  const cases: [title: string, spec: Resource, namespace: string, state: string, reason: RegExp][] = [
    ['of any namespace', { ...edge('all'), hostnames: ['x.a.test'] }, 'other', 'in-force', /^$/],
    ['without a host of its own', edge('all'), 'default', 'in-force', /^$/],
    ['the bare domain', { ...edge('all'), hostnames: ['a.test'] }, 'default', 'waiting', /one of its hostnames.*\*\.a\.test/],
    ['of another namespace', edge('same'), 'other', 'waiting', /take no HTTPRoute of the namespace `other`/],
    ['of a namespace with the label', edge('some'), 'other', 'in-force', /^$/],
    ['of one without', edge('some'), 'default', 'waiting', /allowedRoutes/],
    ['of another kind', edge('grpc'), 'default', 'waiting', /`grpc` \(HTTP\) take no HTTPRoute/],
    ['no such listener', edge('none'), 'default', 'waiting', /waiting for a listener `none`/],
    ['no such port', edge('all', { port: 90 }), 'default', 'waiting', /on port 90/],
    [
      'no such Gateway',
      { parentRefs: [{ name: 'ledge' }] },
      'default',
      'waiting',
      /the Gateway default\/ledge, which is not there/,
    ],
    [
      'one of two',
      { parentRefs: [{ name: 'ledge' }, { name: 'edge', sectionName: 'same' }] },
      'default',
      'partly',
      /parentRefs\[0\]: .*ledge/,
    ],
    ['none', {}, 'default', 'waiting', /names none in `parentRefs`/],
    [
      'of an unknown kind',
      { parentRefs: [{ kind: 'Pod', group: '', name: 'x' }] },
      'default',
      'waiting',
      /no parent of kind Pod/,
    ],
    ['a Service, by a gateway', ofWeb(), 'default', 'waiting', /waiting for a client in the mesh/],
  ]
  for (const [title, spec, own, state, reason] of cases) {
    const object = httpRoute('x', { ...spec, rules: [toWeb] }, { namespace: own })
    const text = yaml(namespace, k8sGateway('edge', listeners), object, ...web, ...other)
    const status = statusOf(loadText(t, text, EDGE), 'x')
    t.equal(status.state, state, title)
    t.match(status.reason, reason, title)
  }
})

t.test('a host belongs to the most special listener of its port', async (t) => {
  const listeners = [http('wild', { hostname: '*.a.test' }), http('own', { hostname: 'x.a.test' }), http('rest')]
  const at = (sectionName: string, hostnames: readonly string[]) =>
    httpRoute(sectionName, { parentRefs: [{ name: 'edge', sectionName }], hostnames, rules: [{ name: sectionName, ...toWeb }] })
  const result = loadText(
    t,
    yaml(
      k8sGateway('edge', listeners),
      at('wild', ['x.a.test', 'y.a.test', '*.a.test']),
      at('rest', ['x.a.test', 'b.test']),
      ...web,
    ),
    EDGE,
  )
  const hosts = result.snapshot.routeTables.find((r) => r.name === 'http.80')?.virtualHosts ?? []
  t.same(Object.fromEntries(hosts.map((v) => [v.domains.join(), names(v.routes)])), {
    '*': [],
    '*.a.test': ['wild'],
    'b.test': ['rest'],
    'x.a.test': [],
    'y.a.test': ['wild'],
  })
})

t.test('which Gateways are ours', async (t) => {
  const withClass = (gatewayClassName: string, more: Resource = {}) =>
    k8sGateway('edge', [http('a')], { gatewayClassName, ...more })
  const theirs = route('GatewayClass', 'theirs', { controllerName: 'example.com/other' })
  const ours = route('GatewayClass', 'ours', { controllerName: 'istio.io/gateway-controller' })
  const own = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'front' },
    spec: { selector: { istio: 'ingress' }, ports: [{ port: 80 }] },
  }
  const byName = { addresses: [{ type: 'Hostname', value: 'front' }] }
  const cases: [title: string, objects: Resource[], view: View, state: string, reason: RegExp][] = [
    ['of Istio', [withClass('istio')], EDGE, 'in-force', /^$/],
    ['of a class of its own', [withClass('ours'), ours], EDGE, 'in-force', /^$/],
    ['of another controller', [withClass('theirs'), theirs], EDGE, 'waiting', /another controller's, example.com\/other/],
    ['of no class', [withClass('istoi')], EDGE, 'waiting', /the GatewayClass `istoi`, which is not there/],
    [
      'of another workload',
      [withClass('istio')],
      { ...EDGE, labels: {} },
      'waiting',
      /with the label `gateway.networking.k8s.io\/gateway-name: edge`/,
    ],
    ['by its Service', [withClass('istio', byName), own], { ...EDGE, labels: { istio: 'ingress' } }, 'in-force', /^$/],
    ['by another Service', [withClass('istio', byName)], EDGE, 'waiting', /behind the Service front/],
    ['no gateway', [withClass('istio')], SIDECAR, 'waiting', /waiting for a proxy with `role: gateway`/],
    ['a waypoint', [withClass('istio-waypoint')], EDGE, 'waiting', /waiting for the waypoint default\/edge/],
    ['this waypoint', [withClass('istio-waypoint')], { waypoint: { name: 'edge' } }, 'in-force', /^$/],
  ]
  for (const [title, objects, view, state, reason] of cases) {
    const status = statusOf(loadText(t, yaml(...objects), view), 'edge')
    t.equal(status.state, state, title)
    t.match(status.reason, reason, title)
  }
})

t.test('listeners that are not served', async (t) => {
  const secret = (name: string) => ({ tls: { certificateRefs: [{ name, namespace: 'other' }] } })
  const clients = { validation: { caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'roots' }] } }
  const cases: [title: string, listener: Resource, more: Resource, reason: RegExp][] = [
    ['UDP', { name: 'a', port: 53, protocol: 'UDP' }, {}, /the protocol UDP is not served/],
    [
      'a Secret of others',
      { name: 'a', port: 443, protocol: 'HTTPS', ...secret('cert') },
      {},
      /no ReferenceGrant in `other` permits/,
    ],
    [
      'roots that are not read',
      { name: 'a', port: 443, protocol: 'HTTPS', tls: { certificateRefs: [{ name: 'cert' }] } },
      { tls: { frontend: { default: clients } } },
      /roots of clients are read from a Secret .*not served/,
    ],
  ]
  for (const [title, listener, more, reason] of cases) {
    const result = loadText(t, yaml(k8sGateway('edge', [listener], more)), EDGE)
    const { state, reason: found } = statusOf(result, 'edge')
    t.equal(state, 'partly', title)
    t.match(found, reason, title)
    t.same(result.snapshot.listeners, [], title)
  }
})

t.test('backends', async (t) => {
  const cases: [title: string, ref: Resource, cluster: string, reason: RegExp][] = [
    [
      'of another namespace',
      { name: 'web', namespace: 'other', port: 80 },
      'UnknownService',
      /no ReferenceGrant in `other`.*get 500/,
    ],
    [
      'of another kind',
      { kind: 'Bucket', group: 'example.com', name: 'b' },
      'UnknownService',
      /Bucket of example.com is no backend/,
    ],
    [
      'that is not there',
      { name: 'wbe', port: 80 },
      'outbound|80||wbe.default.svc.cluster.local',
      /did you mean `web.default.*get 500/,
    ],
    [
      'of a port that it has not',
      { name: 'web', port: 81 },
      'outbound|81||web.default.svc.cluster.local',
      /has no port 81.*get 500/,
    ],
  ]
  for (const [title, ref, cluster, reason] of cases) {
    const x = httpRoute('x', { ...atEdge, rules: [{ backendRefs: [ref] }] })
    const result = loadText(t, yaml(k8sGateway('edge', [http('http')]), x, ...web, ...other), EDGE)
    const [first] = routesOf(result, 'http.80', '*')
    t.match(first?.action, { kind: 'forward', clusters: [{ cluster }], clusterNotFoundStatus: 500 }, title)
    const { state, reason: found } = statusOf(result, 'x')
    t.equal(state, 'partly', title)
    t.match(found, reason, title)
  }
  const refused = httpRoute('x', {
    ...atEdge,
    rules: [{ ...toWeb, filters: [{ type: 'ExtensionRef', extensionRef: { name: 'y' } }] }],
  })
  const result = loadText(t, yaml(k8sGateway('edge', [http('http')]), refused, ...web), EDGE)
  t.match(
    routesOf(result, 'http.80', '*')[0]?.action,
    { kind: 'direct', status: 500 },
    'a filter that is not known is never passed over',
  )
})

t.test('an HTTPRoute without rules', async (t) => {
  const result = loadText(t, yaml(k8sGateway('edge', [http('http')]), httpRoute('x', atEdge)), EDGE)
  t.match(routesOf(result, 'http.80', '*')[0]?.action, { kind: 'direct', status: 500 }, 'has one that leads nowhere')
})

t.test('services of the mesh', async (t) => {
  const rule = (name: string) => ({ rules: [{ name, ...toWeb }] })
  const table = (result: LoadResult, domain: string) => names(routesOf(result, '80', domain))
  const consumer = httpRoute('consumer', { ...ofWeb({ namespace: 'other' }), ...rule('consumer') })
  const producer = httpRoute(
    'producer',
    { ...ofWeb(), ...rule('producer') },
    { namespace: 'other', creationTimestamp: '2020-01-01T00:00:00Z' },
  )
  const objects = [...web, ...other, consumer, producer]
  t.same(table(loadText(t, yaml(...objects), SIDECAR), 'web.other'), ['consumer'], 'clients of its namespace have their own')
  t.same(
    table(loadText(t, yaml(...objects), { ...SIDECAR, namespace: 'third' }), 'web.other'),
    ['producer'],
    "the others the owner's",
  )
  const vs = virtualService('older', ['web'], [{ name: 'older', route: [{ destination: { host: 'web' } }] }])
  const late = httpRoute('late', { ...ofWeb(), ...rule('late') }, { creationTimestamp: '2022-01-01T00:00:00Z' })
  const both = loadText(t, yaml(...web, vs, late), SIDECAR)
  t.same(table(both, 'web'), ['older'], 'an older VirtualService has the host')
  t.match(statusOf(both, 'late'), { state: 'shadowed', reason: /shadowed by VirtualService default\/older/ })
  const noPort = httpRoute('no-port', { ...ofWeb({ port: 81 }), ...rule('x') })
  t.match(statusOf(loadText(t, yaml(...web, noPort), SIDECAR), 'no-port'), {
    state: 'waiting',
    reason: /waiting for a port 81 of Service default\/web/,
  })
})

t.test('calls of gRPC', async (t) => {
  const match = (method: Resource) => ({ matches: [{ method }], ...toWeb })
  const rules = [match({ service: 'a.B', method: 'C' }), match({ service: 'a.B' }), match({ method: 'C' }), toWeb]
  const result = loadText(t, yaml(...web, route('GRPCRoute', 'calls', { ...ofWeb(), rules })), SIDECAR)
  const paths = tableOf(result, 80)
    .virtualHosts.find((v) => v.domains.includes('web'))
    ?.routes.map((r) => r.match.path)
  t.match(paths, [
    { kind: 'exact', value: '/a.B/C' },
    { kind: 'pathPrefix', value: '/a.B' },
    { kind: 'prefix', value: '/' },
  ])
})

t.test('connections', async (t) => {
  const listeners = [{ name: 'bytes', port: 9000, protocol: 'TCP' }]
  const bytes = (name: string, year: number) =>
    route('TCPRoute', name, { ...atEdge, rules: [toWeb] }, { creationTimestamp: `${year}-01-01T00:00:00Z` })
  const result = loadText(t, yaml(k8sGateway('edge', listeners), bytes('newer', 2021), bytes('older', 2020), ...web), EDGE)
  t.equal(statusOf(result, 'older').state, 'in-force')
  t.match(statusOf(result, 'newer'), { state: 'shadowed', reason: /shadowed by TCPRoute default\/older/ })
  t.match(result.snapshot.listeners[0]?.filterChains[0]?.network, {
    kind: 'tcp',
    clusters: [{ cluster: 'outbound|80||web.default.svc.cluster.local' }],
  })
})

t.test('a grant that nobody needs waits', async (t) => {
  const grant = route('ReferenceGrant', 'x', { from: [{ group: 'a', kind: 'B', namespace: 'c' }], to: [{ kind: 'Secret' }] })
  t.match(statusOf(loadText(t, yaml(grant, resource('Sidecar', 's', {})), EDGE), 'x'), {
    state: 'waiting',
    reason: /a reference that it permits/,
  })
})
