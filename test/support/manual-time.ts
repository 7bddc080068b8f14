// Time that stands still until a test moves it, for what takes `now` and `schedule`.

interface Timer {
  readonly atMs: number
  readonly callback: () => void
}

export class ManualTime {
  nowMs: number
  #timers: Timer[]

  constructor(nowMs: number) {
    this.nowMs = nowMs
    this.#timers = []
  }

  readonly now = (): number => this.nowMs

  readonly schedule = (callback: () => void, delayMs: number): (() => void) => {
    const timer = { atMs: this.nowMs + delayMs, callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer)
    }
  }

  /** Calls what is due, in order, each at its moment. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms
    for (;;) {
      const due = this.#timers.filter((t) => t.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.#timers = this.#timers.filter((t) => t !== due)
      this.nowMs = Math.max(this.nowMs, due.atMs)
      due.callback()
    }
    this.nowMs = untilMs
  }

  /** How many wait. */
  get pending(): number {
    return this.#timers.length
  }
}
