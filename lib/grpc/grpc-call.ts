// One gRPC call as a stream of messages both ways. Unary calls are made of it (grpc-channel.ts).
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import { constants } from 'node:http2'
import { codeOfHttpStatus, codeOfReset, GRPC, GrpcError, grpcStatusName, http2CodeName } from './grpc-error.ts'
import type { GrpcSession } from './grpc-session.ts'
import { framed, MessageReader } from './message-framing.ts'
import { statusOf } from './metadata.ts'

/** Messages that nobody has asked for yet may take this much before reading stops and the server's window closes. */
const MAX_QUEUED_BYTES = 1024 * 1024
/** What a message costs besides its bytes, so that a flood of empty ones is noticed. */
const MESSAGE_COST = 64

interface Waiter {
  resolve(result: IteratorResult<Buffer, undefined>): void
  reject(error: GrpcError): void
}

/**
 * Reading: `for await (const message of call)`, or `next()` with one outstanding at a time. It ends when the server says OK, and throws
 * GrpcError for all else; messages that came before are given out first. Leaving the loop cancels the call.
 *
 * Writing: `send` and `end`, at any time; what is sent before the connection is there waits in memory.
 */
export class GrpcCall implements AsyncIterableIterator<Buffer, undefined> {
  #session: GrpcSession | null
  #stream: ClientHttp2Stream | null
  /** Sent before there was a stream. */
  #early: Buffer[]
  #halfClosed: boolean
  readonly #reader: MessageReader
  readonly #messages: Buffer[]
  #queuedBytes: number
  #waiter: Waiter | null
  /** Status of trailers, or of a response that was trailers only. */
  #status: { readonly code: number; readonly message: string } | null
  /** Why this side ended the call before the server did. */
  #fault: GrpcError | null
  /** Set once: the outcome. */
  #outcome: GrpcError | 'OK' | null
  readonly #onEnd: (outcome: GrpcError | 'OK') => void

  /** Made by GrpcChannel. `onEnd` is called once, whether anybody reads or not. */
  constructor(maxMessageBytes: number, onEnd: (outcome: GrpcError | 'OK') => void) {
    this.#session = null
    this.#stream = null
    this.#early = []
    this.#halfClosed = false
    this.#reader = new MessageReader(maxMessageBytes, (message) => this.#onMessage(message))
    this.#messages = []
    this.#queuedBytes = 0
    this.#waiter = null
    this.#status = null
    this.#fault = null
    this.#outcome = null
    this.#onEnd = onEnd
  }

  /** The call is over; messages may still wait to be read. */
  get ended(): boolean {
    return this.#outcome !== null
  }

