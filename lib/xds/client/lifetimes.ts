// Resources that a control plane gives for a time only (Envoy API docs, "TTL"): each response may begin the time anew, and its end removes the resource.

/** Calls back once; returns how to cancel. */
export type Schedule = (callback: () => void, delayMs: number) => () => void

/** Keeps no process alive. */
export const scheduleByClock: Schedule = (callback, delayMs) => {
  // setTimeout takes no more; nobody waits for 24 days.
  const timer = setTimeout(callback, Math.min(delayMs, 2 ** 31 - 1)).unref()
  return () => clearTimeout(timer)
}

export class Lifetimes {
  readonly #schedule: Schedule
  readonly #onExpired: (typeUrl: string, name: string) => void
  /** By type and name: how its end is cancelled. */
  readonly #running: Map<string, Map<string, () => void>>

  constructor(schedule: Schedule, onExpired: (typeUrl: string, name: string) => void) {
    this.#schedule = schedule
    this.#onExpired = onExpired
    this.#running = new Map()
  }

  /** From now on; null: it lives until it is removed. */
  set(typeUrl: string, name: string, ms: number | null): void {
    const ofType = this.#running.get(typeUrl)
    if (ms === null && ofType === undefined) return
    ofType?.get(name)?.()
    ofType?.delete(name)
    if (ms === null) return
    const cancel = this.#schedule(() => {
      this.#running.get(typeUrl)?.delete(name)
      this.#onExpired(typeUrl, name)
    }, ms)
    if (ofType === undefined) this.#running.set(typeUrl, new Map([[name, cancel]]))
    else ofType.set(name, cancel)
  }

  has(typeUrl: string, name: string): boolean {
    return this.#running.get(typeUrl)?.has(name) ?? false
  }

  clear(): void {
    for (const ofType of this.#running.values()) for (const cancel of ofType.values()) cancel()
    this.#running.clear()
  }
}
