// The clusters of a worker without a main thread: as a whole configuration, which is what tests and micro-benchmarks have.
import { ClusterManager } from '../../lib/cluster/cluster-manager.ts'
import type { HostRows } from '../../lib/cluster/host-rows.ts'
import type { SharedHosts } from '../../lib/cluster/shared-hosts.ts'
import { SharedLimits } from '../../lib/cluster/shared-limits.ts'
import type { Cluster } from '../../lib/state/cluster.ts'
import { RequestMetrics } from '../../lib/telemetry/request-metrics.ts'
import { createSlabBuffer, MetricsSlab } from '../../lib/telemetry/slab.ts'
import { Io } from '../../lib/transport/io.ts'

/** Returns the manager, whose clusters become live when they are used. */
export function putClusters(manager: ClusterManager, clusters: readonly Cluster[], rows: HostRows): ClusterManager {
  for (const cluster of clusters) {
    manager.put(cluster.name, { load: () => cluster }, rows.assignHosts(cluster.name, cluster.endpoints))
  }
  return manager
}

/** The clusters of worker `index`. */
export function aClusterManager(
  sharedHosts: SharedHosts | null,
  limits: SharedArrayBuffer,
  index = 0,
  workers = 1,
): ClusterManager {
  const io = new Io((error) => {
    throw error
  })
  const slab = new MetricsSlab(createSlabBuffer(4096), () => {}, 0)
  const identity = { namespace: '', serviceAccount: '', name: '', labels: {}, address: '127.0.0.1', locality: '' }
  return new ClusterManager(io, slab, new SharedLimits(limits, index, workers), sharedHosts, new RequestMetrics(slab, identity), {
    maxHeaders: 100,
    maxHeaderBytes: 61_440,
  })
}
