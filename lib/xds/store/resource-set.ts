// The resources of one type, translated. A resource that is refused leaves its last good version in force, or nothing where there is none.

import type { ResourceFault, XdsResource } from '../client/resource-update.ts'
import { type Finding, Findings, findingsText } from '../translate/findings.ts'

/** null: there were faults. `previous` is what the resource of that name was translated to before, to share what has not changed. */
export type Translate<T> = (resource: XdsResource, previous: T | null, findings: Findings) => T | null

export interface Held<T> {
  readonly value: T
  /** null: there is none, as the control plane says, or none that could be used. */
  readonly resource: XdsResource | null
  /** What is accepted and has no effect, in words, each once. */
  readonly notes: readonly string[]
  readonly arrival: Arrival
}

/** The response that brought a resource; those that came together share it. */
export interface Arrival {
  /** Of the response: resources of istiod have none of their own. */
  readonly version: string
  /** Epoch. */
  readonly atMs: number
}

export interface Refused {
  readonly resource: XdsResource | null
  readonly reason: string
  readonly arrival: Arrival
}

/** A set of whatever type. */
export interface AnyResourceSet {
  readonly refused: ReadonlyMap<string, Refused>
  readonly held: ReadonlyMap<string, Held<unknown>>
  has(name: string): boolean
  heldOf(name: string, value: unknown): Held<unknown> | null
  put(resources: readonly XdsResource[], arrival: Arrival): ResourceFault[]
  remove(names: Iterable<string>): void
  keepOnly(names: ReadonlySet<string>): void
}

const NO_NOTES: readonly string[] = []

export class ResourceSet<T extends object> implements AnyResourceSet {
  readonly #translate: Translate<T>
  readonly #nameInside: ((value: T) => string) | null
  readonly #held: Map<string, Held<T>>
  readonly #refused: Map<string, Refused>
  /** By value, as long as somebody has it. */
  readonly #replaced: WeakMap<object, Held<T>>
  /** Names whose value came, changed or went since `takeTouched`. */
  #touched: Set<string>

  /** @param nameInside what the resource itself says that it is called, where something else goes by that; null: nothing does */
  constructor(translate: Translate<T>, nameInside: ((value: T) => string) | null = null) {
    this.#translate = translate
    this.#nameInside = nameInside
    this.#held = new Map()
    this.#refused = new Map()
    this.#replaced = new WeakMap()
    this.#touched = new Set()
  }

  get held(): ReadonlyMap<string, Held<T>> {
    return this.#held
  }

  get refused(): ReadonlyMap<string, Refused> {
    return this.#refused
  }

  get(name: string): T | null {
    return this.#held.get(name)?.value ?? null
  }

  has(name: string): boolean {
    return this.#held.has(name)
  }

  /** All faults of all resources, none of which is taken; the others are. */
  put(resources: readonly XdsResource[], arrival: Arrival): ResourceFault[] {
    return resources.flatMap((resource) => this.#take(resource, arrival))
  }

  #take(resource: XdsResource, arrival: Arrival): ResourceFault[] {
    const reason = this.#putOne(resource, arrival)
    if (reason === '') return []
    this.#refused.set(resource.name, { resource, reason, arrival })
    return [{ name: resource.name, reason }]
  }

  #putOne(resource: XdsResource, arrival: Arrival): string {
    const findings = new Findings()
    const value = this.#translate(resource, this.get(resource.name), findings)
    if (findings.faults.length > 0) return findingsText(findings.faults)
    if (value === null) return 'it could not be read'
    const inside = this.#nameInside?.(value) ?? resource.name
    // Else two resources could come to one name.
    if (inside !== resource.name) return `the name in it is ${JSON.stringify(inside)}`
    this.#refused.delete(resource.name)
    this.#replace(resource.name, { value, resource, notes: textsOf(findings.notes), arrival })
    this.#touched.add(resource.name)
    return ''
  }

  #replace(name: string, held: Held<T>): void {
    const before = this.#held.get(name)
    if (before !== undefined) this.#replaced.set(before.value, before)
    this.#held.set(name, held)
  }

  /** What a value of that name is or was held as: one that was replaced may be in force still. */
  heldOf(name: string, value: T): Held<T> | null {
    const held = this.#held.get(name)
    return held?.value === value ? held : (this.#replaced.get(value) ?? null)
  }

  /** It was taken, and turns out to be of no use: the value before is held again; null: there was none. */
  refuse(name: string, before: T | null, reason: string, arrival: Arrival): ResourceFault[] {
    const held = this.#held.get(name)
    this.#refused.set(name, { resource: held?.resource ?? null, reason, arrival })
    if (before === null) this.#held.delete(name)
    else if (held !== undefined) this.#held.set(name, this.heldOf(name, before) ?? { ...held, value: before })
    return [{ name, reason }]
  }

  remove(names: Iterable<string>): void {
    for (const name of names) {
      this.#refused.delete(name)
      if (this.#held.delete(name)) this.#touched.add(name)
    }
  }

  /** The control plane says that there are none of these names, which is an answer to who asked. */
  absent(names: Iterable<string>, emptyOf: (name: string) => T, arrival: Arrival): void {
    for (const name of names) {
      this.#refused.delete(name)
      this.#replace(name, { value: emptyOf(name), resource: null, notes: NO_NOTES, arrival })
      this.#touched.add(name)
    }
  }

  /** Who asked by name has an answer: there is none of these, and of those that were refused, where nothing is held, nothing can be used. These stay refused. */
  answer(absent: Iterable<string>, refused: readonly ResourceFault[], emptyOf: (name: string) => T, arrival: Arrival): void {
    this.absent(absent, emptyOf, arrival)
    for (const { name } of refused) {
      if (this.has(name)) continue
      this.#held.set(name, { value: emptyOf(name), resource: null, notes: NO_NOTES, arrival })
      this.#touched.add(name)
    }
  }

  /** What is held of other names goes. */
  keepOnly(names: ReadonlySet<string>): void {
    this.remove([...this.#held.keys()].filter((name) => !names.has(name)))
  }

  /** Translates again what is held, since something that it was translated with has changed. What is refused now stays as it was. */
  again(names: Iterable<string>): ResourceFault[] {
    return [...names].flatMap((name) => {
      const held = this.#held.get(name)
      return held === undefined || held.resource === null ? [] : this.#take(held.resource, held.arrival)
    })
  }

  takeTouched(): ReadonlySet<string> {
    const touched = this.#touched
    this.#touched = new Set()
    return touched
  }
}

/** Without the places, of which a listener may have hundreds. */
function textsOf(notes: readonly Finding[]): readonly string[] {
  return notes.length === 0 ? NO_NOTES : [...new Set(notes.map(({ text }) => text))]
}
