// A real ztunnel and heddle, when one of them ends, begins, or takes over from the other; and the ways between them that go through a gateway, or to an application that
// ends tunnels itself.
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { eventually } from '../support/eventually.ts'
import { handOver } from '../support/fed-node.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { type Pod, serve } from '../support/node-mesh.ts'
import { hostOf, throughWaypoint } from '../support/workload-feed.ts'
import { findZtunnel } from '../support/ztunnel.ts'
import { lateClient } from './programs.ts'
import { ask, curl, direct, FIRST, HEDDLE_NODE, idle, LATE, MIB, node, PLAIN, servers, ZtunnelMesh } from './ztunnel-mesh.ts'

t.setTimeout(170_000)
const skip = findZtunnel().skip || canMakeNamespaces()

const SERVICES = { zb: direct('zb', 1), hb: direct('hb', 2) } as const
type Server = keyof typeof SERVICES

t.test('ends and beginnings', { skip }, async (t) => {
  const world = await ZtunnelMesh.start(t, [
    { name: 'za', node: 0 },
    { name: 'zb', node: 1 },
    { name: 'ha', node: HEDDLE_NODE },
    { name: 'hb', node: HEDDLE_NODE },
  ])
  const { feed, tunnels } = world
  const [za, zb, ha, hb] = [...world.mesh.pods.values()] as [Pod, Pod, Pod, Pod]
  for (const pod of [za, ha]) feed.workload(pod)
  for (const [name, service] of Object.entries(SERVICES)) {
    feed.workload(world.pod(name), [service])
    feed.service(service)
  }
  await Promise.all([zb, hb].map((pod) => serve(pod, servers(pod.name), FIRST)))
  await world.handOver()
  const proxy = await world.startNode(t)
  const { vip } = SERVICES.zb
  const well = async (from: Pod, to: Server, what: string) =>
    t.match(await ask(from, `http://${SERVICES[to].vip}/x`), { pod: to, from: from.ipv4 }, what)

  const drained = idle(ha, vip)
  await drained.open()
  const stopped = tunnels[1].stop()
  await eventually('ztunnel to drain', () => /drain/i.test(tunnels[1].log))
  t.equal(await drained.done(), 'well', 'what was open is carried on behind GOAWAY')
  await stopped
  t.equal((await curl(ha, `http://${vip}/x`)).stdout, '', 'nobody is there')
  await proxy.loggedLike((l) => l['direction'] === 'outbound' && /^connection failed: .*ECONNREFUSED/.test(String(l['error'])))
  await tunnels[1].run()
  await handOver(tunnels[1].agent, [zb], 2)
  await well(ha, 'zb', 'ztunnel is back')

  const cut = idle(ha, vip)
  await cut.open()
  await tunnels[1].kill()
  t.equal(await cut.closed(), 'closed one', 'ztunnel was killed')
  await tunnels[1].run()
  await handOver(tunnels[1].agent, [zb], 3)
  await well(ha, 'zb', 'and is back')

  const ours = idle(za, SERVICES.hb.vip)
  await ours.open()
  const ended = proxy.stop()
  await proxy.said(/draining/)
  t.equal(await ours.done(), 'well', 'heddle carries on what was open')
  t.match(await ended, { code: 0 })
  t.notMatch(tunnels[0].log, /UnexpectedEof|h2 failed|Error in HBONE/, 'and ends as TLS and HTTP/2 have it')
  const second = await world.startNode(t)
  await well(za, 'hb', 'heddle is back')
  const lost = idle(za, SERVICES.hb.vip)
  await lost.open()
  second.signal('SIGKILL')
  t.equal(await lost.closed(), 'closed one', 'heddle was killed')

  // One takes over from the other, without a moment in which nobody listens.
  const third = await world.startNode(t, [zb])
  await well(za, 'hb', 'and is back')
  await tunnels[1].stop()
  await well(za, 'zb', 'heddle has taken over from ztunnel')
  await third.logged({ direction: 'inbound', 'dst.identity': zb.identity })
  await tunnels[1].run()
  await handOver(tunnels[1].agent, [zb], 4)
  t.match(await third.stop(), { code: 0 })
  await well(za, 'zb', 'ztunnel has taken over from heddle')
})

