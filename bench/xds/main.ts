// What it costs to be fed, beside Envoy fed by the same control plane with the same resources: time until a change acts in all workers, memory of what
// nobody asks for, and CPU time of a small push into a large world. Seen from outside, in the same way for both.
// `npm run bench:xds -- [heddle] [envoy] [--rounds N] [--services 1000,5000] [--parts]`; with --parts memory of what services are made of, and nothing else
import { mkdirSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { FakeControlPlane } from '../../test/support/fake-control-plane.ts'
import { type Child, cleanUpAtExit, makeFolder } from '../load/child.ts'
import { allowedCores, chooseCores } from '../load/cores.ts'
import { cpuSeconds, residentBytes } from '../load/cpu-time.ts'
import { findProgram } from '../load/find-program.ts'
import { freePorts } from '../load/free-port.ts'
import { median } from '../load/summary.ts'
import { table } from '../load/table.ts'
import { envoyFed, type FedPeer, heddleFed } from './fed-peers.ts'
import { ENDPOINTS, PARTS, PROBE, setEndpoint, setListener, setRoutes, setServices } from './world.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '15' },
    services: { type: 'string', default: '1000,5000' },
    parts: { type: 'boolean', default: false },
  },
})
const ROUNDS = Number(values.rounds)
const SERVICES = values.services.split(',').map(Number)
const ROUTES = [1, 100, 10_000]
/** Enough that each of two workers has some, but for once in 2,048 runs. */
const CLIENTS = 12
/** Between two questions of a client: more of them would measure how fast questions are answered. */
const PAUSE_MS = 5
/** What a process has seen that is no longer young: JavaScript is compiled by its use, and a mesh is not fed by fifteen changes. */
const ASKED_MS = 3000
const FOLLOWED = [
  { routes: 1, changes: 100, others: 0 },
  { routes: 100, changes: 100, others: 0 },
  { routes: 10_000, changes: 10, others: 0 },
  { routes: 1, changes: 50, others: 1000 },
]
/** Virtual hosts of services beside the one that changes, in the same table, as istiod has them. */
const OTHERS = [100, 1000]
/** As many that are not measured come before. */
const PUSHES = 200
/** V8 gives memory back some ten seconds after it was busy. */
const SETTLE_MS = 15_000
const LIMIT_MS = 120_000

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const teardowns: (() => unknown)[] = []
/** No two changes that are measured say the same. */
let lastVersion = 1000
const teardown = { teardown: (fn: () => unknown) => void teardowns.push(fn) }

interface Fed {
  readonly plane: FakeControlPlane
  readonly child: Child
  readonly port: number
  /** From its start until it serves. */
  readonly startedMs: number
}

/** Which version answers; empty: none. */
function ask(port: number, agent: Agent): Promise<string> {
  return new Promise((done) => {
    const request = get({ host: '127.0.0.1', port, path: PROBE, agent, timeout: 5000 }, (response) => {
      let text = ''
      response.setEncoding('latin1').on('data', (d: string) => {
        text += d
      })
      response.on('end', () => done(response.statusCode === 200 ? text : ''))
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => done(''))
  })
}

/** Until all that was sent is acknowledged. */
async function settled(plane: FakeControlPlane): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  const isSettled = (): boolean => {
    const stream = plane.current
    if (stream === null || !stream.watched.has(XDS.route)) return false
    return [...stream.watched].every(([typeUrl, { nonce }]) =>
      plane.said.some((s) => s.stream === stream.index && s.typeUrl === typeUrl && s.nonce === nonce && s.kind === 'ACK'),
    )
  }
  while (!isSettled()) {
    const nack = plane.said.find((s) => s.kind === 'NACK')
    if (nack !== undefined) throw new Error(`NACK of ${nack.typeUrl}: ${nack.error}`)
    if (performance.now() > deadline) throw new Error('what was sent is not acknowledged')
    await sleep(2)
  }
}

async function start(peer: FedPeer, folder: string, set: (plane: FakeControlPlane) => void, core: number | null): Promise<Fed> {
  const plane = await FakeControlPlane.start(teardown)
  const [port = 0, ...spare] = await freePorts(3)
  setListener(plane, port)
  setRoutes(plane, 0, 1, 0)
  set(plane)
  mkdirSync(folder, { recursive: true })
  const began = performance.now()
  const child = peer.start(folder, plane.address.port, spare, core)
  const agent = new Agent()
  while ((await ask(port, agent)) !== '0') {
    if (child.hasExited()) throw new Error(`${peer.id} ended: ${child.tail()}`)
    if (performance.now() - began > LIMIT_MS) throw new Error(`${peer.id} does not serve: ${child.tail()}`)
    await sleep(20)
  }
  const startedMs = performance.now() - began
  agent.destroy()
  await settled(plane)
  return { plane, child, port, startedMs }
}

