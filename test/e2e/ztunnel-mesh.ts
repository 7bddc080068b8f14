// The world of the tests with a real ztunnel: pods of two ztunnels and of heddle, servers in them, and clients.
import { createHash } from 'node:crypto'
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Test } from 'tap'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { handOver, NODE_TOKEN, startFedNode } from '../support/fed-node.ts'
import { IstioCaServer } from '../support/istio-ca-server.ts'
import type { Finished, Namespace } from '../support/netns.ts'
import { type NodeMesh, nodeMesh, type Pod, type PodSpec } from '../support/node-mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { type FedService, WorkloadFeed } from '../support/workload-feed.ts'
import { Ztunnel } from '../support/ztunnel.ts'
import { APP_AS, PROXY_AS } from './pods.ts'
import { databaseClient, databaseServer, lateClient, lateServer } from './programs.ts'

export const HTTP = 8080
/** Ports of the servers beside HTTP: says nothing until the client has ended; speaks first; does as it is told. */
export const [LATE, FIRST, TOLD] = [9000, 9001, 9002]
export const PORTS = { 80: HTTP, [LATE]: LATE, [FIRST]: FIRST, [TOLD]: TOLD }
export const MIB = 2 ** 20

/** HTTP: what it was sent, and from where; `/bytes/N` that many; `/open` how many connections to TOLD are open. TOLD echoes, and resets on `reset`. */
export const servers = (name: string): string => `
  const { createHash } = require('crypto')
  let open = 0
  require('http').createServer((q, r) => {
    const bytes = /^\\/bytes\\/(\\d+)/.exec(q.url)
    if (bytes) return r.end(Buffer.alloc(Number(bytes[1]), 0x61))
    if (q.url === '/open') return r.end(String(open))
    const hash = createHash('sha256')
    let length = 0
    q.on('data', (d) => { hash.update(d); length += d.length }).on('end', () => {
      if (q.url === '/last') r.setHeader('connection', 'close')
      r.end(JSON.stringify({ pod: '${name}', url: q.url, length, hash: hash.digest('hex'), from: q.socket.remoteAddress.replace('::ffff:', ''),
        xfcc: q.headers['x-forwarded-client-cert'] ?? '' }))
    })
  }).listen(${HTTP}, '::')
  require('net').createServer((s) => {
    open++
    s.on('error', () => {}).on('close', () => open--).on('data', (d) => d.includes('reset') ? s.resetAndDestroy() : s.write(d))
  }).listen(${TOLD}, '::')
  { ${lateServer(LATE)} }
  { ${databaseServer(FIRST)} }`

interface Echo {
  readonly pod: string
  readonly url: string
  readonly length: number
  readonly hash: string
  readonly from: string
  readonly xfcc: string
}

/** Node of the pods that heddle carries; the others have a ztunnel each. */
export const HEDDLE_NODE = 2
/** No pod of a node's tunnel. */
export const PLAIN = { node: 0, ambient: false } as const

/** A service of one pod at 10.20.0.number. */
export const direct = (name: string, number: number): FedService => ({ name, vip: `10.20.0.${number}`, ports: PORTS })
/** The same pod's behind a waypoint, at 10.20.1.number. */
export const behind = (name: string, number: number, waypoint: string): FedService => ({
  name: `${name}-way`,
  vip: `10.20.1.${number}`,
  ports: PORTS,
  waypoint,
})

/** One feed, one CA; nodes 0 and 1 with a ztunnel, and one for heddle. */
export class ZtunnelMesh {
  readonly mesh: NodeMesh
  readonly plane: FakeControlPlane
  readonly feed: WorkloadFeed
  readonly ca: IstioCaServer
  readonly authority: SigningCa
  readonly tunnels: readonly [Ztunnel, Ztunnel]
  private readonly specs: readonly PodSpec[]

  private constructor(
    mesh: NodeMesh,
    { plane, ca, authority }: { readonly plane: FakeControlPlane; readonly ca: IstioCaServer; readonly authority: SigningCa },
    tunnels: readonly [Ztunnel, Ztunnel],
    specs: readonly PodSpec[],
  ) {
    this.mesh = mesh
    this.plane = plane
    this.feed = new WorkloadFeed(mesh, plane)
    this.ca = ca
    this.authority = authority
    this.tunnels = tunnels
    this.specs = specs
  }

