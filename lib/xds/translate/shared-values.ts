// One object for all values that say the same: of thousands of clusters and routes most have the limits, the balancing and the retries of all others.

/** More different ones are not remembered: what everybody has was among the first. */
const MAX_VALUES = 1000

export class SharedValues<T extends object> {
  readonly #known: Map<string, T>

  constructor() {
    this.#known = new Map()
  }

  /** Plain data that nobody edits. */
  of(value: T): T {
    const text = JSON.stringify(value)
    const known = this.#known.get(text)
    if (known !== undefined) return known
    if (this.#known.size < MAX_VALUES) this.#known.set(text, value)
    return value
  }
}
