// How endpoints are spoken to: DestinationRule tls, automatic mutual TLS, whom the other side has to be.
import t from 'tap'
import type { LoadResult } from '../../../lib/resources/load.ts'
import type { Cluster } from '../../../lib/state/cluster.ts'
import type { UpstreamTls } from '../../../lib/state/tls.ts'
import { clusterOf, loadText, statusOf, type View } from './kit.ts'

const load = (t: Parameters<typeof loadText>[0], text: string, view: View = {}): LoadResult =>
  loadText(t, text, { listeners: [], identity: 'files', ...view })

interface PodFacts {
  readonly ip: string
  readonly sidecar?: boolean
  readonly account?: string
  readonly labels?: string
}

const pod = ({ ip, sidecar = true, account, labels = '' }: PodFacts, app = 'a') =>
  `---\napiVersion: v1\nkind: Pod\nmetadata: {name: p${ip.replaceAll('.', '-')}, namespace: default, labels: {app: ${app}${labels === '' ? '' : `, ${labels}`}${sidecar ? ', security.istio.io/tlsMode: istio' : ''}}}\nspec: {${account === undefined ? '' : `serviceAccountName: ${account}`}}\nstatus: {podIP: ${ip}}\n`

/** A service `a` on port 80 with these pods. */
const mesh = (pods: readonly PodFacts[], ip = '10.96.0.1') =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\nspec: {clusterIP: ${ip}, selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]}\n` +
  `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, namespace: default, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [${pods.map((p) => `{addresses: [${p.ip}]}`).join(', ')}]\n` +
  pods.map((p) => pod(p)).join('')

const rule = (policy: string, more = '', host = 'a', name = 'r') =>
  `---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: ${name}, namespace: default}\nspec: {host: ${host}, trafficPolicy: ${policy}${more}}\n`

const peer = (spec: string, namespace = 'default', name = 'x') =>
  `---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`

const entry = (spec: string) =>
  `---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: default}\nspec: ${spec}\n`

const A = 'outbound|80||a.default.svc.cluster.local'
const who = (account: string) => `spiffe://cluster.local/ns/default/sa/${account}`

/** `10.0.0.1 mtls automatic`, `10.0.0.2 plain no-sidecar`. */
const ways = ({ endpoints, tls, tlsReason }: Cluster): string[] =>
  endpoints.map((e) => `${e.address} ${e.tls && tls !== null ? 'tls' : 'plain'} ${(e.tlsReason ?? tlsReason).why}`)

const MESH: UpstreamTls = {
  certificate: 'default',
  trust: 'ROOTCA',
  sni: 'outbound_.80_._.a.default.svc.cluster.local',
  autoSni: false,
  subjectAltNames: [who('default')],
  subjectAltNamePrefixes: [],
  alpn: [],
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  curves: [],
}

