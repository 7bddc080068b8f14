// The README's main job: `heddle dev` brings up a mesh that does what it promises, and leaves nothing behind.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { eventually, within } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { header } from '../support/h1-reader.ts'
import { Metrics } from '../support/metrics.ts'
import { httpRequest, ROOT } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

const run = promisify(execFile)

/** This tree with a demo on ports that are free; whoever runs it may change config/demo just so. */
async function treeWithFreePorts(t: Teardown): Promise<{ folder: string; ports: number[] }> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-dev-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const name of ['bin', 'build', 'package.json', 'node_modules']) symlinkSync(path.join(ROOT, name), path.join(folder, name))
  cpSync(path.join(ROOT, 'config/demo'), path.join(folder, 'config/demo'), { recursive: true })
  mkdirSync(path.join(folder, 'tmp'))
  const file = path.join(folder, 'config/demo/mesh/upstreams.yaml')
  const ports: number[] = []
  let text = readFileSync(file, 'utf8')
  for (const port of text.match(/http: \d+/g) ?? []) {
    ports.push(await freePort())
    text = text.replace(port, `http: ${ports.at(-1)}`)
  }
  writeFileSync(file, text)
  // The one that takes mutual TLS, and the server behind it.
  const [secure, behind] = [await freePort(), await freePort()]
  for (const [name, from, to] of [
    ['mesh/ledger.yaml', 'http: 19443', `http: ${secure}`],
    ['heddle.yaml', 'port: 19443', `port: ${secure}`],
    ['heddle.yaml', '127.0.0.1:19084', `127.0.0.1:${behind}`],
  ] as const) {
    const at = path.join(folder, 'config/demo', name)
    writeFileSync(at, readFileSync(at, 'utf8').replace(from, to))
  }
  return { folder, ports }
}

const NODE_ARGS = ['--preserve-symlinks', '--preserve-symlinks-main']

class Dev {
  readonly folder: string
  readonly child: ChildProcess
  readonly upstreamPorts: readonly number[]
  stdout: string
  stderr: string
  readonly exited: Promise<number | null>

  constructor(folder: string, upstreamPorts: readonly number[], adminPort: number) {
    this.folder = folder
    this.upstreamPorts = upstreamPorts
    this.stdout = ''
    this.stderr = ''
    const args = ['bin/heddle', 'dev', '--port', '0', '--admin-port', String(adminPort), '--health-port', '0']
    this.child = spawn(process.execPath, [...NODE_ARGS, ...args], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], TMPDIR: path.join(folder, 'tmp') },
    })
    this.child.stdout?.setEncoding('utf8').on('data', (d: string) => {
      this.stdout += d
    })
    this.child.stderr?.setEncoding('utf8').on('data', (d: string) => {
      this.stderr += d
    })
    this.exited = new Promise((resolve) => this.child.on('close', (code) => resolve(code)))
  }

  /** Port of an address that the welcome shows on the line of this name. */
  shown(name: string): number {
    const port = Number(new RegExp(`^ +${name} .*?127\\.0\\.0\\.1:(\\d+)`, 'm').exec(this.stdout)?.[1])
    if (!(port > 0)) throw new Error(`no port of ${name} in ${this.stdout}`)
    return port
  }

  async heddle(...args: readonly string[]): Promise<string> {
    return (await run(process.execPath, [...NODE_ARGS, 'bin/heddle', ...args], { cwd: this.folder })).stdout
  }

  async metrics(): Promise<Metrics> {
    return new Metrics((await httpRequest(this.shown('metrics'), '/stats/prometheus')).body)
  }
}

/** Within four standard deviations of a binomial distribution. */
const isShare = (count: number, of: number, p: number) => Math.abs(count - of * p) <= 4 * Math.sqrt(of * p * (1 - p))

