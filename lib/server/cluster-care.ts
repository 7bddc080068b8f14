// What the main thread does for the clusters of a configuration: places where their endpoints are counted, outlier detection, health checks. It follows what
// changes. Of a large configuration it looks after a cluster once it is used; before that only where it must: endpoints that are asked how they are.
import type { HealthChecker } from '../cluster/health-checks/health-checker.ts'
import type { HostRows } from '../cluster/host-rows.ts'
import type { OutlierSweep } from '../cluster/outlier-sweep.ts'
import type { ClusterRows } from '../cluster/shared-hosts.ts'
import type { Cluster } from '../state/cluster.ts'
import type { SecretName } from '../state/tls.ts'
import { namedChanges } from './list-changes.ts'

export interface ClusterCareParts {
  readonly rows: HostRows
  readonly outliers: OutlierSweep
  readonly checks: HealthChecker
}

/**
 * As long as fewer endpoints have places, clusters get theirs from the beginning: where they come with the first request, what workers count together
 * (requests of an endpoint, failures in a row) is counted by each alone for a millisecond.
 */
const PLACES_IN_ADVANCE = 1024

export class ClusterCare {
  readonly #parts: ClusterCareParts
  readonly #placesInAdvance: number
  #clusters: readonly Cluster[]
  readonly #byName: Map<string, Cluster>

  constructor(parts: ClusterCareParts, placesInAdvance = PLACES_IN_ADVANCE) {
    this.#parts = parts
    this.#placesInAdvance = placesInAdvance
    this.#clusters = []
    this.#byName = new Map()
  }

  /**
   * The clusters of a new snapshot, before the workers hear of it. Returns those that came, left or changed, as they were and as they are.
   */
  use(clusters: readonly Cluster[]): readonly (readonly [before: Cluster | null, after: Cluster | null])[] {
    const { gone, put } = namedChanges(this.#clusters, clusters)
    this.#clusters = clusters
    for (const { name } of gone) this.#remove(name)
    for (const { after } of put) {
      this.#byName.set(after.name, after)
      if (this.#parts.rows.has(after.name) || this.#needsPlaces(after)) this.#follow(after)
      else this.#parts.checks.updateEndpoints(after.name, after.endpoints)
    }
    if (gone.length > 0 || put.length > 0) this.#parts.outliers.schedule()
    return [...gone.map((c) => [c, null] as const), ...put.map((c) => [c.before, c.after] as const)]
  }

  /** A worker has used it. Null: it has its places already, or is no more. */
  firstUse(name: string): ClusterRows | null {
    const cluster = this.#byName.get(name)
    if (cluster === undefined || this.#parts.rows.has(name)) return null
    this.#follow(cluster)
    this.#parts.outliers.schedule()
    return this.rowsOf(name)
  }

  /** Null: it has none. */
  rowsOf(name: string): ClusterRows | null {
    const cluster = this.#byName.get(name)
    const { rows } = this.#parts
    return cluster === undefined || !rows.has(name) ? null : rows.assignHosts(name, cluster.endpoints)
  }

  #needsPlaces({ endpoints }: Cluster): boolean {
    const { length } = endpoints
    const inAdvance = length > 0 && this.#parts.rows.hosts + length <= this.#placesInAdvance
    return inAdvance || endpoints.some((e) => e.healthCheck !== null)
  }

  #follow(cluster: Cluster): void {
    const { rows, outliers, checks } = this.#parts
    rows.assignHosts(cluster.name, cluster.endpoints)
    outliers.follow(cluster)
    checks.updateEndpoints(cluster.name, cluster.endpoints)
  }

  #remove(name: string): void {
    const { rows, outliers, checks } = this.#parts
    this.#byName.delete(name)
    rows.release(name)
    outliers.forget(name)
    checks.remove(name)
  }
}

/** Whether other secrets are named. */
export function namesOtherSecrets(before: Cluster | null, after: Cluster | null): boolean {
  return certificateOf(before) !== certificateOf(after) || trustOf(before) !== trustOf(after)
}

function certificateOf(cluster: Cluster | null): SecretName {
  return cluster?.tls?.certificate ?? ''
}

function trustOf(cluster: Cluster | null): SecretName {
  return cluster?.tls?.trust ?? ''
}
