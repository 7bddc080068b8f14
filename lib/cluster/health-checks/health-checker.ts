// Asks the endpoints that have a health check how they are, each on its own, and says it to all workers in shared memory. Main thread only:
// a process with many workers asks as often as one with a single worker.
import type { Endpoint } from '../../state/cluster.ts'
import { type Origin, originText } from '../../state/origin.ts'
import type { HealthCheckStats } from '../../telemetry/health-check-stats.ts'
import { hostAddress } from '../lb/host.ts'
import { FAILED_CHECK_FLAG, HEALTH, type SharedHosts, UNCHECKED_FLAG } from '../shared-hosts.ts'
import type { Attempt, CheckResult } from './attempt.ts'
import { EndpointHealth } from './endpoint-health.ts'
import { askedText, startCheck } from './probe.ts'

/** Checks under way at once: each has a socket, and thousands of endpoints would otherwise be asked in one moment. */
const MAX_RUNNING = 256
/** Pauses differ by up to this share, so that endpoints are not asked in step for ever. */
const JITTER = 0.1
/** Absences of an endpoint that are remembered. */
const REMEMBERED = 8

/** The part of HostRows that is needed. -1: there is no row. */
export interface RowFinder {
  rowOf(cluster: string, address: string): number
  clusterRowOf(cluster: string): number
}

export interface HealthCheckerOptions {
  readonly hosts: SharedHosts
  readonly rows: RowFinder
  readonly statsFor: (cluster: string) => HealthCheckStats
  /** Changes, and first results that are failures; first results that are not, as `debug`. */
  readonly log: { debug(message: string): void; info(message: string): void; warning(message: string): void }
  /** A check of an endpoint that is well has passed. */
  readonly onPass: (cluster: string, address: string) => void
  /** Default: `startCheck`. */
  readonly start?: typeof startCheck
  /** Calls back once; returns how to cancel. Default: an unref'd setTimeout. */
  readonly schedule?: (callback: () => void, delayMs: number) => () => void
  /** Epoch ms. Default: Date.now. */
  readonly wallNow?: () => number
  /** 0 to 1. Default: Math.random. */
  readonly random?: () => number
}

/** A time in which an endpoint was not used because of its check. */
export interface Absence {
  /** `ip:port` of the endpoint. */
  readonly address: string
  /** Epoch ms. */
  readonly sinceMs: number
  /** Epoch ms; 0: it lasts. */
  readonly untilMs: number
  /** What was asked and what came last, `GET http://10.0.0.1:80/healthz answered 503, expected 200-299`; null: there was no result yet. */
  readonly failure: string | null
  /** Of the check. */
  readonly origin: Origin
}

interface Loop {
  readonly cluster: CheckedCluster
  readonly address: string
  endpoint: Endpoint
  readonly health: EndpointHealth
  /** Its pause, or its place in the queue. */
  cancel: () => void
  running: Attempt | null
  dropped: boolean
  /** Oldest first; the newest may last. */
  readonly absences: Absence[]
}

interface CheckedCluster {
  readonly name: string
  readonly stats: HealthCheckStats
  /** By address. */
  readonly loops: Map<string, Loop>
  healthy: number
}

interface Waiter {
  readonly pending: Set<Loop>
  readonly resolve: () => void
}

export class HealthChecker {
  readonly #options: HealthCheckerOptions
  readonly #start: typeof startCheck
  readonly #schedule: (callback: () => void, delayMs: number) => () => void
  readonly #random: () => number
  readonly #wallNow: () => number
  readonly #clusters: Map<string, CheckedCluster>
  /** Endpoints of all clusters at the last update: one of these was used without a check, and stays so until the first result. */
  readonly #known: Map<string, readonly Endpoint[]>
  readonly #queue: Set<Loop>
  readonly #waiters: Set<Waiter>
  #running: number
  #stopped: boolean

  constructor(options: HealthCheckerOptions) {
    this.#options = options
    this.#start = options.start ?? startCheck
    this.#schedule = options.schedule ?? unrefTimeout
    this.#random = options.random ?? Math.random
    this.#wallNow = options.wallNow ?? Date.now
    this.#clusters = new Map()
    this.#known = new Map()
    this.#queue = new Set()
    this.#waiters = new Set()
    this.#running = 0
    this.#stopped = false
  }

  /** The cluster is no more. */
  remove(name: string): void {
    this.updateEndpoints(name, [])
    this.#known.delete(name)
  }

