// Hot lane: what all connections and requests of one HTTP listener share in one worker, and what is done once for each of them.
import type { RequestIds } from '../../base/request-id.ts'
import type { Rng } from '../../base/rng.ts'
import type { ClusterManager } from '../../cluster/cluster-manager.ts'
import type { Host } from '../../cluster/lb/host.ts'
import { PickContext } from '../../cluster/lb/picker.ts'
import type { LiveHost } from '../../cluster/live-host.ts'
import type { Facts } from '../../decide/decide.ts'
import type { StepRing } from '../../decide/steps.ts'
import type { JwtAuthenticator } from '../../policy/jwt.ts'
import { type Authorizer, authorizerFor } from '../../policy/rbac.ts'
import type { Limiter } from '../../pool/limiter.ts'
import type { Tables } from '../../route/compile.ts'
import type { EditContext } from '../../route/header-operators.ts'
import { locationOf } from '../../route/redirect.ts'
import type { RequestView } from '../../route/request-view.ts'
import { rewriteTarget } from '../../route/rewrite.ts'
import { CompiledSession } from '../../route/session.ts'
import type { AccessLogger } from '../../state/access-log.ts'
import type { Limits, PathNormalization } from '../../state/bootstrap-config.ts'
import type { HttpChain, Listener } from '../../state/listener.ts'
import type { ForwardAction } from '../../state/route.ts'
import type { SelfDescription } from '../../state/self-description.ts'
import type { AccessLog } from '../../telemetry/access-log.ts'
import type { AccessLogs } from '../../telemetry/access-logs.ts'
import { ListenerStats, type WorkerStats } from '../../telemetry/data-path-stats.ts'
import type { Logger } from '../../telemetry/logger.ts'
import { type MetricPlan, planOf } from '../../telemetry/metric-plan.ts'
import type { RequestMetrics, SeriesCache } from '../../telemetry/request-metrics.ts'
import type { MetricsSlab } from '../../telemetry/slab.ts'
import type { Connection } from '../../transport/connection.ts'
import type { Io } from '../../transport/io.ts'
import type { HttpStream } from '../http/http-stream.ts'
import { jwtAuthenticatorFor } from '../http/jwt-keys.ts'
import { sendRouteReply } from '../http/local-reply.ts'
import { HttpRbacFacts } from '../http/rbac-facts.ts'
import * as R from '../http/reasons.ts'
import type { RecentRequests } from '../http/recent-requests.ts'
import { Loggers } from '../log/loggers.ts'
import { refusalText } from './codec-refusal.ts'
import type { HttpSession } from './http-session.ts'
import { Http1Session } from './http1-session.ts'
import { Http2Session } from './http2-session.ts'
import { Preface } from './preface.ts'

/** Takes connections that did not come through a socket of ours, for a listener by its name. */
export interface TunnelEntrance {
  /** Whether some filter chain of it may take connections to this address. */
  takes(listener: string, address: string, port: number): boolean
  enter(listener: string, connection: Connection, address: string, port: number): void
}

/** What a worker gives to each of its listeners. */
export interface WorkerParts {
  readonly io: Io
  readonly slab: MetricsSlab
  readonly worker: WorkerStats
  readonly metrics: RequestMetrics
  readonly self: SelfDescription
  /** That of heddle.yaml. */
  readonly accessLog: AccessLog | null
  /** Those that configuration asks for. */
  readonly logs: AccessLogs
  readonly clusters: ClusterManager
  readonly steps: StepRing
  readonly recent: RecentRequests
  readonly rng: Rng
  readonly requestIds: RequestIds
  readonly logger: Logger
  readonly limits: Limits
  readonly hostSuffix: string
  readonly pathNormalization: PathNormalization
  /** Where the streams of tunnels go. */
  readonly tunnels: TunnelEntrance
  /** Mirrored copies of the process, counted as REQUESTS. */
  readonly mirrors: Limiter
  readonly servesHalfClosed: boolean
  /** How long connections may go on whose filter chain is not there any more; 0: as long as they like. */
  readonly drainMs: number
  /** `x-envoy-fault-*` of requests are obeyed. */
  readonly obeysFaultHeaders: boolean
}

