// What a node's tunnel knows, from a control plane: workloads, services and policies as they come, acknowledged or refused at once. While the control plane is away
// all of it stays as it was.
import type { WorkloadInfo } from '../state/workload.ts'
import type { WorkloadWorld, WorldChange } from '../state/workload-world.ts'
import { isEmptyChange } from '../state/workload-world.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { AdsClient } from '../xds/client/ads-client.ts'
import { XDS } from '../xds/client/resource-types.ts'
import type { ResourceFault, ResourceUpdate, UpdateConsumer } from '../xds/client/resource-update.ts'
import { NamesOnDemand } from '../xds/workload/names-on-demand.ts'
import { WorkloadStore } from '../xds/workload/workload-store.ts'

export interface WorkloadSourceOptions {
  /** Workloads and services are told of when they are asked for, and those of the node's own pods. Policies always are. */
  readonly onDemand: boolean
  /** Makes the client, which tells its updates to `onUpdate`. */
  readonly connect: (onUpdate: UpdateConsumer) => AdsClient
  /** Of this node. */
  readonly clusterId: string
  readonly log: Logger
  /** At once, in order. */
  readonly onChange: (change: WorldChange) => void
}

/** For an answer about a name. */
const ASK_MS = 5000

const TYPES = [XDS.address, XDS.authorization] as const

export class WorkloadSource {
  readonly client: AdsClient
  readonly #options: WorkloadSourceOptions
  readonly #store: WorkloadStore
  /** Types of which a first answer has come. */
  readonly #answered: Set<string>
  readonly #names: NamesOnDemand

  constructor(options: WorkloadSourceOptions) {
    this.#options = options
    this.#store = new WorkloadStore()
    this.#answered = new Set()
    this.#names = new NamesOnDemand((names) => this.client.setNames(XDS.address, names))
    this.client = options.connect((update) => this.#onUpdate(update))
  }

  get world(): WorkloadWorld {
    return this.#store.world
  }

  start(): void {
    this.client.subscribe(XDS.address, this.onDemand ? 'on-demand' : 'wildcard')
    this.client.subscribe(XDS.authorization, 'wildcard')
    this.client.start()
  }

  close(): Promise<void> {
    return this.client.stop()
  }

  get onDemand(): boolean {
    return this.#options.onDemand
  }

  /** On demand: resolves when the control plane has said what it has of the name, or that there is nothing; false: it has not, in five seconds. */
  ask(name: string): Promise<boolean> {
    // Of the network of hosts, for example: it is known, and not found by its address.
    for (const { name: held, aliases } of this.client.resources(XDS.address).values())
      if (held === name || aliases.includes(name)) return Promise.resolve(true)
    return this.#names.ask(name, ASK_MS)
  }

  /** A pod of this node has come: istiod tells of it unasked, others may not. */
  expect({ namespace, name }: WorkloadInfo): void {
    if (this.onDemand) void this.ask(`${this.#options.clusterId}//Pod/${namespace}/${name}`)
  }

  /** Everything has been told once. */
  get complete(): boolean {
    return this.#missing().length === 0
  }

  /** For messages. */
  waitingFor(): string[] {
    if (this.complete) return []
    const { state, address, lastError } = this.client.status
    if (state !== 'connected') return [`the control plane at ${address}${lastError === '' ? '' : ` (${lastError})`}`]
    const missing = this.#missing().map((type) => type.slice(type.indexOf('/') + 1))
    return [`the control plane at ${address} to send ${missing.join(' and ')}`]
  }

  /** Of what nobody has asked for there may be no answer. */
  #missing(): string[] {
    return TYPES.filter((type) => !this.#answered.has(type) && !(this.onDemand && type === XDS.address))
  }

  #onUpdate({ typeUrl, changed, removed, origin }: ResourceUpdate): readonly ResourceFault[] {
    const { change, faults, notes } = this.#store.apply(typeUrl, changed, removed)
    if (origin === 'stream') this.#answered.add(typeUrl)
    for (const { name, reason } of notes) this.#options.log.info(`the control plane sent ${name}: ${reason}`)
    if (!isEmptyChange(change)) this.#options.onChange(change)
    if (typeUrl === XDS.address) this.#names.answered(changed, removed)
    return faults
  }
}
