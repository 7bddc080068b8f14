// The role `node`: the tunnel of all pods of a node, in ztunnel's place. It carries their connections to each other over HBONE, as them, and lets in who
// may come; HTTP is never looked at. On one screen:
//
// - what it needs of the system: NEEDS, tried before anything else;
// - what it knows: `node.workloads`, read with the resources into `Snapshot.world`, and so reloaded and kept as they are; or a control plane's feed
//   (workload-source.ts), of which workers are told the changes;
// - whose tunnel it is: `node.pods`, and those that the node's agent hands over (xds/workload/zds-client.ts), which is answered when the sockets are there;
// - names: with `dns.port`, what its pods ask is answered on the main thread, too (pod-dns.ts);
// - who it is: for each pod the identity of its workload, wanted from the CertificateManager as long as a pod has it;
// - threads: the main thread, which wants certificates and looks names up, and workers, each of which has sockets of its own in each pod (tunnel/);
// - listeners: in the network namespace of each pod, 15001 for what it sends, 15006 for plain text to it, 15008 for tunnels to it.
import type { TunnelView } from '../admin/admin-source.ts'
import { Rng } from '../base/rng.ts'
import { MeshIndex } from '../decide/tunnel/mesh-index.ts'
import type { PodConfig, ServedPod } from '../state/bootstrap-config.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { workloadIdentity } from '../state/workload.ts'
import { EMPTY_WORLD, type WorkloadWorld, type WorldChange } from '../state/workload-world.ts'
import type { Ability } from '../sys/capabilities.ts'
import type { ControlPlaneMetrics } from '../telemetry/control-plane-metrics.ts'
import { DnsMetrics } from '../telemetry/dns-metrics.ts'
import { PodMetrics } from '../telemetry/pod-metrics.ts'
import type { AdsStatus } from '../xds/client/ads-status.ts'
import { openAdsClient } from '../xds/client/open-ads-client.ts'
import type { UpdateConsumer } from '../xds/client/resource-update.ts'
import { type HandedPod, type PodKeeper, ZdsClient } from '../xds/workload/zds-client.ts'
import type { NodeInit, WorkerQuestion } from './messages.ts'
import type { PodDns } from './pod-dns.ts'
import type { RoleAssembly } from './role.ts'
import type { RolePart, RolePartOptions } from './role-part.ts'
import { WorkloadSource } from './workload-source.ts'

const NEEDS: readonly Ability[] = ['namespaces', 'mark', 'original-destination']
/** What it can do without where applications need not see their clients' addresses. */
const NEEDS_FOR_SOURCE: readonly Ability[] = ['transparent']

export const node: RoleAssembly = {
  needs: ({ node: { keepSource } }) => (keepSource ? [...NEEDS, ...NEEDS_FOR_SOURCE] : NEEDS),
  needsIdentity: () => true,
  part: (options) => new NodePart(options),
}

/** How long an answer holds that says nothing of it, and one that there is none. */
const NAME_TTL_MS = 30_000
const NO_NAME_TTL_MS = 1000
/** How often it is said what is waited for. */
const REMIND_MS = 10_000

/** Certificates for the pods, and addresses for the workers. */
class NodePart implements RolePart {
  readonly #options: RolePartOptions
  /** By uid. */
  readonly #podMetrics: PodMetrics
  /** Of those that were handed over. */
  readonly #served: Set<string>
  readonly #pods: Map<string, ServedPod>
  readonly #feed: WorkloadSource | null
  readonly #agent: ZdsClient | null
  /** null: none is configured, or it does not serve yet. */
  #dns: PodDns | null
  #index: MeshIndex
  /** Of files. */
  #world: WorkloadWorld
  /** Identities that were wanted. */
  #wanted: ReadonlySet<string>
  #wasReady: boolean
  #reminder: NodeJS.Timeout | null

