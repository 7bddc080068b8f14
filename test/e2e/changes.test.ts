// What changes while requests come: certificates, configuration, workers that die, sidecars that end. None of them costs a request that it does not have to cost.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { PodLoad } from './load.ts'
import { Mesh, type Pod, type SidecarOptions } from './pods.ts'
import { echoed, echoServer } from './programs.ts'

t.setTimeout(170_000)
const skip = canMakeNamespaces()

/** Loaded before heddle: the first worker dies of an exception when the process is told so. */
const CRASH = `
import { BroadcastChannel, isMainThread, workerData } from 'node:worker_threads'
const channel = new BroadcastChannel('crash')
channel.unref()
if (isMainThread) process.on('SIGUSR2', () => channel.postMessage(''))
else if (workerData?.index === 0) channel.onmessage = () => setImmediate(() => { throw new Error('told to crash') })
`

/** Connections to `short` serve five requests each, so that handshakes go on. Retries are Istio's default, two. */
const POLICY = `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: short, namespace: default }
spec: { host: short, trafficPolicy: { connectionPool: { http: { maxRequestsPerConnection: 5 } } } }
`

t.test('changes under load', { skip }, async (t) => {
  const ports = [{ name: 'http', port: 80, target: 8080 }]
  const mesh = await Mesh.make(t, {
    pods: [
      { name: 'web', app: 'web', number: 11 },
      { name: 'api-1', app: 'api', number: 12 },
      { name: 'api-2', app: 'api', number: 13 },
    ],
    services: [
      { name: 'api', number: 1, ports, pods: ['api-1', 'api-2'] },
      { name: 'short', number: 2, ports, pods: ['api-1', 'api-2'] },
    ],
    policy: POLICY,
  })
  const [web, one, two] = mesh.pods as [Pod, Pod, Pod]
  const crash = path.join(mesh.dir, 'crash.mjs')
  writeFileSync(crash, CRASH)
  for (const pod of [one, two]) await pod.serve(echoServer(pod.spec.name, 8080), echoServer(pod.spec.name, 8090))
  const crashing: SidecarOptions = { bootstrap: { concurrency: 2 }, nodeArgs: ['--import', crash] }
  await mesh.sidecars(['web', 'api-1', 'api-2'], {
    web: crashing,
    'api-1': { ...crashing, bootstrap: { concurrency: 2, drain: { accept: '4s', deadline: '10s' } } },
  })

  t.test('certificates that are replaced every few seconds', async (t) => {
    const load = await PodLoad.start(web, 'http://short/', 6)
    for (let round = 1; round <= 4; round++) {
      await Promise.all(mesh.pods.map((pod) => mesh.issue(pod, '60s')))
      await load.certificates(1 + round)
    }
    const { answered, lost, certificates } = await load.stop()
    t.same(lost, [])
    t.ok(answered > 100, `${answered} answers`)
    const seen = Object.keys(certificates)
    t.ok(seen.length >= 5 && !seen.includes('none'), 'the server has seen each of them')
  })

  t.test('connections are replaced before their certificate ends', async (t) => {
    // The short-lived one is in use before the load comes, so that all of its connections stand on it.
    const before = await PodLoad.start(web, 'http://short/', 2)
    await mesh.issue(web, '16s')
    const ends = Date.now() + 16_000
    await before.certificates(2)
    t.same((await before.stop()).lost, [])
    const load = await PodLoad.start(web, 'http://api/', 6)
    await mesh.issue(web)
    await eventually('the end of the certificate', () => Date.now() > ends + 1000, 20_000)
    const { lost, certificates } = await load.stop()
    t.same(lost, [])
    const [old = 0, next = 0, ...more] = Object.values(certificates)
    t.ok(old > 0 && old < ends, `the old one was last seen ${ends - old} ms before its end`)
    t.ok(next > ends, 'the new one is in use')
    t.same(more, [])
  })

  t.test('a port of a service that comes and goes', async (t) => {
    const load = await PodLoad.start(web, 'http://api/', 6)
    const extra = mesh.yamlOf({
      name: 'extra',
      number: 9,
      ports: [{ name: 'http', port: 90, target: 8090 }],
      pods: ['api-1', 'api-2'],
    })
    await mesh.change({ 'extra.yaml': extra })
    const { stdout, stderr } = await web.curl('http://10.96.0.9:90/new')
    t.match(echoed(stdout)[0], { url: '/new' }, stderr)
    t.match(echoed(stdout)[0]?.headers['x-forwarded-client-cert'], `URI=${web.identity}`, 'on both sides')
    await mesh.change({ 'extra.yaml': null })
    const gone = await web.curl('--max-time', '2', '-f', 'http://10.96.0.9:90/gone')
    t.not(gone.code, 0)
    t.same((await load.stop()).lost, [], 'the others notice nothing')
  })

  for (const [whose, pod] of [
    ["the client's", web],
    ["the server's", one],
  ] as const) {
    t.test(`a worker of ${whose} sidecar that dies`, async (t) => {
      const clients = 8
      const load = await PodLoad.start(web, 'http://api/', clients)
      pod.sidecar.signal('SIGUSR2')
      await pod.sidecar.said(/told to crash/)
      const restarts = async () => (await pod.sidecar.metrics()).value('heddle_worker_restarts_total')
      await eventually('another worker', async () => (await restarts()) === 1, 15_000)
      const { lost, answered } = await load.stop()
      t.ok(lost.length <= clients, `at most what that worker had: ${lost.length} of ${answered}`)
      const after = await PodLoad.start(web, 'http://api/', clients)
      await after.certificates(1)
      const later = await after.stop()
      t.same([later.lost, 'none' in later.certificates], [[], false], 'the new one has its certificate')
    })
  }

  t.test('a sidecar that ends loses no request', async (t) => {
    const load = await PodLoad.start(web, 'http://api/', 8)
    one.sidecar.signal('SIGTERM')
    await one.sidecar.said(/draining: new connections for 4000 ms still/)
    // As the control plane says it when readiness has failed; until then clients go on coming.
    const services = [['api', 1] as const, ['short', 2] as const].map(([name, number]) =>
      mesh.yamlOf({ name, number, ports, pods: ['api-2'] }),
    )
    await web.sidecar.reload({ 'mesh.yaml': [...services, ...mesh.pods.map((p) => p.yaml)].join('') }, 15_000)
    t.match(await one.sidecar.exited, { code: 0 })
    const { stdout, stderr } = await web.curl('http://api/after?[1-20]')
    t.same(
      echoed(stdout).map((e) => e.pod),
      Array(20).fill('api-2'),
      stderr,
    )
    const { lost, pods } = await load.stop()
    t.same(lost, [])
    t.ok((pods['api-1'] ?? 0) > 0 && (pods['api-2'] ?? 0) > 0, 'both had some')
  })
})
