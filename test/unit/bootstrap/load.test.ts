import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t from 'tap'
import { loadBootstrap, parseBootstrap } from '../../../lib/bootstrap/load.ts'
import { problemText } from '../../../lib/bootstrap/problem.ts'
import type { BootstrapConfig } from '../../../lib/state/bootstrap-config.ts'
import { BUILT_IN } from '../../../lib/state/origin.ts'

const DEFAULTS: BootstrapConfig = {
  role: 'sidecar',
  workload: { namespace: 'default', serviceAccount: 'default', name: 'unknown', labels: {}, address: '127.0.0.1', locality: '' },
  concurrency: 2,
  admin: { address: '127.0.0.1', port: 15000 },
  health: { address: '127.0.0.1', port: 15021 },
  accessLog: { path: '/dev/stdout', format: 'text', isDefault: true },
  logLevel: 'info',
  resources: [],
  xds: {
    address: '',
    protocol: 'delta',
    transport: 'tls',
    serverName: '',
    roots: '/var/run/secrets/istio/root-cert.pem',
    token: '/var/run/secrets/tokens/istio-token',
    clientCertificate: '',
    clientKey: '',
    clusterId: 'Kubernetes',
    headers: {},
    state: '',
    onDemand: false,
    nodeId: '',
    metadata: {},
    istioVersion: '1.29',
    podLabels: '/etc/istio/pod/labels',
    podAnnotations: '/etc/istio/pod/annotations',
  },
  listeners: [],
  healthChecks: [],
  node: {
    workloads: [],
    pods: [],
    agentSocket: '',
    outboundPort: 15001,
    inboundPort: 15006,
    tunnelPort: 15008,
    keepSource: true,
    mark: 1337,
    localTunnel: true,
  },
  agent: {
    address: '0.0.0.0',
    statusPort: 0,
    metricsPort: 0,
    metricsFor: 'all',
    applicationMetrics: [],
    probeAddress: '127.0.0.1',
    probes: [],
    readinessProbe: null,
  },
  dns: { address: '127.0.0.1', port: 0, servers: [] },
  identity: {
    source: 'none',
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    spiffeId: '',
    key: 'ecdsa-p256',
    certificateTtlMs: 86400000,
    rotation: { graceRatio: 0.5, jitter: 0.01 },
    onOldCertificate: 'drain-before-expiry',
    bundles: [],
    revocation: '',
    files: {
      certificateChain: '/var/run/secrets/workload-spiffe-credentials/cert-chain.pem',
      privateKey: '/var/run/secrets/workload-spiffe-credentials/key.pem',
      roots: '/var/run/secrets/workload-spiffe-credentials/root-cert.pem',
    },
    devCa: { folder: '' },
    workloadApi: { socket: '', hint: '' },
    istioCa: {
      address: 'istiod.istio-system.svc:15012',
      serverName: '',
      roots: '/var/run/secrets/istio/root-cert.pem',
      token: '/var/run/secrets/tokens/istio-token',
      clientCertificate: '',
      clientKey: '',
      clusterId: 'Kubernetes',
      certSigner: '',
    },
  },
  capture: {
    mode: 'none',
    address: '0.0.0.0',
    outboundPort: 15001,
    inboundPort: 15006,
    tunnelPort: 15008,
    detectionTimeoutMs: 2000,
    ports: [],
    origin: BUILT_IN,
  },
  gateway: { address: '0.0.0.0', ports: [], portOffset: 0, trustedProxies: 0, proxyProtocol: false, origin: BUILT_IN },
  waypoint: {
    name: 'waypoint',
    address: '0.0.0.0',
    port: 15008,
    services: 'labelled',
    serves: 'service',
    detectionTimeoutMs: 2000,
    origin: BUILT_IN,
  },
  drain: { acceptMs: 5000, deadlineMs: 5000, changesMs: 45_000 },
  limits: {
    maxHeaderBytes: 61440,
    maxHeaders: 100,
    bufferBytes: 1048576,
    maxConnections: 10000,
    maxRequestsPerConnection: 100000,
    headerTimeoutMs: 60000,
    connectionIdleTimeoutMs: 3600000,
    streamIdleTimeoutMs: 0,
    streamStallTimeoutMs: 30000,
    maxSeries: 10000,
  },
  mesh: {
    rootNamespace: 'istio-system',
    domain: 'cluster.local',
    outboundTrafficPolicy: 'ALLOW_ANY',
    pathNormalization: 'BASE',
    defaultRetryAttempts: 2,
    defaultRetryOn: '',
    localityFailover: 'on',
    autoMtls: 'on',
    minTlsVersion: 'TLSv1.3',
    dnsRefreshMs: 60000,
    dnsServers: [],
  },
  http1: { halfClose: 'serve' },
  mirror: { hostSuffix: '-shadow', maxRequests: 1024 },
  retries: 'guarded',
  faults: { headers: 'ignore' },
  file: '',
}