  constructor(options: RolePartOptions) {
    const { bootstrap } = options
    this.#options = options
    this.#pods = new Map(bootstrap.node.pods.map((pod) => [uidOf(pod), { ...pod, uid: uidOf(pod), netnsIdentity: '' }]))
    this.#podMetrics = new PodMetrics(options.slab)
    this.#podMetrics.started(this.#pods.size)
    this.#served = new Set()
    this.#index = new MeshIndex(EMPTY_WORLD, bootstrap.xds.clusterId)
    this.#world = EMPTY_WORLD
    this.#wanted = new Set()
    this.#wasReady = false
    this.#reminder = null
    this.#dns = null
    this.#feed = feedOf(options, (change) => this.#onChange(change))
    const path = bootstrap.node.agentSocket
    const keeper: PodKeeper = {
      addPod: (pod) => this.#addPod(pod),
      removePod: (pod) => this.#removePod(pod),
      onStanding: () => {},
    }
    this.#agent = path === '' ? null : new ZdsClient({ path, keeper, log: options.log, rng: rng() })
  }

  get files(): readonly string[] {
    return this.#options.bootstrap.node.workloads
  }

  get init(): NodeInit {
    return { pods: [...this.#pods.values()], onDemand: this.#feed?.onDemand ?? false }
  }

  /** That one of the pods has to wait for its certificate is no fault of the node, but that none of them has one may be. */
  get ready(): boolean {
    this.#wasReady ||= this.#feed?.complete !== false && this.#agent?.ready !== false && this.#awaited().length === 0
    return this.#wasReady && this.#agent?.ready !== false
  }

  waitingFor(): readonly string[] {
    return [
      ...(this.#feed?.waitingFor() ?? []),
      ...(this.#agent?.waitingFor() ?? []),
      ...this.#awaited().map((id) => `a certificate for ${id}`),
    ]
  }

  view(): TunnelView {
    const { identity } = this.#options
    return {
      source: this.#feed === null ? 'files' : 'control plane',
      node: this.#aboutNode(),
      waitingFor: this.waitingFor(),
      pods: [...this.#pods.values()].map((pod) => {
        const { uid, name, namespace, serviceAccount } = pod
        const workload = this.#index.workloadByInfo(pod)
        const id = this.#identityOf(pod) ?? ''
        const hasCertificate = (identity?.material(id) ?? null) !== null
        return { uid, name, namespace, serviceAccount, workload: workload?.uid ?? '', identity: id, hasCertificate }
      }),
      world: this.#feed?.world ?? this.#world,
    }
  }

  #aboutNode(): TunnelView['node'] {
    const said = (this.#feed?.client.node.metadata ?? {}) as Readonly<Record<string, unknown>>
    const of = (key: string): string => (typeof said[key] === 'string' ? said[key] : '')
    const clusterId = of('CLUSTER_ID') || this.#options.bootstrap.xds.clusterId
    return { name: of('NODE_NAME'), pod: of('NAME'), network: of('NETWORK'), clusterId }
  }

  status(): AdsStatus | null {
    return this.#feed?.client.status ?? null
  }

  measure(metrics: ControlPlaneMetrics): void {
    this.#feed?.client.measure(metrics)
  }

  start(): void {
    void this.#openDns().then(() => {
      this.#feed?.start()
      this.#agent?.start()
    })
    this.#reminder = setInterval(() => {
      if (!this.ready) this.#options.log.info(`not ready: waiting for ${this.waitingFor().join('; ')}`)
    }, REMIND_MS).unref()
  }

  async close(): Promise<void> {
    if (this.#reminder !== null) clearInterval(this.#reminder)
    this.#dns?.closeAll()
    this.#agent?.close()
    await this.#feed?.close()
  }

  complete(snapshot: Snapshot): Snapshot {
    return this.#feed === null ? snapshot : { ...snapshot, world: this.#feed.world }
  }

  use({ world }: Snapshot): void {
    if (this.#feed !== null) return
    this.#world = world
    this.#index = new MeshIndex(world, this.#options.bootstrap.xds.clusterId)
    this.#wantCertificates()
    this.#dns?.changed()
  }

  answer(question: WorkerQuestion): void {
    if (question.type === 'resolve') this.#resolve(question.hostname)
    else {
      const { name } = question
      const said = (answered: boolean) => this.#options.tell({ type: 'asked', name, answered })
      if (this.#feed === null) said(true)
      else void this.#feed.ask(name).then(said)
    }
  }

  #resolve(hostname: string): void {
    const { names, tell } = this.#options
    names.resolve(hostname, 'V4_PREFERRED').then(
      ({ addresses, ttlMs }) => tell({ type: 'addresses', hostname, addresses, ttlMs: ttlMs ?? NAME_TTL_MS }),
      () => tell({ type: 'addresses', hostname, addresses: null, ttlMs: NO_NAME_TTL_MS }),
    )
  }

  #onChange(change: WorldChange): void {
    this.#index.apply(change)
    this.#options.tell({ type: 'world', change })
    this.#wantCertificates()
    this.#dns?.changed()
  }

  /** What answers is loaded only where it is wanted. */
  async #openDns(): Promise<void> {
    const { bootstrap, slab, log } = this.#options
    if (bootstrap.dns.port === 0) return
    const { PodDns } = await import('./pod-dns.ts')
    const knowsAll = this.#feed?.onDemand !== true
    this.#dns = new PodDns({ bootstrap, counts: new DnsMetrics(slab), log, index: () => this.#index, knowsAll })
    for (const pod of this.#pods.values()) void this.#dns.open(pod)
  }

  async #addPod({ uid, info, netns }: HandedPod): Promise<string> {
    const pod: ServedPod = { ...info, uid, netns: `/proc/self/fd/${netns.fd}`, netnsIdentity: netns.identity }
    this.#pods.set(uid, pod)
    this.#wantCertificates()
    this.#feed?.expect(info)
    this.#podMetrics.pending()
    const why = await this.#openPod(pod)
    const serves = why === '' && this.#pods.get(uid) === pod
    // An agent that comes back hands over again what is served already.
    this.#podMetrics.settled(serves && !this.#served.has(uid))
    if (serves) this.#served.add(uid)
    return why
  }

  async #openPod(pod: ServedPod): Promise<string> {
    const [answers, names] = await Promise.all([this.#options.ask({ type: 'open-pod', pod }), this.#dns?.open(pod) ?? ''])
    if (answers.length === 0) return 'no worker has answered'
    return [...(answers as string[]), names].find((why) => why !== '') ?? ''
  }

  #removePod({ uid }: HandedPod): void {
    this.#pods.delete(uid)
    if (this.#served.delete(uid)) this.#podMetrics.stopped()
    this.#dns?.close(uid)
    this.#options.tell({ type: 'close-pod', uid })
    this.#wantCertificates()
  }

  #wantCertificates(): void {
    const { identity } = this.#options
    const wanted = new Set([...this.#pods.values()].flatMap((pod) => this.#identityOf(pod) ?? []))
    for (const id of wanted) if (!this.#wanted.has(id)) identity?.want(id, true)
    for (const id of this.#wanted) if (!wanted.has(id) && id !== identity?.options.ownIdentity) identity?.drop(id)
    this.#wanted = wanted
  }

  /** Of a pod that nobody has told of yet what it will be, as far as the agent knows it: it may speak as soon as it runs. null: that is not known. */
  #identityOf(pod: ServedPod): string | null {
    const workload = this.#index.workloadByInfo(pod)
    if (workload !== null) return workloadIdentity(workload)
    const { trustDomain } = this.#options.bootstrap.identity
    return this.#feed === null ? null : workloadIdentity({ ...pod, trustDomain })
  }

  /** Identities without a certificate; but for those that were refused while others were not: a CA may know nothing of a pod that has ended meanwhile. */
  #awaited(): string[] {
    const { identity } = this.#options
    const missing = [...this.#wanted].filter((id) => identity?.material(id) === null)
    if (identity === null || missing.length === 0 || missing.length === this.#wanted.size) return missing
    const refused = new Set(identity.status().flatMap((s) => (s.failures > 0 ? s.identity : [])))
    return missing.filter((id) => !refused.has(id))
  }
}

/** null: what is known of the mesh is in files. */
function feedOf({ bootstrap, log, version }: RolePartOptions, onChange: (change: WorldChange) => void): WorkloadSource | null {
  const { address, onDemand, clusterId } = bootstrap.xds
  if (address === '') return null
  const connect = (onUpdate: UpdateConsumer) => openAdsClient({ bootstrap, env: process.env, log, rng: rng(), version, onUpdate })
  return new WorkloadSource({ connect, onDemand, clusterId, log, onChange })
}

/** For back-off. */
function rng(): Rng {
  return new Rng(Date.now() | 0)
}

/** Of a pod of the configuration. */
function uidOf({ namespace, name }: PodConfig): string {
  return `${namespace}/${name}`
}
