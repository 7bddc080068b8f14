// What a control plane has said, as a Snapshot. Each type is translated as it comes (resource-set.ts); a cluster or a listener is in force once all that it waits
// for is there, and until then the version before it stays in force: make before break. Pure but for the time that it is told.
import type { Cluster } from '../../state/cluster.ts'
import type { Listener } from '../../state/listener.ts'
import type { RouteTable } from '../../state/route.ts'
import type { Snapshot } from '../../state/snapshot.ts'
import type { SecretName } from '../../state/tls.ts'
import { EMPTY_WORLD } from '../../state/workload-world.ts'
import type { Credential } from '../../transport/secrets.ts'
import { shortTypeName, XDS } from '../client/resource-types.ts'
import type { ResourceFault, ResourceUpdate } from '../client/resource-update.ts'
import type { Any } from '../proto/schema.ts'
import { emptyTable } from '../translate/route-configuration.ts'
import { type AnyResourceSet, ResourceSet } from './resource-set.ts'
import type { TranslatedCluster, TranslatedEndpoints, TranslatedListener, Translators } from './translators.ts'
import { Warming } from './warming.ts'

/** Secrets that a control plane serves; all others are the proxy's own to provide. */
const SERVED_SECRET = /^(?:kubernetes|kubernetes-gateway|configmap|builtin|invalid):\/\//

export class XdsWorld {
  readonly clusters: ResourceSet<TranslatedCluster>
  readonly endpoints: ResourceSet<TranslatedEndpoints>
  readonly listeners: ResourceSet<TranslatedListener>
  readonly routes: ResourceSet<RouteTable>
  readonly extensions: ResourceSet<Any>
  readonly secrets: ResourceSet<Credential>
  readonly #sets: ReadonlyMap<string, AnyResourceSet>
  readonly #translators: Translators
  readonly #warmClusters: Warming<TranslatedCluster>
  readonly #warmListeners: Warming<TranslatedListener>
  /** In force, in the order in which they came. */
  readonly #activeClusters: Map<string, Cluster>
  /** Clusters by the name of their endpoints, which they may share. */
  readonly #byEdsName: Map<string, Set<string>>
  readonly #edsNameOf: Map<string, string>
  readonly #extensionValues: Map<string, Any>
  readonly #answered: Set<string>
  #version: number
  #snapshot: Snapshot | null

  constructor(translators: Translators) {
    this.#translators = translators
    this.#extensionValues = new Map()
    this.clusters = new ResourceSet(translators.cluster)
    this.endpoints = new ResourceSet(translators.endpoints)
    this.listeners = new ResourceSet(translators.listener(this.#extensionValues))
    this.routes = new ResourceSet(translators.route)
    this.extensions = new ResourceSet(translators.extension)
    this.secrets = new ResourceSet(translators.secret)
    this.#sets = new Map<string, AnyResourceSet>([
      [XDS.cluster, this.clusters],
      [XDS.endpoints, this.endpoints],
      [XDS.listener, this.listeners],
      [XDS.route, this.routes],
      [XDS.extension, this.extensions],
      [XDS.secret, this.secrets],
    ])
    this.#warmClusters = new Warming()
    this.#warmListeners = new Warming()
    this.#activeClusters = new Map()
    this.#byEdsName = new Map()
    this.#edsNameOf = new Map()
    this.#answered = new Set()
    this.#version = 0
    this.#snapshot = null
  }

  /** Takes what is good of an update. `nowMs`: epoch. */
  take(update: ResourceUpdate, nowMs: number): ResourceFault[] {
    const set = this.#setOf(update.typeUrl)
    if (set === null) return []
    if (update.origin !== 'expired') this.#answered.add(update.typeUrl)
    const faults = set.put(update.changed, nowMs)
    if (update.typeUrl === XDS.endpoints) this.endpoints.absent(update.removed, () => NO_ENDPOINTS)
    else if (update.typeUrl === XDS.route) this.routes.absent(update.removed, emptyTable)
    else set.remove(update.removed)
    if (update.typeUrl === XDS.extension) this.#followExtensions()
    return faults
  }

