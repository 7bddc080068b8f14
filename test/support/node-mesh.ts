// Pods of ambient nodes: network namespaces with rules in force, one heddle of role `node` for each node, and what they know of each other.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { eventually } from './eventually.ts'
import { heddle } from './intercepted-pod.ts'
import { type Finished, type Namespace, Namespaces } from './netns.ts'
import { type HeddleProcess, type ProxyOptions, runHeddle, startProxy } from './proxy.ts'
import type { Teardown } from './teardown.ts'

export interface PodSpec {
  readonly name: string
  /** Which node it is on. */
  readonly node: number
  /** Default: `name`. */
  readonly serviceAccount?: string
  /** False: it has no tunnel, no rules, and others speak to it in plain text. */
  readonly ambient?: boolean
  /** More of its workload in ztunnel's format. */
  readonly workload?: Readonly<Record<string, unknown>>
}

export interface Pod {
  readonly name: string
  readonly namespace: Namespace
  readonly ipv4: string
  readonly ipv6: string
  /** SPIFFE id. */
  readonly identity: string
}

/** A policy of ztunnel's local file. */
export type PolicySpec = Readonly<Record<string, unknown>>

export interface NodeMeshOptions {
  readonly pods: readonly PodSpec[]
  /** Services of ztunnel's local file. */
  readonly services?: readonly Readonly<Record<string, unknown>>[]
  readonly policies?: readonly PolicySpec[]
  /** Of heddle.yaml, of all nodes. */
  readonly bootstrap?: Readonly<Record<string, unknown>>
  /** Packet filter of the rules. */
  readonly backend?: string
  /** Nodes whose heddle the test starts itself. */
  readonly withoutHeddle?: readonly number[]
}

export class NodeMesh {
  readonly folder: string
  readonly router: Namespace
  readonly pods: ReadonlyMap<string, Pod>
  readonly nodes: readonly Namespace[]
  readonly proxies: HeddleProcess[]
  private readonly byNode: Map<number, HeddleProcess>
  private readonly options: NodeMeshOptions
  private policies: readonly PolicySpec[]

  constructor(
    folder: string,
    router: Namespace,
    nodes: readonly Namespace[],
    pods: ReadonlyMap<string, Pod>,
    options: NodeMeshOptions,
  ) {
    this.folder = folder
    this.router = router
    this.nodes = nodes
    this.pods = pods
    this.proxies = []
    this.byNode = new Map()
    this.options = options
    this.policies = options.policies ?? []
  }

  pod(name: string): Pod {
    const pod = this.pods.get(name)
    if (pod === undefined) throw new Error(`no pod ${name}`)
    return pod
  }

  get worldFile(): string {
    return path.join(this.folder, 'world.yaml')
  }

  get caFolder(): string {
    return path.join(this.folder, 'ca')
  }

  /** Of the file that all nodes read. */
  world(): Readonly<Record<string, unknown>> {
    return {
      workloads: this.options.pods.map((spec) => {
        const pod = this.pod(spec.name)
        return {
          uid: `cluster1//Pod/default/${spec.name}`,
          name: spec.name,
          namespace: 'default',
          serviceAccount: spec.serviceAccount ?? spec.name,
          workloadIps: [pod.ipv4, pod.ipv6],
          protocol: spec.ambient === false ? 'TCP' : 'HBONE',
          node: `node${spec.node}`,
          canonicalName: spec.name,
          workloadName: spec.name,
          workloadType: 'deployment',
          clusterId: 'cluster1',
          ...spec.workload,
        }
      }),
      services: this.options.services ?? [],
      policies: this.policies,
    }
  }

  writeWorld(): void {
    writeFileSync(this.worldFile, JSON.stringify(this.world()))
  }

  /** Puts other policies in force on all nodes. */
  async setPolicies(policies: readonly PolicySpec[]): Promise<void> {
    this.policies = policies
    const before = await Promise.all(this.proxies.map((p) => p.version()))
    this.writeWorld()
    for (const [i, proxy] of this.proxies.entries())
      await eventually('the new policies', async () => (await proxy.version()) > (before[i] as number))
  }

  /** Name of the node that a pod is on. */
  nodeOf(pod: string): string {
    return `node${this.options.pods.find((p) => p.name === pod)?.node}`
  }

  /** heddle of the node that a pod is on. */
  proxyOf(pod: string): HeddleProcess {
    const { node } = this.options.pods.find((p) => p.name === pod) as PodSpec
    const proxy = this.byNode.get(node)
    if (proxy === undefined) throw new Error(`no heddle on node ${node}`)
    return proxy
  }

  /** Another name for the network namespace of a pod, and its end. */
  bindNamespace(pod: Pod, name: string): void {
    writeFileSync(name, '')
    this.router.run('mount', '--bind', pod.namespace.path, name)
  }

  unbindNamespace(name: string): void {
    // Lazily, as CNI and ip do it: who has it open would hold it.
    this.router.run('umount', '-l', name)
    rmSync(name)
  }

