// Keeps the endpoints of DNS clusters fresh. Runs on the main thread: each name is looked up once, however many clusters use
// it, again when its TTL is over, and the workers are told only what changed.

import { isIP } from 'node:net'
import { isSocketPath } from '../base/socket-path.ts'
import type { Cluster, DnsFamily, Endpoint } from '../state/cluster.ts'
import type { Snapshot } from '../state/snapshot.ts'
import { DnsPlaces } from './dns-places.ts'
import type { DnsAnswer, DnsSource } from './dns-source.ts'

/** Answers with a TTL of 0 would be asked for without end. */
const MIN_REFRESH_MS = 1000
const MAX_REFRESH_MS = 86_400_000

export interface DnsRefresherOptions {
  readonly source: DnsSource
  /** mesh.dnsRefreshMs: for answers without a TTL, and the longest pause after failures. */
  readonly refreshMs: number
  /** The endpoints of a cluster of the last `update` changed. */
  readonly onEndpoints: (cluster: string, endpoints: readonly Endpoint[]) => void
  /** Only when a name begins to fail, and when it works again. */
  readonly log: { info(message: string): void; warning(message: string): void }
  /** Calls back once; returns how to cancel. Default: an unref'd setTimeout. */
  readonly schedule?: (callback: () => void, delayMs: number) => () => void
}

interface Name {
  readonly host: string
  readonly family: DnsFamily
  /** What the name resolved to last; null: never yet. A failure does not change it. */
  addresses: readonly string[] | null
  /** Consecutive. */
  failures: number
  /** The first look-up, whatever became of it. */
  readonly tried: Promise<void>
  cancel: () => void
  dropped: boolean
}

export class DnsRefresher {
  readonly #options: DnsRefresherOptions
  readonly #schedule: (callback: () => void, delayMs: number) => () => void
  /** Of the last `update`, those of type DNS. */
  #clusters: readonly Cluster[]
  readonly #places: DnsPlaces
  /** By family and host. */
  readonly #names: Map<string, Name>
  /** With the addresses that are known, by what configuration has. */
  #known: WeakMap<Cluster, Cluster>
  #injected: { readonly from: Snapshot; readonly snapshot: Snapshot } | null

  constructor(options: DnsRefresherOptions) {
    this.#options = options
    this.#schedule = options.schedule ?? unrefTimeout
    this.#clusters = []
    this.#places = new DnsPlaces()
    this.#names = new Map()
    this.#known = new WeakMap()
    this.#injected = null
  }

