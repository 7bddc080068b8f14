// A mesh of pods: network namespaces on one bridge, each with heddle as a sidecar, its rules in force, a CA for all, and programs that know nothing of it.
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { eventually } from '../support/eventually.ts'
import { type Finished, type Namespace, Namespaces, type Running, type SpawnOptions } from '../support/netns.ts'
import { BIN, type HeddleProcess, ROOT, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'

/** Everything of a workload that its proxy and its peers say of it. */
export interface PodSpec {
  readonly name: string
  readonly app: string
  readonly version?: string
  /** Last part of its addresses. */
  readonly number: number
  readonly serviceAccount?: string
  /** Whether peers take it for a member of the mesh. Default true. */
  readonly mesh?: boolean
  /** Default `cluster.local`. */
  readonly trustDomain?: string
}

/** A service of one family; its endpoints listen on `target`. */
export interface ServiceSpec {
  readonly name: string
  /** Last part of its address; 0: headless. */
  readonly number: number
  /** Names say the protocol, as in Kubernetes. */
  readonly ports: readonly { readonly name: string; readonly port: number; readonly target: number }[]
  readonly pods: readonly string[]
  /** Default 4. */
  readonly family?: Family
}

export type Family = 4 | 6

/** Sidecar of a pod, where it differs from the others. */
export interface SidecarOptions {
  /** Of heddle.yaml. */
  readonly bootstrap?: Readonly<Record<string, unknown>>
  /** Of `heddle iptables apply`. */
  readonly rules?: readonly string[]
  /** Who runs the proxy, whose group is 1337. Default 1337. */
  readonly uid?: number
  /** Of node itself. */
  readonly nodeArgs?: readonly string[]
  /** Its certificate lives so long. Default 24h. */
  readonly ttl?: string
  /** Another CA: the folder of `heddle ca init`. */
  readonly ca?: string
}

export const PROXY_AS = { uid: 1337, gid: 1337 } as const
export const APP_AS = { uid: 1000, gid: 1000 } as const
/** Somewhere that no configuration knows; it is reached by way of the node. */
export const WORLD: Readonly<Record<Family, string>> = { 4: '198.51.100.7', 6: '2001:db8:7::7' }

export class Pod {
  readonly spec: PodSpec
  readonly namespace: Namespace
  /** null: it has none, or none yet. */
  proxy: HeddleProcess | null
  /** What its applications find in /etc/hosts. */
  private readonly hosts: string

  constructor(spec: PodSpec, namespace: Namespace, hosts: string) {
    this.spec = spec
    this.namespace = namespace
    this.proxy = null
    this.hosts = hosts
  }

  get ip(): string {
    return `10.8.0.${this.spec.number}`
  }

  get ip6(): string {
    return `fd08::${this.spec.number}`
  }

  address(family: Family): string {
    return family === 4 ? this.ip : this.ip6
  }

  get identity(): string {
    const { app, serviceAccount = app, trustDomain = 'cluster.local' } = this.spec
    return `spiffe://${trustDomain}/ns/default/sa/${serviceAccount}`
  }

  get sidecar(): HeddleProcess {
    if (this.proxy === null) throw new Error(`${this.spec.name} has no sidecar`)
    return this.proxy
  }

  /** As Kubernetes has it. */
  get yaml(): string {
    const { name, app, version = 'v1', serviceAccount = app, mesh = true } = this.spec
    const label = mesh ? '\n    security.istio.io/tlsMode: istio' : ''
    return `---
apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: default
  labels:
    app: ${app}
    version: ${version}${label}
spec: { serviceAccountName: ${serviceAccount} }
status: { podIP: ${this.ip}, podIPs: [ { ip: ${this.ip} }, { ip: "${this.ip6}" } ] }
`
  }

  /** A program as the application, to its end. */
  exec(
    command: string,
    args: readonly string[],
    options: SpawnOptions & { input?: string; budgetMs?: number } = {},
  ): Promise<Finished> {
    return this.namespace.exec('unshare', this.asApplication(command, args), { cwd: ROOT, budgetMs: 30_000, ...options })
  }

  /** As the application, an unmodified curl. */
  curl(...args: readonly string[]): Promise<Finished> {
    return this.exec('curl', ['-sS', '--max-time', '20', ...args])
  }

  /** As the application, a script of node: what it printed. Throws when it failed. */
  async script(source: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.exec(process.execPath, ['--experimental-websocket', '-e', source, ...args])
    if (code !== 0) throw new Error(`a script in ${this.spec.name} ended with ${code}: ${stderr}${stdout}`)
    return stdout
  }

  /** A program as the application that stays; the caller reads what it says. */
  start(source: string): Running {
    return this.namespace.spawn('unshare', this.asApplication(process.execPath, ['-e', source]), { cwd: ROOT })
  }

  /** Servers in one program, as the application; resolves when each has said `on`. */
  async serve(...sources: readonly string[]): Promise<Running> {
    const child = this.start(sources.map((source) => `{ ${source}\n}`).join('\n'))
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (d) => {
        said += String(d)
      })
    await eventually(
      `a server in ${this.spec.name}`,
      () => {
        if (said !== '' && !said.startsWith('on')) throw new Error(said)
        return said === 'on\n'.repeat(sources.length)
      },
      20_000,
    )
    return child
  }

  /** A mount namespace of its own, so that it finds the mesh's names where resolvers look first. Each program becomes the next. */
  private asApplication(command: string, args: readonly string[]): string[] {
    const names = 'mount --bind "$0" /etc/hosts && exec "$@"'
    const { uid, gid } = APP_AS
    const user = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--']
    return ['--mount', '--propagation', 'private', 'sh', '-c', names, this.hosts, ...user, command, ...args]
  }
}

