// Hot lane: the last filter: carries one request to its cluster, attempt by attempt, and the response back. Made only for requests that are
// forwarded.
//
// The overall timeout runs from the end of the request, the per-try timeout from the moment when an attempt has a connection and the request
// is complete; both are armed only when configured (Envoy timeouts).
//
// A long file: request, response, attempts and deadlines are events of one state, and each may end the others.

import { BodyBuffer } from '../../base/body-buffer.ts'
import { Deadline, type DeadlineOwner } from '../../base/timer-wheel.ts'
import type { LiveCluster } from '../../cluster/live-cluster.ts'
import type { LiveHost } from '../../cluster/live-host.ts'
import { pickAgain } from '../../decide/decide.ts'
import { BODY_GONE, NOT_ASKED_FOR, RESPONSE_BEGUN } from '../../decide/retry-steps.ts'
import * as S from '../../decide/steps.ts'
import type { HeaderMap } from '../../http/header-map.ts'
import * as H from '../../http/known-headers.ts'
import type { RequestHead } from '../../http/request-head.ts'
import { RESET_LOCAL, RESET_NONE, RESET_OVERFLOW } from '../../pool/exchange.ts'
import type { CompiledRoute } from '../../route/compiled-route.ts'
import type { ForwardAction } from '../../state/route.ts'
import { resetDetails, resetFlag, resetReply } from '../../upstream/reset-reply.ts'
import { type CompiledRetryPolicy, keywordForReset, keywordForResponse, NO_KEYWORD } from '../../upstream/retry-policy.ts'
import { RetryState } from '../../upstream/retry-state.ts'
import type { Shadow } from '../../upstream/shadow.ts'
import { type AttemptOwner, UpstreamRequest } from '../../upstream/upstream-request.ts'
import type { Carrier, HttpStream } from './http-stream.ts'
import * as R from './reasons.ts'
import { finaliseRequest, requestHead } from './request-headers.ts'
import { finaliseResponse } from './response-headers.ts'
import { startMirrors } from './router-mirrors.ts'
import { claimRetry, noteNotRetried } from './router-retries.ts'
import { grpcStatusOfTrailers, outcomeOf, readGrpcStatus, sayTimeouts, timeoutsOf } from './router-terms.ts'
import { toldClient } from './told-client.ts'
import { Tunnel } from './tunnel.ts'
import { goesAsHttp2, upgradesOverHttp2 } from './upstream-version.ts'
import { giveAccept, giveKey, takeAccept } from './websocket.ts'

// Kinds of deadlines.
const OVERALL = 1
const PER_TRY = 2
const BACKOFF = 3

export class Router implements Carrier, AttemptOwner, DeadlineOwner {
  private readonly stream: HttpStream
  private readonly route: CompiledRoute
  private readonly action: ForwardAction
  private readonly cluster: LiveCluster
  private readonly method: string
  private readonly hasBody: boolean
  /** What it goes out as. */
  private readonly http2: boolean
  /** The key of a WebSocket handshake is not the client's. */
  private keyIsOurs: boolean
  /** Null until `start`. */
  private head: RequestHead | null
  private timeoutMs: number
  private perTryMs: number
  private attempt: UpstreamRequest | null
  /** Null where there are no retries, or none any more. */
  private retry: RetryState | null
  /** What the route asks for, also once `retry` is gone; null without retries. */
  private retryOn: CompiledRetryPolicy | null
  /** Why `retry` is gone before its time: a reason of decide/retry-steps.ts; 0: it is not. */
  private retryGone: number
  /** What has come of the body and may be needed again, or for the first time; null when it never will. */
  private body: BodyBuffer | null
  private shadows: Shadow[] | null
  private overall: Deadline | null
  private perTry: Deadline | null
  private backoff: Deadline | null
  private tunnel: Tunnel | null
  private requestEnded: boolean
  /** Monotonic ms when the overall timeout began to run. */
  private requestEndedMs: number
  private trailers: string
  private stopped: boolean

  constructor(stream: HttpStream) {
    const { manager, decision, session } = stream
    const route = decision.route as CompiledRoute
    this.stream = stream
    this.route = route
    this.action = route.action as ForwardAction
    this.cluster = manager.clusters.liveOf(decision.cluster as NonNullable<typeof decision.cluster>)
    this.method = stream.method
    this.hasBody = session.hasBody
    this.http2 = goesAsHttp2(stream, this.cluster)
    this.keyIsOurs = false
    this.head = null
    this.timeoutMs = 0
    this.perTryMs = 0
    this.attempt = null
    this.retry = null
    this.retryOn = null
    this.retryGone = 0
    this.body = stream.held
    this.shadows = null
    this.overall = null
    this.perTry = null
    this.backoff = null
    this.tunnel = null
    this.requestEnded = stream.requestEnded || !this.hasBody
    this.requestEndedMs = 0
    this.trailers = stream.heldTrailers
    this.stopped = false
  }

