// Slots of envoy_cluster_outlier_detection_… of one cluster, in the slab of a worker or of the main thread.
import { offsetOf } from './data-path-stats.ts'
import { OUTLIER } from './families.ts'
import { renderLabels } from './labels.ts'
import type { MetricsSlab } from './slab.ts'

/** Families of the detectors stand in pairs, in the order of DETECTOR_NAMES of cluster/ejecting.ts. */
export class OutlierStats {
  readonly enforcedTotal: number
  readonly overflow: number
  private readonly byDetector: number

  constructor(slab: MetricsSlab, clusterName: string) {
    const slot = slab.allot(OUTLIER, renderLabels([['cluster_name', clusterName]]))
    const at = (name: string): number => slot + offsetOf(OUTLIER, `envoy_cluster_outlier_detection_${name}`)
    this.enforcedTotal = at('ejections_enforced_total')
    this.overflow = at('ejections_overflow')
    this.byDetector = at('ejections_detected_consecutive_5xx')
  }

  /** `detector`: DETECTED_BY_…, from 1. */
  detected(detector: number): number {
    return this.byDetector + 2 * (detector - 1)
  }

  enforced(detector: number): number {
    return this.byDetector + 2 * (detector - 1) + 1
  }
}
