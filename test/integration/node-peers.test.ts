// The two ends of a node's tunnel with others at the other end: HTTP/2 of Node.js and http2-wrapper, which know nothing of heddle.
import path from 'node:path'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { certificate, curl, nodeMesh, said, serve } from '../support/node-mesh.ts'
import { ROOT, runHeddle } from '../support/proxy.ts'

t.setTimeout(180_000)
const skip = canMakeNamespaces()

const ECHO = `require('net').createServer((s) => { s.write('from ' + s.remoteAddress.replace('::ffff:', '') + '\\n'); s.pipe(s) }).listen(9000, '::')`
const HELLO = `require('http').createServer((q, s) => s.end('hello ' + q.socket.remoteAddress.replace('::ffff:', ''))).listen(8080, '::')`

/** A CONNECT by Node's HTTP/2: `200 {baggage} text`, or what went wrong. */
function connect(credentials: string, to: string, headers: Readonly<Record<string, string>>, send = ''): string {
  return `
    const session = require('http2').connect('https://${to}:15008', { ...${credentials}, checkServerIdentity: () => undefined })
    const end = (text) => { console.log(text); session.destroy() }
    session.on('error', (e) => end('session: ' + e.code))
    session.on('goaway', () => {})
    const stream = session.request(${JSON.stringify(headers)}, { endStream: ${headers[':method'] !== 'CONNECT'} })
    stream.on('error', (e) => end('stream: ' + e.code))
    stream.on('response', (h) => {
      let text = h[':status'] + (h.baggage ? ' ' + h.baggage : '')
      if (h[':status'] !== 200) return end(text)
      stream.setEncoding('latin1').on('data', (d) => text += ' ' + JSON.stringify(d)).on('end', () => end(text))
      stream.end(${JSON.stringify(send)})
    })`
}

t.test('tunnels to a pod', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'b', node: 0 },
      { name: 'peer', node: 0, ambient: false },
      { name: 'proxied', node: 0, workload: { applicationTunnel: { protocol: 'PROXY', port: 9100 } } },
    ],
    bootstrap: { node: {} },
  })
  const [b, peer, proxied] = [mesh.pod('b'), mesh.pod('peer'), mesh.pod('proxied')]
  const proxy = mesh.proxyOf('b')
  await serve(b, ECHO, 9000)
  await serve(b, HELLO, 8080)
  const mine = await certificate(mesh, peer.identity)

  await t.test('what a CONNECT is answered', async (t) => {
    const cases: readonly (readonly [string, Readonly<Record<string, string>>, string | RegExp])[] = [
      [
        'the application is there, and sees who asks',
        { ':method': 'CONNECT', ':authority': `${b.ipv4}:9000`, traceparent: `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-00` },
        /^200 k8s\.cluster\.name=cluster1,k8s\.namespace\.name=default,k8s\.deployment\.name=b,service\.name=b .*from 10\.10\.0\.3/,
      ],
      ['nobody is there', { ':method': 'CONNECT', ':authority': `${b.ipv4}:9999` }, '503'],
      ['one of its own ports', { ':method': 'CONNECT', ':authority': `${b.ipv4}:15008` }, '503'],
      ['somebody else', { ':method': 'CONNECT', ':authority': `${peer.ipv4}:9000` }, '400'],
      ['its loopback', { ':method': 'CONNECT', ':authority': '127.0.0.1:9000' }, '400'],
      ['no address', { ':method': 'CONNECT', ':authority': 'no_port' }, '400'],
      ['a name that nobody has', { ':method': 'CONNECT', ':authority': 'nobody.example:80' }, '503'],
      ['another method', { ':method': 'GET', ':path': '/', ':scheme': 'https', ':authority': `${b.ipv4}:9000` }, '400'],
    ]
    for (const [what, headers, expected] of cases)
      t.match(await said(peer, connect(mine, b.ipv4, headers, 'ping')), expected, what)
    t.match(
      await proxy.logged({ id: 'ab'.repeat(16) }),
      { 'src.identity': peer.identity, bytes_recv: 4 },
      'the trace of the other end is the id here',
    )
    t.match(
      await said(peer, connect(mine, `[${b.ipv6}]`, { ':method': 'CONNECT', ':authority': `[${b.ipv6}]:9000` })),
      /from fd10::3/,
      'IPv6',
    )
  })

  await t.test('who is no peer', async (t) => {
    const to = { ':method': 'CONNECT', ':authority': `${b.ipv4}:9000` }
    const foreignCa = path.join(mesh.folder, 'foreign')
    await runHeddle(['ca', 'init', '--out', foreignCa, '--trust-domain', 'cluster.local'])
    const otherDomain = path.join(mesh.folder, 'other-domain')
    await runHeddle(['ca', 'init', '--out', otherDomain, '--trust-domain', 'other.example'])
    const { ca } = JSON.parse(mine) as { ca: string }
    for (const [what, credentials, words] of [
      ['without a certificate', JSON.stringify({ ca }), /presented no certificate/],
      ['of a foreign CA', await certificate(mesh, peer.identity, foreignCa), /./],
      ['of another trust domain', await certificate(mesh, 'spiffe://other.example/ns/default/sa/peer', otherDomain), /tls error/],
    ] as const) {
      const lines = () => proxy.accessLog().filter((l) => l['level'] === 'warn' && /^tls error/.test(String(l['error'])))
      const before = lines().length
      t.notMatch(await said(peer, connect(credentials, b.ipv4, to)), /^\d/, what)
      await eventually(`a line about a peer ${what}`, () => lines().length > before)
      t.match(lines().at(-1)?.['error'], words, what)
      t.equal(lines().at(-1)?.['message'], 'connection failed')
    }
  })

  await t.test('a request by http2-wrapper inside of a tunnel', async (t) => {
    const script = `
      const http2 = require(${JSON.stringify(path.join(ROOT, 'node_modules/http2-wrapper'))})
      const http = require('http')
      // It wants the host's name in the certificate of a proxy; one of a mesh has none.
      const createConnection = () => new Promise((resolve) => {
        const socket = require('tls').connect({ host: '${b.ipv4}', port: 15008, servername: 'b.test', ALPNProtocols: ['h2'], ...${mine}, checkServerIdentity: () => undefined }, () => {
          socket.getPeerX509Certificate = undefined
          resolve(socket)
        })
      })
      const agent = new http2.proxies.HttpOverHttp2({ proxyOptions: { url: 'https://b.test:15008', createConnection } })
      http.get({ host: '${b.ipv4}', port: 8080, path: '/', agent }, (r) => r.on('data', (d) => { console.log(String(d)); process.exit(0) }))
        .on('error', (e) => { console.log('error ' + e.message); process.exit(1) })`
    t.equal(await said(peer, script), `hello ${peer.ipv4}`)
  })

  await t.test('an application that ends tunnels itself gets a PROXY header on its loopback', async (t) => {
    await serve(
      proxied,
      `require('net').createServer((s) => s.once('data', (d) => s.end(d.toString('hex')))).listen(9100, '127.0.0.1')`,
      9100,
    )
    const answer = await said(peer, connect(mine, proxied.ipv4, { ':method': 'CONNECT', ':authority': '10.96.0.9:80' }))
    const [, hex = ''] = /"([0-9a-f]+)"/.exec(answer) ?? []
    const identity = Buffer.from(peer.identity)
    const length = 12 + 3 + identity.length
    t.match(hex, new RegExp(`^0d0a0d0a000d0a515549540a2111${length.toString(16).padStart(4, '0')}0a0a00030a600009`))
    t.match(hex, new RegExp(`0050d0${identity.length.toString(16).padStart(4, '0')}${identity.toString('hex')}$`))
  })
})

