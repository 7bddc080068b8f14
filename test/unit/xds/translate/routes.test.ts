// Route configurations as JSON, and what becomes of them. Expected values are those of Envoy's API (envoy.config.route.v3).
import t from 'tap'
import { ANY_REQUEST, type ForwardAction, type Route, type RouteTable } from '../../../../lib/state/route.ts'
import { portOf, translateRoutes } from '../../../../lib/xds/translate/route-configuration.ts'
import type { RouteTerms } from '../../../../lib/xds/translate/route-terms.ts'
import { bytesOf, found, type Json, type Outcome } from './kit.ts'

const EXACT: RouteTerms = { unsafeRetries: 'allowed' }

function tableFrom(config: Json, previous: RouteTable | null = null, terms = EXACT): Outcome<RouteTable> {
  const bytes = bytesOf('envoy.config.route.v3.RouteConfiguration', { name: '80', ignore_port_in_host_matching: true, ...config })
  return found((f) => translateRoutes(bytes, terms, f, previous))
}

const host = (name: string, routes: readonly Json[] = [toCluster(name)], more: Json = {}): Json => ({
  name,
  domains: [name],
  routes,
  ...more,
})
const toCluster = (cluster: string, action: Json = {}, more: Json = {}): Json => ({
  match: { prefix: '/' },
  route: { cluster, ...action },
  ...more,
})

/** The only route of a configuration that has no faults. */
function routeFrom(route: Json, surroundings: Json = {}): Route {
  const { result, faults } = tableFrom({ virtual_hosts: [host('a', [route])], ...surroundings })
  if (result === null) throw new Error(faults)
  return result.virtualHosts[0]!.routes[0]!
}

const forwardFrom = (action: Json, match: Json = { prefix: '/' }): ForwardAction =>
  routeFrom({ match, route: { cluster: 'c', ...action } }).action as ForwardAction

t.test('what did not change stays the object that it was', async (t) => {
  const first = tableFrom({ virtual_hosts: [host('a'), host('b'), host('c')] }).result!
  const again = tableFrom({ virtual_hosts: [host('a'), host('b'), host('c')] }, first).result!
  t.equal(again, first, 'all of it')
  const second = tableFrom({ virtual_hosts: [host('b'), host('c', [toCluster('other')]), host('d')] }, again).result!
  t.equal(second.virtualHosts[0], first.virtualHosts[1], 'at another place too')
  t.not(second.virtualHosts[1], first.virtualHosts[2])
  t.equal((second.virtualHosts[1]!.routes[0]!.action as ForwardAction).clusters[0]!.cluster, 'other')
  t.same(
    second.virtualHosts.map((v) => v.name),
    ['b', 'c', 'd'],
  )

  const edits = { response_headers_to_remove: ['x-a'] }
  const edited = tableFrom({ virtual_hosts: [host('b')], ...edits }, second).result!
  t.not(edited.virtualHosts[0], second.virtualHosts[0], 'what holds for all hosts changes all of them')
  t.same(edited.virtualHosts[0]!.routes[0]!.responseEdits, [{ op: 'remove', name: 'x-a', value: '' }])
  const guarded = tableFrom({ virtual_hosts: [host('b')], ...edits }, edited, { unsafeRetries: 'held-back' }).result!
  t.not(guarded.virtualHosts[0], edited.virtualHosts[0], 'so do the terms of heddle.yaml')
})

t.test('notes of a virtual host stay with it', async (t) => {
  const hosts = [host('a', [toCluster('a', { max_grpc_timeout: '3s' })]), host('b')]
  const first = tableFrom({ virtual_hosts: hosts })
  t.match(first.notes, /virtual_hosts\[a\]\.routes\[0\]\.route\.max_grpc_timeout/)
  t.equal(tableFrom({ virtual_hosts: [hosts[0]!, host('b', [])] }, first.result).notes, first.notes)
})

