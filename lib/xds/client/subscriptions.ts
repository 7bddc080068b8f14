// What is wanted of a control plane, by type. It outlives streams: each new one is told all of it (delta-stream.ts, sotw-stream.ts).
import { typeRank } from './resource-types.ts'

/**
 * wildcard: all that there is. names: these. on-demand: these too, of a type that would otherwise be sent whole (WDS): the control plane
 * is told that nothing is wanted until a name is.
 */
export type Interest = 'wildcard' | 'names' | 'on-demand'

export interface Subscription {
  readonly interest: Interest
  /** Empty for a wildcard. Of `names` an empty one is not told to anybody: it would say that everything is wanted. */
  readonly names: ReadonlySet<string>
}

export class Subscriptions {
  readonly #byType: Map<string, Subscription>

  constructor() {
    this.#byType = new Map()
  }

  /** In the order in which types are asked for. */
  get types(): readonly (readonly [typeUrl: string, subscription: Subscription])[] {
    return [...this.#byType].sort(([a], [b]) => typeRank(a) - typeRank(b))
  }

  get(typeUrl: string): Subscription | null {
    return this.#byType.get(typeUrl) ?? null
  }

  set(typeUrl: string, interest: Interest, names: ReadonlySet<string>): void {
    this.#byType.set(typeUrl, { interest, names: new Set(names) })
  }

  delete(typeUrl: string): void {
    this.#byType.delete(typeUrl)
  }
}
