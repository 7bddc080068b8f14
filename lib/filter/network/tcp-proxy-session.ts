// Hot lane: one session of TCP: its connection to an endpoint, or to a proxy that leads further, half-close passed on (Envoy tcp_proxy).
import type { BalancedCluster } from '../../cluster/lb/balanced-cluster.ts'
import { ACTIVE } from '../../cluster/lb/host.ts'
import type { LiveCluster } from '../../cluster/live-cluster.ts'
import type { LiveHost } from '../../cluster/live-host.ts'
import { RESET_CONNECT_TIMEOUT, RESET_OVERFLOW, RESET_WORDS } from '../../pool/exchange.ts'
import { HttpTunnelConnector } from '../../pool/http-tunnel-connector.ts'
import { type TcpConnectOwner, TcpConnector } from '../../pool/tcp-connector.ts'
import type { AccessRecord } from '../../telemetry/access-record.ts'
import type { MetricPlan } from '../../telemetry/metric-plan.ts'
import type { SeriesCache } from '../../telemetry/request-metrics.ts'
import * as F from '../../telemetry/response-flags.ts'
import type { Connection, ConnectionOwner } from '../../transport/connection.ts'
import type { TlsFacts } from '../../transport/tls-facts.ts'
import type { LogContext } from '../log/log-context.ts'
import type { TcpProxy } from './tcp-proxy.ts'
import { UpstreamSide } from './tcp-proxy-upstream.ts'
import { TcpRecord } from './tcp-record.ts'

/** One connection and its other half. States: connecting (reads paused) → open → over. */
export class TcpSession extends TcpRecord implements ConnectionOwner, TcpConnectOwner, AccessRecord, LogContext {
  readonly proxy: TcpProxy
  readonly connection: Connection
  readonly startMs: number
  readonly startTimeMs: number
  durationMs: number
  responseFlags: number
  connectionTerminationDetails: string
  upstreamTransportFailureReason: string
  upstreamHost: string
  upstreamCluster: string
  upstreamLocalAddress: string
  attempts: number
  private upstream: UpstreamSide | null
  private connector: TcpConnector | HttpTunnelConnector | null
  private cluster: LiveCluster | null
  private host: LiveHost | null
  private over: boolean
  private reportedMs: number
  private reportedIn: number
  private reportedOut: number

  constructor(proxy: TcpProxy, connection: Connection) {
    super()
    const { io } = proxy.parts
    this.proxy = proxy
    this.connection = connection
    connection.owner = this
    this.startMs = io.clock.monotonicMs
    this.startTimeMs = io.clock.wallMs
    this.durationMs = 0
    this.responseFlags = 0
    this.connectionTerminationDetails = ''
    this.upstreamTransportFailureReason = ''
    this.upstreamHost = ''
    this.upstreamCluster = ''
    this.upstreamLocalAddress = ''
    this.attempts = 0
    this.upstream = null
    this.connector = null
    this.cluster = null
    this.host = null
    this.over = false
    this.reportedMs = this.startMs
    this.reportedIn = 0
    this.reportedOut = 0
  }

  begin(cluster: BalancedCluster | null): void {
    const { proxy } = this
    if (cluster === null) {
      proxy.values[proxy.stats.cxNoRoute]!++
      this.fail(F.NC, 'cluster_not_found')
      return
    }
    this.cluster = proxy.clusters.liveOf(cluster)
    this.upstreamCluster = cluster.name
    // First the context: making it may publish another picker.
    const context = proxy.pickContext(this.connection)
    if (cluster.config.dialsHostAt !== 0) context.originalDst = this.namedHost()
    const host = cluster.picker.pick(context) as LiveHost | null
    if (host === null) {
      this.fail(F.UH, 'no_healthy_upstream')
      return
    }
    this.host = host
    this.upstreamHost = host.address
    // Nothing is read until there is somebody to write to.
    if (this.attempts++ === 0) this.connection.readDisable()
    const { tunnel } = proxy.config
    if (tunnel === null) this.connector = new TcpConnector(host.pool, this)
    else this.connector = new HttpTunnelConnector(host.poolFor(cluster.config.protocol === 'http2'), tunnel, this)
    this.connector.start(this.connection.peerAddress, this.downstreamLocalAddress)
  }