t.test('of a virtual host of many routes only those that changed are other objects', async (t) => {
  const paths = Array.from({ length: 1000 }, (_, i) => `/part-${i}`)
  const to = (path: string, cluster = 'c', action: Json = {}): Json => ({ match: { path }, route: { cluster, ...action } })
  const of = (routes: readonly Json[], more: Json = {}, previous: RouteTable | null = null): Outcome<RouteTable> =>
    tableFrom({ virtual_hosts: [host('a', routes, more)] }, previous)
  const routesOf = ({ result }: Outcome<RouteTable>): readonly Route[] => result!.virtualHosts[0]!.routes
  const all = paths.map((path) => to(path))
  const first = of(all)
  const changed = of(all.with(500, to(paths[500]!, 'd')), {}, first.result)
  t.equal(changed.result!.virtualHosts[0]!.domains, first.result!.virtualHosts[0]!.domains)
  t.same(
    routesOf(changed).flatMap((route, i) => (route === routesOf(first)[i] ? [] : i)),
    [500],
  )
  const shifted = of(all.toSpliced(10, 1).toSpliced(700, 0, to('/new')), {}, changed.result)
  const before = new Set(routesOf(changed))
  t.same(
    routesOf(shifted).flatMap((route) => (before.has(route) ? [] : route.match.path?.value)),
    [paths[500], '/new'],
  )
  t.same(
    routesOf(shifted).map((route) => route.match.path?.value),
    paths.toSpliced(10, 1).toSpliced(700, 0, '/new'),
  )

  const secured = of(all, { require_tls: 'ALL' }, first.result)
  t.equal(routesOf(secured).length, 1001)
  const again = of(all.with(3, to('/other')), { require_tls: 'ALL' }, secured.result)
  t.same(
    routesOf(again).flatMap((route, i) => (route === routesOf(secured)[i] ? [] : (route.match.path?.value ?? 'to https'))),
    ['to https', '/other'],
    'the one that leads to https is not of the configuration',
  )
  const edited = of(all, { request_headers_to_remove: ['x-a'] }, first.result)
  t.equal(routesOf(edited).filter((route) => new Set(routesOf(first)).has(route)).length, 0, 'what holds for all changes all')

  const noted = of(all.with(20, to(paths[20]!, 'c', { max_grpc_timeout: '3s' })), {}, first.result)
  t.match(noted.notes, /^virtual_hosts\[a\]\.routes\[20\]\.route\.max_grpc_timeout: [^;]*$/)
  const moved = of(all.with(20, to(paths[20]!, 'c', { max_grpc_timeout: '3s' })).toSpliced(5, 1), {}, noted.result)
  t.match(moved.notes, /^virtual_hosts\[a\]\.routes\[19\]\.route\.max_grpc_timeout: [^;]*$/, 'notes go with their route')
  const bad = of(all.with(7, { match: { path: '/x' } }), {}, first.result)
  t.match(bad.faults, /virtual_hosts\[a\]\.routes\[7\]: it has no action/)
})

t.test('domains of others, also of those that have not changed', async (t) => {
  const first = tableFrom({ virtual_hosts: [host('a'), host('b'), host('c')] }).result
  const stolen = tableFrom({ virtual_hosts: [host('a'), host('b'), host('c', undefined, { domains: ['c', 'a'] })] }, first)
  t.match(stolen.faults, /virtual_hosts\[c\]: another virtual host has the domain a/)
  const twice = tableFrom({ virtual_hosts: [host('a'), host('b'), host('a', [toCluster('other')], { domains: ['x'] })] }, first)
  t.match(twice.faults, /two virtual hosts have the name a/)
})

t.test('retry policies that are equal are one object', async (t) => {
  const retry_policy = { retry_on: '5xx', num_retries: 3 }
  const { result } = tableFrom({
    virtual_hosts: [host('a', [toCluster('a', { retry_policy })]), host('b', [toCluster('b', { retry_policy })])],
  })
  const [a, b] = result!.virtualHosts.map((v) => (v.routes[0]!.action as ForwardAction).retry)
  t.equal(a?.attempts, 3)
  t.equal(a, b)
})

