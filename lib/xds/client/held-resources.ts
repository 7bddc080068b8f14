// The resources that were accepted, by type and name, and why others were not. A response becomes the differences to them; what the consumer refuses is not taken.
import type { Incoming, IncomingResource } from './discovery-stream.ts'
import type { ResourceFault, ResourceUpdate, XdsResource } from './resource-update.ts'
import type { Subscription } from './subscriptions.ts'

/** A response that has been compared with what is held: what it changes, and what is wrong with it as an envelope. */
export interface Difference {
  readonly update: ResourceUpdate
  readonly faults: readonly ResourceFault[]
  /** Times to live of resources that the response has, in milliseconds; null: none any more. */
  readonly lifetimes: ReadonlyMap<string, number | null>
}

export interface HeldType {
  readonly resources: ReadonlyMap<string, XdsResource>
  /** Names of resources whose last version was refused, and why. */
  readonly refused: ReadonlyMap<string, string>
  /** Of the last response without a fault; state of the world. */
  readonly version: string
}

interface Mutable {
  readonly resources: Map<string, XdsResource>
  readonly refused: Map<string, string>
  version: string
}

const NOTHING: HeldType = { resources: new Map(), refused: new Map(), version: '' }

export class HeldResources {
  readonly #byType: Map<string, Mutable>

  constructor() {
    this.#byType = new Map()
  }

  of(typeUrl: string): HeldType {
    return this.#byType.get(typeUrl) ?? NOTHING
  }

  /** Nothing is changed yet. @param subscription of the type */
  compare(incoming: Incoming, subscription: Subscription): Difference {
    const { typeUrl, complete, version } = incoming
    const held = this.of(typeUrl)
    const faults: ResourceFault[] = []
    const lifetimes = new Map<string, number | null>()
    const named = new Set<string>()
    const twice = new Set<string>()
    const changed: XdsResource[] = []
    for (const resource of incoming.resources) {
      const { name } = resource
      if (!isWanted(subscription, resource)) continue
      const fault = named.has(name) ? 'it is there twice' : envelopeFault(resource, typeUrl, held)
      if (named.has(name)) twice.add(name)
      named.add(name)
      if (fault !== null) faults.push({ name, reason: fault })
      else {
        lifetimes.set(name, resource.ttlMs)
        if (resource.bytes !== null && !isHeld(held, resource, resource.bytes)) changed.push(kept(resource, resource.bytes))
      }
    }
    const removed = new Set(incoming.removed.filter((name) => !named.has(name) && isKnown(held, subscription, name)))
    if (complete) {
      for (const name of [...held.resources.keys(), ...held.refused.keys()]) if (!named.has(name)) removed.add(name)
    }
    // Nobody can say which of them is meant, so neither is: the one before stays.
    const clear = twice.size === 0 ? changed : changed.filter(({ name }) => !twice.has(name))
    for (const name of twice) lifetimes.delete(name)
    return { update: { typeUrl, origin: 'stream', changed: clear, removed: [...removed], complete, version }, faults, lifetimes }
  }

  /** What has no fault is held from now on. @param faults of the consumer and of the envelope */
  take(update: ResourceUpdate, faults: readonly ResourceFault[]): void {
    const held = this.#mutable(update.typeUrl)
    const reasons = new Map(faults.map(({ name, reason }) => [name, reason]))
    for (const resource of update.changed) {
      if (reasons.has(resource.name)) continue
      held.resources.set(resource.name, resource)
      held.refused.delete(resource.name)
    }
    for (const name of update.removed) {
      held.resources.delete(name)
      held.refused.delete(name)
    }
    for (const [name, reason] of reasons) if (name !== '') held.refused.set(name, reason)
    // Of disk none is told: names may be wanted now that were not then, and a server would think that they are held.
    if (faults.length === 0 && update.origin === 'stream') held.version = update.version
  }

  /** What nobody wants any more; it is not told. @param unwanted of a resource's name and aliases */
  drop(typeUrl: string, unwanted: (names: readonly string[]) => boolean): void {
    const held = this.#byType.get(typeUrl)
    if (held === undefined) return
    for (const [name, { aliases }] of held.resources) if (unwanted([name, ...aliases])) held.resources.delete(name)
    for (const name of held.refused.keys()) if (unwanted([name])) held.refused.delete(name)
  }

  forget(typeUrl: string): void {
    this.#byType.delete(typeUrl)
  }

  #mutable(typeUrl: string): Mutable {
    let held = this.#byType.get(typeUrl)
    if (held === undefined) {
      held = { resources: new Map(), refused: new Map(), version: '' }
      this.#byType.set(typeUrl, held)
    }
    return held
  }
}

/** One that was asked for just before it was given up may still come. What depends on a name asked for on demand comes with it. */
function isWanted({ interest, names }: Subscription, { name, aliases }: IncomingResource): boolean {
  return interest !== 'names' || names.has(name) || aliases.some((alias) => names.has(alias))
}

function envelopeFault({ name, typeUrl, bytes }: IncomingResource, expected: string, held: HeldType): string | null {
  if (bytes === null) return held.resources.has(name) ? null : 'it has no content'
  if (typeUrl === expected) return null
  return typeUrl === '' ? 'it has no type' : `it is a ${typeUrl}`
}

/** The bytes decide: istiod sends listeners and routes whole each time, and without versions. */
function isHeld(held: HeldType, { name, version, aliases }: IncomingResource, bytes: Uint8Array): boolean {
  if (held.refused.has(name)) return false
  const before = held.resources.get(name)
  return (
    before !== undefined &&
    before.version === version &&
    before.aliases.length === aliases.length &&
    before.aliases.every((alias, i) => alias === aliases[i]) &&
    Buffer.compare(before.bytes, bytes) === 0
  )
}

/** A copy: a view would keep the whole message in memory for as long as one of its resources lives. */
function kept({ typeUrl, name, aliases, version }: IncomingResource, bytes: Uint8Array): XdsResource {
  return { typeUrl, name, aliases, version, bytes: Buffer.from(bytes) }
}

/** A removed name that nobody knows is to be ignored; one that was asked for is answered by it. */
function isKnown(held: HeldType, subscription: Subscription, name: string): boolean {
  return held.resources.has(name) || held.refused.has(name) || subscription.names.has(name)
}