t.test('by a gateway to another network, and to applications that end tunnels themselves', { skip }, async (t) => {
  const world = await ZtunnelMesh.start(t, [
    { name: 'za', node: 0 },
    { name: 'zb', node: 1 },
    { name: 'ha', node: HEDDLE_NODE },
    { name: 'hb', node: HEDDLE_NODE },
    { ...PLAIN, name: 'gateway' },
    { name: 'zp', node: 1 },
    { name: 'hp', node: HEDDLE_NODE },
  ])
  const { feed, tunnels, mesh, plane } = world
  const [za, zb, ha, hb, gateway, zp, hp] = [...mesh.pods.values()] as [Pod, Pod, Pod, Pod, Pod, Pod, Pod]
  // Certificates are renewed in the middle of their lives, several times meanwhile. A ztunnel asks for them as soon as it is told of a workload.
  world.ca.lifetimeMs = 16_000
  world.ca.backdatedMs = 1000
  for (const pod of [za, ha, zb, hb, gateway]) feed.workload(pod)
  const proxied = { zp: direct('zp', 3), hp: direct('hp', 4) }
  for (const [name, service] of Object.entries(proxied)) {
    feed.workload(world.pod(name), [service], { application_tunnel: { protocol: 1, port: 9100 } })
    feed.service(service)
  }
  // Each has a service far away, whose only endpoint there has no address that could be reached.
  const far = { zb: direct('far-zb', 1), hb: direct('far-hb', 2) }
  for (const [name, service] of Object.entries(far)) {
    const pod = world.pod(name)
    feed.service({ ...service, more: { subject_alt_names: [pod.identity] } })
    const ports = Object.entries(service.ports).map(([port, target]) => ({ service_port: Number(port), target_port: target }))
    const workload = {
      uid: `west//Pod/default/${name}`,
      name: `west-${name}`,
      namespace: 'default',
      service_account: name,
      network: 'west',
      tunnel_protocol: 1,
      network_gateway: throughWaypoint(gateway.ipv4),
      services: { [`default/${hostOf(service.name)}`]: { ports } },
    }
    feed.put(XDS.address, workload.uid, { workload })
  }
  await Promise.all([zb, hb].map((pod) => serve(pod, servers(pod.name), FIRST)))
  const app = `require('net').createServer((s) => s.once('data', (d) => s.end(d.toString('hex')))).listen(9100, '127.0.0.1')`
  await Promise.all([zp, hp].map((pod) => serve(pod, app, 9100)))
  // It ends the outer tunnel, and knows by its authority where the inner one goes.
  const credentials = await world.credentials('gateway', gateway.identity)
  await serve(
    gateway,
    `
    const server = require('http2').createSecureServer({ ...${credentials}, requestCert: true })
    server.on('sessionError', () => {})
    server.on('stream', (stream, h) => {
      console.log(h[':method'], h[':authority'], String(h['x-forwarded-network']))
      const socket = require('net').connect(15008, h[':authority'].includes('zb') ? '${zb.ipv4}' : '${hb.ipv4}', () => stream.respond({ ':status': 200 }))
      stream.on('error', () => socket.destroy()).pipe(socket).on('error', () => stream.destroy()).pipe(stream)
    })
    server.listen(15008, '::')`,
    15008,
  )
  await world.handOver()
  const proxy = await world.startNode(t)
  const old = [idle(za, far.hb.vip), idle(ha, far.zb.vip)]
  for (const one of old) await one.open()
  const certificates = (identity: string) => world.ca.calls.filter((c) => c.metadata['ImpersonatedIdentity'] === identity).length
  t.same(plane.saidOf(XDS.address, 'NACK'), [])
  t.teardown(() => {
    if (t.passing()) return
    const faults = proxy.accessLog().filter((l) => 'error' in l)
    process.stderr.write(
      `--- what heddle said:\n${faults
        .slice(-20)
        .map((l) => JSON.stringify(l))
        .join('\n')}\n${proxy.stderr.slice(-2000)}\n`,
    )
  })

  for (const [from, name] of [
    [za, 'hb'],
    [ha, 'zb'],
    [za, 'zb'],
    [ha, 'hb'],
  ] as const) {
    await t.test(`double HBONE: ${from.name} -> ${name}`, async (t) => {
      const { vip } = far[name]
      t.match(await ask(from, `http://${vip}/x`), { pod: name, from: gateway.ipv4 }, 'the application sees the gateway')
      const bulk = await node(from, lateClient(vip, LATE, 4 * MIB, 4))
      t.equal(bulk.stdout, 'right 4\n', `bulk and half-close ${bulk.stderr}`)
      const many = await node(from, lateClient(vip, LATE, 1000, 50))
      t.equal(many.stdout, 'right 50\n', `50 at once ${many.stderr}`)
      const wanted = { direction: 'inbound', 'src.identity': from.identity, 'dst.identity': world.pod(name).identity }
      await (name === 'hb' ? proxy.logged(wanted) : tunnels[1].logged(wanted))
    })
  }

  await t.test('both write the same PROXY header', async (t) => {
    for (const from of [za, ha]) {
      const text = async (name: keyof typeof proxied) => (await curl(from, `http://${proxied[name].vip}/`, '--http0.9')).stdout
      const [byZtunnel, byHeddle] = [await text('zp'), await text('hp')]
      t.match(byZtunnel, /^0d0a0d0a000d0a515549540a2111/, 'version 2')
      // Behind the addresses: source port and destination are of each connection.
      const masked = (hex: string) =>
        `${hex.slice(0, 40)} ${hex.slice(52, 56)} ${hex.slice(56, 56 + 6 + 2 * from.identity.length)}`
      t.equal(masked(byHeddle), masked(byZtunnel), `from ${from.name}`)
    }
  })

  await t.test('renewed certificates', async (t) => {
    for (const pod of [za, zb, ha, hb])
      await eventually(`a third certificate of ${pod.name}`, () => certificates(pod.identity) >= 3, 30_000)
    for (const one of old) t.equal(await one.done(), 'well', 'connections outlive the certificates that they began with')
    for (const [from, name] of [
      [za, 'hb'],
      [ha, 'zb'],
    ] as const)
      t.match(await ask(from, `http://${far[name].vip}/x`), { pod: name })
  })

  await t.test('what an agent may say wrong', async (t) => {
    const { agent } = tunnels[0]
    t.match(
      await agent.request({ add: { uid: 'x', workload_info: { name: 'x', namespace: 'default', service_account: 'x' } } }),
      /./,
      'no namespace',
    )
    await agent.connected(2)
    await handOver(agent, [za], 2)
    t.equal(await agent.del('uid-nobody'), '', 'who is not there is gone')
    t.match(await ask(za, `http://${far.hb.vip}/x`), { pod: 'hb' })
  })
})
