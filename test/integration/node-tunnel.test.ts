// The node role with real pods and unmodified programs in them: what they see of each other through the tunnels of one node and of two.
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import type { Metrics } from '../support/metrics.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { curl, nodeMesh, type Pod, said, serve } from '../support/node-mesh.ts'

t.setTimeout(180_000)
const skip = canMakeNamespaces()

const HELLO = `require('http').createServer((q, s) => s.end('hello ' + q.socket.remoteAddress.replace('::ffff:', ''))).listen(8080, '::')`
const REFUSED = { refused: true }
const SERVICE = {
  name: 'b',
  namespace: 'default',
  hostname: 'b.default.svc.cluster.local',
  vips: ['/10.96.0.1', '/fd96::1'],
  ports: { 80: 8080 },
}
const OF_SERVICE = { services: { 'default/b.default.svc.cluster.local': { 80: 8080 } } }

for (const [title, nodes] of [
  ['two pods of one node', [0, 0]],
  ['two pods of two nodes', [0, 1]],
] as const) {
  t.test(title, { skip }, async (t) => {
    const mesh = await nodeMesh(t, {
      pods: [
        { name: 'a', node: nodes[0] },
        { name: 'b', node: nodes[1], workload: OF_SERVICE },
        { name: 'outside', node: 0, ambient: false },
      ],
      services: [SERVICE],
    })
    const [a, b, outside] = [mesh.pod('a'), mesh.pod('b'), mesh.pod('outside')]
    const [ofA, ofB] = [mesh.proxyOf('a'), mesh.proxyOf('b')]
    await serve(b, HELLO, 8080)
    await serve(outside, HELLO, 8080)

    for (const [way, address, client] of [
      ['by the address of the pod', b.ipv4, a.ipv4],
      ['by that of the service', '10.96.0.1:80', a.ipv4],
      ['by IPv6', `[${b.ipv6}]`, a.ipv6],
      ['by the IPv6 address of the service', '[fd96::1]:80', a.ipv6],
    ] as const) {
      const url = `http://${address}${address.endsWith(':80') ? '' : ':8080'}/`
      t.match(await curl(a, url), { code: 0, stdout: `hello ${client}` }, way)
    }
    const sent = await ofA.logged({ direction: 'outbound', 'src.workload': 'a' })
    t.match(
      sent,
      {
        level: 'info',
        message: 'connection complete',
        'src.addr': new RegExp(`^${a.ipv4}:`),
        'src.workload': 'a',
        'src.identity': a.identity,
        'dst.addr': `${b.ipv4}:15008`,
        'dst.hbone_addr': `${b.ipv4}:8080`,
        'dst.workload': 'b',
        'dst.identity': b.identity,
        bytes_recv: Number,
        duration: /^\d+ms$/,
      },
      'the client’s side says who, whom and how much',
    )
    const received = await ofB.logged({ direction: 'inbound', id: sent['id'] as string })
    t.match(
      received,
      {
        'src.addr': new RegExp(`^${a.ipv4}:`),
        'src.identity': a.identity,
        'dst.addr': `${b.ipv4}:8080`,
        'dst.identity': b.identity,
        bytes_sent: sent['bytes_recv'],
        bytes_recv: sent['bytes_sent'],
      },
      'the server’s side says the same of the same id',
    )
    const explained = await ofA.explain(sent['id'] as string)
    t.match(JSON.stringify(explained), /from workload default\/a, as spiffe:.*dials .*:15008 with mTLS/, 'it can be explained')
    await ofA.logged({ 'dst.service': SERVICE.hostname, direction: 'outbound' })

    t.match(
      await curl(a, `http://${outside.ipv4}:8080/`),
      { code: 0, stdout: `hello ${a.ipv4}` },
      'who is not in the mesh is spoken to in plain text',
    )
    await ofA.logged({ 'dst.addr': `${outside.ipv4}:8080`, 'dst.workload': 'outside' })
    t.match(
      await curl(outside, `http://${b.ipv4}:8080/`),
      { code: 0, stdout: `hello ${outside.ipv4}` },
      'and speaks to a pod of it in plain text, with its own address',
    )
    const plain = await ofB.logged({ 'src.workload': 'outside', direction: 'inbound' })
    t.notOk('src.identity' in plain, 'nobody knows who it is')
    t.match(await curl(a, `http://${a.ipv4}:15001/`), REFUSED, 'own ports are refused')
    t.match(await curl(outside, `http://${b.ipv4}:15006/`), REFUSED, 'those of others, too')
    t.match(await curl(a, `http://${b.ipv4}:15001/`), REFUSED)
    t.match(await curl(a, `http://${b.ipv4}:9999/`), REFUSED, 'an application that is not there')
    await ofA.logged({ 'dst.hbone_addr': `${b.ipv4}:9999`, error: 'http status: 503 Service Unavailable' })
    await ofB.logged({ 'dst.hbone_addr': `${b.ipv4}:9999`, error: 'connection failed: ECONNREFUSED' })

    const metrics = await ofA.metrics()
    const series = {
      reporter: 'source',
      source_principal: a.identity,
      destination_principal: b.identity,
      source_workload: 'a',
      destination_workload: 'b',
      destination_service: SERVICE.hostname,
      request_protocol: 'tcp',
      connection_security_policy: 'mutual_tls',
    }
    t.equal(sumOf(metrics, 'istio_tcp_connections_opened_total', series), 2)
    t.equal(sumOf(metrics, 'istio_tcp_connections_closed_total', series), 2)
    t.ok(sumOf(metrics, 'istio_tcp_sent_bytes_total', series) > 200, 'sent to the client')
    t.ok(sumOf(metrics, 'istio_tcp_received_bytes_total', series) > 100, 'received from it')
    t.ok(sumOf(metrics, 'istio_tcp_connections_failed_total', { response_flags: 'CONNECT' }) > 0)
    t.equal(sumOf(metrics, 'istio_tcp_sockets_open', { reporter: 'source' }), 0)
  })
}