  start(): void {
    const { stream, action } = this
    const { manager } = stream
    if (stream.held !== null) {
      stream.held = null
      stream.session.unpause()
    }
    if (this.http2 && stream.upgrade !== '' && !upgradesOverHttp2(stream)) stream.upgrade = ''
    const target = finaliseRequest(stream, this.route, action)
    if (!this.http2 && stream.upgrade !== '' && stream.session.protocol === 'HTTP/2') this.keyIsOurs = giveKey(stream.headers)
    const terms = timeoutsOf(stream, action)
    this.timeoutMs = terms.overallMs
    this.perTryMs = terms.perTryMs
    if (action.retry !== null && action.retry.attempts > 0 && stream.upgrade === '' && this.method !== 'CONNECT') {
      this.retry = new RetryState(action.retry, this.cluster.limiter, manager.rng)
      this.retryOn = this.retry.on
    }
    sayTimeouts(stream, this.perTryMs, this.timeoutMs, 0)
    this.head = requestHead(stream, target, stream.headers)
    if (action.mirrors.length > 0) this.mirror(target)
    if (this.requestEnded) this.requestComplete()
    this.begin(stream.decision.host as LiveHost)
  }

  private mirror(target: string): void {
    const shadows = startMirrors(this.stream, this.route, target, this.timeoutMs)
    this.shadows = shadows
    if (shadows === null || !this.hasBody) return
    // What came while a filter held the request.
    const chunks = this.body === null ? [] : this.body.chunks
    for (const shadow of shadows) {
      for (const chunk of chunks) shadow.body(chunk, 0, chunk.length)
      if (this.requestEnded) shadow.end(this.trailers)
    }
  }

  // ---- the request -----------------------------------------------------------------------------------------------------

  private begin(host: LiveHost): void {
    const { stream } = this
    stream.attempts++
    stream.upstreamHost = host.address
    const attempt = new UpstreamRequest(
      this,
      this.cluster,
      host,
      this.method,
      stream.attempts,
      this.http2,
      toldClient(this.cluster, stream),
    )
    this.attempt = attempt
    attempt.start()
  }

  onAttemptReady(attempt: UpstreamRequest): void {
    const { stream } = this
    stream.upstreamLocalAddress = attempt.localAddress
    stream.upstreamTls = attempt.tls
    if (this.head === null) return
    attempt.sendHeaders(this.head, this.action.countsAttempts ?? stream.outbound, !this.hasBody)
    if (this.hasBody) {
      const { body } = this
      if (body !== null) {
        for (const chunk of body.chunks) attempt.sendBody(chunk, 0, chunk.length)
        if (this.retry === null) this.body = null
      }
      if (this.requestEnded) attempt.sendEnd(this.trailers)
      const c = attempt.connection
      if (c === null || c.writable) stream.session.unpause()
      else stream.session.pause()
    }
    if (this.requestEnded) this.armPerTry()
  }

  onRequestBody(bytes: Buffer, start: number, end: number): void {
    if (this.shadows !== null) for (const shadow of this.shadows) shadow.body(bytes, start, end)
    const { attempt, stream } = this
    const limit = stream.manager.limits.bufferBytes
    const ready = attempt !== null && attempt.connection !== null
    if (!ready || this.retry !== null) {
      this.body ??= new BodyBuffer()
      this.body.append(bytes, start, end)
      if (limit !== 0 && this.body.bytes > limit) this.bodyTooLarge(ready)
    }
    if (attempt !== null && ready && !attempt.sendBody(bytes, start, end)) stream.session.pause()
  }

  /**
   * More than may be kept. What has a connection goes on, and no further attempt is possible. Without one yet the client has to wait, but not between
   * attempts: the body of the one that failed was read already, and nobody knows how long the next will take to come (Envoy router).
   */
  private bodyTooLarge(ready: boolean): void {
    if (ready) this.dropRetry(BODY_GONE)
    else if (this.attempt === null && this.retry !== null) this.stream.reply(R.RETRY_BUFFER_FULL)
    else this.stream.session.pause()
  }