/** The configuration, or a failure that shows the errors. */
function loaded(source: string, env = {}, flags = {}, file = 'heddle.yaml'): BootstrapConfig {
  const result = parseBootstrap(source, file, env, flags)
  if (!result.ok) throw new Error(result.errors.map(problemText).join('\n'))
  return result.config
}

t.test('without anything the documented defaults hold', async (t) => {
  const result = loadBootstrap(null)
  t.same(result, { ok: true, config: DEFAULTS, warnings: [] })
})

t.test('the shape of the documentation', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bootstrap-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'heddle.yaml')
  writeFileSync(
    file,
    `role: sidecar
workload: { namespace: shop, serviceAccount: web, labels: { app: web }, address: 10.0.0.7, locality: region1/zone1 }
concurrency: 3
admin: { address: 127.0.0.1, port: 15010 }
health: { address: "::1", port: 0 }
accessLog: { path: logs/access.log, format: json }
resources: [ . ]
listeners:
  - { name: out, direction: outbound, protocol: http, address: 127.0.0.1, port: 8080 }
  - { name: db,  direction: outbound, protocol: tcp,  address: 127.0.0.1, port: 5432, destination: "db.default.svc.cluster.local:5432" }
  - { name: in,  direction: inbound,  protocol: http, address: 127.0.0.1, port: 8081, forwardTo: "127.0.0.1:9000" }
drain: { accept: 15s, deadline: 1m30s }
limits:
  # all as they are
`,
  )
  const result = loadBootstrap(file)
  t.ok(result.ok)
  if (!result.ok) return
  const listener = {
    protocol: 'http',
    httpVersion: 'auto',
    address: '127.0.0.1',
    destination: '',
    forwardTo: '',
    destinationPort: 0,
    allowConnect: false,
  }
  const origin = (name: string, line: number) => ({ kind: 'bootstrap', namespace: 'shop', name, file, line, column: 5 })
  t.same(result.config, {
    ...DEFAULTS,
    workload: {
      namespace: 'shop',
      serviceAccount: 'web',
      name: 'web',
      labels: { app: 'web' },
      address: '10.0.0.7',
      locality: 'region1/zone1',
    },
    concurrency: 3,
    admin: { address: '127.0.0.1', port: 15010 },
    health: { address: '::1', port: 0 },
    accessLog: { path: join(folder, 'logs/access.log'), format: 'json', isDefault: false },
    resources: [folder],
    listeners: [
      { ...listener, name: 'out', direction: 'outbound', port: 8080, origin: origin('out', 9) },
      {
        ...listener,
        name: 'db',
        direction: 'outbound',
        protocol: 'tcp',
        port: 5432,
        destination: 'db.default.svc.cluster.local:5432',
        origin: origin('db', 10),
      },
      { ...listener, name: 'in', direction: 'inbound', port: 8081, forwardTo: '127.0.0.1:9000', origin: origin('in', 11) },
    ],
    drain: { acceptMs: 15000, deadlineMs: 90000, changesMs: 45_000 },
    file,
  })
})

