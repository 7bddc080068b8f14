// A service of another network: a tunnel to its gateway, and in that tunnel another one to whoever the gateway picks. The gateway is of Node.js.
import t from 'tap'
import { canMakeNamespaces } from '../support/netns.ts'
import { certificate, curl, nodeMesh, said, serve } from '../support/node-mesh.ts'

t.setTimeout(180_000)
const skip = canMakeNamespaces()

const HOST = 'b.default.svc.cluster.local'
const GATEWAY = '10.10.0.4'

t.test('double HBONE', { skip }, async (t) => {
  const west = { network: 'west', services: { [`default/${HOST}`]: { 80: 8080, 90: 9000 } } }
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 1, workload: { ...west, networkGateway: { destination: `/${GATEWAY}`, hboneMtlsPort: 15008 } } },
      { name: 'gateway', node: 0, ambient: false, workload: { protocol: 'HBONE' } },
    ],
    services: [
      { name: 'b', namespace: 'default', hostname: HOST, vips: ['/10.96.0.1', 'west/10.96.0.1'], ports: { 80: 8080, 90: 9000 } },
    ],
  })
  const [a, b, gateway] = [mesh.pod('a'), mesh.pod('b'), mesh.pod('gateway')]
  t.equal(gateway.ipv4, GATEWAY)
  await serve(
    b,
    `require('http').createServer((q, s) => s.end('hello ' + q.socket.remoteAddress.replace('::ffff:', ''))).listen(8080, '::')`,
    8080,
  )
  await serve(
    gateway,
    `
    const server = require('http2').createSecureServer({ ...${await certificate(mesh, gateway.identity)}, requestCert: true })
    server.on('sessionError', () => {})
    server.on('stream', (stream, h) => {
      console.error(h[':method'], h[':authority'], String(h['x-forwarded-network']))
      const socket = require('net').connect(15008, '${b.ipv4}', () => stream.respond({ ':status': 200 }))
      stream.on('error', () => socket.destroy()).pipe(socket).on('error', () => stream.destroy()).pipe(stream)
    })
    server.listen(15008, '::')`,
    15008,
  )
  t.match(await curl(a, 'http://10.96.0.1/'), { code: 0, stdout: `hello ${GATEWAY}` }, 'the application sees the gateway')
  const sent = await mesh.proxyOf('a').logged({ direction: 'outbound', 'dst.hbone_addr': `${HOST}:80` })
  t.match(sent, { 'dst.addr': `${GATEWAY}:15008`, 'dst.identity': b.identity, 'src.identity': a.identity })
  t.notOk('error' in sent)
  const received = await mesh.proxyOf('b').logged({ direction: 'inbound', id: sent['id'] as string })
  t.match(received, { 'src.identity': a.identity, 'dst.addr': `${b.ipv4}:8080` }, 'the tunnel inside knows who sent it')

  const server = `
    const { createHash } = require('crypto')
    require('net').createServer({ allowHalfOpen: true }, (s) => {
      const hash = createHash('sha256')
      s.on('data', (d) => hash.update(d))
      s.on('end', () => { s.write(Buffer.alloc(4 << 20, 0xfe)); s.end(hash.digest('hex')) })
    }).listen(9000, '::')`
  await serve(b, server, 9000)
  const client = `
    const { createHash, randomBytes } = require('crypto')
    const s = require('net').connect({ host: '10.96.0.1', port: 90, allowHalfOpen: true })
    const [bytes, got] = [randomBytes(4 << 20), []]
    s.on('error', (e) => console.log(e.code)).on('data', (d) => got.push(d)).on('end', () => {
      const all = Buffer.concat(got)
      console.log(all.length - 64, all.subarray(-64).toString() === createHash('sha256').update(bytes).digest('hex'))
    })
    s.end(bytes)`
  t.equal(await said(a, client, 30_000), `${4 << 20} true`, 'bulk and half-close')
  await mesh.setPolicies([
    {
      name: 'nobody',
      namespace: 'default',
      scope: 'Namespace',
      action: 'Deny',
      rules: [[[{ principals: [{ Exact: a.identity.slice(9) }] }]]],
    },
  ])
  t.match(await curl(a, 'http://10.96.0.1/'), { refused: true }, 'by its policy the pod refuses')
  await mesh.proxyOf('a').logged({ direction: 'outbound', error: 'http status: 401 Unauthorized' })
})
