// The role `node`: the tunnel of all pods of a node, in ztunnel's place. It carries their connections to each other over HBONE, as them, and lets in who
// may come; HTTP is never looked at. On one screen:
//
// - what it needs of the system: NEEDS, tried before anything else;
// - what it knows: `node.workloads`, read with the resources into `Snapshot.world`, and so reloaded and kept as they are;
// - who it is: for each of `node.pods` the identity of its workload, wanted from the CertificateManager as long as the pod has it;
// - threads: the main thread, which wants certificates and looks names up, and workers, each of which has sockets of its own in each pod (tunnel/);
// - listeners: in the network namespace of each pod, 15001 for what it sends, 15006 for plain text to it, 15008 for tunnels to it.
import { MeshIndex } from '../decide/tunnel/mesh-index.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { workloadIdentity } from '../state/workload.ts'
import type { WorkloadWorld } from '../state/workload-world.ts'
import type { Ability } from '../sys/capabilities.ts'
import type { RoleAssembly } from './role.ts'
import type { RolePart, RolePartOptions } from './role-part.ts'

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

/** Certificates for the pods, and addresses for the workers. */
class NodePart implements RolePart {
  readonly #options: RolePartOptions
  /** Identities that were wanted. */
  #wanted: ReadonlySet<string>
  #wasReady: boolean

  constructor(options: RolePartOptions) {
    this.#options = options
    this.#wanted = new Set()
    this.#wasReady = false
  }

  get files(): readonly string[] {
    return this.#options.bootstrap.node.workloads
  }

  /** All pods have had their certificates; that one of them has to wait for its next one later is no fault of the node. */
  get ready(): boolean {
    const { identity } = this.#options
    this.#wasReady ||= [...this.#wanted].every((id) => identity?.material(id) !== null)
    return this.#wasReady
  }

  use({ world }: Snapshot): void {
    const { identity } = this.#options
    const wanted = identitiesOf(world, this.#options.bootstrap.node.pods)
    for (const id of wanted) if (!this.#wanted.has(id)) identity?.want(id, true)
    for (const id of this.#wanted) if (!wanted.has(id)) identity?.drop(id)
    this.#wanted = wanted
  }

  resolve(hostname: string): void {
    const { names, tell } = this.#options
    names.resolve(hostname).then(
      ({ addresses, ttlMs }) => tell({ type: 'addresses', hostname, addresses, ttlMs: ttlMs ?? NAME_TTL_MS }),
      () => tell({ type: 'addresses', hostname, addresses: null, ttlMs: NO_NAME_TTL_MS }),
    )
  }
}

/** Of pods that the world does not know there is nothing to want yet. */
function identitiesOf(world: WorkloadWorld, pods: RolePartOptions['bootstrap']['node']['pods']): ReadonlySet<string> {
  const index = new MeshIndex(world)
  return new Set(
    pods.flatMap((pod) => {
      const workload = index.workloadByInfo(pod)
      return workload === null ? [] : [workloadIdentity(workload)]
    }),
  )
}