export interface MeshSpec {
  readonly pods: readonly PodSpec[]
  readonly services: readonly ServiceSpec[]
  /** Further resources. */
  readonly policy?: string
}

export class Mesh {
  readonly node: Namespace
  readonly pods: readonly Pod[]
  /** Of `heddle ca`. */
  readonly ca: string
  readonly dir: string
  private readonly t: Teardown
  private readonly spec: MeshSpec

  private constructor(t: Teardown, spec: MeshSpec, dir: string, node: Namespace, pods: readonly Pod[]) {
    this.t = t
    this.spec = spec
    this.dir = dir
    this.ca = path.join(dir, 'ca')
    this.node = node
    this.pods = pods
  }

  static async make(t: Teardown, spec: MeshSpec): Promise<Mesh> {
    const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-e2e-'))
    t.teardown(() => rmSync(dir, { recursive: true, force: true }))
    // The proxies run as somebody else than the test.
    chmodSync(dir, 0o755)
    chownSync(dir, PROXY_AS.uid, PROXY_AS.gid)
    const hosts = path.join(dir, 'hosts')
    writeFileSync(hosts, hostsOf(spec.services))
    const namespaces = Namespaces.make(t)
    const node = namespaces.add('node')
    const pods = spec.pods.map((pod) => new Pod(pod, namespaces.add(pod.name), hosts))
    namespaces.bridge(
      { namespace: node, addresses: ['10.8.0.1/24', 'fd08::1/64'] },
      pods.map((p) => ({ namespace: p.namespace, addresses: [`${p.ip}/24`, `${p.ip6}/64`] })),
    )
    node.addAddress(`${WORLD[4]}/32`, 'lo')
    node.addAddress(`${WORLD[6]}/128`, 'lo')
    for (const pod of pods) {
      pod.namespace.run('ip', '-4', 'route', 'add', 'default', 'via', '10.8.0.1')
      pod.namespace.run('ip', '-6', 'route', 'add', 'default', 'via', 'fd08::1')
    }
    const mesh = new Mesh(t, spec, dir, node, pods)
    await mesh.makeCa(mesh.ca, 'cluster.local')
    return mesh
  }

  pod(name: string): Pod {
    const pod = this.pods.find((p) => p.spec.name === name)
    if (pod === undefined) throw new Error(`no pod ${name}`)
    return pod
  }

  async makeCa(folder: string, trustDomain: string): Promise<void> {
    await this.heddle('ca', 'init', '--trust-domain', trustDomain, '--out', folder)
  }

