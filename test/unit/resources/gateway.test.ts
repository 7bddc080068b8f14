// Gateways of Istio, and Secrets: what is refused, what a server becomes, and who yields where two want the same. Expected values are those of Istio's
// API reference (Gateway, ServerTLSSettings).
import t from 'tap'
import type { LoadResult } from '../../../lib/resources/load.ts'
import type { FilterChain } from '../../../lib/state/listener.ts'
import { gateway, resource, service, tlsSecret, virtualService, yaml } from '../../support/mesh.ts'
import { leafExtensions, OpensslCa } from '../../support/openssl-ca.ts'
import { loadText, statusOf, type View } from './kit.ts'

const HERE: View = { role: 'gateway', labels: { istio: 'ingress' }, listeners: [] }
const ca = new OpensslCa(t)
const root = ca.root('/CN=root')
const pair = ca.issue(root, { extensions: leafExtensions([]) })
const other = ca.issue(root, { extensions: leafExtensions([]) })

type Resource = Readonly<Record<string, unknown>>

const http = (number: number, hosts: readonly string[], more = {}) => ({
  port: { number, name: `http-${number}`, protocol: 'HTTP' },
  hosts,
  ...more,
})
const https = (name: string, hosts: readonly string[], tls = {}) => ({
  port: { number: 443, name, protocol: 'HTTPS' },
  hosts,
  tls: { mode: 'SIMPLE', credentialName: 'cert', ...tls },
})
const web = service({ host: 'web', port: 9000, endpoints: [{ address: '127.0.0.1:9000' }] })
const bound = (name: string, hosts: readonly string[], more = {}) =>
  virtualService(name, hosts, [{ name, route: [{ destination: { host: 'web' } }] }], { gateways: ['edge'], ...more })

function chains(result: LoadResult, name: string): readonly FilterChain[] {
  return result.snapshot.listeners.find((l) => l.name === name)?.filterChains ?? []
}

function domains(result: LoadResult, table: string): Record<string, string[]> {
  const hosts = result.snapshot.routeTables.find((r) => r.name === table)?.virtualHosts ?? []
  return Object.fromEntries(
    hosts.map((h) => [h.domains.join(), h.routes.map((r) => (r.action.kind === 'redirect' ? 'redirect' : r.name))]),
  )
}

t.test('what is refused', async (t) => {
  const cases: [title: string, servers: readonly Resource[], reason: RegExp][] = [
    ['no servers', [], /needs at least one of `servers`/],
    ['no hosts', [http(80, [])], /at least one of `hosts`/],
    ['a host that is none', [http(80, ['a b'])], /hosts\[0\]: .*no host name/],
    ['a wildcard in the middle', [http(80, ['a.*.test'])], /wildcard can only be the first label/],
    ['no port', [{ hosts: ['*'] }], /needs a `port`/],
    ['a port without a name', [{ port: { number: 80, protocol: 'HTTP' }, hosts: ['*'] }], /the port needs a `name`/],
    ['an unknown protocol', [{ port: { number: 80, name: 'a', protocol: 'HTPS' }, hosts: ['*'] }], /did you mean `HTTPS`/],
    ['names twice', [http(80, ['*']), http(80, ['*'])], /`http-80` is used twice/],
    ['HTTPS without tls', [{ port: { number: 443, name: 'a', protocol: 'HTTPS' }, hosts: ['*'] }], /HTTPS needs `tls`/],
    ['a certificate for plaintext', [http(80, ['*'], { tls: { credentialName: 'x' } })], /can only have `httpsRedirect`/],
    [
      'tls for TCP',
      [{ port: { number: 5, name: 'a', protocol: 'TCP' }, hosts: ['*'], tls: { mode: 'SIMPLE' } }],
      /TCP has no `tls`/,
    ],
    ['no certificate', [https('a', ['*'], { credentialName: '' })], /mode SIMPLE needs a certificate/],
    [
      'two sources of it',
      [https('a', ['*'], { serverCertificate: '/c', privateKey: '/k' })],
      /only one of credentialName and serverCertificate/,
    ],
    [
      'no roots for MUTUAL',
      [https('a', ['*'], { mode: 'MUTUAL', credentialName: '', serverCertificate: '/c', privateKey: '/k' })],
      /needs `caCertificates`/,
    ],
    ['a hash that is none', [https('a', ['*'], { verifyCertificateHash: ['abc'] })], /expected the SHA-256 of a certificate/],
    ['a key that is none', [https('a', ['*'], { verifyCertificateSpki: ['abc'] })], /expected the SHA-256 of a public key/],
    ['a suite that is none', [https('a', ['*'], { cipherSuites: ['ROT13'] })], /`ROT13` is no cipher suite/],
    [
      'versions the wrong way round',
      [https('a', ['*'], { minProtocolVersion: 'TLSV1_3', maxProtocolVersion: 'TLSV1_2' })],
      /expected TLSV1_3 or newer/,
    ],
  ]
  for (const [title, servers, reason] of cases) {
    const { state, reason: found } = statusOf(loadText(t, yaml(gateway('edge', servers)), HERE), 'edge')
    t.equal(state, 'refused', title)
    t.match(found, reason, title)
  }
})