t.test('automatic: each endpoint by its label and its policy', async (t) => {
  const two = [{ ip: '10.0.0.1' }, { ip: '10.0.0.2', sidecar: false }]
  const rows: [what: string, text: string, view: View, expected: string[]][] = [
    ['by label', mesh(two), {}, ['10.0.0.1 tls automatic', '10.0.0.2 plain no-sidecar']],
    ['STRICT', mesh(two) + peer('{mtls: {mode: STRICT}}'), {}, ['10.0.0.1 tls automatic', '10.0.0.2 plain no-sidecar']],
    [
      'DISABLE for the namespace',
      mesh(two) + peer('{mtls: {mode: DISABLE}}'),
      {},
      ['10.0.0.1 plain disabled', '10.0.0.2 plain no-sidecar'],
    ],
    [
      'DISABLE for the mesh',
      mesh([{ ip: '10.0.0.1' }]) + peer('{mtls: {mode: DISABLE}}', 'istio-system'),
      {},
      ['10.0.0.1 plain disabled'],
    ],
    [
      'DISABLE for some workloads',
      mesh([
        { ip: '10.0.0.1', labels: 'version: v1' },
        { ip: '10.0.0.2', labels: 'version: v2' },
      ]) + peer('{selector: {matchLabels: {version: v2}}, mtls: {mode: DISABLE}}'),
      {},
      ['10.0.0.1 tls automatic', '10.0.0.2 plain disabled'],
    ],
    [
      'a port of the workload, not of the service',
      mesh([{ ip: '10.0.0.1' }]) +
        peer('{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}'),
      {},
      ['10.0.0.1 plain disabled'],
    ],
    [
      "the service's port says nothing",
      mesh([{ ip: '10.0.0.1' }]) + peer('{selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: DISABLE}}}'),
      {},
      ['10.0.0.1 tls automatic'],
    ],
    ['autoMtls off', mesh(two), { autoMtls: 'off' }, ['10.0.0.1 plain off', '10.0.0.2 plain off']],
    ['without an identity', mesh(two), { identity: 'none' }, ['10.0.0.1 plain off', '10.0.0.2 plain off']],
    ['a rule comes first', mesh(two) + rule('{tls: {mode: DISABLE}}'), {}, ['10.0.0.1 plain rule', '10.0.0.2 plain rule']],
    ['and is for all', mesh(two) + rule('{tls: {mode: ISTIO_MUTUAL}}'), {}, ['10.0.0.1 tls rule', '10.0.0.2 tls rule']],
    [
      'a rule about something else',
      mesh(two) + rule('{loadBalancer: {simple: RANDOM}}'),
      {},
      ['10.0.0.1 tls automatic', '10.0.0.2 plain no-sidecar'],
    ],
  ]
  for (const [what, text, view, expected] of rows) t.same(ways(clusterOf(load(t, text, view), A)), expected, what)
  t.same(clusterOf(load(t, mesh(two)), A).tls, MESH)
  t.equal(clusterOf(load(t, mesh(two), { minTlsVersion: 'TLSv1.2' }), A).tls?.minVersion, 'TLSv1.2')
  t.equal(clusterOf(load(t, mesh(two), { identity: 'none' }), A).tls, null)
})

t.test('whoever wrote it is known', async (t) => {
  const strict = clusterOf(load(t, mesh([{ ip: '10.0.0.1' }]) + peer('{mtls: {mode: STRICT}}')), A)
  t.match(strict.endpoints[0]?.tlsReason, { why: 'automatic', origin: { kind: 'PeerAuthentication', name: 'x' } })
  const text =
    mesh([{ ip: '10.0.0.1' }]) +
    rule('{tls: {mode: SIMPLE}}', ', subsets: [{name: s, labels: {app: a}, trafficPolicy: {tls: {mode: DISABLE}}}]')
  const lines = text.split('\n')
  const result = load(t, text)
  const line = lines.findIndex((l) => l.includes('mode: SIMPLE')) + 1
  t.match(clusterOf(result, A).tlsReason, { why: 'rule', origin: { kind: 'DestinationRule', line } })
  t.equal(clusterOf(result, A).tlsReason.origin.column < clusterOf(result, A.replace('||', '|s|')).tlsReason.origin.column, true)
})

t.test('nothing of the mesh is expected outside of it', async (t) => {
  const ports = 'ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC'
  const one = 'endpoints: [{address: 10.0.0.1, labels: {security.istio.io/tlsMode: istio}}]'
  const of = (spec: string) => clusterOf(load(t, entry(spec)), 'outbound|80||e.example')
  t.same(ways(of(`{hosts: [e.example], ${ports}, ${one}}`)), ['10.0.0.1 plain external'])
  t.same(ways(of(`{hosts: [e.example], location: MESH_EXTERNAL, ${ports}, ${one}}`)), ['10.0.0.1 plain external'])
  t.same(ways(of(`{hosts: [e.example], location: MESH_INTERNAL, ${ports}, ${one}}`)), ['10.0.0.1 tls automatic'])
  t.same(
    ways(
      of(
        `{hosts: [e.example], location: MESH_INTERNAL, ${ports}, endpoints: [{address: 10.0.0.1, serviceAccount: vm}, {address: 10.0.0.2, serviceAccount: vm, labels: {security.istio.io/tlsMode: disabled}}, {address: 10.0.0.3}]}`,
      ),
    ),
    ['10.0.0.1 tls automatic', '10.0.0.2 plain no-sidecar', '10.0.0.3 plain no-sidecar'],
    'an account is a sidecar unless its label says otherwise',
  )
})

