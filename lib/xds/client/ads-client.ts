// The client of a control plane: one stream for all types (aggregated discovery service). Keeps what was accepted; says what is wanted, what came and how it stands.
//
// A response is compared with what is held (held-resources.ts), told to the consumer, taken but for its faults, and answered; then what the consumer has subscribed
// to meanwhile is asked for. All of it within the event that brought the message: no two updates overlap.
import { Backoff } from '../../base/backoff.ts'
import { addressText } from '../../grpc/grpc-address.ts'
import type { ControlPlaneMetrics } from '../../telemetry/control-plane-metrics.ts'
import type { Node } from '../proto/core.ts'
import { AdsConnection, type ConnectionTerms } from './ads-connection.ts'
import type { AdsStatus, TypeStatus } from './ads-status.ts'
import { DeltaStream } from './delta-stream.ts'
import { type DiscoveryProtocol, type DiscoveryStream, type Incoming, STREAM_PATHS } from './discovery-stream.ts'
import { DormantResources } from './dormant-resources.ts'
import { HeldResources } from './held-resources.ts'
import { Lifetimes, type Schedule, scheduleByClock } from './lifetimes.ts'
import { nackText } from './nack-text.ts'
import type { ResourceCache } from './resource-cache.ts'
import { shortTypeName } from './resource-types.ts'
import type { ResourceFault, ResourceUpdate, UpdateConsumer, XdsResource } from './resource-update.ts'
import { StateOfTheWorldStream } from './sotw-stream.ts'
import { type Interest, type Subscription, Subscriptions } from './subscriptions.ts'
import { TypeProgress } from './type-progress.ts'

export interface AdsClientOptions extends ConnectionTerms {
  readonly protocol: DiscoveryProtocol
  readonly node: Node
  readonly onUpdate: UpdateConsumer
  /** Connected, or no longer: `status` says more. */
  readonly onConnection?: (connected: boolean) => void
  readonly schedule?: Schedule
  /** What was held when the process ended is in force until the control plane has answered. Default: none. */
  readonly cache?: ResourceCache | null
}

/** A control plane that sends the same again at each NACK would keep both sides busy: from the next one in a row on they wait. */
const NACKS_AT_ONCE = 3
const MAX_LINE_CHARS = 4096
const NACK_PAUSE = { initialMs: 1000, maxMs: 30_000, factor: 2, jitter: 0.2 }

export class AdsClient {
  readonly #options: AdsClientOptions
  readonly #subscriptions: Subscriptions
  readonly #held: HeldResources
  readonly #progress: Map<string, TypeProgress>
  readonly #lifetimes: Lifetimes
  readonly #connection: AdsConnection
  readonly #schedule: Schedule
  #stream: DiscoveryStream | null
  #controlPlane: string
  /** On this stream. */
  #introduced: boolean
  #dormant: DormantResources
  #metrics: ControlPlaneMetrics | null
  /** What was told of the application last: null: that it is well; undefined: nothing. */
  #health: string | null | undefined
  /** The consumer is being told: what it subscribes to is sent behind the answer. */
  #telling: boolean