  /** The attempt that is under way is the last one. */
  private dropRetry(why: number): void {
    if (this.retry === null) return
    this.retry.settle()
    this.retry = null
    this.retryGone = why
    this.body = null
  }

  onRequestEnd(trailers: string): void {
    this.requestEnded = true
    this.trailers = trailers
    if (this.shadows !== null) for (const shadow of this.shadows) shadow.end(trailers)
    const { attempt } = this
    if (attempt !== null && attempt.connection !== null && this.hasBody) attempt.sendEnd(trailers)
    this.requestComplete()
    if (attempt !== null && attempt.connection !== null) this.armPerTry()
  }

  private requestComplete(): void {
    if (this.timeoutMs === 0 || this.stream.upgrade !== '' || this.overall !== null) return
    this.overall = new Deadline(this, OVERALL)
    this.requestEndedMs = this.stream.manager.io.clock.monotonicMs
    this.stream.manager.io.timers.arm(this.overall, this.timeoutMs)
  }

  private armPerTry(): void {
    if (this.perTryMs === 0 || this.stream.responding) return
    this.perTry ??= new Deadline(this, PER_TRY)
    this.stream.manager.io.timers.arm(this.perTry, this.perTryMs)
  }

  /** The upstream takes bytes again. */
  onAttemptWritable(attempt: UpstreamRequest): void {
    if (this.tunnel !== null) this.tunnel.onUpstreamWritable()
    else if (attempt === this.attempt) this.stream.session.unpause()
  }

  onDownstreamWritable(): void {
    if (this.tunnel !== null) this.tunnel.onDownstreamWritable()
    else if (this.attempt !== null) this.attempt.resume()
  }

  // ---- the response ----------------------------------------------------------------------------------------------------

  onAttemptInformational(_attempt: UpstreamRequest, status: number, headers: HeaderMap): void {
    if (this.stream.responding) return
    // The next attempt's upstream might not send another one, and the client has acted on this one (Envoy router).
    this.dropRetry(RESPONSE_BEGUN)
    this.stream.session.sendInformational(status, headers)
  }

  onAttemptResponse(attempt: UpstreamRequest): void {
    const { stream } = this
    const c = attempt.connection
    if (c === null) return
    const { manager } = stream
    const { headers } = c
    manager.steps.addTo(stream.decision.steps, S.ATTEMPT, attempt.number, c.status)
    this.countResponse(c.status)
    this.cancelPerTry()
    const { retryOn } = this
    const grpcStatus = stream.grpcStatus !== -2 || retryOn?.readsGrpcStatus === true ? readGrpcStatus(headers) : -1
    attempt.noteStatus(c.status, stream.grpcStatus === -2 ? -1 : grpcStatus)
    if (retryOn !== null) {
      const keyword = keywordForResponse(retryOn, c.status, headers, grpcStatus)
      if (keyword === NO_KEYWORD) this.responseStands(c.status)
      else if (this.repeats(attempt, keyword, RESET_NONE)) {
        attempt.discard()
        this.awaitRetry()
        return
      }
    }
    if (grpcStatus >= 0 && stream.grpcStatus !== -2) stream.grpcStatus = grpcStatus
    this.retry?.settle()
    this.retry = null
    this.retryGone = RESPONSE_BEGUN
    this.body = null
    const now = manager.io.clock.monotonicMs
    stream.upstreamServiceTimeMs = Math.max(
      0,
      Math.floor(now - (attempt.requestEndedMs === 0 ? stream.startMs : attempt.requestEndedMs)),
    )
    stream.requestSentAtMs = attempt.requestEndedMs
    stream.responseBegunMs = now
    stream.responseCodeDetails = 'via_upstream'
    finaliseResponse(stream, c, stream.upstreamServiceTimeMs)
    if (c.status === 101) {
      this.openTunnel(attempt, headers)
      return
    }
    if (stream.upgrade !== '' && c.status < 300 && stream.session.protocol === 'HTTP/2') {
      // To an extended CONNECT it would say that the tunnel is there (RFC 8441 §5).
      stream.reply(R.UPGRADE_NOT_TAKEN)
      return
    }
    // A response to HEAD says how its body would have been framed.
    if (this.method === 'HEAD' && stream.minor === 1 && c.mayHaveBody && headers.firstKnown(H.H_CONTENT_LENGTH) < 0) {
      headers.append('transfer-encoding', 'chunked')
    }
    // HTTP/2 can say with the head that nothing follows, HTTP/1 only by a length.
    if (!c.hasBody && c.mayHaveBody && this.method !== 'HEAD' && headers.firstKnown(H.H_CONTENT_LENGTH) < 0)
      this.sayEmpty(headers)
    if (c.neverIndexed !== '') stream.session.markNeverIndexed(c.neverIndexed)
    stream.startResponse(c.status, headers, c.bodyLength, c.hasBody)
  }

