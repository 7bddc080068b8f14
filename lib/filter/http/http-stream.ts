// Hot lane: one request from its first byte to its log line. It is the codec's events, the facts of the decision, the record of the access log
// and the context of header templates, so that nothing is copied between them.
//
// States: OPEN → (RESPONDING) → DONE. OPEN: nothing sent. RESPONDING: response headers have left, no other answer is possible. DONE: logged;
// every later event is ignored.
//
// A long file, because one object is all of these: half of its lines are fields and what others read of them.
import { hostname } from 'node:os'
import { BodyBuffer } from '../../base/body-buffer.ts'
import { canonicalIp } from '../../base/ip-address.ts'
import type { JsonObject } from '../../base/json-value.ts'
import { decide } from '../../decide/decide.ts'
import * as D from '../../decide/decision.ts'
import { GrpcMessageCounts } from '../../http/grpc-message-count.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import type { JwtAuthenticator } from '../../policy/jwt.ts'
import type { Authorizer } from '../../policy/rbac.ts'
import type { Tables } from '../../route/compile.ts'
import { grpcStatusOf } from '../../route/grpc-status-names.ts'
import type { EditContext } from '../../route/header-operators.ts'
import type { RequestView } from '../../route/request-view.ts'
import type { AccessRecord } from '../../telemetry/access-record.ts'
import type { Peer } from '../../telemetry/istio-labels.ts'
import * as F from '../../telemetry/response-flags.ts'
import type { TlsFacts } from '../../transport/tls-facts.ts'
import type { LogContext } from '../log/log-context.ts'
import type { HttpConnectionManager } from '../network/http-connection-manager.ts'
import { type Holder, runFilters } from './chain.ts'
import { ConnectTunnel, connectRefusal } from './connect-tunnel.ts'
import type { Downstream } from './downstream.ts'
import type { GrpcWeb } from './grpc-web.ts'
import { intake } from './intake.ts'
import { sendLocalReply } from './local-reply.ts'
import { lastForwarded } from './rbac-facts.ts'
import * as R from './reasons.ts'
import { Router } from './router.ts'
import { beginDeadlines, type StreamDeadlines } from './stream-deadlines.ts'

const OPEN = 0
const RESPONDING = 1
const DONE = 2

const HOSTNAME = hostname()
/** Of gRPC. */
const DEADLINE_EXCEEDED = 4

/** What carries a request that is forwarded: the router, or the tunnel of a CONNECT. */
export interface Carrier {
  start(): void
  onRequestBody(bytes: Buffer, start: number, end: number): void
  onRequestEnd(trailers: string): void
  /** The client takes bytes again. */
  onDownstreamWritable(): void
  /** Ends what is running: the stream has answered, or nobody waits for an answer any more. */
  stop(): void
}

export class HttpStream implements RequestView, EditContext, AccessRecord, LogContext {
  readonly manager: HttpConnectionManager
  readonly session: Downstream
  readonly headers: HeaderMap
  readonly tables: Tables
  readonly decision: D.Decision
  readonly method: string
  /** As received. */
  readonly target: string
  readonly minor: number
  /** Text of the head; what `explain` reads the request from once the header map is somebody else's. */
  readonly head: string
  readonly outbound: boolean
  path: string
  query: string | null
  scheme: string
  authority: string
  absoluteScheme: string
  /** Who asks, as proxies in front that are believed say it; empty: the peer. */
  clientAddress: string
  /** Protocol of an Upgrade that the client asked for; empty for none. */
  upgrade: string
  /** The word `upgrade` as the client spelt it in Connection. */
  upgradeOption: string
  clientKeepsAlive: boolean
  requestEnded: boolean
  router: Carrier | null
  /** Body that came while a filter held the request. */
  held: BodyBuffer | null
  heldTrailers: string
  state: number
  /** The position in the filter chain that a filter which stopped it goes on from. */
  filterIndex: number
  /** null: no filter holds the request. */
  holder: Holder | null
  /** Origin that the route's CORS policy allows; empty: none of it in the response. */
  corsOrigin: string
  /** null: it may take as long as it likes. */
  deadlines: StreamDeadlines | null
  /** null: it is no gRPC-Web, or that is passed on as it is. */
  grpcWeb: GrpcWeb | null
  /** What looked for tokens, for those who ask later; null: nobody did. */
  tokens: JwtAuthenticator | null
  /** What it was authorized by, for those who ask later; null: nothing. */
  authorizer: Authorizer | null
  /** What the proxy at the other end has said of itself: the client's of an inbound listener, the endpoint's of an outbound one. null: nothing. */
  peer: Peer | null
  /** The client's proxy has said who it is. */
  clientAsks: boolean
  /** What filters have found out for those behind them, by their names: claims of a token. null: nothing. */
  metadata: ReadonlyMap<string, JsonObject> | null
  readonly startMs: number
  readonly startTimeMs: number
  endMs: number
  /** The path as routed; what the log shows when a rewrite changed it. Query parameters that may be tokens are not in it. */
  originalPath: string
  /** What a rewrite made of it, likewise; empty: nothing else. */
  rewrittenPath: string
  /** Of the clock of `startMs`; 0: it has not come to that. */
  requestEndedMs: number
  requestSentAtMs: number
  responseBegunMs: number
  responseCode: number
  responseFlags: number
  responseCodeDetails: string
  connectionTerminationDetails: string
  upstreamTransportFailureReason: string
  bytesReceived: number
  bytesSent: number
  requestWireBytes: number
  responseWireBytes: number
  upstreamServiceTimeMs: number
  upstreamHost: string
  upstreamCluster: string
  upstreamLocalAddress: string
  /** Of the attempt that was sent last; null: plaintext, or none was. */
  upstreamTls: TlsFacts | null
  attempts: number
  grpcStatus: number
  /** Messages of a call; null: they are not counted. */
  messages: GrpcMessageCounts | null
  responseHeaders: HeaderMap | null
  /** Field lines, or empty. */
  responseTrailers: string
  private closesAfter: boolean
  private logged: boolean

