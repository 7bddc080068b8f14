import type { Cluster } from '../../state/cluster.ts'
import { createBalancer } from './create.ts'
import type { Host } from './host.ts'
import { type Balancer, EMPTY_PICKER, type Picker } from './picker.ts'

/**
 * What a decision points to: a cluster with its live hosts and the picker over them. One for each name in a worker; it
 * outlives snapshots. Pools and limits hang on `id` elsewhere.
 */
export class BalancedCluster {
  /** Dense and unique in a worker. */
  readonly id: number
  readonly name: string
  config: Cluster
  /** All hosts, available or not, in the order of the configuration. */
  hosts: readonly Host[]
  /** Published by the last `update` or `refresh`; read it for each pick, do not keep it. */
  picker: Picker
  #balancer: Balancer

  constructor(id: number, config: Cluster) {
    this.id = id
    this.name = config.name
    this.config = config
    this.hosts = []
    this.picker = EMPTY_PICKER
    this.#balancer = createBalancer(config.loadBalancer)
    this.refresh(0)
  }

  /** New configuration, new hosts, or both. `nowMs`: monotonic. */
  update(config: Cluster, hosts: readonly Host[], nowMs: number): void {
    if (config.loadBalancer.kind !== this.config.loadBalancer.kind) this.#balancer = createBalancer(config.loadBalancer)
    this.config = config
    this.hosts = hosts
    this.refresh(nowMs)
  }

  /** Publishes a picker anew after a host's availability or weight has changed. */
  refresh(nowMs: number): void {
    this.picker = this.#balancer.update(this.hosts, nowMs)
  }
}