t.test('what is wrong is said with its place', async (t) => {
  const out = '{ name: out, direction: outbound, port: 8080 }'
  const cases: [title: string, source: string, errors: string[]][] = [
    ['misspelt field', 'listners: []', ['1:1: unknown field `listners`; did you mean `listeners`?']],
    [
      'two misspelt fields, both told',
      'rolle: sidecar\nadmin: { prot: 1 }',
      ['1:1: unknown field `rolle`; did you mean `role`?', '2:10: `admin`: unknown field `prot`; did you mean `port`?'],
    ],
    [
      'a field like nothing known',
      'admin: { xyzzy: 1 }',
      ['1:10: `admin`: unknown field `xyzzy`; expected one of `address`, `port`'],
    ],
    [
      'misspelt in a listener',
      'listeners:\n  - { name: out, direction: outbound, prot: 1, port: 8080 }',
      ['2:39: `listeners[0]`: unknown field `prot`; did you mean `port`?'],
    ],
    [
      'wrong type',
      'concurrency: two',
      ['1:14: `concurrency`: expected a number of worker threads (1 to 256), such as `2`; found the text "two"'],
    ],
    [
      'zero workers',
      'concurrency: 0',
      ['1:14: `concurrency`: expected a number of worker threads (1 to 256), such as `2`; found the number 0'],
    ],
    [
      'port out of range',
      'admin:\n  port: 70000',
      ['2:9: `admin.port`: expected a port (0 to 65535), such as `8080`; found the number 70000'],
    ],
    [
      'port as text',
      'admin:\n  port: "80"',
      ['2:9: `admin.port`: expected a port (0 to 65535), such as `8080`; found the text "80"'],
    ],
    ['value left out', 'admin:\n  port:', ['2:8: `admin.port`: expected a port (0 to 65535), such as `8080`; found nothing']],
    [
      'duration without unit',
      'drain: { deadline: 5 }',
      ['1:20: `drain.deadline`: expected a duration up to 24h, such as `5s`; found the number 5'],
    ],
    [
      'negative duration',
      'drain: { deadline: -5s }',
      ['1:20: `drain.deadline`: expected a duration up to 24h, such as `5s`; found the text "-5s"'],
    ],
    [
      'DNS server without a port',
      'mesh: { dnsServers: [ "10.96.0.10" ] }',
      ['1:21: `mesh.dnsServers`: expected a list of `address:port`, such as `[ "10.96.0.10:53" ]`; found a list'],
    ],
    [
      'duration too short',
      'mesh: { dnsRefresh: 10ms }',
      ['1:21: `mesh.dnsRefresh`: expected a duration of at least 1000ms up to 24h, such as `60s`; found the text "10ms"'],
    ],
    [
      'size',
      'limits: { bufferBytes: 1XB }',
      ['1:24: `limits.bufferBytes`: expected a size in bytes, 0 for no limit, such as `1MiB`; found the text "1XB"'],
    ],
    [
      'choice',
      'role: proxy',
      ['1:7: `role`: expected one of `sidecar`, `node`, `waypoint`, `gateway`, such as `sidecar`; found the text "proxy"'],
    ],
    [
      'section of the wrong shape',
      'limits: 5',
      ['1:9: `limits`: expected a mapping such as `{ maxHeaders: 100 }`; found the number 5'],
    ],
    [
      'a section within a section',
      'identity: { rotation: 0.5, istioCa: { adress: x } }',
      [
        '1:23: `identity.rotation`: expected a mapping such as `{ graceRatio: 0.5 }`; found the number 0.5',
        '1:39: `identity.istioCa`: unknown field `adress`; did you mean `address`?',
      ],
    ],
    [
      'a control plane: what it needs, and what it excludes',
      'resources: [ . ]\nxds: { address: "istiod:99999", protocol: rest, clientKey: k.pem, onDemand: true, nodeId: a~b }',
      [
        '1:1: `resources` and `xds.address` are both given; configuration comes from files or from a control plane',
        '2:6: `xds`: `clientCertificate` and `clientKey` are given together, or neither',
        '2:17: `xds.address`: expected a port of 1 to 65535; found "istiod:99999"',
        '2:43: `xds.protocol`: expected one of `delta`, `sotw`, such as `delta`; found the text "rest"',
        '2:77: `xds.onDemand`: `onDemand` belongs to `role: node`',
        '2:91: `xds.nodeId`: expected four parts with `~` between them, or an empty text, such as `"sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"`; found the text "a~b"',
      ],
    ],
    [
      'identity: names, shares and lives',
      'identity: { trustDomain: "a b", trustDomainAliases: [ "a:1" ], rotation: { graceRatio: 2 }, certificateTtl: 3000h }',
      [
        '1:26: `identity.trustDomain`: expected the name of a trust domain (a-z 0-9 . - _), such as `cluster.local`; found the text "a b"',
        '1:53: `identity.trustDomainAliases`: expected a list of names of trust domains (a-z 0-9 . - _), such as `[ old.example ]`; found a list',
        '1:88: `identity.rotation.graceRatio`: expected a number from 0 to 1, such as `0.5`; found the number 2',
        '1:109: `identity.certificateTtl`: expected a duration of at least 1000ms up to 2160h, such as `24h`; found the text "3000h"',
      ],
    ],
    [
      'a SPIFFE id that is none',
      'identity: { spiffeId: spiffe://td/a/../b }',
      ['1:23: `identity.spiffeId`: "spiffe://td/a/../b" is no SPIFFE id: its path has the segment ".."'],
    ],
    [
      'a SPIFFE id of another trust domain',
      'identity: { spiffeId: spiffe://other/ns/a/sa/b }',
      ['1:23: `identity.spiffeId`: spiffe://other/ns/a/sa/b is not of `identity.trustDomain`, which is cluster.local'],
    ],
    [
      'the Workload API without a socket',
      'identity: { source: workload-api }',
      [
        '1:11: `identity.workloadApi`: the Workload API needs `socket`, such as `socket: "unix:///run/spire/agent.sock"`, or SPIFFE_ENDPOINT_SOCKET in the environment',
      ],
    ],
    [
      'half of a client certificate',
      'identity: { istioCa: { clientKey: k.pem } }',
      ['1:22: `identity.istioCa`: `clientCertificate` and `clientKey` are given together, or neither'],
    ],
    [
      'bundles that are no mapping of paths',
      'identity: { bundles: { other.example: 5 } }',
      [
        '1:22: `identity.bundles`: expected a mapping of trust domains to paths, such as `{ other.example: ./other-roots.pem }`; found a mapping',
      ],
    ],
    ['section as a list', 'drain: [ 5s ]', ['1:8: `drain`: expected a mapping such as `{ deadline: 5s }`; found a list']],
    [
      'listeners not a list',
      `listeners: ${out}`,
      ['1:12: `listeners`: expected a list such as `[ { name: out, direction: outbound, port: 8080 } ]`; found a mapping'],
    ],
    [
      'listener not a mapping',
      'listeners: [ out ]',
      ['1:14: `listeners[0]`: expected a mapping such as `{ name: out, direction: outbound, port: 8080 }`; found the text "out"'],
    ],
    [
      'labels that are not texts',
      'workload: { labels: { version: 1 } }',
      [
        '1:21: `workload.labels`: expected a mapping of texts (quote numbers and booleans), such as `{ app: web }`; found a mapping',
      ],
    ],
    [
      'fields that a listener must have',
      'listeners:\n  - address: 127.0.0.1',
      [
        '2:5: `listeners[0]`: missing field `name`: expected a name of letters, digits, `.`, `_` and `-`, such as `name: out`',
        '2:5: `listeners[0]`: missing field `direction`: expected one of `outbound`, `inbound`, such as `direction: outbound`',
        '2:5: `listeners[0]`: missing field `port`: expected a port (0 to 65535), such as `port: 8080`',
      ],
    ],
    [
      'a name that is not an address',
      'admin: { address: localhost }',
      ['1:19: `admin.address`: expected an IP address, such as `127.0.0.1`; found the text "localhost"'],
    ],
    [
      'inbound without the application',
      'listeners: [ { name: in, direction: inbound, port: 1 } ]',
      [
        '1:14: `listeners[0]`: an inbound listener needs `forwardTo`, the address of the application, such as `forwardTo: "127.0.0.1:9000"`',
      ],
    ],
    [
      'tcp without a destination',
      'listeners: [ { name: db, direction: outbound, protocol: tcp, port: 1 } ]',
      [
        '1:14: `listeners[0]`: an outbound tcp listener needs `destination`, such as `destination: "db.default.svc.cluster.local:5432"`',
      ],
    ],
    [
      'destination without a port',
      'listeners: [ { name: db, direction: outbound, protocol: tcp, port: 1, destination: db } ]',
      [
        '1:84: `listeners[0].destination`: expected `host:port` of a service, such as `"db.default.svc.cluster.local:5432"`; found the text "db"',
      ],
    ],
    [
      'forwardTo where nothing is forwarded',
      'listeners: [ { name: o, direction: outbound, port: 1, forwardTo: "127.0.0.1:1" } ]',
      ['1:55: `listeners[0]`: `forwardTo` belongs to inbound listeners'],
    ],
    [
      'one name twice',
      `listeners:\n  - ${out}\n  - { name: out, direction: outbound, port: 8082 }`,
      ['3:13: `listeners[1].name`: `out` is already the name of listeners[0]'],
    ],
    [
      'one port twice',
      `listeners:\n  - ${out}\n  - { name: b, direction: outbound, address: 0.0.0.0, port: 8080 }`,
      ['3:61: `listeners[1].port`: 0.0.0.0:8080 is already taken by listener `out`'],
    ],
    [
      'the port of the admin server',
      'listeners:\n  - { name: b, direction: outbound, port: 15000 }',
      ['2:43: `listeners[0].port`: 127.0.0.1:15000 is already taken by `admin`'],
    ],
    [
      'no such resources',
      'resources: [ /nonexistent/heddle ]',
      ['1:14: `resources[0]`: no such file or folder: /nonexistent/heddle'],
    ],
    [
      'all at once, in order',
      'concurrency: x\nhealth: { port: -1 }\nlistners: []',
      [
        '1:14: `concurrency`: expected a number of worker threads (1 to 256), such as `2`; found the text "x"',
        '2:17: `health.port`: expected a port (0 to 65535), such as `8080`; found the number -1',
        '3:1: unknown field `listners`; did you mean `listeners`?',
      ],
    ],
    [
      'names of Object.prototype are no fields',
      'constructor: 1\n__proto__: 2',
      [
        '1:1: unknown field `constructor`; expected one of `role`, `workload`, `concurrency`, `admin`, `health`, `accessLog`, `logLevel`, `resources`, `xds`, `listeners`, `capture`, `node`, `gateway`, `waypoint`, `healthChecks`, `identity`, `drain`, `limits`, `mesh`, `agent`, `dns`, `http1`, `mirror`, `retries`, `faults`',
        '2:1: unknown field `__proto__`; expected one of `role`, `workload`, `concurrency`, `admin`, `health`, `accessLog`, `logLevel`, `resources`, `xds`, `listeners`, `capture`, `node`, `gateway`, `waypoint`, `healthChecks`, `identity`, `drain`, `limits`, `mesh`, `agent`, `dns`, `http1`, `mirror`, `retries`, `faults`',
      ],
    ],
    [
      'misspelt in a health check, and in its probe',
      'healthChecks:\n  - { hosts: [ a ], intervall: 5s, http: { pth: /x } }',
      [
        '2:21: `healthChecks[0]`: unknown field `intervall`; did you mean `interval`?',
        '2:44: `healthChecks[0].http`: unknown field `pth`; did you mean `path`?',
      ],
    ],
    [
      'health checks not a list',
      'healthChecks: { hosts: [ a ] }',
      ['1:15: `healthChecks`: expected a list such as `[ { hosts: [ reviews ], http: { path: /healthz } } ]`; found a mapping'],
    ],
    [
      'a probe of the wrong shape',
      'healthChecks: [ { hosts: [ a ], tcp: 80 } ]',
      ['1:38: `healthChecks[0].tcp`: expected a mapping such as `{ }`; found the number 80'],
    ],
    [
      'a health check without a probe',
      'healthChecks: [ { hosts: [ a ] } ]',
      ['1:17: `healthChecks[0]`: a health check needs one of `http`, `tcp` and `grpc`, such as `http: { path: /healthz }`'],
    ],
    [
      'two probes',
      'healthChecks: [ { hosts: [ a ], http: {}, grpc: {} } ]',
      ['1:43: `healthChecks[0]`: a health check has one of `http`, `tcp` and `grpc`; found `http` and `grpc`'],
    ],
    [
      'a health check of nothing',
      'healthChecks: [ { hosts: [], tcp: } ]',
      [
        '1:17: `healthChecks[0]`: a health check needs `hosts`, the services whose endpoints are asked, such as `hosts: [ reviews ]`',
      ],
    ],
    [
      'listeners that there are not, or not inbound',
      `listeners: [ ${out}, { name: in, direction: inbound, port: 1, forwardTo: "127.0.0.1:9" } ]\nhealthChecks: [ { listeners: [ im, out ], tcp: } ]`,
      [
        '2:32: `healthChecks[0].listeners[0]`: there is no listener `im`; did you mean `in`?',
        '2:36: `healthChecks[0].listeners[1]`: listener `out` is not inbound: its endpoints are chosen with `hosts`',
      ],
    ],
    [
      'values of a health check',
      `healthChecks:
  - hosts: [ "a*" ]
    ports: [ 0 ]
    http:
      path: healthz
      host: a b
      headers: { "x y": z }
      expectedStatuses: [ "200-199" ]
      scheme: HTTPS
    interval: 1ms
    timeout: 0s
    unhealthyThreshold: 0`,
      [
        '2:12: `healthChecks[0].hosts`: expected a list of service hosts, `*.suffix` or `*`, such as `[ reviews, "*.example.com" ]`; found a list',
        '3:12: `healthChecks[0].ports`: expected a list of ports, such as `[ 80 ]`; found a list',
        '5:13: `healthChecks[0].http.path`: expected a path that begins with `/`, such as `/healthz`; found the text "healthz"',
        '6:13: `healthChecks[0].http.host`: expected a host name, with or without a port, such as `reviews.example.com`; found the text "a b"',
        '7:16: `healthChecks[0].http.headers`: expected a mapping of header names to texts, such as `{ x-probe: "1" }`; found a mapping',
        '8:25: `healthChecks[0].http.expectedStatuses`: expected a list of statuses (100 to 599) and ranges, such as `[ "200-299" ]`; found a list',
        '9:15: `healthChecks[0].http.scheme`: expected one of `http`, `https`, such as `http`; found the text "HTTPS"',
        '10:15: `healthChecks[0].interval`: expected a duration of at least 10ms up to 24h, such as `5s`; found the text "1ms"',
        '11:14: `healthChecks[0].timeout`: expected a duration of at least 1ms up to 24h, such as `1s`; found the text "0s"',
        '12:25: `healthChecks[0].unhealthyThreshold`: expected a number of results in a row (1 to 1000), such as `2`; found the number 0',
      ],
    ],
    ['not a mapping', '- 1', ['1:1: expected a mapping with fields such as `role`, `resources` and `listeners`']],
  ]
  for (const [title, source, errors] of cases) {
    const result = parseBootstrap(source, 'h.yaml')
    t.same(
      result.ok ? 'accepted' : result.errors.map(problemText),
      errors.map((e) => `h.yaml:${e}`),
      title,
    )
  }
})