  /** Whom the client's TLS names, for clusters that dial hosts; empty: nobody. */
  private namedHost(): string {
    const { serverNamePort: port } = this.proxy.config
    const { serverName } = this.connection
    return port === 0 || serverName === '' ? '' : `${serverName}:${port}`
  }

  onTcpConnected(connection: Connection): void {
    const upstream = new UpstreamSide(this, connection)
    this.upstream = upstream
    this.upstreamLocalAddress = upstream.connection.localAddress
    connection.fedBy(this.connection)
    this.connection.fedBy(connection)
    const { host } = this
    if (host !== null) {
      host.add(ACTIVE)
      if (host.detector !== null) host.detector.onTcpConnected()
    }
    this.proxy.parts.metrics.tcpOpened(this.series, this)
    this.connection.readEnable()
  }

  onTcpFailed(reason: number, detail: string): void {
    this.connector = null
    this.upstreamTransportFailureReason = detail
    this.noteFailure(reason)
    if (reason === RESET_OVERFLOW) this.fail(F.UO, 'overflow')
    else if (this.attempts < this.proxy.config.connectAttempts) {
      this.responseFlags |= F.UF
      this.begin(this.proxy.draw(this.connection.serverName))
    } else this.fail(F.UF | F.URX_TCP, reason === RESET_CONNECT_TIMEOUT ? 'connect_timeout' : 'connect_failure')
  }

  /** For outlier detection a connect that takes too long is a timeout, one that is refused an error (Envoy tcp_proxy). */
  private noteFailure(reason: number): void {
    const detector = this.host === null ? null : this.host.detector
    if (detector === null || reason === RESET_OVERFLOW) return
    detector.onLocalFailure(reason === RESET_CONNECT_TIMEOUT ? 504 : 503, RESET_WORDS[reason] as string, this)
  }

  /** TCP has no request: the client's address stands for it. */
  requestId(): string {
    return this.connection.peerAddress
  }

  fail(flag: number, reason: string, details = reason): void {
    this.responseFlags |= flag
    this.connectionTerminationDetails = details
    this.proxy.parts.metrics.tcpOpened(this.series, this)
    this.proxy.parts.worker.connectionCut(reason)
    this.connection.destroy(reason)
  }

  // ---- downstream side -------------------------------------------------------------------------------------------------

  onData(bytes: Buffer, length: number): void {
    const { upstream } = this
    // Reads are paused until there is an upstream.
    if (upstream === null) throw new Error('bytes before the upstream is connected')
    upstream.connection.writeBytes(bytes, 0, length)
    if (!upstream.connection.writable) upstream.pauseSource(this.connection)
  }

  onEnd(): void {
    // Passed on; each side closes by itself when both of its directions have ended and all is sent.
    if (this.upstream === null) this.connection.destroy('')
    else this.upstream.connection.end()
  }

  onWritable(): void {
    if (this.upstream !== null) this.upstream.resume()
  }

  onClose(reason: string): void {
    if (reason !== '' && this.responseFlags === 0 && this.connectionTerminationDetails === '')
      this.connectionTerminationDetails = reason
    this.finish(reason === '')
  }

  // ---- upstream side ---------------------------------------------------------------------------------------------------

  onUpstreamData(bytes: Buffer, length: number): void {
    this.connection.writeBytes(bytes, 0, length)
    if (!this.connection.writable && this.upstream !== null) this.upstream.pause()
  }

  onUpstreamEnd(): void {
    this.connection.end()
  }

  onUpstreamClosed(reason: string): void {
    const { upstream, connection } = this
    if (upstream !== null && upstream.connection.transportFailure !== '')
      this.upstreamTransportFailureReason = upstream.connection.transportFailure
    if (upstream !== null) this.connector?.release(upstream.connection.bytesRead, upstream.connection.bytesWritten)
    this.connector = null
    if (this.over) return
    if (reason !== '') this.close('upstream_reset')
    else connection.end()
  }