  /** Nothing is fed yet, and nothing handed over. */
  static async start(t: Test, pods: readonly PodSpec[]): Promise<ZtunnelMesh> {
    const mesh = await nodeMesh(t, { pods, withoutHeddle: [0, 1, HEDDLE_NODE] })
    mesh.router.run('chmod', '755', mesh.folder)
    const authority = await SigningCa.root(t)
    const ca = await IstioCaServer.start(t, authority)
    const plane = await FakeControlPlane.start(t)
    const identities = [...mesh.pods.values()].map((p) => p.identity)
    ca.nodes.set(NODE_TOKEN, [...identities, 'spiffe://cluster.local/ns/istio-system/sa/ztunnel'])
    const from = { plane, ca, authority }
    const [a, b] = mesh.nodes as [Namespace, Namespace]
    const tunnels = [
      await Ztunnel.start(t, { ...from, namespace: a }),
      await Ztunnel.start(t, { ...from, namespace: b }),
    ] as const
    t.teardown(() => {
      if (t.passing()) return
      for (const { log } of tunnels) process.stderr.write(`--- what a ztunnel said:\n${log.slice(-6000)}\n`)
    })
    const world = new ZtunnelMesh(mesh, from, tunnels, pods)
    // Nobody is ready before there is a policy, or that there is none.
    world.feed.policy('nothing', { action: 1 })
    return world
  }

  pod(name: string): Pod {
    return this.mesh.pod(name)
  }

  podsOf(node: number): readonly Pod[] {
    return this.specs.filter((p) => p.node === node && p.ambient !== false).map(({ name }) => this.pod(name))
  }

  /** To the ztunnels, which are ready then. */
  async handOver(): Promise<void> {
    for (const [node, tunnel] of this.tunnels.entries()) {
      await handOver(tunnel.agent, this.podsOf(node))
      await tunnel.ready()
    }
  }

  /** heddle. `more`: pods of others. */
  startNode(t: Teardown, more: readonly Pod[] = []): Promise<HeddleProcess> {
    const { mesh, plane, ca, authority } = this
    return startFedNode(t, { mesh, plane, ca, authority, pods: [...this.podsOf(HEDDLE_NODE), ...more] })
  }

  /** As options of Node's TLS. */
  async credentials(name: string, identity: string): Promise<string> {
    await this.files(name, identity)
    const read = (file: string) => readFileSync(path.join(this.mesh.folder, `certs-${name}`, file), 'utf8')
    return JSON.stringify({ cert: read('cert.pem'), key: read('key.pem'), ca: read('root.pem') })
  }

  async files(name: string, identity = this.pod(name).identity): Promise<object> {
    const out = path.join(this.mesh.folder, `certs-${name}`)
    mkdirSync(out, { recursive: true })
    const { chain, key } = await this.authority.issue({ uris: [identity] })
    const files = {
      certificateChain: path.join(out, 'cert.pem'),
      privateKey: path.join(out, 'key.pem'),
      roots: path.join(out, 'root.pem'),
    }
    writeFileSync(files.certificateChain, chain)
    writeFileSync(files.privateKey, key)
    writeFileSync(files.roots, this.authority.rootPem)
    for (const file of [out, ...Object.values(files)]) chownSync(file, PROXY_AS.uid, PROXY_AS.gid)
    return { source: 'files', files }
  }
}

/** As the application of a pod. */
export function run(pod: Pod, command: string, args: readonly string[], budgetMs = 40_000): Promise<Finished> {
  const user = [`--reuid=${APP_AS.uid}`, `--regid=${APP_AS.gid}`, '--clear-groups', '--']
  return pod.namespace.exec('setpriv', [...user, command, ...args], { budgetMs })
}

export const node = (pod: Pod, script: string): Promise<Finished> => run(pod, process.execPath, ['-e', script])
/** Sources for `node -e`, one after the other in one process: what each says first. */
export async function inTurn(pod: Pod, sources: readonly string[]): Promise<readonly string[]> {
  const script = `
    const step = (source) => new Promise((resolve) => {
      const say = (text) => resolve(String(text))
      new Function('require', 'console', 'process', source)(require, { log: say, error: (why) => say('failed: ' + why) }, { exit() {} })
    })
    ;(async () => {
      const said = []
      for (const source of ${JSON.stringify(sources)}) said.push(await step(source))
      console.log(JSON.stringify(said))
      process.exit()
    })()`
  const { stdout, stderr } = await node(pod, script)
  if (!stdout.startsWith('[')) throw new Error(`${stdout}${stderr}`)
  return JSON.parse(stdout) as string[]
}

