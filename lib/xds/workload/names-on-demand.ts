// Names of workloads and services that were asked for where the control plane tells on demand. A name may be an alias (`network/ip`) of what comes under another
// one; one that nobody has is given up at once, so that whoever asks next asks anew.

interface Answer {
  readonly name: string
  readonly aliases: readonly string[]
}

export class NamesOnDemand {
  readonly #subscribe: (names: ReadonlySet<string>) => void
  /** As they were asked for. */
  readonly #names: Set<string>
  /** By name of the resource: those of `#names` that it was the answer to. */
  readonly #askedAs: Map<string, Set<string>>
  readonly #waiting: Map<string, (() => void)[]>

  /** `subscribe`: to all of these names from now on. */
  constructor(subscribe: (names: ReadonlySet<string>) => void) {
    this.#subscribe = subscribe
    this.#names = new Set()
    this.#askedAs = new Map()
    this.#waiting = new Map()
  }

  /** True when it has been answered; false when not in that time. */
  ask(name: string, limitMs: number): Promise<boolean> {
    // It is held, and the client is told of its changes.
    if (this.#names.has(name) && !this.#waiting.has(name)) return Promise.resolve(true)
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        resolve(true)
      }
      const timer = setTimeout(() => {
        const left = (this.#waiting.get(name) ?? []).filter((w) => w !== done)
        if (left.length > 0) this.#waiting.set(name, left)
        else if (this.#waiting.delete(name)) this.#giveUp([name])
        resolve(false)
      }, limitMs).unref()
      const waiting = this.#waiting.get(name)
      if (waiting !== undefined) waiting.push(done)
      else {
        this.#waiting.set(name, [done])
        this.#names.add(name)
        this.#subscribe(new Set(this.#names))
      }
    })
  }

  /** A response. What it changes is in force already. */
  answered(changed: readonly Answer[], removed: readonly string[]): void {
    for (const { name, aliases } of changed) {
      for (const asked of [name, ...aliases]) {
        if (!this.#names.has(asked)) continue
        const all = this.#askedAs.get(name)
        if (all === undefined) this.#askedAs.set(name, new Set([asked]))
        else all.add(asked)
        this.#done(asked)
      }
    }
    const gone = removed.flatMap((name) => [name, ...(this.#askedAs.get(name) ?? [])]).filter((name) => this.#names.has(name))
    for (const name of removed) this.#askedAs.delete(name)
    if (gone.length > 0) this.#giveUp(gone)
    for (const name of gone) this.#done(name)
  }

  #done(name: string): void {
    const waiting = this.#waiting.get(name) ?? []
    this.#waiting.delete(name)
    for (const done of waiting) done()
  }

  #giveUp(names: readonly string[]): void {
    for (const name of names) this.#names.delete(name)
    this.#subscribe(new Set(this.#names))
  }
}
