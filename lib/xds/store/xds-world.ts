// What a control plane has said, as a Snapshot. Each type is translated as it comes (resource-set.ts); a cluster or a listener is in force once all that it waits
// for is there, and until then the version before it stays in force: make before break. Pure but for the time that it is told.
import type { RouteTable } from '../../state/route.ts'
import type { Snapshot } from '../../state/snapshot.ts'
import { EMPTY_WORLD } from '../../state/workload-world.ts'
import type { Credential } from '../../transport/secrets.ts'
import { shortTypeName, XDS } from '../client/resource-types.ts'
import type { ResourceFault, ResourceUpdate } from '../client/resource-update.ts'
import { TypedExtensionConfig } from '../proto/core.ts'
import type { Any } from '../proto/schema.ts'
import { assembleCluster } from '../translate/assemble-cluster.ts'
import { type TranslatedCluster, translateCluster } from '../translate/cluster.ts'
import { type CombinedListeners, combineListeners } from '../translate/combine-listeners.ts'
import type { GatewayFields } from '../translate/internal-endpoint.ts'
import { retold, type TranslatedListener, translateListener } from '../translate/listener.ts'
import { emptyAssignment, type LoadAssignment, translateLoadAssignment } from '../translate/load-assignment.ts'
import { emptyTable, translateRoutes } from '../translate/route-configuration.ts'
import type { RouteTerms } from '../translate/route-terms.ts'
import { translateSecret } from '../translate/secret.ts'
import { type Arrived, clusterWaitsFor, isFetched, isThere, missingSecrets } from '../translate/warming.ts'
import { AssembledClusters } from './assembled-clusters.ts'
import { comingOfListener, comingOfTable } from './clusters-coming.ts'
import { ListenerLinks } from './listener-links.ts'
import { type AnyResourceSet, type Arrival, type Held, type Refused, ResourceSet } from './resource-set.ts'
import { Warming } from './warming.ts'

export interface XdsWorldTerms {
  readonly routes: RouteTerms
  /** Lines that the CONNECT of each tunnel has: baggage. */
  readonly tunnelFields: string
  /** Further ones, of tunnels to another network. */
  readonly gateway: GatewayFields
  /** Milliseconds after which something that waits is in force all the same; 0: never. Servers of the state of the world say nothing of what does not exist. */
  readonly fetchTimeoutMs: number
  /** Credentials of files that can be used (`file-cert:…`), which are waited for as secrets are; absent: all. */
  readonly files?: Arrived['secrets']
}

/** How long routes wait for clusters that they name. */
const ROUTES_WAIT_MS = 5000
/** How long clusters and listeners wait for Secrets: istiod says nothing of one that is not there (Envoy's default of initial_fetch_timeout, which istiod leaves). */
const SECRETS_WAIT_MS = 15_000

/** null: there is none. */
export interface ResourceState {
  readonly name: string
  readonly active: Held<unknown> | null
  readonly warming: Held<unknown> | null
  readonly refused: Refused | null
}

export class XdsWorld {
  readonly clusters: ResourceSet<TranslatedCluster>
  readonly endpoints: ResourceSet<LoadAssignment>
  readonly listeners: ResourceSet<TranslatedListener>
  readonly routes: ResourceSet<RouteTable>
  readonly extensions: ResourceSet<Any>
  readonly secrets: ResourceSet<Credential>
  readonly #terms: XdsWorldTerms
  readonly #sets: ReadonlyMap<string, AnyResourceSet>
  readonly #warmClusters: Warming<TranslatedCluster>
  readonly #warmTables: Warming<RouteTable>
  readonly #warmListeners: Warming<TranslatedListener>
  readonly #warming: ReadonlyMap<string, Warming<unknown>>
  /** In force, in the order in which they came. */
  readonly #assembled: AssembledClusters
  /** Clusters by the name of their endpoints, which they may share. */
  readonly #byEdsName: Map<string, Set<string>>
  readonly #edsNameOf: Map<string, string>
  readonly #extensionValues: Map<string, Any>
  readonly #links: ListenerLinks
  readonly #answered: Set<string>
  /** Of the listeners in force; null: they have changed. */
  #combined: CombinedListeners | null
  /** Of what is in force; null: something has changed. */
  #credentials: readonly Credential[] | null
  #version: number
  #snapshot: Snapshot | null

