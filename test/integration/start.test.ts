// What keeps heddle from starting is said in words and in the exit code; what does not, is said as well.
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import type { Supervisor } from '../../lib/server/supervisor.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { prepareInProcess } from '../support/in-process.ts'
import { service, yaml } from '../support/mesh.ts'
import { type HeddleProcess, ROOT, runHeddle, startProxy } from '../support/proxy.ts'
import { askOnce, RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'

// Of the whole file: processes start slowly on a busy machine.
t.setTimeout(120_000)

function folderFor(t: Teardown, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-start-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    writeFileSync(path.join(folder, name), text)
  }
  return folder
}

/** A port on which somebody else listens. */
async function takenPort(t: Teardown): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as net.AddressInfo).port
}

interface Ports {
  readonly listener?: number
  readonly admin?: number
  readonly health?: number
}

const config = ({ listener = 0, admin = 0, health = 0 }: Ports) => `
concurrency: 2
admin: { port: ${admin} }
health: { port: ${health} }
accessLog: { path: null }
listeners:
  - { name: out, direction: outbound, port: ${listener} }
`

t.test('a port that is taken: which, by which setting, exit code 4', async (t) => {
  const taken = await takenPort(t)
  const rows: [what: string, ports: Ports, message: RegExp][] = [
    ['listener', { listener: taken }, new RegExp(`127\\.0\\.0\\.1:${taken}.*\`out\` \\(.*heddle\\.yaml:7\\).*taken`)],
    ['admin', { admin: taken }, new RegExp(`admin 127\\.0\\.0\\.1:${taken}.*taken.*admin\\.port`)],
    ['health', { health: taken }, new RegExp(`health 127\\.0\\.0\\.1:${taken}.*taken.*health\\.port`)],
  ]
  for (const [what, ports, message] of rows) {
    const folder = folderFor(t, { 'heddle.yaml': config(ports) })
    const { code, stderr } = await runHeddle(['run', '--config', path.join(folder, 'heddle.yaml')])
    t.equal(code, 4, what)
    t.match(stderr, message, what)
    t.notMatch(stderr, / at .*\.js:\d+/, 'a sentence, not a stack')
  }
})

t.test('a port that another heddle has is taken too, although both could share it', async (t) => {
  const port = await freePort()
  const first = await startProxy(t, { listeners: [{ name: 'out', port }], bootstrap: { concurrency: 2 } })
  const folder = folderFor(t, { 'heddle.yaml': config({ listener: port }) })
  const { code, stderr } = await runHeddle(['run', '--config', path.join(folder, 'heddle.yaml')])
  t.equal(code, 4)
  t.match(stderr, /the port is taken/)
  t.same(await first.stop(), { code: 0, signal: null })
  // The port is free at once, although connections of before may still be closing.
  const second = await startProxy(t, { listeners: [{ name: 'out', port }], bootstrap: { concurrency: 2 } })
  t.equal(second.port(), port)
})

t.test('an address that this machine does not have', async (t) => {
  const folder = folderFor(t, { 'heddle.yaml': config({}).replace('outbound,', 'outbound, address: 192.0.2.1,') })
  const { code, stderr } = await runHeddle(['run', '--config', path.join(folder, 'heddle.yaml')])
  t.equal(code, 4)
  t.match(stderr, /192\.0\.2\.1:0.*`out`/)
})

t.test('a folder of resources that is not there: exit code 3 and the place', async (t) => {
  const folder = folderFor(t, { 'heddle.yaml': 'resources: [ ./mehs ]\n', 'mesh/empty.yaml': '' })
  const { code, stderr } = await runHeddle(['run', '--config', path.join(folder, 'heddle.yaml')])
  t.equal(code, 3)
  t.match(stderr, /heddle\.yaml:1:14: .*no such file or folder: .*mehs/)
})

const reports = async (proxy: HeddleProcess) => {
  const detail = JSON.parse((await proxy.admin('/ready?detail')).body) as { lastGood: boolean; problems: string[] }
  const metrics = await proxy.metrics()
  return {
    status: (await proxy.admin('/ready')).status,
    lastGood: detail.lastGood,
    problems: detail.problems.join('\n'),
    lastReload: metrics.value('heddle_config_last_reload_successful'),
    refused: metrics.value('heddle_config_resources_refused'),
  }
}

