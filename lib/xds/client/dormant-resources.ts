// Resources of an earlier run, from disk: handed out once they are wanted, for as long as the control plane has not answered.
import type { CachedType } from './resource-cache.ts'
import type { ResourceUpdate, XdsResource } from './resource-update.ts'
import type { Subscription } from './subscriptions.ts'

export class DormantResources {
  readonly #byType: Map<string, { readonly version: string; readonly resources: Map<string, XdsResource> }>

  constructor(types: readonly CachedType[]) {
    this.#byType = new Map(
      types.map(({ typeUrl, version, resources }) => [
        typeUrl,
        { version, resources: new Map(resources.map((r) => [r.name, r])) },
      ]),
    )
  }

  /** What is wanted of the type and has not been handed out; null: nothing. */
  take(typeUrl: string, { interest, names }: Subscription): ResourceUpdate | null {
    const dormant = this.#byType.get(typeUrl)
    if (dormant === undefined) return null
    const { version, resources } = dormant
    if (interest === 'wildcard') {
      this.#byType.delete(typeUrl)
      return { typeUrl, origin: 'disk', changed: [...resources.values()], removed: [], complete: true, version }
    }
    const changed = [...resources.values()].filter((r) => names.has(r.name) || r.aliases.some((alias) => names.has(alias)))
    for (const { name } of changed) resources.delete(name)
    return changed.length === 0 ? null : { typeUrl, origin: 'disk', changed, removed: [], complete: false, version }
  }

  /** The control plane is there: from now on it says what there is. */
  clear(): void {
    this.#byType.clear()
  }
}
