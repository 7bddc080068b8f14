// A gateway with Gateways and VirtualServices of Istio, asked by curl and openssl: certificates by server name, clients' certificates, TLS that is
// passed on, redirects, and Secrets that change, come late or are broken.
import { execFile, spawn } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import tls from 'node:tls'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { gateway, service, tlsSecret, virtualService, yaml } from '../support/mesh.ts'
import { OpensslCa, type OpensslCertificate } from '../support/openssl-ca.ts'
import { type HeddleProcess, type ProxyOptions, runHeddle, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

const ca = new OpensslCa(t)
const root = ca.root('/CN=outside')
const otherRoot = ca.root('/CN=elsewhere')
const SERVER = ['basicConstraints=CA:FALSE', 'extendedKeyUsage=serverAuth,clientAuth']

function certificate(name: string, issuer = root): OpensslCertificate {
  return ca.issue(issuer, { subject: `/CN=${name}`, extensions: [...SERVER, `subjectAltName=DNS:${name}`] })
}

const shop = certificate('shop.test')
const admin = certificate('admin.test')
const client = certificate('client.test')
const stranger = certificate('client.test', otherRoot)

interface Answer {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function run(program: string, args: readonly string[]): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 10_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    )
  })
}

/** `scheme://host` is asked at the gateway, and its certificate is verified. */
function curl(port: number, url: string, ...args: readonly string[]): Promise<Answer> {
  const host = new URL(url).hostname
  const at = url.replace(host, `${host}:${port}`)
  return run('curl', ['-sS', '-i', '--cacert', root.certFile, '--resolve', `${host}:${port}:127.0.0.1`, ...args, at])
}

function startGateway(
  t: Teardown,
  resources: NonNullable<ProxyOptions['resources']>,
  ports: readonly number[],
  more = {},
): Promise<HeddleProcess> {
  return startProxy(t, {
    resources,
    listeners: [],
    bootstrap: {
      role: 'gateway',
      workload: { labels: { istio: 'ingress' } },
      gateway: { address: '127.0.0.1', ports: Object.fromEntries(ports.map((p) => [p, 0])) },
      ...more,
    },
  })
}

/** Of the last request. */
function headersOf(app: EchoUpstream): Record<string, string> {
  return Object.fromEntries((app.seen.at(-1)?.headers ?? []).map(([name, value]) => [name.toLowerCase(), value]))
}

const https = (name: string, hosts: readonly string[], terms: object) => ({
  port: { number: 443, name, protocol: 'HTTPS' },
  hosts,
  tls: { mode: 'SIMPLE', ...terms },
})

const to = (name: string, hosts: readonly string[], host: string, more = {}) =>
  virtualService(name, hosts, [{ name, route: [{ destination: { host } }] }], { gateways: ['edge'], ...more })

