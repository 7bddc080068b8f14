// Snapshots from a control plane. What it sends is translated as it comes and acknowledged or refused at once (xds/store/); what has become complete is put in
// force together, after the event that brought it, so that a push of several types is one reload where it can be one.
import type { FedNote } from '../admin/admin-source.ts'
import type { KindUse } from '../admin/config-use-page.ts'
import type { ResourceStatus, Snapshot } from '../state/snapshot.ts'
import type { ControlPlaneMetrics } from '../telemetry/control-plane-metrics.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Credential } from '../transport/secrets.ts'
import type { AgentFeed } from '../xds/agent/agent-feed.ts'
import type { AdsClient } from '../xds/client/ads-client.ts'
import type { AdsStatus } from '../xds/client/ads-status.ts'
import { XDS } from '../xds/client/resource-types.ts'
import type { ResourceFault, ResourceUpdate } from '../xds/client/resource-update.ts'
import { XdsWorld, type XdsWorldTerms } from '../xds/store/xds-world.ts'
import type { ConfigSource } from './config-source.ts'
import { type FedConfig, fedConfig, type IsHealthy, sentByKind } from './fed-config.ts'
import { notesOf } from './fed-notes.ts'
import { StartError } from './start-error.ts'

export interface XdsSourceOptions {
  readonly terms: XdsWorldTerms
  /** Makes the client that tells its updates to `onUpdate`. */
  readonly connect: (onUpdate: (update: ResourceUpdate) => readonly ResourceFault[]) => AdsClient
  readonly log: Logger
  /** What is asked for beside the configuration of the data path; null: nothing. */
  readonly agent?: AgentFeed | null
  /** Something new may be put in force. */
  readonly onChange: (why: string) => void
}

/** How often a first configuration that does not come is mentioned. */
const REMIND_MS = 10_000
/** Warming has limits of time where a control plane sets them. */
const SETTLE_MS = 1000

export class XdsSource implements ConfigSource {
  appliedVersion: number
  readonly client: AdsClient
  readonly world: XdsWorld
  readonly #options: XdsSourceOptions
  readonly #complete: Promise<void>
  #completed: () => void
  #abandon: () => void
  #first: boolean
  #scheduled: boolean
  /** Clusters or listeners have come since `settle`. */
  #mayNeedLess: boolean
  #settleTimer: NodeJS.Timeout | null

  constructor(options: XdsSourceOptions) {
    this.appliedVersion = 0
    this.#options = options
    this.world = new XdsWorld(options.terms)
    this.#completed = () => {}
    this.#abandon = () => {}
    this.#complete = new Promise((resolve, reject) => {
      this.#completed = resolve
      this.#abandon = () => reject(new StartError('config', 'ended before the control plane had sent a configuration'))
    })
    // Nobody may be waiting.
    this.#complete.catch(() => {})
    this.#first = true
    this.#scheduled = false
    this.#mayNeedLess = false
    this.#settleTimer = null
    this.client = options.connect((update) => this.#onUpdate(update))
  }

  get snapshot(): Snapshot {
    return this.world.snapshot
  }

  get credentials(): readonly Credential[] {
    return this.world.credentials()
  }

  get statuses(): readonly ResourceStatus[] {
    return []
  }

  get refused(): number {
    return this.world.refusals().length
  }

  get problems(): readonly string[] {
    return this.world.refusals()
  }

  get lastGood(): boolean {
    return this.refused > 0
  }

  /** Until the control plane has sent a first configuration and all of it is complete, however long that takes. */
  async loadFirst(): Promise<void> {
    const { log } = this.#options
    this.client.subscribe(XDS.cluster, 'wildcard')
    this.client.subscribe(XDS.listener, 'wildcard')
    this.client.start()
    this.#settleTimer = setInterval(() => this.#settle('time'), SETTLE_MS)
    this.#settleTimer.unref()
    const reminder = setInterval(() => log.info(`not ready: waiting for ${this.waitingFor().join('; ')}`), REMIND_MS)
    await this.#complete.finally(() => clearInterval(reminder))
    this.#first = false
  }

  waitingFor(): readonly string[] {
    const { status } = this.client
    const connection =
      status.state === 'connected'
        ? []
        : [`the control plane at ${status.address}${status.lastError === '' ? '' : ` (${status.lastError})`}`]
    return [...connection, ...this.world.waitingFor()]
  }

  /** There is nothing to read: what has come is in `snapshot`. */
  async reload(): Promise<boolean> {
    return true
  }

  #onUpdate(update: ResourceUpdate): readonly ResourceFault[] {
    const { agent = null } = this.#options
    if (agent?.takes(update.typeUrl) === true) return agent.take(update)
    const faults = this.world.take(update, Date.now())
    // As Istio's agent does it: names and roots are no part of what has to be there first.
    if (update.typeUrl === XDS.listener) agent?.subscribe(this.client)
    if (update.typeUrl === XDS.cluster || update.typeUrl === XDS.listener) {
      this.#askForMore()
      this.#mayNeedLess = true
    }
    if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        this.#settle('the control plane')
      })
    }
    return faults
  }

  #askForMore(): void {
    const wanted = this.world.wanted()
    for (const [typeUrl, names] of wanted) this.client.setNames(typeUrl, names)
    this.world.forgetUnwanted(wanted)
  }

  #settle(why: string): void {
    const { waiting } = this.world
    const changed = this.world.settle(Date.now())
    // What is replaced now needed things that its successor may not need.
    if (this.#mayNeedLess || this.world.waiting < waiting) this.#askForMore()
    this.#mayNeedLess = false
    if (this.#first) {
      if (this.world.complete) this.#completed()
    } else if (changed) this.#options.onChange(why)
  }

  status(): AdsStatus {
    return this.client.status
  }

  warming(): readonly string[] {
    return this.world.warming()
  }

  notes(): readonly FedNote[] {
    return notesOf(this.world)
  }

  sent(): readonly KindUse[] {
    return sentByKind(this.client)
  }

  dump(inForce: Snapshot | null, isHealthy: IsHealthy): FedConfig {
    return fedConfig(this.client, this.world, inForce, isHealthy)
  }

  measure(metrics: ControlPlaneMetrics): void {
    this.client.measure(metrics)
  }

  async close(): Promise<void> {
    if (this.#settleTimer !== null) clearInterval(this.#settleTimer)
    this.#abandon()
    await this.client.stop()
  }
}
