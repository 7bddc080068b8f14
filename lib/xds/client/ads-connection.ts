// Keeps a stream to the control plane: makes it, waits and makes it again. What is said on it is the client's (ads-client.ts).
import { Backoff, type BackoffTerms } from '../../base/backoff.ts'
import { type Pause, pauseByClock } from '../../base/pause.ts'
import type { Rng } from '../../base/rng.ts'
import { addressText, type GrpcAddress, type GrpcTls } from '../../grpc/grpc-address.ts'
import type { GrpcCall } from '../../grpc/grpc-call.ts'
import { GrpcChannel } from '../../grpc/grpc-channel.ts'
import { GRPC, GrpcError } from '../../grpc/grpc-error.ts'
import type { Metadata } from '../../grpc/metadata.ts'
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import type { AdsStatus } from './ads-status.ts'
import { type StreamEnd, streamEnd } from './stream-end.ts'

export interface AdsLog {
  debug(message: string): void
  info(message: string): void
  warning(message: string): void
}

export interface ConnectionTerms {
  readonly address: GrpcAddress
  /** Null: plaintext. Asked before each connection. */
  readonly tls: (() => Promise<GrpcTls>) | null
  /** Of the call; asked before each stream, since tokens are renewed in place. What it throws counts as a failed try. */
  readonly metadata: () => Promise<Metadata>
  readonly log: AdsLog
  readonly rng: Rng
  readonly userAgent: string
  /** Default: ztunnel's, 10 ms doubling to 15 s. */
  readonly backoff?: BackoffTerms
  /** Between PINGs; default 30 s, as Istio's agent. istiod ends connections of clients that send them oftener than each 15 s. */
  readonly keepaliveMs?: number
  /** For the answer to a PING; default 10 s. */
  readonly keepaliveTimeoutMs?: number
  /** Default 200 MiB, as ztunnel. */
  readonly maxMessageBytes?: number
  readonly pause?: Pause
  /** Epoch ms. */
  readonly wallMs?: () => number
}

/** Whose the stream is. */
export interface StreamOwner {
  readonly path: string
  /** A stream begins: what is said first. It may not be there yet; then it waits in memory. */
  onOpen(): readonly Uint8Array[]
  /** Throws ProtobufError when the control plane makes no sense: the stream is given up. */
  onMessage(message: Buffer): void
  /** The first message has come. */
  onAnswered(): void
  /** @param failed what came was a fault of the connection, of the server or of what it said */
  onEnd(failed: boolean): void
}

/** A stream that answers and is gone sooner than this is of little use: one after the other would keep both sides, and the log, busy. */
const SHORT_MS = 1000
const BACKOFF: BackoffTerms = { initialMs: 10, maxMs: 15_000, factor: 2, jitter: 0.2 }
const KEEPALIVE_MS = 30_000
const KEEPALIVE_TIMEOUT_MS = 10_000
const MAX_MESSAGE_BYTES = 200 * 1024 * 1024

export class AdsConnection {
  state: AdsStatus['state']
  sinceMs: number
  lastError: string
  streams: number
  readonly #terms: ConnectionTerms
  readonly #owner: StreamOwner
  readonly #backoff: Backoff
  /** Of streams that were short, one after the other. */
  readonly #shortness: Backoff
  /** When the stream answered first; monotonic ms. */
  #answeredMs: number
  readonly #ending: AbortController
  readonly #where: string
  #call: GrpcCall | null
  /** Said before the token had been read. */
  readonly #early: Uint8Array[]
  #done: Promise<void>

  constructor(terms: ConnectionTerms, owner: StreamOwner) {
    this.state = 'stopped'
    this.sinceMs = 0
    this.lastError = ''
    this.streams = 0
    this.#terms = terms
    this.#owner = owner
    this.#backoff = new Backoff(terms.backoff ?? BACKOFF, terms.rng)
    this.#shortness = new Backoff(terms.backoff ?? BACKOFF, terms.rng)
    this.#answeredMs = 0
    this.#ending = new AbortController()
    this.#where = `control plane ${addressText(terms.address)}`
    this.#call = null
    this.#early = []
    this.#done = Promise.resolve()
  }

  get failures(): number {
    return this.#backoff.failures
  }

