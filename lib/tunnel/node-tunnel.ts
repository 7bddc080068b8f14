// The tunnel of a node in one worker: what is known of the mesh, and the pods whose connections it carries.
import { MeshIndex } from '../decide/tunnel/mesh-index.ts'
import { L4Authorizer } from '../policy/l4-authorizer.ts'
import { type Authorization, policyKey } from '../state/authorization.ts'
import type { ServedPod } from '../state/bootstrap-config.ts'
import { EMPTY_WORLD, type WorkloadWorld, type WorldChange } from '../state/workload-world.ts'
import { PodTunnel } from './pod-tunnel.ts'
import type { TunnelParts } from './tunnel-parts.ts'

/** What was cut at the end of a drain. */
export interface CutTunnel {
  readonly peer: string
  readonly what: string
}

/** Cannot go on before its pod is known and has its certificate. */
export interface IdentityWaiter {
  identityMayBeKnown(): void
}

export class NodeTunnel {
  readonly parts: TunnelParts
  /** By uid. */
  private readonly byUid: Map<string, PodTunnel>
  /** Nobody may be sent to these through us: it would come back for ever. */
  readonly ownPorts: readonly number[]
  /** Of several workers one tells what all see. */
  readonly speaks: boolean
  index: MeshIndex
  authorizer: L4Authorizer
  draining: boolean
  /** Whose pod nobody has told of yet, or whose certificate has not come. */
  private readonly waiting: Set<IdentityWaiter>
  /** By `policyKey`. */
  private policies: Map<string, Authorization>

  constructor(parts: TunnelParts, world: WorkloadWorld, pods: readonly ServedPod[], speaks: boolean) {
    const { outboundPort, inboundPort, tunnelPort } = parts.config
    this.parts = parts
    this.speaks = speaks
    this.ownPorts = [outboundPort, inboundPort, tunnelPort]
    this.index = new MeshIndex(EMPTY_WORLD, parts.clusterId)
    this.authorizer = new L4Authorizer([])
    this.draining = false
    this.waiting = new Set()
    this.byUid = new Map(pods.map((pod) => [pod.uid, new PodTunnel(this, pod)]))
    this.policies = new Map()
    this.use(world)
  }

  /** Resolves when all pods that are there are listened for; the others are waited for. */
  async open(): Promise<void> {
    for (const pod of this.pods) await pod.open()
  }

  get pods(): Iterable<PodTunnel> {
    return this.byUid.values()
  }

  /** Between two events: connections that are open go on, unless policy has something against them now. */
  use(world: WorkloadWorld): void {
    this.index = new MeshIndex(world, this.parts.clusterId)
    this.policies = new Map(world.policies.map((p) => [policyKey(p), p]))
    this.authorizer = new L4Authorizer(world.policies)
    this.changed(true)
  }

  /** As `use`, in proportion to what changed. */
  apply({ put, removed }: WorldChange): void {
    this.index.apply({ put, removed })
    const policiesChanged = put.policies.length > 0 || removed.policies.length > 0
    for (const key of removed.policies) this.policies.delete(key)
    for (const policy of put.policies) this.policies.set(policyKey(policy), policy)
    if (policiesChanged) this.authorizer = new L4Authorizer([...this.policies.values()])
    this.changed(policiesChanged)
  }

  /** Certificates have come. */
  wake(): void {
    for (const waiter of [...this.waiting]) waiter.identityMayBeKnown()
  }

  private changed(policies: boolean): void {
    this.parts.metrics.forget()
    this.wake()
    for (const pod of this.pods) pod.recheck(policies)
  }

  /** Resolves with '' when its connections are taken, else with why they are not; then it is tried again every second. */
  async openPod(config: ServedPod): Promise<string> {
    const before = this.byUid.get(config.uid)
    if (before !== undefined && before.config.netnsIdentity === config.netnsIdentity) return before.open()
    this.closePod(config.uid)
    if (this.draining) return 'the tunnel is being drained'
    const pod = new PodTunnel(this, config)
    this.byUid.set(config.uid, pod)
    return pod.open()
  }

  /** The pod is gone, and nobody is left who could finish anything. */
  closePod(uid: string): void {
    this.byUid.get(uid)?.close('connection closed: the pod is gone')
    this.byUid.delete(uid)
  }

  waitForIdentity(waiter: IdentityWaiter): void {
    this.waiting.add(waiter)
  }

  stopWaiting(waiter: IdentityWaiter): void {
    this.waiting.delete(waiter)
  }

  get connections(): number {
    let n = 0
    for (const pod of this.pods) n += pod.connections
    return n
  }

  /** About once a second. */
  sweep(): void {
    for (const pod of this.pods) pod.sweep()
  }

  /** Nothing new is accepted, tunnels are told to go, connections go on. */
  drain(): void {
    this.draining = true
    for (const pod of this.pods) pod.drain()
  }

  /** The drain is over: what is still there ends. */
  cut(): readonly CutTunnel[] {
    const cut: CutTunnel[] = []
    for (const pod of this.pods) {
      for (const { record } of pod.sessions)
        cut.push({
          peer: record.sourceAddress,
          what: `tunnel ${record.direction} to ${record.hboneAddress || record.destinationAddress}`,
        })
      pod.cut('connection closed due to connection drain')
    }
    return cut
  }
}
