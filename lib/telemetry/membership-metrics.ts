// How many endpoints of a cluster there are, are well, are ejected: written by the main thread before each exposition.
import { offsetOf } from './data-path-stats.ts'
import { MEMBERSHIP } from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsSlab } from './slab.ts'

export interface Membership {
  readonly total: number
  readonly healthy: number
  readonly ejected: number
}

const NOBODY: Membership = { total: 0, healthy: 0, ejected: 0 }

export class MembershipMetrics {
  private readonly slab: MetricsSlab
  /** Clusters that were written last time. */
  private written: Set<string>

  constructor(slab: MetricsSlab) {
    this.slab = slab
    this.written = new Set()
  }

  /** All clusters that have them now, by name; those of before that are not among them are gone. */
  write(clusters: ReadonlyMap<string, Membership>): void {
    for (const name of this.written) if (!clusters.has(name)) this.set(name, NOBODY)
    for (const [name, membership] of clusters) this.set(name, membership)
    this.written = new Set(clusters.keys())
  }

  private set(name: string, { total, healthy, ejected }: Membership): void {
    const slot = this.slab.allot(MEMBERSHIP, renderLabels([['cluster_name', name]]))
    const { values } = this.slab
    values[slot + offsetOf(MEMBERSHIP, 'envoy_cluster_membership_total')] = total
    values[slot + offsetOf(MEMBERSHIP, 'envoy_cluster_membership_healthy')] = healthy
    values[slot + offsetOf(MEMBERSHIP, 'envoy_cluster_outlier_detection_ejections_active')] = ejected
  }
}