t.test('Secrets', async (t) => {
  const secret = (data: object, type = 'Opaque') =>
    ({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'cert', namespace: 'default' }, type, ...data }) as Resource
  const cases: [title: string, secret: Resource, reason: RegExp][] = [
    [
      'a key of another',
      tlsSecret('cert', { certPem: pair.certPem, keyPem: other.keyPem }),
      /the key is not that of the certificate/,
    ],
    ['no base64', secret({ data: { 'tls.crt': '!!' } }), /expected base64/],
    ['a type that wants both', secret({ stringData: { 'tls.crt': pair.certPem } }, 'kubernetes.io/tls'), /needs `tls.key`/],
    ['no revocation list', secret({ stringData: { 'ca.crl': 'nothing' } }), /expected revocation lists as PEM/],
    ['no certificates', secret({ stringData: { 'ca.crt': 'nothing' } }), /expected certificates as PEM/],
    ['data of another form', secret({ data: pair.keyPem }), /expected a map of names to values/],
  ]
  for (const [title, object, reason] of cases) {
    const { state, reason: found } = statusOf(loadText(t, yaml(object), HERE), 'cert')
    t.equal(state, 'refused', title)
    t.match(found, reason, title)
    t.notMatch(found, /BEGIN|PRIVATE|MII/, `${title}: nothing of it is shown`)
  }
  const mesh = [
    gateway('edge', [https('a', ['a.test'], { mode: 'MUTUAL' })]),
    tlsSecret('cert', pair, root.certPem),
    tlsSecret('unused', other),
  ]
  const result = loadText(t, yaml(...mesh), HERE)
  t.same(result.credentials, [
    {
      name: 'kubernetes://default/cert',
      certificateChainPem: pair.certPem,
      privateKeyPem: pair.keyPem,
      rootsPem: [root.certPem],
      crlPem: '',
    },
  ])
  t.notMatch(JSON.stringify({ ...result, credentials: [] }), /BEGIN/, 'nowhere else')
  t.match(statusOf(result, 'unused'), { state: 'waiting', reason: /waiting for a Gateway or DestinationRule that names it/ })
})

const HASH = 'ab'.repeat(32)
const KEY = `${'A'.repeat(43)}=`

t.test('TLS of a server', async (t) => {
  const cases: [title: string, tls: object, secrets: readonly Resource[], expected: object][] = [
    [
      'SIMPLE',
      {},
      [tlsSecret('cert', pair)],
      {
        certificate: 'kubernetes://default/cert',
        trust: '',
        requireClientCertificate: false,
        alpn: ['h2', 'http/1.1'],
        minVersion: 'TLSv1.2',
        maxVersion: 'TLSv1.3',
      },
    ],
    [
      'MUTUAL, roots beside the certificate',
      { mode: 'MUTUAL' },
      [tlsSecret('cert', pair, root.certPem)],
      { trust: 'kubernetes://default/cert', requireClientCertificate: true },
    ],
    [
      'MUTUAL, roots in a Secret of their own',
      { mode: 'MUTUAL' },
      [tlsSecret('cert', pair), tlsSecret('cert-cacert', null, root.certPem)],
      { trust: 'kubernetes://default/cert-cacert' },
    ],
    [
      'OPTIONAL_MUTUAL',
      { mode: 'OPTIONAL_MUTUAL' },
      [tlsSecret('cert', pair, root.certPem)],
      { trust: 'kubernetes://default/cert', requireClientCertificate: false },
    ],
    [
      'ISTIO_MUTUAL',
      { mode: 'ISTIO_MUTUAL', credentialName: '' },
      [],
      { certificate: 'default', trust: 'ROOTCA', requireClientCertificate: true },
    ],
    [
      'files',
      { mode: 'MUTUAL', credentialName: '', serverCertificate: '/c', privateKey: '/k', caCertificates: '/r' },
      [],
      { certificate: 'file-cert:/c~/k', trust: 'file-root:/r' },
    ],
    [
      'files with revocation lists',
      { mode: 'MUTUAL', credentialName: '', serverCertificate: '/c', privateKey: '/k', caCertificates: '/r', caCrl: '/l' },
      [],
      { trust: 'file-root:/r~/l', pins: null },
    ],
    [
      'pins',
      { mode: 'MUTUAL', verifyCertificateHash: [HASH.toUpperCase().replace(/..(?!$)/g, '$&:')], verifyCertificateSpki: [KEY] },
      [tlsSecret('cert', pair, root.certPem)],
      { pins: { certificates: [HASH], keys: [KEY] } },
    ],
    ['versions', { minProtocolVersion: 'TLSV1_3' }, [tlsSecret('cert', pair)], { minVersion: 'TLSv1.3' }],
  ]
  for (const [title, tls, secrets, expected] of cases) {
    const result = loadText(t, yaml(gateway('edge', [https('a', ['a.test'], tls)]), ...secrets), HERE)
    const [chain] = chains(result, '0.0.0.0_443')
    t.match(chain?.tls, expected, title)
    t.same(chain?.match.serverNames, ['a.test'])
    t.equal(statusOf(result, 'edge').state, 'in-force', `${title}: ${statusOf(result, 'edge').reason}`)
  }
})