  constructor(terms: XdsWorldTerms) {
    this.#terms = terms
    this.#extensionValues = new Map()
    this.clusters = new ResourceSet(
      ({ bytes }, _, findings) => translateCluster(bytes, terms.tunnelFields, findings),
      ({ cluster }) => cluster.name,
    )
    const dialled = { tunnelFields: terms.tunnelFields, gateway: terms.gateway, mayBeNames: false }
    this.endpoints = new ResourceSet(({ bytes }, before, findings) => translateLoadAssignment(bytes, before, dialled, findings))
    this.listeners = new ResourceSet(
      ({ bytes }, previous, findings) =>
        retold(translateListener(bytes, previous, { extensions: this.#extensionValues, routes: terms.routes }), findings),
      ({ name }) => name,
    )
    this.routes = new ResourceSet(
      ({ bytes }, previous, findings) => translateRoutes(bytes, terms.routes, findings, previous),
      ({ name }) => name,
    )
    this.extensions = new ResourceSet(
      ({ bytes }, _, findings) => findings.decode(bytes, TypedExtensionConfig)?.typed_config ?? null,
    )
    this.secrets = new ResourceSet(({ name, bytes }, _, findings) => translateSecret(name, bytes, findings))
    this.#sets = new Map<string, AnyResourceSet>([
      [XDS.cluster, this.clusters],
      [XDS.endpoints, this.endpoints],
      [XDS.listener, this.listeners],
      [XDS.route, this.routes],
      [XDS.extension, this.extensions],
      [XDS.secret, this.secrets],
    ])
    this.#warmClusters = new Warming()
    this.#warmTables = new Warming(false)
    this.#warmListeners = new Warming()
    this.#warming = new Map<string, Warming<unknown>>([
      [XDS.cluster, this.#warmClusters],
      [XDS.route, this.#warmTables],
      [XDS.listener, this.#warmListeners],
    ])
    this.#assembled = new AssembledClusters()
    this.#byEdsName = new Map()
    this.#edsNameOf = new Map()
    this.#links = new ListenerLinks()
    this.#answered = new Set()
    this.#combined = null
    this.#credentials = null
    this.#version = 0
    this.#snapshot = null
  }

  /** Takes what is good of an update. `nowMs`: epoch. */
  take(update: ResourceUpdate, nowMs: number): ResourceFault[] {
    const { typeUrl, changed, removed, origin, version } = update
    const set = this.#sets.get(typeUrl)
    if (set === undefined) return []
    if (origin !== 'expired') this.#answered.add(typeUrl)
    const arrival: Arrival = { version, atMs: nowMs }
    const faults = set.put(changed, arrival)
    // Of the types that are asked for by name, "there is none" is an answer: no endpoints, no routes. So is what is refused, or all else would wait for it.
    if (typeUrl === XDS.endpoints) this.endpoints.answer(removed, faults, emptyAssignment, arrival)
    else if (typeUrl === XDS.route) this.routes.answer(removed, faults, emptyTable, arrival)
    else set.remove(removed)
    if (typeUrl === XDS.extension) faults.push(...this.#followExtensions(arrival))
    return faults
  }

  /** Filters that come on their own are part of the listeners that name them. One that they cannot use is refused, and its last good version stays in them. */
  #followExtensions(arrival: Arrival): ResourceFault[] {
    return [...this.extensions.takeTouched()].flatMap((name) => {
      const before = this.#extensionValues.get(name) ?? null
      this.#setExtension(name, this.extensions.get(name))
      const users = [...this.listeners.held].flatMap(([user, { value }]) => (value.extensionNames.includes(name) ? user : []))
      const faults = this.listeners.again(users)
      if (faults.length === 0) return []
      const [{ name: user, reason }] = faults as [ResourceFault]
      this.#setExtension(name, before)
      this.listeners.again(users)
      return this.extensions.refuse(name, before, `the listener ${user} cannot use it: ${reason}`, arrival)
    })
  }

  #setExtension(name: string, value: Any | null): void {
    if (value === null) this.#extensionValues.delete(name)
    else this.#extensionValues.set(name, value)
  }

  /** What has to be asked for by name, given what has come and what it has not replaced yet: by type URL. */
  wanted(): ReadonlyMap<string, ReadonlySet<string>> {
    const eds = new Set<string>()
    const rds = new Set<string>()
    const ecds = new Set<string>()
    const sds = new Set<string>()
    for (const value of everyOne(this.clusters, this.#warmClusters)) {
      if (value.edsName !== null) eds.add(value.edsName)
      for (const name of value.secretNames) if (isFetched(name)) sds.add(name)
    }
    for (const value of everyOne(this.listeners, this.#warmListeners)) {
      for (const name of value.routeNames) rds.add(name)
      for (const name of value.extensionNames) ecds.add(name)
      for (const name of value.secretNames) if (isFetched(name)) sds.add(name)
    }
    return new Map([
      [XDS.endpoints, eds],
      [XDS.route, rds],
      [XDS.extension, ecds],
      [XDS.secret, sds],
    ])
  }

  /** Of types that are asked for by name, what nobody names any more. */
  forgetUnwanted(wanted = this.wanted()): void {
    for (const [typeUrl, names] of wanted) this.#sets.get(typeUrl)?.keepOnly(names)
  }

  /** Puts in force what has become complete. True: `snapshot` is a new one. */
  settle(nowMs: number): boolean {
    const clusters = this.#settleClusters(nowMs)
    const coming = new Set(this.#warmClusters.waiting.filter((name) => !this.#assembled.has(name)))
    const tables = this.#settleTables(coming, nowMs)
    const listeners = this.#settleListeners(coming, nowMs)
    const secrets = this.secrets.takeTouched().size > 0
    if (listeners) this.#combined = null
    if (listeners || secrets) this.#credentials = null
    if (!clusters && !tables && !listeners && !secrets && this.#snapshot !== null) return false
    this.#snapshot = this.#compose(this.#snapshot, tables || listeners)
    return true
  }

  #settleClusters(nowMs: number): boolean {
    const touched = new Set(this.clusters.takeTouched())
    for (const name of touched) this.#indexEdsName(name)
    for (const edsName of this.endpoints.takeTouched()) for (const name of this.#byEdsName.get(edsName) ?? []) touched.add(name)
    for (const name of this.#warmClusters.waiting) touched.add(name)
    let changed = false
    for (const name of touched) changed = this.#settleCluster(name, nowMs) || changed
    return changed
  }

  #indexEdsName(name: string): void {
    const before = this.#edsNameOf.get(name)
    const edsName = this.clusters.get(name)?.edsName ?? undefined
    if (before === edsName) return
    if (before !== undefined) this.#byEdsName.get(before)?.delete(name)
    this.#edsNameOf.delete(name)
    if (edsName === undefined) return
    this.#edsNameOf.set(name, edsName)
    const users = this.#byEdsName.get(edsName) ?? new Set<string>()
    this.#byEdsName.set(edsName, users.add(name))
  }

  #settleCluster(name: string, nowMs: number): boolean {
    const from = this.clusters.get(name)
    if (from === null) {
      this.#warmClusters.forget(name)
      if ((this.#assembled.get(name)?.from.credentials.length ?? 0) > 0) this.#credentials = null
      return this.#assembled.delete(name)
    }
    const missing = clusterWaitsFor(from, {
      assignments: this.endpoints,
      secrets: { has: (secret) => isThere(secret, this.secrets, this.#terms.files) },
    })
    const isMissing = from.edsName !== null && !this.endpoints.has(from.edsName)
    const limitMs = isMissing ? this.#terms.fetchTimeoutMs : SECRETS_WAIT_MS
    if (!this.#warmClusters.isWarm(name, from, missing, limitMs, nowMs)) return false
    const before = this.#assembled.get(name)
    const assignment = from.edsName === null ? null : this.endpoints.get(from.edsName)
    if (before?.from !== from && [before?.from, from].some((f) => (f?.credentials.length ?? 0) > 0)) this.#credentials = null
    return this.#assembled.set(name, assembleCluster(from, assignment, before))
  }

  /**
   * Routes wait for clusters that are new and wait themselves, so that nobody is led to where nothing is yet: a control plane sends them without waiting for the
   * endpoints to have come. Not for long, since what else they say holds whatever becomes of that cluster. (Envoy does not wait.)
   */
  #settleTables(coming: ReadonlySet<string>, nowMs: number): boolean {
    let changed = false
    for (const name of new Set([...this.routes.takeTouched(), ...this.#warmTables.waiting])) {
      const table = this.routes.get(name)
      if (table === null) {
        changed = this.#warmTables.forget(name) || changed
        continue
      }
      const before = this.#warmTables.active(name)
      const missing = comingOfTable(table, before, coming)
      if (this.#warmTables.isWarm(name, table, missing, ROUTES_WAIT_MS, nowMs)) changed ||= before !== table
    }
    return changed
  }

  /** What a listener carries itself waits for clusters as routes do. */
  #settleListeners(coming: ReadonlySet<string>, nowMs: number): boolean {
    const touched = new Set([...this.listeners.takeTouched(), ...this.#warmListeners.waiting])
    let changed = false
    for (const name of touched) {
      const listener = this.listeners.get(name)
      if (listener === null) {
        changed = this.#warmListeners.forget(name) || changed
        continue
      }
      // As if it was refused itself.
      if (listener.missingExtensions.some((extension) => this.extensions.refused.has(extension))) {
        this.#warmListeners.giveUp(name)
        continue
      }
      const before = this.#warmListeners.active(name)
      const others = this.#listenerWaitsFor(listener)
      const missing = [...others, ...comingOfListener(listener, before, coming)]
      // Without an extension it is no listener yet: time does not mend that.
      const { fetchTimeoutMs } = this.#terms
      const hasRoutes = listener.routeNames.every((route) => this.#warmTables.active(route) !== null)
      const patience = others.length === 0 ? ROUTES_WAIT_MS : SECRETS_WAIT_MS
      const limitMs = listener.missingExtensions.length > 0 ? 0 : hasRoutes ? patience : fetchTimeoutMs
      if (this.#warmListeners.isWarm(name, listener, missing, limitMs, nowMs)) changed ||= before !== listener
    }
    return changed
  }

  #listenerWaitsFor(listener: TranslatedListener): string[] {
    return [
      ...missingSecrets(listener, (name) => isThere(name, this.secrets, this.#terms.files)),
      ...listener.routeNames.filter((name) => this.#warmTables.active(name) === null).map((name) => `the routes ${name}`),
      ...listener.missingExtensions.map((name) => `the extension ${name}`),
    ]
  }

  /** Lists of which nothing has changed are those of `before`. `tables`: some have, or who names them. */
  #compose(before: Snapshot | null, tables: boolean): Snapshot {
    const active = [...this.#warmListeners.allActive()]
    this.#combined ??= combineListeners(active)
    this.#version++
    return {
      version: this.#version,
      listeners: this.#combined.listeners,
      routeTables: before === null || tables ? this.#tables(this.#combined, active) : before.routeTables,
      defaultPorts: [],
      clusters: this.#links.clusters(this.#assembled.list, active),
      world: EMPTY_WORLD,
    }
  }

  #tables({ inlineTables }: CombinedListeners, active: readonly TranslatedListener[]): readonly RouteTable[] {
    const tables = new Map(inlineTables.map((table) => [table.name, table]))
    for (const name of active.flatMap((l) => l.routeNames)) {
      const table = this.#warmTables.active(name)
      if (table !== null) tables.set(name, table)
    }
    return [...tables.values()]
  }

  /** How many have come and are not in force yet. */
  get waiting(): number {
    return this.#warmClusters.waiting.length + this.#warmTables.waiting.length + this.#warmListeners.waiting.length
  }

  get snapshot(): Snapshot {
    if (this.#snapshot === null) throw new Error('nothing has been settled')
    return this.#snapshot
  }

  /** Certificates and roots that came by SDS, or stand in what is in force. */
  credentials(): readonly Credential[] {
    this.#credentials ??= [
      ...[...this.secrets.held.values()].map(({ value }) => value),
      ...this.#assembled.credentials(),
      ...[...this.#warmListeners.allActive()].flatMap((l) => l.credentials),
    ]
    return this.#credentials
  }

  /** What is refused, in words, one for each resource; of each an older version may be in force. */
  refusals(): string[] {
    return [...this.#sets].flatMap(([typeUrl, set]) =>
      [...set.refused].map(([name, { reason }]) => {
        const serves =
          (set.held.get(name)?.resource ?? null) !== null ? 'its last good version serves' : 'nothing serves in its place'
        return `${shortTypeName(typeUrl)} ${name} is refused, ${serves}: ${reason}`
      }),
    )
  }

  /** Of each resource of a type: what is in force, what waits, what was refused. */
  states(typeUrl: string): ResourceState[] {
    const set = this.#sets.get(typeUrl)
    if (set === undefined) return []
    const warming = this.#warming.get(typeUrl)
    return [...new Set([...set.held.keys(), ...set.refused.keys()])].map((name) => {
      const held = set.held.get(name) ?? null
      const active = warming === undefined ? held : set.heldOf(name, warming.active(name))
      return { name, active, warming: held === active ? null : held, refused: set.refused.get(name) ?? null }
    })
  }

  /** What waits, and what for, in words. */
  warming(): string[] {
    return [...this.#warmClusters.texts('cluster'), ...this.#warmTables.texts('routes'), ...this.#warmListeners.texts('listener')]
  }

  /** CDS and LDS have come, and all that came is in force or refused. */
  get complete(): boolean {
    return this.waitingFor().length === 0
  }

  /** What a first configuration waits for, in words. */
  waitingFor(): string[] {
    const types: readonly (readonly [string, string])[] = [
      [XDS.cluster, 'clusters (CDS)'],
      [XDS.listener, 'listeners (LDS)'],
    ]
    return [
      ...types.filter(([typeUrl]) => !this.#answered.has(typeUrl)).map(([, name]) => name),
      ...this.#warmClusters.texts('cluster'),
      ...this.#warmListeners.texts('listener'),
    ]
  }
}

/** What has come, and what is in force, which needs what it names until it is replaced. */
function* everyOne<T extends object>(come: ResourceSet<T>, inForce: Warming<T>): Iterable<T> {
  for (const { value } of come.held.values()) yield value
  yield* inForce.allActive()
}
