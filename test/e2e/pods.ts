// A mesh of pods: network namespaces on one bridge, each with heddle as a sidecar, its rules in force, a CA for all, and programs that know nothing of it.
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { eventually } from '../support/eventually.ts'
import { type Namespace, Namespaces } from '../support/netns.ts'
import { BIN, type HeddleProcess, runHeddle, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'

/** Everything of a workload that its proxy and its peers say of it. */
export interface PodSpec {
  readonly name: string
  readonly app: string
  readonly version?: string
  /** Last part of its addresses. */
  readonly number: number
  readonly serviceAccount?: string
  /** Without a sidecar it is outside of the mesh. Default true. */
  readonly mesh?: boolean
}

export const PROXY_AS = { uid: 1337, gid: 1337 } as const
export const APP_AS = { uid: 1000, gid: 1000 } as const

export class Pod {
  readonly spec: PodSpec
  readonly namespace: Namespace
  /** null: it has none, or none yet. */
  proxy: HeddleProcess | null

  constructor(spec: PodSpec, namespace: Namespace) {
    this.spec = spec
    this.namespace = namespace
    this.proxy = null
  }

  get ip(): string {
    return `10.8.0.${this.spec.number}`
  }

  get ip6(): string {
    return `fd08::${this.spec.number}`
  }

  get identity(): string {
    return `spiffe://cluster.local/ns/default/sa/${this.spec.serviceAccount ?? this.spec.app}`
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

  /** As the application, an unmodified curl. */
  async curl(
    ...args: readonly string[]
  ): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
    return this.namespace.exec('curl', ['-sS', '--max-time', '10', ...args], { as: APP_AS })
  }

  /** An unmodified program, as the application; resolves when it has said `on`. */
  async serve(script: string): Promise<void> {
    const child = this.namespace.spawn(process.execPath, ['-e', script], { as: APP_AS })
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (d) => {
        said += String(d)
      })
    await eventually(`a server in ${this.spec.name}`, () => {
      if (said !== '' && !said.startsWith('on')) throw new Error(said)
      return said.startsWith('on')
    })
  }
}

/** Answers with who it is, what it was sent and whence. */
export function echoServer(name: string, port: number): string {
  return `require('http').createServer((q, r) => { let n = 0; q.on('data', (d) => n += d.length); q.on('end', () => {
    const status = Number(q.headers['x-answer'] || 200)
    r.writeHead(status, { 'content-type': 'application/json' })
    r.end(JSON.stringify({ pod: '${name}', url: q.url, bytes: n, from: q.socket.remoteAddress.replace('::ffff:', ''), headers: q.headers }))
  }) }).listen(${port}, '::', () => console.log('on'))`
}

/** A ClusterIP service over IPv4 and IPv6 of the pods with a label app, and its endpoints. */
export function service(
  name: string,
  number: number,
  port: number,
  target: number,
  portName: string,
  pods: readonly Pod[],
): string {
  const slice = (family: 'IPv4' | 'IPv6') => `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}-${family.toLowerCase()}, namespace: default, labels: { kubernetes.io/service-name: ${name} } }
addressType: ${family}
ports: [ { name: ${portName}, port: ${target}, protocol: TCP } ]
endpoints:
${pods.map((p) => `  - { addresses: [ "${family === 'IPv4' ? p.ip : p.ip6}" ], targetRef: { kind: Pod, name: ${p.spec.name}, namespace: default } }`).join('\n')}
`
  return `---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: default }
spec:
  selector: { app: ${name} }
  clusterIPs: [ 10.96.0.${number}, "fd96::${number}" ]
  clusterIP: 10.96.0.${number}
  ports: [ { name: ${portName}, port: ${port}, targetPort: ${target} } ]
${slice('IPv4')}`
}

export class Mesh {
  readonly node: Namespace
  readonly pods: readonly Pod[]
  /** Of `heddle ca`. */
  readonly ca: string
  readonly dir: string
  private readonly t: Teardown

  private constructor(t: Teardown, dir: string, node: Namespace, pods: readonly Pod[]) {
    this.t = t
    this.dir = dir
    this.ca = path.join(dir, 'ca')
    this.node = node
    this.pods = pods
  }

  static async make(t: Teardown, specs: readonly PodSpec[]): Promise<Mesh> {
    const namespaces = Namespaces.make(t)
    const node = namespaces.add('node')
    const pods = specs.map((spec) => new Pod(spec, namespaces.add(spec.name)))
    namespaces.bridge(
      { namespace: node, addresses: ['10.8.0.1/24', 'fd08::1/64'] },
      pods.map((p) => ({ namespace: p.namespace, addresses: [`${p.ip}/24`, `${p.ip6}/64`] })),
    )
    for (const pod of pods) {
      pod.namespace.run('ip', '-4', 'route', 'add', 'default', 'via', '10.8.0.1')
      pod.namespace.run('ip', '-6', 'route', 'add', 'default', 'via', 'fd08::1')
    }
    const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-e2e-'))
    t.teardown(() => rmSync(dir, { recursive: true, force: true }))
    const mesh = new Mesh(t, dir, node, pods)
    await mesh.heddle('ca', 'init', '--out', mesh.ca)
    return mesh
  }

  pod(name: string): Pod {
    const pod = this.pods.find((p) => p.spec.name === name)
    if (pod === undefined) throw new Error(`no pod ${name}`)
    return pod
  }

  /** A heddle command that has to succeed. */
  async heddle(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await runHeddle(args)
    if (code !== 0) throw new Error(`heddle ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
    return stdout
  }

  /** Certificate files of a pod, written anew. */
  async issue(pod: Pod, ttl = '24h'): Promise<string> {
    const folder = path.join(this.dir, `certs-${pod.spec.name}`)
    await this.heddle('ca', 'issue', '--ca', this.ca, '--identity', pod.identity, '--ttl', ttl, '--out', folder)
    // The proxy runs as somebody else than the test.
    chmodSync(this.dir, 0o755)
    for (const name of ['', ...readdirSync(folder)]) chownSync(path.join(folder, name), PROXY_AS.uid, PROXY_AS.gid)
    return folder
  }

  /** Sidecar and rules of a pod; `resources` is the world without the pods, which are added. */
  async sidecar(pod: Pod, resources: string, bootstrap: Readonly<Record<string, unknown>> = {}): Promise<HeddleProcess> {
    const certs = await this.issue(pod)
    const { app, version = 'v1', serviceAccount = app, name } = pod.spec
    const proxy = await startProxy(this.t, {
      namespace: pod.namespace,
      as: PROXY_AS,
      listeners: [],
      resources: resources + this.pods.map((p) => p.yaml).join(''),
      bootstrap: {
        concurrency: 1,
        workload: { namespace: 'default', serviceAccount, name, address: pod.ip, labels: { app, version } },
        capture: { mode: 'redirect', address: '::' },
        identity: {
          source: 'files',
          files: {
            certificateChain: path.join(certs, 'cert-chain.pem'),
            privateKey: path.join(certs, 'key.pem'),
            roots: path.join(certs, 'root-cert.pem'),
          },
        },
        ...bootstrap,
      },
    })
    pod.proxy = proxy
    pod.namespace.run(process.execPath, BIN, 'iptables', 'apply')
    return proxy
  }
}
