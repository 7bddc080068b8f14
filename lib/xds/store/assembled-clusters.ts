// The clusters that are in force, in the order in which they came, and as the list that a Snapshot has. A change of a few among thousands costs a copy of the
// list and no look at the others.
import type { Cluster } from '../../state/cluster.ts'
import type { Credential } from '../../transport/secrets.ts'
import type { AssembledCluster } from '../translate/assemble-cluster.ts'

/** More that have changed are not looked for one by one. */
const FEW = 16

export class AssembledClusters {
  readonly #byName: Map<string, AssembledCluster>
  /** Of those whose certificates or roots stand in them. */
  readonly #withCredentials: Set<string>
  #list: readonly Cluster[]
  /** What has become of clusters of `#list`; null: some came or went. */
  #replaced: Map<Cluster, Cluster> | null

  constructor() {
    this.#byName = new Map()
    this.#withCredentials = new Set()
    this.#list = []
    this.#replaced = new Map()
  }

  get(name: string): AssembledCluster | null {
    return this.#byName.get(name) ?? null
  }

  has(name: string): boolean {
    return this.#byName.has(name)
  }

  /** True: its cluster is another. */
  set(name: string, next: AssembledCluster): boolean {
    const before = this.#byName.get(name)
    this.#byName.set(name, next)
    // What it was made of is there as bytes.
    next.assignment?.letGo()
    if (next.from.credentials.length > 0) this.#withCredentials.add(name)
    else this.#withCredentials.delete(name)
    if (before?.cluster === next.cluster) return false
    if (before === undefined) this.#replaced = null
    else this.#replaced?.set(before.cluster, next.cluster)
    return true
  }

  /** True: it was there. */
  delete(name: string): boolean {
    this.#withCredentials.delete(name)
    if (!this.#byName.delete(name)) return false
    this.#replaced = null
    return true
  }

  /** The same list as long as nothing has changed. */
  get list(): readonly Cluster[] {
    const replaced = this.#replaced
    if (replaced?.size === 0) return this.#list
    if (replaced === null) this.#list = Array.from(this.#byName.values(), ({ cluster }) => cluster)
    else if (replaced.size > FEW) this.#list = this.#list.map((cluster) => replaced.get(cluster) ?? cluster)
    else {
      const list = this.#list.slice()
      for (const [before, after] of replaced) list[list.indexOf(before)] = after
      this.#list = list
    }
    this.#replaced = new Map()
    return this.#list
  }

  /** Certificates and roots that stand in them. */
  credentials(): Credential[] {
    return [...this.#withCredentials].flatMap((name) => this.#byName.get(name)?.from.credentials ?? [])
  }
}
