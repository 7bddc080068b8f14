// What the results of its checks say of an endpoint. Pure: results in, changes out.
import type { HealthCheck } from '../../state/health-check.ts'
import type { CheckResult } from './attempt.ts'

export class EndpointHealth {
  check: HealthCheck
  /** null: no result yet. */
  healthy: boolean | null
  /** Results of one kind in a row, the newest of them among these; 0: no result yet. */
  run: number
  last: CheckResult | null

  constructor(check: HealthCheck) {
    this.check = check
    this.healthy = null
    this.run = 0
    this.last = null
  }

  /** Another way of asking: what is known stays in force until its first result, which decides alone. */
  ask(check: HealthCheck): void {
    this.check = check
    this.run = 0
    this.last = null
  }

  /** True: `healthy` has changed. */
  note(result: CheckResult): boolean {
    const first = this.last === null
    this.run = this.last?.passed === result.passed ? this.run + 1 : 1
    this.last = result
    const needed = result.passed ? this.check.healthyThreshold : this.check.unhealthyThreshold
    if (result.passed === this.healthy || (!first && this.run < needed)) return false
    this.healthy = result.passed
    return true
  }
}
