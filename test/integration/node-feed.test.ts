// Role `node` as in a cluster: a control plane says what there is, the node's agent hands over the pods, and both come and go.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t, { type Test } from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { CA_SERVER_NAME, IstioCaServer } from '../support/istio-ca-server.ts'
import { istioProtos } from '../support/istio-protos.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { curl, type NodeMesh, nodeMesh, type Pod, serve } from '../support/node-mesh.ts'
import { type HeddleProcess, runHeddle, startProxy } from '../support/proxy.ts'
import { SigningCa } from '../support/signing-ca.ts'
import { ZdsAgent } from '../support/zds-agent.ts'

t.setTimeout(180_000)
const skip = canMakeNamespaces()
const protos = istioProtos()

const HTTP = (text: string) => `require('http').createServer((q, r) => r.end('${text}')).listen(8080, '::')`
const VIP = '10.20.0.1'

const ip = (text: string): Buffer => Buffer.from(text.split('.').map(Number))
const uidOf = (name: string) => `Kubernetes//Pod/default/${name}`

function put(plane: FakeControlPlane, typeUrl: string, name: string, message: object, aliases: string[] = []): void {
  const type = protos.lookupType(typeUrl.slice(typeUrl.indexOf('/') + 1))
  plane.put(typeUrl, name, type.encode(type.fromObject(message)).finish(), { aliases })
}

function putPod(plane: FakeControlPlane, pod: Pod, over: object = {}): void {
  const services = { 'default/echo.default.svc.cluster.local': { ports: [{ service_port: 80, target_port: 8080 }] } }
  const workload = {
    uid: uidOf(pod.name),
    name: pod.name,
    namespace: 'default',
    service_account: pod.name,
    addresses: [ip(pod.ipv4)],
    tunnel_protocol: 1,
    ...(pod.name === 'b' ? { services } : {}),
    ...over,
  }
  put(plane, XDS.address, uidOf(pod.name), { workload }, [`/${pod.ipv4}`])
}

function putService(plane: FakeControlPlane): void {
  const hostname = 'echo.default.svc.cluster.local'
  const ports = [{ service_port: 80, target_port: 8080 }]
  const service = { name: 'echo', namespace: 'default', hostname, addresses: [{ address: ip(VIP) }], ports }
  put(plane, XDS.address, `default/${hostname}`, { service }, [`/${VIP}`])
}

interface World {
  readonly mesh: NodeMesh
  readonly plane: FakeControlPlane
  readonly a: Pod
  readonly b: Pod
}

/** The pods stay; whose tunnel they are in, and who tells of them, each test makes anew. */
let pods: Promise<NodeMesh> | null = null

async function world(t: Test): Promise<World> {
  pods ??= podsOfTwoNodes()
  const mesh = await pods
  const plane = await FakeControlPlane.start(t)
  return { mesh, plane, a: mesh.pod('a'), b: mesh.pod('b') }
}

async function podsOfTwoNodes(): Promise<NodeMesh> {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 1 },
    ],
    withoutHeddle: [0, 1],
  })
  await serve(mesh.pod('b'), HTTP('hello of b'), 8080)
  return mesh
}

/** On the machine itself, where control plane and agent are. */
function node(t: Test, { mesh, plane }: World, agent: ZdsAgent, xds: object = {}, identity: object = {}): Promise<HeddleProcess> {
  return startProxy(t, {
    listeners: [],
    bootstrap: {
      role: 'node',
      resources: [],
      xds: { address: plane.hostAndPort, transport: 'plaintext', ...xds },
      identity: { source: 'dev-ca', devCa: { folder: mesh.caFolder }, ...identity },
      node: { agentSocket: agent.socket },
      drain: { deadline: '500ms' },
    },
  })
}

const handed = ({ name, namespace }: Pod) => ({ uid: `uid-${name}`, name, netns: namespace.path })

async function isReady(proxy: HeddleProcess): Promise<boolean> {
  const [, port] = /health on 127\.0\.0\.1:(\d+)/.exec(proxy.stderr) ?? []
  return (await fetch(`http://127.0.0.1:${port}/healthz/ready`)).status === 200
}