t.test('requests by TLS and without', async (t) => {
  const [shopApp, adminApp] = [await EchoUpstream.start(t, { name: 'shop' }), await EchoUpstream.start(t, { name: 'admin' })]
  const proxy = await startGateway(
    t,
    yaml(
      gateway('edge', [
        { port: { number: 80, name: 'http', protocol: 'HTTP' }, hosts: ['*'], tls: { httpsRedirect: true } },
        { port: { number: 8080, name: 'plain', protocol: 'HTTP' }, hosts: ['*.test'] },
        https('shop', ['shop.test'], { credentialName: 'shop' }),
        https('admin', ['admin.test'], { mode: 'MUTUAL', credentialName: 'admin' }),
      ]),
      tlsSecret('shop', shop),
      tlsSecret('admin', admin, readFileSync(root.certFile, 'utf8')),
      service({ host: 'shop', endpoints: [shopApp] }),
      service({ host: 'admin', port: 9000, endpoints: [adminApp] }),
      to('shop', ['shop.test'], 'shop'),
      to('admin', ['admin.test'], 'admin'),
    ),
    [80, 443, 8080],
  )
  const [plain, secure] = [proxy.port('0.0.0.0_8080'), proxy.port('0.0.0.0_443')]

  t.test('the certificate is that of the server name', async (t) => {
    const answer = await curl(secure, 'https://shop.test/a')
    t.match(answer.stdout, /^HTTP\/2 200/, answer.stderr)
    t.match(answer.stdout, /server: istio-envoy/i)
    t.equal(shopApp.seen.at(-1)?.target, '/a')
    const own = await curl(secure, 'https://admin.test/b', '--cert', client.certFile, '--key', client.keyFile)
    t.match(own.stdout, /^HTTP\/2 200/, own.stderr)
    t.equal(adminApp.seen.at(-1)?.target, '/b', 'the only port of its service')
    const strange = await curl(secure, 'https://other.test/')
    t.not(strange.code, 0, 'no chain has the name')
    t.equal(strange.stdout, '')
  })

  t.test('HTTP/1.1 where the client wants it', async (t) => {
    const answer = await curl(secure, 'https://shop.test/', '--http1.1')
    t.match(answer.stdout, /^HTTP\/1\.1 200/, answer.stderr)
  })

  t.test('the upstream learns who asked, and nothing that only the mesh may say', async (t) => {
    await curl(
      secure,
      'https://shop.test/h',
      '-H',
      'x-forwarded-for: 192.0.2.9',
      '-H',
      'x-forwarded-proto: http',
      '-H',
      'x-request-id: mine',
      '-H',
      'x-forwarded-client-cert: Hash=1',
    )
    const headers = headersOf(shopApp)
    t.equal(headers['x-forwarded-for'], '192.0.2.9,127.0.0.1')
    t.equal(headers['x-forwarded-proto'], 'https')
    t.equal(headers['x-envoy-external-address'], '127.0.0.1')
    t.not(headers['x-request-id'], 'mine')
    t.notOk(headers['x-forwarded-client-cert'])
    await curl(
      secure,
      'https://admin.test/h',
      '--cert',
      client.certFile,
      '--key',
      client.keyFile,
      '-H',
      'x-forwarded-client-cert: Hash=1',
    )
    const forwarded = String(headersOf(adminApp)['x-forwarded-client-cert'])
    t.match(forwarded, /;Cert="-----BEGIN%20CERTIFICATE-----%0A[^"]+-----END%20CERTIFICATE-----%0A";Subject="CN=client\.test"/)
    t.notMatch(forwarded, /Hash=1(;|$)/)
  })

  t.test('a client certificate is asked for, and verified', async (t) => {
    t.not((await curl(secure, 'https://admin.test/')).code, 0, 'none')
    t.not(
      (await curl(secure, 'https://admin.test/', '--cert', stranger.certFile, '--key', stranger.keyFile)).code,
      0,
      'of others',
    )
  })

  t.test('the host of one server is not found by the name of another', async (t) => {
    const answer = await curl(secure, 'https://shop.test/', '-H', 'host: admin.test')
    t.match(answer.stdout, /^HTTP\/2 404/)
  })

  t.test('plaintext: hosts, and a redirect', async (t) => {
    t.match((await curl(plain, 'http://shop.test/')).stdout, /^HTTP\/1\.1 200/)
    t.match((await curl(plain, 'http://nobody.test/')).stdout, /^HTTP\/1\.1 404/)
    const redirect = await curl(proxy.port('0.0.0.0_80'), 'http://shop.test/x?y=1', '-H', 'host: shop.test')
    t.match(redirect.stdout, /^HTTP\/1\.1 301/)
    t.match(redirect.stdout, /location: https:\/\/shop\.test\/x\?y=1\r/i)
    const faked = await curl(
      proxy.port('0.0.0.0_80'),
      'http://shop.test/',
      '-H',
      'host: shop.test',
      '-H',
      'x-forwarded-proto: https',
    )
    t.match(faked.stdout, /^HTTP\/1\.1 301/)
  })

  t.test('a dump shows names of secrets, and no key', async (t) => {
    const dump = (await proxy.admin('/config_dump')).body
    t.match(dump, /kubernetes:\/\/default\/shop/)
    for (const text of [dump, proxy.stderr]) t.notMatch(text, /PRIVATE KEY|BEGIN CERTIFICATE/)
    const key = shop.keyPem.split('\n')[1]!
    for (const text of [dump, proxy.stderr]) t.notOk(text.includes(key))
  })

  t.test('heddle explain knows its listeners', async (t) => {
    const { stdout, stderr } = await runHeddle([
      'explain',
      'https://shop.test/z',
      '--listener',
      '0.0.0.0_443',
      '--config',
      proxy.configFile,
    ])
    t.match(stdout, /outbound\|80\|\|shop\.default\.svc\.cluster\.local/, stderr)
  })
})