async function stop({ plane, child }: Fed): Promise<void> {
  await child.stop()
  plane.stop()
}

/** Questions without a pause, then changes one after the other. */
async function season({ plane, port }: Fed): Promise<void> {
  const agents = clients()
  const until = performance.now() + ASKED_MS
  const askOn = async (agent: Agent): Promise<void> => {
    while (performance.now() < until) await ask(port, agent)
  }
  await Promise.all(agents.map(askOn))
  for (const { routes, changes, others } of FOLLOWED) {
    for (let round = 1; round <= changes; round++) {
      setRoutes(plane, round, routes, others)
      plane.push([XDS.route])
      await settled(plane)
      await Promise.all(agents.map((agent) => ask(port, agent)))
    }
  }
  for (const agent of agents) agent.destroy()
}

function clients(): Agent[] {
  return Array.from({ length: CLIENTS }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
}

/** Milliseconds from a push until each of the clients, which ask again and again, has been answered by it; in text. */
async function timesToEffect({ plane, port }: Fed, routes: number, others = 0): Promise<string> {
  const agents = clients()
  const times: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    const version = ++lastVersion
    setRoutes(plane, version, routes, others)
    await Promise.all(agents.map((agent) => ask(port, agent)))
    await sleep(50)
    const began = performance.now()
    plane.push([XDS.route])
    const see = async (agent: Agent): Promise<void> => {
      while ((await ask(port, agent)) !== String(version)) {
        if (performance.now() - began > LIMIT_MS) throw new Error('the change does not come into force')
        await sleep(PAUSE_MS)
      }
    }
    await Promise.all(agents.map(see))
    // The first one has another number of routes than what was there.
    if (round > 0) times.push(performance.now() - began)
    await settled(plane)
  }
  for (const agent of agents) agent.destroy()
  return `${median(times).toFixed(1)} (${Math.min(...times).toFixed(1)}-${Math.max(...times).toFixed(1)})`
}

/** Milliseconds of CPU for each push of one other endpoint, without what the process takes anyway. */
async function pushCost(fed: Fed, services: number): Promise<number> {
  const { plane, child } = fed
  const push = async (round: number): Promise<void> => {
    setEndpoint(plane, (round * 7) % services, round)
    plane.push([XDS.endpoints])
    await settled(plane)
  }
  for (let round = 1; round <= PUSHES; round++) await push(round)
  const began = performance.now()
  const before = cpuSeconds(child.pid)
  for (let round = PUSHES + 1; round <= 2 * PUSHES; round++) await push(round)
  const busy = cpuSeconds(child.pid) - before
  const ms = performance.now() - began
  const idleFrom = cpuSeconds(child.pid)
  await sleep(ms)
  return ((busy - (cpuSeconds(child.pid) - idleFrom)) * 1000) / PUSHES
}

interface Result {
  readonly peer: string
  /** By ROUTES. */
  readonly young: readonly string[]
  readonly seasoned: readonly string[]
  /** Of one route, by OTHERS. */
  readonly among: readonly string[]
  /** MB with no services, and with each number of them. */
  readonly resident: readonly number[]
  readonly startedMs: readonly number[]
  readonly pushMs: number
}

async function measure(peer: FedPeer, folder: string, core: number | null): Promise<Result> {
  const young: string[] = []
  const seasoned: string[] = []
  const among: string[] = []
  const resident: number[] = []
  const startedMs: number[] = []
  let pushMs = 0
  for (const services of [0, ...SERVICES]) {
    const set = (plane: FakeControlPlane): void => {
      setServices(plane, services)
      setRoutes(plane, 0, 1, services)
    }
    const fed = await start(peer, join(folder, `${peer.id}-${services}`), set, core)
    await sleep(SETTLE_MS)
    resident.push(residentBytes(fed.child.pid))
    startedMs.push(fed.startedMs)
    say(
      `  ${peer.id}, ${services} services: ${(residentBytes(fed.child.pid) / 2 ** 20).toFixed(0)} MB, serves after ${fed.startedMs.toFixed(0)} ms`,
    )
    if (services === 0) {
      for (const routes of ROUTES) {
        young.push(await timesToEffect(fed, routes))
        say(`  ${peer.id}, ${routes} routes: ${young.at(-1)} ms to effect, the first changes of a process`)
      }
      await season(fed)
      for (const routes of ROUTES) {
        seasoned.push(await timesToEffect(fed, routes))
        say(`  ${peer.id}, ${routes} routes: ${seasoned.at(-1)} ms to effect, after many`)
      }
      for (const others of OTHERS) {
        among.push(await timesToEffect(fed, 1, others))
        say(`  ${peer.id}, 1 route among ${others} virtual hosts: ${among.at(-1)} ms to effect, after many`)
      }
    }
    if (services > 0 && services === SERVICES.at(-1)) {
      pushMs = await pushCost(fed, services)
      say(`  ${peer.id}: ${pushMs.toFixed(2)} ms of CPU for a push of one endpoint`)
    }
    await stop(fed)
  }
  return { peer: peer.id, young, seasoned, among, resident, startedMs, pushMs }
}

