// heddle run fed by a control plane: what changes there changes here, and what happens to traffic while it is away, wrong, or gone since before the start.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { runHeddle, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { putResource, setResource, xdsCluster, xdsEndpoints, xdsListener, xdsRoutes } from '../support/xds-json.ts'

const listener = (port: number, filters: readonly object[] = []): object =>
  xdsListener({ name: 'out', host: '127.0.0.1', port, routes: 'r', filters })
const route = (to: string): object => xdsRoutes('r', { '*': { '/': to } })

t.test('fed, changed, refused, alone, and started alone', async (t) => {
  const plane = await FakeControlPlane.start(t)
  const [a, b] = [await EchoUpstream.start(t, { name: 'a' }), await EchoUpstream.start(t, { name: 'b' })]
  const port = await freePort()
  const state = mkdtempSync(path.join(tmpdir(), 'heddle-state-'))
  t.teardown(() => rmSync(state, { recursive: true, force: true }))
  for (const [name, upstream] of [
    ['one', a],
    ['two', b],
  ] as const) {
    putResource(plane, XDS.cluster, xdsCluster(name))
    putResource(plane, XDS.endpoints, xdsEndpoints(name, upstream))
  }
  putResource(plane, XDS.listener, listener(port))
  putResource(plane, XDS.route, route('one'))
  const bootstrap = { resources: [], listeners: [], xds: { address: plane.hostAndPort, transport: 'plaintext', state } }
  const proxy = await startProxy(t, { bootstrap })
  const answers = async (): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${port}/`)
    return response.headers.get('x-upstream') ?? String(response.status)
  }
  t.equal(await answers(), 'a')

  putResource(plane, XDS.route, route('two'))
  await eventually('the route is another', async () => (await answers()) === 'b')
  putResource(plane, XDS.endpoints, xdsEndpoints('two', a))
  await eventually('the endpoint is another', async () => (await answers()) === 'a')

  const unknown = {
    name: 'guard',
    typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC', rules: { action: 'LOG' } },
  }
  putResource(plane, XDS.listener, { ...listener(port, [unknown]), name: 'bad', address: { pipe: { path: '/nowhere' } } })
  const nack = await plane.answered(XDS.listener, 'NACK')
  t.match(nack.error, /^bad: /)
  const status = JSON.parse((await proxy.admin('/control_plane')).body)
  t.match(status, { state: 'connected', address: plane.hostAndPort })
  const listeners = status.types.find((type: { readonly short: string }) => type.short === 'LDS')
  t.match(listeners, { answer: 'NACK', refused: [{ name: 'bad' }], lastNack: { text: nack.error } })
  t.equal(await answers(), 'a', 'the others stay')
  plane.remove(XDS.listener, 'bad')
  await plane.answered(XDS.listener)

  plane.stop()
  await eventually('it is noticed', async () => (await proxy.metrics()).value('envoy_control_plane_connected_state') === 0)
  t.equal(await answers(), 'a', 'what is in force stays')
  setResource(plane, XDS.route, route('one'))
  setResource(plane, XDS.endpoints, xdsEndpoints('one', b))
  await plane.resume()
  await eventually('what changed meanwhile is in force', async () => (await answers()) === 'b', 20_000)
  await proxy.said(/info +control plane \S+: it answers/)

  await proxy.stop()
  plane.stop()
  const again = await startProxy(t, { bootstrap })
  t.equal(await answers(), 'b', 'from disk')
  const sources = async (): Promise<string[]> => {
    const { types } = (await again.adminJson('/control_plane')) as { readonly types: readonly { readonly source: string }[] }
    return [...new Set(types.map(({ source }) => source).filter((source) => source !== 'none'))]
  }
  t.same(await sources(), ['disk'], 'which is said')
  await again.said(/info +resources of \S+ are taken from disk until the control plane answers/)
  const told = await runHeddle(['xds', 'status', '--admin', `127.0.0.1:${again.adminPort}`])
  t.match(told.stdout, /from disk/)
  setResource(plane, XDS.route, route('two'))
  await plane.resume()
  await eventually('the control plane is back', async () => (await answers()) === 'a', 20_000)
  t.same(await sources(), ['stream'])
})

/** A port that somebody has, and how to give it back. */
async function takenPort(t: Teardown): Promise<{ readonly port: number; readonly free: () => Promise<void> }> {
  const port = await freePort()
  const server = net.createServer()
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return { port, free: () => new Promise((resolve) => void server.close(() => resolve())) }
}

for (const role of ['gateway', 'sidecar'])
  t.test(`a ${role} serves although one of its ports is taken`, async (t) => {
    const plane = await FakeControlPlane.start(t)
    const upstream = await EchoUpstream.start(t, { name: 'a' })
    const port = await freePort()
    const taken = await takenPort(t)
    putResource(plane, XDS.cluster, xdsCluster('one'))
    putResource(plane, XDS.endpoints, xdsEndpoints('one', upstream))
    putResource(plane, XDS.listener, listener(port))
    putResource(plane, XDS.listener, { ...listener(taken.port), name: 'other' })
    putResource(plane, XDS.route, route('one'))
    const xds = { address: plane.hostAndPort, transport: 'plaintext' }
    const proxy = await startProxy(t, { bootstrap: { role, resources: [], listeners: [], xds } })
    t.match(proxy.stderr, new RegExp(`cannot listen on 127.0.0.1:${taken.port} for listener`))
    const ask = async (at: number) => (await fetch(`http://127.0.0.1:${at}/`)).headers.get('x-upstream')
    t.equal(await ask(port), 'a')
    await taken.free()
    putResource(plane, XDS.listener, { ...listener(await freePort()), name: 'third' })
    await eventually('it has got the port', async () => (await ask(taken.port)) === 'a')
  })

t.test('a sidecar whose capturing listener cannot have its port ends, and says why', async (t) => {
  const plane = await FakeControlPlane.start(t)
  const { port } = await takenPort(t)
  putResource(plane, XDS.cluster, xdsCluster('one'))
  putResource(plane, XDS.endpoints, xdsEndpoints('one'))
  putResource(plane, XDS.listener, listener(await freePort()))
  putResource(plane, XDS.listener, { ...listener(port), name: 'virtualInbound', use_original_dst: true })
  putResource(plane, XDS.route, route('one'))
  const folder = mkdtempSync(path.join(tmpdir(), 'heddle-taken-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = path.join(folder, 'heddle.yaml')
  const nowhere = { address: '127.0.0.1', port: 0 }
  const xds = { address: plane.hostAndPort, transport: 'plaintext' }
  writeFileSync(file, JSON.stringify({ role: 'sidecar', admin: nowhere, health: nowhere, resources: [], listeners: [], xds }))
  const { code, stderr } = await runHeddle(['run', '--config', file])
  t.equal(code, 4)
  t.match(stderr, new RegExp(`cannot listen on 127.0.0.1:${port} for listener .virtualInbound.* the port is taken`))
})
