// A real ztunnel and role node of heddle, each as client's and as server's node, with a waypoint of heddle between and without.
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { type Pod, serve } from '../support/node-mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { type FedService, hostOf } from '../support/workload-feed.ts'
import { findZtunnel } from '../support/ztunnel.ts'
import { PROXY_AS } from './pods.ts'
import {
  ask,
  behind as behindOf,
  connectTold,
  curl,
  direct as directOf,
  FIRST,
  HEDDLE_NODE,
  HTTP,
  idle,
  kubernetes,
  kubernetesPod,
  MIB,
  node,
  PLAIN,
  servers,
  TOLD,
  traffic,
  ZtunnelMesh,
} from './ztunnel-mesh.ts'

t.setTimeout(170_000)
const skip = findZtunnel().skip || canMakeNamespaces()

/** Every server under a name of its own, and under another behind the waypoint. */
const SERVERS = ['zb', 'hb'] as const
type Server = (typeof SERVERS)[number]
const direct = (name: Server): FedService => directOf(name, 1 + SERVERS.indexOf(name))
const behind = (name: Server, waypoint: string): FedService => behindOf(name, 1 + SERVERS.indexOf(name), waypoint)

const teapot = (service: string): string => `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${service}, namespace: default }
spec:
  hosts: [ ${service} ]
  http:
    - name: teapot
      match: [ { uri: { exact: /teapot } } ]
      directResponse: { status: 418, body: { string: "by the waypoint" } }
    - name: rest
      route: [ { destination: { host: ${service} } } ]
`

async function startWaypoint(t: Teardown, world: ZtunnelMesh): Promise<HeddleProcess> {
  const pod = world.pod('waypoint')
  const services = SERVERS.map((name) => [behind(name, pod.ipv4), world.pod(name)] as const)
  return startProxy(t, {
    namespace: pod.namespace,
    as: PROXY_AS,
    listeners: [],
    resources: [
      ...services.map(([service, of]) => kubernetes(service, of) + teapot(service.name)),
      ...SERVERS.map((name) => kubernetesPod(world.pod(name))),
    ].join(''),
    bootstrap: {
      role: 'waypoint',
      workload: { namespace: 'default', serviceAccount: 'waypoint', name: 'waypoint', address: pod.ipv4 },
      identity: await world.files('waypoint'),
      waypoint: { services: 'namespace' },
      drain: { deadline: '500ms' },
    },
  })
}

/** What another HBONE client is told: its settings, and status and baggage for each authority. */
const strangerOf = (pod: Pod, credentials: string): string => `
  const session = require('http2').connect('https://${pod.ipv4}:15008', { ...${credentials}, checkServerIdentity: () => undefined })
  const asked = {
    own: '${pod.ipv4}:${HTTP}', foreign: '192.0.2.1:${HTTP}', nonsense: 'nonsense', itself: '${pod.ipv4}:15008', nobody: '${pod.ipv4}:1',
    unknown: 'nobody.example:80', service: '${hostOf(pod.name)}:80', get: '',
  }
  const out = {}
  session.on('error', (e) => { console.log(e.code); process.exit() })
  for (const [name, authority] of Object.entries(asked)) {
    const headers = name === 'get' ? { ':method': 'GET', ':path': '/', ':authority': 'x' } : { ':method': 'CONNECT', ':authority': authority }
    const stream = session.request(headers, { endStream: name === 'get' })
    stream.on('error', () => {}).on('response', (h) => {
      out[name] = [h[':status'], ...(h.baggage ? [h.baggage] : [])]
      if (Object.keys(out).length < Object.keys(asked).length) return
      const settings = session.remoteSettings
      console.log(JSON.stringify({ ...out, settings, extendedConnect: Boolean(settings.enableConnectProtocol) }))
      process.exit()
    })
  }
  setTimeout(() => { console.log(JSON.stringify(out)); process.exit() }, 8000)`