  private sayEmpty(headers: HeaderMap): void {
    if (this.stream.session.protocol !== 'HTTP/2' && headers.get('content-length') === null) headers.append('content-length', '0')
  }

  private openTunnel(attempt: UpstreamRequest, headers: HeaderMap): void {
    const { stream } = this
    const c = attempt.connection
    if (c === null || stream.upgrade === '') {
      // Nobody asked for it (RFC 9110 §15.2.2).
      c?.protocolError()
      return
    }
    this.cancelTimers()
    // It has no length any more (RFC 9110 §9.3.6).
    headers.removeKnown(H.H_CONTENT_LENGTH)
    headers.set('connection', 'upgrade')
    if (this.http2) {
      headers.set('upgrade', stream.upgrade)
      giveAccept(stream.headers, headers)
    } else if (this.keyIsOurs) takeAccept(headers)
    c.openTunnel()
    this.tunnel = new Tunnel(stream, attempt, c.sink)
    this.tunnel.open(101, headers)
  }

  /** Nobody asks for another attempt. */
  private responseStands(status: number): void {
    const { retry, stream } = this
    if (retry?.settle() === true) stream.manager.values[this.cluster.stats.rqRetrySuccess]!++
    else if (status >= 400) noteNotRetried(stream, NO_KEYWORD, NOT_ASKED_FOR)
  }

  /** Whether there will be another attempt after this one, for which `keyword` asks. */
  private repeats(attempt: UpstreamRequest, keyword: number, reset: number): boolean {
    const { retry, retryOn, stream } = this
    if (keyword === NO_KEYWORD) {
      if (retryOn !== null) noteNotRetried(stream, NO_KEYWORD, NOT_ASKED_FOR)
      return false
    }
    if (retry !== null) return claimRetry(stream, this.cluster, retry, attempt, keyword, reset)
    noteNotRetried(stream, keyword, this.retryGone)
    return false
  }

  private repeatsReset(attempt: UpstreamRequest, reset: number): boolean {
    const { retryOn } = this
    return retryOn !== null && this.repeats(attempt, keywordForReset(retryOn, reset, attempt.written), reset)
  }

  /** `repeats` has said yes. */
  private awaitRetry(): void {
    const retry = this.retry as RetryState
    this.attempt = null
    this.backoff ??= new Deadline(this, BACKOFF)
    this.stream.manager.io.timers.arm(this.backoff, retry.delayMs)
  }

  private retryNow(): void {
    const { retry, stream } = this
    const { manager } = stream
    const pick = manager.pickContext(stream, retry === null ? null : retry.tried)
    pick.avoidPriorities = retry === null ? 0 : retry.avoidPriorities
    this.sayRemainingTime()
    if (!pickAgain(stream.decision, pick, manager.steps)) {
      this.cancelTimers()
      stream.reply(R.NO_HEALTHY)
      return
    }
    this.begin(stream.decision.host as LiveHost)
  }

  /** The upstream of a retry is told how long the client will still wait. */
  private sayRemainingTime(): void {
    const { stream } = this
    if (this.timeoutMs === 0) return
    const elapsedMs = this.overall === null ? 0 : Math.floor(stream.manager.io.clock.monotonicMs - this.requestEndedMs)
    sayTimeouts(stream, this.perTryMs, this.timeoutMs, elapsedMs)
    this.head?.headersChanged()
  }

  onAttemptBody(attempt: UpstreamRequest, bytes: Buffer, start: number, end: number): void {
    if (!this.stream.sendBody(bytes, start, end)) attempt.pause()
  }

  onAttemptEnd(_attempt: UpstreamRequest, trailers: string): void {
    this.attempt = null
    this.stopped = true
    this.cancelTimers()
    this.stopShadows()
    if (trailers !== '' && this.stream.grpcStatus === -1) this.stream.grpcStatus = grpcStatusOfTrailers(trailers)
    this.stream.endResponse(trailers)
  }