t.test('health checks: what is said, and what is left out', async (t) => {
  const source = `workload: { namespace: shop }
listeners: [ { name: in, direction: inbound, port: 1, forwardTo: "127.0.0.1:9" } ]
healthChecks:
  - hosts: [ Reviews, "*.example.com" ]
    ports: [ 80 ]
    http: { path: /up, port: 8081, scheme: https, host: r.example.com, headers: { x-a: b }, expectedStatuses: [ 204, "300-399" ] }
    interval: 500ms
    timeout: 250ms
    unhealthyThreshold: 3
    healthyThreshold: 1
    initialDelay: 2s
  - listeners: [ in ]
    http:
  - { hosts: [ "*" ], grpc: { service: shop.Cart } }
  - { hosts: [ "*" ], tcp: { port: 9 } }`
  const origin = (index: number, line: number) => ({
    kind: 'bootstrap',
    namespace: 'shop',
    name: `healthChecks[${index}]`,
    file: 'h.yaml',
    line,
    column: 5,
  })
  const usual = { intervalMs: 5000, timeoutMs: 1000, unhealthyThreshold: 2, healthyThreshold: 2, initialDelayMs: 0 }
  const http = { kind: 'http', tls: false, port: 0, path: '/', host: '', headers: [], statuses: [{ from: 200, to: 299 }] }
  t.same(loaded(source, {}, {}, 'h.yaml').healthChecks, [
    {
      hosts: ['reviews', '*.example.com'],
      ports: [80],
      listeners: [],
      check: {
        probe: {
          kind: 'http',
          tls: true,
          port: 8081,
          path: '/up',
          host: 'r.example.com',
          headers: [['x-a', 'b']],
          statuses: [
            { from: 204, to: 204 },
            { from: 300, to: 399 },
          ],
        },
        intervalMs: 500,
        timeoutMs: 250,
        unhealthyThreshold: 3,
        healthyThreshold: 1,
        initialDelayMs: 2000,
        origin: origin(0, 4),
      },
    },
    { hosts: [], ports: [], listeners: ['in'], check: { ...usual, probe: http, origin: origin(1, 12) } },
    {
      hosts: ['*'],
      ports: [],
      listeners: [],
      check: { ...usual, probe: { kind: 'grpc', port: 0, service: 'shop.Cart' }, origin: origin(2, 14) },
    },
    { hosts: ['*'], ports: [], listeners: [], check: { ...usual, probe: { kind: 'tcp', port: 9 }, origin: origin(3, 15) } },
  ])
  const env = { HEDDLE_HEALTH_CHECKS: '[ { hosts: [ db ], tcp: } ]' }
  t.match(loaded(source, env).healthChecks, [{ hosts: ['db'], check: { origin: { file: 'environment HEDDLE_HEALTH_CHECKS' } } }])
  t.same(loaded('healthChecks:').healthChecks, [])
})