t.test('one bad route refuses the configuration, and all faults are told', async (t) => {
  const jwt = { filter: 'envoy.filters.http.jwt_authn', path: [{ key: 'payload' }], value: { present_match: true } }
  const lua = { '@type': 'type.googleapis.com/envoy.config.core.v3.Locality' }
  const rows: [what: string, config: Json, fault: RegExp][] = [
    [
      'a pattern',
      { virtual_hosts: [host('a', [{ ...toCluster('a'), match: { safe_regex: { regex: '(' } } }])] },
      /virtual_hosts\[a\]\.routes\[0\]\.match\.safe_regex: the pattern/,
    ],
    [
      'a path matcher',
      { virtual_hosts: [host('a', [{ ...toCluster('a'), match: { path_match_policy: { name: 'uri_template' } } }])] },
      /uri_template is not understood/,
    ],
    [
      'what is no claim',
      {
        virtual_hosts: [host('a', [{ ...toCluster('a'), match: { prefix: '/', dynamic_metadata: [{ ...jwt, filter: 'x' }] } }])],
      },
      /dynamic_metadata\[0\]\.filter: claims of tokens .* choose routes, nothing of `x` does/,
    ],
    [
      'a claim of which nothing is asked (istiod, of a StringMatch that is empty)',
      {
        virtual_hosts: [
          host('a', [{ ...toCluster('a'), match: { prefix: '/', dynamic_metadata: [{ ...jwt, value: { string_match: {} } }] } }]),
        ],
      },
      /dynamic_metadata\[0\]\.value\.string_match: a matcher says nothing/,
    ],
    [
      'a range',
      {
        virtual_hosts: [
          host('a', [{ ...toCluster('a'), match: { prefix: '/', headers: [{ name: 'x', range_match: { start: 1, end: 2 } }] } }]),
        ],
      },
      /headers\[0\]: a range/,
    ],
    [
      'a filter of a route',
      { virtual_hosts: [host('a', [toCluster('a', {}, { typed_per_filter_config: { lua } })])] },
      /typed_per_filter_config\[lua\]: a type\.googleapis\.com\/envoy\.config\.core\.v3\.Locality is not understood/,
    ],
    ['a filter of all hosts', { virtual_hosts: [host('a')], typed_per_filter_config: { lua } }, /typed_per_filter_config\[lua\]/],
    [
      'no weight',
      { virtual_hosts: [host('a', [{ match: { prefix: '/' }, route: { weighted_clusters: { clusters: [{ name: 'b' }] } } }])] },
      /no cluster has a weight/,
    ],
    ['subsets', { virtual_hosts: [host('a', [toCluster('a', { metadata_match: {} })])] }, /metadata_match/],
    ['no action', { virtual_hosts: [host('a', [{ match: { prefix: '/' } }])] }, /no action/],
    ['no match', { virtual_hosts: [host('a', [{ route: { cluster: 'a' } }])] }, /no `match`/],
    ['no domain', { virtual_hosts: [{ name: 'a' }] }, /virtual_hosts\[a\]: it has no domains/],
    [
      'a domain twice',
      { virtual_hosts: [host('a'), host('b', [], { domains: ['b', 'A'] })] },
      /another virtual host has the domain a/,
    ],
    ['a name twice', { virtual_hosts: [host('a'), host('a', [], { domains: ['b'] })] }, /two virtual hosts have the name a/],
    [
      'an operator',
      {
        virtual_hosts: [
          host('a', [toCluster('a', {}, { request_headers_to_add: [{ header: { key: 'x', value: '%NOSUCH%' } }] })]),
        ],
      },
      /request_headers_to_add\[0\]: the value of x/,
    ],
    [
      'the host',
      { virtual_hosts: [host('a', [toCluster('a', {}, { request_headers_to_remove: ['host'] })])] },
      /host cannot be removed/,
    ],
    [
      'a long body',
      {
        virtual_hosts: [
          host('a', [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'x'.repeat(4097) } } }]),
        ],
      },
      /4097 bytes; 4096 are allowed/,
    ],
    [
      'a file',
      {
        virtual_hosts: [
          host('a', [{ match: { prefix: '/' }, direct_response: { status: 200, body: { filename: '/etc/passwd' } } }]),
        ],
      },
      /in the configuration itself/,
    ],
    [
      'a predicate',
      {
        virtual_hosts: [
          host('a', [toCluster('a', { retry_policy: { retry_on: '5xx', retry_host_predicate: [{ name: 'mine' }] } })]),
        ],
      },
      /the predicate mine/,
    ],
  ]
  for (const [what, config, fault] of rows) {
    const { result, faults } = tableFrom(config)
    t.equal(result, null, what)
    t.match(faults, fault, what)
  }
  const both = tableFrom({
    virtual_hosts: [host('a', [{ match: { prefix: '/' } }]), host('b', [{ route: { cluster: 'a' } }]), host('c')],
  })
  t.match(both.faults, /virtual_hosts\[a\].*; virtual_hosts\[b\]/)
})

