// Who is let in: PeerAuthentication's modes against a pod outside of the mesh, and peers with certificates that are not to be believed. A refusal is told on both sides.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { leafExtensions, OpensslCa, type OpensslCertificate } from '../support/openssl-ca.ts'
import { Mesh, type Pod } from './pods.ts'
import { echoed, echoServer } from './programs.ts'

t.setTimeout(170_000)
const skip = canMakeNamespaces()

const policy = (spec: string) => `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: api, namespace: default }
spec: ${spec}
`
/** A connection for each request, so that each has a handshake. */
const ONCE = ['api', 'holder']
  .map(
    (host) => `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ${host}, namespace: default }
spec: { host: ${host}, trafficPolicy: { connectionPool: { http: { maxRequestsPerConnection: 1 } } } }
`,
  )
  .join('')
const forApi = (rest: string) => policy(`{ selector: { matchLabels: { app: api } }, ${rest} }`)

/**
 * Loaded before heddle: what is held is checked as always, and what peers are shown is another certificate, once it is there. heddle itself refuses to
 * hold those that it is about.
 */
const showing = (cert: string, key: string) => `
import { existsSync, readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import tls from 'node:tls'
const [cert, key] = ${JSON.stringify([cert, key])}
const make = tls.createSecureContext
tls.createSecureContext = (options) =>
  make(options?.cert === undefined || !existsSync(key) ? options : { ...options, cert: readFileSync(cert), key: readFileSync(key) })
syncBuiltinESMExports()
`

const DAY = 86_400_000
const MINUTE = 60_000

