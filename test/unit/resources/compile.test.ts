// From objects to clusters, listeners, policies and tables, where no recorded istiod says what is right.
import t from 'tap'
import type { Listener } from '../../../lib/state/listener.ts'
import type { WeightedCluster } from '../../../lib/state/route.ts'
import { clusterOf, loadText, statusOf, tableOf, type View } from './kit.ts'

const service = (name: string, spec: string, namespace = 'default', meta = '') =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ${namespace}${meta}}\nspec: ${spec}\n`
const istio = (kind: string, name: string, spec: string, namespace = 'default', meta = '') =>
  `---\napiVersion: networking.istio.io/v1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: ${namespace}${meta}}\nspec: ${spec}\n`
const A = service('a', '{clusterIP: 10.0.0.1, ports: [{name: http, port: 8080}]}')

t.test('endpoints of a Service', async (t) => {
  const slice = (name: string, endpoints: string, ports: string) =>
    `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, labels: {kubernetes.io/service-name: s}}\naddressType: IPv4\nendpoints: ${endpoints}\nports: ${ports}\n`
  const pod = (name: string, ip: string, labels: string) =>
    `---\napiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, labels: ${labels}}\nstatus: {podIP: ${ip}}\n`
  const result = loadText(
    t,
    service('s', '{clusterIP: 10.0.0.9, ports: [{name: http, port: 80}, {name: tcp-db, port: 5432}]}') +
      slice(
        's-1',
        '[{addresses: [10.1.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: s-v1-7d4f-abcde}, zone: z1}, {addresses: [10.1.0.2], conditions: {ready: false}}, {addresses: [10.1.0.3]}]',
        '[{name: http, port: 8080}, {name: tcp-db, port: 5433}]',
      ) +
      slice('s-2', '[{addresses: [10.1.0.4]}]', '[{name: other, port: 1}]') +
      pod('s-v1-7d4f-abcde', '10.1.0.1', '{app: s, version: v1, pod-template-hash: 7d4f}') +
      pod('by-address', '10.1.0.3', '{app.kubernetes.io/name: canon, version: v2}') +
      istio(
        'DestinationRule',
        's',
        '{host: s, subsets: [{name: v1, labels: {version: v1}}, {name: none, labels: {version: v9}}]}',
      ),
  )
  const http = clusterOf(result, 'outbound|80||s.default.svc.cluster.local')
  t.same(
    http.endpoints.map((e) => `${e.address}:${e.port}`),
    ['10.1.0.1:8080', '10.1.0.3:8080'],
  )
  t.same([http.type, http.protocol, http.serviceName, http.serviceNamespace], ['STATIC', 'http1', 's', 'default'])
  t.same(http.endpoints[0]?.workload, {
    workload: 's-v1',
    namespace: 'default',
    app: 's',
    version: 'v1',
    canonicalService: 's',
    canonicalRevision: 'v1',
    cluster: '',
  })
  t.match(http.endpoints[1]?.workload, { workload: 'by-address', canonicalService: 'canon', canonicalRevision: 'v2' })
  t.equal(http.endpoints[0]?.locality.zone, 'z1')
  t.equal(clusterOf(result, 'outbound|5432||s.default.svc.cluster.local').endpoints[0]?.port, 5433)
  t.equal(clusterOf(result, 'outbound|5432||s.default.svc.cluster.local').protocol, 'tcp')
  t.same(
    clusterOf(result, 'outbound|80|v1|s.default.svc.cluster.local').endpoints.map((e) => e.address),
    ['10.1.0.1'],
  )
  t.same(clusterOf(result, 'outbound|80|none|s.default.svc.cluster.local').endpoints, [])
  t.same(new Map(result.snapshot.defaultPorts).get('s'), 80)
})

t.test('endpoints of ServiceEntries', async (t) => {
  const result = loadText(
    t,
    istio(
      'ServiceEntry',
      'static',
      '{hosts: [st.test], resolution: STATIC, ports: [{number: 80, name: http, targetPort: 8080}, {number: 81, name: http-b}], endpoints: [{address: 10.2.0.1, ports: {http-b: 9999}, weight: 3, locality: r/z/s}]}',
    ) +
      istio(
        'ServiceEntry',
        'dns',
        '{hosts: [dns.test], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}], endpoints: [{address: one.test}, {address: 10.2.0.2}]}',
      ) +
      istio('ServiceEntry', 'self', '{hosts: [self.test], resolution: DNS_ROUND_ROBIN, ports: [{number: 80, name: http}]}') +
      istio('ServiceEntry', 'none', '{hosts: ["*.none.test"], ports: [{number: 80, name: http}]}') +
      istio(
        'ServiceEntry',
        'sel',
        '{hosts: [sel.test], resolution: STATIC, ports: [{number: 80, name: http, targetPort: 8000}], workloadSelector: {labels: {app: vm}}}',
      ) +
      istio('WorkloadEntry', 'vm-1', '{address: 10.2.0.3, labels: {app: vm, version: v1}, ports: {http: 8001}}') +
      istio('WorkloadEntry', 'vm-2', '{address: 10.2.0.4, labels: {app: vm}}') +
      istio('WorkloadEntry', 'alone', '{address: 10.2.0.5, labels: {app: other}}'),
  )
  const addresses = (name: string) => clusterOf(result, name).endpoints.map((e) => `${e.address}:${e.port}*${e.weight}`)
  t.same(addresses('outbound|80||st.test'), ['10.2.0.1:8080*3'])
  t.same(addresses('outbound|81||st.test'), ['10.2.0.1:9999*3'])
  t.same(clusterOf(result, 'outbound|80||st.test').endpoints[0]?.locality, { region: 'r', zone: 'z', subzone: 's' })
  const dns = clusterOf(result, 'outbound|443||dns.test')
  t.same(
    [dns.type, dns.protocol, dns.dnsNames.map((n) => `${n.host}:${n.port}`), dns.endpoints.map((e) => e.address)],
    ['DNS', 'tcp', ['one.test:443', '10.2.0.2:443'], []],
    'an address among names is an answer of its own',
  )
  const self = clusterOf(result, 'outbound|80||self.test')
  t.same([self.type, self.firstAddressOnly, self.dnsNames.map((n) => n.host)], ['DNS', true, ['self.test']])
  t.equal(clusterOf(result, 'outbound|80||*.none.test').type, 'ORIGINAL_DST')
  t.same(addresses('outbound|80||sel.test'), ['10.2.0.3:8001*1', '10.2.0.4:8000*1'])
  t.equal(clusterOf(result, 'outbound|80||sel.test').endpoints[0]?.workload.workload, 'vm-1')
  t.match(statusOf(result, 'alone'), { state: 'waiting', reason: /ServiceEntry or Service/ })
})

t.test('protocols of ports', async (t) => {
  const cases: readonly (readonly [port: string, protocol: string, routed: boolean])[] = [
    ['{name: http, port: 1}', 'http1', true],
    ['{name: http2-x, port: 1}', 'http2', true],
    ['{name: grpc, port: 1}', 'http2', true],
    ['{name: grpc-web-x, port: 1}', 'http2', true],
    ['{name: HTTP-x, port: 1}', 'http1', true],
    ['{name: tcp-x, port: 1}', 'tcp', false],
    ['{name: https, port: 1}', 'tcp', false],
    ['{name: tcp, appProtocol: http, port: 1}', 'http1', true],
    ['{name: x, appProtocol: kubernetes.io/h2c, port: 1}', 'http2', true],
    ['{name: x, port: 1}', 'client', true],
    ['{name: x, port: 3306}', 'tcp', false],
  ]
  for (const [spec, protocol, routed] of cases) {
    const result = loadText(t, service('p', `{ports: [${spec}]}`))
    const port = spec.includes('3306') ? 3306 : 1
    t.equal(clusterOf(result, `outbound|${port}||p.default.svc.cluster.local`).protocol, protocol, spec)
    t.equal(
      tableOf(result, port).virtualHosts.some((h) => h.name.startsWith('p.')),
      routed,
      spec,
    )
  }
  const udp = loadText(t, service('p', '{ports: [{name: dns, protocol: UDP, port: 53}, {name: http, port: 80}]}'))
  t.match(statusOf(udp, 'p'), { state: 'partly', reason: /UDP is not proxied/ })
})

t.test('policies of destination, port and subset', async (t) => {
  const policy = `{host: a,
    trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 7, connectTimeout: 1s}, http: {http2MaxRequests: 8}},
      portLevelSettings: [{port: {number: 8081}, loadBalancer: {simple: ROUND_ROBIN}}]},
    subsets: [{name: s, trafficPolicy: {connectionPool: {http: {maxRetries: 2}}}}, {name: p, trafficPolicy: {portLevelSettings: [{port: {number: 8080}, connectionPool: {http: {idleTimeout: 9s}}}]}}]}`
  const result = loadText(
    t,
    service('a', '{ports: [{name: http, port: 8080}, {name: http-b, port: 8081}]}') + istio('DestinationRule', 'a', policy),
  )
  const of = (port: number, subset: string) => clusterOf(result, `outbound|${port}|${subset}|a.default.svc.cluster.local`)
  t.match(of(8080, ''), {
    loadBalancer: { kind: 'RANDOM' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: 50,
    outlierDetection: null,
    limits: { maxConnections: 7, connectTimeoutMs: 1000, maxRequests: 8, httpIdleTimeoutMs: 3_600_000 },
  })
  t.match(
    of(8081, ''),
    {
      loadBalancer: { kind: 'ROUND_ROBIN' },
      slowStart: null,
      localityWeights: null,
      panicThreshold: 50,
      outlierDetection: null,
      limits: { maxConnections: 0, connectTimeoutMs: 10_000 },
    },
    'settings of a port replace all blocks',
  )
  t.match(
    of(8080, 's'),
    {
      loadBalancer: { kind: 'RANDOM' },
      slowStart: null,
      localityWeights: null,
      panicThreshold: 50,
      outlierDetection: null,
      limits: { maxConnections: 0, maxRetries: 2, maxRequests: 0 },
    },
    'a block of a subset replaces the whole block',
  )
  t.match(of(8081, 's'), {
    loadBalancer: { kind: 'ROUND_ROBIN' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: 50,
    outlierDetection: null,
    limits: { maxRetries: 2 },
  })
  t.match(of(8080, 'p'), {
    loadBalancer: { kind: 'LEAST_REQUEST' },
    slowStart: null,
    localityWeights: null,
    panicThreshold: 50,
    outlierDetection: null,
    limits: { httpIdleTimeoutMs: 9000, maxConnections: 0 },
  })
  t.equal(of(8080, 's').policyOrigin.name, 'a')
  const limits = clusterOf(loadText(t, A), 'outbound|8080||a.default.svc.cluster.local').limits
  t.match(limits, {
    connectTimeoutMs: 10_000,
    httpIdleTimeoutMs: 3_600_000,
    tcpIdleTimeoutMs: 3_600_000,
    maxConnections: 0,
    tcpKeepaliveSeconds: 0,
    tcpKeepaliveIntervalSeconds: 0,
    tcpKeepaliveProbes: 0,
    retryBudget: null,
  })
})

t.test('tcpKeepalive: whole seconds, what is left out is the system’s', async (t) => {
  const limits = (keepalive: string) =>
    clusterOf(
      loadText(
        t,
        A + istio('DestinationRule', 'r', `{host: a, trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: ${keepalive}}}}}`),
      ),
      'outbound|8080||a.default.svc.cluster.local',
    ).limits
  t.match(limits('{}'), { tcpKeepaliveSeconds: 7200, tcpKeepaliveIntervalSeconds: 0, tcpKeepaliveProbes: 0 })
  t.match(limits('{time: 1m, interval: 10s, probes: 4}'), {
    tcpKeepaliveSeconds: 60,
    tcpKeepaliveIntervalSeconds: 10,
    tcpKeepaliveProbes: 4,
  })
  t.match(limits('{interval: 100ms}'), { tcpKeepaliveSeconds: 7200, tcpKeepaliveIntervalSeconds: 1 })
})

t.test('what a DestinationRule asks for and is not carried out is told with its line', async (t) => {
  const result = loadText(
    t,
    `${A}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec:\n  host: a\n  trafficPolicy:\n    loadBalancer: {consistentHash: {}}\n    outlierDetection: {}\n    tls: {mode: ISTIO_MUTUAL}\n`,
  )
  const { state, reason, line, column } = statusOf(result, 'r')
  t.same([state, line, column], ['partly', 13, 20])
  t.match(
    reason,
    /line 13: spec\.trafficPolicy\.loadBalancer\.consistentHash: .*; line 15: spec\.trafficPolicy\.tls\.mode: this workload has no certificate/,
  )
})

t.test('what endpoints are spoken to', async (t) => {
  const ports =
    '{ports: [{name: http, port: 1}, {name: grpc-x, port: 2}, {name: http2, port: 3}, {name: x, port: 4}, {name: tcp, port: 5}]}'
  const spoken = (http: string) => {
    const rule = istio('DestinationRule', 'dr', `{host: p, trafficPolicy: {connectionPool: {http: ${http}}}}`)
    const result = loadText(t, service('p', ports) + rule)
    return [1, 2, 3, 4, 5].map((p) => clusterOf(result, `outbound|${p}||p.default.svc.cluster.local`).protocol)
  }
  t.same(spoken('{http1MaxPendingRequests: 1}'), ['http1', 'http2', 'http2', 'client', 'tcp'])
  t.same(spoken('{h2UpgradePolicy: DO_NOT_UPGRADE}'), ['http1', 'http2', 'http2', 'client', 'tcp'])
  t.same(spoken('{h2UpgradePolicy: UPGRADE}'), ['http2', 'http2', 'http2', 'http2', 'tcp'])
  t.same(spoken('{useClientProtocol: true}'), ['client', 'client', 'client', 'client', 'tcp'])
})

t.test('which DestinationRule holds', async (t) => {
  const other = service('b', '{ports: [{name: http, port: 80}]}', 'prod')
  const rule = (name: string, namespace: string, host: string, rest = '') =>
    istio('DestinationRule', name, `{host: ${host}, subsets: [{name: ${name}}]${rest}}`, namespace)
  const full = 'b.prod.svc.cluster.local'
  const cases: readonly (readonly [string, string, readonly string[], readonly (readonly [string, string])[]])[] = [
    [
      'the client’s namespace before the service’s',
      rule('x', 'default', full) + rule('y', 'prod', 'b') + rule('z', 'istio-system', full),
      ['x'],
      [
        ['y', 'shadowed'],
        ['z', 'shadowed'],
      ],
    ],
    [
      'the service’s before the root namespace’s',
      rule('y', 'prod', 'b') + rule('z', 'istio-system', full),
      ['y'],
      [['z', 'shadowed']],
    ],
    ['the root namespace’s last', rule('z', 'istio-system', '"*.prod.svc.cluster.local"'), ['z'], []],
    ['private to the service’s namespace', rule('y', 'prod', 'b', ', exportTo: ["."]'), [], [['y', 'waiting']]],
    [
      'exact before wildcard, longer before shorter',
      rule('w', 'default', '"*.local"') + rule('v', 'default', '"*.prod.svc.cluster.local"'),
      ['v'],
      [['w', 'shadowed']],
    ],
    [
      'a selector that fits before none',
      rule('n', 'default', full) + rule('s', 'default', full, ', workloadSelector: {matchLabels: {app: web}}'),
      ['s'],
      [['n', 'shadowed']],
    ],
    [
      'a selector that does not fit',
      rule('s', 'default', full, ', workloadSelector: {matchLabels: {app: no}}'),
      [],
      [['s', 'waiting']],
    ],
    ['joined, oldest first', rule('x1', 'default', full) + rule('x2', 'default', full), ['x1', 'x2'], []],
    ['unknown host', rule('u', 'default', 'nobody'), [], [['u', 'waiting']]],
  ]
  for (const [name, text, subsets, states] of cases) {
    const result = loadText(t, other + text)
    const found = result.snapshot.clusters.filter((c) => c.host === full && c.subset !== '').map((c) => c.subset)
    t.same(found, subsets, name)
    for (const [object, state] of states) t.equal(statusOf(result, object).state, state, `${name}: ${object}`)
  }
})

t.test('states of VirtualServices', async (t) => {
  const route = 'http: [{route: [{destination: {host: a}}]}]'
  const vs = (name: string, spec: string, meta = '') => istio('VirtualService', name, spec, 'default', meta)
  const cases: readonly (readonly [string, string, string, RegExp])[] = [
    ['fine', vs('x', `{hosts: [a], ${route}}`), 'in-force', /^$/],
    [
      'younger',
      vs('o', `{hosts: [a], ${route}}`, ', creationTimestamp: "2024-01-01T00:00:00Z"') +
        vs('x', `{hosts: [a], ${route}}`, ', creationTimestamp: "2024-01-02T00:00:00Z"'),
      'shadowed',
      /shadowed by VirtualService default\/o/,
    ],
    [
      'one host taken',
      vs('o', `{hosts: [a], ${route}}`) + vs('x', `{hosts: [a, free.test], ${route}}`),
      'partly',
      /`a\.default\.svc\.cluster\.local` is shadowed by/,
    ],
    ['gateway only', vs('x', `{hosts: [a], gateways: [gw], ${route}}`), 'waiting', /bound to gw only/],
    [
      'unknown host of a destination',
      vs('x', '{hosts: [a], http: [{route: [{destination: {host: orders}}]}]}') + service('order', '{ports: [{port: 80}]}'),
      'partly',
      /no known service; did you mean `order\.default\.svc\.cluster\.local`\?; requests for it get 503/,
    ],
    ['unknown subset', vs('x', '{hosts: [a], http: [{route: [{destination: {host: a, subset: v7}}]}]}'), 'partly', /subset `v7`/],
    [
      'unknown port',
      vs('x', '{hosts: [a], http: [{route: [{destination: {host: a, port: {number: 1}}}]}]}'),
      'partly',
      /has no port 1; it has 8080/,
    ],
    [
      'unknown mirror',
      vs('x', '{hosts: [a], http: [{mirror: {host: m}, route: [{destination: {host: a}}]}]}'),
      'partly',
      /nothing is mirrored/,
    ],
    [
      'unreachable rule',
      vs('x', '{hosts: [a], http: [{name: all, route: [{destination: {host: a}}]}, {redirect: {uri: /}}]}'),
      'partly',
      /spec\.http\[1\]: never reached: the rule `all`/,
    ],
    [
      'port that nobody asks on',
      vs('x', '{hosts: [a], http: [{match: [{port: 9}], redirect: {uri: /}}, {redirect: {uri: /x}}]}'),
      'partly',
      /asks for port 9/,
    ],
    [
      'sni',
      vs('x', `{hosts: [a], ${route}, tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: a}}]}]}`),
      'partly',
      /tls\[0\]: has no effect: nothing is captured/,
    ],
    [
      'unknown tcp destination',
      vs('x', '{hosts: [a], tcp: [{route: [{destination: {host: aa}}]}]}'),
      'partly',
      /spec\.tcp\[0\]\.route\[0\]\.destination: .*did you mean `a\.default\.svc\.cluster\.local`\?; its connections are closed/,
    ],
    ['delegate of nobody', vs('x', '{http: [{redirect: {uri: /}}]}'), 'waiting', /delegates to it/],
    [
      'other client',
      vs('x', '{hosts: [a], http: [{match: [{sourceLabels: {app: no}}], redirect: {uri: /}}]}'),
      'waiting',
      /none of them fits this workload/,
    ],
  ]
  for (const [name, text, state, reason] of cases) {
    const status = statusOf(loadText(t, A + text), 'x')
    t.equal(status.state, state, `${name}: ${status.reason}`)
    t.match(status.reason, reason, name)
  }
})

t.test('what is not carried out is said with its place', async (t) => {
  const rule = (text: string) =>
    statusOf(
      loadText(t, A + istio('VirtualService', 'x', `{hosts: [a], http: [{${text}, route: [{destination: {host: a}}]}]}`)),
      'x',
    )
  const rows: [text: string, reason: RegExp][] = [
    ['headers: {request: {set: {Content-Length: "5"}}}', /headers\.request\.set.*Content-Length.*no effect/],
    ['headers: {response: {remove: [x-a, transfer-encoding]}}', /headers\.response\.remove\[1\].*no effect/],
  ]
  for (const [text, reason] of rows) {
    const status = rule(text)
    t.equal(status.state, 'partly', text)
    t.match(status.reason, reason, text)
  }
  t.equal(rule('headers: {request: {set: {x-a: "5"}}}').state, 'in-force')
  t.equal(rule('corsPolicy: {allowOrigins: [{exact: "https://a"}]}').state, 'in-force')
})

t.test('what has no effect on a redirect or a direct response', async (t) => {
  for (const field of ['corsPolicy: {allowOrigins: [{exact: x}]}', 'mirror: {host: a}', 'mirrors: [{destination: {host: a}}]']) {
    for (const answer of ['directResponse: {status: 200}', 'redirect: {uri: /x}']) {
      const result = loadText(t, A + istio('VirtualService', 'x', `{hosts: [a], http: [{${field}, ${answer}}]}`))
      t.match(
        statusOf(result, 'x'),
        { state: 'partly', reason: /http\[0\]\.(corsPolicy|mirrors?): has no effect/ },
        `${field}, ${answer}`,
      )
    }
  }
})

t.test('a host of another service on the port takes the VirtualService along', async (t) => {
  const result = loadText(t, A + istio('VirtualService', 'x', '{hosts: [a, free.test], http: [{redirect: {uri: /}}]}'))
  t.same(
    tableOf(result, 8080).virtualHosts.map((h) => h.name),
    ['a.default.svc.cluster.local:8080', 'free.test:8080', 'allow_any'],
  )
  t.same(
    tableOf(result, 80).virtualHosts.map((h) => h.name),
    ['a.default.svc.cluster.local:80', 'free.test:80', 'allow_any'],
  )
})

t.test('hosts that nobody declared are passed on only where an original destination is known', async (t) => {
  const hosts = (view: Parameters<typeof loadText>[2]) => tableOf(loadText(t, A, view), 80).virtualHosts.map((h) => h.name)
  t.same(hosts({ listeners: [{ name: 'explicit' }] }), [])
  t.same(hosts({ listeners: [{ name: 'captured', destination: '10.0.0.7:7777' }] }), ['allow_any'])
  t.same(hosts({ listeners: [{ name: 'explicit' }], outboundTrafficPolicy: 'REGISTRY_ONLY' }), ['block_all'])
})

t.test('origins: the match or the rule, the fields that set terms', async (t) => {
  const text = `${A}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\nspec:\n  hosts: [a]\n  http:\n  - match:\n    - uri: {exact: /1}\n    - uri: {exact: /2}\n    timeout: 3s\n    route: [{destination: {host: a}}]\n  - retries: {attempts: 1}\n    route: [{destination: {host: a}}]\n`
  const routes = tableOf(loadText(t, text), 8080).virtualHosts[0]!.routes
  t.same(
    routes.map((r) => [r.origin.line, r.origin.column]),
    [
      [14, 7],
      [15, 7],
      [18, 5],
    ],
  )
  const [first, , last] = routes.map((r) => r.action)
  t.match(first, {
    kind: 'forward',
    timeoutMs: 3000,
    timeoutOrigin: { kind: 'VirtualService', name: 'x', line: 16 },
    retry: { origin: { kind: 'default' } },
  })
  t.match(last, {
    timeoutOrigin: { kind: 'default' },
    retry: { attempts: 1, baseIntervalMs: 25, maxIntervalMs: 250, origin: { line: 18 } },
  })
})

t.test('listeners', async (t) => {
  const tcp = (match: string, host: string) =>
    `{match: ${match}, route: [{destination: {host: ${host}}, weight: 1}, {destination: {host: spare}, weight: 3}, {destination: {host: spare}, weight: 0}]}`
  const text =
    service('db', '{clusterIP: 10.9.0.1, selector: {app: web}, ports: [{name: tcp, port: 5432, targetPort: 9000}]}') +
    service('spare', '{ports: [{name: tcp, port: 5432}]}') +
    service('plain', '{ports: [{name: tcp, port: 6379}]}') +
    istio(
      'VirtualService',
      'x',
      `{hosts: [db], tcp: [${tcp('[{port: 1}]', 'no')}, ${tcp('[{destinationSubnets: [10.8.0.0/16]}]', 'no')}, ${tcp('[{sourceLabels: {app: web}, destinationSubnets: [10.9.0.0/16]}]', 'db')}]}`,
    )
  const view: View = {
    listeners: [
      { name: 'any' },
      { name: 'fixed', destinationPort: 7777, destination: '10.0.0.7:7777' },
      { name: 'db', protocol: 'tcp', destination: 'db:5432' },
      { name: 'plain', protocol: 'tcp', destination: 'plain.default:6379' },
      { name: 'ip', protocol: 'tcp', destination: '10.7.0.1:1234' },
      { name: 'unknown', protocol: 'tcp', destination: 'nobody:1' },
      { name: 'in', direction: 'inbound', forwardTo: '127.0.0.1:9000' },
      { name: 'raw', direction: 'inbound', protocol: 'tcp', forwardTo: '[::1]:9001' },
    ],
  }
  const result = loadText(t, text, view)
  const listener = (name: string) => result.snapshot.listeners.find((l) => l.name === name)
  const network = (name: string) => listener(name)?.filterChains[0]?.network
  const targets = (name: string) => tcpClusters(listener(name))?.map((c) => [c.cluster, c.weight])
  t.match([listener('any'), network('any')], [{ originalDst: '' }, { kind: 'http', routeTable: '' }])
  t.match([listener('fixed'), network('fixed')], [{ originalDst: '10.0.0.7:7777' }, { kind: 'http', routeTable: '7777' }])
  t.same(
    tableOf(result, 7777).virtualHosts.map((h) => h.name),
    ['allow_any'],
  )
  t.same(targets('db'), [
    ['outbound|5432||db.default.svc.cluster.local', 1],
    ['outbound|5432||spare.default.svc.cluster.local', 3],
  ])
  t.same(targets('plain'), [['outbound|6379||plain.default.svc.cluster.local', 1]])
  t.same([targets('ip'), listener('ip')?.originalDst], [[['PassthroughCluster', 1]], '10.7.0.1:1234'])
  t.same(targets('unknown'), [])
  const inbound = network('in')
  const table = result.snapshot.routeTables.find((r) => inbound?.kind === 'http' && r.name === inbound.routeTable)
  t.match(table?.virtualHosts, [
    {
      name: 'inbound|http|5432',
      domains: ['*'],
      routes: [{ name: 'default', action: { timeoutMs: 0, retry: { on: ['reset-before-request'], attempts: 2 } } }],
    },
  ])
  t.match(clusterOf(result, 'inbound|9000||'), {
    type: 'STATIC',
    serviceName: 'db',
    port: 5432,
    endpoints: [{ address: '127.0.0.1', port: 9000, workload: { workload: 'web', namespace: 'default' } }],
  })
  t.same(targets('raw'), [['inbound|9001||', 1]])
  t.match(clusterOf(result, 'inbound|9001||').endpoints, [{ address: '::1', port: 9001 }])
  const closed = loadText(t, text, { ...view, outboundTrafficPolicy: 'REGISTRY_ONLY' })
  t.same(tcpClusters(closed.snapshot.listeners.find((l) => l.name === 'ip')), [])
  t.match(tableOf(closed, 80).virtualHosts, [
    { name: 'block_all', domains: ['*'], routes: [{ action: { kind: 'direct', status: 502, body: '' } }] },
  ])
})

t.test('who sees what', async (t) => {
  const text =
    A +
    service('b', '{ports: [{name: http, port: 80}]}', 'prod') +
    service('hidden', '{ports: [{name: http, port: 80}]}', 'prod', ', annotations: {networking.istio.io/exportTo: "."}') +
    istio(
      'ServiceEntry',
      'mine',
      '{hosts: [both.test], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 10.0.0.1}]}',
      'default',
      ', creationTimestamp: "2030-01-01T00:00:00Z"',
    ) +
    istio(
      'ServiceEntry',
      'theirs',
      '{hosts: [both.test], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 10.0.0.2}]}',
      'prod',
    )
  const mine = loadText(t, text)
  t.same(
    clusterOf(mine, 'outbound|80||both.test').endpoints.map((e) => e.address),
    ['10.0.0.1'],
  )
  t.match(statusOf(mine, 'theirs'), { state: 'shadowed', reason: /ServiceEntry default\/mine/ })
  t.match(statusOf(mine, 'hidden'), { state: 'waiting', reason: /exported to/ })
  t.same(tableOf(mine, 80).virtualHosts.find((h) => h.name.startsWith('b.'))?.domains, [
    'b.prod.svc.cluster.local',
    'b.prod.svc.cluster.local.',
    'b.prod',
    'b.prod.svc',
  ])
  const theirs = loadText(t, text, { namespace: 'prod' })
  t.equal(statusOf(theirs, 'hidden').state, 'in-force')
  t.same(
    clusterOf(theirs, 'outbound|80||both.test').endpoints.map((e) => e.address),
    ['10.0.0.2'],
  )
})

/** Of the first filter chain. */
function tcpClusters(listener: Listener | undefined): readonly WeightedCluster[] | undefined {
  const network = listener?.filterChains[0]?.network
  return network?.kind === 'tcp' ? network.clusters : undefined
}