  #setOf(typeUrl: string): AnyResourceSet | null {
    return this.#sets.get(typeUrl) ?? null
  }

  /** Filters that come on their own are part of the listeners that name them. */
  #followExtensions(): void {
    const touched = this.extensions.takeTouched()
    for (const name of touched) {
      const value = this.extensions.get(name)
      if (value === null) this.#extensionValues.delete(name)
      else this.#extensionValues.set(name, value)
    }
    const users = [...this.listeners.held].filter(([, { value }]) => value.extensionNames.some((name) => touched.has(name)))
    this.listeners.again(users.map(([name]) => name))
  }

  /** What has to be asked for by name, given what has come: by type URL. */
  wanted(): ReadonlyMap<string, ReadonlySet<string>> {
    const eds = new Set<string>()
    const rds = new Set<string>()
    const ecds = new Set<string>()
    const sds = new Set<string>()
    for (const { value } of this.clusters.held.values()) {
      if (value.edsName !== null) eds.add(value.edsName)
      addServed(sds, value.secretNames)
    }
    for (const { value } of this.listeners.held.values()) {
      for (const name of value.routeNames) rds.add(name)
      for (const name of value.extensionNames) ecds.add(name)
      addServed(sds, value.secretNames)
    }
    return new Map([
      [XDS.endpoints, eds],
      [XDS.route, rds],
      [XDS.extension, ecds],
      [XDS.secret, sds],
    ])
  }

  /** Puts in force what has become complete. True: `snapshot` is a new one. */
  settle(nowMs: number): boolean {
    const changed = [this.#settleClusters(nowMs), this.#settleListeners(nowMs), this.routes.takeTouched().size > 0]
    this.secrets.takeTouched()
    if (!changed.includes(true) && this.#snapshot !== null) return false
    this.#snapshot = this.#compose()
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
    const cluster = this.clusters.get(name)
    if (cluster === null) {
      this.#warmClusters.forget(name)
      return this.#activeClusters.delete(name)
    }
    const missing = this.#missingSecrets(cluster.secretNames)
    if (cluster.edsName !== null && !this.endpoints.has(cluster.edsName)) missing.push(`endpoints ${cluster.edsName}`)
    if (!this.#warmClusters.isWarm(name, cluster, missing, cluster.fetchTimeoutMs, nowMs)) return false
    const before = this.#activeClusters.get(name) ?? null
    const endpoints = cluster.edsName === null ? null : this.endpoints.get(cluster.edsName)
    const next = this.#translators.assemble(cluster, endpoints, before)
    this.#activeClusters.set(name, next)
    return next !== before
  }

  #settleListeners(nowMs: number): boolean {
    const touched = new Set([...this.listeners.takeTouched(), ...this.#warmListeners.waiting])
    let changed = false
    for (const name of touched) {
      const listener = this.listeners.get(name)
      if (listener === null) {
        changed = this.#warmListeners.forget(name) || changed
        continue
      }
      const missing = this.#missingSecrets(listener.secretNames)
      for (const route of listener.routeNames) if (!this.routes.has(route)) missing.push(`routes ${route}`)
      for (const extension of listener.missingExtensions) missing.push(`extension ${extension}`)
      const before = this.#warmListeners.active(name)
      if (this.#warmListeners.isWarm(name, listener, missing, listener.fetchTimeoutMs, nowMs)) changed ||= before !== listener
    }
    return changed
  }

  #missingSecrets(names: readonly SecretName[]): string[] {
    return names.filter((name) => SERVED_SECRET.test(name) && !this.secrets.has(name)).map((name) => `secret ${name}`)
  }

  #compose(): Snapshot {
    const listeners: Listener[] = []
    const tables = new Map<string, RouteTable>()
    for (const { listener, inlineTables, routeNames } of this.#warmListeners.allActive()) {
      listeners.push(listener)
      for (const table of inlineTables) tables.set(table.name, table)
      for (const name of routeNames) {
        const table = this.routes.get(name)
        if (table !== null) tables.set(table.name, table)
      }
    }
    this.#version++
    return {
      version: this.#version,
      listeners,
      routeTables: [...tables.values()],
      defaultPorts: [],
      clusters: [...this.#activeClusters.values()],
      world: EMPTY_WORLD,
    }
  }

  get snapshot(): Snapshot {
    if (this.#snapshot === null) throw new Error('nothing has been settled')
    return this.#snapshot
  }

  /** Of types that are asked for by name, what nobody names any more. */
  forgetUnwanted(): void {
    for (const [typeUrl, names] of this.wanted()) this.#setOf(typeUrl)?.keepOnly(names)
  }

  /** What is refused, in words, one for each resource; of each an older version may be in force. */
  refusals(): string[] {
    return [...this.#sets].flatMap(([typeUrl, set]) =>
      [...set.refused].map(([name, { reason }]) => {
        const serves = set.has(name) ? 'its last good version serves' : 'nothing serves in its place'
        return `${shortTypeName(typeUrl)} ${name} is refused, ${serves}: ${reason}`
      }),
    )
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

const NO_ENDPOINTS: TranslatedEndpoints = { endpoints: [], localityWeights: null }

function addServed(to: Set<string>, names: readonly SecretName[]): void {
  for (const name of names) if (SERVED_SECRET.test(name)) to.add(name)
}
