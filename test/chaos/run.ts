// One run: a proxy inside of this process, hostile upstreams, clients; and at the end the books.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { eventually, pause } from '../support/eventually.ts'
import { refusingPort } from '../support/free-port.ts'
import type { Holdings } from '../support/holdings.ts'
import { type InProcess, startInProcess } from '../support/in-process.ts'
import type { AccessLine } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { type Act, drawAct } from './act.ts'
import { type Fate, runClient } from './chaos-client.ts'
import { Dice } from './dice.ts'
import { HostileUpstream } from './hostile-upstream.ts'
import { runHttp2Client } from './http2-chaos-client.ts'
import { Ledger } from './ledger.ts'
import { planRequest, type RequestPlan } from './request-plan.ts'
import { type ChaosVersion, HOSTS, mesh, retriesOf, type WorldOptions } from './world.ts'

export interface RunOptions {
  readonly seed: number
  readonly retries: 'guarded' | 'exact'
  /** Of the first part, in which workers die and everything warms up, and of the second, over which nothing may grow. */
  readonly requests: readonly [warmUp: number, measured: number]
  readonly clients: number
  /** Share of attempts that go wrong. */
  readonly malice: number
  /** Workers that are made to die, all in the first part. */
  readonly crashes: number
  /** Requests between two changes of the configuration. */
  readonly reloadEvery: number
  readonly progress?: (line: string) => void
  /** What clients speak; mixed: every other one HTTP/2. http1. */
  readonly downstream?: ChaosVersion
  /** What is spoken to upstreams; mixed: to those of every other host HTTP/2. http1. */
  readonly upstream?: ChaosVersion
  /** Every request as here, instead of drawn. */
  readonly plan?: (id: number) => RequestPlan
  readonly act?: (id: number, attempt: number) => Act
  /** A further look at what became of a request; empty: as it should be. */
  readonly judge?: (fate: Fate) => string
  /** No route has a timeout: nothing stalls. */
  readonly patient?: boolean
  /** How much a worker's memory may differ between the two measurements. */
  readonly slackBytes?: number
}

export interface RunReport {
  /** What must not be; empty is well. */
  readonly faults: readonly string[]
  readonly ledger: Ledger
  readonly summary: string
}

/** Also what may be kept of a request body for another attempt. */
export const BUFFER_BYTES = 65_536
const ENDPOINTS = 4
/** What letting go of connections and writing the last log lines may take. */
const SETTLE_MS = 20_000
/** More than a run differs from the next by; less than what a thousand leaked requests would take. */
const SLACK_BYTES = 4 * 2 ** 20

export function runChaos(t: Teardown, options: RunOptions): Promise<RunReport> {
  return new Run(options).go(t)
}

class Run {
  private readonly options: RunOptions
  private readonly ledger: Ledger
  private readonly started: number
  private readonly upstreams: HostileUpstream[]
  private nextId: number
  private goal: number
  private generation: number

  constructor(options: RunOptions) {
    this.options = options
    this.started = performance.now()
    this.upstreams = []
    this.nextId = 0
    this.goal = 0
    this.generation = 0
    this.ledger = new Ledger({
      retriesOf: (host) => {
        const { attempts, allowed } = retriesOf(host)
        return { attempts, guarded: options.retries === 'guarded' && !allowed }
      },
      act: (id, attempt) => this.act(id, attempt),
      endsLate: options.upstream !== undefined && options.upstream !== 'http1',
    })
  }

  async go(t: Teardown): Promise<RunReport> {
    const { options, ledger } = this
    for (let i = 0; i <= ENDPOINTS; i++) this.upstreams.push(await this.upstream(t, i))
    const [copies, ...endpoints] = this.upstreams.map((u) => u.address) as [string, ...string[]]
    const world: WorldOptions = {
      endpoints,
      copies,
      dead: `127.0.0.1:${await refusingPort()}`,
      patient: options.patient ?? false,
      version: options.upstream ?? 'http1',
    }
    const proxy = await startInProcess(t, mesh(world, 0), {
      bootstrap: {
        retries: options.retries,
        // Held-back retries and ejections are no news here.
        logLevel: 'error',
        accessLog: { path: './access.log', format: 'json' },
        limits: { bufferBytes: BUFFER_BYTES, streamIdleTimeout: '2s' },
      },
    })
    try {
      await this.both(proxy, world)
    } catch (error) {
      ledger.wrong(`${(error as Error).stack}\nthe log of the proxy ends with\n${proxy.log.slice(-12).join('')}`)
    }
    const { heard, answered, local, cut, left, writes, repeated } = ledger
    const took = ((performance.now() - this.started) / 1000).toFixed(1)
    const summary =
      `${heard} requests: ${answered} answered by an upstream, ${local} by the proxy, ${cut} cut, ${left} given up by their client; ` +
      `${writes} written to upstreams, ${repeated} of the requests more than once; ${this.generation} configurations, ` +
      `${ledger.crashes.length} dead workers; ${took} s`
    return { faults: ledger.faults, ledger, summary }
  }