t.test('a filter that is optional, or of which only figures are lost, is noted', async (t) => {
  const wrapped = (more: Json): Json => ({
    '@type': 'type.googleapis.com/envoy.config.route.v3.FilterConfig',
    config: { '@type': 'type.googleapis.com/envoy.config.core.v3.Locality' },
    ...more,
  })
  const from = (config: Json) =>
    tableFrom({ virtual_hosts: [host('a', [toCluster('a', {}, { typed_per_filter_config: { x: config } })])] })
  t.match(from(wrapped({ is_optional: true })), { faults: '', notes: /optional/ })
  t.match(from(wrapped({})).faults, /not understood/)
  t.match(from(wrapped({ disabled: true })).faults, /switched off/)
  const off = (name: string) =>
    tableFrom({
      virtual_hosts: [host('a', [toCluster('a', {}, { typed_per_filter_config: { [name]: wrapped({ disabled: true }) } })])],
    })
  const sessions = off('envoy.filters.http.stateful_session')
  t.equal((sessions.result?.virtualHosts[0]?.routes[0]?.action as ForwardAction).session, 'none')
  t.match(off('istio.stats'), { faults: '', notes: /goes on/ })
  t.match(off('envoy.filters.http.rbac').faults, /switched off/, 'who is kept out stays out')
  const sticky = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute',
    disabled: true,
  }
  t.match(from(sticky), { faults: '', notes: '' })
})

t.test('what a route asks for in vain is noted', async (t) => {
  const action = {
    hedge_policy: {},
    internal_redirect_policy: {},
    rate_limits: [{ actions: [{ request_headers: { header_name: 'x', descriptor_key: 'x' } }] }],
  }
  const { faults, notes } = tableFrom({ virtual_hosts: [host('a', [toCluster('a', action)])] })
  t.equal(faults, '')
  for (const field of Object.keys(action)) t.match(notes, `route.${field}: `)
})

t.test('sessions and filters of one destination', async (t) => {
  const perRoute = (config: Json): Json => ({
    typed_per_filter_config: {
      'envoy.filters.http.stateful_session': {
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute',
        ...config,
      },
    },
  })
  const cookie: Json = {
    name: 'envoy.http.stateful_session.cookie',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState',
      cookie: { name: 'sess', path: '/a', ttl: '90s' },
    },
  }
  const session = { kind: 'cookie', name: 'sess', path: '/a', ttlSeconds: 90, strict: true } as const
  const own = perRoute({ stateful_session: { session_state: cookie, strict: true } })
  const clusters: Json[] = [
    { name: 'a', weight: 1, ...perRoute({ disabled: true }) },
    { name: 'b', weight: 1 },
  ]
  const route = { match: { prefix: '/' }, route: { weighted_clusters: { clusters } }, ...own }
  const action = routeFrom(route).action as ForwardAction
  t.same(action.session, session)
  t.same(
    action.clusters.map((c) => c.filters?.session),
    ['none', undefined],
  )
  const odd: Json = { stateful_session: { session_state: { name: 'mine', typed_config: null } } }
  const found = tableFrom({ virtual_hosts: [host('a', [toCluster('a', {}, perRoute(odd))])] })
  t.match(found, { faults: '', notes: /mine is not understood/ }, 'nobody is kept out by it')
})

