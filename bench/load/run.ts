// One scenario: every target is started once, then measured in turn, round after round, so that a disturbance of the
// machine falls on all of them alike. Targets that wait cost their core next to nothing.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeCertificates } from './certificates.ts'
import type { Cores } from './cores.ts'
import { residentBytes } from './cpu-time.ts'
import { freePorts } from './free-port.ts'
import type { Load } from './load.ts'
import { jobFor, measure, type Sample } from './measure.ts'
import type { Options } from './options.ts'
import type { Peer } from './peer.ts'
import { untilAnswers } from './ready.ts'
import type { Scenario } from './scenario.ts'
import type { Row } from './summary.ts'
import { syscallsPerRequest } from './syscalls.ts'
import type { Target } from './target.ts'

export interface RunOptions {
  readonly scenario: Scenario
  readonly loads: readonly Load[]
  readonly peers: readonly Peer[]
  /** Whether the upstream itself is measured too. */
  readonly direct: boolean
  readonly upstreamPort: number
  readonly folder: string
  readonly cores: Cores
  readonly options: Options
  /** Called with a line for the reader when something happened. */
  readonly say: (line: string) => void
}

/** Milliseconds after which a started process is taken to be idle. */
const SETTLE_MS = 1000

/** strace slows a proxy about tenfold: at the full rate of an open loop it would be saturated, and batch what it otherwise does one by one. */
const TRACE_SLOWDOWN = 10

export interface ScenarioResult {
  /** Tool by tool, targets in the order given. */
  readonly rows: readonly Row[]
  /** Calls per request by name, by target; empty unless asked for. */
  readonly syscalls: ReadonlyMap<string, ReadonlyMap<string, number>>
}

/** A peer that does not start is said and left out. */
export async function runScenario(run: RunOptions): Promise<ScenarioResult> {
  const targets: Target[] = run.direct ? [{ id: 'direct', port: run.upstreamPort, child: null, idleBytes: 0 }] : []
  try {
    for (const peer of run.peers) {
      const target = await start(peer, run)
      if (target !== null) targets.push(target)
    }
    const rows: Row[] = []
    for (const load of run.loads) rows.push(...(await runLoad(run, load, targets)))
    return { rows, syscalls: run.options.syscalls ? await traceAll(run, targets) : new Map() }
  } finally {
    await Promise.all(targets.map((target) => target.child?.stop()))
  }
}

async function start(peer: Peer, run: RunOptions): Promise<Target | null> {
  const folder = join(run.folder, run.scenario.id, peer.id)
  mkdirSync(folder, { recursive: true })
  const [port = 0, hopPort = 0, ...sparePorts] = await freePorts(4)
  const { client, upstream, path } = run.scenario
  const hop =
    run.scenario.hop === null ? null : { port: hopPort, protocol: run.scenario.hop, certificates: makeCertificates(run.folder) }
  const site = { folder, port, sparePorts, upstreamPort: run.upstreamPort, client, upstream, hop, core: run.cores.proxy }
  const child = peer.start(site)
  try {
    await untilAnswers(child, port, path, client)
  } catch (error) {
    run.say(`SKIPPED ${peer.id}: ${(error as Error).message}`)
    await child.stop()
    return null
  }
  await sleep(SETTLE_MS)
  return { id: peer.id, port, child, idleBytes: residentBytes(child.pid) }
}

/** By the last load, wrk where present: its start costs the proxy least. */
async function traceAll(run: RunOptions, targets: readonly Target[]): Promise<Map<string, Map<string, number>>> {
  const traced = new Map<string, Map<string, number>>()
  const load = run.loads.at(-1)
  for (const { id, port, child } of targets) {
    if (child === null || load === undefined) continue
    const scenario = { ...run.scenario, ratePerSecond: run.scenario.ratePerSecond / TRACE_SLOWDOWN }
    const job = jobFor(scenario, port, run.cores, run.options)
    try {
      traced.set(id, await syscallsPerRequest(child.pid, load, job, run.folder))
    } catch (error) {
      run.say(`SKIPPED system calls of ${id}: ${(error as Error).message}`)
    }
  }
  return traced
}

async function runLoad(run: RunOptions, load: Load, targets: readonly Target[]): Promise<Row[]> {
  const samples = new Map<string, Sample[]>(targets.map((target) => [target.id, []]))
  for (let round = 0; round < run.options.rounds; round++) {
    for (let i = 0; i < targets.length; i++) {
      // Each round begins with another target, so that no one always follows the same neighbour.
      const target = targets[(i + round) % targets.length] as Target
      const sample = await measure(target, load, run.scenario, run.cores, run.options)
      samples.get(target.id)?.push(sample)
      run.say(`  ${run.scenario.id} ${load.id} round ${round + 1} of ${run.options.rounds}: ${target.id} ${brief(sample)}`)
    }
  }
  return targets.map((target) => ({
    scenario: run.scenario.id,
    tool: load.id,
    target: target.id,
    idleBytes: target.idleBytes,
    samples: samples.get(target.id) ?? [],
  }))
}

function brief(sample: Sample): string {
  if (sample.failure !== '') return `FAILED, ${sample.failure}`
  const cpu = sample.cpuMicros === null ? '' : `, ${sample.cpuMicros.toFixed(1)} µs CPU each`
  return `${(sample.requests / sample.seconds).toFixed(0)} req/s${cpu}`
}