t.test('hosts that a server and a VirtualService have in common', async (t) => {
  const cases: [server: string, rules: string, namespace: string, expected: string[]][] = [
    ['*', 'a.test', 'default', ['a.test']],
    ['*.test', 'a.test', 'default', ['a.test']],
    ['a.test', '*.test', 'default', ['a.test']],
    ['*.test', 'test', 'default', []],
    ['*.a.test', '*.test', 'default', ['*.a.test']],
    ['shop/a.test', 'a.test', 'default', []],
    ['shop/a.test', 'a.test', 'shop', ['a.test']],
    ['./a.test', 'a.test', 'default', ['a.test']],
    ['./a.test', 'a.test', 'shop', []],
    ['*/a.test', 'a.test', 'shop', ['a.test']],
  ]
  for (const [server, host, namespace, expected] of cases) {
    const rules = resource(
      'VirtualService',
      'rules',
      {
        hosts: [host],
        gateways: ['default/edge'],
        http: [{ route: [{ destination: { host: 'web.default.svc.cluster.local' } }] }],
      },
      namespace,
    )
    const result = loadText(t, yaml(gateway('edge', [http(80, [server])]), rules, web), HERE)
    t.same(Object.keys(domains(result, 'http.80')), expected, `${server} and ${host} of ${namespace}`)
    if (expected.length === 0)
      t.match(statusOf(result, 'rules'), { state: 'waiting', reason: /waiting for a server of default\/edge/ })
  }
})

t.test('who yields', async (t) => {
  const result = loadText(
    t,
    yaml(
      gateway('edge', [
        https('one', ['a.test']),
        https('two', ['a.test', 'b.test']),
        http(443, ['*']),
        { port: { number: 443, name: 'tcp', protocol: 'TCP' }, hosts: ['*'] },
      ]),
      tlsSecret('cert', pair),
    ),
    HERE,
  )
  t.same(
    chains(result, '0.0.0.0_443').map((c) => c.match.serverNames),
    [['a.test']],
  )
  const { state, reason } = statusOf(result, 'edge')
  t.equal(state, 'partly')
  t.match(reason, /servers\[1\]: the server name `a\.test` is taken by 443 one of Gateway default\/edge/)
  t.match(reason, /servers\[2\]: port 443 is taken for another protocol/)
  t.match(reason, /servers\[3\]: port 443 is taken for another protocol/)
})

t.test('redirects to https', async (t) => {
  const mesh = yaml(gateway('edge', [http(80, ['*'], { tls: { httpsRedirect: true } })]), bound('web', ['a.test']), web)
  t.same(domains(loadText(t, mesh, HERE), 'http.80'), { '*': ['redirect'], 'a.test': ['redirect'] })
  const behind = loadText(t, mesh, { ...HERE, gateway: { trustedProxies: 1 } })
  t.same(domains(behind, 'http.80'), { '*': ['redirect'], 'a.test': ['redirect', 'web'] }, 'a proxy in front may have ended TLS')
})

t.test('whose Gateways they are, and where they are bound', async (t) => {
  const mesh = yaml(gateway('edge', [http(80, ['*'])]), bound('rules', ['a.test']), web)
  t.match(statusOf(loadText(t, mesh, { ...HERE, labels: {} }), 'edge'), { state: 'waiting', reason: /labels of its selector/ })
  t.match(statusOf(loadText(t, mesh, { ...HERE, labels: {} }), 'rules'), {
    state: 'waiting',
    reason: /this one has other labels/,
  })
  t.match(statusOf(loadText(t, mesh), 'edge'), { state: 'waiting', reason: /role: gateway/ })
  t.match(statusOf(loadText(t, yaml(bound('rules', ['a.test'])), HERE), 'rules'), {
    state: 'waiting',
    reason: /waiting for the Gateway default\/edge/,
  })
  const own = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'ingress', namespace: 'default' },
    spec: { selector: { istio: 'ingress' }, ports: [{ port: 80, targetPort: 8080 }] },
  }
  const ports: [title: string, view: View, resources: readonly Resource[], expected: number][] = [
    ['as it is', HERE, [], 80],
    ['as a Service leads it here', HERE, [own], 8080],
    ['by heddle.yaml', { ...HERE, gateway: { ports: [{ port: 80, bound: 0 }] } }, [own], 0],
    ['moved', { ...HERE, gateway: { portOffset: 8000 } }, [], 8080],
  ]
  for (const [title, view, resources, expected] of ports) {
    const [listener] = loadText(t, `${mesh}---\n${yaml(...resources)}`, view).snapshot.listeners
    t.equal(listener?.port, expected, title)
    t.equal(listener?.name, '0.0.0.0_80', title)
  }
})