t.test('what YAML refuses is said with its place', async (t) => {
  const cases: [source: string, line: number, column: number, message: RegExp][] = [
    ['role: sidecar\nrole: node', 2, 1, /unique/],
    ['admin: { port: 1', 1, 17, /not valid YAML/],
    ['admin: *nobody', 1, 8, /alias/],
  ]
  for (const [source, line, column, message] of cases) {
    const result = parseBootstrap(source, 'h.yaml')
    t.notOk(result.ok, source)
    if (!result.ok) t.match(result.errors[0], { file: 'h.yaml', line, column, message }, source)
  }
})

t.test('a file that cannot be read', async (t) => {
  const missing = loadBootstrap('/nonexistent/heddle.yaml')
  t.same(missing.ok ? [] : missing.errors.map(problemText), ['/nonexistent/heddle.yaml: no such file'])
  const folder = loadBootstrap(tmpdir())
  t.same(folder.ok ? [] : folder.errors.map(problemText), [`${tmpdir()}: is a folder; expected a YAML file`])
})

t.test('the environment overrides the file, a flag overrides both', async (t) => {
  const file = 'admin: { port: 1 }\nlisteners: [ { name: out-1, direction: outbound, port: 8080 } ]'
  type Case = [
    title: string,
    env: Record<string, string>,
    flags: Record<string, string | string[]>,
    pick: (c: BootstrapConfig) => unknown,
    expected: unknown,
  ]
  const cases: Case[] = [
    ['number', { HEDDLE_ADMIN_PORT: '2' }, {}, (c) => c.admin.port, 2],
    ['flag over environment', { HEDDLE_ADMIN_PORT: '2' }, { 'admin-port': '3' }, (c) => c.admin.port, 3],
    ['section not in the file', { HEDDLE_LIMITS_MAX_HEADERS: '7' }, {}, (c) => c.limits.maxHeaders, 7],
    ['size', { HEDDLE_LIMITS_BUFFER_BYTES: '2MiB' }, {}, (c) => c.limits.bufferBytes, 2097152],
    ['plain size', { HEDDLE_LIMITS_MAX_HEADER_BYTES: '8192' }, {}, (c) => c.limits.maxHeaderBytes, 8192],
    ['duration', { HEDDLE_DRAIN_DEADLINE: '250ms' }, {}, (c) => c.drain.deadlineMs, 250],
    ['no longer than the deadline', { HEDDLE_DRAIN_DEADLINE: '2s' }, {}, (c) => c.drain.acceptMs, 2000],
    ['zero duration', { HEDDLE_DRAIN_DEADLINE: '0' }, {}, (c) => c.drain.deadlineMs, 0],
    ['labels', { HEDDLE_WORKLOAD_LABELS: 'app=web,version=v1' }, {}, (c) => c.workload.labels, { app: 'web', version: 'v1' }],
    ['name from labels', { HEDDLE_WORKLOAD_LABELS: 'app=web' }, {}, (c) => c.workload.name, 'web'],
    ['no access log', { HEDDLE_ACCESS_LOG_PATH: 'null' }, {}, (c) => c.accessLog.path, null],
    ['path from the working directory', { HEDDLE_ACCESS_LOG_PATH: 'a.log' }, {}, (c) => c.accessLog.path, resolve('a.log')],
    ['list', { HEDDLE_RESOURCES: '/tmp, /dev' }, {}, (c) => c.resources, ['/tmp', '/dev']],
    [
      'list of servers',
      { HEDDLE_MESH_DNS_SERVERS: '10.0.0.1:53,[::1]:53' },
      {},
      (c) => c.mesh.dnsServers,
      ['10.0.0.1:53', '[::1]:53'],
    ],
    ['repeated flag', {}, { resources: ['/tmp', '.'] }, (c) => c.resources, ['/tmp', resolve('.')]],
    ['empty means unset', { HEDDLE_ADMIN_PORT: '' }, {}, (c) => c.admin.port, 1],
    ['empty text is a value', { HEDDLE_MIRROR_HOST_SUFFIX: '' }, {}, (c) => c.mirror.hostSuffix, ''],
    ['field of a listener', { HEDDLE_LISTENERS_OUT_1_PORT: '9' }, {}, (c) => c.listeners[0]?.port, 9],
    [
      'all listeners',
      { HEDDLE_LISTENERS: '[{name: x, direction: outbound, port: 5}]' },
      {},
      (c) => c.listeners.map((l) => [l.name, l.port]),
      [['x', 5]],
    ],
    ['CONNECT', { HEDDLE_LISTENERS_OUT_1_CONNECT: 'tunnel' }, {}, (c) => c.listeners[0]?.allowConnect, true],
    ['log level', {}, { 'log-level': 'debug' }, (c) => c.logLevel, 'debug'],
  ]
  for (const [title, env, flags, pick, expected] of cases) t.same(pick(loaded(file, env, flags)), expected, title)
})