  // ---- ends --------------------------------------------------------------------------------------------------------------

  /** Closes both sides. `reason` is empty for an orderly end. */
  close(reason: string): void {
    if (this.over) return
    if (reason !== '') {
      this.connectionTerminationDetails = reason
      this.proxy.parts.worker.connectionCut(reason)
    }
    this.connection.flush()
    this.connection.destroy(reason)
  }

  private finish(orderly: boolean): void {
    if (this.over) return
    this.over = true
    const { proxy, connection } = this
    const { io, metrics, accessLog } = proxy.parts
    this.durationMs = Math.round(io.clock.monotonicMs - this.startMs)
    proxy.sessions.delete(this)
    proxy.values[proxy.stats.cxActive]!--
    proxy.values[proxy.stats.cxRxBytes]! += connection.bytesRead
    proxy.values[proxy.stats.cxTxBytes]! += connection.bytesWritten
    metrics.tcpClosed(this.series, this, connection.bytesRead - this.reportedIn, connection.bytesWritten - this.reportedOut)
    if (this.upstream !== null) {
      if (this.host !== null) this.host.remove(ACTIVE)
      // After an orderly end what the client sent last may still be on its way.
      if (orderly && this.upstream.connection.peerEnded) this.upstream.connection.end()
      else this.upstream.connection.destroy('')
    } else this.connector?.cancel()
    const { loggers } = proxy
    if (loggers !== null) loggers.log(this)
    if (accessLog !== null && (loggers === null || !loggers.replacesOwn)) accessLog.log(this)
  }

  /** About once a second: idle sessions end, long ones report. */
  sweep(): void {
    const now = this.proxy.parts.io.clock.monotonicMs
    const { upstream, connection, cluster } = this
    if (upstream === null || cluster === null) return
    const limits = cluster.balanced.config.limits
    if (connection.spent || upstream.connection.spent) {
      this.close('certificate_expired')
      return
    }
    const active = Math.max(connection.lastActiveMs, upstream.connection.lastActiveMs)
    const idleTimeoutMs = this.proxy.config.idleTimeoutMs ?? limits.tcpIdleTimeoutMs
    if (idleTimeoutMs !== 0 && now - active >= idleTimeoutMs) {
      this.proxy.values[this.proxy.stats.idleTimeout]!++
      this.close('idle_timeout')
      return
    }
    const maxDurationMs = this.proxy.config.maxDurationMs ?? limits.maxConnectionDurationMs
    if (maxDurationMs !== 0 && now - this.startMs >= maxDurationMs) {
      this.responseFlags |= F.DT
      this.proxy.values[this.proxy.stats.maxDuration]!++
      this.close('max_connection_duration')
      return
    }
    if (now - this.reportedMs < this.proxy.config.metrics.tcpReportMs) return
    this.reportedMs = now
    const { metrics } = this.proxy.parts
    metrics.tcpBytes(this.series, this, connection.bytesRead - this.reportedIn, connection.bytesWritten - this.reportedOut)
    this.reportedIn = connection.bytesRead
    this.reportedOut = connection.bytesWritten
  }

  // ---- AccessRecord and LogContext ------------------------------------------------------------------------------------------------------

  get logType(): LogContext['logType'] {
    return 'TcpConnectionEnd'
  }

  get upstreamTls(): TlsFacts | null {
    return this.upstream === null ? null : this.upstream.connection.tls
  }

  get plan(): MetricPlan | null {
    return this.proxy.plan
  }

  private get series(): SeriesCache {
    const { proxy } = this
    return proxy.parts.metrics.forPeers(proxy.seriesOf(this.host), this)
  }

  /** Metrics ask about the client of an inbound listener, and about the endpoint of an outbound one. */
  private get metered(): TlsFacts | null {
    return this.proxy.listener.direction === 'outbound' ? (this.upstream?.connection.tls ?? null) : this.connection.tls
  }

  get peerPrincipal(): string {
    const { metered } = this
    return metered === null ? '' : metered.peerIdentity
  }

  get ownPrincipal(): string {
    const { metered } = this
    return metered === null ? '' : metered.localIdentity
  }
}
