// A real ztunnel and heddle in one mesh: one feed, one CA, pods of both, and every pair of them with and without heddle's waypoint between. Programs know nothing of it.
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { eventually } from '../support/eventually.ts'
import { heddle } from '../support/intercepted-pod.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { type Pod, serve } from '../support/node-mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { type FedService, hostOf } from '../support/workload-feed.ts'
import { findZtunnel } from '../support/ztunnel.ts'
import { PROXY_AS } from './pods.ts'
import { databaseClient, lateClient } from './programs.ts'
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
  LATE,
  MIB,
  node,
  PLAIN,
  run,
  servers,
  TOLD,
  ZtunnelMesh,
} from './ztunnel-mesh.ts'

t.setTimeout(170_000)
const skip = findZtunnel().skip || canMakeNamespaces()

/** Every server under a name of its own, and under another behind the waypoint. */
const SERVERS = ['zb', 'hb', 'ss'] as const
type Server = (typeof SERVERS)[number]
const direct = (name: Server): FedService => directOf(name, 1 + SERVERS.indexOf(name))
const behind = (name: Server, waypoint: string): FedService => behindOf(name, 1 + SERVERS.indexOf(name), waypoint)

const PORT_NAMES = `[ { name: http, port: 80, targetPort: ${HTTP} }, { name: tcp-late, port: ${LATE} }, { name: tcp-first, port: ${FIRST} }, { name: tcp-told, port: ${TOLD} } ]`

/** A service and its pod as Kubernetes has them. */
const kubernetes = ({ name, vip }: FedService, pod: Pod): string => `---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: default, annotations: { ambient.istio.io/xfcc-include-client-identity: "true" } }
spec: { clusterIP: ${vip}, selector: { app: ${pod.name} }, ports: ${PORT_NAMES} }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}-1, namespace: default, labels: { kubernetes.io/service-name: ${name} } }
addressType: IPv4
ports: [ { name: http, port: ${HTTP} }, { name: tcp-late, port: ${LATE} }, { name: tcp-first, port: ${FIRST} }, { name: tcp-told, port: ${TOLD} } ]
endpoints: [ { addresses: [ ${pod.ipv4} ], targetRef: { kind: Pod, name: ${pod.name} } } ]
`
const kubernetesPod = (pod: Pod): string => `---
apiVersion: v1
kind: Pod
metadata: { name: ${pod.name}, namespace: default, labels: { app: ${pod.name}, networking.istio.io/tunnel: http } }
spec: { serviceAccountName: ${pod.name} }
status: { podIP: ${pod.ipv4} }
`

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

async function startSidecar(t: Teardown, world: ZtunnelMesh, name: string, resources: string): Promise<HeddleProcess> {
  const pod = world.pod(name)
  const sidecar = await startProxy(t, {
    namespace: pod.namespace,
    as: PROXY_AS,
    listeners: [],
    resources,
    bootstrap: {
      workload: { namespace: 'default', serviceAccount: name, name, address: pod.ipv4, labels: { app: name } },
      capture: { mode: 'redirect' },
      identity: await world.files(name),
      drain: { deadline: '500ms' },
    },
  })
  const { code, stderr } = await heddle(pod.namespace, ['apply'])
  if (code !== 0) throw new Error(stderr)
  return sidecar
}

