// The workers as the main thread sees them: started, spoken to, replaced when they die. Knows nothing of what they carry.
//
// A slot (one for each index) holds at most one worker: starting → serving → gone. A worker that is gone while the pool is open is
// replaced: at once after the first crash, later and later while it keeps crashing soon after its start. The replacement begins
// with whatever `makeInit` says then, so that it needs nothing of what its predecessor was told.
import { Worker } from 'node:worker_threads'
import type { ServedPod } from '../state/bootstrap-config.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { DrainTimes } from './drain.ts'
import type { CutConnection, FromWorker, ToWorker, WorkerInit, WorkerQuestion } from './messages.ts'

export interface WorkerPoolOptions {
  readonly concurrency: number
  /** Module that a worker runs. */
  readonly url: URL
  /** Called for every start, also of a replacement. */
  readonly makeInit: (index: number) => WorkerInit
  readonly log: Logger
  /** Messages that are not answers to the pool itself. */
  readonly onSeries: (index: number, family: string, labels: string, slot: number) => void
  readonly onEjected: (ejected: Extract<FromWorker, { readonly type: 'ejected' }>) => void
  /** A worker has used a cluster that has no rows yet. */
  readonly onFirstUse?: (cluster: string) => void
  /** A worker needs to know something. */
  readonly onQuestion?: (question: WorkerQuestion) => void
  /** A worker died and will be replaced. */
  readonly onCrash: (index: number) => void
  /** How many serve has changed. */
  readonly onServing: (serving: number) => void
}

/** A worker that lives this long is taken to be well; the next crash counts as its first. */
const WELL_AFTER_MS = 10_000
const FIRST_DELAY_MS = 100
const MAX_DELAY_MS = 5000
const CALL_TIMEOUT_MS = 1000
/** Beyond the drain deadline, for a worker to say what it cut. */
const DRAIN_GRACE_MS = 1000

/**
 * V8 lets the young generation grow to 48 MB before it collects, although what a request allocates is garbage at its end. Semi-spaces of
 * 4 MB cost no time; of 1 MB they cost a third more CPU for each request (README.md). From Node.js 24 on a limit saves nothing.
 */
const YOUNG_GENERATION_MB = Number(process.versions.node.split('.')[0]) < 24 ? 12 : undefined

interface Slot {
  readonly index: number
  worker: Worker | null
  state: 'starting' | 'serving' | 'gone'
  startedMs: number
  /** Crashes in a row, each soon after its start. */
  crashes: number
  applied: number
  failure: string
  drained: readonly CutConnection[] | null
  restart: NodeJS.Timeout | null
}

export type Question =
  | { readonly type: 'explain'; readonly id: string }
  | { readonly type: 'failures'; readonly cluster: string; readonly address: string }
  | { readonly type: 'inspect' }
  | { readonly type: 'open-pod'; readonly pod: ServedPod }
  | { readonly type: 'config-use' }

interface Call {
  readonly waitingFor: Set<number>
  readonly values: unknown[]
  readonly done: () => void
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions
  readonly #slots: Slot[]
  readonly #calls: Map<number, Call>
  readonly #watchers: Set<() => void>
  #lastCall: number
  #closing: boolean
  /** What a worker that replaces another is told too; null: nothing. */
  #announced: ToWorker | null

