// The tunnel of a node in one worker: what is known of the mesh, and the pods whose connections it carries.
import { MeshIndex } from '../decide/tunnel/mesh-index.ts'
import { L4Authorizer } from '../policy/l4-authorizer.ts'
import { EMPTY_WORLD, type WorkloadWorld } from '../state/workload-world.ts'
import type { OutboundSession } from './outbound-session.ts'
import { PodTunnel } from './pod-tunnel.ts'
import type { TunnelParts } from './tunnel-parts.ts'

/** What was cut at the end of a drain. */
export interface CutTunnel {
  readonly peer: string
  readonly what: string
}

export class NodeTunnel {
  readonly parts: TunnelParts
  readonly pods: readonly PodTunnel[]
  /** Nobody may be sent to these through us: it would come back for ever. */
  readonly ownPorts: readonly number[]
  /** Of several workers one tells what all see. */
  readonly speaks: boolean
  index: MeshIndex
  authorizer: L4Authorizer
  draining: boolean
  /** Connections whose pod nobody has told of yet. */
  private readonly waiting: Set<OutboundSession>

  constructor(parts: TunnelParts, world: WorkloadWorld, speaks: boolean) {
    const { outboundPort, inboundPort, tunnelPort, pods } = parts.config
    this.parts = parts
    this.speaks = speaks
    this.ownPorts = [outboundPort, inboundPort, tunnelPort]
    this.index = new MeshIndex(EMPTY_WORLD)
    this.authorizer = new L4Authorizer([])
    this.draining = false
    this.waiting = new Set()
    this.pods = pods.map((pod) => new PodTunnel(this, pod))
    this.use(world)
  }

  /** Resolves when all pods that are there are listened for; the others are waited for. */
  async open(): Promise<void> {
    for (const pod of this.pods) await pod.open()
  }

  /** Between two events: connections that are open go on, unless policy has something against them now. */
  use(world: WorkloadWorld): void {
    this.index = new MeshIndex(world)
    this.authorizer = new L4Authorizer(world.policies)
    this.parts.metrics.forget()
    for (const session of [...this.waiting]) session.sourceMayBeKnown()
    for (const pod of this.pods) pod.recheck()
  }

  waitForSource(session: OutboundSession): void {
    this.waiting.add(session)
  }

  stopWaiting(session: OutboundSession): void {
    this.waiting.delete(session)
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