t.test('whom the other side has to be', async (t) => {
  const accounts = mesh([
    { ip: '10.0.0.1', account: 'b' },
    { ip: '10.0.0.2', account: 'a' },
    { ip: '10.0.0.3', account: 'b', sidecar: false },
    { ip: '10.0.0.4' },
  ])
  const sans = (text: string, name = A, view: View = {}) => clusterOf(load(t, text, view), name).tls?.subjectAltNames
  t.same(sans(accounts), [who('a'), who('b'), who('default')], 'accounts of all endpoints, once each')
  t.same(sans(accounts + rule('{tls: {mode: ISTIO_MUTUAL}}')), [who('a'), who('b'), who('default')])
  t.same(
    sans(accounts + rule('{tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://x/y"]}}')),
    ['spiffe://x/y'],
    'a rule replaces them',
  )
  t.same(sans(mesh([])), [], 'nobody: whoever the mesh vouches for')
  const internal = 'location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}]'
  t.same(
    sans(
      entry(
        `{hosts: [e.example], ${internal}, subjectAltNames: ["spiffe://other/z"], endpoints: [{address: 10.0.0.1, serviceAccount: vm}]}`,
      ),
      'outbound|80||e.example',
    ),
    [who('vm'), 'spiffe://other/z'],
  )
})

t.test('server names', async (t) => {
  const subsets = ', subsets: [{name: v1, labels: {app: a}}]'
  const sni = (policy: string, name: string) =>
    clusterOf(load(t, mesh([{ ip: '10.0.0.1' }]) + rule(policy, subsets)), name).tls?.sni
  t.equal(sni('{loadBalancer: {simple: RANDOM}}', A), 'outbound_.80_._.a.default.svc.cluster.local')
  t.equal(sni('{loadBalancer: {simple: RANDOM}}', A.replace('||', '|v1|')), 'outbound_.80_.v1_.a.default.svc.cluster.local')
  t.equal(sni('{tls: {mode: ISTIO_MUTUAL, sni: x.example}}', A), 'x.example')
})

t.test('modes of a rule', async (t) => {
  const external = entry(
    '{hosts: [e.example], resolution: DNS, ports: [{number: 443, name: https, protocol: HTTPS}], subjectAltNames: [names.example]}',
  )
  const of = (tls: string, more = '', view: View = {}) =>
    clusterOf(load(t, external + rule(`{tls: ${tls}}`, more, 'e.example'), view), 'outbound|443||e.example')
  const simple: UpstreamTls = {
    certificate: '',
    trust: 'file-root:system',
    sni: '',
    autoSni: true,
    subjectAltNamePrefixes: [],
    subjectAltNames: ['names.example'],
    alpn: [],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    curves: [],
  }
  const selected = ', workloadSelector: {matchLabels: {app: web}}'
  const rows: [tls: string, more: string, expected: UpstreamTls | null][] = [
    ['{}', '', null],
    ['{mode: DISABLE, sni: x.example}', '', null],
    ['{mode: SIMPLE}', '', simple],
    [
      '{mode: SIMPLE, sni: x.example, subjectAltNames: [y.example]}',
      '',
      { ...simple, sni: 'x.example', autoSni: false, subjectAltNames: ['y.example'] },
    ],
    ['{mode: SIMPLE, caCertificates: /ca.pem}', '', { ...simple, trust: 'file-root:/ca.pem' }],
    ['{mode: SIMPLE, insecureSkipVerify: true}', '', { ...simple, trust: '' }],
    ['{mode: SIMPLE, clientCertificate: /c.pem, privateKey: /k.pem}', '', simple],
    [
      '{mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem}',
      '',
      { ...simple, certificate: 'file-cert:/c.pem~/k.pem', trust: 'file-root:/ca.pem' },
    ],
    [
      '{mode: MUTUAL, credentialName: s}',
      selected,
      { ...simple, certificate: 'kubernetes://default/s', trust: 'kubernetes://default/s' },
    ],
    ['{mode: SIMPLE, credentialName: s}', selected, { ...simple, trust: 'kubernetes://default/s' }],
    ['{mode: SIMPLE, credentialName: s}', '', simple],
  ]
  for (const [tls, more, expected] of rows) t.same(of(tls, more).tls, expected, tls)
  t.equal(of('{mode: SIMPLE}').dnsNames[0]?.endpoint.tls, true)
  t.same(of('{mode: SIMPLE}', '', { identity: 'none' }).tls, simple, 'needs no identity')
})