  constructor(manager: HttpConnectionManager, session: Downstream) {
    const { clock } = manager.io
    this.manager = manager
    this.session = session
    this.headers = session.headers
    this.tables = manager.tables
    this.decision = new D.Decision()
    this.method = session.method
    this.target = session.target
    this.minor = session.minor
    this.head = session.headers.block
    this.outbound = manager.outbound
    this.path = ''
    this.query = null
    this.scheme = 'http'
    this.authority = ''
    this.absoluteScheme = ''
    this.clientAddress = ''
    this.upgrade = ''
    this.upgradeOption = 'upgrade'
    this.clientKeepsAlive = false
    this.requestEnded = false
    this.router = null
    this.held = null
    this.heldTrailers = ''
    this.state = OPEN
    this.filterIndex = 0
    this.holder = null
    this.corsOrigin = ''
    this.deadlines = null
    this.grpcWeb = null
    this.tokens = null
    this.authorizer = null
    this.peer = session.connection.told
    this.clientAsks = false
    this.metadata = null
    this.startMs = clock.monotonicMs
    this.startTimeMs = clock.wallMs
    this.endMs = 0
    this.originalPath = ''
    this.rewrittenPath = ''
    this.requestEndedMs = 0
    this.requestSentAtMs = 0
    this.responseBegunMs = 0
    this.responseCode = 0
    this.responseFlags = 0
    this.responseCodeDetails = ''
    this.connectionTerminationDetails = ''
    this.upstreamTransportFailureReason = ''
    this.bytesReceived = 0
    this.bytesSent = 0
    this.requestWireBytes = session.headBytes
    this.responseWireBytes = 0
    this.upstreamServiceTimeMs = -1
    this.upstreamHost = ''
    this.upstreamCluster = ''
    this.upstreamLocalAddress = ''
    this.upstreamTls = null
    this.attempts = 0
    this.grpcStatus = -2
    this.messages = null
    this.responseHeaders = null
    this.responseTrailers = ''
    this.closesAfter = false
    this.logged = false
  }

  get requestComplete(): boolean {
    return this.requestEnded || !this.session.hasBody
  }

  /** Nothing may move for so long; 0: for ever. */
  get idleTimeoutMs(): number {
    const action = this.decision.route?.action
    const own = action?.kind === 'forward' ? action.idleTimeoutMs : null
    return own ?? this.manager.limits.streamIdleTimeoutMs
  }

  // ---- towards the chain ----------------------------------------------------------------------------------------------

  /** The head is complete. */
  begin(): void {
    const { manager, headers } = this
    const refused = intake(this, headers)
    this.originalPath = this.query === null ? this.path : `${this.path}?${this.query}`
    if (refused !== null) {
      this.reply(refused)
      return
    }
    if (headers.firstKnown(H.H_CONTENT_TYPE) >= 0 && this.isGrpc()) this.beginGrpc()
    const { tokens } = manager
    if (tokens === null || !tokens.config.choosesRoute) this.chooseRoute()
    runFilters(this, 0)
  }

