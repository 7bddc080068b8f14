// The SPIFFE Workload API as a source: an agent on the same machine says which certificates this workload has, and says it anew
// whenever that changes (SPIFFE_Workload_API.md §4, §5).
import { Backoff, type BackoffTerms } from '../../base/backoff.ts'
import { type Pause, pauseByClock } from '../../base/pause.ts'
import type { Rng } from '../../base/rng.ts'
import { addressText, type GrpcAddress } from '../../grpc/grpc-address.ts'
import { GrpcChannel } from '../../grpc/grpc-channel.ts'
import { GRPC, GrpcError } from '../../grpc/grpc-error.ts'
import { ProtobufError } from '../../grpc/protobuf-fields.ts'
import { type DeliveringSource, type Delivery, type DeliverySink, SourceError } from './certificate-source.ts'
import { readX509SvidResponse } from './svid-delivery.ts'

export interface WorkloadApiOptions {
  /** Of `parseWorkloadEndpoint`. Plaintext: the agent knows its callers by their process. */
  readonly address: GrpcAddress
  /** The SVID with this hint is the workload's own; null: the first. */
  readonly hint: string | null
  readonly rng: Rng
  /** Default: from 1 s, doubled up to 30 s, jitter 0.2. */
  readonly backoff?: BackoffTerms
  readonly pause?: Pause
  /** Monotonic, ms; default `performance.now`. */
  readonly now?: () => number
}

const METHOD = '/SpiffeWorkloadAPI/FetchX509SVID'
/** Its absence is answered with InvalidArgument: it keeps a browser from being sent here. */
const METADATA = { 'workload.spiffe.io': 'true' }
const BACKOFF: BackoffTerms = { initialMs: 1000, maxMs: 30_000, factor: 2, jitter: 0.2 }
/** A federation's bundles in one message. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024
/** Named in one message. */
const MAX_FAULTS = 12
const NOTHING: Delivery = { certificates: [], bundles: [] }

/** How one stream ended: `again` at once, after a `wait`, or never. */
type End = 'again' | 'wait' | 'never'

export class WorkloadApiSource implements DeliveringSource {
  readonly kind: 'delivers'
  readonly name: string
  readonly #options: WorkloadApiOptions
  readonly #channel: GrpcChannel
  readonly #closing: AbortController
  readonly #backoff: Backoff
  readonly #terms: BackoffTerms
  /** What was delivered last holds something. */
  #holds: boolean

  constructor(options: WorkloadApiOptions) {
    this.kind = 'delivers'
    this.name = `SPIFFE Workload API ${addressText(options.address)}`
    this.#options = options
    this.#channel = new GrpcChannel({ address: options.address, tls: null, maxMessageBytes: MAX_MESSAGE_BYTES })
    this.#closing = new AbortController()
    this.#terms = options.backoff ?? BACKOFF
    this.#backoff = new Backoff(this.#terms, options.rng)
    this.#holds = false
  }

  start(sink: DeliverySink): void {
    void this.#run(sink)
  }

  close(): void {
    this.#closing.abort()
    this.#channel.close()
  }

  async #run(sink: DeliverySink): Promise<void> {
    const { pause = pauseByClock } = this.#options
    while (!this.#closing.signal.aborted) {
      const end = await this.#stream(sink)
      if (end === 'never') return
      if (end === 'again') continue
      try {
        await pause(this.#backoff.nextMs(), this.#closing.signal)
      } catch {
        return
      }
    }
  }

  /** One call to its end. Each message of it is the whole state. */
  async #stream(sink: DeliverySink): Promise<End> {
    const { now = () => performance.now() } = this.#options
    const begun = now()
    let delivered = false
    try {
      for await (const message of this.#channel.serverStream(METHOD, new Uint8Array(0), { metadata: METADATA })) {
        if (this.#deliver(sink, message)) {
          delivered = true
          this.#backoff.reset()
        }
      }
      if (!delivered) this.#failed(sink, 'unavailable', 'it ended the call without an answer of use')
    } catch (error) {
      if (this.#closing.signal.aborted) return 'never'
      if (!(error instanceof GrpcError)) throw error
      // An agent that is restarted has told us all it knew: only when it does not come back is there something to say.
      if (!delivered || error.code !== GRPC.UNAVAILABLE) return this.#onError(sink, error)
    }
    // §5.1: at once, then with back-off. One that ends each stream as soon as it began is waited for.
    return delivered && now() - begun >= this.#terms.initialMs ? 'again' : 'wait'
  }

  #deliver(sink: DeliverySink, message: Uint8Array): boolean {
    try {
      const { delivery, faults } = readX509SvidResponse(message, this.#options.hint)
      if (delivery !== null) {
        this.#holds = true
        sink.deliver(delivery)
      }
      // Behind the delivery: what was left out of it is still so.
      if (faults.length > 0) this.#failed(sink, 'invalid', listed(faults))
      return delivery !== null
    } catch (error) {
      if (!(error instanceof ProtobufError)) throw error
      this.#failed(sink, 'invalid', `the answer is no X509SVIDResponse: ${error.message}`)
      return false
    }
  }

  /** §5.2: what each status asks of a client. */
  #onError(sink: DeliverySink, error: GrpcError): End {
    const said = `${error.name}: ${error.message}`
    if (!error.fromServer) this.#failed(sink, 'unavailable', said)
    else if (error.code === GRPC.PERMISSION_DENIED) {
      if (this.#holds) sink.deliver(NOTHING)
      this.#failed(
        sink,
        'refused',
        `${said}; it knows no identity for this workload${this.#holds ? ', and what it gave is dropped' : ''}`,
      )
      this.#holds = false
    } else if (error.code === GRPC.INVALID_ARGUMENT) {
      this.#failed(sink, 'refused', `${said}; it is not asked again`)
      return 'never'
    } else if (error.code === GRPC.UNIMPLEMENTED) {
      this.#failed(sink, 'refused', `${said}; it gives no X.509 certificates and is not asked again`)
      return 'never'
    } else this.#failed(sink, 'unavailable', said)
    return 'wait'
  }

  #failed(sink: DeliverySink, kind: SourceError['kind'], what: string): void {
    sink.failed(new SourceError(kind, `${this.name}: ${what}`))
  }
}

/** One line of many faults. */
function listed(faults: readonly string[]): string {
  const first = faults.slice(0, MAX_FAULTS).join('; ')
  return faults.length > MAX_FAULTS ? `${first}; and ${faults.length - MAX_FAULTS} more` : first
}