  private async both(proxy: InProcess, world: WorldOptions): Promise<void> {
    const [warmUp, measured] = this.options.requests
    await this.part(proxy, world, warmUp, this.options.crashes)
    await this.settle(proxy)
    const before = await this.measure(proxy)
    await this.part(proxy, world, measured, 0)
    await this.settle(proxy)
    const after = await this.measure(proxy)
    for (const [i, then] of before.entries()) this.compare(then, after[i] as Holdings)
    this.judgeMetrics(proxy)
    this.ledger.judgeWrites()
  }

  private act(id: number, attempt: number): Act {
    const { act, seed, malice } = this.options
    return act?.(id, attempt) ?? drawAct(seed, this.plan(id), attempt, malice)
  }

  private plan(id: number): RequestPlan {
    return this.options.plan?.(id) ?? planRequest(this.options.seed, id, HOSTS, BUFFER_BYTES)
  }

  private upstream(t: Teardown, index: number): Promise<HostileUpstream> {
    const { ledger, options } = this
    const dice = new Dice(options.seed, `upstream ${index}`)
    const turnsAway = () => (options.act === undefined && dice.chance(0.02) ? dice.one(['fin', 'rst'] as const) : null)
    return HostileUpstream.start(t, {
      act: (id, attempt) => this.act(id, attempt),
      answerLength: (id) => this.plan(id).answerLength,
      onWrite: (write) => ledger.noteWrite(write),
      onWrong: (what) => ledger.wrong(`at an upstream: ${what}`),
      turnsAway,
    })
  }

  /** So many requests, while the configuration changes and workers die. */
  private async part(proxy: InProcess, world: WorldOptions, requests: number, crashes: number): Promise<void> {
    const { options, ledger } = this
    const first = this.nextId
    this.goal = first + requests
    const { downstream = 'http1' } = options
    const clients = Array.from({ length: options.clients }, (_, i) =>
      (downstream === 'http2' || (downstream === 'mixed' && i % 2 === 1) ? runHttp2Client : runClient)({
        port: () => proxy.port,
        next: () => this.take(),
        onFate: (fate) => this.note(fate),
      }),
    )
    let done = false
    const all = Promise.all(clients).finally(() => {
      done = true
    })
    all.catch(() => {})
    // All in the first half: those who come in their place have to warm up too.
    const betweenCrashes = Math.floor(requests / 2 / (crashes + 1))
    let [nextReload, nextCrash] = [first + options.reloadEvery, first + betweenCrashes]
    let crashed = 0
    while (!done) {
      await Promise.race([all, pause(10)])
      if (this.nextId >= nextReload && this.nextId < this.goal) {
        nextReload += options.reloadEvery
        await proxy.reload(mesh(world, ++this.generation), SETTLE_MS)
        options.progress?.(`${this.nextId} requests, configuration ${this.generation}, ${ledger.faults.length} faults`)
      }
      if (crashed < crashes && this.nextId >= nextCrash) {
        nextCrash += betweenCrashes
        await this.crash(proxy, crashed++ % 2)
      }
    }
    await all
  }

  private note(fate: Fate): void {
    this.ledger.noteFate(fate)
    const wrong = this.options.judge?.(fate) ?? ''
    if (wrong !== '') this.ledger.wrong(wrong)
  }

  private take(): RequestPlan | null {
    return this.nextId >= this.goal ? null : this.plan(this.nextId++)
  }

