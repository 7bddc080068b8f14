// Hot lane: a mirrored copy of a request: sent, its response read and thrown away. It never delays or fails the request that it copies; what
// it cannot keep up with is dropped (Istio mirror). It has a place among the copies of the process from its making to its end.

import { BodyBuffer } from '../base/body-buffer.ts'
import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import type { LiveCluster } from '../cluster/live-cluster.ts'
import type { LiveHost } from '../cluster/live-host.ts'
import type { HeaderMap } from '../http/header-map.ts'
import { H_CONTENT_TYPE, H_GRPC_STATUS, H_X_REQUEST_ID } from '../http/known-headers.ts'
import type { RequestHead } from '../http/request-head.ts'
import { RESET_OVERFLOW } from '../pool/exchange.ts'
import { type Limiter, REQUESTS } from '../pool/limiter.ts'
import type { ToldClient } from '../pool/proxy-header.ts'
import type { Io } from '../transport/io.ts'
import { type AttemptOwner, UpstreamRequest } from './upstream-request.ts'

/** A copy that nobody answers ends by then, also where its route has no timeout: what waits for ever would take all places in the end. */
const MAX_MS = 300_000

/** What copies need of their worker. */
export interface ShadowContext {
  readonly io: Io
  /** Counts copies, as REQUESTS. */
  readonly mirrors: Limiter
  readonly worker: { mirrorDropped(reason: string): void }
}

export class Shadow implements AttemptOwner, DeadlineOwner {
  private readonly context: ShadowContext
  private readonly attempt: UpstreamRequest
  private readonly head: RequestHead
  private readonly timeoutMs: number
  private hasBody: boolean
  private limit: number
  private waiting: BodyBuffer | null
  private ended: boolean
  private trailers: string
  private deadline: Deadline | null
  private over: boolean

  /** The caller has taken its place. `timeoutMs`: 0 for none. */
  constructor(
    context: ShadowContext,
    cluster: LiveCluster,
    host: LiveHost,
    head: RequestHead,
    http2: boolean,
    timeoutMs: number,
    told: ToldClient | null,
  ) {
    this.context = context
    this.attempt = new UpstreamRequest(this, cluster, host, head.method, 1, http2, told)
    this.head = head
    this.timeoutMs = timeoutMs === 0 ? MAX_MS : timeoutMs
    this.hasBody = false
    this.limit = 0
    this.waiting = null
    this.ended = false
    this.trailers = ''
    this.deadline = null
    this.over = false
  }

  /** `limit`: body bytes that may wait for a slow copy before it is given up; 0: no limit. */
  start(hasBody: boolean, limit: number): void {
    this.hasBody = hasBody
    this.limit = limit
    this.ended = !hasBody
    if (this.ended) this.arm()
    this.attempt.start()
  }

  private arm(): void {
    if (this.over) return
    this.deadline = new Deadline(this, 0)
    this.context.io.timers.arm(this.deadline, this.timeoutMs)
  }

  body(bytes: Buffer, start: number, end: number): void {
    if (this.over) return
    const c = this.attempt.connection
    if (c !== null && this.waiting === null) {
      // Not writable: the copy's upstream is slower than the original's. What follows waits, up to the limit.
      if (!this.attempt.sendBody(bytes, start, end)) this.waiting = new BodyBuffer()
      return
    }
    this.waiting ??= new BodyBuffer()
    this.waiting.append(bytes, start, end)
    if (this.limit === 0 || this.waiting.bytes <= this.limit) return
    this.context.worker.mirrorDropped('buffer')
    this.stop()
  }

  end(trailers: string): void {
    if (this.over || this.ended) return
    this.ended = true
    this.trailers = trailers
    this.arm()
    if (this.attempt.connection !== null && this.waiting === null) this.attempt.sendEnd(trailers)
  }

  onAttemptReady(attempt: UpstreamRequest): void {
    attempt.sendHeaders(this.head, false, !this.hasBody)
    if (this.hasBody) this.flush()
  }

  onAttemptWritable(): void {
    this.flush()
  }

  private flush(): void {
    const { waiting } = this
    this.waiting = null
    if (waiting !== null) for (const chunk of waiting.chunks) this.attempt.sendBody(chunk, 0, chunk.length)
    if (this.ended && !this.attempt.requestEnded) this.attempt.sendEnd(this.trailers)
  }

  stop(): void {
    if (this.over) return
    this.finish()
    this.attempt.cancel()
  }

  onDeadline(): void {
    this.attempt.noteTimeout()
    this.stop()
  }

  /** The copy has the id of the original, which may be over by now. */
  requestId(): string {
    return this.head.headers.known(H_X_REQUEST_ID, 'x-request-id') ?? ''
  }

  abandon(): void {
    this.finish()
  }

  private finish(): void {
    if (this.over) return
    this.over = true
    this.waiting = null
    this.context.mirrors.give(REQUESTS)
    if (this.deadline !== null) this.context.io.timers.cancel(this.deadline)
  }

  onAttemptStale(): void {}

  onAttemptInformational(): void {}

  onAttemptResponse(attempt: UpstreamRequest): void {
    const c = attempt.connection
    if (c !== null) attempt.noteStatus(c.status, this.grpcStatus(c.headers))
  }

  /** -1: none, or the copy is not gRPC. */
  private grpcStatus(headers: HeaderMap): number {
    const i = headers.firstKnown(H_GRPC_STATUS)
    if (i < 0 || !/^application\/grpc(?:\+|$)/.test(this.head.headers.known(H_CONTENT_TYPE, 'content-type') ?? '')) return -1
    const status = Number(headers.valueAt(i))
    return Number.isInteger(status) && status >= 0 ? status : -1
  }

  onAttemptBody(): void {}

  onAttemptEnd(): void {
    this.finish()
  }

  onAttemptReset(_attempt: UpstreamRequest, reason: number): void {
    if (reason === RESET_OVERFLOW) this.context.worker.mirrorDropped('overflow')
    this.finish()
  }

  onAttemptTunnelData(): void {
    this.stop()
  }

  onAttemptTunnelEnd(): void {
    this.stop()
  }
}
