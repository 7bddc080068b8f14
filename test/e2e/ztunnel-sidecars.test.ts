// A real ztunnel and sidecars of heddle, each at either end, and what they say to who is not who it should be.
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { eventually } from '../support/eventually.ts'
import { heddle } from '../support/intercepted-pod.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { type Pod, serve } from '../support/node-mesh.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import type { FedService } from '../support/workload-feed.ts'
import { findZtunnel } from '../support/ztunnel.ts'
import { PROXY_AS } from './pods.ts'
import {
  curl,
  direct as directOf,
  FIRST,
  HEDDLE_NODE,
  kubernetes,
  kubernetesPod,
  PLAIN,
  servers,
  traffic,
  ZtunnelMesh,
} from './ztunnel-mesh.ts'

t.setTimeout(170_000)
const skip = findZtunnel().skip || canMakeNamespaces()

const SERVERS = ['zb', 'ss'] as const
type Server = (typeof SERVERS)[number]
const direct = (name: Server): FedService => directOf(name, 1 + SERVERS.indexOf(name))

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

t.test('sidecar -> ztunnel, ztunnel -> sidecar, node -> sidecar', { skip }, async (t) => {
  const world = await ZtunnelMesh.start(t, [
    { name: 'za', node: 0 },
    { name: 'zb', node: 1 },
    { name: 'ha', node: HEDDLE_NODE },
    { ...PLAIN, name: 'sc' },
    { ...PLAIN, name: 'ss' },
  ])
  const { feed, tunnels, plane } = world
  const [za, zb, ha, sc, ss] = [...world.mesh.pods.values()] as [Pod, Pod, Pod, Pod, Pod]
  for (const pod of [za, ha, sc]) feed.workload(pod)
  feed.workload(zb, [direct('zb')])
  feed.workload(ss, [direct('ss')], { native_tunnel: true })
  for (const name of SERVERS) feed.service(direct(name))
  await Promise.all([zb, ss].map((pod) => serve(pod, servers(pod.name), FIRST)))
  await world.handOver()
  const proxy = await world.startNode(t)
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