  /** It is a call, whose status is not known yet. */
  beginGrpc(): void {
    this.grpcStatus = -1
    if (this.manager.config.settings.grpcMessages) this.messages = new GrpcMessageCounts()
  }

  /** Once for each request: before the filters, or by that for tokens. */
  chooseRoute(): void {
    const { manager } = this
    decide(this.tables, manager.factsFor(this), this.decision, manager.steps)
    this.noteCluster()
    beginDeadlines(this)
  }

  /** All filters have let it pass: execute the decision. */
  route(): void {
    const { decision } = this
    if (this.upgrade !== '' && this.refusesUpgrade()) {
      this.reply(R.UPGRADE_REFUSED)
      return
    }
    const connect = this.method === 'CONNECT'
    const refused = connect ? connectRefusal(this) : null
    if (refused !== null) {
      this.reply(refused)
      return
    }
    switch (decision.verdict) {
      case D.FORWARD:
        this.router = connect ? new ConnectTunnel(this) : new Router(this)
        this.router.start()
        return
      case D.REDIRECT:
      case D.DIRECT_RESPONSE:
        this.manager.answerFromRoute(this)
        return
      case D.NO_CLUSTER:
        this.manager.values[this.manager.stats.noCluster]!++
        this.reply(this.manager.clusterNotFound(this))
        return
      case D.NO_HEALTHY_UPSTREAM:
        // Envoy counts the attempt that found no host.
        this.attempts = 1
        this.reply(R.NO_HEALTHY)
        return
      default:
        this.manager.values[this.manager.stats.noRoute]!++
        this.reply(R.ROUTE_NOT_FOUND)
    }
  }

  private refusesUpgrade(): boolean {
    const { verdict } = this.decision
    if (verdict === D.FORWARD) return this.upgrade.toLowerCase() !== 'websocket' || !this.manager.config.settings.upgrades
    // To an extended CONNECT any 2xx would say that the tunnel is there (RFC 9110 §9.3.6).
    return verdict === D.DIRECT_RESPONSE && this.session.protocol === 'HTTP/2'
  }

  private noteCluster(): void {
    const { cluster } = this.decision
    if (cluster !== null) this.upstreamCluster = cluster.name
  }

  isGrpc(): boolean {
    const type = this.headers.known(H.H_CONTENT_TYPE, 'content-type')
    return type !== null && (type === 'application/grpc' || type.startsWith('application/grpc+'))
  }

  /** Answers by ourselves, or cuts what has begun. Harmless when the request is done. `challenge`: www-authenticate; empty: none. */
  reply(reason: R.Reason, flags = 0, challenge = ''): void {
    if (this.state === DONE) return
    this.responseFlags |= reason.flags | flags
    this.manager.worker.requestRefused(reason.code)
    if (this.router !== null) this.router.stop()
    if (this.state === RESPONDING) {
      this.responseCodeDetails = reason.details
      this.cut(reason.code)
      return
    }
    this.responseCodeDetails = reason.details
    // Behind a CONNECT that is turned down may stand bytes meant for its tunnel: they must not be read as a request.
    const closes = reason.closes || this.method === 'CONNECT'
    sendLocalReply(
      this,
      reason.status,
      reason.body,
      closes,
      reason.code === 'overflow',
      challenge,
      reason.code === 'stream_duration' ? DEADLINE_EXCEEDED : grpcStatusOf(reason.status),
    )
  }

  // ---- events of the codec, by the session -----------------------------------------------------------------------------

  onRequestBody(bytes: Buffer, start: number, end: number): void {
    this.bytesReceived += end - start
    this.requestWireBytes += end - start
    if (this.grpcWeb === null) this.takeRequestBody(bytes, start, end)
    else if (this.state !== DONE) this.grpcWeb.onRequestBody(bytes, start, end)
  }

  takeRequestBody(bytes: Buffer, start: number, end: number): void {
    if (this.messages !== null) this.messages.requests.take(bytes, start, end)
    if (this.router !== null && this.state !== DONE) this.router.onRequestBody(bytes, start, end)
    else if (this.state === OPEN) {
      // A filter holds the request: its body waits with it.
      this.held ??= new BodyBuffer()
      this.held.append(bytes, start, end)
      if (this.held.bytes > this.manager.limits.bufferBytes) this.session.pause()
    }
  }

  onRequestEnd(trailers: string): void {
    this.requestEnded = true
    if (this.state === DONE) return
    this.requestEndedMs = this.manager.io.clock.monotonicMs
    if (this.deadlines !== null) this.deadlines.requestEnded()
    if (this.grpcWeb !== null && !this.grpcWeb.endRequest()) return
    if (this.router !== null) this.router.onRequestEnd(trailers)
    else this.heldTrailers = trailers
  }