t.test('levels: the destination, its port, a subset, its port', async (t) => {
  const subset = (policy: string) => `, subsets: [{name: s, labels: {app: a}, trafficPolicy: ${policy}}]`
  const mode = (text: string, name: string) => {
    const { tls } = clusterOf(load(t, mesh([{ ip: '10.0.0.1' }]) + text), name)
    return tls === null ? 'DISABLE' : tls.trust === 'ROOTCA' ? 'ISTIO_MUTUAL' : 'SIMPLE'
  }
  const S = A.replace('||', '|s|')
  const port = (tls: string, n = 80) => `portLevelSettings: [{port: {number: ${n}}, ${tls}}]`
  t.equal(mode(rule(`{tls: {mode: SIMPLE}, ${port('tls: {mode: DISABLE}')}}`), A), 'DISABLE')
  t.equal(mode(rule(`{tls: {mode: SIMPLE}, ${port('tls: {mode: DISABLE}', 81)}}`), A), 'SIMPLE')
  t.equal(
    mode(rule(`{tls: {mode: SIMPLE}, ${port('loadBalancer: {simple: RANDOM}')}}`), A),
    'ISTIO_MUTUAL',
    'what a port leaves out is unset',
  )
  t.equal(mode(rule('{tls: {mode: SIMPLE}}', subset('{loadBalancer: {simple: RANDOM}}')), S), 'SIMPLE')
  t.equal(mode(rule('{tls: {mode: SIMPLE}}', subset('{tls: {mode: DISABLE}}')), S), 'DISABLE')
  t.equal(mode(rule('{tls: {mode: SIMPLE}}', subset('{tls: {mode: DISABLE}}')), A), 'SIMPLE')
  t.equal(mode(rule('{tls: {mode: SIMPLE}}', subset(`{tls: {mode: SIMPLE}, ${port('tls: {mode: DISABLE}')}}`)), S), 'DISABLE')
})

t.test('where the client dials an endpoint, all are spoken to alike', async (t) => {
  const captured: View = { capture: { mode: 'redirect' } }
  const of = (pods: readonly PodFacts[], more = '') => {
    const { tls, tlsReason, type } = clusterOf(load(t, mesh(pods, 'None') + more, captured), A)
    t.equal(type, 'ORIGINAL_DST')
    return `${tls === null ? 'plain' : 'tls'} ${tlsReason.why}`
  }
  t.equal(of([{ ip: '10.0.0.1' }, { ip: '10.0.0.2' }]), 'tls automatic')
  t.equal(of([{ ip: '10.0.0.1' }, { ip: '10.0.0.2', sidecar: false }]), 'plain no-sidecar')
  t.equal(of([]), 'plain no-sidecar')
  t.equal(of([{ ip: '10.0.0.1' }], peer('{mtls: {mode: DISABLE}}')), 'plain disabled')
})

