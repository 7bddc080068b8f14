// Hot lane: TCP: one upstream connection for each downstream one, bytes both ways, half-close passed on (Envoy tcp_proxy).
import type { ClusterManager } from '../../cluster/cluster-manager.ts'
import type { BalancedCluster } from '../../cluster/lb/balanced-cluster.ts'
import type { ClusterRef } from '../../cluster/lb/cluster-ref.ts'
import { PickContext } from '../../cluster/lb/picker.ts'
import type { LiveHost } from '../../cluster/live-host.ts'
import { SourceIpHash } from '../../route/source-ip-hash.ts'
import type { Listener, TcpChain } from '../../state/listener.ts'
import { TcpListenerStats } from '../../telemetry/data-path-stats.ts'
import { type MetricPlan, planOf } from '../../telemetry/metric-plan.ts'
import type { SeriesCache } from '../../telemetry/request-metrics.ts'
import type { Connection } from '../../transport/connection.ts'
import type { Loggers } from '../log/loggers.ts'
import { loggersOf, type WorkerParts } from './http-connection-manager.ts'
import { ConnectionAuthorization } from './rbac.ts'
import { TcpSession } from './tcp-proxy-session.ts'

/** All connections of one TCP listener in one worker. */
export class TcpProxy {
  readonly parts: WorkerParts
  /** As the newest configuration has it. */
  listener: Listener
  readonly values: Float64Array
  readonly stats: TcpListenerStats
  readonly sessions: Set<TcpSession>
  config: TcpChain
  /** null: none but the one of heddle.yaml. */
  loggers: Loggers | null
  private destinations: readonly { readonly target: ClusterRef; readonly end: number }[]
  /** null: metrics are as they are by default. */
  plan: MetricPlan | null
  private readonly pick: PickContext
  private readonly seriesWithoutCluster: SeriesCache
  /** null: endpoints are not chosen by the client's address. */
  private sourceIpHash: SourceIpHash | null
  private readonly authorization: ConnectionAuthorization

  constructor(parts: WorkerParts, listener: Listener, config: TcpChain) {
    this.parts = parts
    this.listener = listener
    this.values = parts.slab.values
    this.stats = new TcpListenerStats(parts.slab, listener.name)
    this.sessions = new Set()
    this.config = config
    this.loggers = null
    this.destinations = []
    this.plan = null
    this.pick = new PickContext()
    this.sourceIpHash = null
    this.authorization = new ConnectionAuthorization(this.values, this.stats)
    this.seriesWithoutCluster = parts.metrics.seriesFor(listener.direction === 'outbound' ? 'source' : 'destination', null, null)
    this.use(listener, config)
  }

  get clusters(): ClusterManager {
    return this.parts.clusters
  }

  /** As the newest configuration has it; sessions that are open stay where they are. */
  use(listener: Listener, config: TcpChain): void {
    let end = 0
    this.listener = listener
    this.config = config
    this.plan = planOf(config.metrics)
    this.sourceIpHash = config.hashSourceIp ? new SourceIpHash() : null
    this.authorization.use(config.authorization)
    this.loggers = loggersOf(this.parts, config.accessLogs)
    this.destinations = config.clusters.map((w) => {
      end += config.clusters.length === 1 ? 1 : w.weight
      return { target: this.parts.clusters.refOf(w.cluster), end }
    })
  }

  accept(connection: Connection): void {
    this.values[this.stats.cxTotal]!++
    this.values[this.stats.cxActive]!++
    const session = new TcpSession(this, connection)
    this.sessions.add(session)
    const refusal = this.authorization.refusal(connection, this.listener.originalDst)
    if (refusal === '') session.begin(this.draw(connection.serverName))
    else session.fail(0, 'rbac_access_denied', refusal)
  }

  /** One draw for each attempt. */
  draw(serverName: string): BalancedCluster | null {
    if (this.config.byServerName) return this.clusters.knownRef(serverName)?.live() ?? null
    const last = this.destinations.at(-1)
    if (last === undefined || last.end === 0) return null
    const value = this.parts.rng.uint32() % last.end
    for (const destination of this.destinations) if (destination.end > value) return destination.target.live()
    return null
  }

  pickContext({ peerAddress, originalDst }: Connection): PickContext {
    const { pick, listener, clusters } = this
    const { rng, io } = this.parts
    clusters.syncHealth()
    pick.nowMs = io.clock.monotonicMs
    pick.draw = rng.uint32()
    pick.draw2 = rng.uint32()
    pick.originalDst = originalDst || listener.originalDst
    pick.clientAddress = peerAddress
    if (this.sourceIpHash === null) pick.hashed = false
    else this.sourceIpHash.fill(pick, peerAddress)
    return pick
  }

  seriesOf(host: LiveHost | null): SeriesCache {
    return host === null ? this.seriesWithoutCluster : host.series
  }

  sweep(): void {
    for (const session of this.sessions) session.sweep()
  }

  /** Bytes have no word for it. */
  announceDrain(): void {}

  drain(): void {}
}