/** Facts of a decision, filled anew for each request: a decision is made before the next one is asked for. */
class ReusedFacts implements Facts {
  request: RequestView
  routeTable: string
  draw: number
  pick: PickContext
  context: EditContext | null
  session: Facts['session']
  nowSeconds: number

  constructor(request: RequestView, pick: PickContext) {
    this.request = request
    this.routeTable = ''
    this.draw = 0
    this.pick = pick
    this.context = null
    this.session = 'none'
    this.nowSeconds = 0
  }
}

export class HttpConnectionManager {
  readonly parts: WorkerParts
  /** As the newest configuration has it. */
  listener: Listener
  /** The filter chain's part of it. */
  config: HttpChain
  readonly io: Io
  readonly values: Float64Array
  readonly stats: ListenerStats
  readonly worker: WorkerStats
  readonly clusters: ClusterManager
  readonly steps: StepRing
  readonly rng: Rng
  readonly requestIds: RequestIds
  /** The process's, but for those that the chain has of its own. */
  limits: Limits
  readonly outbound: boolean
  pathNormalization: PathNormalization
  readonly servesHalfClosed: boolean
  readonly obeysFaultHeaders: boolean
  serverName: string
  readonly hostSuffix: string
  readonly sessions: Set<HttpSession>
  /** Replaced by `useTables`; a request keeps those that it began with. */
  tables: Tables
  /** null: tokens are not looked at. */
  tokens: JwtAuthenticator | null
  /** null: everybody may ask for everything. */
  authorizer: Authorizer | null
  /** What keeps sessions with their endpoints where routes do not say otherwise. */
  session: Facts['session']
  /** null: metrics are as they are by default. */
  plan: MetricPlan | null
  readonly rbacFacts: HttpRbacFacts
  /** null: none but the one of heddle.yaml. */
  private loggers: Loggers | null
  draining: boolean
  private readonly port: number
  private readonly pick: PickContext
  private facts: ReusedFacts | null
  private seriesWithoutCluster: SeriesCache

  constructor(parts: WorkerParts, listener: Listener, config: HttpChain, port: number, tables: Tables) {
    this.parts = parts
    this.listener = listener
    this.config = config
    this.io = parts.io
    this.values = parts.slab.values
    this.stats = new ListenerStats(parts.slab, listener.name)
    this.worker = parts.worker
    this.clusters = parts.clusters
    this.steps = parts.steps
    this.rng = parts.rng
    this.requestIds = parts.requestIds
    this.limits = limitsOf(parts.limits, config)
    this.outbound = listener.direction === 'outbound'
    this.servesHalfClosed = parts.servesHalfClosed
    this.obeysFaultHeaders = parts.obeysFaultHeaders
    this.serverName = serverNameOf(listener, config)
    this.hostSuffix = parts.hostSuffix
    this.pathNormalization = config.settings.pathNormalization ?? parts.pathNormalization
    this.sessions = new Set()
    this.tables = tables
    this.tokens = jwtAuthenticatorFor(config.jwt)
    this.authorizer = authorizerFor(config.authorization)
    this.session = sessionOf(config)
    this.plan = planOf(config.settings.metrics)
    this.rbacFacts = new HttpRbacFacts()
    this.loggers = loggersOf(parts, config.settings.accessLogs)
    this.draining = false
    this.port = port
    this.pick = new PickContext()
    this.facts = null
    this.seriesWithoutCluster = parts.metrics.seriesFor(this.outbound ? 'source' : 'destination', null, null)
  }

  get allowConnect(): boolean {
    return this.config.allowConnect
  }

  /** Whether an offer of h2c is taken. Who is intercepted gets what Envoy says to it: nothing. */
  get takesH2c(): boolean {
    const { listener } = this
    return this.config.httpVersion === 'auto' && this.config.edge === null && listener.bind && listener.capture === 'none'
  }

