// What the workload feed has said until now, and what each response changes of it: work in proportion to the change. In whatever order resources come, the same
// are held in the end; what refers to something that is not there yet waits in the index (decide/tunnel/mesh-index.ts).
import { type Authorization, denyInstead, policyKey } from '../../state/authorization.ts'
import { type MeshService, serviceKey } from '../../state/mesh-service.ts'
import type { Workload } from '../../state/workload.ts'
import type { WorkloadWorld, WorldChange } from '../../state/workload-world.ts'
import { Authorization as AuthorizationMessage } from '../proto/authorization.ts'
import { typeUrlOf } from '../proto/schema.ts'
import { Address } from '../proto/workload.ts'
import { Findings, findingsText } from '../translate/findings.ts'
import { policyOrigin, toAuthorization } from './policies.ts'
import { toService, toWorkload } from './to-nouns.ts'

export const ADDRESS_TYPE = typeUrlOf(Address)
export const AUTHORIZATION_TYPE = typeUrlOf(AuthorizationMessage)

/** As the client of a control plane hands it on. */
export interface FedResource {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Why a resource was not taken: for the NACK. */
export interface FeedFault {
  readonly name: string
  readonly reason: string
}

/** What is accepted without effect: for the log. */
export type FeedNote = FeedFault

export interface Fed {
  readonly change: WorldChange
  readonly faults: readonly FeedFault[]
  readonly notes: readonly FeedNote[]
}

type Noun =
  | { readonly kind: 'workloads'; readonly key: string; readonly noun: Workload }
  | { readonly kind: 'services'; readonly key: string; readonly noun: MeshService }
  | { readonly kind: 'policies'; readonly key: string; readonly noun: Authorization }

export class WorkloadStore {
  /** By name of the resource. */
  readonly #addresses: Map<string, Noun>
  readonly #policies: Map<string, Noun>
  /** By `entryKey`: names of resources that are not called as what they are. A control plane that is well has none, and each thing once. */
  readonly #misnamed: Map<string, Set<string>>
  #world: WorkloadWorld | null

  constructor() {
    this.#addresses = new Map()
    this.#policies = new Map()
    this.#misnamed = new Map()
    this.#world = null
  }

  /** All of it. The nouns are the same objects as long as nothing new was said of them. */
  get world(): WorkloadWorld {
    this.#world ??= worldOf([...this.#addresses.values(), ...this.#policies.values()])
    return this.#world
  }

  /** The differences that one response makes: `changed` has nothing that came again as it was. A resource with a fault is as it was before. */
  apply(typeUrl: string, changed: readonly FedResource[], removed: readonly string[]): Fed {
    const held = typeUrl === ADDRESS_TYPE ? this.#addresses : this.#policies
    const [faults, notes]: [FeedFault[], FeedNote[]] = [[], []]
    const puts: Noun[] = []
    const gone = new Map<string, Noun>()
    const leave = (name: string): void => {
      const before = held.get(name)
      if (before === undefined) return
      this.#drop(held, name, before)
      gone.set(entryKey(before), before)
    }
    for (const name of removed) leave(name)
    for (const { name, bytes } of changed) {
      const findings = new Findings()
      const noun = typeUrl === ADDRESS_TYPE ? addressNoun(bytes, findings) : policyNoun(name, bytes, findings)
      if (findings.faults.length > 0) faults.push({ name, reason: findingsText(findings.faults) })
      if (findings.notes.length > 0) notes.push({ name, reason: findingsText(findings.notes) })
      const before = held.get(name)
      if (noun === null || (findings.faults.length > 0 && (noun.kind !== 'policies' || before !== undefined))) continue
      if (before !== undefined && entryKey(before) !== entryKey(noun)) {
        this.#drop(held, name, before)
        gone.set(entryKey(before), before)
      }
      this.#hold(held, name, noun)
      puts.push(noun)
    }
    for (const noun of puts) gone.delete(entryKey(noun))
    for (const [key, noun] of gone) {
      const left = this.#under(held, noun)
      if (left === null) continue
      gone.delete(key)
      puts.push(left)
    }
    if (puts.length > 0 || gone.size > 0) this.#world = null
    return { change: changeOf(puts, [...gone.values()]), faults, notes }
  }

  #hold(held: Map<string, Noun>, name: string, noun: Noun): void {
    held.set(name, noun)
    if (name === noun.key) return
    const key = entryKey(noun)
    const names = this.#misnamed.get(key) ?? new Set<string>()
    this.#misnamed.set(key, names.add(name))
  }

  #drop(held: Map<string, Noun>, name: string, noun: Noun): void {
    held.delete(name)
    const key = entryKey(noun)
    const names = this.#misnamed.get(key)
    if (names?.delete(name) === true && names.size === 0) this.#misnamed.delete(key)
  }

  /** The same thing by another name, which stays when one of them goes; null: there is none. */
  #under(held: Map<string, Noun>, noun: Noun): Noun | null {
    const key = entryKey(noun)
    for (const name of [...(this.#misnamed.get(key) ?? []), noun.key]) {
      const other = held.get(name)
      if (other !== undefined && entryKey(other) === key) return other
    }
    return null
  }

  /** Names of resources that are held: by these an on-demand client wants them still. */
  has(typeUrl: string, name: string): boolean {
    return (typeUrl === ADDRESS_TYPE ? this.#addresses : this.#policies).has(name)
  }
}

function entryKey({ kind, key }: Noun): string {
  return `${kind} ${key}`
}

function addressNoun(bytes: Uint8Array, findings: Findings): Noun | null {
  const message = findings.decode(bytes, Address)
  if (message === null) return null
  const { workload, service } = message
  if (workload !== null) {
    const noun = toWorkload(workload, findings)
    return { kind: 'workloads', key: noun.uid, noun }
  }
  if (service !== null) {
    const noun = toService(service, findings)
    return { kind: 'services', key: serviceKey(noun), noun }
  }
  findings.fault('it is neither a workload nor a service')
  return null
}

/** With a fault: what stands in for it where it was never readable. */
function policyNoun(name: string, bytes: Uint8Array, findings: Findings): Noun {
  const message = findings.decode(bytes, AuthorizationMessage)
  const read = message === null ? null : toAuthorization(message, findings)
  if (read !== null && findings.faults.length === 0) return { kind: 'policies', key: policyKey(read), noun: read }
  const slash = name.indexOf('/')
  const [namespace, last] = [name.slice(0, Math.max(0, slash)), name.slice(slash + 1)]
  const scope = read === null || read.scope.startsWith('#') ? 'NAMESPACE' : read.scope
  const origin = policyOrigin(namespace, last)
  const noun = denyInstead({ namespace, name: last, scope, dryRun: read?.dryRun ?? false, origin })
  return { kind: 'policies', key: policyKey(noun), noun }
}

function worldOf(nouns: readonly Noun[]): WorkloadWorld {
  return {
    workloads: nouns.flatMap((n) => (n.kind === 'workloads' ? n.noun : [])),
    services: nouns.flatMap((n) => (n.kind === 'services' ? n.noun : [])),
    policies: nouns.flatMap((n) => (n.kind === 'policies' ? n.noun : [])),
  }
}

function changeOf(puts: readonly Noun[], gone: readonly Noun[]): WorldChange {
  const keys = (kind: Noun['kind']) => gone.flatMap((n) => (n.kind === kind ? n.key : []))
  return {
    put: worldOf(puts),
    removed: { workloads: keys('workloads'), services: keys('services'), policies: keys('policies') },
  }
}
