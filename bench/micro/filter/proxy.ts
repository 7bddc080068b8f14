// What the benchmarks of whole requests share: a worker's data path with one route, one endpoint and sockets that take everything.

import type net from 'node:net'
import { RequestIds } from '../../../lib/base/request-id.ts'
import { Rng } from '../../../lib/base/rng.ts'
import { ClusterManager } from '../../../lib/cluster/cluster-manager.ts'
import { HostRows } from '../../../lib/cluster/host-rows.ts'
import type { LiveHost } from '../../../lib/cluster/live-host.ts'
import { SharedHosts, sharedHostsBytes } from '../../../lib/cluster/shared-hosts.ts'
import { SharedLimits } from '../../../lib/cluster/shared-limits.ts'
import { StepRing } from '../../../lib/decide/steps.ts'
import { RecentRequests } from '../../../lib/filter/http/recent-requests.ts'
import { HttpConnectionManager, type WorkerParts } from '../../../lib/filter/network/http-connection-manager.ts'
import type { EndpointPool } from '../../../lib/pool/endpoint-pool.ts'
import { compileTables } from '../../../lib/route/compile.ts'
import type { OutlierDetection } from '../../../lib/state/outlier-detection.ts'
import { selfWithout } from '../../../lib/state/self-description.ts'
import type { Snapshot } from '../../../lib/state/snapshot.ts'
import { AccessLog } from '../../../lib/telemetry/access-log.ts'
import { AccessLogs } from '../../../lib/telemetry/access-logs.ts'
import { WorkerStats } from '../../../lib/telemetry/data-path-stats.ts'
import { Logger } from '../../../lib/telemetry/logger.ts'
import { RequestMetrics } from '../../../lib/telemetry/request-metrics.ts'
import { createSlabBuffer, MetricsSlab } from '../../../lib/telemetry/slab.ts'
import { type Connection, NOBODY } from '../../../lib/transport/connection.ts'
import { Io } from '../../../lib/transport/io.ts'
import { SocketConnection } from '../../../lib/transport/socket-connection.ts'
import { putClusters } from '../../../test/support/clusters.ts'
import {
  aCluster,
  aDestination,
  aForward,
  aListener,
  anEndpoint,
  anHttpChain,
  aRetryPolicy,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../../../test/support/nouns.ts'

type Protocol = 'http1' | 'http2'

/** What a row measures. */
export interface Terms {
  readonly downstream: Protocol
  readonly upstream: Protocol
  /** Access log lines are made, and thrown away. */
  readonly withLog: boolean
  readonly outlierDetection: OutlierDetection | null
}

/** A client's connection and one to the endpoint, both open. */
export interface Proxy {
  readonly io: Io
  readonly client: Connection
  readonly upstream: Connection
  readonly pool: EndpointPool
}

/** A socket whose kernel takes every byte at once. */
function endlessSocket(): net.Socket {
  const handle = { reading: false, readStart: () => 0, readStop: () => 0, useUserBuffer: () => {}, writeBuffer: () => 0 }
  const socket = {
    _handle: handle,
    remoteAddress: '127.0.0.1',
    remotePort: 40000,
    localAddress: '127.0.0.1',
    localPort: 8080,
    writableLength: 0,
    on: () => socket,
    destroy: () => socket,
    end: () => socket,
    resume: () => socket,
    pause: () => socket,
    write: () => true,
    heddle: null as Connection | null,
  }
  return socket as unknown as net.Socket
}

function snapshot(outlierDetection: OutlierDetection | null, protocol: Protocol): Snapshot {
  const name = 'outbound|9001||be.default.svc.cluster.local'
  const workload = {
    workload: 'be',
    namespace: 'default',
    app: 'be',
    version: 'v1',
    canonicalService: 'be',
    canonicalRevision: 'v1',
    cluster: '',
  }
  const retry = aRetryPolicy({
    on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'],
    unsafe: 'allowed',
  })
  const route = aRoute({ action: aForward({ clusters: [aDestination(name)], retry }) })
  const virtualHost = aVirtualHost({ name: 'be:9001', domains: ['be', 'be.default'], routes: [route] })
  const cluster = aCluster({
    name,
    endpoints: [anEndpoint({ port: 9001, workload })],
    loadBalancer: { kind: 'LEAST_REQUEST' },
    outlierDetection,
    protocol,
    host: 'be.default.svc.cluster.local',
    serviceName: 'be',
    serviceNamespace: 'default',
    port: 9001,
  })
  return aSnapshot({ routeTables: [aRouteTable({ port: 9001, virtualHosts: [virtualHost] })], clusters: [cluster] })
}

export function proxy(terms: Terms): Proxy {
  const io = new Io((error) => {
    throw error
  })
  const slab = new MetricsSlab(createSlabBuffer(), () => {}, 10_000)
  const identity = { namespace: 'default', serviceAccount: 'web', name: 'web', labels: {}, address: '127.0.0.1', locality: '' }
  const metrics = new RequestMetrics(slab, identity)
  const limits = {
    maxHeaderBytes: 61_440,
    maxHeaders: 100,
    bufferBytes: 1 << 20,
    maxConnections: 0,
    maxRequestsPerConnection: 0,
    headerTimeoutMs: 0,
    connectionIdleTimeoutMs: 0,
    streamIdleTimeoutMs: 0,
    streamStallTimeoutMs: 30_000,
    maxSeries: 10_000,
  }
  const config = snapshot(terms.outlierDetection, terms.upstream)
  const sharedHosts = new SharedHosts(new SharedArrayBuffer(sharedHostsBytes(1)), 0, 1)
  const rows = new HostRows(sharedHosts, () => 0)
  const shared = new SharedLimits(new SharedArrayBuffer(1 << 18), 0, 1)
  const clusters = new ClusterManager(io, slab, shared, sharedHosts, metrics, limits)
  const tables = compileTables(config, putClusters(clusters, config.clusters, rows))
  const log = terms.withLog
    ? new AccessLog({
        path: '/dev/null',
        format: 'text',
        values: slab.values,
        linesSlot: 1,
        droppedSlot: 2,
        write: (_f, _b, _o, n, done) => done(null, n),
      })
    : null
  const parts: WorkerParts = {
    io,
    slab,
    worker: new WorkerStats(slab),
    self: selfWithout(identity),
    metrics,
    accessLog: log,
    logs: new AccessLogs({
      counters: () => ({ values: slab.values, linesSlot: 1, droppedSlot: 2 }),
      own: null,
      onError: () => {},
    }),
    clusters,
    steps: new StepRing(),
    recent: new RecentRequests(),
    rng: new Rng(7),
    requestIds: new RequestIds(),
    logger: new Logger({ level: 'error' }),
    limits,
    tunnels: { takes: () => false, enter: () => {} },
    hostSuffix: '',
    mirrors: shared.mirrors(0),
    drainMs: 0,
    servesHalfClosed: true,
    pathNormalization: 'BASE',
    obeysFaultHeaders: false,
  }
  const chain = anHttpChain({ httpVersion: terms.downstream })
  const manager = new HttpConnectionManager(parts, aListener({ port: 8080 }), chain, 8080, tables)
  const clientSocket = endlessSocket()
  const upstreamSocket = endlessSocket()
  const host = clusters.refOf(config.clusters[0]?.name ?? '').live()?.hosts[0] as LiveHost
  const pool = host.poolFor(terms.upstream === 'http2')
  io.enter()
  manager.accept(new SocketConnection(io, clientSocket, NOBODY))
  pool.onConnected(null as never, new SocketConnection(io, upstreamSocket, NOBODY))
  io.leave()
  return { io, client: connectionOf(clientSocket), upstream: connectionOf(upstreamSocket), pool }
}

function connectionOf(socket: net.Socket): Connection {
  return (socket as unknown as { heddle: Connection }).heddle
}
