// Hot lane: one attempt: a connection borrowed from the endpoint's pool, the request on it, its response.

import { Deadline, type DeadlineOwner } from '../base/timer-wheel.ts'
import { ACTIVE } from '../cluster/lb/host.ts'
import { observe, observeFailure, observeGivenUp } from '../cluster/lb/peak-ewma.ts'
import type { LiveCluster } from '../cluster/live-cluster.ts'
import type { LiveHost } from '../cluster/live-host.ts'
import { type Attempted, statusOfGrpc } from '../cluster/outlier-detector.ts'
import type { HeaderMap } from '../http/header-map.ts'
import type { RequestHead } from '../http/request-head.ts'
import { forwardedTrailers } from '../http/trailers.ts'
import type { EndpointPool } from '../pool/endpoint-pool.ts'
import {
  type Exchange,
  type PoolWaiter,
  RESET_LOCAL,
  RESET_NOT_OFFERED,
  RESET_OVERFLOW,
  RESET_PROTOCOL_ERROR,
  RESET_TERMINATION,
  RESET_WORDS,
} from '../pool/exchange.ts'
import { stripHopByHop } from '../pool/hop-by-hop.ts'
import type { ToldClient } from '../pool/proxy-header.ts'
import type { UpstreamStream } from '../pool/upstream-stream.ts'
import type { TlsFacts } from '../transport/tls-facts.ts'

/** So much of a response that nobody wants is read, and for so long, to keep its connection. */
const MAX_DISCARDED_BYTES = 65_536
const DISCARD_MS = 500
/** 1xx responses before a final one. */
const MAX_INTERIM = 100

/** Who makes attempts: the router, or a mirrored copy. */
export interface AttemptOwner extends Attempted {
  /** The connection is there: send the request. */
  onAttemptReady(attempt: UpstreamRequest): void
  onAttemptInformational(attempt: UpstreamRequest, status: number, headers: HeaderMap): void
  /** Response headers: those of `attempt.connection`. */
  onAttemptResponse(attempt: UpstreamRequest): void
  onAttemptBody(attempt: UpstreamRequest, bytes: Buffer, start: number, end: number): void
  /** The response is complete; `trailers` are field lines or empty. The connection has been given back. */
  onAttemptEnd(attempt: UpstreamRequest, trailers: string): void
  /** No response, or not a whole one: RESET_… of pool/exchange.ts. */
  onAttemptReset(attempt: UpstreamRequest, reason: number, detail: string): void
  /** The connection was dead before it was lent, and nothing was written: the attempt goes on with another one. */
  onAttemptStale(attempt: UpstreamRequest): void
  onAttemptWritable(attempt: UpstreamRequest): void
  onAttemptTunnelData(attempt: UpstreamRequest, bytes: Buffer, start: number, end: number): void
  onAttemptTunnelEnd(attempt: UpstreamRequest): void
}

export class UpstreamRequest implements Exchange, PoolWaiter, DeadlineOwner {
  readonly cluster: LiveCluster
  readonly host: LiveHost
  readonly method: string
  /** Number of the attempt, from 1. */
  readonly number: number
  /** Null until `onAttemptReady`, and again when the attempt is over. */
  connection: UpstreamStream | null
  /** Bytes of the request may have reached the upstream. */
  written: boolean
  requestEnded: boolean
  responseStarted: boolean
  /** Monotonic ms of the end of the request; 0 before. */
  requestEndedMs: number
  localAddress: string
  tls: TlsFacts | null
  private readonly owner: AttemptOwner
  private readonly pool: EndpointPool
  private over: boolean
  /** Bytes of a response that nobody wants; -1: it is wanted, or given up. */
  private discarded: number
  private discarding: Deadline | null
  private counted: boolean
  private paused: boolean
  private interim: number
  /** Bytes of the body have been handed to the connection. */
  private bodyBegun: boolean
  /** Monotonic ms, of clusters whose policy asks for latencies. */
  private startedMs: number