  /** New configuration, for the requests from now on. */
  use(listener: Listener, config: HttpChain, tables: Tables): void {
    this.listener = listener
    this.config = config
    this.tables = tables
    this.tokens = jwtAuthenticatorFor(config.jwt)
    this.authorizer = authorizerFor(config.authorization)
    this.session = sessionOf(config)
    this.plan = planOf(config.settings.metrics)
    this.loggers = loggersOf(this.parts, config.settings.accessLogs)
    this.limits = limitsOf(this.parts.limits, config)
    this.serverName = serverNameOf(listener, config)
    this.pathNormalization = config.settings.pathNormalization ?? this.parts.pathNormalization
  }

  /** A connection of this listener. The caller is inside the boundary. */
  accept(connection: Connection): void {
    this.values[this.stats.cxTotal]!++
    this.values[this.stats.cxActive]!++
    const version = versionOf(this.config, connection)
    // A session, or who decides which, takes the connection over.
    if (version === 'http1') this.sessions.add(new Http1Session(this, connection))
    else if (version === 'http2') this.sessions.add(new Http2Session(this, connection))
    else this.sessions.add(new Preface(this, connection))
  }

  /** The first bytes of a connection are HTTP/1. */
  speakHttp1(preface: Preface, bytes: Buffer, length: number): void {
    this.sessions.delete(preface)
    const session = new Http1Session(this, preface.connection)
    this.sessions.add(session)
    session.onData(bytes, length)
  }

  /** The first bytes of a connection are HTTP/2's preface. */
  speakHttp2(preface: Preface, bytes: Buffer, length: number): void {
    this.sessions.delete(preface)
    const session = new Http2Session(this, preface.connection)
    this.sessions.add(session)
    session.codec.onData(bytes, length)
  }

  /** A request of HTTP/1.1 has asked for h2c: its connection goes on as HTTP/2. */
  continueAsHttp2(before: HttpSession): Http2Session {
    this.sessions.delete(before)
    const session = new Http2Session(this, before.connection)
    this.sessions.add(session)
    return session
  }

  sessionClosed(session: HttpSession): void {
    if (!this.sessions.delete(session)) return
    const { values, stats } = this
    values[stats.cxActive]!--
    values[stats.cxDestroy]!++
    values[stats.cxRxBytes]! += session.connection.bytesRead
    values[stats.cxTxBytes]! += session.connection.bytesWritten
  }

  // ---- once for each request -------------------------------------------------------------------------------------------

  factsFor(stream: HttpStream): Facts {
    const pick = this.pickContext(stream, null)
    this.facts ??= new ReusedFacts(stream, pick)
    const { facts } = this
    facts.request = stream
    facts.context = stream
    facts.session = this.session
    facts.nowSeconds = Math.floor(stream.startTimeMs / 1000)
    facts.routeTable = this.config.routeTable
    facts.draw = this.rng.uint32()
    return facts
  }

  pickContext(stream: HttpStream, tried: readonly Host[] | null): PickContext {
    const { pick } = this
    this.clusters.syncHealth()
    const { connection } = stream.session
    pick.originalDst = connection.originalDst || this.listener.originalDst
    pick.clientAddress = connection.peerAddress
    pick.nowMs = this.io.clock.monotonicMs
    pick.hashed = false
    pick.again = 0
    pick.avoidPriorities = 0
    pick.draw = this.rng.uint32()
    pick.draw2 = this.rng.uint32()
    pick.tried = tried
    return pick
  }

  clusterNotFound(stream: HttpStream): R.Reason {
    const action = stream.decision.route?.action as ForwardAction
    return action.clusterNotFoundStatus === 503
      ? R.CLUSTER_NOT_FOUND
      : { ...R.CLUSTER_NOT_FOUND, status: action.clusterNotFoundStatus }
  }

