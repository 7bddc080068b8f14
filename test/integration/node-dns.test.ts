// Questions for names from pods of a node: the rules of ambient pods lead them to 15053, where the node's tunnel answers as each pod sees the mesh.
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { nodeMesh, said } from '../support/node-mesh.ts'
import { ZdsAgent } from '../support/zds-agent.ts'

t.setTimeout(180_000)
const skip = canMakeNamespaces()

/** Knows one name, over UDP and TCP, and says from where it was asked. */
const RESOLVER = `
const asked = (q, from) => {
  const end = q.indexOf(0, 12) + 5, name = q.toString('latin1', 13, 13 + q[12])
  console.log(name + ' ' + from)
  const known = name === 'outside' && q[end - 3] === 1
  const h = Buffer.from([q[0], q[1], 0x81, known ? 0x80 : 0x83, 0, 1, 0, known ? 1 : 0, 0, 0, 0, 0])
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7])
  return Buffer.concat([h, q.subarray(12, end), ...(known ? [answer] : [])])
}
const udp = require('dgram').createSocket('udp4')
udp.on('message', (q, from) => udp.send(asked(q, from.address), from.port, from.address)).bind(53, '10.10.0.1')
require('net').createServer((s) => s.on('data', (d) => {
  const a = asked(d.subarray(2), s.remoteAddress)
  s.end(Buffer.concat([Buffer.from([a.length >> 8, a.length & 255]), a]))
})).listen(53, '10.10.0.1')`
/** What the resolver of an application gets that is configured to ask the cluster's DNS. */
const lookup = (name: string, type = 'A') =>
  `const r = new (require('dns').promises.Resolver)({ tries: 1, timeout: 4000 }); r.setServers(['10.10.0.1'])
r.resolve('${name}', '${type}').then((a) => console.log(a.join(' ')), (e) => console.log(e.code))`
/** A question over TCP for \`outside.example.com\`. */
const overTcp = `const q = Buffer.from('000701000001000000000000076f757473696465076578616d706c6503636f6d0000010001', 'hex')
const s = require('net').connect(53, '10.10.0.1', () => s.write(Buffer.concat([Buffer.from([0, q.length]), q])))
s.on('data', (d) => { console.log(d.subarray(-4).join('.')); s.destroy() })`

const service = (hostname: string, namespace: string, vips: string[]) => ({
  ...{ name: hostname.split('.')[0], namespace, hostname, vips, ports: { 80: 8080 } },
})

t.test('names of the mesh are answered, others passed on from inside of the pod', { skip }, async (t) => {
  const hostname = 'b.default.svc.cluster.local'
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 0, workload: { services: { [`default/${hostname}`]: { 80: 8080 } } } },
    ],
    services: [service(hostname, 'default', ['/10.96.0.1', '/fd96::1']), service('outside.internal', 'default', ['/10.96.0.2'])],
    bootstrap: { dns: { port: 15_053, servers: ['10.10.0.1:53'] } },
  })
  const a = mesh.pod('a')
  const resolver = mesh.router.spawn(process.execPath, ['-e', RESOLVER])
  let heard = ''
  resolver.stdout.on('data', (d) => {
    heard += d
  })
  await eventually('the resolver to listen', () => /:0035 /.test(mesh.router.run('cat', '/proc/net/udp', '/proc/net/tcp')))

  for (const [what, name, type, expected] of [
    ['a service by its name', hostname, 'A', '10.96.0.1'],
    ['by IPv6', hostname, 'AAAA', 'fd96::1'],
    ['as short as in its namespace', 'b', 'A', '10.96.0.1'],
    ['a host of the mesh elsewhere', 'outside.internal', 'A', '10.96.0.2'],
    ['it has no such address', 'outside.internal', 'AAAA', 'ENODATA'],
    ['a name that others know', 'outside.example.com', 'A', '192.0.2.7'],
    ['nobody knows it', 'nowhere.example.com', 'A', 'ENOTFOUND'],
  ] as const)
    t.equal(await said(a, lookup(name, type)), expected, what)
  t.equal(await said(a, overTcp), '192.0.2.7', 'over TCP')
  t.same(
    heard.trim().split('\n'),
    [`outside ${a.ipv4}`, `nowhere ${a.ipv4}`, `outside ${a.ipv4}`],
    'what is of the mesh is asked of nobody, and the rest by the pod',
  )
  const metrics = await mesh.proxyOf('a').metrics()
  t.equal(metrics.value('heddle_dns_queries_total', { outcome: 'table' }), 5)
  t.equal(metrics.value('heddle_dns_queries_total', { outcome: 'upstream' }), 3)
})

t.test('of a pod that the agent hands over, from when it is answered until the pod is taken back', { skip }, async (t) => {
  const agent = await ZdsAgent.start(t)
  const mesh = await nodeMesh(t, {
    pods: [{ name: 'a', node: 0 }],
    services: [service('b.default.svc.cluster.local', 'default', ['/10.96.0.1'])],
    bootstrap: { dns: { port: 15_053, servers: ['10.10.0.1:53'] } },
    withoutHeddle: [0],
  })
  const starting = mesh.startNode(t, 0, { node: { agentSocket: agent.socket, pods: [] } })
  await agent.connected()
  const a = mesh.pod('a')
  t.equal(await agent.add({ uid: 'uid-a', name: 'a', netns: a.namespace.path }), '')
  t.equal(await said(a, lookup('b')), '10.96.0.1')
  t.equal(await agent.snapshotSent(), '')
  await starting
  t.equal(await agent.del('uid-a'), '')
  t.equal(await said(a, lookup('b')), 'ECONNREFUSED')
})