  /** `http2`: what it is to be sent as. `told`: of whom the endpoint is to know; null: of nobody. */
  constructor(
    owner: AttemptOwner,
    cluster: LiveCluster,
    host: LiveHost,
    method: string,
    number: number,
    http2: boolean,
    told: ToldClient | null,
  ) {
    this.owner = owner
    this.cluster = cluster
    this.host = host
    this.method = method
    this.number = number
    this.pool = told === null ? host.poolFor(http2) : host.poolOf(http2, told)
    this.connection = null
    this.written = false
    this.requestEnded = false
    this.responseStarted = false
    this.requestEndedMs = 0
    this.localAddress = ''
    this.tls = null
    this.over = false
    this.discarded = -1
    this.discarding = null
    this.counted = false
    this.paused = false
    this.interim = 0
    this.bodyBegun = false
    this.startedMs = 0
  }

  start(): void {
    if (this.cluster.latencyDecayMs !== 0) this.startedMs = this.pool.io.clock.monotonicMs
    this.pool.acquire(this)
  }

  onPoolReady(connection: UpstreamStream): void {
    this.counted = true
    this.host.add(ACTIVE)
    this.connection = connection
    this.localAddress = connection.localAddress
    this.tls = connection.tls
    connection.assign(this, this.method)
    if (this.host.detector !== null) this.host.detector.onConnected()
    this.owner.onAttemptReady(this)
  }

  onPoolFailure(reason: number, detail: string): void {
    if (this.over) return
    this.over = true
    this.noteReset(reason)
    this.owner.onAttemptReset(this, reason, detail)
  }

  /** By the owner, when it has read the headers of a response. `grpcStatus` of them; -1: none, or the request is not gRPC. */
  noteStatus(status: number, grpcStatus: number): void {
    const { detector } = this.host
    if (detector !== null) detector.onStatus(grpcStatus < 0 ? status : statusOfGrpc(grpcStatus), this.owner)
  }

  /** By the owner, when it has waited too long for the headers of a response. Before there is a connection, nobody kept it waiting. */
  noteTimeout(): void {
    const { detector } = this.host
    if (detector === null || this.connection === null || this.responseStarted) return
    detector.onLocalFailure(504, 'timeout', this.owner)
  }

  /** PEAK_EWMA. `status` of the response; 0: it failed; -1: nobody waits any more. */
  private noteLatency(status: number): void {
    const { host, cluster } = this
    const now = this.pool.io.clock.monotonicMs
    const elapsed = now - this.startedMs
    const decayMs = cluster.latencyDecayMs
    if (status < 0) observeGivenUp(host, elapsed, decayMs, now)
    else if (status === 0 || (status >= 502 && status <= 504)) observeFailure(host, elapsed, decayMs, now)
    else observe(host, elapsed, decayMs, now)
  }

  private noteReset(reason: number): void {
    if (this.cluster.latencyDecayMs !== 0 && !this.responseStarted && reason !== RESET_OVERFLOW) this.noteLatency(0)
    const { detector } = this.host
    // What an endpoint does not offer is not its failure: clients must not be able to have it ejected by asking.
    if (detector === null || reason === RESET_OVERFLOW || reason === RESET_LOCAL || reason === RESET_NOT_OFFERED) return
    detector.onLocalFailure(503, RESET_WORDS[reason] as string, this.owner)
  }

  /** Head of the request. `sayNumber`: the upstream is told which attempt it is. `ended`: no body follows. */
  sendHeaders(head: RequestHead, sayNumber: boolean, ended: boolean): void {
    const c = this.connection
    if (c === null) return
    this.written = true
    c.sendHeaders(head, sayNumber ? this.number : 0, ended)
    if (ended) this.endRequest()
  }

  /** False when the upstream takes no more for now. */
  sendBody(bytes: Buffer, start: number, end: number): boolean {
    const c = this.connection
    this.bodyBegun = true
    return c === null || c.sendBody(bytes, start, end)
  }

  sendEnd(trailers: string): void {
    const c = this.connection
    if (c === null) return
    c.sendEnd(trailers)
    this.endRequest()
  }

  private endRequest(): void {
    this.requestEnded = true
    this.requestEndedMs = this.pool.io.clock.monotonicMs
  }

  onInformational(status: number, headers: HeaderMap): void {
    // They are passed on whether or not the client reads: an upstream must not fill our memory with them.
    if (++this.interim > MAX_INTERIM) {
      if (this.connection !== null) this.connection.protocolError()
      return
    }
    stripHopByHop(headers)
    this.owner.onAttemptInformational(this, status, headers)
  }