t.test('heddle dev does what it prints', async (t) => {
  const { folder, ports } = await treeWithFreePorts(t)
  const files = () => readdirSync(folder, { recursive: true }).map(String).sort()
  const before = files()
  const dev = new Dev(folder, ports, await freePort())
  t.teardown(() => dev.child.kill('SIGKILL'))
  await eventually(
    'the welcome',
    () => {
      if (dev.child.exitCode !== null) throw new Error(dev.stderr)
      return dev.stdout.includes('Ctrl-C ends all of it')
    },
    20_000,
  )
  const health = Number(/health on 127\.0\.0\.1:(\d+)/.exec(dev.stderr)?.[1])
  const proxyPort = dev.shown('proxy')
  const mirrorSeen = async () => Number(/has seen (\d+)/.exec((await httpRequest(dev.shown('mirror'), '/seen')).body)?.[1])

  await t.test('the curl lines', async (t) => {
    const lines = dev.stdout.split('\n').filter((line) => /^ +curl /.test(line))
    t.equal(lines.length, 4)
    const answers: string[] = []
    for (const line of lines) {
      try {
        answers.push((await run('sh', ['-c', line])).stdout)
      } catch (error) {
        if ((error as { code?: number }).code !== 127) throw error
        t.pass('skipped', { skip: 'curl is not installed' })
        return
      }
    }
    t.match(answers[0], /^HTTP\/1\.1 200 OK\r\n[\s\S]*x-served-by: reviews-v[12]\r\n/)
    t.match(answers[1], /^HTTP\/1\.1 200 OK\r\n/)
    t.match(answers[3], /^HTTP\/1\.1 200 OK\r\n[\s\S]*x-forwarded-client-cert: By=spiffe:\/\/cluster\.local\/ns\/demo\/sa\/web;/)
    t.match(answers[2], /^HTTP\/1\.1 504 Gateway Timeout\r\n[\s\S]*\r\nupstream request timeout$/)
  })

  const client = await RawClient.connect(t, proxyPort)

  await t.test('nine of ten to v1, one to v2, a copy of each to the mirror', async (t) => {
    const REQUESTS = 1000
    const copies = await mirrorSeen()
    const served = new Map<string, number>()
    for (let i = 0; i < REQUESTS; i++) {
      const by = header(await client.ask({ host: 'reviews' }), 'x-served-by') ?? ''
      served.set(by, (served.get(by) ?? 0) + 1)
    }
    t.same([...served.keys()].sort(), ['reviews-v1', 'reviews-v2'])
    t.ok(isShare(served.get('reviews-v2') ?? 0, REQUESTS, 0.1), `${served.get('reviews-v2')} of ${REQUESTS} to v2`)
    await eventually('the copies', async () => (await mirrorSeen()) >= copies + REQUESTS)
    t.equal(await mirrorSeen(), copies + REQUESTS)
  })

  await t.test('retries hide that the service fails two times of three', async (t) => {
    const retries = async () => (await dev.metrics()).value('envoy_cluster_upstream_rq_retry') ?? 0
    const first = await retries()
    const statuses: number[] = []
    for (let i = 0; i < 20; i++) statuses.push((await client.ask({ host: 'reviews', target: '/flaky' })).status)
    t.same([...new Set(statuses)], [200])
    t.equal((await retries()) - first, 40, 'two more attempts each')
  })

  await t.test('half of /fault is answered 418 and never leaves', async (t) => {
    const REQUESTS = 400
    let aborted = 0
    for (let i = 0; i < REQUESTS; i++) {
      const { status } = await client.ask({ host: 'reviews', target: '/fault' })
      if (status === 418) aborted++
      else if (status !== 200) t.fail(`status ${status}`)
    }
    t.ok(isShare(aborted, REQUESTS, 0.5), `${aborted} of ${REQUESTS}`)
  })

  await t.test('explain, before and after a request', async (t) => {
    const [, future] = dev.stdout.split('\n').filter((line) => / explain /.test(line))
    t.match(future, /explain --config config\/demo\/heddle\.yaml http:\/\/reviews\/ -H 'x-canary: true'/)
    const canary = await dev.heddle(
      'explain',
      '--config',
      'config/demo/heddle.yaml',
      'POST',
      'http://reviews/',
      '-H',
      'x-canary: true',
    )
    t.match(canary, /canary/)
    t.match(canary, /mesh\/reviews\.yaml:\d+/)
    t.match(canary, new RegExp(`127\\.0\\.0\\.1:${dev.upstreamPorts[1]}`), 'v2')

    const answer = await client.ask({ host: 'reviews', target: '/flaky', headers: { 'x-request-id': 'asked-just-now' } })
    t.equal(answer.status, 200)
    const text = await dev.heddle('explain', 'asked-just-now', '--admin-port', String(dev.shown('metrics')))
    t.match(text, /flaky/)
    t.match(text, /mesh\/reviews\.yaml:\d+/)
    const json = JSON.parse(
      await dev.heddle('explain', 'asked-just-now', '--json', '--admin-port', String(dev.shown('metrics'))),
    ) as Record<string, unknown>
    t.match(json, {
      id: 'asked-just-now',
      route: { kind: 'VirtualService', namespace: 'demo', name: 'reviews', file: 'config/demo/mesh/reviews.yaml' },
      cluster: 'outbound|9080|v1|reviews.demo.svc.cluster.local',
      endpoint: `127.0.0.1:${dev.upstreamPorts[0]}`,
    })
    // The answer of the demo's service shows the id that a request without one was given.
    const body = (await client.ask({ host: 'reviews' })).body.toString()
    const id = /^x-request-id: (\S+)$/m.exec(body)?.[1] ?? ''
    t.match(await dev.heddle('explain', id, '--admin-port', String(dev.shown('metrics'))), /main/)
  })

  await t.test('a file that is edited is in force while it runs', async () => {
    const file = path.join(folder, 'config/demo/mesh/reviews.yaml')
    const text = readFileSync(file, 'utf8')
    writeFileSync(
      file,
      text
        .replace('timeout: 500ms', 'timeout: 501ms')
        .replace('httpStatus: 418', 'httpStatus: 451')
        .replace('value: 50', 'value: 100'),
    )
    await eventually('the new fault', async () => (await client.ask({ host: 'reviews', target: '/fault' })).status === 451)
    writeFileSync(file, text)
  })

  await t.test('Ctrl-C drains and leaves nothing behind', async (t) => {
    await client.send({ host: 'reviews', target: '/slow' })
    await eventually(
      'the request to be on its way',
      async () => ((await dev.metrics()).value('envoy_cluster_upstream_rq_active') ?? 0) > 0,
    )
    dev.child.kill('SIGINT')
    t.equal((await client.response()).status, 504, 'what was in flight has its answer')
    t.equal(await within('heddle dev to end', dev.exited, 10_000, () => dev.stderr), 0)
    for (const port of [proxyPort, dev.shown('metrics'), health, ...ports]) {
      await t.rejects(RawClient.connect(t, port), /ECONNREFUSED/, `port ${port} is free`)
    }
    t.same(files(), before, 'no file more or less')
  })
})

t.test('a port of the demo that is taken is said with the place to change it', async (t) => {
  const { folder, ports } = await treeWithFreePorts(t)
  const server = (await import('node:net')).createServer()
  await new Promise<void>((resolve) => server.listen(ports[1], '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const dev = new Dev(folder, ports, await freePort())
  t.equal(await within('heddle dev to end', dev.exited, 10_000), 4)
  t.match(
    dev.stderr,
    new RegExp(`cannot listen on 127\\.0\\.0\\.1:${ports[1]} .*EADDRINUSE.*config/demo/mesh/upstreams\\.yaml:\\d+`),
  )
})