t.test('a wrong override is named by its variable or flag', async (t) => {
  const cases: [env: Record<string, string>, flags: Record<string, string>, error: string][] = [
    [
      { HEDDLE_ADMIN_PORT: 'x' },
      {},
      'environment HEDDLE_ADMIN_PORT: `admin.port`: expected a port (0 to 65535), such as `8080`; found the text "x"',
    ],
    [
      {},
      { concurrency: '0' },
      'flag --concurrency: `concurrency`: expected a number of worker threads (1 to 256), such as `2`; found the number 0',
    ],
    [
      { HEDDLE_WORKLOAD_LABELS: 'app' },
      {},
      'environment HEDDLE_WORKLOAD_LABELS: `workload.labels`: expected a mapping of texts (quote numbers and booleans), such as `{ app: web }`; found the text "app"',
    ],
    [
      { HEDDLE_LISTENERS: '[{name: x, direction: up, port: 5}]' },
      {},
      'environment HEDDLE_LISTENERS: `listeners[0].direction`: expected one of `outbound`, `inbound`, such as `outbound`; found the text "up"',
    ],
  ]
  for (const [env, flags, error] of cases) {
    const result = parseBootstrap('', 'h.yaml', env, flags)
    t.same(result.ok ? 'accepted' : result.errors.map(problemText), [error])
  }
})