  /** Of a cluster that is new or another, whose rows have been assigned where there are health checks. To be called before the workers hear of it. */
  updateEndpoints(name: string, endpoints: readonly Endpoint[]): void {
    if (this.#stopped) return
    const wanted = new Map<string, Endpoint>()
    // An address that is listed twice is one host.
    for (const e of endpoints) if (e.healthCheck !== null && !wanted.has(hostAddress(e))) wanted.set(hostAddress(e), e)
    const cluster = this.#clusters.get(name)
    if (cluster !== undefined || wanted.size > 0) this.#reconcile(cluster ?? this.#addCluster(name), wanted)
    this.#known.set(name, endpoints)
  }

  /** Endpoints that are not used before their first result, and could have one within this time. */
  unchecked(withinMs: number): number {
    return this.#pending(withinMs).size
  }

  /** Until these have their first result, but no longer than `limitMs`. */
  async settled(limitMs: number): Promise<void> {
    const pending = this.#pending(limitMs)
    if (pending.size === 0 || this.#stopped) return
    await new Promise<void>((resolve) => {
      const cancel = this.#schedule(() => waiter.resolve(), limitMs)
      const waiter = {
        pending,
        resolve: () => {
          this.#waiters.delete(waiter)
          cancel()
          resolve()
        },
      }
      this.#waiters.add(waiter)
    })
  }

  /** Endpoints of a cluster that were not used at that time because of their checks, as far as it is remembered. `atMs`: epoch. */
  absentAt(cluster: string, atMs: number): Absence[] {
    const loops = [...(this.#clusters.get(cluster)?.loops.values() ?? [])]
    return loops.flatMap((l) => l.absences.filter((a) => a.sinceMs <= atMs && (a.untilMs === 0 || a.untilMs >= atMs)))
  }

  /** Asks nobody any more. What is known stays in force. */
  stop(): void {
    this.#stopped = true
    for (const { loops } of this.#clusters.values()) for (const loop of loops.values()) this.#drop(loop)
  }

  #pending(withinMs: number): Set<Loop> {
    const all = [...this.#clusters.values()].flatMap(({ loops }) => [...loops.values()])
    return new Set(all.filter(({ health }) => health.healthy === null && health.check.initialDelayMs < withinMs))
  }

  #addCluster(name: string): CheckedCluster {
    const cluster = { name, stats: this.#options.statsFor(name), loops: new Map<string, Loop>(), healthy: 0 }
    this.#clusters.set(name, cluster)
    return cluster
  }

  #reconcile(cluster: CheckedCluster, wanted: ReadonlyMap<string, Endpoint>): void {
    const { loops } = cluster
    for (const [address, loop] of loops) {
      if (wanted.has(address)) continue
      this.#drop(loop)
      loops.delete(address)
      // It may have stayed, without a check.
      this.#mark(loop, 0, FAILED_CHECK_FLAG | UNCHECKED_FLAG)
    }
    const added = [...wanted].filter(([address, endpoint]) => !this.#keep(loops.get(address), endpoint))
    const used = new Set(added.length === 0 ? [] : this.#known.get(cluster.name)?.map(hostAddress))
    for (const [address, endpoint] of added) this.#begin(cluster, address, endpoint, used.has(address))
    if (loops.size === 0) this.#clusters.delete(cluster.name)
    cluster.healthy = [...loops.values()].filter((loop) => loop.health.healthy === true).length
    cluster.stats.setHealthy(cluster.healthy)
  }

  /** False: there is no loop to go on with. */
  #keep(loop: Loop | undefined, endpoint: Endpoint): boolean {
    const check = endpoint.healthCheck
    if (loop === undefined || check === null) return false
    loop.endpoint = endpoint
    if (sameQuestion(loop.health.check, check)) loop.health.check = check
    else {
      loop.cancel()
      loop.running?.cancel()
      loop.health.ask(check)
      this.#enqueue(loop)
    }
    return true
  }

  #begin(cluster: CheckedCluster, address: string, endpoint: Endpoint, wasUsed: boolean): void {
    const check = endpoint.healthCheck
    if (check === null) return
    const health = new EndpointHealth(check)
    const loop: Loop = { cluster, address, endpoint, health, cancel: () => {}, running: null, dropped: false, absences: [] }
    cluster.loops.set(address, loop)
    if (!wasUsed) {
      this.#mark(loop, UNCHECKED_FLAG, 0)
      this.#remember(loop, false, null)
    }
    if (wasUsed || check.initialDelayMs === 0) this.#enqueue(loop)
    else this.#pause(loop, check.initialDelayMs)
  }

  #pause(loop: Loop, delayMs: number): void {
    loop.cancel = this.#schedule(() => this.#enqueue(loop), delayMs)
  }

  #enqueue(loop: Loop): void {
    this.#queue.add(loop)
    loop.cancel = () => this.#queue.delete(loop)
    this.#runQueued()
  }

  #runQueued(): void {
    for (const loop of this.#queue) {
      if (this.#running >= MAX_RUNNING) return
      this.#queue.delete(loop)
      void this.#run(loop)
    }
  }

  async #run(loop: Loop): Promise<void> {
    const { check } = loop.health
    const asked = askedText(check, loop.endpoint)
    this.#running++
    const attempt = this.#start(check, loop.endpoint)
    loop.cancel = () => {}
    loop.running = attempt
    const result = await attempt.result
    this.#running--
    // Otherwise it was dropped, or is asked another question meanwhile.
    const current = !loop.dropped && loop.running === attempt && sameQuestion(loop.health.check, check)
    if (loop.running === attempt) loop.running = null
    if (current) this.#note(loop, result, asked)
    this.#runQueued()
  }

  #note(loop: Loop, result: CheckResult, asked: string): void {
    const { health, cluster, address } = loop
    const before = health.healthy
    cluster.stats.count(result.passed, result.network)
    const changed = health.note(result)
    if (changed || health.healthy === false)
      this.#remember(loop, health.healthy === true, result.passed ? null : `${asked} ${result.seen}`)
    if (changed) {
      if (result.passed) this.#mark(loop, 0, FAILED_CHECK_FLAG | UNCHECKED_FLAG)
      else this.#mark(loop, FAILED_CHECK_FLAG, UNCHECKED_FLAG)
      if (result.passed) cluster.healthy++
      else if (before === true) cluster.healthy--
      cluster.stats.setHealthy(cluster.healthy)
      this.#say(loop, result, asked, before !== null)
    }
    if (result.passed && health.healthy === true) this.#options.onPass(cluster.name, address)
    if (before === null) this.#settle(loop)
    this.#pause(loop, health.check.intervalMs * (1 - JITTER + 2 * JITTER * this.#random()))
  }

