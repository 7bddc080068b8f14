// The part of the role `node` that a worker has. Loaded by workers of that role only.

import type { WorkerParts } from '../filter/network/http-connection-manager.ts'
import type { Limiter } from '../pool/limiter.ts'
import type { WorkloadWorld } from '../state/workload-world.ts'
import type { MetricsSlab } from '../telemetry/slab.ts'
import { TunnelMetrics } from '../telemetry/tunnel-metrics.ts'
import { Lookups } from '../tunnel/lookups.ts'
import { NodeTunnel } from '../tunnel/node-tunnel.ts'
import { RecentConnections } from '../tunnel/recent-connections.ts'
import type { NodeInit, WorkerInit } from './messages.ts'

/** `ask`: for the addresses of a host name; `askFeed`: whether the control plane has a name. */
export function nodeTunnel(
  init: WorkerInit,
  { pods, onDemand }: NodeInit,
  world: WorkloadWorld,
  parts: Omit<WorkerParts, 'tunnels'> & { readonly slab: MetricsSlab },
  places: Limiter | null,
  ask: (hostname: string) => void,
  askFeed: (name: string) => void,
): NodeTunnel {
  const { io, slab, worker, accessLog, logger, rng, requestIds } = parts
  return new NodeTunnel(
    {
      io,
      config: init.bootstrap.node,
      clusterId: init.bootstrap.xds.clusterId,
      stats: worker,
      metrics: new TunnelMetrics(slab),
      accessLog,
      recent: new RecentConnections(),
      lookups: new Lookups(io, ask),
      asking: onDemand ? new Lookups(io, askFeed) : null,
      logger,
      rng,
      ids: requestIds,
      places,
    },
    world,
    pods,
    init.index === 0,
  )
}