t.test('warnings', async (t) => {
  const cases: [source: string, env: Record<string, string>, warning: string][] = [
    [
      '',
      { HEDDLE_ADMIN_PROT: '1' },
      'environment HEDDLE_ADMIN_PROT: no field has this variable; did you mean HEDDLE_ADMIN_PORT?',
    ],
    [
      'admin: { address: 0.0.0.0 }',
      {},
      'h.yaml:1:19: the admin server on 0.0.0.0 has no authentication; 127.0.0.1 keeps it to this machine',
    ],
  ]
  for (const [source, env, warning] of cases) t.same(parseBootstrap(source, 'h.yaml', env).warnings.map(problemText), [warning])
  t.same(parseBootstrap('', 'h.yaml', { PATH: '/bin', HEDDLE_CONFIG: 'x' }).warnings, [], 'other variables are nobody’s business')
})

t.test('identity: paths of the file are relative to it, those of the environment to the working directory', async (t) => {
  const source = `identity:
  source: files
  trustDomain: Example.ORG
  spiffeId: SPIFFE://example.org/ns/a/sa/b
  files: { certificateChain: cert.pem, privateKey: /k.pem }
  bundles: { Other.example: other.pem }
  istioCa: { roots: "", token: t }
`
  const { identity } = loaded(source, {}, {}, '/etc/heddle/heddle.yaml')
  t.match(identity, {
    trustDomain: 'example.org',
    spiffeId: 'spiffe://example.org/ns/a/sa/b',
    files: { certificateChain: '/etc/heddle/cert.pem', privateKey: '/k.pem', roots: DEFAULTS.identity.files.roots },
    bundles: [{ trustDomain: 'other.example', file: '/etc/heddle/other.pem' }],
    istioCa: { roots: '', token: '/etc/heddle/t' },
  })
  const env = {
    HEDDLE_IDENTITY_SOURCE: 'istio-ca',
    HEDDLE_IDENTITY_ROTATION_GRACE_RATIO: '0.8',
    HEDDLE_IDENTITY_FILES_ROOTS: 'r.pem',
    HEDDLE_IDENTITY_ISTIO_CA_TOKEN: '',
    HEDDLE_IDENTITY_BUNDLES: 'x.example=x.pem',
  }
  t.match(loaded(source, env, {}, '/etc/heddle/heddle.yaml').identity, {
    source: 'istio-ca',
    rotation: { graceRatio: 0.8 },
    files: { roots: resolve('r.pem') },
    istioCa: { token: '' },
    bundles: [{ trustDomain: 'x.example', file: resolve('x.pem') }],
  })
  t.equal(loaded('identity: { source: workload-api }', { SPIFFE_ENDPOINT_SOCKET: 'unix:///x' }).identity.workloadApi.socket, '')
  t.same(loaded('identity:\n  files:\n  rotation:\n').identity, DEFAULTS.identity, 'empty sections')
})
