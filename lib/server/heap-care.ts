// Memory that a change of configuration has left behind on the main thread. V8 keeps what it grew to: 16 MB for new objects, twice, once a large world has been
// translated, and pages of old ones that are half empty; its own reduction, which works for workers that have nothing to do, hardly ever comes here. So it is asked to give
// that back when nothing has changed for a while. The main thread stands still meanwhile, some milliseconds for each megabyte in use; it carries no traffic.
import { getHeapStatistics } from 'node:v8'
import { libc } from '../sys/libc.ts'
import type { Logger } from '../telemetry/logger.ts'

/** After the last change. */
const QUIET_MS = 3000
/** Where changes never cease. */
const LIMIT_MS = 30_000
/** Between two collections. */
const PAUSE_MS = 300_000
/** What is worth it: so much more than after the last one. */
const MIN_GROWTH_BYTES = 8 * 2 ** 20
const MIN_GROWTH = 1.25

export class HeapCare {
  readonly #log: Logger
  #timer: NodeJS.Timeout | null
  /** When the timer was first set since it last came, and when something was collected last; ms of `performance.now`. */
  #changedMs: number
  #collectedMs: number
  /** What the heap took then. */
  #floor: number

  constructor(log: Logger) {
    this.#log = log
    this.#timer = null
    this.#changedMs = 0
    this.#collectedMs = Number.NEGATIVE_INFINITY
    this.#floor = 0
  }

  /** The configuration has changed. */
  changed(): void {
    const nowMs = performance.now()
    if (this.#timer === null) this.#changedMs = nowMs
    else clearTimeout(this.#timer)
    const quiet = Math.min(nowMs + QUIET_MS, this.#changedMs + LIMIT_MS)
    const dueMs = Math.max(quiet, this.#collectedMs + PAUSE_MS) - nowMs
    this.#timer = setTimeout(() => {
      this.#timer = null
      if (isWorthIt(residentBytes(), this.#floor)) void this.#collect()
    }, dueMs)
    this.#timer.unref()
  }

  async #collect(): Promise<void> {
    const before = residentBytes()
    const beganMs = performance.now()
    this.#collectedMs = beganMs
    try {
      await collectAll()
    } catch (error) {
      // A Node.js without an inspector: V8 does as it likes.
      this.#log.debug('memory is not given back', { error })
    }
    // Of malloc: what came from the network, and was read.
    libc()?.trim?.()
    this.#floor = residentBytes()
    const mb = (bytes: number): string => (bytes / 2 ** 20).toFixed(0)
    const took = (performance.now() - beganMs).toFixed(0)
    this.#log.debug(`heap of the main thread: ${mb(before)} MB before, ${mb(this.#floor)} after a collection of ${took} ms`)
  }
}

export function isWorthIt(bytes: number, floor: number): boolean {
  return bytes > floor + MIN_GROWTH_BYTES && bytes > floor * MIN_GROWTH
}

function residentBytes(): number {
  return getHeapStatistics().total_physical_size
}

/** Of this thread, what V8 does when it is told that memory is low. `gc` of --expose-gc, which a program may give itself, does not shrink the space for new objects. */
export async function collectAll(): Promise<void> {
  const { Session } = await import('node:inspector')
  const session = new Session()
  session.connect()
  try {
    await new Promise<void>((resolve, reject) => {
      session.post('HeapProfiler.collectGarbage', (error) => {
        // In a turn of its own: V8 calls back with a lock that the end of a session takes as well, and the thread would wait for itself for ever.
        setImmediate(() => (error === null ? resolve() : reject(error)))
      })
    })
  } finally {
    session.disconnect()
  }
}
