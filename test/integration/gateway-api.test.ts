// A gateway with Gateways and routes of the Gateway API, asked by curl and openssl: requests by host and path, certificates by server name, TLS that is
// passed on, bytes, redirects, weights, headers, and routes that change.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { GATEWAY_NAME, k8sGateway, k8sService, route } from '../support/gateway-api.ts'
import { tlsSecret, yaml } from '../support/mesh.ts'
import { OpensslCa, type OpensslCertificate } from '../support/openssl-ca.ts'
import { startProxy } from '../support/proxy.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

const ca = new OpensslCa(t)
const root = ca.root('/CN=outside')

function certificate(name: string): OpensslCertificate {
  const extensions = ['basicConstraints=CA:FALSE', 'extendedKeyUsage=serverAuth', `subjectAltName=DNS:${name}`]
  return ca.issue(root, { subject: `/CN=${name}`, extensions })
}

const shop = certificate('shop.test')
const behind = certificate('raw.test')

interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** `scheme://host` is asked at the gateway, and its certificate is verified. */
function curl(port: number, url: string, ...args: readonly string[]): Promise<Answer> {
  const host = new URL(url).hostname
  const at = url.replace(host, `${host}:${port}`)
  const all = ['-sS', '-i', '--cacert', root.certFile, '--resolve', `${host}:${port}:127.0.0.1`, ...args, at]
  return new Promise((resolve) => {
    execFile('curl', all, { timeout: 10_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    )
  })
}

/** TLS ends there, behind the gateway, or bytes come as they are: everything comes back. */
const secret = tls.createServer({ cert: behind.certPem, key: behind.keyPem }, (socket) => socket.end('behind\n'))
const bytes = net.createServer((socket) => socket.pipe(socket))
for (const server of [secret, bytes]) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
}
const addressOf = (server: net.Server) => `127.0.0.1:${(server.address() as AddressInfo).port}`

const [one, two] = [await EchoUpstream.start(t, { name: 'one' }), await EchoUpstream.start(t, { name: 'two' })]

const parent = (sectionName: string) => ({ parentRefs: [{ name: 'edge', sectionName }] })
const to = (name: string, more = {}) => ({ backendRefs: [{ name, port: 80, ...more }] })
const path = (value: string, type = 'PathPrefix') => ({ matches: [{ path: { type, value } }] })
const ofSecret = (name: string) => ({ tls: { certificateRefs: [{ name }] } })
const set = (name: string, value: string) => ({ set: [{ name, value }] })

const RULES = [
  { ...to('one'), ...path('/one') },
  { ...to('two'), ...path('/one/deep') },
  { ...to('two'), ...path('/one', 'Exact') },
  {
    ...path('/moved'),
    filters: [{ type: 'RequestRedirect', requestRedirect: { scheme: 'https', hostname: 'shop.test', port: 443 } }],
  },
  {
    ...path('/old'),
    ...to('one'),
    filters: [{ type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } }],
  },
  {
    ...path('/edited'),
    ...to('one'),
    filters: [
      { type: 'RequestHeaderModifier', requestHeaderModifier: { ...set('x-set', 'request'), remove: ['x-gone'] } },
      { type: 'ResponseHeaderModifier', responseHeaderModifier: set('x-answered', 'by edge') },
    ],
  },
  {
    ...path('/all'),
    backendRefs: [
      { name: 'one', port: 80, weight: 0 },
      { name: 'two', port: 80, weight: 1 },
    ],
  },
  { ...path('/nothing'), ...to('one', { weight: 0 }) },
  { ...path('/elsewhere'), ...to('three', { namespace: 'other' }) },
  { ...path('/granted'), ...to('four', { namespace: 'other' }) },
  { ...path('/missing'), ...to('nobody') },
]

const RESOURCES = yaml(
  k8sGateway('edge', [
    { name: 'http', port: 8080, protocol: 'HTTP' },
    { name: 'shop', port: 8443, protocol: 'HTTPS', hostname: 'shop.test', ...ofSecret('shop') },
    { name: 'admin', port: 8443, protocol: 'HTTPS', hostname: '*.admin.test', ...ofSecret('admin') },
    { name: 'raw', port: 9443, protocol: 'TLS', tls: { mode: 'Passthrough' } },
    { name: 'bytes', port: 9000, protocol: 'TCP' },
  ]),
  tlsSecret('shop', shop),
  tlsSecret('admin', certificate('a.admin.test')),
  route('HTTPRoute', 'paths', { ...parent('http'), hostnames: ['shop.test', '*.shop.test'], rules: RULES }),
  route('HTTPRoute', 'shop', { ...parent('shop'), rules: [to('one')] }),
  route('HTTPRoute', 'admin', { ...parent('admin'), hostnames: ['a.admin.test', 'b.elsewhere.test'], rules: [to('two')] }),
  route('TLSRoute', 'raw', { ...parent('raw'), hostnames: ['raw.test'], rules: [to('raw')] }),
  route('TCPRoute', 'bytes', { ...parent('bytes'), rules: [to('bytes')] }),
  route(
    'ReferenceGrant',
    'four',
    {
      from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'default' }],
      to: [{ group: '', kind: 'Service', name: 'four' }],
    },
    { namespace: 'other' },
  ),
  ...k8sService('one', one.address),
  ...k8sService('two', two.address),
  ...k8sService('three', one.address, 'other'),
  ...k8sService('four', two.address, 'other'),
  ...k8sService('raw', addressOf(secret), 'default', 'tls'),
  ...k8sService('bytes', addressOf(bytes), 'default', 'tcp'),
)