t.test('clients whose certificate is revoked, and clients whose certificate is pinned', async (t) => {
  const app = await EchoUpstream.start(t)
  const [friend, revoked] = [certificate('friend.test'), certificate('revoked.test')]
  const roots = readFileSync(root.certFile, 'utf8')
  const hash = new X509Certificate(client.certPem).fingerprint256
  const key = createHash('sha256')
    .update(new X509Certificate(friend.certPem).publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')
  const files = { serverCertificate: shop.certFile, privateKey: shop.keyFile, caCertificates: root.certFile }
  const fileCrl = ca.crl(root, revoked)
  const world = (crl: string) =>
    yaml(
      gateway('edge', [
        https('by-secret', ['by-secret.test'], { mode: 'MUTUAL', credentialName: 'shop' }),
        https('by-file', ['by-file.test'], { mode: 'MUTUAL', ...files, caCrl: fileCrl.file }),
        https('pinned', ['pinned.test'], {
          mode: 'MUTUAL',
          ...files,
          verifyCertificateHash: [hash],
          verifyCertificateSpki: [key],
        }),
      ]),
      tlsSecret('shop', shop, roots, crl),
      service({ host: 'shop', endpoints: [app] }),
      to('shop', ['*.test'], 'shop'),
    )
  const proxy = await startGateway(t, { 'mesh.yaml': world(ca.crl(root, revoked).pem) }, [443])
  const asked = async (name: string, by: OpensslCertificate) =>
    (await curl(proxy.port('0.0.0.0_443'), `https://${name}.test/`, '-k', '--cert', by.certFile, '--key', by.keyFile)).code === 0

  for (const name of ['by-secret', 'by-file']) {
    t.ok(await asked(name, client), `${name}: good`)
    t.notOk(await asked(name, revoked), `${name}: revoked`)
  }
  await proxy.said(/TLS with a client failed: the peer's chain is refused: .*CERT_REVOKED/)
  t.ok(await asked('pinned', client), 'by its hash')
  t.ok(await asked('pinned', friend), 'by its key')
  t.notOk(await asked('pinned', revoked), 'of the same CA, and neither')
  await proxy.said(/the peer's certificate is none of those that are pinned: its hash is [0-9a-f]{64}/)

  // Revoked later: the Secret changes, and what the client could resume is not.
  const port = proxy.port('0.0.0.0_443')
  const session = path.join(ca.folder, 'session')
  const openssl = (...more: readonly string[]) =>
    run('sh', [
      '-c',
      `printf 'GET / HTTP/1.1\\r\\nhost: by-secret.test\\r\\nconnection: close\\r\\n\\r\\n' | openssl s_client -quiet -ign_eof -connect 127.0.0.1:${port} -servername by-secret.test -cert ${friend.certFile} -key ${friend.keyFile} ${more.join(' ')}`,
    ])
  t.match((await openssl('-sess_out', session)).stdout, /^HTTP\/1\.1 200/)
  t.match((await openssl('-sess_in', session)).stdout, /^HTTP\/1\.1 200/)
  await proxy.reload({ 'mesh.yaml': world(ca.crl(root, revoked, friend).pem) })
  t.notMatch((await openssl('-sess_in', session)).stdout, /HTTP/)
  t.notOk(await asked('by-secret', friend))
  t.ok(await asked('by-secret', client))
})

t.test('a WebSocket over TLS', async (t) => {
  const app = await Upstream.start(t, async (exchange) => exchange.switchProtocols('websocket'))
  const proxy = await startGateway(
    t,
    yaml(
      gateway('edge', [https('shop', ['*.test'], { credentialName: 'shop' })]),
      tlsSecret('shop', shop),
      service({ host: 'shop', endpoints: [app] }),
      to('shop', ['shop.test'], 'shop'),
    ),
    [443],
  )
  const socket = tls.connect({
    port: proxy.port('0.0.0.0_443'),
    servername: 'shop.test',
    ca: root.certPem,
    ALPNProtocols: ['http/1.1'],
  })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  socket.write('GET /ws HTTP/1.1\r\nhost: shop.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n')
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  await eventually('the upgrade', () => text.includes('\r\n\r\n'))
  t.match(text, /^HTTP\/1\.1 101/)
  socket.write('ping')
  const connection = await app.nextConnection()
  t.equal((await connection.untilTunnelled(4)).toString(), 'ping')
})

t.test('TLS is passed on by its server name, and TCP as it is', async (t) => {
  const port = await freePort()
  const server = spawn(
    'openssl',
    ['s_server', '-accept', `127.0.0.1:${port}`, '-cert', shop.certFile, '-key', shop.keyFile, '-www'],
    { stdio: 'ignore' },
  )
  t.teardown(() => server.kill())
  const tcp = await EchoUpstream.start(t)
  const proxy = await startGateway(
    t,
    yaml(
      gateway('edge', [
        { port: { number: 443, name: 'tls', protocol: 'TLS' }, hosts: ['*.test'], tls: { mode: 'PASSTHROUGH' } },
        { port: { number: 5000, name: 'tcp', protocol: 'TCP' }, hosts: ['*'] },
        {
          port: { number: 6000, name: 'ended', protocol: 'TLS' },
          hosts: ['admin.test'],
          tls: { mode: 'SIMPLE', credentialName: 'admin' },
        },
      ]),
      tlsSecret('admin', admin),
      service({ host: 'secure', port: 8443, protocol: 'TCP', endpoints: [{ address: `127.0.0.1:${port}` }] }),
      service({ host: 'bytes', port: 5000, protocol: 'TCP', endpoints: [tcp] }),
      virtualService('secure', ['shop.test'], [], {
        gateways: ['edge'],
        tls: [{ match: [{ port: 443, sniHosts: ['shop.test'] }], route: [{ destination: { host: 'secure' } }] }],
      }),
      virtualService('bytes', ['*'], [], {
        gateways: ['edge'],
        tcp: [
          { match: [{ port: 5000 }], route: [{ destination: { host: 'bytes' } }] },
          { match: [{ port: 6000 }], route: [{ destination: { host: 'bytes' } }] },
        ],
      }),
    ),
    [443, 5000, 6000],
  )
  await eventually('openssl to listen', async () => (await curl(port, 'https://shop.test/')).code === 0)
  const answer = await curl(proxy.port('0.0.0.0_443'), 'https://shop.test/')
  t.match(answer.stdout, /s_server -accept/, answer.stderr)
  t.not((await curl(proxy.port('0.0.0.0_443'), 'https://other.test/')).code, 0, 'a name that nobody has')
  t.match((await curl(proxy.port('0.0.0.0_5000'), 'http://any.test/')).stdout, /^HTTP\/1\.1 200/)
  const ended = await curl(proxy.port('0.0.0.0_6000'), 'https://admin.test/', '--http1.1')
  t.match(ended.stdout, /^HTTP\/1\.1 200/, ended.stderr)
})

t.test('AUTO_PASSTHROUGH: mutual TLS of the mesh goes where its server name says', async (t) => {
  const offers = ['istio-peer-exchange', 'istio']
  const endpoints = await Promise.all(
    ['v1', 'v2'].map(async (version) => {
      const server = tls.createServer({ cert: shop.certPem, key: shop.keyPem, ALPNProtocols: offers }, (socket) => {
        socket.on('error', () => {})
        socket.end(version)
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.teardown(() => server.close())
      return { port: (server.address() as AddressInfo).port, version }
    }),
  )
  const entry = (name: string, location: string, number: number) => ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name, namespace: 'default' },
    spec: {
      hosts: [`${name}.mesh.test`],
      location,
      resolution: 'STATIC',
      ports: [{ number, name: 'tcp', protocol: 'TCP' }],
      endpoints: endpoints.map(({ port, version }) => ({ address: '127.0.0.1', ports: { tcp: port }, labels: { version } })),
    },
  })
  const rule = {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: 'shop', namespace: 'default' },
    spec: {
      host: 'shop.mesh.test',
      subsets: ['v1', 'v2'].map((version) => ({ name: version, labels: { version } })),
      // Of those who speak to it themselves; what is passed on has its TLS already.
      trafficPolicy: { tls: { mode: 'SIMPLE' } },
    },
  }
  const proxy = await startGateway(
    t,
    yaml(
      gateway('edge', [
        { port: { number: 15443, name: 'tls', protocol: 'TLS' }, hosts: ['*.mesh.test'], tls: { mode: 'AUTO_PASSTHROUGH' } },
      ]),
      entry('shop', 'MESH_INTERNAL', 5000),
      entry('outside', 'MESH_EXTERNAL', 5000),
      rule,
    ),
    [15443],
  )
  const port = proxy.port('0.0.0.0_15443')
  const asked = async (servername: string, ALPNProtocols = offers): Promise<string> => {
    const socket = tls.connect({ port, servername, ca: root.certPem, ALPNProtocols, checkServerIdentity: () => undefined })
    t.teardown(() => socket.destroy())
    let text = ''
    socket.on('error', () => {})
    socket.setEncoding('latin1').on('data', (d: string) => {
      text += d
    })
    await new Promise((resolve) => socket.on('close', resolve))
    return text
  }
  t.match(await asked('outbound_.5000_._.shop.mesh.test'), /^v[12]$/)
  for (const version of ['v1', 'v2'])
    for (let i = 0; i < 3; i++) t.equal(await asked(`outbound_.5000_.${version}_.shop.mesh.test`), version, 'a subset')
  for (const [what, name, alpn] of [
    ['a port that it has not', 'outbound_.5001_._.shop.mesh.test', offers],
    ['a subset that it has not', 'outbound_.5000_.v3_.shop.mesh.test', offers],
    ['the host alone', 'shop.mesh.test', offers],
    ['a service outside of the mesh', 'outbound_.5000_._.outside.mesh.test', offers],
    ['TLS that is not of the mesh', 'outbound_.5000_._.shop.mesh.test', ['h2', 'http/1.1']],
  ] as const)
    t.equal(await asked(name, [...alpn]), '', what)
  await proxy.logged({ upstream_cluster: 'outbound_.5000_.v2_.shop.mesh.test' })
})

t.test('Secrets come, change and break', async (t) => {
  const app = await EchoUpstream.start(t)
  const mesh = yaml(
    gateway('edge', [
      https('shop', ['shop.test'], { credentialName: 'shop' }),
      https('admin', ['admin.test'], { credentialName: 'admin' }),
    ]),
    service({ host: 'shop', endpoints: [app] }),
    to('shop', ['shop.test', 'admin.test'], 'shop'),
  )
  const proxy = await startGateway(t, { 'mesh.yaml': mesh, 'admin.yaml': yaml(tlsSecret('admin', admin)) }, [443])
  const port = proxy.port('0.0.0.0_443')
  t.not((await curl(port, 'https://shop.test/')).code, 0)
  t.match((await curl(port, 'https://admin.test/')).stdout, /^HTTP\/2 200/, 'the others serve')
  t.match(proxy.stderr, /waiting for the Secret default\/shop/)

  await proxy.reload({ 'shop.yaml': yaml(tlsSecret('shop', shop)) })
  await eventually('its certificate', async () => (await curl(port, 'https://shop.test/')).code === 0)

  const standing = tls.connect({ port, servername: 'shop.test', ca: root.certPem, ALPNProtocols: ['http/1.1'] })
  t.teardown(() => standing.destroy())
  await once(standing, 'secureConnect')
  const renewed = certificate('shop.test')
  await proxy.reload({ 'shop.yaml': yaml(tlsSecret('shop', renewed)) })
  const serial = async () =>
    (
      await run('sh', [
        '-c',
        `openssl s_client -connect 127.0.0.1:${port} -servername shop.test </dev/null 2>/dev/null | openssl x509 -noout -serial`,
      ])
    ).stdout
  const wanted = (await run('openssl', ['x509', '-noout', '-serial', '-in', renewed.certFile])).stdout
  await eventually('the new certificate', async () => (await serial()) === wanted)
  standing.write('GET /old HTTP/1.1\r\nhost: shop.test\r\n\r\n')
  const [bytes] = (await once(standing, 'data')) as [Buffer]
  t.match(bytes.toString('latin1'), /^HTTP\/1\.1 200/, 'a connection that stood goes on')

  const broken = tlsSecret('shop', { certPem: renewed.certPem, keyPem: shop.keyPem })
  await proxy.reload({ 'shop.yaml': yaml(broken) })
  await proxy.said(/Secret default\/shop is refused: .*the key is not that of the certificate.*keeps serving/)
  t.equal(await serial(), wanted)
  t.match((await curl(port, 'https://admin.test/')).stdout, /^HTTP\/2 200/)
  t.notMatch(proxy.stderr, /PRIVATE KEY/)
})

t.test('listeners come and go with their Gateways', async (t) => {
  const app = await EchoUpstream.start(t)
  const server = (number: number) => ({ port: { number, name: `http-${number}`, protocol: 'HTTP' }, hosts: ['*'] })
  const rest = [service({ host: 'shop', endpoints: [app] }), to('shop', ['shop.test'], 'shop')]
  const [first, second] = [await freePort(), await freePort()]
  const proxy = await startGateway(t, { 'rest.yaml': yaml(...rest), 'gw.yaml': yaml(gateway('edge', [server(first)])) }, [], {
    concurrency: 2,
  })
  t.match((await curl(first, 'http://shop.test/')).stdout, /200/)
  await proxy.reload({ 'gw.yaml': yaml(gateway('edge', [server(second)])) })
  t.match((await curl(second, 'http://shop.test/')).stdout, /200/)
  t.not((await curl(first, 'http://shop.test/')).code, 0, 'nobody listens any more')
  await proxy.reload({ 'gw.yaml': yaml(gateway('edge', [server(first), server(second)])) })
  for (const port of [first, second]) t.match((await curl(port, 'http://shop.test/')).stdout, /200/)
})
