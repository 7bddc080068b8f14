// Whether the application of a virtual machine is well, as its agent finds it out and tells the control plane (Istio ProxyConfig.readinessProbe,
// istio.v1.HealthInformation): asked in a steady rhythm, told when so many answers in a row say another thing than what was told last.
import { type Schedule, scheduleByClock } from '../client/lifetimes.ts'

export interface HealthReportsOptions {
  /** Until the application is asked first. */
  readonly initialDelayMs: number
  readonly periodMs: number
  readonly successThreshold: number
  readonly failureThreshold: number
  /** Empty: it is well; else what is wrong; null: nobody can say yet. Never rejects, and does not take for ever. */
  readonly ask: () => Promise<string | null>
  /** Null: it is well. */
  readonly report: (problem: string | null) => void
  readonly schedule?: Schedule
}

export class HealthReports {
  readonly #options: HealthReportsOptions
  readonly #schedule: Schedule
  /** What was told last; undefined: nothing yet. */
  #told: 'well' | 'ill' | undefined
  /** In a row. */
  #successes: number
  #failures: number
  #asking: boolean
  #stopped: boolean
  #cancel: () => void

  constructor(options: HealthReportsOptions) {
    this.#options = options
    this.#schedule = options.schedule ?? scheduleByClock
    this.#told = undefined
    this.#successes = 0
    this.#failures = 0
    this.#asking = false
    this.#stopped = false
    this.#cancel = () => {}
  }

  start(): void {
    this.#cancel = this.#schedule(() => this.#tick(), this.#options.initialDelayMs)
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  #tick(): void {
    this.#cancel = this.#schedule(() => this.#tick(), this.#options.periodMs)
    // An answer that takes longer than the period is waited for.
    if (this.#asking) return
    this.#asking = true
    void this.#options.ask().then((problem) => {
      this.#asking = false
      if (!this.#stopped && problem !== null) this.#note(problem)
    })
  }

  #note(problem: string): void {
    const { successThreshold, failureThreshold, report } = this.#options
    const well = problem === ''
    this.#successes = well ? this.#successes + 1 : 0
    this.#failures = well ? 0 : this.#failures + 1
    const enough = well ? this.#successes >= successThreshold : this.#failures >= failureThreshold
    const said = well ? 'well' : 'ill'
    if (!enough || this.#told === said) return
    this.#told = said
    report(well ? null : problem)
  }
}