  /** The body's framing is broken. */
  onRequestBroken(reason: R.Reason): void {
    this.clientKeepsAlive = false
    if (this.state === RESPONDING) {
      this.responseFlags |= reason.flags
      if (this.router !== null) this.router.stop()
      this.cut(reason.code)
    } else this.reply(reason)
  }

  /** The client is gone; nobody reads an answer. */
  onDownstreamGone(): void {
    if (this.state === DONE) return
    this.responseFlags |= F.DC
    this.responseCodeDetails = 'downstream_remote_disconnect'
    if (this.router !== null) this.router.stop()
    this.finish()
  }

  /** The client has reset the stream of its request; the connection goes on. */
  onDownstreamReset(): void {
    if (this.state === DONE) return
    this.responseFlags |= F.DR
    this.responseCodeDetails = 'downstream_remote_reset'
    if (this.router !== null) this.router.stop()
    this.finish()
  }

  /** Ends without an answer, which must not be given: `reason` is for logs and metrics. The stream has been or will be reset. */
  giveUp(reason: R.Reason): void {
    if (this.state === DONE) return
    this.responseFlags |= reason.flags
    this.responseCodeDetails = reason.details
    this.manager.worker.requestRefused(reason.code)
    if (this.router !== null) this.router.stop()
    this.finish()
  }

  onDownstreamWritable(): void {
    if (this.router !== null) this.router.onDownstreamWritable()
  }

  // ---- the response ----------------------------------------------------------------------------------------------------

  get responding(): boolean {
    return this.state !== OPEN
  }

  get done(): boolean {
    return this.state === DONE
  }

  /**
   * Sends response headers. `bodyLength` is -1 when it is not known beforehand; then the map must not have a content-length.
   * `withBody` false: HEAD, 204, 304 or nothing to send.
   */
  startResponse(status: number, headers: HeaderMap, bodyLength: number, withBody: boolean): void {
    const { session } = this
    this.state = RESPONDING
    this.responseCode = status
    if (!this.clientKeepsAlive || session.lastRequest) this.closesAfter = true
    const { grpcWeb } = this
    if (grpcWeb === null) this.sendHead(status, headers, bodyLength, withBody)
    else if (!grpcWeb.beginResponse(status, headers, withBody))
      this.sendHead(status, headers, withBody ? -1 : bodyLength, withBody)
  }

  sendHead(status: number, headers: HeaderMap, bodyLength: number, withBody: boolean): void {
    this.responseWireBytes += this.session.sendHeaders(status, headers, bodyLength, withBody, this.closesAfter)
  }

  /** Latin-1 text as a body. */
  sendText(text: string): void {
    if (this.grpcWeb !== null) {
      this.sendBody(Buffer.from(text, 'latin1'), 0, text.length)
      return
    }
    this.bytesSent += text.length
    this.responseWireBytes += text.length
    this.session.sendText(text)
  }

  /** False when the client reads too slowly. */
  sendBody(bytes: Buffer, start: number, end: number): boolean {
    if (this.messages !== null) this.messages.responses.take(bytes, start, end)
    return this.grpcWeb === null ? this.passBody(bytes, start, end) : this.grpcWeb.sendBody(bytes, start, end)
  }

  passBody(bytes: Buffer, start: number, end: number): boolean {
    this.bytesSent += end - start
    this.responseWireBytes += end - start
    return this.session.sendBody(bytes, start, end)
  }

  /** `trailers` are field lines or empty. HTTP/1.0 and bodies by length have no place for them. */
  endResponse(trailers: string): void {
    if (this.state === DONE) return
    this.responseTrailers = trailers
    if (this.grpcWeb !== null) this.grpcWeb.endResponse(trailers)
    this.session.sendEnd(this.grpcWeb === null ? trailers : '')
    // An answer before the end of its request: the rest of the request is not worth reading.
    if (!this.requestEnded) this.closesAfter = true
    this.finish()
  }

  /** The response cannot be completed: the client learns it by the end of the connection. */
  cut(reason: string): void {
    if (this.state === DONE) return
    this.manager.worker.connectionCut(reason)
    this.session.cut(reason)
    this.finish()
  }

  /** Logs and counts, once; then the session goes on with the next request or closes. */
  private finish(): void {
    if (this.logged) return
    this.logged = true
    this.state = DONE
    if (this.holder !== null) this.holder.letGo()
    if (this.deadlines !== null) this.deadlines.cancel()
    this.endMs = this.manager.io.clock.monotonicMs
    this.manager.record(this)
    this.session.done(this.closesAfter)
  }