  #say({ health, cluster, address }: Loop, result: CheckResult, asked: string, known: boolean): void {
    const { log } = this.#options
    const of = `health check: ${address} of ${cluster.name}`
    const what = `${asked} ${result.seen}; ${originText(health.check.origin)}`
    if (!result.passed) log.warning(`${of} is left out: ${what}${health.run > 1 ? `; ${health.run} failures in a row` : ''}`)
    else if (known) log.info(`${of} is used again: ${what}`)
    else log.debug(`${of} is used: ${what}`)
  }

  /** `failure` null: no news of it. */
  #remember({ absences, address, health }: Loop, well: boolean, failure: string | null): void {
    const now = this.#wallNow()
    const last = absences.at(-1)
    if (last !== undefined && last.untilMs === 0) {
      const goesOn = !well && (last.failure !== null || failure === null)
      const ended = { ...last, untilMs: goesOn ? 0 : now, failure: last.failure === null ? null : (failure ?? last.failure) }
      absences[absences.length - 1] = ended
      if (goesOn) return
    }
    if (well) return
    absences.push({ address, sinceMs: now, untilMs: 0, failure, origin: health.check.origin })
    if (absences.length > REMEMBERED) absences.shift()
  }

  /** The workers see it before their next decision. */
  #mark({ cluster, address }: Loop, set: number, clear: number): void {
    const { hosts, rows } = this.#options
    const row = rows.rowOf(cluster.name, address)
    const clusterRow = rows.clusterRowOf(cluster.name)
    if (row < 0 || clusterRow < 0) return
    const at = hosts.hostAt(row) + HEALTH
    const before = Atomics.or(hosts.cells, at, set)
    Atomics.and(hosts.cells, at, ~clear)
    if ((before & set) !== set || (before & clear) !== 0) hosts.changed(clusterRow)
  }

  #drop(loop: Loop): void {
    loop.dropped = true
    loop.cancel()
    loop.running?.cancel()
    loop.running = null
    this.#settle(loop)
  }

  /** Nobody needs to wait for it. */
  #settle(loop: Loop): void {
    for (const { pending, resolve } of this.#waiters) if (pending.delete(loop) && pending.size === 0) resolve()
  }
}

/** A line that moved in its file is no other check. */
function sameQuestion(a: EndpointHealth['check'], b: EndpointHealth['check']): boolean {
  return a === b || JSON.stringify({ ...a, origin: null }) === JSON.stringify({ ...b, origin: null })
}

function unrefTimeout(callback: () => void, delayMs: number): () => void {
  const timer = setTimeout(callback, delayMs)
  timer.unref()
  return () => clearTimeout(timer)
}
