// Roots of the mesh that a control plane tells (PCDS), and revocation lists of its CA: who has them is let in, and let go, and the application hears of nobody else.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { encode } from '../../lib/xds/proto/encode.ts'
import { ProxyConfig } from '../../lib/xds/proto/istio-agent.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { hasOpenssl, OpensslCa } from '../support/openssl-ca.ts'
import { startProxy } from '../support/proxy.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { putResource, setResource, setService, xdsCluster, xdsEndpoints, xdsListener, xdsRoutes } from '../support/xds-json.ts'

const SERVER = 'spiffe://cluster.local/ns/default/sa/web'
const CLIENT = 'spiffe://cluster.local/ns/default/sa/client'
const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext'
const sds = (name: string): object => ({ name, sds_config: { ads: {}, resource_api_version: 'V3' } })

/** The first line of the answer; empty: the client is not let in. */
function ask(t: Teardown, port: number, { chain, key }: Issued): Promise<string> {
  const socket = tls.connect({ port, host: '127.0.0.1', cert: chain, key, rejectUnauthorized: false })
  t.teardown(() => socket.destroy())
  let said = ''
  socket.on('data', (d) => {
    said += String(d)
  })
  socket.write('GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n')
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.on('close', () => resolve(said.split('\r\n')[0] ?? ''))
  })
}

type Made = ReturnType<OpensslCa['root']>

const issued = ({ certFile, keyFile }: Made): Issued => ({
  chain: readFileSync(certFile, 'utf8'),
  key: readFileSync(keyFile, 'utf8'),
})

t.test('a peer of another root', { skip: !hasOpenssl() && 'openssl is not installed' }, async (t) => {
  const ca = new OpensslCa(t)
  const ours = ca.root('/O=ours')
  const [server, client, stolen] = [SERVER, CLIENT, CLIENT].map((uri) => ca.svid(ours, uri)) as [Made, Made, Made]
  const [own, known, lost] = [server, client, stolen].map(issued) as [Issued, Issued, Issued]
  const second = await SigningCa.root(t, 'second')
  const stranger = await second.issue({ uris: [CLIENT] })
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-roots-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const files = {
    certificateChain: path.join(folder, 'cert.pem'),
    privateKey: path.join(folder, 'key.pem'),
    roots: path.join(folder, 'roots.pem'),
  }
  writeFileSync(files.certificateChain, own.chain)
  writeFileSync(files.privateKey, own.key)
  const rootPem = readFileSync(ours.certFile, 'utf8')
  writeFileSync(files.roots, rootPem)
  const revocation = path.join(folder, 'crl', 'ca-crl.pem')
  const plane = await FakeControlPlane.start(t)
  const app = await EchoUpstream.start(t)
  const port = await freePort()
  const common_tls_context = {
    tls_certificate_sds_secret_configs: [sds('default')],
    combined_validation_context: {
      default_validation_context: {},
      validation_context_sds_secret_config: sds('ROOTCA'),
    },
  }
  const typed_config = { '@type': TLS, require_client_certificate: true, common_tls_context }
  setService(plane, 'app', app)
  setResource(plane, XDS.route, xdsRoutes('r', { '*': { '/': 'app' } }))
  const at = { name: 'in', host: '127.0.0.1', port, routes: 'r' }
  setResource(plane, XDS.listener, xdsListener({ ...at, transportSocket: { name: 'tls', typed_config } }))
  const proxy = await startProxy(t, {
    listeners: [],
    bootstrap: {
      role: 'gateway',
      resources: [],
      xds: { address: plane.hostAndPort, transport: 'plaintext' },
      workload: { namespace: 'default', serviceAccount: 'web' },
      identity: { source: 'files', files, revocation },
    },
  })
  t.equal(await ask(t, port, known), 'HTTP/1.1 200 OK')
  t.equal(await ask(t, port, stranger), '', 'nobody vouches for it yet')
  const tell = (...roots: string[]): void => plane.put(XDS.proxyConfig, '', encode(ProxyConfig, { ca_certificates_pem: roots }))
  tell(rootPem, second.rootPem)
  await plane.answered(XDS.proxyConfig)
  await eventually('it is let in', async () => (await ask(t, port, stranger)) === 'HTTP/1.1 200 OK')
  t.equal(await ask(t, port, known), 'HTTP/1.1 200 OK', 'as are those of before')
  tell(rootPem)
  await eventually('the root is gone', async () => (await ask(t, port, stranger)) === '')
  t.equal(await ask(t, port, known), 'HTTP/1.1 200 OK')

  // The file comes later, as that of a ConfigMap does.
  t.equal(await ask(t, port, lost), 'HTTP/1.1 200 OK', 'nobody has revoked it')
  mkdirSync(path.dirname(revocation))
  writeFileSync(revocation, ca.crl(ours, stolen).pem)
  await eventually('who was revoked is not let in any more', async () => (await ask(t, port, lost)) === '')
  t.equal(await ask(t, port, known), 'HTTP/1.1 200 OK')
  writeFileSync(revocation, 'nothing')
  await eventually('that it is told', () => /ca-crl\.pem: there is no revocation list/.test(proxy.stderr))
  t.equal(await ask(t, port, lost), '', 'what was read before stays in use')
  rmSync(revocation)
  await eventually('the list is gone', async () => (await ask(t, port, lost)) === 'HTTP/1.1 200 OK')
})

t.test(
  'a listener whose certificate is a file waits for it',
  { skip: !hasOpenssl() && 'openssl is not installed' },
  async (t) => {
    const ca = new OpensslCa(t)
    const made = issued(ca.svid(ca.root('/O=ours'), SERVER))
    const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-file-cert-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const [certificate, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')]
    const name = `file-cert:${certificate}~${key}`
    const plane = await FakeControlPlane.start(t)
    const [app, later] = [await EchoUpstream.start(t), await EchoUpstream.start(t)]
    const port = await freePort()
    setService(plane, 'app', app)
    setResource(plane, XDS.route, xdsRoutes('r', { '*': { '/': 'app' } }))
    const proxy = await startProxy(t, {
      listeners: [],
      bootstrap: { role: 'gateway', resources: [], xds: { address: plane.hostAndPort, transport: 'plaintext' } },
    })
    const typed_config = { '@type': TLS, common_tls_context: { tls_certificate_sds_secret_configs: [sds(name)] } }
    const at = { name: 'in', host: '127.0.0.1', port, routes: 'r' }
    putResource(plane, XDS.listener, xdsListener({ ...at, transportSocket: { name: 'tls', typed_config } }))
    const waits = async (): Promise<boolean> =>
      (await proxy.admin('/control_plane')).body.includes(`listener in waits for the secret ${name}`)
    await eventually('it waits', waits)
    // Further configuration goes on without it.
    putResource(plane, XDS.cluster, xdsCluster('later'))
    putResource(plane, XDS.endpoints, xdsEndpoints('later', later))
    await eventually('the cluster is there', async () => (await proxy.admin('/clusters')).body.includes('later::'))
    t.ok(await waits())
    t.notMatch((await proxy.admin('/listeners')).body, /in::/, 'nobody listens')
    writeFileSync(key, made.key)
    writeFileSync(certificate, made.chain)
    await eventually('it is in force', async () => (await ask(t, port, made)) === 'HTTP/1.1 200 OK')
    t.notOk(await waits())
  },
)