t.test('timeouts and retries have the defaults of Envoy', async (t) => {
  t.equal(forwardFrom({}).timeoutMs, 15_000)
  t.equal(forwardFrom({ timeout: '0s' }).timeoutMs, 0)
  t.equal(forwardFrom({ retry_policy: { retry_on: '5xx', num_retries: 0 } }).retry, null)
  t.equal(forwardFrom({ retry_policy: { num_retries: 2 } }).retry, null, 'no word asks for any')
  t.match(forwardFrom({ retry_policy: { retry_on: '5xx, nosuch ,', retriable_status_codes: [503] } }).retry, {
    on: ['5xx'],
    attempts: 1,
    statusCodes: [],
    baseIntervalMs: 25,
    maxIntervalMs: 250,
    avoidPreviousHosts: false,
  })
  const inHost = routeFrom(toCluster('a'), {
    virtual_hosts: [host('a', [toCluster('a')], { retry_policy: { retry_on: 'reset', num_retries: 4 } })],
  })
  t.match(inHost.action, { retry: { on: ['reset'], attempts: 4 } }, 'those of the virtual host')
})

t.test('matches', async (t) => {
  const matchFrom = (match: Json) => routeFrom({ ...toCluster('a'), match }).match
  t.same(matchFrom({ prefix: '/' }), ANY_REQUEST)
  const share = (default_value: Json) => matchFrom({ prefix: '/', runtime_fraction: { default_value, runtime_key: 'x' } }).share
  t.same(share({ numerator: 5 }), { part: 5, of: 100 })
  t.same(share({ numerator: 7, denominator: 'MILLION' }), { part: 7, of: 1_000_000 })
  t.same(share({}), { part: 0, of: 100 }, 'none')
  t.equal(share({ numerator: 10_000, denominator: 'TEN_THOUSAND' }), null, 'all')
  t.equal(matchFrom({ prefix: '/', tls_context: { presented: false } }).certificate, false)
  t.equal(matchFrom({ prefix: '/', tls_context: { validated: true } }).certificate, true)
  t.match(matchFrom({ path: '/a', case_sensitive: false }).path, { kind: 'exact', value: '/a', ignoreCase: true })
  t.match(matchFrom({ path_separated_prefix: '/a' }).path, { kind: 'pathPrefix', value: '/a' })
  t.match(matchFrom({ connect_matcher: {} }), {
    path: null,
    headers: [{ name: ':method', match: { kind: 'exact', value: 'CONNECT' } }],
  })
  t.match(matchFrom({ prefix: '/', grpc: {} }).headers, [{ name: 'content-type', match: { kind: 'regex' } }])
  const headers = [
    { name: 'X-A', present_match: false },
    { name: 'Host', string_match: { suffix: '.test', ignore_case: true } },
    { name: 'x-b' },
    { name: 'x-c', string_match: { contains: 'v' }, invert_match: true, treat_missing_header_as_empty: true },
  ]
  t.match(matchFrom({ prefix: '/', headers }).headers, [
    { name: 'x-a', match: { kind: 'present' }, invert: true },
    { name: ':authority', match: { kind: 'suffix', value: '.test', ignoreCase: true } },
    { name: 'x-b', match: { kind: 'present' }, invert: false },
    { name: 'x-c', match: { kind: 'contains', value: 'v' }, invert: true, missingIsEmpty: true, field: 'withoutHeaders[x-c]' },
  ])
  const string_match = { exact: 'admin' }
  const claim = {
    filter: 'envoy.filters.http.jwt_authn',
    path: [{ key: 'payload' }, { key: 'realm' }, { key: 'role' }],
    value: { or_match: { value_matchers: [{ list_match: { one_of: { string_match } } }, { string_match }] } },
    invert: true,
  }
  const text = { kind: 'text', match: { kind: 'exact', value: 'admin', ignoreCase: false } }
  t.same(matchFrom({ prefix: '/', dynamic_metadata: [claim] }).metadata, [
    {
      filter: 'envoy.filters.http.jwt_authn',
      path: ['payload', 'realm', 'role'],
      field: 'withoutHeaders[@request.auth.claims[realm][role]]',
      value: { kind: 'or', of: [{ kind: 'element', of: text }, text] },
      invert: true,
    },
  ])
})

