// What dials the application: which ports, which filter chains for each mTLS mode and protocol, where they lead.
import t from 'tap'
import type { LoadResult } from '../../../lib/resources/load.ts'
import { chainTexts, listenerOf } from './chain-text.ts'
import { clusterOf, loadText, statusOf, type View } from './kit.ts'

const CAPTURED: View = { listeners: [], capture: { mode: 'redirect' }, address: '10.0.0.7' }

const peer = (spec: string, name = 'x', namespace = 'default') =>
  `---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`

const service = (ports: string, selector = '{app: web}', name = 'web', namespace = 'default') =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: {clusterIP: 10.96.0.1, selector: ${selector}, ports: ${ports}}\n`

const load = (t: Parameters<typeof loadText>[0], text: string, view: View = {}): LoadResult =>
  loadText(t, text, { ...CAPTURED, ...view })

/** Those of one port. */
const chainsOf = (result: LoadResult, port: number): string[] =>
  chainTexts(listenerOf(result, 'virtualInbound')).filter((text) => text.startsWith(`${port} `))

const MESH = 'istio,istio-peer-exchange,istio-http/1.0,istio-http/1.1,istio-h2'
const MESH_HTTP = 'istio-http/1.0,istio-http/1.1,istio-h2'
const MESH_TCP = 'istio-peer-exchange,istio'
const TO = 'inbound|8080||'

/** Istio PeerAuthentication, what the inbound listener does. */
const EXPECTED: readonly [mode: string, protocol: string, chains: readonly string[]][] = [
  [
    'PERMISSIVE',
    'auto',
    [
      `8080 tls ${MESH_HTTP} → mtls http ${TO}`,
      `8080 raw_buffer http/1.1,h2c → http ${TO}`,
      `8080 tls ${MESH_TCP} → mtls tcp ${TO}`,
      `8080 raw_buffer → tcp ${TO}`,
      `8080 tls → tcp ${TO}`,
    ],
  ],
  ['PERMISSIVE', 'http', [`8080 tls ${MESH} → mtls http ${TO}`, `8080 raw_buffer → http ${TO}`]],
  ['PERMISSIVE', 'grpc', [`8080 tls ${MESH} → mtls http ${TO}`, `8080 raw_buffer → http ${TO}`]],
  ['PERMISSIVE', 'tcp', [`8080 tls ${MESH} → mtls tcp ${TO}`, `8080 tls → tcp ${TO}`, `8080 raw_buffer → tcp ${TO}`]],
  ['PERMISSIVE', 'https', [`8080 tls ${MESH} → mtls tcp ${TO}`, `8080 tls → tcp ${TO}`, `8080 raw_buffer → tcp ${TO}`]],
  ['STRICT', 'auto', [`8080 tls ${MESH_HTTP} → mtls http ${TO}`, `8080 tls → mtls tcp ${TO}`]],
  ['STRICT', 'http', [`8080 tls → mtls http ${TO}`]],
  ['STRICT', 'tcp', [`8080 tls → mtls tcp ${TO}`]],
  // Nothing has to be looked at where all is plaintext, so that a server may speak first.
  ['DISABLE', 'auto', [`8080 raw_buffer http/1.1,h2c → http ${TO}`, `8080 → tcp ${TO}`]],
  ['DISABLE', 'http', [`8080 → http ${TO}`]],
  ['DISABLE', 'tcp', [`8080 → tcp ${TO}`]],
]

t.test('each mode with each protocol', async (t) => {
  for (const [mode, protocol, chains] of EXPECTED) {
    const name = protocol === 'auto' ? '' : `name: ${protocol}, `
    const result = load(t, service(`[{${name}port: 80, targetPort: 8080}]`) + peer(`{mtls: {mode: ${mode}}}`))
    t.same(chainsOf(result, 8080), chains, `${mode} ${protocol}`)
    t.equal(statusOf(result, 'x').state, 'in-force')
  }
})

t.test('of mutual TLS: own certificate, whoever the mesh vouches for, no less than is configured', async (t) => {
  const { filterChains } = listenerOf(load(t, service('[{name: http, port: 80}, {name: tcp, port: 90}]')), 'virtualInbound')
  const terminating = filterChains.filter((c) => c.tls !== null)
  t.equal(terminating.length, 4, 'two of ports, two of other ports')
  for (const { tls, network, name } of terminating)
    t.same(
      tls,
      {
        certificate: 'default',
        trust: 'ROOTCA',
        requireClientCertificate: true,
        subjectAltNames: [],
        subjectAltNamePrefixes: [],
        pins: null,
        alpn: network.kind === 'http' ? ['h2', 'http/1.1'] : [],
        minVersion: 'TLSv1.3',
        maxVersion: 'TLSv1.3',
        cipherSuites: [],
        curves: [],
        handshakeTimeoutMs: 10_000,
      },
      name,
    )
  for (const { network } of filterChains) if (network.kind === 'http') t.equal(network.clientCertificate, 'append_forward')
  const older = listenerOf(load(t, '', { minTlsVersion: 'TLSv1.2' }), 'virtualInbound').filterChains.find((c) => c.tls !== null)
  t.equal(older?.tls?.minVersion, 'TLSv1.2')
  for (const suite of ['TLS_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256']) t.ok(older?.tls?.cipherSuites.includes(suite))
})

t.test('names of chains are unique', async (t) => {
  const { filterChains } = listenerOf(load(t, service('[{name: http, port: 80}, {port: 90}]')), 'virtualInbound')
  t.equal(new Set(filterChains.map((c) => c.name)).size, filterChains.length)
})

t.test('modes by port, workload, namespace and mesh', async (t) => {
  const ports = service('[{name: http, port: 80, targetPort: 8080}, {name: http-b, port: 81, targetPort: 8081}]')
  const strict = (port: number) => [`${port} tls → mtls http inbound|${port}||`]
  const plain = (port: number) => [`${port} → http inbound|${port}||`]
  const both = (port: number) => [
    `${port} tls ${MESH} → mtls http inbound|${port}||`,
    `${port} raw_buffer → http inbound|${port}||`,
  ]
  const rows: [policies: string, at8080: string[], at8081: string[]][] = [
    ['', both(8080), both(8081)],
    [peer('{mtls: {mode: STRICT}}', 'mesh', 'istio-system'), strict(8080), strict(8081)],
    [peer('{mtls: {mode: STRICT}}', 'mesh', 'istio-system') + peer('{mtls: {mode: DISABLE}}'), plain(8080), plain(8081)],
    [
      peer('{mtls: {mode: STRICT}}') + peer('{selector: {matchLabels: {app: web}}, mtls: {mode: PERMISSIVE}}', 'w'),
      both(8080),
      both(8081),
    ],
    // By the workload's port, not by the service's.
    [
      peer(
        '{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}, 81: {mode: DISABLE}}}',
      ),
      plain(8080),
      strict(8081),
    ],
    [peer('{selector: {matchLabels: {app: other}}, mtls: {mode: STRICT}}'), both(8080), both(8081)],
  ]
  for (const [policies, first, second] of rows) {
    const result = load(t, ports + policies)
    t.same(chainsOf(result, 8080), first, policies)
    t.same(chainsOf(result, 8081), second, policies)
  }
})

t.test('ports that nobody declared are passed through by their own mode', async (t) => {
  const to = 'InboundPassthroughCluster'
  t.same(chainTexts(listenerOf(load(t, ''), 'virtualInbound')), [
    '15006 → refused',
    `tls ${MESH_HTTP} → mtls http ${to}`,
    `raw_buffer http/1.1,h2c → http ${to}`,
    `tls ${MESH_TCP} → mtls tcp ${to}`,
    `raw_buffer → tcp ${to}`,
    `tls → tcp ${to}`,
  ])
  const policy = peer('{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {9999: {mode: DISABLE}}}')
  t.same(chainTexts(listenerOf(load(t, policy), 'virtualInbound')), [
    '15006 → refused',
    `tls ${MESH_HTTP} → mtls http ${to}`,
    `tls → mtls tcp ${to}`,
    `9999 raw_buffer http/1.1,h2c → http ${to}`,
    `9999 → tcp ${to}`,
  ])
})

t.test('which ports are served', async (t) => {
  const ports = (result: LoadResult) =>
    result.snapshot.clusters.flatMap((c) =>
      c.name.startsWith('inbound|') ? [`${c.name} ${c.protocol} of ${c.host}:${c.port}`] : [],
    )
  const web = 'web.default.svc.cluster.local'
  const rows: [what: string, text: string, view: View, expected: string[]][] = [
    ['by a selector', service('[{name: http, port: 80, targetPort: 8080}]'), {}, [`inbound|8080|| http1 of ${web}:80`]],
    ['without a target port', service('[{name: grpc, port: 80}]'), {}, [`inbound|80|| http2 of ${web}:80`]],
    ['nothing declared', service('[{port: 80}]'), {}, [`inbound|80|| client of ${web}:80`]],
    ['of another workload', service('[{name: http, port: 80}]', '{app: other}'), {}, []],
    ['of another namespace', service('[{name: http, port: 80}]', '{app: web}', 'web', 'prod'), {}, []],
    [
      'a named target port, by the endpoint that has the own address',
      service('[{name: http, port: 80, targetPort: named}]') +
        '---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, namespace: default, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, port: 7070}]\nendpoints: [{addresses: [10.0.0.7]}]\n',
      {},
      [`inbound|7070|| http1 of ${web}:80`],
    ],
    [
      'a ServiceEntry whose endpoint it is',
      '---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: other}\nspec: {hosts: [e.example], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], endpoints: [{address: 10.0.0.7}]}\n',
      {},
      ['inbound|8080|| http1 of e.example:80'],
    ],
    [
      'heddle.yaml adds, and does not replace',
      service('[{name: http, port: 80, targetPort: 8080}]'),
      {
        capture: {
          mode: 'redirect',
          ports: [
            { port: 8080, protocol: 'tcp' },
            { port: 5432, protocol: 'tcp' },
          ],
        },
      },
      [`inbound|8080|| http1 of ${web}:80`, 'inbound|5432|| tcp of :5432'],
    ],
    [
      'two services on one port: the first by age and name',
      service('[{name: http, port: 81, targetPort: 8080}]', '{app: web}', 'b') +
        service('[{name: tcp, port: 80, targetPort: 8080}]', '{app: web}', 'a'),
      {},
      ['inbound|8080|| tcp of a.default.svc.cluster.local:80'],
    ],
  ]
  for (const [what, text, view, expected] of rows) t.same(ports(load(t, text, view)), expected, what)
})

t.test('the application is reached where it was dialled, from an address that is not captured again', async (t) => {
  const text = service('[{name: http, port: 80, targetPort: 8080}]')
  const own = { source4: '127.0.0.6', source6: '::6', clientSource: false, mark: 0 }
  t.match(clusterOf(load(t, text), 'inbound|8080||'), { type: 'ORIGINAL_DST', endpoints: [], bind: own, tls: null })
  t.match(clusterOf(load(t, text), 'InboundPassthroughCluster'), {
    type: 'ORIGINAL_DST',
    bind: own,
    limits: { httpIdleTimeoutMs: 300_000 },
  })
  const transparent = load(t, text, { capture: { mode: 'tproxy' } })
  t.match(clusterOf(transparent, 'inbound|8080||').bind, { clientSource: true, mark: 1337 })
  t.match(listenerOf(transparent, 'virtualInbound'), { capture: 'tproxy', bind: true, handOver: false, port: 15006 })
  t.match(listenerOf(transparent, 'virtualOutbound'), { capture: 'redirect' })
})

t.test('Sidecar ingress takes the place of services', async (t) => {
  const sidecar = (ingress: string) =>
    `---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s, namespace: default}\nspec: {ingress: ${ingress}}\n`
  const result = load(
    t,
    service('[{name: http, port: 80, targetPort: 8080}]') +
      sidecar(
        '[{port: {number: 9000, protocol: HTTP, name: h}, defaultEndpoint: "127.0.0.1:9001"}, {port: {number: 9002, protocol: TCP, name: t}, defaultEndpoint: "0.0.0.0:9003"}, {port: {number: 9004, protocol: TCP, name: u}, defaultEndpoint: "unix:///x"}]',
      ),
  )
  t.same(chainsOf(result, 8080), [])
  t.equal(chainsOf(result, 9000).length, 2)
  const at = (name: string) => clusterOf(result, name).endpoints.map((e) => `${e.address}:${e.port}`)
  t.same(at('inbound|9000||'), ['127.0.0.1:9001'])
  t.same(at('inbound|9002||'), ['10.0.0.7:9003'])
  t.equal(clusterOf(result, 'inbound|9000||').bind, null)
  t.same(at('inbound|9004||'), ['/x:0'])
  t.match(statusOf(result, 's'), { state: 'in-force' })
})

t.test('a policy for others holds for no workload that is known here', async (t) => {
  const result = load(t, peer('{selector: {matchLabels: {app: other}}, mtls: {mode: STRICT}}'))
  t.match(statusOf(result, 'x'), { state: 'waiting', reason: /holds for no workload that is known here/ })
  const uncaptured = loadText(t, peer('{mtls: {mode: STRICT}}'))
  t.match(statusOf(uncaptured, 'x'), { state: 'waiting', reason: /^NOT ENFORCED/ })
})

t.test('HBONE, where there is an identity', async (t) => {
  const text = service('[{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 90}]') + peer('{mtls: {mode: STRICT}}')
  const bare = load(t, text).snapshot.listeners.map((l) => l.name)
  t.same(bare, ['virtualOutbound', '0.0.0.0_80', '10.96.0.1_90', 'virtualInbound'])
  const result = load(t, text, { identity: 'files' })
  const terminating = listenerOf(result, 'connect_terminate')
  t.match(terminating, { bind: true, port: 15008, capture: 'none' })
  t.same(chainTexts(terminating), ['any → mtls tunnel main_internal'])
  t.match(terminating.filterChains[0]?.tls, {
    requireClientCertificate: true,
    alpn: ['h2'],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    cipherSuites: ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256'],
  })
  const inside = listenerOf(result, 'main_internal')
  t.match(inside, { bind: false, direction: 'inbound' })
  t.same(
    chainTexts(inside),
    [
      '15006 → refused',
      '15001 → refused',
      '15008 → refused',
      'raw_buffer http/1.1,h2c → http InboundPassthroughCluster',
      'any → tcp InboundPassthroughCluster',
      '8080 → http inbound|8080||',
      '90 → tcp inbound|90||',
    ],
    'who comes out of a tunnel has shown a certificate already',
  )
})

t.test('without capture nothing is made', async (t) => {
  const { snapshot } = loadText(t, service('[{name: http, port: 80}]'), { listeners: [] })
  t.same(snapshot.listeners, [])
  t.same(
    snapshot.clusters.map((c) => c.name),
    ['PassthroughCluster', 'outbound|80||web.default.svc.cluster.local'],
  )
  const outboundOnly = load(t, '', { capture: { mode: 'redirect', inboundPort: 0, tunnelPort: 0 } }).snapshot
  t.same(
    outboundOnly.listeners.map((l) => l.name),
    ['virtualOutbound'],
  )
})
