// A gRPC client: calls to one server over one HTTP/2 connection that is made when it is needed. For the main thread: what carries
// little and has to be right, such as certificates and configuration.
import type { GrpcAddress, GrpcTls } from './grpc-address.ts'
import { GrpcCall } from './grpc-call.ts'
import { GRPC, GrpcError } from './grpc-error.ts'
import type { GrpcSession, SessionTerms } from './grpc-session.ts'
import { openSession } from './grpc-session.ts'
import type { Metadata } from './metadata.ts'
import { addMetadata, timeoutText } from './metadata.ts'

export interface GrpcChannelOptions {
  readonly address: GrpcAddress
  /** Null: plaintext. Asked before each connection; what it throws fails the call with UNAVAILABLE and is its message. */
  readonly tls: (() => Promise<GrpcTls>) | null
  /** `:authority`; default: the TLS server name or the host, with the port, and `localhost` for a unix socket. */
  readonly authority?: string
  readonly userAgent?: string
  /** Default 10 s, with TLS and the server's SETTINGS. */
  readonly connectTimeoutMs?: number
  /** Between PINGs while a call is open; default 30 s, as Istio's agent. Servers of grpc-go close the connection below 10 s. */
  readonly keepaliveMs?: number
  /** For the answer to a PING; default 10 s. */
  readonly keepaliveTimeoutMs?: number
  /** How long a connection without calls is kept; default 30 s. */
  readonly idleMs?: number
  /** Longest message that is taken; default 64 MB. */
  readonly maxMessageBytes?: number
}

export interface CallOptions {
  /** From now to the end of the call, connecting included. Sent as grpc-timeout, and kept on this side too. Default: none. */
  readonly deadlineMs?: number
  readonly metadata?: Metadata
  /** Ends the call with CANCELLED. */
  readonly signal?: AbortSignal
}

const DEFAULTS = { connectTimeoutMs: 10_000, keepaliveMs: 30_000, keepaliveTimeoutMs: 10_000, idleMs: 30_000 }
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024
/** setTimeout takes no more; nobody waits for 24 days. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Calls share a connection; after a GOAWAY, or when it broke, the next call makes a new one. A connection that cannot be made fails the
 * calls that wait for it with UNAVAILABLE at once: when to try again is for the caller to say (base/backoff.ts).
 */
export class GrpcChannel {
  readonly #options: GrpcChannelOptions
  readonly #closing: AbortController
  readonly #calls: Set<GrpcCall>
  readonly #sessions: Set<GrpcSession>
  #current: GrpcSession | null
  #connecting: Promise<GrpcSession> | null
  #keepaliveMs: number

  constructor(options: GrpcChannelOptions) {
    this.#options = options
    this.#closing = new AbortController()
    this.#calls = new Set()
    this.#sessions = new Set()
    this.#current = null
    this.#connecting = null
    this.#keepaliveMs = options.keepaliveMs ?? DEFAULTS.keepaliveMs
  }

  /** One message each way. Tried once more when the server certainly did nothing for it (gRFC A6). Rejects with GrpcError. */
  async unary(path: string, message: Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    const until = performance.now() + (options.deadlineMs ?? Number.POSITIVE_INFINITY)
    try {
      return await this.#only(path, message, options)
    } catch (error) {
      if (!(error instanceof GrpcError && error.refused)) throw error
      const left = until - performance.now()
      return await this.#only(path, message, left === Number.POSITIVE_INFINITY ? options : { ...options, deadlineMs: left })
    }
  }

  /** One message, answered by any number. */
  serverStream(path: string, message: Uint8Array, options: CallOptions = {}): GrpcCall {
    const call = this.bidi(path, options)
    call.send(message)
    call.end()
    return call
  }