  onAttemptReset(attempt: UpstreamRequest, reason: number, detail: string): void {
    const { stream } = this
    this.attempt = null
    this.cancelPerTry()
    if (this.stopped) return
    if (detail !== '') stream.upstreamTransportFailureReason = detail
    this.noteFailed(attempt, outcomeOf(reason))
    if (reason !== RESET_OVERFLOW) stream.manager.values[this.cluster.stats.rqRxReset]!++
    if (this.tunnel !== null) {
      this.tunnel.onUpstreamReset()
      return
    }
    if (stream.responding) {
      this.stop()
      this.repeatsReset(attempt, reason)
      stream.responseFlags |= resetFlag(reason)
      stream.responseCodeDetails = resetDetails(reason, detail, true)
      stream.cut('upstream_reset')
      return
    }
    if (this.repeatsReset(attempt, reason)) {
      this.awaitRetry()
      return
    }
    this.countResponse(503)
    stream.reply(resetReply(reason, detail, stream.attempts > 1))
  }

  onAttemptTunnelData(_attempt: UpstreamRequest, bytes: Buffer, start: number, end: number): void {
    if (this.tunnel !== null) this.tunnel.onUpstreamData(bytes, start, end)
  }

  onAttemptTunnelEnd(): void {
    if (this.tunnel !== null) this.tunnel.onUpstreamEnd()
  }

  requestId(): string {
    return this.stream.requestHeader('x-request-id') ?? ''
  }

  /** The tunnel of an accepted Upgrade; null before. */
  get openedTunnel(): Tunnel | null {
    return this.tunnel
  }

  // ---- ends --------------------------------------------------------------------------------------------------------------

  onDeadline(kind: number): void {
    if (this.stopped) return
    if (kind === BACKOFF) {
      this.retryNow()
      return
    }
    const { attempt, stream } = this
    const { values } = stream.manager
    if (kind === OVERALL) {
      values[this.cluster.stats.rqTimeout]!++
      if (attempt !== null) {
        this.noteFailed(attempt, S.OUTCOME_TIMEOUT)
        attempt.noteTimeout()
      }
      stream.reply(R.RESPONSE_TIMEOUT)
      return
    }
    if (attempt === null) return
    values[this.cluster.stats.rqPerTryTimeout]!++
    this.noteFailed(attempt, S.OUTCOME_PER_TRY_TIMEOUT)
    attempt.noteTimeout()
    attempt.cancel()
    if (this.repeatsReset(attempt, RESET_LOCAL)) this.awaitRetry()
    else stream.reply(R.PER_TRY_TIMEOUT)
  }

  abandon(): void {
    this.stream.session.abandon()
  }

  /** Ends what is running. The stream has answered, or nobody waits for an answer any more. */
  stop(): void {
    if (this.stopped) return
    this.stopped = true
    this.cancelTimers()
    this.retry?.settle()
    const { attempt } = this
    this.attempt = null
    if (attempt !== null) {
      this.stream.manager.values[this.cluster.stats.rqTxReset]!++
      attempt.cancel()
    }
    this.stopShadows()
  }

  /** Copies of a request that will not become complete; the others go on by themselves. */
  private stopShadows(): void {
    if (this.shadows !== null && !this.requestEnded) for (const shadow of this.shadows) shadow.stop()
  }

  private cancelPerTry(): void {
    if (this.perTry !== null) this.stream.manager.io.timers.cancel(this.perTry)
  }

  private cancelTimers(): void {
    const { timers } = this.stream.manager.io
    if (this.overall !== null) timers.cancel(this.overall)
    if (this.backoff !== null) timers.cancel(this.backoff)
    this.cancelPerTry()
  }

  private noteFailed(attempt: UpstreamRequest, outcome: number): void {
    const { stream } = this
    const { steps } = stream.manager
    steps.addTo(stream.decision.steps, S.ATTEMPT, attempt.number, outcome)
    steps.addTo(stream.decision.steps, S.WRITTEN, attempt.number, attempt.written ? 1 : 0)
  }

  /** The connection was dead before it was lent; the same attempt goes to another one. */
  onAttemptStale(attempt: UpstreamRequest): void {
    this.noteFailed(attempt, S.OUTCOME_STALE_CONNECTION)
  }

  private countResponse(status: number): void {
    const { stats } = this.cluster
    const { values } = this.stream.manager
    values[stats.rqCompleted]!++
    if (status >= 100 && status < 600) values[stats.rqXx + Math.floor(status / 100) - 1]!++
  }
}
