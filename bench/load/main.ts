// `npm run bench`: heddle and its peers under the same load, one core for the proxy. See ../README.md.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { compare } from './aims.ts'
import { cleanUpAtExit, makeFolder } from './child.ts'
import { allowedCores, type Cores, chooseCores } from './cores.ts'
import { findProgram } from './find-program.ts'
import { freePorts } from './free-port.ts'
import type { Load } from './load.ts'
import { H2LOAD_INSTALL, h2loadLoad } from './load-h2load.ts'
import { autocannonLoad, openLoopLoad } from './load-node.ts'
import { WRK_INSTALL, wrkLoad } from './load-wrk.ts'
import { HELP, type Options, parseOptions } from './options.ts'
import type { Peer } from './peer.ts'
import { envoyPeer } from './peer-envoy.ts'
import { haproxyPeer } from './peer-haproxy.ts'
import { type HeddleOptions, heddlePeer } from './peer-heddle.ts'
import { nghttpxPeer } from './peer-nghttpx.ts'
import { nginxPeer } from './peer-nginx.ts'
import { reportOf, syscallsReport } from './report.ts'
import { runScenario } from './run.ts'
import { type Protocol, SCENARIOS, type Scenario } from './scenario.ts'
import { type Row, summarise } from './summary.ts'
import { startUpstream, type Upstream } from './upstream.ts'

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
  const scenarios = SCENARIOS.filter(({ id }) => options.scenarios.includes(id))
  const loads = closedLoops(options, folder, scenarios)
  const peers = presentPeers(options, scenarios)
  const upstreams = await startUpstreams(scenarios, folder, cores)
  heading(options, cores, upstreams, loads, peers)

  const rows: Row[] = []
  const traced: Traced[] = []
  for (const scenario of scenarios) {
    say(`\n## ${scenario.id}: ${scenario.title}\n`)
    const { rows: measured, syscalls } = await runScenario({
      scenario,
      loads: scenario.ratePerSecond > 0 ? [openLoopLoad()] : loads.filter((load) => isFor(load, scenario)),
      peers: peers.filter((peer) => peer.suits(scenario)),
      direct: options.only?.includes('direct') ?? true,
      upstreamPort: upstreams.get(scenario.upstream)?.port ?? 0,
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
  await Promise.all([...upstreams.values()].map((upstream) => upstream.child.stop()))
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

/** One for each protocol that the scenarios need. */
async function startUpstreams(scenarios: readonly Scenario[], folder: string, cores: Cores): Promise<Map<Protocol, Upstream>> {
  const upstreams = new Map<Protocol, Upstream>()
  for (const { upstream } of scenarios) {
    if (upstreams.has(upstream)) continue
    const [port = 0] = await freePorts(1)
    const own = join(folder, `upstream-${upstream}`)
    mkdirSync(own)
    upstreams.set(upstream, await startUpstream(upstream, own, port, cores.load))
  }
  return upstreams
}

function isFor(load: Load, scenario: Scenario): boolean {
  return (load.id === 'h2load') === (scenario.client !== 'http1')
}

function closedLoops(options: Options, folder: string, scenarios: readonly Scenario[]): Load[] {
  const wrk = wrkLoad(folder)
  const h2load = h2loadLoad(folder)
  const present = [
    autocannonLoad(),
    ...needed(wrk, `wrk: not installed. ${WRK_INSTALL}`),
    ...needed(h2load, `h2load: not installed. ${H2LOAD_INSTALL}`),
  ]
  const wanted = options.tools
  const fitting = present.filter((load) => scenarios.some((scenario) => isFor(load, scenario)))
  if (wanted !== null) return fitting.filter((load) => wanted.some((tool) => tool === load.id))
  return options.quick && wrk !== null ? fitting.filter((load) => load.id !== 'autocannon') : fitting
}

function needed(load: Load | null, missing: string): Load[] {
  if (load === null) say(`SKIPPED ${missing}`)
  return load === null ? [] : [load]
}

function presentPeers(options: Options, scenarios: readonly Scenario[]): Peer[] {
  const root = checkoutRoot()
  const heddle = (id: string, more: Partial<HeddleOptions>): Peer =>
    heddlePeer({ id, root, concurrency: 1, survives: false, suits: () => true, ...more })
  const all = [
    heddle('heddle', {}),
    heddle('heddle-survive', { survives: true, suits: ({ id }) => id === 'h1-1k' }),
    // On one core they only matter for memory and tails, which the open loop shows.
    heddle('heddle-2w', { concurrency: 2, suits: (scenario) => scenario.ratePerSecond > 0 }),
    ...(options.base === null ? [] : [heddle('heddle-base', { root: resolve(options.base) })]),
    haproxyPeer(false),
    haproxyPeer(true),
    nginxPeer(),
    nghttpxPeer(),
    envoyPeer(),
  ]
  const wanted = all.filter((peer) => (options.only?.includes(peer.id) ?? true) && scenarios.some((each) => peer.suits(each)))
  for (const peer of wanted) if (peer.version === null) say(`SKIPPED ${peer.id}: not installed. ${peer.install}`)
  return wanted.filter((peer) => peer.version !== null)
}

/** The folder of package.json above this file, wherever the build put it. */
function checkoutRoot(): string {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder)
  return folder
}

function heading(
  options: Options,
  cores: Cores,
  upstreams: ReadonlyMap<Protocol, Upstream>,
  loads: readonly Load[],
  peers: readonly Peer[],
): void {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU'
  say(`${model}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()}, Node.js ${process.version}`)
  say(
    cores.warning === ''
      ? `proxy on core ${cores.proxy}, load generator and upstream on core ${cores.load}`
      : `NOTE: ${cores.warning}`,
  )
  for (const { title } of upstreams.values()) say(`upstream, ${title}`)
  say(`load: ${loads.map((load) => `${load.id} ${load.version}`).join(', ')}; HTTP/1.1 over ${options.connections} connections`)
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