  constructor(options: AdsClientOptions) {
    this.#options = options
    this.#subscriptions = new Subscriptions()
    this.#held = new HeldResources()
    this.#progress = new Map()
    this.#schedule = options.schedule ?? scheduleByClock
    this.#lifetimes = new Lifetimes(this.#schedule, (typeUrl, name) => this.#onExpired(typeUrl, name))
    this.#stream = null
    this.#controlPlane = ''
    this.#introduced = false
    this.#dormant = new DormantResources([])
    this.#metrics = null
    this.#health = undefined
    this.#telling = false
    this.#connection = new AdsConnection(options, {
      path: STREAM_PATHS[options.protocol],
      onOpen: () => this.#onOpen(),
      onMessage: (message) => this.#onMessage(message),
      onAnswered: () => this.#onAnswered(),
      onEnd: (failed) => this.#onEnd(failed),
    })
  }

  /** It is counted from now on. */
  measure(metrics: ControlPlaneMetrics): void {
    this.#metrics = metrics
  }

  /** Connects, and again whenever the connection ends. What is on disk of what is wanted is told before it returns. */
  start(): void {
    const cached = this.#options.cache?.load() ?? []
    this.#dormant = new DormantResources(cached)
    if (cached.length > 0) {
      const savedAt = new Date(Math.min(...cached.map((c) => c.savedAtMs))).toISOString()
      this.#options.log.info(`resources of ${savedAt} are taken from disk until the control plane answers`)
    }
    this.#settle()
    this.#connection.start()
  }

  /** For good. What is held stays readable. */
  async stop(): Promise<void> {
    await this.#connection.stop()
    await this.#options.cache?.flush()
    this.#lifetimes.clear()
  }

  /** All resources of the type, or those with the names; in place of what was wanted of it before. */
  subscribe(typeUrl: string, wanted: 'wildcard' | 'on-demand' | ReadonlySet<string>): void {
    if (typeof wanted === 'string') this.#want(typeUrl, wanted, new Set())
    else this.#want(typeUrl, 'names', wanted)
  }

  /**
   * The names that are wanted from now on, all of them; of a type that is asked for on demand it stays so. What is held of names that are
   * given up is forgotten, and no update tells of it.
   */
  setNames(typeUrl: string, names: Iterable<string>): void {
    const before = this.#subscriptions.get(typeUrl)
    const interest = before?.interest === 'on-demand' ? 'on-demand' : 'names'
    const wanted = new Set(names)
    // Mostly the same thousands as before.
    if (before?.interest === interest && before.names.size === wanted.size && isWithin(wanted, before.names)) return
    this.#want(typeUrl, interest, wanted)
  }

  /** What is held of the type is forgotten. */
  unsubscribe(typeUrl: string): void {
    this.#subscriptions.delete(typeUrl)
    this.#held.forget(typeUrl)
    this.#progress.get(typeUrl)?.dropAnswer()
    this.#progress.delete(typeUrl)
    this.#settle()
  }

  /** What is wrong with the application; null: nothing. Told now, and to each further stream behind its requests. */
  reportHealth(problem: string | null): void {
    this.#health = problem
    if (this.#stream !== null) this.#connection.send(this.#stream.health(problem))
  }

  /** Accepted and not removed, by name. */
  resources(typeUrl: string): ReadonlyMap<string, XdsResource> {
    return this.#held.of(typeUrl).resources
  }

  /** Who we are to it. */
  get node(): Node {
    return this.#options.node
  }

  get status(): AdsStatus {
    const { address, node, protocol } = this.#options
    const { state, sinceMs, lastError, streams, failures } = this.#connection
    return {
      address: addressText(address),
      nodeId: node.id,
      protocol,
      state,
      sinceMs,
      lastError,
      controlPlane: this.#controlPlane,
      streams,
      failures,
      types: this.#subscriptions.types.map(([typeUrl, subscription]) => this.#typeStatus(typeUrl, subscription)),
    }
  }

  #want(typeUrl: string, interest: Interest, names: ReadonlySet<string>): void {
    const before = this.#subscriptions.get(typeUrl)?.names ?? new Set()
    this.#subscriptions.set(typeUrl, interest, names)
    const isWanted = (own: readonly string[]): boolean => own.some((name) => names.has(name))
    if (interest === 'names') this.#held.drop(typeUrl, (own) => !isWanted(own))
    // What came beside a name that was asked for stays: nobody has asked for it, and so nobody gives it up.
    if (interest === 'on-demand') this.#held.drop(typeUrl, (own) => own.some((name) => before.has(name)) && !isWanted(own))
    this.#settle()
  }

  #onOpen(): readonly Uint8Array[] {
    const terms = { node: this.#options.node, subscriptions: this.#subscriptions, held: this.#held }
    this.#stream = this.#options.protocol === 'delta' ? new DeltaStream(terms) : new StateOfTheWorldStream(terms)
    this.#introduced = false
    for (const progress of this.#progress.values()) progress.nacksInARow = 0
    this.#metrics?.streamBegun()
    const requests = this.#stream.requests()
    return this.#health === undefined ? requests : [...requests, this.#stream.health(this.#health)]
  }

  #onAnswered(): void {
    this.#dormant.clear()
    this.#metrics?.setConnected(true)
    this.#options.onConnection?.(true)
  }

  #onEnd(failed: boolean): void {
    const wasConnected = this.#connection.state === 'connected'
    this.#stream = null
    this.#metrics?.setConnected(false)
    if (failed) this.#metrics?.streamFailed(this.#subscriptions.types.map(([typeUrl]) => shortTypeName(typeUrl)))
    for (const progress of this.#progress.values()) progress.dropAnswer()
    if (wasConnected) this.#options.onConnection?.(false)
  }

  #onMessage(message: Buffer): void {
    const stream = this.#stream
    if (stream === null) return
    const beganMs = performance.now()
    const incoming = stream.read(message)
    const { typeUrl } = incoming
    if (incoming.controlPlane !== '') this.#introduce(incoming.controlPlane)
    const subscription = this.#subscriptions.get(typeUrl)
    if (subscription === null) {
      this.#options.log.debug(`a response of type ${typeUrl} came, which is not subscribed to`)
      return
    }
    const progress = this.#progressOf(typeUrl)
    progress.onResponse(incoming.version, incoming.nonce, message.length, this.#nowMs())
    const { update, faults: envelope, lifetimes } = this.#held.compare(incoming, subscription)
    const faults = [...envelope, ...this.#tell(update)]
    // It may have given the type up.
    if (this.#subscriptions.get(typeUrl) !== null) {
      this.#held.take(update, faults)
      const { resources } = this.#held.of(typeUrl)
      for (const [name, ms] of lifetimes) this.#lifetimes.set(typeUrl, name, resources.has(name) ? ms : null)
      for (const name of update.removed) this.#lifetimes.set(typeUrl, name, null)
      if (update.changed.length + update.removed.length > 0) this.#keep(typeUrl)
    }
    this.#answer(stream, incoming, faults, progress)
    this.#count(typeUrl, faults.length === 0, message.length, performance.now() - beganMs)
    this.#settle()
  }

  #count(typeUrl: string, accepted: boolean, bytes: number, ms: number): void {
    const metrics = this.#metrics
    if (metrics === null) return
    const short = shortTypeName(typeUrl)
    const { resources, refused } = this.#held.of(typeUrl)
    metrics.response(short, accepted, bytes, ms, this.#nowMs())
    metrics.setResources(short, resources.size, refused.size)
  }

  /** A consumer that throws has a bug, which must not end the stream: the control plane would send the same again. */
  #tell(update: ResourceUpdate): readonly ResourceFault[] {
    const before = this.#telling
    this.#telling = true
    try {
      return this.#options.onUpdate(update)
    } catch (error) {
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#options.log.warning(`a fault of heddle: an update of ${shortTypeName(update.typeUrl)} could not be handled: ${what}`)
      return [
        { name: '', reason: 'internal error of heddle' },
        ...update.changed.map(({ name }) => ({ name, reason: 'internal error of heddle' })),
      ]
    } finally {
      this.#telling = before
    }
  }

  #answer(stream: DiscoveryStream, incoming: Incoming, faults: readonly ResourceFault[], progress: TypeProgress): void {
    const answer = stream.answer(incoming, faults)
    if (faults.length === 0) progress.onAccepted()
    else {
      const text = nackText(faults)
      const again = progress.answer === 'NACK' && progress.lastNack?.text === text
      progress.onRefused(text, this.#nowMs())
      // What was refused comes with each push of its type (istiod sends listeners and routes whole): once told is enough.
      const line = `${shortTypeName(incoming.typeUrl)} ${incoming.version}: refused ${beginningOf(text)}`
      if (again) this.#options.log.debug(line)
      else this.#options.log.warning(line)
    }
    if (answer === null) return
    const late = progress.nacksInARow - NACKS_AT_ONCE
    if (late <= 0) {
      this.#connection.send(answer)
      return
    }
    const backoff = new Backoff(NACK_PAUSE, this.#options.rng)
    for (let i = 1; i < late; i++) backoff.nextMs()
    // Of the response no more, since it may be of megabytes; and not what has been made, since other names may be wanted by then.
    const { typeUrl, nonce } = incoming
    progress.cancelAnswer = this.#schedule(() => {
      progress.cancelAnswer = null
      const late = this.#stream === stream ? stream.answer({ typeUrl, nonce }, faults) : null
      if (late !== null) this.#connection.send(late)
    }, backoff.nextMs())
  }

  /** Asks for what is wanted and has not been asked for, and tells what of it is on disk. */
  #settle(): void {
    if (this.#telling) return
    while (this.#tellDormant()) {
      // What it subscribes to may be there as well.
    }
    if (this.#stream === null) return
    for (const request of this.#stream.requests()) this.#connection.send(request)
  }

  /** False: there is nothing. */
  #tellDormant(): boolean {
    for (const [typeUrl, subscription] of this.#subscriptions.types) {
      const update = this.#dormant.take(typeUrl, subscription)
      if (update === null) continue
      const faults = this.#tell(update)
      if (this.#subscriptions.get(typeUrl) === null) return true
      this.#held.take(update, faults)
      this.#progressOf(typeUrl).source = 'disk'
      if (faults.length > 0) this.#options.log.warning(`${shortTypeName(typeUrl)} from disk: refused ${nackText(faults)}`)
      return true
    }
    return false
  }

  #keep(typeUrl: string): void {
    this.#options.cache?.save(typeUrl, () => {
      const { version, resources } = this.#held.of(typeUrl)
      // What is there for a time only does not outlive the process.
      const lasting = [...resources.values()].filter(({ name }) => !this.#lifetimes.has(typeUrl, name))
      return { typeUrl, version, resources: lasting }
    })
  }

  #onExpired(typeUrl: string, name: string): void {
    const held = this.#held.of(typeUrl)
    if (!held.resources.has(name)) return
    const { version } = held
    const update: ResourceUpdate = { typeUrl, origin: 'expired', changed: [], removed: [name], complete: false, version }
    this.#tell(update)
    this.#held.take(update, [])
    this.#keep(typeUrl)
    this.#settle()
  }

  /** By the first response of a stream that says so. */
  #introduce(controlPlane: string): void {
    if (this.#introduced) return
    this.#introduced = true
    if (controlPlane === this.#controlPlane) return
    this.#controlPlane = controlPlane
    this.#options.log.info(`control plane ${addressText(this.#options.address)}: ${beginningOf(controlPlane)}`)
  }

  #progressOf(typeUrl: string): TypeProgress {
    let progress = this.#progress.get(typeUrl)
    if (progress === undefined) {
      progress = new TypeProgress()
      this.#progress.set(typeUrl, progress)
    }
    return progress
  }

  #typeStatus(typeUrl: string, { interest, names }: Subscription): TypeStatus {
    const p = this.#progress.get(typeUrl) ?? new TypeProgress()
    const { resources, refused } = this.#held.of(typeUrl)
    return {
      typeUrl,
      short: shortTypeName(typeUrl),
      interest,
      names: names.size,
      resources: resources.size,
      version: p.version,
      nonce: p.nonce,
      answer: p.answer,
      source: p.source,
      lastResponseMs: p.lastResponseMs,
      lastNack: p.lastNack,
      refused: [...refused].map(([name, reason]) => ({ name, reason })),
      responses: p.responses,
      bytes: p.bytes,
      acks: p.acks,
      nacks: p.nacks,
    }
  }

  #nowMs(): number {
    return (this.#options.wallMs ?? Date.now)()
  }
}

/** Of what somebody else wrote, for one line of the log. All of it is on the admin page. */
function beginningOf(text: string): string {
  return text.length <= MAX_LINE_CHARS ? text : `${text.slice(0, MAX_LINE_CHARS)} … (${text.length} characters)`
}

function isWithin(names: Iterable<string>, all: ReadonlySet<string>): boolean {
  for (const name of names) if (!all.has(name)) return false
  return true
}