/** Bytes for one of each part. */
async function partBytes(peer: FedPeer, folder: string, core: number | null): Promise<number[]> {
  const resident = async (name: string, set: (plane: FakeControlPlane) => void): Promise<number> => {
    const fed = await start(peer, join(folder, `${peer.id}-${name}`), set, core)
    await sleep(SETTLE_MS)
    const bytes = residentBytes(fed.child.pid)
    say(`  ${peer.id}, ${name}: ${(bytes / 2 ** 20).toFixed(0)} MB`)
    await stop(fed)
    return bytes
  }
  const empty = await resident('nothing', () => {})
  const parts: number[] = []
  for (const { title, count, set } of PARTS) parts.push(((await resident(title, set)) - empty) / count)
  return parts
}

async function main(): Promise<void> {
  cleanUpAtExit()
  const cores = chooseCores(allowedCores(), findProgram('taskset', 'TASKSET') !== null)
  const folder = makeFolder()
  const peers = [heddleFed(resolve('.')), envoyFed()].filter(({ id, missing }) => {
    if (positionals.length > 0 && !positionals.includes(id)) return false
    if (missing !== null) say(`SKIPPED ${id}: ${missing}`)
    return missing === null
  })
  if (values.parts) {
    const columns: number[][] = []
    for (const peer of peers) columns.push(await partBytes(peer, folder, cores.proxy))
    const rows = PARTS.map(({ title, count }, i) => [
      `bytes for a ${title} (${count})`,
      ...columns.map((c) => (c[i] ?? 0).toFixed(0)),
    ])
    say(`\n${table(['', ...peers.map((p) => p.id)], rows)}`)
    return
  }
  const results: Result[] = []
  for (const peer of peers) results.push(await measure(peer, folder, cores.proxy))
  const kb = ({ resident }: Result, i: number): string =>
    (((resident[i + 1] ?? 0) - (resident[0] ?? 0)) / 1024 / (SERVICES[i] ?? 1)).toFixed(1)
  say(
    `\nservices of ${ENDPOINTS} endpoints each, with a virtual host each; two workers on one core; ${ROUNDS} changes, median (least-most)\n`,
  )
  const column = (title: string, read: (result: Result) => string): string[] => [title, ...results.map(read)]
  say(
    table(
      ['', ...results.map((r) => r.peer)],
      [
        ...ROUTES.map((routes, i) => column(`ms from a change to its effect, ${routes} routes`, (r) => r.seasoned[i] ?? '')),
        ...ROUTES.map((routes, i) => column(`... of the first changes of a process, ${routes} routes`, (r) => r.young[i] ?? '')),
        ...OTHERS.map((others, i) =>
          column(`ms to the effect of 1 route among ${others} virtual hosts`, (r) => r.among[i] ?? ''),
        ),
        column('MB without services', (r) => ((r.resident[0] ?? 0) / 2 ** 20).toFixed(0)),
        ...SERVICES.map((services, i) => column(`KB for each of ${services} services`, (r) => kb(r, i))),
        ...SERVICES.map((services, i) =>
          column(`ms until it serves with ${services} services`, (r) => (r.startedMs[i + 1] ?? 0).toFixed(0)),
        ),
        column(`ms of CPU, one other endpoint with ${SERVICES.at(-1)} services`, (r) => r.pushMs.toFixed(2)),
      ],
    ),
  )
}

main()
  .then(
    () => 0,
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
      return 1
    },
  )
  .then(async (code) => {
    for (const fn of teardowns) await fn()
    process.exit(code)
  })