export const curl = (pod: Pod, ...args: readonly string[]): Promise<Finished> =>
  run(pod, 'curl', ['-sS', '--max-time', '15', ...args])

export async function ask(pod: Pod, ...args: readonly string[]): Promise<Echo> {
  const { stdout, stderr } = await curl(pod, ...args)
  if (!stdout.startsWith('{')) throw new Error(`no answer to ${args.join(' ')}: ${stderr}${stdout}`)
  return JSON.parse(stdout) as Echo
}

/** A client of TOLD: what it does when it is connected, when its connection is closed, and when bytes come. */
export const connectTold = (vip: string, on: string, onClose: string, onData = ''): string => `
  const s = require('net').connect(${TOLD}, '${vip}', () => { ${on} })
  s.setTimeout(15000, () => { console.log('silence'); process.exit(1) })
  s.on('error', () => {}).on('close', () => { ${onClose} }).on('data', () => { ${onData} })`

export interface Idle {
  /** Until it was answered once. */
  open(): Promise<unknown>
  /** `well` if it is answered again. */
  done(): Promise<string>
  /** What it says of its end. */
  closed(): Promise<string>
}

/** A connection that is answered once, and then says nothing until it is `done`. */
export function idle(pod: Pod, vip: string): Idle {
  const script = `const s = require('net').connect(${TOLD}, '${vip}', () => s.write('one'))
    let text = ''
    s.on('error', () => {}).on('close', () => { console.log('closed ' + text); process.exit() }).on('data', (d) => {
      text += d
      if (text === 'one') { console.log('open'); process.stdin.on('end', () => s.write('two')).resume() }
      if (text === 'onetwo') { console.log('well'); process.exit() }
    })`
  const child = pod.namespace.spawn(process.execPath, ['-e', script])
  let said = ''
  child.stdout.on('data', (d) => {
    said += d
  })
  const line = async (n: number): Promise<string> => {
    const lines = () => said.split('\n').slice(0, -1)
    await eventually(`line ${n} of a connection of ${pod.name}`, () => lines().length >= n, 10_000)
    return lines()[n - 1] as string
  }
  return {
    open: () => line(1),
    closed: () => line(2),
    done: () => {
      child.stdin.end()
      return line(2)
    },
  }
}

/** All that a client can do to a service, and what comes of it. `seen`: the address that its application sees. */
export async function traffic(
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

  const open = async () => (await curl(to, `http://127.0.0.1:${HTTP}/open`)).stdout
  const before = await open()
  const said = await inTurn(from, [
    lateClient(vip, LATE, 4 * MIB, 2),
    lateClient(vip, LATE, 20_000, 200),
    databaseClient(vip, FIRST, 40),
    connectTold(vip, 's.write("reset")', 'console.log("ended")'),
    connectTold(vip, 's.write("here")', '', 's.resetAndDestroy(); console.log("aborted")'),
  ])
  t.same(
    said,
    ['right 2', 'right 200', '40', 'ended', 'aborted'],
    'half-close with 4 MiB each way, 200 at once, the server first, its reset, and the client that resets',
  )
  await eventually('the server to see it', async () => (await open()) === before)
}

const PORT_NAMES = `[ { name: http, port: 80, targetPort: ${HTTP} }, { name: tcp-late, port: ${LATE} }, { name: tcp-first, port: ${FIRST} }, { name: tcp-told, port: ${TOLD} } ]`

/** A service and its pod as Kubernetes has them. */
export const kubernetes = ({ name, vip }: FedService, pod: Pod): string => `---
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
/** It takes HBONE. */
export const kubernetesPod = (pod: Pod): string => `---
apiVersion: v1
kind: Pod
metadata: { name: ${pod.name}, namespace: default, labels: { app: ${pod.name}, networking.istio.io/tunnel: http } }
spec: { serviceAccountName: ${pod.name} }
status: { podIP: ${pod.ipv4} }
`