  /** A heddle command that has to succeed, as the proxies' user. */
  async heddle(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.node.exec(process.execPath, [BIN, ...args], { as: PROXY_AS, budgetMs: 30_000 })
    if (code !== 0) throw new Error(`heddle ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
    return stdout
  }

  certificatesOf(pod: Pod): string {
    return path.join(this.dir, `certs-${pod.spec.name}`)
  }

  /** Certificate files of a pod, written anew. */
  async issue(pod: Pod, ttl = '24h', ca = this.ca): Promise<string> {
    const folder = this.certificatesOf(pod)
    await this.heddle('ca', 'issue', '--ca', ca, '--identity', pod.identity, '--ttl', ttl, '--out', folder)
    return folder
  }

  /** A Service and its EndpointSlice. */
  yamlOf(service: ServiceSpec): string {
    return serviceYaml(service, (name) => this.pod(name))
  }

  /** Resources of the world, by file. */
  get resources(): Readonly<Record<string, string>> {
    const services = this.spec.services.map((s) => this.yamlOf(s))
    return {
      'mesh.yaml': [...services, ...this.pods.map((p) => p.yaml)].join(''),
      'policy.yaml': this.spec.policy ?? '',
    }
  }

  /** Sidecar and rules of a pod. */
  async sidecar(pod: Pod, options: SidecarOptions = {}): Promise<HeddleProcess> {
    const { bootstrap = {}, rules = [], uid = PROXY_AS.uid, nodeArgs = [], ttl, ca } = options
    const certs = await this.issue(pod, ttl, ca)
    const { app, version = 'v1', serviceAccount = app, name, trustDomain = 'cluster.local' } = pod.spec
    const proxy = await startProxy(this.t, {
      namespace: pod.namespace,
      as: { ...PROXY_AS, uid },
      listeners: [],
      resources: this.resources,
      nodeArgs,
      readyBudgetMs: 30_000,
      bootstrap: merged(
        {
          concurrency: 1,
          workload: { namespace: 'default', serviceAccount, name, address: pod.ip, labels: { app, version } },
          capture: { mode: 'redirect', address: '::' },
          identity: {
            source: 'files',
            trustDomain,
            files: {
              certificateChain: path.join(certs, 'cert-chain.pem'),
              privateKey: path.join(certs, 'key.pem'),
              roots: path.join(certs, 'root-cert.pem'),
            },
          },
        },
        bootstrap,
      ),
    })
    pod.proxy = proxy
    await this.rules(pod, ...rules)
    return proxy
  }

  /** `heddle iptables apply` in a pod. */
  async rules(pod: Pod, ...args: readonly string[]): Promise<void> {
    const applied = await pod.namespace.exec(process.execPath, [BIN, 'iptables', 'apply', ...args], { budgetMs: 30_000 })
    if (applied.code !== 0) throw new Error(`heddle iptables apply in ${pod.spec.name}: ${applied.stderr}${applied.stdout}`)
  }

  /** Sidecars of several pods; `options` by the pod's name. */
  async sidecars(names: readonly string[], options: Readonly<Record<string, SidecarOptions>> = {}): Promise<void> {
    await Promise.all(names.map((name) => this.sidecar(this.pod(name), options[name])))
  }

  /** Replaces files of resources at all sidecars (null removes one), and waits until that is in force. */
  async change(files: Readonly<Record<string, string | null>>): Promise<void> {
    await Promise.all(this.pods.flatMap((pod) => (pod.proxy?.isRunning === true ? [pod.proxy.reload(files, 15_000)] : [])))
  }
}

/** Name → address, as the cluster's DNS would say it. */
function hostsOf(services: readonly ServiceSpec[]): string {
  const lines = services
    .filter((s) => s.number !== 0)
    .map((s) => `${addressOf(s)} ${s.name} ${s.name}.default ${s.name}.default.svc ${s.name}.default.svc.cluster.local\n`)
  return `127.0.0.1 localhost\n::1 localhost\n${lines.join('')}`
}

/** Of a service. */
export function addressOf({ number, family = 4 }: ServiceSpec): string {
  return family === 4 ? `10.96.0.${number}` : `fd96::${number}`
}

function serviceYaml(spec: ServiceSpec, podOf: (name: string) => Pod): string {
  const { name, number, ports, family = 4 } = spec
  const pods = spec.pods.map(podOf)
  const address = number === 0 ? 'None' : addressOf(spec)
  const listed = ports.map((p) => `    - { name: ${p.name}, port: ${p.port}, targetPort: ${p.target}, protocol: TCP }`)
  const targets = ports.map((p) => `    - { name: ${p.name}, port: ${p.target}, protocol: TCP }`)
  const endpoints = pods.map((p) => {
    const targetRef = `{ kind: Pod, name: ${p.spec.name}, namespace: default }`
    return `    - { addresses: [ "${p.address(family)}" ], conditions: { ready: true }, targetRef: ${targetRef} }`
  })
  return `---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: default }
spec:
  selector: { app: ${pods[0]?.spec.app ?? name} }
  clusterIP: "${address}"
  clusterIPs: [ "${address}" ]
  ipFamilies: [ IPv${family} ]
  ports:
${listed.join('\n')}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}-1, namespace: default, labels: { kubernetes.io/service-name: ${name} } }
addressType: IPv${family}
ports:
${targets.join('\n')}
endpoints:
${endpoints.join('\n')}
`
}

type Tree = Readonly<Record<string, unknown>>

function merged(base: Tree, over: Tree): Tree {
  const out: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const there = out[key]
    out[key] = isTree(there) && isTree(value) ? merged(there, value) : value
  }
  return out
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
