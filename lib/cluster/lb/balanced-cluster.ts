import type { Cluster } from '../../state/cluster.ts'
import type { Host } from './host.ts'
import { LayeredBalancer, type Layers } from './layers.ts'
import { type DialledHosts, NO_DIALLED_HOSTS } from './passthrough.ts'
import { EMPTY_PICKER, type Picker } from './picker.ts'
import { warmAtMs } from './slow-start.ts'

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
  /** How many of them may not be used. */
  unavailable: number
  /** Published by the last `update` or `refresh`; read it for each pick, do not keep it. */
  picker: Picker
  /** What `picker` chooses among before it chooses a host; null: nothing, all available hosts are one group. */
  layers: Layers | null
  /** Monotonic ms at which the last warming host has its full share; from then on `refresh` gives a cheaper picker. 0: none warms. */
  warmAtMs: number
  #balancer: LayeredBalancer
  /** Made when the first session asks; null: not since `hosts` are what they are. */
  #byAddress: ReadonlyMap<string, Host> | null
  readonly #dialled: DialledHosts

  /** `dialled`: of an ORIGINAL_DST cluster, who makes its hosts. */
  constructor(id: number, config: Cluster, dialled: DialledHosts = NO_DIALLED_HOSTS) {
    this.#dialled = dialled
    this.id = id
    this.name = config.name
    this.config = config
    this.hosts = []
    this.unavailable = 0
    this.picker = EMPTY_PICKER
    this.layers = null
    this.warmAtMs = 0
    this.#byAddress = null
    this.#balancer = new LayeredBalancer(config, this.#dialled)
    this.refresh(0)
  }

  /** New configuration, new hosts, or both. `nowMs`: monotonic. */
  update(config: Cluster, hosts: readonly Host[], nowMs: number): void {
    if (!this.#balancer.serves(config)) this.#balancer = new LayeredBalancer(config, this.#dialled)
    this.config = config
    this.hosts = hosts
    this.#byAddress = null
    this.refresh(nowMs)
  }

  /** `ip:port`; null: none is there. */
  hostAt(address: string): Host | null {
    this.#byAddress ??= new Map(this.hosts.map((host) => [host.address, host]))
    return this.#byAddress.get(address) ?? null
  }

  /** Publishes a picker anew after a host's availability or weight has changed. */
  refresh(nowMs: number): void {
    const { picker, layers } = this.#balancer.update(this.config, this.hosts, nowMs)
    this.picker = picker
    this.unavailable = this.hosts.reduce((sum, host) => sum + (host.available ? 0 : 1), 0)
    this.layers = layers
    this.warmAtMs = warmAtMs(this.config.slowStart, this.hosts, nowMs)
  }
}
