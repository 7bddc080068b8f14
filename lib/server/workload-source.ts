// What a node's tunnel knows, from a control plane: workloads, services and policies as they come, acknowledged or refused at once. While the control plane is away
// all of it stays as it was.
import type { WorkloadWorld, WorldChange } from '../state/workload-world.ts'
import { isEmptyChange } from '../state/workload-world.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { AdsClient } from '../xds/client/ads-client.ts'
import { XDS } from '../xds/client/resource-types.ts'
import type { ResourceFault, ResourceUpdate, UpdateConsumer } from '../xds/client/resource-update.ts'
import { WorkloadStore } from '../xds/workload/workload-store.ts'

export interface WorkloadSourceOptions {
  /** Makes the client, which tells its updates to `onUpdate`. */
  readonly connect: (onUpdate: UpdateConsumer) => AdsClient
  readonly log: Logger
  /** At once, in order. */
  readonly onChange: (change: WorldChange) => void
}

const TYPES = [XDS.address, XDS.authorization] as const

export class WorkloadSource {
  readonly client: AdsClient
  readonly #options: WorkloadSourceOptions
  readonly #store: WorkloadStore
  /** Types of which a first answer has come. */
  readonly #answered: Set<string>

  constructor(options: WorkloadSourceOptions) {
    this.#options = options
    this.#store = new WorkloadStore()
    this.#answered = new Set()
    this.client = options.connect((update) => this.#onUpdate(update))
  }

  get world(): WorkloadWorld {
    return this.#store.world
  }

  start(): void {
    for (const type of TYPES) this.client.subscribe(type, 'wildcard')
    this.client.start()
  }

  close(): Promise<void> {
    return this.client.stop()
  }

  /** Everything has been told once. */
  get complete(): boolean {
    return TYPES.every((type) => this.#answered.has(type))
  }

  /** For messages. */
  waitingFor(): string[] {
    if (this.complete) return []
    const { state, address, lastError } = this.client.status
    if (state !== 'connected') return [`the control plane at ${address}${lastError === '' ? '' : ` (${lastError})`}`]
    const missing = TYPES.filter((type) => !this.#answered.has(type)).map((type) => type.slice(type.indexOf('/') + 1))
    return [`the control plane at ${address} to send ${missing.join(' and ')}`]
  }

  #onUpdate({ typeUrl, changed, removed, complete, origin }: ResourceUpdate): readonly ResourceFault[] {
    const { change, faults, notes } = this.#store.apply(typeUrl, changed, removed, complete)
    if (origin === 'stream') this.#answered.add(typeUrl)
    for (const { name, reason } of notes) this.#options.log.info(`the control plane sent ${name}: ${reason}`)
    if (!isEmptyChange(change)) this.#options.onChange(change)
    return faults
  }
}