  /** Any number of messages each way. Returns at once; what goes wrong is thrown to who reads the call. */
  bidi(path: string, options: CallOptions = {}): GrpcCall {
    const { deadlineMs, signal } = options
    const onAbort = (): void => call.cancel()
    const call = new GrpcCall(this.#options.maxMessageBytes ?? MAX_MESSAGE_BYTES, () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      this.#calls.delete(call)
    })
    const until = performance.now() + (deadlineMs ?? Number.POSITIVE_INFINITY)
    const timer =
      deadlineMs === undefined
        ? undefined
        : setTimeout(() => call.cancel(late(deadlineMs)), Math.min(Math.max(deadlineMs, 0), MAX_TIMER_MS))
    this.#calls.add(call)
    if (this.#closing.signal.aborted) call.cancel(closed())
    else if (signal?.aborted === true) call.cancel()
    else {
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#begin(call, path, options.metadata ?? {}, until).catch((error) => call.cancel(asGrpcError(error)))
    }
    return call
  }

  /** Cancels all calls and closes the connection. Calls made later fail. */
  close(): void {
    this.#closing.abort()
    for (const call of this.#calls) call.cancel(closed())
    for (const session of this.#sessions) session.destroy('the channel was closed')
  }

  async #only(path: string, message: Uint8Array, options: CallOptions): Promise<Buffer> {
    const call = this.serverStream(path, message, options)
    let answer: Buffer | null = null
    for await (const m of call) {
      // grpc/grpc doc/statuscodes.md: response cardinality violation.
      if (answer !== null) throw new GrpcError(GRPC.UNIMPLEMENTED, 'more than one message came, expected one')
      answer = m
    }
    if (answer === null) throw new GrpcError(GRPC.UNIMPLEMENTED, 'no message came, expected one')
    return answer
  }

  async #begin(call: GrpcCall, path: string, metadata: Metadata, until: number): Promise<void> {
    const headers: Record<string, string> = {
      ':method': 'POST',
      ':scheme': this.#options.tls === null ? 'http' : 'https',
      ':path': path,
      ':authority': '',
      te: 'trailers',
      'content-type': 'application/grpc',
      'user-agent': this.#options.userAgent ?? 'heddle',
    }
    const fault = addMetadata(headers, metadata)
    if (fault !== null) throw fault
    const session = await this.#session()
    if (call.ended) return session.touch()
    headers[':authority'] = session.authority
    if (until !== Number.POSITIVE_INFINITY) headers['grpc-timeout'] = timeoutText(until - performance.now())
    call.attach(session, session.request(headers))
  }

  async #session(): Promise<GrpcSession> {
    if (this.#current?.usable === true) return this.#current
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null
    })
    const session = await this.#connecting
    // It may have ended between its first bytes and now.
    if (session.usable) return session
    throw new GrpcError(GRPC.UNAVAILABLE, `the connection ended: ${session.endedBecause ?? 'the server takes no calls'}`)
  }

  async #connect(): Promise<GrpcSession> {
    const { address, tls } = this.#options
    const terms: SessionTerms = {
      address,
      tls: tls === null ? null : await tls(),
      authority: this.#options.authority ?? null,
      connectTimeoutMs: this.#options.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs,
      keepaliveMs: this.#keepaliveMs,
      keepaliveTimeoutMs: this.#options.keepaliveTimeoutMs ?? DEFAULTS.keepaliveTimeoutMs,
      idleMs: this.#options.idleMs ?? DEFAULTS.idleMs,
      onEnd: (session) => this.#sessions.delete(session),
      // gRFC A8: a client that is told so waits twice as long.
      onTooManyPings: () => {
        this.#keepaliveMs *= 2
      },
    }
    const session = await openSession(terms, this.#closing.signal)
    this.#sessions.add(session)
    this.#current = session
    return session
  }
}

function late(deadlineMs: number): GrpcError {
  return new GrpcError(GRPC.DEADLINE_EXCEEDED, `no end in ${Math.round(deadlineMs)} ms`)
}

function closed(): GrpcError {
  return new GrpcError(GRPC.CANCELLED, 'the channel was closed')
}

function asGrpcError(error: unknown): GrpcError {
  if (error instanceof GrpcError) return error
  return new GrpcError(GRPC.UNAVAILABLE, error instanceof Error ? error.message : String(error))
}
