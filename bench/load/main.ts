// `npm run bench`: heddle and its peers under the same load, one core for the proxy. See ../README.md.
import { existsSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { compare } from './aims.ts'
import { cleanUpAtExit, makeFolder } from './child.ts'
import { allowedCores, type Cores, chooseCores } from './cores.ts'
import { findProgram } from './find-program.ts'
import { freePorts } from './free-port.ts'
import type { Load } from './load.ts'
import { autocannonLoad, openLoopLoad } from './load-node.ts'
import { WRK_INSTALL, wrkLoad } from './load-wrk.ts'
import { HELP, type Options, parseOptions } from './options.ts'
import type { Peer } from './peer.ts'
import { envoyPeer } from './peer-envoy.ts'
import { haproxyPeer } from './peer-haproxy.ts'
import { heddlePeer } from './peer-heddle.ts'
import { nginxPeer } from './peer-nginx.ts'
import { reportOf, syscallsReport } from './report.ts'
import { runScenario } from './run.ts'
import { SCENARIOS, type Scenario } from './scenario.ts'
import { type Row, summarise } from './summary.ts'
import { startUpstream } from './upstream.ts'

const say = (line: string): void => void process.stdout.write(`${line}\n`)

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') {
    process.stdout.write(HELP)
    return 0
  }
  if ('error' in options) {
    process.stderr.write(`${options.error}\n\n${HELP}`)
    return 2
  }
  if (process.platform !== 'linux') {
    process.stderr.write('The benchmark reads CPU time from /proc and runs on Linux only.\n')
    return 2
  }
  cleanUpAtExit()
  const cores = chooseCores(allowedCores(), findProgram('taskset', 'TASKSET') !== null)
  const folder = makeFolder()
  const loads = closedLoops(options, folder)
  const peers = presentPeers(options)
  const [upstreamPort = 0] = await freePorts(1)
  const upstream = await startUpstream(folder, upstreamPort, cores.load)
  heading(options, cores, upstream.title, loads, peers)

  const rows: Row[] = []
  const traced: Traced[] = []
  for (const scenario of SCENARIOS.filter(({ id }) => options.scenarios.includes(id))) {
    say(`\n## ${scenario.id}: ${scenario.title}\n`)
    const { rows: measured, syscalls } = await runScenario({
      scenario,
      loads: scenario.ratePerSecond > 0 ? [openLoopLoad()] : loads,
      peers: peers.filter((peer) => suits(peer, scenario)),
      direct: options.only?.includes('direct') ?? true,
      upstreamPort,
      folder,
      cores,
      options,
      say,
    })
    for (const tool of new Set(measured.map((row) => row.tool))) {
      say(`\n### ${scenario.id}, ${tool}\n\n${reportOf(measured.filter((row) => row.tool === tool))}`)
    }
    if (syscalls.size > 0) say(`\n${syscallsReport(syscalls)}`)
    rows.push(...measured)
    for (const [target, calls] of syscalls) traced.push({ scenario: scenario.id, target, calls: Object.fromEntries(calls) })
  }
  if (options.json !== null) writeJson(options.json, options, peers, rows, traced)
  await upstream.child.stop()
  if (rows.length === 0) {
    say('\nNothing was measured: no target or no load generator of those wanted is installed.')
    return 1
  }
  return rows.some((row) => summarise(row).failure !== '') ? 1 : 0
}

/** System calls per request of one target, by name. */
interface Traced {
  readonly scenario: string
  readonly target: string
  readonly calls: Readonly<Record<string, number>>
}

/** Two workers on one core only matter for memory and tails, which the open loop shows. */
function suits(peer: Peer, scenario: Scenario): boolean {
  return peer.id !== 'heddle-2w' || scenario.ratePerSecond > 0
}

function closedLoops(options: Options, folder: string): Load[] {
  const wrk = wrkLoad(folder)
  if (wrk === null) say(`SKIPPED wrk: not installed. ${WRK_INSTALL}`)
  const present = wrk === null ? [autocannonLoad()] : [autocannonLoad(), wrk]
  const wanted = options.tools
  if (wanted !== null) return present.filter((load) => wanted.some((tool) => tool === load.id))
  return options.quick ? present.slice(-1) : present
}

function presentPeers(options: Options): Peer[] {
  const root = checkoutRoot()
  const all = [
    heddlePeer({ id: 'heddle', root, concurrency: 1 }),
    heddlePeer({ id: 'heddle-2w', root, concurrency: 2 }),
    ...(options.base === null ? [] : [heddlePeer({ id: 'heddle-base', root: resolve(options.base), concurrency: 1 })]),
    haproxyPeer(false),
    haproxyPeer(true),
    nginxPeer(),
    envoyPeer(),
  ]
  const wanted = all.filter((peer) => options.only?.includes(peer.id) ?? true)
  for (const peer of wanted) if (peer.version === null) say(`SKIPPED ${peer.id}: not installed. ${peer.install}`)
  return wanted.filter((peer) => peer.version !== null)
}

/** The folder of package.json above this file, wherever the build put it. */
function checkoutRoot(): string {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder)
  return folder
}

function heading(options: Options, cores: Cores, upstream: string, loads: readonly Load[], peers: readonly Peer[]): void {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU'
  say(`${model}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()}, Node.js ${process.version}`)
  say(
    cores.warning === ''
      ? `proxy on core ${cores.proxy}, load generator and upstream on core ${cores.load}`
      : `NOTE: ${cores.warning}`,
  )
  say(`upstream: ${upstream}`)
  say(`load: ${loads.map((load) => `${load.id} ${load.version}`).join(', ')}, ${options.connections} connections`)
  say(`${options.rounds} rounds of ${options.durationS} s after ${options.warmUpS} s of warm-up each; medians`)
  for (const peer of peers) say(`${peer.id} ${peer.version}: ${peer.setup}`)
}

function writeJson(
  file: string,
  options: Options,
  peers: readonly Peer[],
  rows: readonly Row[],
  syscalls: readonly Traced[],
): void {
  const report = {
    date: new Date().toISOString(),
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem(), kernel: release(), node: process.version },
    options,
    peers: peers.map(({ id, version, setup }) => ({ id, version, setup })),
    rows: rows.map((row) => ({ ...row, summary: summarise(row) })),
    comparisons: compare(rows),
    syscalls,
  }
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    process.exit(1)
  },
)
