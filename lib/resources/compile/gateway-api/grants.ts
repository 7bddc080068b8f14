// ReferenceGrants: who may name an object of another namespace.
import type { ResourceObject } from '../../resource-object.ts'
import type { World } from '../world.ts'

export interface Reference {
  readonly group: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
}

export class Grants {
  readonly #grants: readonly ResourceObject<'ReferenceGrant'>[]
  readonly #used: Set<ResourceObject>

  constructor(world: World) {
    this.#grants = world.objects('ReferenceGrant')
    this.#used = new Set()
  }

  /** Whether `from`, of its written kind, may name `to`. Within a namespace everybody may. */
  permits(from: Omit<Reference, 'name'>, to: Reference): boolean {
    if (from.namespace === to.namespace) return true
    const found = this.#grants.filter(
      ({ namespace, spec }) =>
        namespace === to.namespace &&
        (spec.from ?? []).some((f) => (f.group ?? '') === from.group && f.kind === from.kind && f.namespace === from.namespace) &&
        (spec.to ?? []).some((t) => (t.group ?? '') === to.group && t.kind === to.kind && (t.name ?? to.name) === to.name),
    )
    for (const grant of found) this.#used.add(grant)
    return found.length > 0
  }

  note({ verdicts }: World): void {
    for (const grant of this.#grants)
      if (!this.#used.has(grant)) verdicts.waiting(grant, 'waiting for a reference that it permits; none of this proxy is')
  }
}