t.test('edits of levels follow each other, from the route outwards', async (t) => {
  const add = (key: string, append_action: string): Json => ({ header: { key, value: '1' }, append_action })
  const route = toCluster(
    'a',
    {},
    { request_headers_to_add: [add('x-a', 'OVERWRITE_IF_EXISTS_OR_ADD'), add('x-b', 'ADD_IF_ABSENT')] },
  )
  const around = {
    virtual_hosts: [host('a', [route], { request_headers_to_remove: ['X-A'] })],
    request_headers_to_add: [add('x-c', 'OVERWRITE_IF_EXISTS')],
  }
  const ops = (r: Route) => r.requestEdits.map((e) => `${e.op} ${e.name}`)
  t.same(ops(routeFrom(route, around)), ['set x-a', 'addIfAbsent x-b', 'then ', 'remove X-A', 'then ', 'setIfPresent x-c'])
  t.same(ops(routeFrom(route, { ...around, most_specific_header_mutations_wins: true })), [
    'setIfPresent x-c',
    'then ',
    'remove X-A',
    'then ',
    'set x-a',
    'addIfAbsent x-b',
  ])
})

t.test('redirects and responses', async (t) => {
  const redirect = routeFrom({
    match: { prefix: '/' },
    redirect: { https_redirect: true, strip_query: true, response_code: 'SEE_OTHER' },
  })
  t.match(redirect.action, { code: 303, scheme: 'https', stripQuery: true, path: '', prefixRewrite: null })
  const direct = routeFrom({ match: { prefix: '/' }, direct_response: { status: 418, body: { inline_string: 'é' } } })
  t.match(direct.action, { status: 418, body: 'Ã©' })
  const { result } = tableFrom({ virtual_hosts: [host('a', [toCluster('a')], { require_tls: 'ALL' })] })
  t.match(result!.virtualHosts[0]!.routes, [{ action: { kind: 'redirect', scheme: 'https' } }, { action: { kind: 'forward' } }])
})

t.test('where a route comes from', async (t) => {
  const config = '/apis/networking.istio.io/v1/namespaces/shop/virtual-service/reviews'
  const { result } = tableFrom({
    virtual_hosts: [host('a', [toCluster('a', {}, { metadata: { filter_metadata: { istio: { config } } } })]), host('b')],
  })
  const [a, b] = result!.virtualHosts
  t.match(a!.routes[0]!.origin, { kind: 'VirtualService', namespace: 'shop', name: 'reviews' })
  t.equal(a!.origin, a!.routes[0]!.origin)
  t.equal(b!.origin.kind, 'default')
})

t.test('the port of a table is told by its name', async (t) => {
  const rows: [name: string, port: number][] = [
    ['9080', 9080],
    ['reviews.default.svc.cluster.local:9080', 9080],
    ['http.8080', 8080],
    ['https.443.https-web.edge.istio-system', 443],
    ['inbound|8081||', 8081],
    ['inbound-vip|9080|http|a.default.svc.cluster.local', 9080],
    ['InboundPassthroughCluster', 0],
    ['http_proxy', 0],
  ]
  for (const [name, port] of rows) t.equal(portOf(name), port, name)
})