  async startNode(t: Teardown, node: number, over: Readonly<Record<string, unknown>> = {}): Promise<HeddleProcess> {
    const pods = this.options.pods.filter((p) => p.node === node && p.ambient !== false)
    const {
      node: nodeOver = {},
      identity = {},
      ...rest
    } = { ...this.options.bootstrap, ...over } as { node?: object; identity?: object }
    const options: ProxyOptions = {
      namespace: this.nodes[node] as Namespace,
      listeners: [],
      bootstrap: {
        role: 'node',
        ...rest,
        identity: { source: 'dev-ca', devCa: { folder: this.caFolder }, ...identity },
        node: {
          workloads: [this.worldFile],
          pods: pods.map(({ name, serviceAccount = name }) => ({
            name,
            namespace: 'default',
            serviceAccount,
            netns: this.pod(name).namespace.path,
          })),
          ...nodeOver,
        },
      },
    }
    const proxy = await startProxy(t, options)
    this.proxies.push(proxy)
    this.byNode.set(node, proxy)
    return proxy
  }
}

/** All pods are members of one network and reach each other; a service's address leads nowhere but into the rules. */
export async function nodeMesh(t: Teardown, options: NodeMeshOptions): Promise<NodeMesh> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-nodes-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const namespaces = Namespaces.make(t)
  const router = namespaces.add('router')
  const count = Math.max(...options.pods.map((p) => p.node)) + 1
  const nodes = Array.from({ length: count }, (_, i) => namespaces.add(`node${i}`))
  const pods = new Map<string, Pod>()
  for (const [i, spec] of options.pods.entries()) {
    const { name, serviceAccount = name } = spec
    const identity = `spiffe://cluster.local/ns/default/sa/${serviceAccount}`
    pods.set(name, { name, namespace: namespaces.add(name), ipv4: `10.10.0.${i + 2}`, ipv6: `fd10::${i + 2}`, identity })
  }
  namespaces.bridge(
    { namespace: router, addresses: ['10.10.0.1/24', 'fd10::1/64'] },
    [...pods.values()].map((p) => ({ namespace: p.namespace, addresses: [`${p.ipv4}/24`, `${p.ipv6}/64`] })),
  )
  const mesh = new NodeMesh(folder, router, nodes, pods, options)
  for (const { namespace } of pods.values()) {
    namespace.run('ip', '-4', 'route', 'add', 'default', 'via', '10.10.0.1')
    namespace.run('ip', '-6', 'route', 'add', 'default', 'via', 'fd10::1')
  }
  const ca = await runHeddle(['ca', 'init', '--out', mesh.caFolder])
  if (ca.code !== 0) throw new Error(ca.stderr)
  mesh.writeWorld()
  for (const spec of options.pods) {
    if (spec.ambient === false) continue
    const { code, stderr } = await heddle(mesh.pod(spec.name).namespace, [
      'apply',
      '--ambient',
      ...(options.backend === undefined ? [] : ['--backend', options.backend]),
    ])
    if (code !== 0) throw new Error(stderr)
  }
  for (const node of nodes.keys()) if (!(options.withoutHeddle ?? []).includes(node)) await mesh.startNode(t, node)
  return mesh
}

/** A program of Node in a pod that listens on this port; resolves when it does. */
export async function serve({ namespace }: Pod, script: string, port: number): Promise<void> {
  const child = namespace.spawn(process.execPath, ['-e', script])
  let stderr = ''
  child.stderr.on('data', (d) => {
    stderr += d
  })
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  await eventually(`a listener on ${port}`, () => {
    if (child.exitCode !== null) throw new Error(stderr)
    return new RegExp(`:${hex} 0+:0000 0A`).test(namespace.run('cat', '/proc/net/tcp6', '/proc/net/tcp'))
  })
}

export async function curl({ namespace }: Pod, url: string): Promise<Finished & { readonly refused: boolean }> {
  // A URL of telnet ends with its input.
  const finished = await namespace.exec('curl', ['-sS', '--max-time', '8', url], { budgetMs: 20_000 })
  // What is accepted and then reset curl sees in the middle of connecting, or behind it.
  return { ...finished, refused: finished.code === 7 || finished.code === 56 }
}

/** What a program of Node in a pod says until it ends. */
export async function said({ namespace }: Pod, script: string, budgetMs = 10_000): Promise<string> {
  const { stdout, stderr } = await namespace.exec(process.execPath, ['-e', script], { budgetMs })
  return (stdout + stderr).trim()
}

/** Certificate and key of an identity, as options of Node's TLS. */
export async function certificate(mesh: NodeMesh, identity: string, ca = mesh.caFolder): Promise<string> {
  const out = path.join(mesh.folder, `issued-${identity.replace(/\W+/g, '-')}-${path.basename(ca)}`)
  const issued = await runHeddle(['ca', 'issue', '--identity', identity, '--ca', ca, '--out', out])
  if (issued.code !== 0) throw new Error(issued.stderr)
  const read = (name: string) => readFileSync(path.join(out, name), 'utf8')
  // Peers of the test trust the mesh, whoever signed their own certificate.
  const roots = readFileSync(path.join(mesh.caFolder, 'root-cert.pem'), 'utf8')
  return JSON.stringify({ cert: read('cert-chain.pem'), key: read('key.pem'), ca: roots })
}