  /** The DNS clusters of a new snapshot: names that are new are looked up now, those that are gone are forgotten. */
  update(clusters: readonly Cluster[]): void {
    const own = this.#places.of(clusters).map((i) => clusters[i] as Cluster)
    if (sameItems(own, this.#clusters)) return
    this.#clusters = own
    const wanted = new Set(
      this.#clusters.flatMap((c) => c.dnsNames.flatMap(({ host }) => (isName(host) ? [keyOf(host, c.dnsFamily)] : []))),
    )
    for (const [key, name] of this.#names) {
      if (wanted.has(key)) continue
      drop(name)
      this.#names.delete(key)
    }
    for (const key of wanted) if (!this.#names.has(key)) this.#begin(key)
  }

  /** The snapshot with what is known about its DNS clusters, so that a reload loses no address. A cluster of which nothing new is known is the same object as before. */
  inject(snapshot: Snapshot): Snapshot {
    if (this.#injected?.from === snapshot) return this.#injected.snapshot
    const places = this.#places.of(snapshot.clusters)
    if (places.length === 0) return snapshot
    const clusters = snapshot.clusters.slice()
    for (const i of places) clusters[i] = this.#resolvedCluster(clusters[i] as Cluster)
    const last = this.#injected?.snapshot.clusters
    const injected = { ...snapshot, clusters: last !== undefined && sameItems(last, clusters) ? last : clusters }
    this.#injected = { from: snapshot, snapshot: injected }
    return injected
  }

  #resolvedCluster(cluster: Cluster): Cluster {
    let resolved = this.#known.get(cluster)
    if (resolved === undefined) {
      resolved = { ...cluster, endpoints: this.#endpoints(cluster) }
      this.#known.set(cluster, resolved)
    }
    return resolved
  }

  /** Until each name has been looked up once, successfully or not, but no longer than `limitMs`. */
  async settled(limitMs: number): Promise<void> {
    let cancel = () => {}
    const limit = new Promise<void>((resolve) => {
      cancel = this.#schedule(resolve, limitMs)
    })
    await Promise.race([limit, Promise.all([...this.#names.values()].map((n) => n.tried))])
    cancel()
  }

  stop(): void {
    for (const name of this.#names.values()) drop(name)
    this.#names.clear()
    this.#clusters = []
  }

  #begin(key: string): void {
    const space = key.indexOf(' ')
    const [family, host] = [key.slice(0, space) as DnsFamily, key.slice(space + 1)]
    let tried = () => {}
    const first = new Promise<void>((resolve) => {
      tried = resolve
    })
    const name: Name = { host, family, addresses: null, failures: 0, tried: first, cancel: () => {}, dropped: false }
    this.#names.set(key, name)
    this.#lookUp(name).then(tried, tried)
  }

  async #lookUp(name: Name): Promise<void> {
    let delayMs: number
    try {
      const answer = await this.#options.source.resolve(name.host, name.family)
      if (name.dropped) return
      delayMs = Math.min(MAX_REFRESH_MS, Math.max(MIN_REFRESH_MS, answer.ttlMs ?? this.#options.refreshMs))
      this.#resolved(name, answer)
    } catch (error) {
      if (name.dropped) return
      this.#failed(name, error as NodeJS.ErrnoException)
      delayMs = Math.min(Math.max(this.#options.refreshMs, MIN_REFRESH_MS), MIN_REFRESH_MS * 2 ** Math.min(name.failures - 1, 16))
    }
    name.cancel = this.#schedule(() => void this.#lookUp(name), delayMs)
  }

  #resolved(name: Name, answer: DnsAnswer): void {
    const failed = name.failures > 0
    name.failures = 0
    const before = name.addresses
    name.addresses = answer.addresses
    const sameSet = before !== null && sorted(before) === sorted(answer.addresses)
    const sameFirst = before?.[0] === answer.addresses[0]
    for (const cluster of this.#clusters) {
      if (cluster.dnsFamily !== name.family || !cluster.dnsNames.some((n) => n.host === name.host)) continue
      // Servers rotate their answers: only a cluster that uses the first address cares about the order.
      if (
        cluster.firstAddressOnly && cluster.dnsFamily !== 'ALL' ? sameFirst : sameSet && (sameFirst || !cluster.firstAddressOnly)
      )
        continue
      this.#known.delete(cluster)
      this.#injected = null
      this.#options.onEndpoints(cluster.name, this.#endpoints(cluster))
    }
    if (failed) this.#options.log.info(`DNS: ${name.host} resolves again`)
  }

  #failed(name: Name, error: NodeJS.ErrnoException): void {
    name.failures++
    if (name.failures > 1) return
    const kept = name.addresses === null ? 'it has no address yet' : `keeping ${name.addresses.join(', ')}`
    this.#options.log.warning(`DNS: ${name.host} cannot be resolved (${error.code ?? error.message}); ${kept}`)
  }

  #endpoints(cluster: Cluster): readonly Endpoint[] {
    const all = cluster.dnsNames.flatMap(({ host, port, endpoint }) => {
      const addresses = isName(host) ? (this.#names.get(keyOf(host, cluster.dnsFamily))?.addresses ?? []) : [host]
      return addresses.map((address): Endpoint => ({ ...endpoint, address, port }))
    })
    if (!cluster.firstAddressOnly) return all
    const [first] = all
    if (first === undefined || cluster.dnsFamily !== 'ALL') return all.slice(0, 1)
    // Of its one endpoint the others are further addresses (Envoy LOGICAL_DNS).
    return [{ ...first, otherAddresses: all.slice(1).flatMap((e) => (e.port === first.port ? [e.address] : [])) }]
  }
}

function keyOf(host: string, family: DnsFamily): string {
  return `${family} ${host}`
}

function isName(host: string): boolean {
  return isIP(host) === 0 && !isSocketPath(host)
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i])
}

function drop(name: Name): void {
  name.dropped = true
  name.cancel()
}

function sorted(addresses: readonly string[]): string {
  return [...addresses].sort().join()
}

function unrefTimeout(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs)
  timer.unref()
  return () => clearTimeout(timer)
}
