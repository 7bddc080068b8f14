// One worker's part of `/clusters` and of the counts on the admin page.
import { ACTIVE } from '../cluster/lb/host.ts'
import type { WorkerParts } from '../filter/network/http-connection-manager.ts'
import type { ListenerSet } from '../listener/listener-set.ts'
import { CONNECTIONS, PENDING, REQUESTS, RETRIES } from '../pool/limiter.ts'
import type { WorkerView } from './messages.ts'

export function viewOf(parts: WorkerParts, listeners: ListenerSet): WorkerView {
  let activeRequests = 0
  const clusters = [...parts.clusters.all()].map((live) => ({
    name: live.balanced.name,
    inUse: {
      connections: live.limiter.ownCount(CONNECTIONS),
      pendingRequests: live.limiter.ownCount(PENDING),
      requests: live.limiter.ownCount(REQUESTS),
      retries: live.limiter.ownCount(RETRIES),
    },
    hosts: live.hosts.map((host) => {
      const active = host.ownCount(ACTIVE)
      activeRequests += active
      return {
        address: host.address,
        activeRequests: active,
        connections: host.pool.connections,
        idleConnections: host.pool.idleConnections,
        requestsTotal: host.pool.requestsTotal,
        connectFailures: host.pool.connectFailures,
      }
    }),
  }))
  return { clusters, downstreamConnections: listeners.connections, activeRequests }
}