  constructor(options: WorkerPoolOptions) {
    this.#options = options
    this.#slots = Array.from({ length: options.concurrency }, (_, index) => ({
      index,
      worker: null,
      state: 'gone',
      startedMs: 0,
      crashes: 0,
      applied: 0,
      failure: '',
      drained: null,
      restart: null,
    }))
    this.#calls = new Map()
    this.#watchers = new Set()
    this.#lastCall = 0
    this.#closing = false
    this.#announced = null
  }

  get serving(): number {
    return this.#slots.filter((slot) => slot.state === 'serving').length
  }

  /** Resolves when all serve. Rejects with the reason when one of them cannot; the others are ended. */
  async start(): Promise<void> {
    for (const slot of this.#slots) this.#spawn(slot)
    await this.#until(() => this.serving === this.#slots.length || this.#slots.some((slot) => slot.failure !== ''))
    const failed = this.#slots.find((slot) => slot.failure !== '')
    if (failed === undefined) return
    await this.terminate()
    throw new Error(failed.failure)
  }

  broadcast(message: ToWorker): void {
    for (const slot of this.#slots) slot.worker?.postMessage(message)
  }

  /** Until every worker that serves has this version or a newer one. False when that took longer than `limitMs`. */
  async applied(version: number, limitMs: number): Promise<boolean> {
    return this.#until(() => this.#slots.every((slot) => slot.state !== 'serving' || slot.applied >= version), limitMs)
  }

  /** Asks all workers that serve; who does not answer within a second is left out. */
  async ask(question: Question): Promise<unknown[]> {
    const call = ++this.#lastCall
    const asked = this.#slots.filter((slot) => slot.state === 'serving')
    if (asked.length === 0) return []
    return new Promise((resolve) => {
      const values: unknown[] = []
      const done = () => {
        clearTimeout(timer)
        this.#calls.delete(call)
        resolve(values)
      }
      const timer = setTimeout(done, CALL_TIMEOUT_MS)
      this.#calls.set(call, { waitingFor: new Set(asked.map((slot) => slot.index)), values, done })
      for (const slot of asked) slot.worker?.postMessage({ ...question, call } satisfies ToWorker)
    })
  }

  /** Connections are asked to end, and nothing ends by it. */
  announceDrain(inboundOnly: boolean): void {
    this.#announced = { type: 'announce-drain', inboundOnly }
    this.broadcast(this.#announced)
  }

  /** Nobody is replaced from now on. Resolves with what all workers cut, at the latest a second after the deadline. */
  async drain(times: DrainTimes): Promise<readonly CutConnection[]> {
    const { deadlineMs } = times
    this.#closing = true
    for (const slot of this.#slots) if (slot.restart !== null) clearTimeout(slot.restart)
    this.broadcast({ type: 'drain', ...times })
    const finished = await this.#until(
      () => this.#slots.every((slot) => slot.drained !== null || slot.state === 'gone'),
      deadlineMs + DRAIN_GRACE_MS,
    )
    if (!finished) this.#options.log.warning('a worker did not say what it cut within a second of the drain deadline')
    return this.#slots.flatMap((slot) => slot.drained ?? [])
  }

  async terminate(): Promise<void> {
    this.#closing = true
    for (const slot of this.#slots) if (slot.restart !== null) clearTimeout(slot.restart)
    await Promise.all(this.#slots.map((slot) => slot.worker?.terminate()))
  }

  #spawn(slot: Slot): void {
    const init = this.#options.makeInit(slot.index)
    const worker = new Worker(this.#options.url, {
      workerData: init,
      name: `heddle worker ${slot.index}`,
      resourceLimits: YOUNG_GENERATION_MB === undefined ? {} : { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    })
    slot.worker = worker
    slot.state = 'starting'
    slot.startedMs = performance.now()
    slot.applied = init.config?.version ?? 0
    slot.restart = null
    if (this.#announced !== null) worker.postMessage(this.#announced)
    // A predecessor's last messages and its exit belong to it, not to the slot.
    worker.on('message', (message: FromWorker) => {
      if (slot.worker === worker) this.#onMessage(slot, message)
    })
    worker.on('error', (error) => {
      this.#options.log.error('worker died', { worker: slot.index, error })
      if (slot.worker === worker) this.#noteFailure(slot, error.message)
    })
    worker.on('messageerror', (error) =>
      this.#options.log.error('a message of a worker could not be read', { worker: slot.index, error }),
    )
    worker.on('exit', (code) => {
      if (slot.worker === worker) this.#onExit(slot, code)
    })
  }

  #onMessage(slot: Slot, message: FromWorker): void {
    switch (message.type) {
      case 'ready':
        slot.state = 'serving'
        this.#options.onServing(this.serving)
        break
      case 'applied':
        slot.applied = Math.max(slot.applied, message.version)
        break
      case 'series':
        this.#options.onSeries(slot.index, message.family, message.labels, message.slot)
        return
      case 'ejected':
        this.#options.onEjected(message)
        return
      case 'first-use':
        this.#options.onFirstUse?.(message.cluster)
        return
      case 'resolve':
      case 'ask':
        this.#options.onQuestion?.(message)
        return
      case 'reply':
        this.#onReply(slot.index, message.call, message.value)
        return
      case 'wants-connection':
        for (const other of this.#slots) {
          if (other !== slot) other.worker?.postMessage({ type: 'give-way', cluster: message.cluster } satisfies ToWorker)
        }
        return
      case 'drained':
        slot.drained = message.cut
        break
      case 'failed':
        this.#options.log.error(`worker cannot serve: ${message.message}`, { worker: slot.index })
        this.#noteFailure(slot, message.message)
        break
      default:
        message satisfies never
    }
    this.#changed()
  }

  #onReply(index: number, id: number, value: unknown): void {
    const call = this.#calls.get(id)
    if (call?.waitingFor.delete(index) !== true) return
    if (value !== null) call.values.push(value)
    if (call.waitingFor.size === 0) call.done()
  }

  /** Only a worker's first start may fail the start of the whole. */
  #noteFailure(slot: Slot, message: string): void {
    if (slot.state === 'starting' && slot.crashes === 0) slot.failure ||= message
    this.#changed()
  }

  #onExit(slot: Slot, code: number): void {
    slot.worker = null
    const wasServing = slot.state === 'serving'
    if (slot.state === 'starting') this.#noteFailure(slot, `a worker ended with code ${code} before it served`)
    slot.state = 'gone'
    for (const [id, call] of this.#calls) if (call.waitingFor.has(slot.index)) this.#onReply(slot.index, id, null)
    if (!this.#closing && slot.failure === '') this.#replace(slot, code)
    if (wasServing) this.#options.onServing(this.serving)
    this.#changed()
  }

  #replace(slot: Slot, code: number): void {
    const livedMs = performance.now() - slot.startedMs
    slot.crashes = livedMs >= WELL_AFTER_MS ? 1 : slot.crashes + 1
    const delayMs = slot.crashes === 1 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (slot.crashes - 2))
    const when = delayMs === 0 ? 'at once' : `in ${delayMs} ms, crash ${slot.crashes} in a row`
    this.#options.log.error(`worker ended with code ${code} after ${Math.round(livedMs)} ms; it is replaced ${when}`, {
      worker: slot.index,
    })
    this.#options.onCrash(slot.index)
    slot.restart = setTimeout(() => this.#spawn(slot), delayMs)
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }

  /** Resolves with true when the condition holds, with false after `limitMs` (0: never). */
  #until(condition: () => boolean, limitMs = 0): Promise<boolean> {
    if (condition()) return Promise.resolve(true)
    return new Promise((resolve) => {
      const end = (value: boolean) => {
        clearTimeout(timer)
        this.#watchers.delete(watcher)
        resolve(value)
      }
      const watcher = () => {
        if (condition()) end(true)
      }
      const timer = limitMs === 0 ? undefined : setTimeout(end, limitMs, false)
      this.#watchers.add(watcher)
    })
  }
}