/** All that a client can do to a service, and what comes of it. `seen`: the address that its application sees. */
async function traffic(
  t: Test,
  from: Pod,
  { vip }: FedService,
  to: Pod,
  seen: string,
  more: { readonly xfcc?: string } = {},
): Promise<void> {
  const base = `http://${vip}`
  t.match(await ask(from, `${base}/x`), { pod: to.name, url: '/x', from: seen, ...more }, 'HTTP/1.1')

  const body = Buffer.alloc(8 * MIB)
  const sent = await run(from, 'sh', [
    '-c',
    `head -c ${body.length} /dev/zero | curl -sS --max-time 30 --data-binary @- -H 'content-type: application/octet-stream' ${base}/up`,
  ])
  const zeros = createHash('sha256').update(body).digest('hex')
  t.match(JSON.parse(sent.stdout || '{}'), { length: body.length, hash: zeros }, `8 MiB to the server ${sent.stderr}`)
  const got = await run(from, 'sh', ['-c', `curl -sS --max-time 30 ${base}/bytes/${body.length} | sha256sum`])
  t.equal(got.stdout.slice(0, 64), createHash('sha256').update(Buffer.alloc(body.length, 0x61)).digest('hex'), 'and from it')

  const whole = await node(from, lateClient(vip, LATE, 4 * MIB, 2))
  t.equal(whole.stdout, 'right 2\n', `half-close, 4 MiB each way ${whole.stderr}`)
  const many = await node(from, lateClient(vip, LATE, 20_000, 200))
  t.equal(many.stdout, 'right 200\n', `200 connections at once ${many.stderr}`)
  const first = await node(from, databaseClient(vip, FIRST, 40))
  t.equal(first.stdout, '40\n', `the server speaks first ${first.stderr}`)

  const open = async () => (await curl(to, `http://127.0.0.1:${HTTP}/open`)).stdout
  const before = await open()
  // Who is reset by the server sees its connection end; who resets, the server.
  const reset = await node(from, connectTold(vip, 's.write("reset")', 'console.log("ended")'))
  t.equal(reset.stdout, 'ended\n', `a reset of the server ${reset.stderr}`)
  const abort = await node(from, connectTold(vip, 's.write("here")', '', 's.resetAndDestroy(); console.log("aborted")'))
  t.equal(abort.stdout, 'aborted\n', abort.stderr)
  await eventually('the server to see it', async () => (await open()) === before)
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
    { ...PLAIN, name: 'sc' },
    { ...PLAIN, name: 'ss' },
  ])
  const { mesh, plane, feed, tunnels } = world
  const [za, zb, ha, hb, waypoint, sc, ss] = [...mesh.pods.values()] as [Pod, Pod, Pod, Pod, Pod, Pod, Pod]
  for (const pod of [za, ha, waypoint, sc]) feed.workload(pod)
  for (const name of SERVERS) {
    const services = [direct(name), behind(name, waypoint.ipv4)]
    feed.workload(world.pod(name), services, name === 'ss' ? { native_tunnel: true } : {})
    for (const service of services) feed.service(service)
  }
  await Promise.all([zb, hb, ss].map((pod) => serve(pod, servers(pod.name), FIRST)))
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

  await t.test('sidecar -> ztunnel, ztunnel -> sidecar, node -> sidecar', async (t) => {
    const services = SERVERS.map((name) => kubernetes(direct(name), world.pod(name)) + kubernetesPod(world.pod(name))).join('')
    const client = await startSidecar(t, world, 'sc', services)
    await startSidecar(t, world, 'ss', services)
    await traffic(t, sc, direct('zb'), zb, sc.ipv4)
    await traffic(t, za, direct('ss'), ss, '127.0.0.6')
    await traffic(t, ha, direct('ss'), ss, '127.0.0.6')
    t.match(await client.logged({ path: '/x' }), { response_code: 200 })
    await tunnels[1].logged({ direction: 'inbound', 'src.identity': sc.identity })

    // Who is not who it should be is told nothing, whoever asks.
    feed.workload(ss, [direct('ss')], { service_account: 'somebody' })
    await plane.answered(XDS.address)
    const san = /spiffe:\/\/cluster\.local\/ns\/default\/sa\/somebody/
    await eventually('ztunnel to refuse it', async () => (await curl(za, `http://${direct('ss').vip}/x`)).stdout === '')
    await tunnels[0].logged({ direction: 'outbound', error: san })
    await eventually('heddle to refuse it', async () => (await curl(ha, `http://${direct('ss').vip}/x`)).stdout === '')
    await proxy.loggedLike((l) => l['direction'] === 'outbound' && san.test(String(l['error'])))
    await client.stop()
    const liar = await startSidecar(t, world, 'sc', services.replace('serviceAccountName: zb', 'serviceAccountName: somebody'))
    t.equal(
      (await curl(sc, `http://${direct('zb').vip}/x`, '-o', '/dev/null', '-w', '%{http_code}')).stdout,
      '503',
      'nor does a sidecar',
    )
    t.match(await liar.logged({ path: '/x' }), { response_code: 503, upstream_transport_failure_reason: san })
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
