// Outlier detection on the main thread, with the clock and with what the workers remember.
import type { FailedRequest } from '../cluster/ejecting.ts'
import type { HostRows } from '../cluster/host-rows.ts'
import { OutlierSweep } from '../cluster/outlier-sweep.ts'
import type { SharedHosts } from '../cluster/shared-hosts.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { MetricsSlab } from '../telemetry/slab.ts'
import type { WorkerPool } from './worker-pool.ts'

export function outlierSweep(
  shared: SharedHosts,
  rows: HostRows,
  slab: MetricsSlab,
  log: Logger,
  pool: WorkerPool,
): OutlierSweep {
  return new OutlierSweep({
    shared,
    rows,
    slab,
    log,
    evidence: async (cluster, address) => ((await pool.ask({ type: 'failures', cluster, address })) as FailedRequest[][]).flat(),
    now: () => performance.now(),
    wallNow: () => Date.now(),
    every: (ms, run) => {
      const timer = setInterval(run, ms).unref()
      return () => clearInterval(timer)
    },
  })
}