  /** False when the server is slow to take what was sent; it is sent all the same. Nothing happens after the end. */
  send(message: Uint8Array): boolean {
    if (this.#outcome !== null || this.#halfClosed) return true
    if (this.#stream !== null) return this.#stream.write(framed(message))
    this.#early.push(framed(message))
    return true
  }

  /** No further message from this side. */
  end(): void {
    if (this.#halfClosed) return
    this.#halfClosed = true
    this.#stream?.end()
  }

  /** Ends the call with CANCELLED, or with the error that is given. What has come and was not read is dropped. */
  cancel(error: GrpcError = new GrpcError(GRPC.CANCELLED, 'the call was cancelled')): void {
    if (this.#outcome !== null) return
    this.#messages.length = 0
    this.#fault ??= error
    this.#finish(error)
    this.#stream?.close(constants.NGHTTP2_CANCEL)
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    const message = this.#messages.shift()
    if (message !== undefined) {
      this.#queuedBytes -= message.length + MESSAGE_COST
      if (this.#queuedBytes <= MAX_QUEUED_BYTES && this.#stream?.isPaused() === true) this.#stream.resume()
      return Promise.resolve({ done: false, value: message })
    }
    if (this.#outcome === 'OK') return Promise.resolve({ done: true, value: undefined })
    if (this.#outcome !== null) return Promise.reject(this.#outcome)
    if (this.#waiter !== null) return Promise.reject(new Error('one next() at a time'))
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject }
    })
  }

  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.cancel()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Called by the channel when the connection is there; not after the end. */
  attach(session: GrpcSession, stream: ClientHttp2Stream): void {
    this.#session = session
    this.#stream = stream
    stream.on('response', (headers, flags) => this.#onResponse(headers, flags))
    stream.on('trailers', (headers) => this.#onTrailers(headers))
    stream.on('data', (chunk: Buffer) => this.#onData(chunk))
    // What an error says is in rstCode and in the session; `close` follows it always.
    stream.on('error', () => {})
    stream.on('end', () => this.#onServerEnd(stream))
    stream.on('close', () => this.#onClose(stream))
    for (const message of this.#early) stream.write(message)
    this.#early = []
    if (this.#halfClosed) stream.end()
  }

  #onResponse(headers: IncomingHttpHeaders, flags: number): void {
    const status = headers[':status'] as number | undefined
    const type = headers['content-type']
    const isGrpc = typeof type === 'string' && /^application\/grpc(?:[+;]|$)/i.test(type)
    // Trailers-Only. A grpc-status in headers that more follows is none.
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) this.#status = statusOf(headers) ?? null
    if (this.#status !== null && (isGrpc || type === undefined)) return
    if (status !== 200) {
      this.#fail(new GrpcError(codeOfHttpStatus(status ?? 0), `the server answered with HTTP status ${status}`))
    } else if (!isGrpc) {
      this.#fail(new GrpcError(GRPC.UNKNOWN, `the answer is ${JSON.stringify(type ?? 'of no content-type')}, not gRPC`))
    }
  }

  #onTrailers(headers: IncomingHttpHeaders): void {
    this.#status = statusOf(headers) ?? null
  }

  #onData(chunk: Buffer): void {
    if (this.#fault !== null || this.#outcome !== null) return
    const fault = this.#reader.push(chunk)
    if (fault !== null) this.#fail(fault)
    else if (this.#queuedBytes > MAX_QUEUED_BYTES) this.#stream?.pause()
  }

  #onMessage(message: Buffer): void {
    const waiter = this.#waiter
    if (waiter !== null) {
      this.#waiter = null
      waiter.resolve({ done: false, value: message })
      return
    }
    this.#messages.push(message)
    this.#queuedBytes += message.length + MESSAGE_COST
  }

  /** Something about the answer is wrong: the rest is not read. */
  #fail(fault: GrpcError): void {
    if (this.#fault !== null) return
    this.#fault = fault
    this.#stream?.close(constants.NGHTTP2_CANCEL)
    this.#finish(fault)
  }

  /** The server has said all that it will. Not each of them takes the other direction back, without which the stream would stay (RFC 9113 §8.1). */
  #onServerEnd(stream: ClientHttp2Stream): void {
    if (this.#halfClosed || this.#outcome !== null) return
    if (this.#status !== null) this.#finish(this.#judge(stream))
    stream.close(constants.NGHTTP2_NO_ERROR)
  }

  #onClose(stream: ClientHttp2Stream): void {
    if (this.#outcome === null) this.#finish(this.#judge(stream))
  }

  #judge(stream: ClientHttp2Stream): GrpcError | 'OK' {
    const status = this.#status
    if (status !== null) {
      if (status.code !== GRPC.OK) return new GrpcError(status.code, status.message || 'no message', { fromServer: true })
      return this.#reader.within ? new GrpcError(GRPC.INTERNAL, 'the answer ended within a message') : 'OK'
    }
    const reset = stream.rstCode ?? 0
    if (reset === constants.NGHTTP2_REFUSED_STREAM) {
      return new GrpcError(GRPC.UNAVAILABLE, 'the server refused the call', { refused: true })
    }
    // Node resets the streams of a connection that has ended, with codes of its own.
    const ended = this.#session?.endedBecause ?? null
    if (ended !== null) {
      const announced = this.#session?.announcedEnd ?? false
      return new GrpcError(GRPC.UNAVAILABLE, `the connection ended: ${ended}`, { announced })
    }
    if (reset !== constants.NGHTTP2_NO_ERROR) {
      const code = codeOfReset(reset)
      return new GrpcError(code, `the server reset the call with ${http2CodeName(reset)}`)
    }
    return new GrpcError(GRPC.UNKNOWN, 'the answer ended without a grpc-status')
  }

  #finish(outcome: GrpcError | 'OK'): void {
    if (this.#outcome !== null) return
    this.#outcome = outcome
    this.#early = []
    const waiter = this.#waiter
    this.#waiter = null
    this.#onEnd(outcome)
    if (waiter === null) return
    if (outcome === 'OK') waiter.resolve({ done: true, value: undefined })
    else waiter.reject(outcome)
  }
}

/** For messages: `UNAVAILABLE: the connection ended`. */
export function callErrorText(error: unknown): string {
  if (error instanceof GrpcError) return `${grpcStatusName(error.code)}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}