t.test('pods of two nodes, fed by a control plane', { skip }, async (t) => {
  const w = await world(t)
  const { plane, a, b } = w
  const agents = [await ZdsAgent.start(t), await ZdsAgent.start(t)] as const
  plane.workloadVersions = false
  plane.answers = (typeUrl) => typeUrl !== XDS.authorization
  const proxies = [await node(t, w, agents[0]), await node(t, w, agents[1])] as const
  for (const agent of agents) await agent.connected()
  t.equal(await agents[0].add(handed(a)), '')
  t.equal(await agents[1].add(handed(b)), '')
  t.match(b.namespace.run('cat', '/proc/net/tcp6'), /:3AA0 0+:0000 0A/, 'it is answered when the sockets are there')
  for (const agent of agents) t.equal(await agent.snapshotSent(), '')
  await plane.answered(XDS.address)
  t.notOk(await isReady(proxies[0]), 'policies have not been told')
  plane.answers = () => true
  put(plane, XDS.authorization, 'elsewhere/nothing', { name: 'nothing', namespace: 'elsewhere', scope: 1 })

  // What is known comes while a connection waits for it, and in any order.
  const early = curl(a, `http://${b.ipv4}:8080/`)
  putPod(plane, b)
  putPod(plane, a)
  putService(plane)
  t.equal((await early).stdout, 'hello of b')
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b')
  const log = await proxies[1].logged({ direction: 'inbound' })
  t.match(log, { 'src.identity': a.identity, 'dst.identity': b.identity })
  for (const proxy of proxies) await eventually('readiness', () => isReady(proxy))
  const { source, waitingFor, pods, workloads } = JSON.parse((await proxies[0].admin('/workloads')).body) as Record<
    string,
    unknown[]
  >
  t.same([source, waitingFor, workloads?.length], ['control plane', [], 2])
  t.match(pods, [{ uid: 'uid-a', workload: uidOf('a'), identity: a.identity, hasCertificate: true }])

  // A policy, and its end.
  const policy = {
    name: 'no-a',
    namespace: 'default',
    scope: 1,
    action: 1,
    rules: [{ clauses: [{ matches: [{ namespaces: [{ exact: 'default' }] }] }] }],
  }
  put(plane, XDS.authorization, 'default/no-a', policy)
  await eventually('the policy to act', async () => (await curl(a, `http://${b.ipv4}:8080/`)).refused)
  const denied = await proxies[1].logged({
    direction: 'inbound',
    error: 'connection closed due to policy rejection: explicitly denied by: default/no-a',
  })
  const explained = await runHeddle(['explain', String(denied['id']), '--config', path.join(proxies[1].dir, 'heddle.yaml')])
  t.match(explained.stdout, /\[AuthorizationPolicy default\/no-a\]/, explained.stderr)
  plane.remove(XDS.authorization, 'default/no-a')
  await eventually('the policy to be gone', async () => (await curl(a, `http://${b.ipv4}:8080/`)).stdout === 'hello of b')

  // A resource that makes no sense is refused alone.
  put(plane, XDS.address, 'bad', { workload: { uid: 'bad', addresses: [Buffer.from([1])] } })
  const nack = await plane.answered(XDS.address, 'NACK')
  t.equal(nack.error, 'bad: addresses[0]: an IP address has 4 bytes or 16, not 1')
  plane.remove(XDS.address, 'bad')

  // Nothing that is there needs the control plane.
  plane.stop()
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b', 'while the control plane is away')
  t.ok(await isReady(proxies[0]))
  const before = plane.saidOf(XDS.address).length
  await plane.resume()
  await eventually('it to be told again', () => plane.saidOf(XDS.address).length >= before + 2)
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b', 'what comes again as it was is there still')
  putPod(plane, b, { status: 1 })
  await eventually('the service to have no endpoint', async () => (await curl(a, `http://${VIP}/`)).refused)

  // The agent deletes a pod: its sockets and its certificate go.
  const counted = async () => {
    const metrics = await proxies[1].metrics()
    return ['active_proxy_count', 'proxies_started_total'].map((name) => metrics.value(`workload_manager_${name}`, {}))
  }
  t.strictSame(await counted(), [1, 1])
  t.equal(await agents[1].del('uid-b'), '')
  t.strictSame(await counted(), [0, 1])
  await eventually('closed sockets', () => !/:3AA0 0+:0000 0A/.test(b.namespace.run('cat', '/proc/net/tcp6')))
  t.equal(await agents[1].add(handed(b)), '')
  putPod(plane, b)
  await eventually('an answer', async () => (await curl(a, `http://${VIP}/`)).stdout === 'hello of b')

  // The agent is gone: its pods go on, the node is not ready.
  agents[1].close()
  await agents[1].connected(2)
  t.notOk(await isReady(proxies[1]))
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b')
  await agents[1].keep('uid-b')
  await agents[1].snapshotSent()
  await eventually('readiness', () => isReady(proxies[1]))
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b')
})