  private async crash(proxy: InProcess, index: number): Promise<void> {
    const restarts = () => proxy.metrics().value('heddle_worker_restarts_total') ?? 0
    const before = restarts()
    const crash = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY }
    this.ledger.crashes.push(crash)
    proxy.crash(index)
    await eventually('the crash to be counted', () => restarts() > before)
    await eventually('a replacement', () => proxy.supervisor.pool.serving === 2, SETTLE_MS)
    crash.toMs = performance.now()
  }

  /** Nothing is under way: no connection is left on either side, and every line is in the log. */
  private async settle(proxy: InProcess): Promise<void> {
    const lines = () => readLog(proxy)
    const expected = () => proxy.metrics().value('istio_requests_total', { reporter: 'source' }) ?? 0
    const crashes = this.ledger.crashes.length > 0
    // A worker that died took the lines with it that it had not written yet.
    await eventually('all log lines', () => crashes || lines().length >= expected(), SETTLE_MS).catch((e: Error) =>
      this.ledger.wrong(e.message),
    )
    if (crashes) await pause(500)
    await eventually(
      'connections to be gone',
      () => {
        for (const upstream of this.upstreams) upstream.disconnect()
        return open(proxy) === 0
      },
      SETTLE_MS,
    ).catch((e: Error) => this.ledger.wrong(`${e.message}; ${activeGauges(proxy).join(', ')}`))
  }

  private async measure(proxy: InProcess): Promise<Holdings[]> {
    const held = [await proxy.measure(0), await proxy.measure(1)]
    for (const gauge of activeGauges(proxy)) this.ledger.wrong(`at rest: ${gauge}`)
    for (const cell of held[0]?.shared ?? []) this.ledger.wrong(`at rest, in shared memory: ${cell}`)
    return held
  }

  private compare(before: Holdings, after: Holdings): void {
    const { ledger } = this
    const [then, now] = [before.heapBytes, after.heapBytes].map((b) => Math.round(b / 1024)) as [number, number]
    this.options.progress?.(`worker ${after.index}: ${then} KiB, then ${now}`)
    if (after.heapBytes - before.heapBytes > (this.options.slackBytes ?? SLACK_BYTES))
      ledger.wrong(`worker ${after.index} grew: ${then} KiB, then ${now}`)
    for (const kind of new Set([...Object.keys(before.resources), ...Object.keys(after.resources)])) {
      const [a, b] = [before.resources[kind] ?? 0, after.resources[kind] ?? 0]
      if (b > a) ledger.wrong(`worker ${after.index}: ${a} × ${kind}, then ${b}`)
    }
  }

  /** Clients, log and metrics counted the same. */
  private judgeMetrics(proxy: InProcess): void {
    const { ledger } = this
    const metrics = proxy.metrics()
    const value = (name: string) => metrics.value(name) ?? 0
    const lines = ledger.judgeLog(readLog(proxy))
    const counted = metrics.value('istio_requests_total', { reporter: 'source' }) ?? 0
    const begun = value('envoy_http_downstream_rq_total')
    const done = value('envoy_http_downstream_rq_completed')
    const what = `${ledger.heard} requests, ${lines} log lines, ${counted} counted, ${begun} begun, ${done} done`
    // What was reset before it was read is a request to its client only.
    const unread = ledger.unread
    const died = ledger.crashes.length > 0
    if (counted !== done || (died ? lines > counted : lines !== counted) || (died ? done > begun : done !== begun))
      ledger.wrong(what)
    if (died ? begun > ledger.heard : begun !== ledger.heard - unread) ledger.wrong(`${what}; ${unread} may not have been read`)
    if (value('heddle_boundary_errors_total') > 0)
      ledger.wrong(`exceptions: ${proxy.log.filter((l) => /error/i.test(l)).join('\n')}`)
  }
}

/** Connections, seen from the proxy. */
function open(proxy: InProcess): number {
  const metrics = proxy.metrics()
  return (metrics.value('envoy_http_downstream_cx_active') ?? 0) + (metrics.value('envoy_cluster_upstream_cx_active') ?? 0)
}

/** Gauges of what is under way that are not 0. */
function activeGauges(proxy: InProcess): string[] {
  return proxy
    .metrics()
    .samples.filter((s) => s.name.endsWith('_active') && s.value !== 0)
    .map((s) => `${s.name} ${JSON.stringify(s.labels)} ${s.value}`)
}

function readLog(proxy: InProcess): AccessLine[] {
  const text = readFileSync(path.join(proxy.folder, 'access.log'), 'utf8')
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((l) => l !== '')
    .map((l) => JSON.parse(l) as AccessLine)
}
