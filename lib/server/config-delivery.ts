// A configuration on its way to the workers: what the main thread itself does for it, then what differs from the one before.
import type { DnsRefresher } from '../cluster/dns.ts'
import type { JwksCluster, JwksSource } from '../state/jwt.ts'
import { secretNames } from '../state/secret-names.ts'
import type { Snapshot } from '../state/snapshot.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Credential } from '../transport/secrets.ts'
import { ClusterCare, type ClusterCareParts, namesOtherSecrets } from './cluster-care.ts'
import type { ConfigChanges } from './config-changes.ts'
import { ConfigFeed } from './config-feed.ts'
import { HeapCare } from './heap-care.ts'
import { fetchJwks } from './jwks-fetch.ts'
import { JwksKeeper } from './jwks-keeper.ts'
import type { ToWorker } from './messages.ts'
import type { RolePart } from './role-part.ts'
import type { SecretsKeeper } from './secrets-keeper.ts'

export interface ConfigDeliveryOptions extends ClusterCareParts {
  readonly dns: DnsRefresher
  readonly log: Logger
  readonly secrets: SecretsKeeper
  readonly role: RolePart | null
  /** Of the Secrets that configuration names; the same object where one has not changed. */
  readonly credentials: () => readonly Credential[]
  /** As in WorkerInit. */
  readonly ports: () => Readonly<Record<string, number>>
  /** To all workers. */
  readonly broadcast: (message: ToWorker) => void
}

export class ConfigDelivery {
  /** Keys that tokens are verified with. */
  readonly jwks: JwksKeeper
  readonly #options: ConfigDeliveryOptions
  readonly #care: ClusterCare
  readonly #feed: ConfigFeed
  readonly #heap: HeapCare
  /** What the workers were told, before the addresses of names were put in; null: nothing yet. */
  #told: Snapshot | null
  /** What was followed last. */
  #followed: Snapshot | null
  /** Of when secrets were named last. */
  #credentials: readonly Credential[] | null

  constructor(options: ConfigDeliveryOptions) {
    this.jwks = new JwksKeeper({
      log: options.log,
      onChange: () => this.addressesChanged(),
      fetch: (source) => (source.through === null ? fetchJwks(source) : this.#fetchThrough(source, source.through)),
    })
    this.#options = options
    this.#care = new ClusterCare(options)
    this.#feed = new ConfigFeed((cluster) => this.#care.rowsOf(cluster))
    this.#heap = new HeapCare(options.log)
    this.#told = null
    this.#followed = null
    this.#credentials = null
    options.secrets.follow(() => this.jwks.retry())
  }

  /** Of what the workers share. */
  get bytes(): ConfigFeed['bytes'] {
    return this.#feed.bytes
  }

  /** For a worker that begins: it is told what the others have been told. */
  everything(): ConfigChanges {
    const { role } = this.#options
    const config = this.#feed.everything()
    // What a role has from elsewhere it tells itself, but for those who begin.
    return role === null ? config : { ...config, world: role.complete(this.#feed.told).world }
  }

  /** What the main thread does for a configuration before the workers are told: endpoints that have a health check are asked from here on. */
  follow(configured: Snapshot): Snapshot {
    const { dns, secrets, role } = this.#options
    const credentials = this.#options.credentials()
    const snapshot = this.jwks.inject(dns.inject(configured))
    const before = this.#followed
    const clusters = this.#care.use(snapshot.clusters)
    const same = before?.listeners === snapshot.listeners && sameItems(this.#credentials, credentials)
    if (!same || clusters.some(([was, is]) => namesOtherSecrets(was, is))) secrets.use(secretNames(snapshot), credentials)
    if (before?.world !== snapshot.world) role?.use(snapshot)
    this.#followed = snapshot
    this.#credentials = credentials
    if (before?.clusters !== snapshot.clusters) this.jwks.retry()
    return snapshot
  }

  /** The workers put it in force, and say that they have applied its version. */
  tell(configured: Snapshot): void {
    const changes = this.#feed.push(this.follow(configured))
    this.#told = configured
    this.#options.broadcast({ type: 'config', changes, ports: this.#options.ports() })
    this.#heap.changed()
  }

  /** What a role has from elsewhere, such as a feed of workloads, goes to all workers. */
  pass(message: ToWorker): void {
    this.#options.broadcast(message)
    this.#heap.changed()
  }

  /** Names have other addresses, or issuers of tokens other keys: the configuration that the workers have goes out with those. */
  addressesChanged(): void {
    if (this.#told !== null) this.tell(this.#told)
  }

  async #fetchThrough(source: JwksSource, through: JwksCluster): Promise<string> {
    const { fetchThrough } = await import('./jwks-through.ts')
    return fetchThrough(source, through, {
      cluster: (name) => this.#followed?.clusters.find((c) => c.name === name) ?? null,
      secrets: () => this.#options.secrets.secrets,
    })
  }

  /** A worker has used a cluster: from now on all workers count together. */
  firstUse(cluster: string): void {
    const rows = this.#care.firstUse(cluster)
    if (rows !== null) this.#options.broadcast({ type: 'rows', cluster, rows })
  }
}

function sameItems<T>(a: readonly T[] | null, b: readonly T[]): boolean {
  return a !== null && a.length === b.length && a.every((item, i) => item === b[i])
}
