// How many endpoints of each cluster are well, read from the memory that workers and main thread share.
import type { Cluster } from '../state/cluster.ts'
import type { Membership } from '../telemetry/membership-metrics.ts'
import type { HostRows } from './host-rows.ts'
import { hostAddress } from './lb/host.ts'
import { EJECTED_FLAG, HEALTH, type SharedHosts } from './shared-hosts.ts'

/** By name, of the clusters that have outlier detection or health checks. `endpoints` are those of the configuration in force. */
export function membershipOf(clusters: readonly Cluster[], rows: HostRows, shared: SharedHosts): Map<string, Membership> {
  const all = new Map<string, Membership>()
  for (const { name, outlierDetection, endpoints } of clusters) {
    if (outlierDetection === null && endpoints.every((e) => e.healthCheck === null)) continue
    // Nobody knows anything of one that has not been used.
    const flags = rows.has(name) ? flagsOf(rows.hostsOf(name), shared) : [...new Set(endpoints.map(hostAddress))].map(() => 0)
    all.set(name, {
      total: flags.length,
      healthy: flags.filter((f) => f === 0).length,
      ejected: flags.filter((f) => (f & EJECTED_FLAG) !== 0).length,
    })
  }
  return all
}

function flagsOf(hosts: ReadonlyMap<string, number>, shared: SharedHosts): number[] {
  return [...hosts.values()].map((row) => (row < 0 ? 0 : Atomics.load(shared.cells, shared.hostAt(row) + HEALTH)))
}