  onResponse(): void {
    const c = this.connection
    if (c === null) return
    this.responseStarted = true
    if (this.cluster.latencyDecayMs !== 0) this.noteLatency(c.status)
    c.takeHopByHop()
    this.owner.onAttemptResponse(this)
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    if (!this.over) this.owner.onAttemptBody(this, bytes, start, end)
    else if (this.discarded >= 0) {
      this.discarded += end - start
      if (this.discarded > MAX_DISCARDED_BYTES) this.endDiscarding(false)
    }
  }

  onResponseEnd(trailers: HeaderMap | null): void {
    if (this.over) {
      if (this.discarded >= 0) this.endDiscarding(true)
      return
    }
    this.over = true
    const text = trailers === null ? '' : forwardedTrailers(trailers)
    this.leave(true)
    this.owner.onAttemptEnd(this, text)
  }

  onResponseError(_code: number): void {
    const c = this.connection
    if (c !== null) c.protocolError()
  }

  onUpstreamReset(reason: number, detail: string): void {
    if (this.over) {
      this.connection = null
      if (this.discarded >= 0) this.endDiscarding(false)
      return
    }
    this.over = true
    const http2 = this.connection !== null && this.connection.protocol === 'HTTP/2'
    this.settle()
    this.connection = null
    this.noteReset(reason)
    // Envoy's codec of HTTP/1 calls a body cut short a protocol error (Envoy router replies).
    const cutShort = this.responseStarted && reason === RESET_TERMINATION && !http2
    this.owner.onAttemptReset(this, cutShort ? RESET_PROTOCOL_ERROR : reason, detail)
  }

  onNothingWritten(detail: string): void {
    if (this.over) return
    this.written = false
    // Body bytes that were handed on are gone with the connection: then it is for the retry policy to say.
    if (this.bodyBegun) {
      this.onUpstreamReset(RESET_TERMINATION, detail)
      return
    }
    this.settle()
    this.connection = null
    this.owner.onAttemptStale(this)
    this.requestEnded = false
    this.requestEndedMs = 0
    this.paused = false
    this.start()
  }

  onUpstreamWritable(): void {
    this.owner.onAttemptWritable(this)
  }

  onTunnelData(bytes: Buffer, start: number, end: number): void {
    if (!this.over) this.owner.onAttemptTunnelData(this, bytes, start, end)
  }

  onUpstreamEnd(): void {
    if (!this.over) this.owner.onAttemptTunnelEnd(this)
  }

  /** Stops reading the response, once, until `resume`. */
  pause(): void {
    const c = this.connection
    if (c === null || this.paused) return
    this.paused = true
    c.readDisable()
  }

  resume(): void {
    const c = this.connection
    if (c === null || !this.paused) return
    this.paused = false
    c.readEnable()
  }

  /** Gives up, whatever state it is in. The owner hears nothing more. */
  cancel(): void {
    if (this.over) return
    this.over = true
    if (this.cluster.latencyDecayMs !== 0 && !this.responseStarted) this.noteLatency(-1)
    if (this.counted) this.leave(false)
    else this.pool.cancel(this)
  }

  /**
   * `cancel` for a response of which the headers were enough. A short rest of it is read in the background, so that the connection can be used again: an
   * endpoint that fails would otherwise get a new one for each retry. The owner hears nothing more.
   */
  discard(): void {
    const c = this.connection
    if (this.over || c === null || !this.requestEnded || c.bodyLength > MAX_DISCARDED_BYTES) {
      this.cancel()
      return
    }
    this.over = true
    this.discarded = 0
    this.settle()
    // Without a body the end comes in this event.
    if (!c.hasBody) return
    this.discarding = new Deadline(this, 0)
    this.pool.io.timers.arm(this.discarding, DISCARD_MS)
  }

  private endDiscarding(complete: boolean): void {
    const c = this.connection
    this.discarded = -1
    this.connection = null
    if (this.discarding !== null) this.pool.io.timers.cancel(this.discarding)
    if (c !== null) c.release(complete)
  }

  onDeadline(): void {
    if (this.discarded >= 0) this.endDiscarding(false)
  }

  abandon(): void {
    const c = this.connection
    if (c !== null) c.abandon()
  }

  private leave(complete: boolean): void {
    const c = this.connection
    this.settle()
    this.connection = null
    if (c !== null) c.release(complete)
  }

  private settle(): void {
    if (!this.counted) return
    this.counted = false
    this.host.remove(ACTIVE)
    this.pool.requestDone()
  }
}