t.test('what is broken at the start is left out, and said in the log, on /ready and in the metrics', async (t) => {
  const echo = await EchoUpstream.start(t)
  const good = yaml(service({ host: 'web', endpoints: [echo] }))
  const proxy = await startProxy(t, {
    resources: {
      'good.yaml': good,
      'broken.yaml': 'kind: [\n',
      'wrong.yaml':
        'apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: v }\nspec:\n  hosts: [ web ]\n  http:\n    - rout: []\n',
    },
  })
  t.equal((await askOnce(t, proxy.port(), { host: 'web' })).status, 200, 'the rest serves')
  const { problems, ...rest } = await reports(proxy)
  t.same(rest, { status: 200, lastGood: true, lastReload: 0, refused: 2 })
  for (const text of [problems, proxy.stderr]) {
    t.match(text, /broken\.yaml:\d+:\d+: /)
    t.match(text, /wrong\.yaml:7:7: .*VirtualService.*refused.*`?rout`?.*`?route`?/)
  }
  await proxy.reload({ 'broken.yaml': null, 'wrong.yaml': null })
  t.match(await reports(proxy), { lastGood: false, problems: '', lastReload: 1, refused: 0 })
})

t.test('a folder that goes away leaves the last good configuration in force, and is found again', async (t) => {
  const echo = await EchoUpstream.start(t)
  const proxy = await startProxy(t, { resources: yaml(service({ host: 'web', endpoints: [echo] })) })
  const mesh = path.join(proxy.dir, 'mesh')
  renameSync(mesh, `${mesh}-away`)
  await eventually('the loss to be said', async () => (await reports(proxy)).lastGood)
  t.match(await reports(proxy), { status: 200, problems: /mesh: /, lastReload: 0 })
  t.match(proxy.stderr, /the last good one stays in force/)
  t.equal((await askOnce(t, proxy.port(), { host: 'web' })).status, 200)
  renameSync(`${mesh}-away`, mesh)
  await eventually('it to be found', async () => !(await reports(proxy)).lastGood)
  t.equal((await askOnce(t, proxy.port(), { host: 'web' })).status, 200)
})

t.test('without koffi heddle runs all the same, with one worker where Node.js cannot share a port itself', async (t) => {
  const echo = await EchoUpstream.start(t)
  const withoutKoffi = { bin: treeWithoutKoffi(t), nodeArgs: ['--preserve-symlinks', '--preserve-symlinks-main'] }
  const proxy = await startProxy(t, {
    ...withoutKoffi,
    resources: yaml(service({ host: 'web', endpoints: [echo] })),
    bootstrap: { concurrency: 2 },
  })
  t.equal((await askOnce(t, proxy.port(), { host: 'web' })).status, 200)
  const [major, minor] = process.versions.node.split('.').map(Number) as [number, number]
  const shares = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12)
  t.equal((await proxy.metrics()).value('heddle_workers'), shares ? 2 : 1)
  t.equal(/one worker instead of the concurrency asked for.*koffi/.test(proxy.stderr), !shares)
  t.same(await proxy.stop(), { code: 0, signal: null })
  const listeners = [{ name: 'out', port: await takenPort(t) }]
  await t.rejects(startProxy(t, { ...withoutKoffi, listeners }), /the port is taken/, 'and it notices a port that is taken')
})

t.test('told to end while it starts, it does, and nothing is left', async (t) => {
  const echo = await EchoUpstream.start(t)
  const moments: [when: string, moment: (supervisor: Supervisor) => Promise<unknown>][] = [
    ['before its ports are bound', async () => {}],
    ['while its workers start', (s) => eventually('a listener', () => s.adminPort !== 0)],
  ]
  for (const [when, moment] of moments) {
    const { supervisor, log } = prepareInProcess(t, yaml(service({ host: 'web', endpoints: [echo] })))
    const started = supervisor.start()
    await moment(supervisor)
    await supervisor.shutdown('a signal')
    t.equal(await started, false, when)
    t.same(await supervisor.finished, [], when)
    t.equal(supervisor.pool.serving, 0, 'no worker')
    t.equal(log.filter((line) => / error /.test(line)).join(''), '', 'and it is no failure')
    for (const { port } of supervisor.boundPorts()) if (port !== 0) await t.rejects(RawClient.connect(t, port), /ECONNREFUSED/)
    if (supervisor.adminPort !== 0) await t.rejects(RawClient.connect(t, supervisor.adminPort), /ECONNREFUSED/)
  }
})

/** This tree as it is where the optional dependency could not be installed. Returns its bin/heddle. */
function treeWithoutKoffi(t: Teardown): string {
  const folder = folderFor(t, {})
  for (const name of ['bin', 'build', 'package.json']) symlinkSync(path.join(ROOT, name), path.join(folder, name))
  mkdirSync(path.join(folder, 'node_modules'))
  for (const name of readdirSync(path.join(ROOT, 'node_modules'))) {
    if (/^(yaml|valibot|re2js)$/.test(name)) {
      symlinkSync(path.join(ROOT, 'node_modules', name), path.join(folder, 'node_modules', name))
    }
  }
  return path.join(folder, 'bin/heddle')
}
