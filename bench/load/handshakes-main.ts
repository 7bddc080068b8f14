// `npm run bench:handshakes`: what a proxy pays for handshakes with client certificates, full and resumed, and for connections that are idle behind one.
// CPU time is that of the proxy's process, so that a client in Node.js, which is the slower end, decides nothing but how long it takes.
import { mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { makeCertificates } from './certificates.ts'
import { cleanUpAtExit, makeFolder } from './child.ts'
import { allowedCores, chooseCores } from './cores.ts'
import { cpuSeconds, residentBytes } from './cpu-time.ts'
import { findProgram } from './find-program.ts'
import { freePorts } from './free-port.ts'
import type { Peer } from './peer.ts'
import { envoyPeer } from './peer-envoy.ts'
import { haproxyPeer } from './peer-haproxy.ts'
import { heddlePeer } from './peer-heddle.ts'
import { untilAnswers } from './ready.ts'
import { HOST } from './scenario.ts'
import { table } from './table.ts'
import { startUpstream } from './upstream.ts'

const WARM_UP = 300
const HANDSHAKES = 600
const AT_ONCE = 8
/** Those before the first reading make the process as large as it gets by itself. */
const IDLE_BEFORE = 200
const IDLE = 500

interface Result {
  readonly peer: string
  readonly fullMicros: number
  readonly resumedMicros: number
  readonly idleKb: number
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

async function main(): Promise<void> {
  cleanUpAtExit()
  const cores = chooseCores(allowedCores(), findProgram('taskset', 'TASKSET') !== null)
  const folder = makeFolder()
  const certificates = makeCertificates(folder)
  const upstreamFolder = join(folder, 'upstream')
  mkdirSync(upstreamFolder)
  const [upstreamPort = 0] = await freePorts(1)
  const upstream = await startUpstream('http1', upstreamFolder, upstreamPort, cores.load)
  const root = join(dirname(import.meta.dirname), '..', '..')
  const peers: Peer[] = [
    heddlePeer({ id: 'heddle', root, concurrency: 1, survives: false, suits: () => true }),
    haproxyPeer(false),
    envoyPeer(),
  ]
  const context = tls.createSecureContext({
    cert: readFileSync(certificates.certificate),
    key: readFileSync(certificates.key),
    ca: readFileSync(certificates.root),
    minVersion: 'TLSv1.3',
  })
  const results: Result[] = []
  const only = process.argv.slice(2)
  for (const peer of peers) {
    if (only.length > 0 && !only.includes(peer.id)) continue
    if (peer.version === null) {
      say(`SKIPPED ${peer.id}: not installed. ${peer.install}`)
      continue
    }
    const own = join(folder, peer.id)
    mkdirSync(own)
    const [port = 0, hopPort = 0, ...sparePorts] = await freePorts(4)
    const hop = { port: hopPort, protocol: 'http1' as const, certificates }
    const child = peer.start({
      folder: own,
      port,
      sparePorts,
      upstreamPort,
      client: 'http1',
      upstream: 'http1',
      hop,
      core: cores.proxy,
    })
    await untilAnswers(child, port, '/1k', 'http1')
    say(`${peer.id} ${peer.version}`)
    const result = { peer: peer.id, ...(await measure(hopPort, child.pid, context)) }
    say(
      `  ${result.fullMicros.toFixed(0)} µs full, ${result.resumedMicros.toFixed(0)} µs resumed, ${result.idleKb.toFixed(1)} KB idle`,
    )
    results.push(result)
    await child.stop()
  }
  await upstream.child.stop()
  const perSecond = (micros: number): string => (1e6 / micros).toFixed(0)
  say(
    `\n${table(
      ['target', 'full µs', 'resumed µs', 'full/s of a core', 'resumed/s of a core', 'KB each idle connection'],
      results.map((r) => [
        r.peer,
        r.fullMicros.toFixed(0),
        r.resumedMicros.toFixed(0),
        perSecond(r.fullMicros),
        perSecond(r.resumedMicros),
        r.idleKb.toFixed(1),
      ]),
    )}`,
  )
}

async function measure(port: number, pid: number, context: tls.SecureContext): Promise<Omit<Result, 'peer'>> {
  await handshakes(port, context, WARM_UP, false)
  const full = await costOf(pid, () => handshakes(port, context, HANDSHAKES, false))
  await handshakes(port, context, WARM_UP, true)
  const resumed = await costOf(pid, () => handshakes(port, context, HANDSHAKES, true))
  const idle: tls.TLSSocket[] = []
  await open(port, context, IDLE_BEFORE, idle)
  await sleep(1000)
  const before = residentBytes(pid)
  await open(port, context, IDLE, idle)
  await sleep(1000)
  const after = residentBytes(pid)
  for (const socket of idle) socket.destroy()
  return {
    fullMicros: (full * 1e6) / HANDSHAKES,
    resumedMicros: (resumed * 1e6) / HANDSHAKES,
    idleKb: (after - before) / IDLE / 1024,
  }
}

/** Seconds of CPU time of the process. */
async function costOf(pid: number, run: () => Promise<void>): Promise<number> {
  const before = cpuSeconds(pid)
  await run()
  return cpuSeconds(pid) - before
}

/** `AT_ONCE` under way */
async function handshakes(port: number, context: tls.SecureContext, count: number, resume: boolean): Promise<void> {
  let begun = 0
  let resumed = 0
  const client = async (): Promise<void> => {
    let session: Buffer | null = null
    while (begun < count) {
      begun++
      const { ticket, reused } = await once(port, context, resume ? session : null, resume && session === null)
      session = ticket
      if (reused) resumed++
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
  if (resume && resumed < count - 2 * AT_ONCE) say(`  NOTE: only ${resumed} of ${count} were resumed`)
}

/** To the end of the connection, so that the server has looked at the client's certificate. A resumed session may bring no further ticket. */
function once(
  port: number,
  context: tls.SecureContext,
  session: Buffer | null,
  asks: boolean,
): Promise<{ ticket: Buffer | null; reused: boolean }> {
  return new Promise((resolve) => {
    const more = session === null ? {} : { session }
    const socket = tls.connect({ ...TERMS, port, secureContext: context, ...more })
    let ticket = session
    let reused = false
    // A reset behind a handshake that was done is an end like any other.
    socket.on('error', () => {})
    socket.on('session', (fresh: Buffer) => {
      ticket = fresh
    })
    socket.once('secureConnect', () => {
      reused = socket.isSessionReused()
      // Some send a ticket with their first answer only.
      if (asks) socket.write(`GET /1k HTTP/1.1\r\nhost: ${HOST}\r\nconnection: close\r\n\r\n`)
      else socket.end()
    })
    socket.on('close', () => resolve({ ticket, reused }))
    socket.resume()
  })
}

const TERMS = { host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }

async function open(port: number, context: tls.SecureContext, count: number, into: tls.TLSSocket[]): Promise<void> {
  for (let i = 0; i < count; i++) {
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      secureContext: context,
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    })
    into.push(socket)
    await new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('secureConnect', resolve)
    })
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    process.exit(1)
  },
)