t.test('ztunnel and heddle in one mesh', { skip }, async (t) => {
  const world = await ZtunnelMesh.start(t, [
    { name: 'za', node: 0 },
    { name: 'zb', node: 1 },
    { name: 'ha', node: HEDDLE_NODE },
    { name: 'hb', node: HEDDLE_NODE },
    { ...PLAIN, name: 'waypoint' },
  ])
  const { mesh, plane, feed, tunnels } = world
  const [za, zb, ha, hb, waypoint] = [...mesh.pods.values()] as [Pod, Pod, Pod, Pod, Pod]
  for (const pod of [za, ha, waypoint]) feed.workload(pod)
  for (const name of SERVERS) {
    const services = [direct(name), behind(name, waypoint.ipv4)]
    feed.workload(world.pod(name), services)
    for (const service of services) feed.service(service)
  }
  await Promise.all([zb, hb].map((pod) => serve(pod, servers(pod.name), FIRST)))
  await world.handOver()
  const proxy = await world.startNode(t)
  await startWaypoint(t, world)

  await t.test('one feed, two readers', async (t) => {
    const { workloads, services } = (await tunnels[0].configDump()) as {
      workloads: { name: string }[]
      services: { hostname: string }[]
    }
    t.same(workloads.map((w) => w.name).sort(), [...mesh.pods.keys()].sort(), 'ztunnel has understood all workloads')
    t.equal(services.length, 2 * SERVERS.length)
    t.same(plane.saidOf(XDS.address, 'NACK'), [])
    t.same(plane.saidOf(XDS.authorization, 'NACK'), [])
  })

  await t.test('what it answers to others, which heddle answers too', async (t) => {
    const credentials = await world.credentials('stranger', 'spiffe://cluster.local/ns/default/sa/stranger')
    for (const [pod, initialWindowSize] of [
      [zb, 4 * MIB],
      // It grows.
      [hb, MIB / 4],
    ] as const) {
      const { stdout, stderr } = await mesh.router.exec(process.execPath, ['-e', strangerOf(pod, credentials)], {
        budgetMs: 20_000,
      })
      t.match(
        JSON.parse(stdout || '{}'),
        {
          settings: { initialWindowSize, maxFrameSize: MIB, maxConcurrentStreams: 200, maxHeaderListSize: 64 * 1024 },
          extendedConnect: false,
          own: [
            200,
            `k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=${pod.name},service.name=${pod.name}`,
          ],
          foreign: [400],
          nonsense: [400],
          itself: [503],
          nobody: [503],
          unknown: [503],
          service: [200],
          get: [400],
        },
        `${pod.name} ${stderr}${stdout}`,
      )
    }
  })

  const idlers = [idle(za, direct('hb').vip), idle(ha, direct('zb').vip)]
  for (const one of idlers) await one.open()

  for (const [from, name, inbound] of [
    [za, 'hb', 'heddle'],
    [ha, 'zb', 'ztunnel'],
    [za, 'zb', 'ztunnel'],
  ] as const) {
    const to = world.pod(name)
    await t.test(`${from.name} -> ${name}`, async (t) => {
      await traffic(t, from, direct(name), to, from.ipv4)
      await ask(from, `http://${direct(name).vip}/last`)
      const wanted = { direction: 'inbound', 'src.identity': from.identity, 'dst.identity': to.identity }
      if (inbound === 'heddle') await proxy.logged(wanted)
      else await tunnels[1].logged(wanted)
    })
  }

  await t.test('IPv6, and pods that are dialled themselves', async (t) => {
    for (const [from, to] of [
      [za, hb],
      [ha, zb],
    ] as const) {
      t.match(await ask(from, '-g', `http://[${to.ipv6}]:${HTTP}/x`), { pod: to.name, from: from.ipv6 })
      t.match(await ask(from, `http://${to.ipv4}:${HTTP}/x`), { pod: to.name, from: from.ipv4 })
    }
    await proxy.logged({ direction: 'inbound', 'dst.hbone_addr': `[${hb.ipv6}]:${HTTP}` })
    await tunnels[1].logged({ direction: 'inbound', 'dst.hbone_addr': `[${zb.ipv6}]:${HTTP}` })
  })

  for (const from of [za, ha])
    for (const name of ['zb', 'hb'] as const) {
      await t.test(`${from.name} -> waypoint -> ${name}`, async (t) => {
        const service = behind(name, waypoint.ipv4)
        const xfcc = `By=${waypoint.identity};URI=${from.identity}`
        await traffic(t, from, service, world.pod(name), waypoint.ipv4, { xfcc })
        t.equal((await curl(from, `http://${service.vip}/teapot`)).stdout, 'by the waypoint')
      })
    }
  await t.test('idle meanwhile', async (t) => {
    for (const one of idlers) t.equal(await one.done(), 'well')
  })

  await t.test('authorization', async (t) => {
    const open = [idle(za, direct('hb').vip), idle(ha, direct('zb').vip)]
    for (const one of open) await one.open()
    feed.policy('closed', { action: 1, rules: [{ clauses: [{ matches: [{ destination_ports: [TOLD] }] }] }] })
    for (const one of open) t.equal(await one.closed(), 'closed one', 'connections that are open end')
    const error = 'connection closed due to policy change'
    await tunnels[1].logged({ direction: 'inbound', error })
    await proxy.logged({ direction: 'inbound', error })
    const ended = 'console.log("ended")'
    for (const [from, name] of [
      [za, 'hb'],
      [ha, 'zb'],
    ] as const)
      t.equal(
        (await node(from, connectTold(direct(name).vip, '', ended))).stdout,
        'ended\n',
        `${from.name} -> ${name}: nobody may`,
      )
    const denied = 'connection closed due to policy rejection: explicitly denied by: default/closed'
    await tunnels[1].logged({ direction: 'inbound', 'src.identity': ha.identity, error: denied })
    await proxy.logged({ direction: 'inbound', 'src.identity': za.identity, error: denied })
    await tunnels[0].logged({ direction: 'outbound', error: 'http status: 401 Unauthorized' })
    await proxy.logged({ direction: 'outbound', error: 'http status: 401 Unauthorized' })
    t.match(await ask(za, `http://${direct('hb').vip}/x`), { pod: 'hb' }, 'other ports are open')
    feed.withoutPolicy('closed')
    for (const [from, name] of [
      [za, 'hb'],
      [ha, 'zb'],
    ] as const) {
      const one = idle(from, direct(name).vip)
      await one.open()
      t.equal(await one.done(), 'well', 'and all are again')
    }
  })
})