const proxy = await startProxy(t, {
  resources: RESOURCES,
  listeners: [],
  bootstrap: {
    role: 'gateway',
    workload: { labels: { [GATEWAY_NAME]: 'edge' } },
    gateway: { address: '127.0.0.1', ports: { 8080: 0, 8443: 0, 9443: 0, 9000: 0 } },
  },
})
const port = (named: number) => proxy.port(`0.0.0.0_${named}`)

t.test('requests by host and path', async (t) => {
  // path, status, who answered, what was asked of it
  const cases: [target: string, status: number, app: EchoUpstream | null, arrived: string][] = [
    ['/one/x', 200, one, '/one/x'],
    ['/one', 200, two, '/one'],
    ['/one/deep/x', 200, two, '/one/deep/x'],
    ['/onerous', 404, null, ''],
    ['/old/x', 200, one, '/x'],
    ['/old', 200, one, '/'],
    ['/all', 200, two, '/all'],
    ['/nothing', 500, null, ''],
    ['/missing', 500, null, ''],
    ['/elsewhere', 500, null, ''],
    ['/granted', 200, two, '/granted'],
  ]
  for (const [target, status, app, arrived] of cases) {
    const before = [one.seen.length, two.seen.length]
    const { stdout, stderr } = await curl(port(8080), `http://shop.test${target}`)
    t.match(stdout, new RegExp(`^HTTP/1.1 ${status} `), `${target} ${stderr}`)
    if (app === null) t.same([one.seen.length, two.seen.length], before, `${target}: nobody is asked`)
    else t.equal(app.seen.at(-1)?.target, arrived, target)
  }
  t.match((await curl(port(8080), 'http://a.b.shop.test/one')).stdout, /^HTTP\/1.1 200/, 'a wildcard is for any number of labels')
  t.match((await curl(port(8080), 'http://other.test/one')).stdout, /^HTTP\/1.1 404/, 'another host')
})

t.test('filters', async (t) => {
  const moved = await curl(port(8080), 'http://shop.test/moved/x?q=1')
  t.match(moved.stdout, /^HTTP\/1.1 302 /, 'where no status is named')
  t.match(moved.stdout, /location: https:\/\/shop\.test\/moved\/x\?q=1\r/i)
  const edited = await curl(port(8080), 'http://shop.test/edited', '-H', 'x-gone: 1', '-H', 'x-set: client')
  t.match(edited.stdout, /x-answered: by edge\r/i)
  const headers = (one.seen.at(-1)?.headers ?? []).map(([name, value]) => [name.toLowerCase(), value])
  t.same(
    headers.filter(([name]) => name === 'x-set' || name === 'x-gone'),
    [['x-set', 'request']],
  )
})

t.test('TLS ends here, with the certificate of the server name', async (t) => {
  t.match((await curl(port(8443), 'https://shop.test/s')).stdout, /^HTTP\/2 200/)
  t.equal(one.seen.at(-1)?.target, '/s')
  t.match((await curl(port(8443), 'https://a.admin.test/t')).stdout, /^HTTP\/2 200/)
  t.equal(two.seen.at(-1)?.target, '/t')
  t.not((await curl(port(8443), 'https://stranger.test/')).code, 0, 'no listener has the name')
})

t.test('TLS is passed on by its server name', async (t) => {
  const answer = (servername: string) =>
    new Promise<string>((resolve) => {
      const socket = tls.connect({ host: '127.0.0.1', port: port(9443), servername, ca: root.certPem, ALPNProtocols: [] })
      let text = ''
      socket.on('data', (d) => {
        text += String(d)
      })
      socket.on('error', () => resolve('refused'))
      socket.on('close', () => resolve(text))
    })
  t.equal(await answer('raw.test'), 'behind\n', 'its certificate is the one behind')
  t.equal(await answer('else.test'), 'refused')
})

t.test('bytes', async (t) => {
  const socket = net.connect({ host: '127.0.0.1', port: port(9000) })
  socket.write('there and back')
  const [data] = (await once(socket, 'data')) as [Buffer]
  t.equal(String(data), 'there and back')
  socket.destroy()
})