  /** Once. */
  start(): void {
    this.sinceMs = this.#nowMs()
    this.#done = this.#run()
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    this.#call?.cancel()
    await this.#done
    this.state = 'stopped'
  }

  /** Between onOpen and onEnd. */
  send(message: Uint8Array): void {
    if (this.#call === null) this.#early.push(message)
    else this.#call.send(message)
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      this.state = 'connecting'
      const end = await this.#stream()
      if (signal.aborted) return
      const wasConnected = this.#wasConnected()
      if (wasConnected) this.sinceMs = this.#nowMs()
      this.state = 'waiting'
      if (!end.isFault) this.#backoff.reset()
      const waitMs = Math.max(this.#backoff.nextMs(), wasConnected ? this.#shortnessMs() : 0)
      this.#tell(end, waitMs)
      await (this.#terms.pause ?? pauseByClock)(waitMs, signal).catch(() => {})
    }
  }

  #shortnessMs(): number {
    if (performance.now() - this.#answeredMs < SHORT_MS) return this.#shortness.nextMs()
    this.#shortness.reset()
    return 0
  }

  /** One stream, from its beginning to its end. A channel of its own: behind one name there may be many servers, and the next may be better. */
  async #stream(): Promise<StreamEnd> {
    const { address, tls, userAgent, keepaliveMs = KEEPALIVE_MS, keepaliveTimeoutMs = KEEPALIVE_TIMEOUT_MS } = this.#terms
    const { maxMessageBytes = MAX_MESSAGE_BYTES } = this.#terms
    const first = this.#owner.onOpen()
    this.streams++
    let channel: GrpcChannel | null = null
    let end = streamEnd(null, false)
    try {
      const metadata = await this.#terms.metadata()
      if (this.#ending.signal.aborted) return end
      channel = new GrpcChannel({ address, tls, userAgent, maxMessageBytes, keepaliveMs, keepaliveTimeoutMs })
      const call = channel.bidi(this.#owner.path, { metadata })
      this.#call = call
      for (const message of [...first, ...this.#early]) call.send(message)
      this.#early.length = 0
      // Not `for await`: while it waits for the next message it would keep the last one, which may be of megabytes.
      while (await call.next().then((result) => this.#takes(result))) {
        // All of it is done by whoever takes it.
      }
      end = streamEnd(null, this.#wasConnected())
    } catch (error) {
      end = streamEnd(error, this.#wasConnected())
    } finally {
      this.#call?.cancel()
      this.#call = null
      this.#early.length = 0
      channel?.close()
      this.#owner.onEnd(end.isFault && !this.#ending.signal.aborted)
    }
    return end
  }

  /** False: there is no further one. */
  #takes({ done, value }: IteratorResult<Buffer, undefined>): boolean {
    if (done === true) return false
    this.#onMessage(value)
    return true
  }

  #onMessage(message: Buffer): void {
    if (!this.#wasConnected()) {
      this.state = 'connected'
      this.#answeredMs = performance.now()
      this.sinceMs = this.#nowMs()
      if (this.lastError !== '') this.#terms.log.info(`${this.#where}: it answers`)
      this.lastError = ''
      this.#owner.onAnswered()
    }
    try {
      this.#owner.onMessage(message)
    } catch (error) {
      if (!(error instanceof ProtobufError)) throw error
      throw new GrpcError(GRPC.INTERNAL, `a message is no response of the protocol: ${error.message}`)
    }
    // It makes sense: the next stream need not wait for what went wrong before.
    this.#backoff.reset()
  }

  #tell(end: StreamEnd, waitMs: number): void {
    const { log } = this.#terms
    if (end.isExpected) {
      log.info(`${this.#where}: ${end.text}; connecting again in ${waitMs} ms`)
      return
    }
    const line = `${this.#where}: ${end.text}; trying again, and what is in force stays so`
    // The same each 15 s would hide what else the log says.
    if (end.text === this.lastError) log.debug(line)
    else log.warning(line)
    this.lastError = end.text
  }

  /** A method, since the compiler takes a field for what it was before an await. */
  #wasConnected(): boolean {
    return this.state === 'connected'
  }

  #nowMs(): number {
    return (this.#terms.wallMs ?? Date.now)()
  }
}
