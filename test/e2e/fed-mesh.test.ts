// A mesh of every role in network namespaces, all of it fed by control planes: sidecars with capture, a gateway, and between the tunnels of two nodes a waypoint.
import { chmodSync, chownSync, readdirSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { heddle } from '../support/intercepted-pod.ts'
import { istioProtos } from '../support/istio-protos.ts'
import { canMakeNamespaces, type Namespace } from '../support/netns.ts'
import { type NodeMesh, nodeMesh, type Pod, serve } from '../support/node-mesh.ts'
import { type HeddleProcess, runHeddle, startProxy } from '../support/proxy.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { ZdsAgent } from '../support/zds-agent.ts'
import { APP_PORT, B_HOST, B_VIP, id, REVIEWS_VIP, SHOP, setClient, setGateway, setServer, setWaypoint } from './fed-resources.ts'
import { PROXY_AS } from './pods.ts'

t.setTimeout(150_000)
const skip = canMakeNamespaces()

/** `/once` fails at first, `/boom` always in reviews-2; `/x` is the last on its connection, so that a tunnel logs it at once. */
const app = (name: string) => `const seen = new Set()
  require('http').createServer((q, r) => {
    const once = q.url.startsWith('/once') && !seen.has(q.url)
    seen.add(q.url)
    const more = q.url === '/x' ? { connection: 'close' } : {}
    r.writeHead(once || (q.url.startsWith('/boom') && '${name}' === 'reviews-2') ? 503 : 200, more)
    r.end(JSON.stringify({ pod: '${name}', url: q.url, xfcc: q.headers['x-forwarded-client-cert'] ?? '' }) + '\\n')
  }).listen(${APP_PORT}, '0.0.0.0')`

/** Ports of the mesh's router that lead to the control planes, which are outside of the namespaces. */
const PLANES = ['client', 'server', 'gateway', 'waypoint', 'nodes'] as const
type PlaneName = (typeof PLANES)[number]
const portOf = (name: PlaneName) => 15_010 + PLANES.indexOf(name)

async function controlPlanes(t: Teardown, mesh: NodeMesh): Promise<Readonly<Record<PlaneName, FakeControlPlane>>> {
  const planes = await Promise.all(PLANES.map(() => FakeControlPlane.start(t)))
  for (const [i, name] of PLANES.entries()) {
    const { host, port } = (planes[i] as FakeControlPlane).address
    const server = net.createServer((front) => {
      const back = net.connect(port, host)
      front.pipe(back).pipe(front)
      front.on('error', () => back.destroy())
      back.on('error', () => front.destroy())
    })
    t.teardown(() => server.close())
    await new Promise<void>((resolve) => server.listen(path.join(mesh.folder, name), resolve))
  }
  // A socket in the file system is the same in all network namespaces.
  const relay = `const net = require('net')
    for (const [path, port] of ${JSON.stringify(PLANES.map((name) => [path.join(mesh.folder, name), portOf(name)]))})
      net.createServer((s) => {
        const to = net.connect(path)
        s.pipe(to).pipe(s)
        for (const x of [s, to]) x.on('error', () => { s.destroy(); to.destroy() })
      }).listen(port, '10.10.0.1')`
  await serve({ namespace: mesh.router } as Pod, relay, portOf('nodes'))
  return Object.fromEntries(PLANES.map((name, i) => [name, planes[i]])) as Record<PlaneName, FakeControlPlane>
}

/** Certificate files that a proxy may read. */
async function filesOf(mesh: NodeMesh, account: string, name: string): Promise<object> {
  const out = path.join(mesh.folder, `certs-${name}`)
  const { code, stderr } = await runHeddle(['ca', 'issue', '--identity', id(account), '--ca', mesh.caFolder, '--out', out])
  if (code !== 0) throw new Error(stderr)
  for (const file of ['', ...readdirSync(out)]) chownSync(path.join(out, file), PROXY_AS.uid, PROXY_AS.gid)
  return {
    source: 'files',
    files: {
      certificateChain: path.join(out, 'cert-chain.pem'),
      privateKey: path.join(out, 'key.pem'),
      roots: path.join(out, 'root-cert.pem'),
    },
  }
}

/** A proxy in its pod. */
async function startFed(
  t: Teardown,
  mesh: NodeMesh,
  { name, namespace, ipv4 }: Pod,
  role: 'sidecar' | 'gateway' | 'waypoint',
  plane: PlaneName,
  account = name,
): Promise<HeddleProcess> {
  return startProxy(t, {
    namespace,
    as: PROXY_AS,
    listeners: [],
    readyBudgetMs: 60_000,
    bootstrap: {
      role,
      resources: [],
      concurrency: 1,
      xds: { address: `10.10.0.1:${portOf(plane)}`, transport: 'plaintext' },
      workload: { namespace: 'default', serviceAccount: account, name, address: ipv4 },
      ...(role === 'sidecar' ? { capture: { mode: 'redirect' } } : {}),
      identity: await filesOf(mesh, account, name),
    },
  })
}

async function rules({ namespace }: Pod): Promise<void> {
  const { code, stderr } = await heddle(namespace, ['apply'])
  if (code !== 0) throw new Error(stderr)
}

interface Answer {
  readonly status: number
  readonly body: string
}

/** An unmodified curl. */
async function ask(namespace: Namespace, ...args: readonly string[]): Promise<Answer> {
  const { stdout, stderr, code } = await namespace.exec('curl', ['-sS', '--max-time', '10', '-w', '%{http_code}', ...args], {
    budgetMs: 30_000,
  })
  return code === 0 ? { status: Number(stdout.slice(-3)), body: stdout.slice(0, -3).trim() } : { status: 0, body: stderr.trim() }
}

/** Who answered each of `count` requests. */
async function pods(namespace: Namespace, url: string, count: number): Promise<readonly string[]> {
  const { stdout } = await namespace.exec('curl', ['-sS', '--max-time', '30', `${url}/[1-${count}]`], { budgetMs: 40_000 })
  return [...stdout.matchAll(/"pod":"([^"]+)"/g)].map(([, pod]) => pod as string)
}

/** What the tunnels of the nodes are told. */
function setWorkloads(plane: FakeControlPlane, a: Pod, b: Pod, waypoint: Pod): void {
  const ip = (text: string): Buffer => Buffer.from(text.split('.').map(Number))
  const type = istioProtos().lookupType('istio.workload.Address')
  const put = (name: string, message: object, aliases: string[]) =>
    plane.set(XDS.address, name, type.encode(type.fromObject(message)).finish(), { aliases })
  const ports = [{ service_port: 80, target_port: APP_PORT }]
  for (const pod of [a, b, waypoint]) {
    const uid = `Kubernetes//Pod/default/${pod.name}`
    const workload = {
      uid,
      name: pod.name,
      namespace: 'default',
      service_account: pod.name,
      addresses: [ip(pod.ipv4)],
      tunnel_protocol: 1,
      ...(pod === b ? { services: { [`default/${B_HOST}`]: { ports } } } : {}),
    }
    put(uid, { workload }, [`/${pod.ipv4}`])
  }
  const service = {
    name: 'b',
    namespace: 'default',
    hostname: B_HOST,
    addresses: [{ address: ip(B_VIP) }],
    ports,
    waypoint: { address: { address: ip(waypoint.ipv4) }, hbone_mtls_port: 15008 },
  }
  put(`default/${B_HOST}`, { service }, [`/${B_VIP}`])
}

/** On the machine itself, where the node's agent is. */
async function startNode(t: Teardown, mesh: NodeMesh, plane: FakeControlPlane, pod: Pod): Promise<HeddleProcess> {
  const agent = await ZdsAgent.start(t)
  const proxy = await startProxy(t, {
    listeners: [],
    readyBudgetMs: 60_000,
    bootstrap: {
      role: 'node',
      resources: [],
      xds: { address: plane.hostAndPort, transport: 'plaintext' },
      identity: { source: 'dev-ca', devCa: { folder: mesh.caFolder } },
      node: { agentSocket: agent.socket },
      drain: { deadline: '500ms' },
    },
  })
  await agent.connected()
  const added = await agent.add({ uid: `uid-${pod.name}`, name: pod.name, netns: pod.namespace.path })
  if (added !== '') throw new Error(added)
  await agent.snapshotSent()
  return proxy
}

t.test('every role, fed', { skip }, async (t) => {
  const plain = { node: 0, ambient: false }
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'b', node: 1 },
      ...['waypoint', 'web', 'reviews-1', 'reviews-2', 'gateway'].map((name) => ({ ...plain, name })),
    ],
    withoutHeddle: [0, 1],
  })
  chmodSync(mesh.folder, 0o755)
  const [a, b, waypoint, web, one, two, gateway] = [...mesh.pods.values()] as [Pod, Pod, Pod, Pod, Pod, Pod, Pod]
  const planes = await controlPlanes(t, mesh)
  const publicCa = await SigningCa.root(t, 'public')
  const roots = path.join(mesh.folder, 'public.pem')
  writeFileSync(roots, publicCa.rootPem)

  const reviews = [one.ipv4, two.ipv4]
  setClient(planes.client, reviews)
  setServer(planes.server)
  setGateway(planes.gateway, reviews, await publicCa.issue({ dnsNames: [SHOP] }))
  setWaypoint(planes.waypoint, b.ipv4)
  setWorkloads(planes.nodes, a, b, waypoint)
  await Promise.all([one, two, b].map((pod) => serve(pod, app(pod.name), APP_PORT)))
  // One after the other: all at once take longer on a small machine, and the agents do not wait for ever.
  const [nodeA, nodeB] = [await startNode(t, mesh, planes.nodes, a), await startNode(t, mesh, planes.nodes, b)]
  const [way, edge, client] = await Promise.all([
    startFed(t, mesh, waypoint, 'waypoint', 'waypoint'),
    startFed(t, mesh, gateway, 'gateway', 'gateway'),
    startFed(t, mesh, web, 'sidecar', 'client'),
  ])
  const [server] = await Promise.all([
    startFed(t, mesh, one, 'sidecar', 'server', 'reviews'),
    startFed(t, mesh, two, 'sidecar', 'server', 'reviews'),
  ])
  await Promise.all([web, one, two].map(rules))
  const base = `http://${REVIEWS_VIP}`

  await t.test('sidecars: mutual TLS, and nothing else is taken', async (t) => {
    const answer = await ask(web.namespace, `${base}/x`)
    t.equal(answer.status, 200, answer.body)
    t.match(JSON.parse(answer.body), { pod: 'reviews-1', url: '/x', xfcc: `URI=${id('web')}` })
    const plain = await ask(mesh.router, `http://${one.ipv4}:${APP_PORT}/x`)
    t.equal(plain.status, 0, `plain text is not answered: ${plain.body}`)
    t.equal(
      (await ask(web.namespace, `http://10.10.0.1:${portOf('nodes')}`)).body.includes('refused'),
      false,
      'elsewhere: passed on',
    )
  })

  await t.test('routing: nine of ten to one version', async (t) => {
    const by = await pods(web.namespace, `${base}/split`, 200)
    const second = by.filter((pod) => pod === 'reviews-2').length
    t.equal(by.length, 200)
    // Of 200 with p = 0.1: 20, give or take five standard deviations of 4.2.
    t.ok(second > 0 && second < 42, `${second} of 200`)
  })

  await t.test('retries', async (t) => {
    t.equal((await ask(web.namespace, `${base}/once/a`)).status, 200)
    t.match(await client.logged({ path: '/once/a' }), { response_code: 200 })
  })

  await t.test('authorization', async (t) => {
    t.same(await ask(web.namespace, `${base}/admin`), { status: 403, body: 'RBAC: access denied' })
    t.match(await server.logged({ path: '/admin' }), {
      response_code_details: 'rbac_access_denied_matched_policy[ns[default]-policy[no-admin]-rule[0]]',
    })
  })

  await t.test('gateway: TLS by a certificate of the control plane, and authorization by its own identity', async (t) => {
    const through = (target: string) =>
      ask(mesh.router, '--cacert', roots, '--resolve', `${SHOP}:8443:${gateway.ipv4}`, `https://${SHOP}:8443${target}`)
    const answer = await through('/shop')
    t.equal(answer.status, 200, answer.body)
    t.match(JSON.parse(answer.body), { pod: 'reviews-1', url: '/shop' })
    t.same(await through('/else'), { status: 403, body: 'RBAC: access denied' })
    t.match(await edge.logged({ path: '/shop' }), { response_code: 200 })
  })

  await t.test('outlier detection', async (t) => {
    await pods(web.namespace, `${base}/boom`, 20)
    t.same(new Set(await pods(web.namespace, `${base}/boom`, 10)), new Set(['reviews-1']), 'the other one is ejected')
    t.match((await client.admin('/ejections')).body, two.ipv4)
  })

  await t.test('tunnel, waypoint, tunnel', async (t) => {
    const answer = await ask(a.namespace, `http://${B_VIP}/x`)
    t.equal(answer.status, 200, answer.body)
    t.match(JSON.parse(answer.body), { pod: 'b', url: '/x' })
    t.same(await ask(a.namespace, `http://${B_VIP}/teapot`), { status: 418, body: 'by the waypoint' })
    t.same(await ask(a.namespace, `http://${B_VIP}/admin`), { status: 403, body: 'RBAC: access denied' })
    t.match(await way.logged({ path: '/x' }), { response_code: 200 })
    t.match(await nodeA.logged({ direction: 'outbound' }), { 'src.identity': a.identity, 'dst.identity': waypoint.identity })
    t.match(await nodeB.logged({ direction: 'inbound' }), { 'src.identity': waypoint.identity, 'dst.identity': b.identity })
    const direct = await ask(a.namespace, `http://${b.ipv4}:${APP_PORT}/direct`)
    t.match(JSON.parse(direct.body), { pod: 'b', url: '/direct' }, 'straight from tunnel to tunnel')
  })

  await t.test('all of it without control planes', async (t) => {
    for (const plane of Object.values(planes)) plane.stop()
    t.equal((await ask(web.namespace, `${base}/y`)).status, 200)
    t.equal((await ask(a.namespace, `http://${B_VIP}/y`)).status, 200)
  })
})
