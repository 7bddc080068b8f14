// How a sidecar speaks to what it dials: the modes of a DestinationRule's tls, asked of servers that say what they saw; and services without an address of their own.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { leafExtensions, OpensslCa } from '../support/openssl-ca.ts'
import { Mesh, type Pod } from './pods.ts'
import { echoed, echoServer } from './programs.ts'

t.setTimeout(170_000)
const skip = canMakeNamespaces()

const rule = (host: string, tls: string) => `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ${host}, namespace: default }
spec: { host: ${host}, trafficPolicy: { tls: ${tls} } }
`

const ROUTES = `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: heads, namespace: default }
spec:
  hosts: [ heads ]
  http: [ { route: [ { destination: { host: heads } } ], headers: { request: { set: { x-routed: "by the rule" } } } } ]
`

/** Says what it saw of TLS: the name that was asked for, the protocol, and who the client is. */
const tlsServer = (port: number, files: Readonly<Record<string, string>>, more = '') => `
  const fs = require('fs'), files = ${JSON.stringify(files)}
  const read = (name) => files[name] && fs.readFileSync(files[name])
  require('https').createServer({ cert: read('cert'), key: read('key'), ca: read('ca')${more} }, (q, r) => r.end(JSON.stringify({
    url: q.url, sni: q.socket.servername, alpn: q.socket.alpnProtocol, client: (q.socket.getPeerCertificate() || {}).subjectaltname || '' })))
    .listen(${port}, '::', () => console.log('on'))`