  /** Redirects and direct responses. */
  answerFromRoute(stream: HttpStream): void {
    const { route } = stream.decision
    if (route === null) return
    const { action } = route
    stream.responseCodeDetails = 'direct_response'
    if (action.kind === 'redirect') {
      const port = stream.decision.table === null || stream.decision.table.port === 0 ? this.port : stream.decision.table.port
      const rewritten = route.pathRewrite === null ? null : rewriteTarget(route, stream.path, null)
      sendRouteReply(stream, action.code, locationOf(action, stream, route.matchedLength(stream.path), port, rewritten), '')
    } else if (action.kind === 'direct') sendRouteReply(stream, action.status, '', action.body)
  }

  /** A request is done: log it, count it, keep it for those who ask. */
  record(stream: HttpStream): void {
    const { parts, values, stats } = this
    values[stats.rqCompleted]!++
    const code = stream.responseCode
    if (code >= 100 && code < 600) values[stats.rqXx + Math.floor(code / 100) - 1]!++
    parts.recent.add(stream)
    const { loggers } = this
    if (loggers !== null) loggers.log(stream)
    if (parts.accessLog !== null && (loggers === null || !loggers.replacesOwn)) parts.accessLog.log(stream)
    const { requestWireBytes: taken, responseWireBytes: sent, grpcStatus, messages } = stream
    parts.metrics.record(this.seriesOf(stream), stream, taken, sent, grpcStatus, this.plan, messages)
  }

  private seriesOf(stream: HttpStream): SeriesCache {
    const { cluster, host } = stream.decision
    if (cluster === null) return this.seriesWithoutCluster
    return host === null ? this.clusters.liveOf(cluster).seriesWithoutHost : (host as LiveHost).series
  }

  noteRefusal(session: HttpSession, code: number): void {
    const { logger } = this.parts
    if (!logger.enabled('debug') || !logger.every(`refused ${code}`, 1000, this.io.clock.monotonicMs)) return
    logger.debug(`refused a request: ${refusalText(code)}`, {
      listener: this.listener.name,
      peer: session.connection.peerAddress,
    })
  }

  /** A client speaks TLS where plaintext is spoken. */
  noteTls({ connection }: HttpSession): void {
    const text = 'the client speaks TLS to a listener that takes plaintext HTTP'
    this.io.tls.report('server', connection.peerAddress, { reason: 'tls', text, details: { listener: this.listener.name } })
  }

  // ---- now and then ----------------------------------------------------------------------------------------------------

  /** About once a second. */
  sweep(): void {
    const now = this.io.clock.monotonicMs
    for (const session of this.sessions) session.sweep(now)
  }

  /** Connections are told with their next answer, also those that come. */
  announceDrain(): void {
    this.draining = true
  }

  /** No new requests on connections that are idle. */
  drain(): void {
    this.announceDrain()
    for (const session of this.sessions) {
      this.values[this.stats.cxDrainClose]!++
      session.drain()
    }
  }
}

export function loggersOf({ logs, rng }: Pick<WorkerParts, 'logs' | 'rng'>, configs: readonly AccessLogger[]): Loggers | null {
  return configs.length === 0 ? null : Loggers.of(configs, logs, () => rng.uint32())
}

function sessionOf({ settings: { session } }: HttpChain): Facts['session'] {
  return session === null ? 'none' : session === 'routes' ? session : new CompiledSession(session)
}

function limitsOf(limits: Limits, { settings }: HttpChain): Limits {
  return Object.keys(settings.limits).length === 0 ? limits : { ...limits, ...settings.limits }
}

function serverNameOf({ direction }: Listener, { edge, settings }: HttpChain): string {
  return settings.serverName || (direction === 'outbound' && edge === null ? 'envoy' : 'istio-envoy')
}

/** Inside of TLS the client may have said it already. */
function versionOf({ httpVersion }: HttpChain, { tls }: Connection): HttpChain['httpVersion'] {
  if (httpVersion !== 'auto' || tls === null) return httpVersion
  return tls.alpn === 'h2' ? 'http2' : tls.alpn === 'http/1.1' || tls.alpn === 'http/1.0' ? 'http1' : 'auto'
}