t.test('programs that begin, that half-close and that speak no text', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 1 },
    ],
  })
  const [a, b] = [mesh.pod('a'), mesh.pod('b')]
  await t.test('a server that speaks first', async (t) => {
    await serve(b, `require('net').createServer((s) => s.end('220 mail ready\\r\\n')).listen(2525, '::')`, 2525)
    t.match(await curl(a, `telnet://${b.ipv4}:2525`), { code: 0, stdout: '220 mail ready' })
  })
  await t.test('ten mebibytes each way, told by their ends', async (t) => {
    const server = `
      const { createHash } = require('crypto')
      require('net').createServer({ allowHalfOpen: true }, (s) => {
        const hash = createHash('sha256')
        s.on('data', (d) => hash.update(d))
        s.on('end', () => { s.write(Buffer.alloc(10 << 20, 0xfe)); s.end(hash.digest('hex')) })
      }).listen(9000, '::')`
    await serve(b, server, 9000)
    const client = `
      const { createHash, randomBytes } = require('crypto')
      const s = require('net').connect({ host: '${b.ipv4}', port: 9000, allowHalfOpen: true })
      const bytes = randomBytes(10 << 20)
      const got = []
      s.on('data', (d) => got.push(d))
      s.on('end', () => {
        const all = Buffer.concat(got)
        const hash = createHash('sha256').update(bytes).digest('hex')
        console.log(all.length - 64, all.subarray(-64).toString() === hash, all.subarray(0, -64).every((x) => x === 0xfe))
      })
      s.end(bytes)`
    t.equal(await said(a, client, 30_000), `${10 << 20} true true`)
  })
  await t.test('a reset is a reset', async (t) => {
    await serve(b, `require('net').createServer((s) => s.on('data', () => s.resetAndDestroy())).listen(9001, '::')`, 9001)
    const client = `
      const s = require('net').connect(9001, '${b.ipv4}', () => s.write('x'))
      s.on('error', (e) => console.log(e.code))
      s.on('end', () => console.log('end'))`
    t.equal(await said(a, client), 'ECONNRESET')
  })
  await t.test('two hundred connections at once', async (t) => {
    await serve(b, `require('net').createServer((s) => s.pipe(s)).listen(9002, '::', 1000)`, 9002)
    const client = `
      const net = require('net')
      let open = 0, ended = 0, failed = 0
      const all = Array.from({ length: 200 }, (_, i) => {
        const s = net.connect(9002, '${b.ipv4}', () => s.write('n' + i))
        s.on('error', () => failed++)
        s.on('data', (d) => { if (String(d) === 'n' + i && ++open === 200) for (const x of all) x.end() })
        s.on('close', () => { if (++ended === 200) console.log(open, failed) })
        return s
      })`
    t.equal(await said(a, client, 30_000), '200 0')
  })
})

