// What becomes of each parent that a route names: a route is as good as its parents take it.
import type { Path } from '../../finding.ts'
import type { ResourceObject } from '../../resource-object.ts'
import type { Verdicts } from '../verdicts.ts'

interface Loss {
  readonly state: 'shadowed' | 'waiting'
  readonly reason: string
}

/** One of `parentRefs` of a route. */
export class ParentLink {
  readonly route: ResourceObject
  readonly path: Path
  readonly #derived: Set<ResourceObject>
  readonly #lost: Map<ResourceObject, Loss>
  #refused: Loss | null

  constructor(route: ResourceObject, path: Path) {
    this.route = route
    this.path = path
    this.#derived = new Set()
    this.#lost = new Map()
    this.#refused = null
  }

  /** The parent is not there or does not take the route. The first reason counts. */
  refuse(reason: string, state: Loss['state'] = 'waiting'): void {
    this.#refused ??= { state, reason }
  }

  /** What was made of the route for this parent. */
  expect(derived: ResourceObject): void {
    this.#derived.add(derived)
  }

  lost(derived: ResourceObject, state: Loss['state'], reason: string): void {
    if (!this.#lost.has(derived)) this.#lost.set(derived, { state, reason })
  }

  /** null: the route is in force there. */
  loss(): Loss | null {
    if (this.#derived.size === 0) return this.#refused
    if (this.#lost.size < this.#derived.size) return null
    return [...this.#lost.values()][0] ?? null
  }
}

/** Says of routes which of their parents are without effect. */
export function noteParents(verdicts: Verdicts, links: readonly ParentLink[]): void {
  const routes = new Map<ResourceObject, ParentLink[]>()
  for (const link of links) routes.set(link.route, [...(routes.get(link.route) ?? []), link])
  for (const [route, own] of routes) {
    const losses = own.flatMap((link) => link.loss() ?? [])
    const reasons = [...new Set(losses.map((l) => l.reason))].join('; ')
    if (losses.length === own.length) {
      if (losses.every((l) => l.state === 'shadowed')) verdicts.shadowed(route, reasons)
      else verdicts.waiting(route, reasons)
    } else
      for (const link of own) {
        const loss = link.loss()
        if (loss !== null) verdicts.partly(route, link.path, loss.reason)
      }
  }
}