t.test('peers', { skip }, async (t) => {
  const mesh = await Mesh.make(t, {
    pods: [
      { name: 'web', app: 'web', number: 11 },
      { name: 'api', app: 'api', number: 12 },
      { name: 'outsider', app: 'outsider', number: 13, mesh: false },
      { name: 'foreign', app: 'foreign', number: 14, trustDomain: 'other.example' },
      // Named as a member of the mesh: it has no sidecar, but a server with a certificate of its own.
      { name: 'impostor', app: 'impostor', number: 15 },
      // Its sidecar holds a good certificate, and shows the one that a test puts before it.
      { name: 'holder', app: 'holder', number: 16 },
    ],
    services: [
      {
        name: 'api',
        number: 1,
        pods: ['api'],
        ports: [
          { name: 'http', port: 80, target: 8080 },
          { name: 'http-more', port: 81, target: 8081 },
          { name: 'tcp', port: 82, target: 8082 },
        ],
      },
      { name: 'foreign', number: 2, pods: ['foreign'], ports: [{ name: 'http', port: 80, target: 8080 }] },
      { name: 'impostor', number: 3, pods: ['impostor'], ports: [{ name: 'http', port: 80, target: 8443 }] },
      { name: 'holder', number: 4, pods: ['holder'], ports: [{ name: 'http', port: 80, target: 8080 }] },
    ],
  })
  const [web, api, outsider, foreign, impostor, holder] = mesh.pods as [Pod, Pod, Pod, Pod, Pod, Pod]
  await api.serve(echoServer('api', 8080), echoServer('api', 8081), echoServer('api', 8082))
  await foreign.serve(echoServer('foreign', 8080))
  const elsewhere = path.join(mesh.dir, 'other-ca')
  await mesh.makeCa(elsewhere, 'other.example')
  await holder.serve(echoServer('holder', 8080))
  const shown = { cert: path.join(mesh.dir, 'shown-cert.pem'), key: path.join(mesh.dir, 'shown-key.pem') }
  const shows = path.join(mesh.dir, 'shows.mjs')
  writeFileSync(shows, showing(shown.cert, shown.key))
  await mesh.sidecars(['web', 'api', 'foreign', 'holder'], {
    foreign: { ca: elsewhere },
    holder: { nodeArgs: ['--import', shows] },
  })

  /** What came of a request: the status, `closed`, and whether the server knew who it was. */
  async function asks(from: Pod, target: string): Promise<string> {
    const { code, stdout } = await from.curl('--max-time', '8', '-w', '%{http_code}', `http://${target}/`)
    if (code === 52 || code === 56) return 'closed'
    const status = stdout.slice(-3)
    const known = (echoed(stdout)[0]?.headers['x-forwarded-client-cert'] ?? '').includes(`URI=${from.identity}`)
    return `${status}${known ? ' by mTLS' : ''}`
  }

  const direct = (port: number) => `${api.ip}:${port}`

  t.test('PERMISSIVE, which is the default, takes both', async (t) => {
    t.equal(await asks(web, 'api'), '200 by mTLS')
    t.equal(await asks(outsider, direct(8080)), '200')
    t.equal(await asks(outsider, direct(8082)), '200', 'bytes')
  })

  t.test('STRICT takes mutual TLS alone, and says so', async (t) => {
    await mesh.change({ 'peers.yaml': forApi('mtls: { mode: STRICT }') })
    t.equal(await asks(web, 'api'), '200 by mTLS')
    for (const port of [8080, 8082]) t.equal(await asks(outsider, direct(port)), 'closed', `plaintext to ${port}`)
    await api.sidecar.said(
      new RegExp(
        `a connection was refused: no filter chain takes plaintext.* to ${api.ip}:8080 listener=virtualInbound peer=${outsider.ip}`,
      ),
    )
    // To a port of nobody: it would be passed through.
    t.equal(await asks(outsider, direct(9999)), 'closed')
  })

  t.test('STRICT does not take TLS without a certificate', async (t) => {
    const { code } = await outsider.curl('-k', '--max-time', '8', `https://${direct(8080)}/`)
    t.not(code, 0)
    await api.sidecar.said(/TLS with a client failed: the client presented no certificate/)
  })

  t.test('portLevelMtls', async (t) => {
    await mesh.change({
      'peers.yaml': forApi('mtls: { mode: STRICT }, portLevelMtls: { 8081: { mode: PERMISSIVE }, 8082: { mode: DISABLE } }'),
    })
    t.equal(await asks(outsider, direct(8080)), 'closed')
    t.equal(await asks(outsider, direct(8081)), '200')
    t.equal(await asks(outsider, direct(8082)), '200')
    t.equal(await asks(web, 'api'), '200 by mTLS')
    t.equal(await asks(web, 'api:81'), '200 by mTLS')
    // Its clients know: they speak plaintext to it.
    t.equal(await asks(web, 'api:82'), '200')
  })

  t.test('DISABLE takes plaintext alone', async (t) => {
    await mesh.change({ 'peers.yaml': forApi('mtls: { mode: DISABLE }') })
    t.equal(await asks(web, 'api'), '200', 'its clients know')
    t.equal(await asks(outsider, direct(8080)), '200')
  })

  t.test('certificates of clients that are not believed', async (t) => {
    await mesh.change({ 'peers.yaml': forApi('mtls: { mode: STRICT }') })
    const ca = new OpensslCa(t)
    const ours = ca.adopt(path.join(mesh.ca, 'ca-cert.pem'), path.join(mesh.ca, 'ca-key.pem'))
    const now = Date.now()
    const past = { notBeforeMs: now - DAY, notAfterMs: now - 5 * MINUTE }
    const id = 'spiffe://cluster.local/ns/default/sa/web'
    const bad: readonly (readonly [string, OpensslCertificate, RegExp])[] = [
      [
        'another trust domain',
        ca.svid(ours, 'spiffe://other.example/ns/default/sa/web'),
        /the trust domain other\.example is not one of cluster\.local/,
      ],
      [
        'an expired certificate',
        ca.issue(ours, { extensions: leafExtensions([id]), validity: past }),
        /the certificate expired 5m/,
      ],
      [
        'two URI SANs',
        ca.svid(ours, id, 'spiffe://cluster.local/ns/default/sa/admin'),
        /the certificate has 2 URI SANs, where an SVID has exactly one/,
      ],
      [
        'another CA',
        ca.svid(ca.root('/O=other'), id),
        /the issuer of the certificate is neither in the chain nor among our roots/,
      ],
    ]
    const use = (certificate: OpensslCertificate) => {
      const files = [path.join(mesh.dir, 'peer-cert.pem'), path.join(mesh.dir, 'peer-key.pem')] as const
      writeFileSync(files[0], certificate.certPem, { mode: 0o644 })
      writeFileSync(files[1], certificate.keyPem, { mode: 0o644 })
      return ['-k', '--http1.1', '--max-time', '8', '--cert', files[0], '--key', files[1], `https://${direct(8080)}/`]
    }
    for (const [name, certificate, words] of bad) {
      const { code, stdout, stderr } = await outsider.curl(...use(certificate))
      t.not(code, 0, `${name}: refused`)
      t.equal(stdout, '', `${name}: not a byte of the application`)
      t.match(stderr, /alert|SSL|reset|Empty reply/i, `${name}: the client hears of it`)
      await api.sidecar.said(new RegExp(`TLS with a client failed: .*${words.source}`))
    }
    const good = await outsider.curl(...use(ca.svid(ours, id)))
    t.match(echoed(good.stdout)[0]?.headers['x-forwarded-client-cert'], `URI=${id}`, `a good one is believed: ${good.stderr}`)
  })

  t.test('certificates of servers that are not believed', async (t) => {
    const ca = new OpensslCa(t)
    const ours = ca.adopt(path.join(mesh.ca, 'ca-cert.pem'), path.join(mesh.ca, 'ca-key.pem'))
    const now = Date.now()
    const past = { notBeforeMs: now - DAY, notAfterMs: now - 5 * MINUTE }
    const id = impostor.identity
    const bad: readonly (readonly [string, OpensslCertificate, RegExp])[] = [
      [
        'another trust domain',
        ca.svid(ours, 'spiffe://other.example/ns/default/sa/impostor'),
        /the trust domain other\.example is not one of cluster\.local/,
      ],
      [
        'an expired certificate',
        ca.issue(ours, { extensions: leafExtensions([id]), validity: past }),
        /the certificate expired 5m/,
      ],
      ['two URI SANs', ca.svid(ours, id, web.identity), /the certificate has 2 URI SANs, where an SVID has exactly one/],
      ['somebody else of the mesh', ca.svid(ours, web.identity), new RegExp(`the server is ${web.identity}; expected ${id}`)],
    ]
    for (const [name, { certPem, keyPem }, words] of bad) {
      const roots = readFileSync(path.join(mesh.ca, 'root-cert.pem'), 'utf8')
      const options = JSON.stringify({ cert: certPem, key: keyPem, ca: roots, requestCert: true, rejectUnauthorized: false })
      const server =
        await impostor.serve(`require('https').createServer(${options}, (q, r) => { console.log('ASKED'); r.end('x') })
        .on('tlsClientError', (e) => console.log('refused: ' + e.message)).listen(8443, '::', () => console.log('on'))`)
      let said = ''
      server.stdout.on('data', (d) => {
        said += String(d)
      })
      t.equal(await asks(web, 'impostor'), '503', `${name}: the client gets 503`)
      await web.sidecar.said(new RegExp(`TLS with an endpoint failed: .*${words.source}`))
      t.notMatch(said, 'ASKED', `${name}: not a byte of the request`)
      const ended = new Promise((resolve) => server.on('close', resolve))
      server.kill('SIGKILL')
      await ended
    }
  })

  t.test('heddle at both ends, and one of them with a certificate that is not to be believed', async (t) => {
    await mesh.change({ 'peers.yaml': forApi('mtls: { mode: STRICT }'), 'once.yaml': ONCE })
    const ca = new OpensslCa(t)
    const ours = ca.adopt(path.join(mesh.ca, 'ca-cert.pem'), path.join(mesh.ca, 'ca-key.pem'))
    const now = Date.now()
    const past = { notBeforeMs: now - DAY, notAfterMs: now - 5 * MINUTE }
    const id = holder.identity
    const bad: readonly (readonly [string, OpensslCertificate, RegExp])[] = [
      [
        'another trust domain',
        ca.svid(ours, 'spiffe://other.example/ns/default/sa/holder'),
        /the trust domain other\.example is not one of cluster\.local/,
      ],
      [
        'an expired certificate',
        ca.issue(ours, { extensions: leafExtensions([id]), validity: past }),
        /the certificate expired 5m/,
      ],
      ['two URI SANs', ca.svid(ours, id, web.identity), /the certificate has 2 URI SANs, where an SVID has exactly one/],
    ]
    t.equal(await asks(holder, 'api'), '200 by mTLS', 'with a good one')
    t.equal(await asks(web, 'holder'), '200 by mTLS')
    const presented = new RegExp(`it has probably refused our certificate; we presented ${id}`).source
    for (const [name, { certPem, keyPem }, { source: words }] of bad) {
      writeFileSync(shown.cert, certPem)
      writeFileSync(shown.key, keyPem, { mode: 0o644 })
      // A certificate that is renewed is what makes heddle show another; and its peer resumes no session of before.
      await Promise.all([mesh.issue(holder), mesh.issue(web)])
      const count = (pod: Pod, what: RegExp) => pod.sidecar.stderr.match(what)?.length ?? 0
      for (const [from, to] of [
        [holder, api],
        [web, holder],
      ] as const) {
        const client = from === holder
        const verifier = client ? api : web
        const refusal = new RegExp(`TLS with ${client ? 'a client' : 'an endpoint'} failed: .*${words}`, 'g')
        const guess = new RegExp(`TLS with ${client ? 'an endpoint' : 'a client'} failed: .*${presented}`, 'g')
        const before = [count(verifier, refusal), count(holder, guess)] as const
        const where = `${name}, shown by the ${client ? 'client' : 'server'}`
        // A sidecar writes one record for each kind of fault and second.
        await eventually(`${where}: both say why`, async () => {
          await asks(from, to.spec.name)
          return count(verifier, refusal) > before[0] && count(holder, guess) > before[1]
        })
        t.equal(await asks(from, to.spec.name), '503', where)
      }
    }
    rmSync(shown.key)
    await mesh.issue(holder)
  })

  t.test('heddle does not hold such a certificate, and says why', async (t) => {
    const ca = new OpensslCa(t)
    const ours = ca.adopt(path.join(mesh.ca, 'ca-cert.pem'), path.join(mesh.ca, 'ca-key.pem'))
    const now = Date.now()
    const past = { notBeforeMs: now - DAY, notAfterMs: now - 5 * MINUTE }
    const id = web.identity
    const folder = mesh.certificatesOf(web)
    for (const [{ certPem, keyPem }, words] of [
      [ca.svid(ours, 'spiffe://other.example/ns/default/sa/web'), /is not of our trust domain cluster\.local/],
      [ca.issue(ours, { extensions: leafExtensions([id]), validity: past }), /the certificate expired at .*; our clock says/],
      [ca.svid(ours, id, holder.identity), /the certificate has 2 URI SANs, where an SVID has exactly one/],
    ] as const) {
      writeFileSync(path.join(folder, 'cert-chain.pem'), certPem)
      writeFileSync(path.join(folder, 'key.pem'), keyPem)
      await web.sidecar.said(words)
      t.equal(await asks(web, 'api'), '200 by mTLS', 'what was good before stays in force')
    }
    await mesh.issue(web)
  })

  t.test('two sidecars of different trust domains refuse each other, and each says why', async (t) => {
    t.equal(await asks(web, 'foreign'), '503', 'the client gets 503')
    await web.sidecar.said(/TLS with an endpoint failed: .*the trust domain other\.example is not one of cluster\.local/)
    await foreign.sidecar.said(/TLS with a client failed: .*we presented spiffe:\/\/other\.example\/ns\/default\/sa\/foreign/)
    await eventually('the refusal in the access log', () =>
      web.sidecar.accessLog().some((l) => /other\.example/.test(String(l['upstream_transport_failure_reason']))),
    )
  })
})
