// The pods of a node's tunnel, counted by the names of ztunnel, which Kiali's page of a node asks for.
import { offsetOf } from './data-path-stats.ts'
import { NODE_PODS } from './families.ts'
import type { MetricsSlab } from './slab.ts'

export class PodMetrics {
  readonly #slab: MetricsSlab
  readonly #slot: number

  constructor(slab: MetricsSlab) {
    this.#slab = slab
    this.#slot = slab.allot(NODE_PODS, '')
  }

  /** Somebody has handed it over. */
  pending(): void {
    this.#add('workload_manager_pending_proxy_count', 1)
  }

  /** It is served, or will not be. */
  settled(serves: boolean): void {
    this.#add('workload_manager_pending_proxy_count', -1)
    if (serves) this.started(1)
  }

  started(pods: number): void {
    this.#add('workload_manager_active_proxy_count', pods)
    this.#add('workload_manager_proxies_started_total', pods)
  }

  stopped(): void {
    this.#add('workload_manager_active_proxy_count', -1)
    this.#add('workload_manager_proxies_stopped_total', 1)
  }

  #add(name: string, value: number): void {
    this.#slab.values[this.#slot + offsetOf(NODE_PODS, name)]! += value
  }
}
