// Hot lane in `live`: it runs for each request. What routes know of a cluster: its name, and what is there under that name now. Clusters come, go and
// come back without a route being compiled anew (Envoy looks clusters up by name for each request).
import type { BalancedCluster } from './balanced-cluster.ts'

/** Who makes a cluster live when it is first asked for. */
export interface ClusterOwner {
  /** Leaves `ref.dormant` false. */
  wake(ref: ClusterRef): BalancedCluster | null
}

/** Where routes get their clusters. */
export interface ClusterDirectory {
  /** Always the same one for a name, also of a cluster that is not known. */
  refOf(name: string): ClusterRef
  /** For names that peers say: null where there is none. */
  knownRef(name: string): ClusterRef | null
}

export class ClusterRef {
  readonly name: string
  /** Null: there is none, or nobody has asked for it. Hot code asks `live`. */
  cluster: BalancedCluster | null
  /** Configuration has it, and nobody has asked for it. */
  dormant: boolean
  /** What `cluster` was last, also when configuration has it no more: for who explains the past. */
  last: BalancedCluster | null
  private readonly owner: ClusterOwner

  constructor(name: string, owner: ClusterOwner) {
    this.name = name
    this.cluster = null
    this.dormant = false
    this.last = null
    this.owner = owner
  }

  /** Null: configuration has no such cluster. */
  live(): BalancedCluster | null {
    return this.dormant ? this.owner.wake(this) : this.cluster
  }
}

/** Clusters that neither come nor go: those of an explanation of what might be. */
export class FixedClusters implements ClusterDirectory, ClusterOwner {
  private readonly clusters: ReadonlyMap<string, BalancedCluster>
  private readonly refs: Map<string, ClusterRef>

  constructor(clusters: ReadonlyMap<string, BalancedCluster>) {
    this.clusters = clusters
    this.refs = new Map()
  }

  refOf(name: string): ClusterRef {
    let ref = this.refs.get(name)
    if (ref === undefined) {
      ref = new ClusterRef(name, this)
      ref.cluster = this.clusters.get(name) ?? null
      ref.last = ref.cluster
      this.refs.set(name, ref)
    }
    return ref
  }

  knownRef(name: string): ClusterRef | null {
    return this.clusters.has(name) ? this.refOf(name) : null
  }

  wake({ cluster }: ClusterRef): BalancedCluster | null {
    return cluster
  }
}
