// One worker's part of `/clusters` and of the counts on the admin page.
import { getHeapStatistics } from 'node:v8'
import { ACTIVE } from '../cluster/lb/host.ts'
import type { LiveHost } from '../cluster/live-host.ts'
import type { WorkerParts } from '../filter/network/http-connection-manager.ts'
import type { ListenerSet } from '../listener/listener-set.ts'
import { CONNECTIONS, PENDING, REQUESTS, RETRIES } from '../pool/limiter.ts'
import type { Tables } from '../route/compile.ts'
import type { ConfigUse, WorkerView } from './messages.ts'

type HostView = WorkerView['clusters'][number]['hosts'][number]

export function viewOf(parts: Pick<WorkerParts, 'clusters'>, listeners: ListenerSet): WorkerView {
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
        ...poolsOf(host),
      }
    }),
  }))
  return { clusters, downstreamConnections: listeners.connections, activeRequests }
}

/** What requests have needed of what it was told. */
export function useOf(clusters: WorkerParts['clusters'], tables: Tables): ConfigUse {
  const virtualHosts = tables.list.flatMap(({ name: table, virtualHosts: all }) =>
    all.filter((v) => v.used).map(({ name, domains }) => ({ table, name, domains })),
  )
  return { clusters: clusters.used(), virtualHosts, heapBytes: getHeapStatistics().used_heap_size }
}

/** An endpoint has a pool for each version of HTTP that it is spoken to. */
function poolsOf({ pool, http2 }: LiveHost): Omit<HostView, 'address' | 'activeRequests'> {
  return {
    connections: pool.connections + (http2 === null ? 0 : http2.connections),
    idleConnections: pool.idleConnections + (http2 === null ? 0 : http2.idleConnections),
    http2Connections: http2 === null ? 0 : http2.connections,
    requestsTotal: pool.requestsTotal + (http2 === null ? 0 : http2.requestsTotal),
    connectFailures: pool.connectFailures + (http2 === null ? 0 : http2.connectFailures),
  }
}
