// What has come and waits for something else before it is in force (Envoy: warming). The version before it stays in force meanwhile.

interface Waiting<T> {
  readonly value: T
  readonly sinceMs: number
  readonly missing: readonly string[]
}

export class Warming<T> {
  /** Whether a newer version that has to wait as well begins its time anew. */
  readonly #patient: boolean
  readonly #active: Map<string, T>
  readonly #waiting: Map<string, Waiting<T>>

  constructor(patient = true) {
    this.#patient = patient
    this.#active = new Map()
    this.#waiting = new Map()
  }

  get waiting(): readonly string[] {
    return [...this.#waiting.keys()]
  }

  active(name: string): T | null {
    return this.#active.get(name) ?? null
  }

  allActive(): Iterable<T> {
    return this.#active.values()
  }

  /** True: it is in force now, since nothing is missing, or has been for longer than `limitMs` (0: for ever). */
  isWarm(name: string, value: T, missing: readonly string[], limitMs: number, nowMs: number): boolean {
    const before = this.#waiting.get(name)
    const sinceMs = before !== undefined && (before.value === value || !this.#patient) ? before.sinceMs : nowMs
    if (missing.length > 0 && (limitMs === 0 || nowMs - sinceMs < limitMs)) {
      this.#waiting.set(name, { value, sinceMs, missing })
      return false
    }
    this.#waiting.delete(name)
    this.#active.set(name, value)
    return true
  }

  /** What it waits for will not come: the version before it goes on. */
  giveUp(name: string): void {
    this.#waiting.delete(name)
  }

  /** It is no more. True: it was in force. */
  forget(name: string): boolean {
    this.#waiting.delete(name)
    return this.#active.delete(name)
  }

  /** `listener virtualInbound waits for routes 80, secret x`. */
  texts(noun: string): string[] {
    return [...this.#waiting].map(([name, { missing }]) => `${noun} ${name} waits for ${missing.join(', ')}`)
  }
}