t.test('what cannot come to a connection is noted', async (t) => {
  const notes = (text: string, view: View = {}) => load(t, text, view).notes.map((n) => `${n.kind} ${n.name}: ${n.message}`)
  const one = mesh([{ ip: '10.0.0.1' }])
  t.match(notes(one + rule('{tls: {mode: DISABLE}}') + peer('{mtls: {mode: STRICT}}')), [
    /^DestinationRule r: DISABLE to a\.default\.svc\.cluster\.local:80: 10\.0\.0\.1:8080 takes mutual TLS only, by PeerAuthentication default\/x .*: connections in plaintext are closed$/,
  ])
  t.same(notes(one + rule('{tls: {mode: DISABLE}}')), [], 'PERMISSIVE takes both')
  t.match(
    notes(
      mesh([
        { ip: '10.0.0.1', sidecar: false },
        { ip: '10.0.0.2', sidecar: false },
      ]) + rule('{tls: {mode: ISTIO_MUTUAL}}'),
    ),
    [/^DestinationRule r: ISTIO_MUTUAL to .*: 10\.0\.0\.1:8080 and 1 more have no sidecar .*: handshakes fail$/],
  )
  t.match(notes(one + rule('{tls: {mode: ISTIO_MUTUAL}}') + peer('{mtls: {mode: DISABLE}}')), [
    /10\.0\.0\.1:8080 takes plaintext only, by PeerAuthentication/,
  ])
  t.match(notes(one + peer('{mtls: {mode: STRICT}}'), { identity: 'none' }), [
    /^PeerAuthentication x: this workload has no identity .*takes mutual TLS only/,
  ])
  const none = load(t, one + rule('{tls: {mode: ISTIO_MUTUAL}}'), { identity: 'none' })
  t.match(statusOf(none, 'r'), { state: 'partly', reason: /tls\.mode: this workload has no certificate to show/ })
  t.equal(statusOf(load(t, one + rule('{tls: {mode: ISTIO_MUTUAL}}')), 'r').state, 'in-force')
  t.match(statusOf(load(t, one + rule('{tls: {mode: SIMPLE, credentialName: s}}')), 'r'), {
    state: 'partly',
    reason: /credentialName: has no effect on a sidecar/,
  })
  t.equal(statusOf(load(t, one + rule('{tls: {mode: SIMPLE, caCertificates: /a, caCrl: /c}}')), 'r')?.state, 'in-force')
  t.match(statusOf(load(t, one + rule('{tls: {mode: SIMPLE, caCrl: /c}}')), 'r'), {
    state: 'partly',
    reason: /caCrl: goes with `caCertificates`/,
  })
})

t.test('a policy for endpoints is in force without capture, too', async (t) => {
  const result = load(t, mesh([{ ip: '10.0.0.1' }]) + peer('{selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}}'))
  t.equal(statusOf(result, 'x').state, 'in-force')
})

t.test('refused as istiod does', async (t) => {
  const rows: [tls: string, reason: RegExp][] = [
    ['{mode: MUTUAL, privateKey: /k}', /mode MUTUAL needs a `clientCertificate`/],
    ['{mode: ISTIO_MUTUAL, caCertificates: /a}', /mode ISTIO_MUTUAL brings its own certificates/],
    [
      '{mode: SIMPLE, credentialName: s, caCertificates: /a}',
      /tls\.caCertificates: `credentialName` brings certificates of its own; remove `caCertificates`/,
    ],
    ['{mode: MUTUAL, credentialName: s, clientCertificate: /a}', /remove `clientCertificate`/],
    ['{mode: SIMPLE, credentialName: s, insecureSkipVerify: true}', /insecureSkipVerify: skips the check/],
    ['{mode: SIMPLE, caCertificates: /a, insecureSkipVerify: true}', /insecureSkipVerify: skips the check/],
  ]
  for (const [tls, reason] of rows) t.match(statusOf(load(t, rule(`{tls: ${tls}}`)), 'r'), { state: 'refused', reason }, tls)
})