t.test('what a sidecar dials', { skip }, async (t) => {
  const http = [{ name: 'http', port: 80, target: 8080 }]
  const mesh = await Mesh.make(t, {
    pods: [
      { name: 'web', app: 'web', number: 11 },
      { name: 'api-1', app: 'api', number: 12 },
      { name: 'api-2', app: 'api', number: 13 },
      { name: 'outside', app: 'outside', number: 14, mesh: false },
    ],
    services: [
      { name: 'api', number: 1, ports: http, pods: ['api-1'] },
      { name: 'simple', number: 2, ports: [{ name: 'http', port: 80, target: 8443 }], pods: ['outside'] },
      { name: 'mutual', number: 3, ports: [{ name: 'http', port: 80, target: 8444 }], pods: ['outside'] },
      {
        name: 'heads',
        number: 0,
        ports: [
          { name: 'http', port: 8080, target: 8080 },
          { name: 'tcp', port: 9000, target: 9000 },
        ],
        pods: ['api-1', 'api-2'],
      },
    ],
    policy: ROUTES,
  })
  const [web, one, two, outside] = mesh.pods as [Pod, Pod, Pod, Pod]
  const ca = new OpensslCa(t)
  const root = ca.root('/O=elsewhere')
  const server = ca.issue(root, { extensions: leafExtensions([], { subjectAltName: 'DNS:shop.test' }) })
  const client = ca.issue(root, { extensions: leafExtensions([], { subjectAltName: 'DNS:client.test' }) })
  const place = (name: string, pem: string) => {
    const file = path.join(mesh.dir, name)
    writeFileSync(file, pem, { mode: 0o644 })
    return file
  }
  const files = {
    cert: place('server.pem', server.certPem),
    key: place('server-key.pem', server.keyPem),
    ca: place('other-root.pem', root.certPem),
  }
  const own = { cert: place('client.pem', client.certPem), key: place('client-key.pem', client.keyPem) }
  for (const pod of [one, two])
    await pod.serve(
      echoServer(pod.spec.name, 8080),
      `require('net').createServer((s) => s.end('${pod.spec.name}\\n')).listen(9000, '::', () => console.log('on'))`,
    )
  await outside.serve(tlsServer(8443, files), tlsServer(8444, files, ', requestCert: true, rejectUnauthorized: true'))
  await mesh.sidecars(['web', 'api-1', 'api-2'])

  const asked = async (host: string) => {
    const { stdout } = await web.curl('-w', ' %{http_code}', `http://${host}/x`)
    const status = Number(stdout.slice(-3))
    return { status, seen: status === 200 ? (JSON.parse(stdout.slice(0, -4)) as Record<string, unknown>) : null }
  }
  const certificateSeen = async () => echoed((await web.curl('http://api/')).stdout)[0]?.headers['x-forwarded-client-cert']

  t.test('no rule: mutual TLS where the other end takes it', async (t) => {
    t.match(await certificateSeen(), `URI=${web.identity}`)
  })

  t.test('DISABLE: plaintext, also where the other end would take more', async (t) => {
    await mesh.change({ 'rules.yaml': rule('api', '{ mode: DISABLE }') })
    t.equal(await certificateSeen(), undefined)
  })

  t.test('ISTIO_MUTUAL: the certificate of the mesh, whatever is known of the other end', async (t) => {
    await mesh.change({ 'rules.yaml': rule('api', '{ mode: ISTIO_MUTUAL }') + rule('simple', '{ mode: ISTIO_MUTUAL }') })
    t.match(await certificateSeen(), `URI=${web.identity}`)
    t.equal((await asked('simple')).status, 503, 'a server of another CA is not believed')
    await web.sidecar.said(/TLS with an endpoint failed: /)
  })

  t.test('SIMPLE: the server is verified by its CA and name, and sees no certificate', async (t) => {
    const simple = (more: string) => mesh.change({ 'rules.yaml': rule('simple', `{ mode: SIMPLE, ${more} }`) })
    await simple(`sni: shop.test, subjectAltNames: [ shop.test ], caCertificates: "${files.ca}"`)
    t.same(await asked('simple'), { status: 200, seen: { url: '/x', sni: 'shop.test', alpn: 'http/1.1', client: '' } })
    await simple(`sni: shop.test, subjectAltNames: [ other.test ], caCertificates: "${files.ca}"`)
    t.equal((await asked('simple')).status, 503, 'another name')
    await web.sidecar.said(
      /TLS with an endpoint failed: .*shop\.test.*other\.test|TLS with an endpoint failed: .*other\.test.*shop\.test/,
    )
    await simple(`sni: shop.test, caCertificates: "${path.join(mesh.ca, 'root-cert.pem')}"`)
    t.equal((await asked('simple')).status, 503, 'another CA')
    const listed = `sni: shop.test, subjectAltNames: [ shop.test ], caCertificates: "${files.ca}"`
    await simple(`${listed}, caCrl: "${place('nobody.crl', ca.crl(root).pem)}"`)
    t.equal((await asked('simple')).status, 200, 'nobody is revoked')
    await simple(`${listed}, caCrl: "${place('server.crl', ca.crl(root, server).pem)}"`)
    t.equal((await asked('simple')).status, 503, 'the server is')
    // A sidecar writes one record for each kind of fault and second.
    await eventually('the reason', async () => {
      await asked('simple')
      return /TLS with an endpoint failed: the peer's chain is refused: .*CERT_REVOKED/.test(web.sidecar.stderr)
    })
    await simple('sni: shop.test, insecureSkipVerify: true')
    t.equal((await asked('simple')).status, 200, 'not verified at all')
  })

  t.test('MUTUAL: it shows the certificate of the rule', async (t) => {
    const mutual = (more: string) =>
      mesh.change({ 'rules.yaml': rule('mutual', `{ sni: shop.test, caCertificates: "${files.ca}", ${more} }`) })
    await mutual(`mode: MUTUAL, clientCertificate: "${own.cert}", privateKey: "${own.key}"`)
    t.match(await asked('mutual'), { status: 200, seen: { sni: 'shop.test', client: 'DNS:client.test' } })
    await mutual('mode: SIMPLE')
    t.equal((await asked('mutual')).status, 503, 'the server wants one')
  })

  t.test('a headless service: the pod that was dialled, by the rules of its name', async (t) => {
    await mesh.change({ 'rules.yaml': null })
    for (const pod of [one, two]) {
      const { stdout, stderr } = await web.curl('--resolve', `heads:8080:${pod.ip}`, 'http://heads:8080/[1-6]')
      const seen = echoed(stdout)
      t.same(
        seen.map((e) => e.pod),
        Array(6).fill(pod.spec.name),
        stderr,
      )
      t.match(seen[0]?.headers, { 'x-routed': 'by the rule' })
      t.match(seen[0]?.headers['x-forwarded-client-cert'], `URI=${web.identity}`, 'by mTLS')
      const bytes = await web.script(`require('net').connect(9000, '${pod.ip}').on('data', (d) => console.log(String(d).trim()))`)
      t.equal(bytes.trim(), pod.spec.name, 'bytes')
    }
  })
})