t.test('a heddle that takes over from another is handed the same pods', { skip }, async (t) => {
  const w = await world(t)
  const { plane, mesh, a, b } = w
  putPod(plane, a)
  putPod(plane, b)
  putService(plane)
  const agent = await ZdsAgent.start(t)
  const first = await node(t, w, agent)
  await agent.connected()
  for (const pod of [a, b]) t.equal(await agent.add(handed(pod)), '')
  await agent.snapshotSent()
  await eventually('an answer', async () => (await curl(a, `http://${VIP}/`)).stdout === 'hello of b')
  const other = await ZdsAgent.start(t, path.join(mesh.folder, 'second.sock'))
  const second = await node(t, w, other)
  await other.connected()
  for (const pod of [a, b]) t.equal(await other.add(handed(pod)), '', 'both listen')
  await other.snapshotSent()
  await eventually('readiness', () => isReady(second))
  t.match(await first.stop(), { code: 0 })
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b')
})

t.test('certificates of a CA that trusts the node', { skip }, async (t) => {
  const w = await world(t)
  const { plane, mesh, a, b } = w
  for (const pod of [a, b]) putPod(plane, pod)
  const authority = await SigningCa.root(t)
  const ca = await IstioCaServer.start(t, authority)
  const [roots, token] = [path.join(mesh.folder, 'ca-root.pem'), path.join(mesh.folder, 'token')]
  writeFileSync(roots, authority.rootPem)
  writeFileSync(token, 'node')
  ca.nodes.set('node', [a.identity])
  const agent = await ZdsAgent.start(t)
  const istioCa = { address: `127.0.0.1:${ca.address.port}`, serverName: CA_SERVER_NAME, roots, token }
  const proxy = await node(t, w, agent, {}, { source: 'istio-ca', istioCa })
  await agent.connected()
  for (const pod of [a, b]) t.equal(await agent.add(handed(pod)), '')
  await agent.snapshotSent()
  await eventually('readiness, though one is refused', () => isReady(proxy))
  ca.nodes.set('node', [a.identity, b.identity])
  await eventually('both have one', async () => (await curl(a, `http://${b.ipv4}:8080/`)).stdout === 'hello of b')
  const calls = (id: string) => ca.calls.filter((c) => c.metadata['ImpersonatedIdentity'] === id).length
  t.equal(calls(a.identity), 1, 'each is asked for by name, and no more often than it has to be')
  const before = calls(b.identity)
  t.ok(before > 1)
  await agent.del('uid-b')
  await agent.add(handed(b))
  await eventually('a certificate anew', () => calls(b.identity) === before + 1)
  t.equal((await curl(a, `http://${b.ipv4}:8080/`)).stdout, 'hello of b', 'the old one was dropped with its last pod')
})

t.test('on demand', { skip }, async (t) => {
  const w = await world(t)
  const { plane, a, b } = w
  for (const pod of [a, b]) putPod(plane, pod)
  putService(plane)
  const agent = await ZdsAgent.start(t)
  const proxy = await node(t, w, agent, { onDemand: true })
  await agent.connected()
  for (const pod of [a, b]) await agent.add(handed(pod))
  await agent.snapshotSent()
  await eventually('readiness', () => isReady(proxy))
  const asked = () => plane.saidOf(XDS.address).flatMap((s) => s.names)
  t.match(plane.saidOf(XDS.address)[0], { names: ['*'], unsubscribed: ['*'] })
  t.same(asked(), ['*', uidOf('a'), uidOf('b')], 'the pods of the node')
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b')
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b')
  t.same(asked().slice(3), [`/${VIP}`], 'asked for once')

  // Nobody: it goes on as it came, and is asked for again by the next one.
  for (let i = 0; i < 2; i++) t.notOk((await curl(a, 'http://10.10.0.1:9/')).stdout)
  t.same(asked().slice(4), ['/10.10.0.1', '/10.10.0.1'])
  const givenUp = (name: string) => plane.saidOf(XDS.address).filter((s) => s.unsubscribed.includes(name)).length
  await eventually('it to be given up each time', () => givenUp('/10.10.0.1') === 2)

  // What has been asked for is kept up with, and asked for again when it was gone.
  plane.remove(XDS.address, 'default/echo.default.svc.cluster.local')
  await eventually('it to be given up', () => givenUp(`/${VIP}`) === 1)
  putService(plane)
  t.equal((await curl(a, `http://${VIP}/`)).stdout, 'hello of b')

  // What is not known to be nobody may not be spoken to in plain text.
  plane.stop()
  t.ok((await curl(a, 'http://10.10.0.1:8/')).refused)
  await proxy.logged({ direction: 'outbound', error: 'the control plane does not say who has /10.10.0.1' })
})
