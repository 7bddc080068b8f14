// envoy_cluster_health_check_…{cluster_name} of the main thread, which alone checks.
import { offsetOf } from './data-path-stats.ts'
import { HEALTH_CHECK } from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsSlab } from './slab.ts'

export class HealthCheckStats {
  readonly #values: Float64Array
  readonly #slot: number

  constructor(slab: MetricsSlab, clusterName: string) {
    this.#values = slab.values
    this.#slot = slab.allot(HEALTH_CHECK, renderLabels([['cluster_name', clusterName]]))
  }

  /** One check has ended. `network`: it got no answer. */
  count(passed: boolean, network: boolean): void {
    this.#add('attempt')
    this.#add(passed ? 'success' : 'failure')
    if (network) this.#add('network_failure')
  }

  setHealthy(endpoints: number): void {
    this.#values[this.#at('healthy')] = endpoints
  }

  #add(name: string): void {
    this.#values[this.#at(name)]! += 1
  }

  #at(name: string): number {
    return this.#slot + offsetOf(HEALTH_CHECK, `envoy_cluster_health_check_${name}`)
  }
}