  /** A tunnel has been closed on both sides, or cut. */
  finishTunnel(): void {
    this.closesAfter = true
    this.finish()
  }

  // ---- AccessRecord, EditContext and LogContext --------------------------------------------------------------------------------------

  get durationMs(): number {
    return Math.round((this.endMs === 0 ? this.manager.io.clock.monotonicMs : this.endMs) - this.startMs)
  }

  get protocol(): string {
    return this.session.protocol
  }

  get pathWithQuery(): string {
    return this.originalPath
  }

  get requestHeaders(): HeaderMap {
    return this.headers
  }

  get hostname(): string {
    return HOSTNAME
  }

  get routeName(): string {
    const { route } = this.decision
    return route === null ? '' : route.config.name
  }

  get virtualHostName(): string {
    const { virtualHost } = this.decision
    return virtualHost === null ? '' : virtualHost.name
  }

  /** What the client dialled: Envoy restores it to captured connections. */
  get downstreamLocalAddress(): string {
    const { originalDst, localAddress } = this.session.connection
    return originalDst || localAddress
  }

  get downstreamPeerAddress(): string {
    return this.addressOf(this.clientAddress)
  }

  /** At the edge who it has found out; in the mesh who whoever is in front has written (Envoy without use_remote_address). */
  get downstreamRemoteAddress(): string {
    return this.addressOf(this.manager.config.edge === null ? canonicalIp(lastForwarded(this.headers)) : this.clientAddress)
  }

  /** Of an IP address that somebody has said; of none the peer's. */
  private addressOf(said: string | null): string {
    if (said === null || said === '') return this.session.connection.peerAddress
    return said.includes(':') ? `[${said}]:0` : `${said}:0`
  }

  get downstreamDirectRemoteAddress(): string {
    const { proxyAddress, peerAddress } = this.session.connection
    return proxyAddress || peerAddress
  }

  uniqueId(): string {
    return this.manager.requestIds.create()
  }

  environment(name: string): string {
    return process.env[name] ?? ''
  }

  get logType(): LogContext['logType'] {
    return 'DownstreamEnd'
  }

  get request(): RequestView {
    return this
  }

  get sentPath(): string {
    return this.rewrittenPath || this.originalPath
  }

  get downstreamDirectLocalAddress(): string {
    return this.session.connection.localAddress
  }

  /** A request without a body has ended with its head. */
  get requestEndMs(): number {
    if (!this.session.hasBody) return 0
    return this.requestEndedMs === 0 ? -1 : this.requestEndedMs - this.startMs
  }

  get requestSentMs(): number {
    return this.requestSentAtMs === 0 ? -1 : this.requestSentAtMs - this.startMs
  }

  get responseBeginMs(): number {
    return this.responseBegunMs === 0 ? -1 : this.responseBegunMs - this.startMs
  }

  get overMs(): number {
    return this.endMs === 0 ? -1 : this.endMs - this.startMs
  }

  requestField(id: number, name: string): string | null {
    return this.headers.known(id, name)
  }

  responseTrailer(name: string): string | null {
    return this.responseTrailers === '' ? null : fieldOf(this.responseTrailers, name)
  }

  get requestedServerName(): string {
    return this.session.connection.serverName
  }

  /** Metrics ask about the client of an inbound listener, and about the endpoint of an outbound one. */
  private get metered(): TlsFacts | null {
    return this.outbound ? this.upstreamTls : this.session.connection.tls
  }

  get peerPrincipal(): string {
    const { metered } = this
    return metered === null ? '' : metered.peerIdentity
  }

  get ownPrincipal(): string {
    const { metered } = this
    return metered === null ? '' : metered.localIdentity
  }

  get downstreamTls(): TlsFacts | null {
    return this.session.connection.tls
  }

  requestHeader(name: 'x-forwarded-for' | 'user-agent' | 'x-request-id'): string | null {
    const id = name === 'user-agent' ? H.H_USER_AGENT : name === 'x-request-id' ? H.H_X_REQUEST_ID : H.H_X_FORWARDED_FOR
    return this.headers.known(id, name)
  }
}

/** Of field lines, by a lower-case name; null: it is not there. */
function fieldOf(lines: string, name: string): string | null {
  for (const line of lines.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon === name.length && line.substring(0, colon).toLowerCase() === name) return line.substring(colon + 1).trim()
  }
  return null
}