t.test('who may come', { skip }, async (t) => {
  const allow = (principal: string) => ({
    name: 'callers',
    namespace: 'default',
    scope: 'Namespace',
    action: 'Allow',
    rules: [[[{ principals: [{ Exact: principal }] }]]],
  })
  const strict = {
    name: 'strict',
    namespace: 'default',
    scope: 'Namespace',
    action: 'Deny',
    rules: [[[{ notPrincipals: ['Presence'] }]]],
  }
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'c', node: 0 },
      { name: 'b', node: 1 },
      { name: 'outside', node: 0, ambient: false },
    ],
    policies: [allow('cluster.local/ns/default/sa/a')],
  })
  const [a, b, c, outside] = ['a', 'b', 'c', 'outside'].map((name) => mesh.pod(name)) as [Pod, Pod, Pod, Pod]
  await serve(b, HELLO, 8080)
  const url = `http://${b.ipv4}:8080/`
  t.match(await curl(a, url), { code: 0 }, 'who is allowed')
  t.match(await curl(c, url), REFUSED, 'who is not')
  await mesh.proxyOf('c').logged({ 'src.workload': 'c', error: 'http status: 401 Unauthorized' })
  const refused = await mesh.proxyOf('b').logged({ 'src.workload': 'c', direction: 'inbound' })
  t.equal(refused['error'], 'connection closed due to policy rejection: allow policies exist, but none allowed')
  t.match(JSON.stringify(await mesh.proxyOf('b').explain(refused['id'] as string)), /none of 1 ALLOW policy fits/)
  t.match(await curl(outside, url), REFUSED, 'and who has no identity')
  await mesh.setPolicies([strict])
  t.match(await curl(c, url), { code: 0 }, 'STRICT: whoever has one')
  t.match(await curl(outside, url), REFUSED, 'and nobody else')
  const denied = await mesh.proxyOf('b').loggedLike((l) => l['src.workload'] === 'outside' && /strict/.test(String(l['error'])))
  t.equal(denied['error'], 'connection closed due to policy rejection: explicitly denied by: default/strict')
  await mesh.setPolicies([])
  t.match(await curl(outside, url), { code: 0 }, 'PERMISSIVE: everybody')

  await serve(b, `require('net').createServer((s) => s.on('error', () => {}).write('hi')).listen(9000, '::')`, 9000)
  const client = `
    const s = require('net').connect(9000, '${b.ipv4}')
    s.on('error', (e) => console.log(e.code))
    s.on('data', () => console.error('open'))`
  const waiting = [a, c].map((pod) => pod.namespace.spawn(process.execPath, ['-e', client]))
  const outcomes = waiting.map((child) => {
    const out = { text: '', open: false }
    child.stdout.on('data', (d) => {
      out.text += d
    })
    child.stderr.on('data', () => {
      out.open = true
    })
    return out
  })
  await eventually('open connections', () => outcomes.every((o) => o.open))
  await mesh.setPolicies([allow('cluster.local/ns/default/sa/a')])
  await eventually('the end of what is denied now', () => outcomes[1]?.text === 'ECONNRESET\n')
  t.equal(outcomes[0]?.text, '', 'what is allowed stays open')
  await mesh.proxyOf('b').logged({ 'src.workload': 'c', error: 'connection closed due to policy change' })
})

function sumOf(metrics: Metrics, name: string, labels: Readonly<Record<string, string>>): number {
  return metrics.find(name, labels).reduce((sum, sample) => sum + sample.value, 0)
}