t.test('tunnels from a pod', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'peer', node: 0, ambient: false, workload: { protocol: 'HBONE' } },
      { name: 'liar', node: 0, ambient: false, workload: { protocol: 'HBONE' } },
    ],
  })
  const [a, peer, liar] = [mesh.pod('a'), mesh.pod('peer'), mesh.pod('liar')]
  const proxy = mesh.proxyOf('a')
  /** Ends tunnels: answers with what it was told, by Node's HTTP/2. */
  const server = (credentials: string) => `
    const server = require('http2').createSecureServer({ ...${credentials}, requestCert: true })
    server.on('stream', (stream, h) => {
      const cert = stream.session.socket.getPeerCertificate()
      stream.respond({ ':status': 200 })
      const told = [h[':method'], h[':authority'], h.baggage, h.forwarded, h.traceparent, cert.subjectaltname, 'path' + h[':path'], 'sni' + stream.session.socket.servername]
      stream.end(JSON.stringify(told) + '\\n')
    })
    server.on('sessionError', () => {})
    server.listen(15008, '::')`
  await serve(peer, server(await certificate(mesh, peer.identity)), 15008)
  await serve(liar, server(await certificate(mesh, peer.identity)), 15008)
  const { stdout } = await curl(a, `telnet://${peer.ipv4}:7777`)
  t.match(JSON.parse(stdout || '[]'), [
    'CONNECT',
    `${peer.ipv4}:7777`,
    'k8s.cluster.name=cluster1,k8s.namespace.name=default,k8s.deployment.name=a,service.name=a',
    new RegExp(`^for="${a.ipv4}:\\d+"$`),
    /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/,
    `URI:${a.identity}`,
    'pathundefined',
    'snifalse',
  ])
  t.match(await curl(a, `telnet://${liar.ipv4}:7777`), { refused: true, stdout: '' }, 'who is somebody else is told nothing')
  const line = await proxy.logged({ 'dst.workload': 'liar' })
  t.match(line['error'], new RegExp(`^tls error: .*${liar.identity}`))
  const failed = (await proxy.metrics()).find('istio_tcp_connections_failed_total', { response_flags: 'TLS_FAILURE' })
  t.equal(failed.length, 1)
})
