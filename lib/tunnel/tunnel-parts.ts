// What the connections of a node's tunnel share in one worker.
import type { RequestIds } from '../base/request-id.ts'
import type { Rng } from '../base/rng.ts'
import type { Limiter } from '../pool/limiter.ts'
import type { NodeConfig } from '../state/bootstrap-config.ts'
import type { AccessLog } from '../telemetry/access-log.ts'
import type { WorkerStats } from '../telemetry/data-path-stats.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { TunnelMetrics } from '../telemetry/tunnel-metrics.ts'
import type { Io } from '../transport/io.ts'
import type { Lookups } from './lookups.ts'
import type { RecentConnections } from './recent-connections.ts'

export interface TunnelParts {
  readonly io: Io
  readonly config: NodeConfig
  /** Of this node; empty: not known. */
  readonly clusterId: string
  readonly stats: WorkerStats
  readonly metrics: TunnelMetrics
  readonly accessLog: AccessLog | null
  readonly recent: RecentConnections
  readonly lookups: Lookups
  /** Of names of the workload feed, `network/ip` or `namespace/hostname`, where it tells on demand; no addresses: nobody has it. null: it has told everything. */
  readonly asking: Lookups | null
  readonly logger: Logger
  readonly rng: Rng
  readonly ids: RequestIds
  /** Connections of the process, streams of tunnels included; null: no limit. */
  readonly places: Limiter | null
}
