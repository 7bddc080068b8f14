// What becomes of open connections when their filter chain changes or goes: those of other chains do not notice, requests that are under way are answered, and
// nobody stays on terms that are not there any more.
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { type FilterChain, MATCH_EVERYTHING } from '../../lib/state/listener.ts'
import { ALL_METRICS } from '../../lib/state/metric-terms.ts'
import type { RbacFilter, RbacPolicy } from '../../lib/state/rbac.ts'
import type { Snapshot } from '../../lib/state/snapshot.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import {
  aCluster,
  aDestination,
  aFilterChain,
  aForward,
  aListener,
  anEndpoint,
  anHttpChain,
  aRoute,
  aRouteTable,
  aSnapshot,
  aVirtualHost,
} from '../support/nouns.ts'
import { OneWorker } from '../support/one-worker.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { aDownstreamTls, meshSecrets } from '../support/tls-ends.ts'

const ca = await SigningCa.root(t, 'mesh')
const SERVER = 'spiffe://cluster.local/ns/shop/sa/server'
const [client, server] = await Promise.all([
  ca.issue({ uris: ['spiffe://cluster.local/ns/shop/sa/client'] }),
  ca.issue({ uris: [SERVER] }),
])
const secrets = meshSecrets({ identity: SERVER, issued: server, roots: { 'cluster.local': [ca.rootPem] } })

const mesh = aFilterChain({
  name: 'mesh',
  match: { ...MATCH_EVERYTHING, transportProtocol: 'tls' },
  tls: aDownstreamTls(),
  network: anHttpChain({ routeTable: 'any' }),
})
const plain = aFilterChain({
  name: 'plain',
  match: { ...MATCH_EVERYTHING, transportProtocol: 'raw_buffer' },
  network: anHttpChain({ routeTable: 'any' }),
})
const allows = (...policies: RbacPolicy[]): RbacFilter => ({ rules: { action: 'ALLOW', policies }, shadow: null })

function world(port: number, filterChains: readonly FilterChain[]): Snapshot {
  const route = aRoute({ action: aForward({ clusters: [aDestination('app')] }) })
  return aSnapshot({
    listeners: [aListener({ name: 'in', direction: 'inbound', filterChains })],
    routeTables: [aRouteTable({ name: 'any', virtualHosts: [aVirtualHost({ routes: [route] })] })],
    clusters: [aCluster({ name: 'app', endpoints: [anEndpoint({ port })] })],
  })
}

function raw(t: Teardown, port: number): net.Socket {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

function secure(t: Teardown, port: number): tls.TLSSocket {
  const options = { cert: client.chain, key: client.key, ca: [ca.rootPem], checkServerIdentity: () => undefined }
  const socket = tls.connect({ port, host: '127.0.0.1', ...options })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

async function answer(socket: net.Socket): Promise<string> {
  socket.write('GET /x HTTP/1.1\r\nhost: reviews\r\n\r\n')
  return String((await once(socket, 'data'))[0])
}

t.test('a chain with other TLS: its connections end, those of another chain stay', async (t) => {
  const app = await EchoUpstream.start(t)
  const worker = await OneWorker.start(t, world(app.port, [mesh, plain]), { secrets })
  const port = worker.ports['in'] as number
  const [one, other] = [secure(t, port), raw(t, port)]
  t.match(await answer(one), /^HTTP\/1.1 200/)
  t.match(await answer(other), /^HTTP\/1.1 200/)

  worker.use(world(app.port, [{ ...mesh }, { ...plain }]))
  t.match(await answer(one), /^HTTP\/1.1 200/, 'nothing changed')

  worker.use(world(app.port, [{ ...mesh, tls: aDownstreamTls({ alpn: ['http/1.1'] }) }, plain]))
  one.resume()
  await once(one, 'close')
  t.match(await answer(other), /^HTTP\/1.1 200/)
  t.match(await answer(secure(t, port)), /^HTTP\/1.1 200/, 'a new connection is taken')
  t.same(worker.errors, [])
})

t.test('a chain of requests that is changed keeps its connections', async (t) => {
  const app = await EchoUpstream.start(t)
  const worker = await OneWorker.start(t, world(app.port, [plain]), {})
  const socket = raw(t, worker.ports['in'] as number)
  t.match(await answer(socket), /^HTTP\/1.1 200/)
  const network = anHttpChain({ routeTable: 'any', authorization: [allows()] })
  worker.use(world(app.port, [{ ...plain, network }]))
  t.match(await answer(socket), /^HTTP\/1.1 403/, 'the next request is judged by the new rules')
})

t.test('a request under way is answered, and told to be the last', async (t) => {
  const app = await EchoUpstream.start(t)
  const worker = await OneWorker.start(t, world(app.port, [plain]), {})
  const socket = raw(t, worker.ports['in'] as number)
  socket.write('POST /x HTTP/1.1\r\nhost: reviews\r\ncontent-length: 4\r\n\r\nab')
  await eventually('the request', () => worker.listeners.connections === 1 && app.openConnections === 1)
  worker.use(world(app.port, []))
  socket.write('cd')
  let text = ''
  socket.on('data', (d) => {
    text += String(d)
  })
  await once(socket, 'close')
  t.match(text, /^HTTP\/1.1 200/)
  t.match(text, /connection: close/i)
})

t.test('bytes: who was let in by rules that are not there any more may go on for the time of a drain', async (t) => {
  const echo = net.createServer((socket) => socket.pipe(socket))
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  t.teardown(() => echo.close())
  const port = (echo.address() as net.AddressInfo).port
  const everybody: RbacPolicy = {
    name: 'all',
    permissions: [{ kind: 'any' }],
    principals: [{ kind: 'any' }],
    origin: plain.origin,
  }
  const tcp = (filters: readonly RbacFilter[]) =>
    ({
      kind: 'tcp',
      clusters: [aDestination('app')],
      byServerName: false,
      tunnel: null,
      hashSourceIp: false,
      connectAttempts: 1,
      serverNamePort: 0,
      metrics: ALL_METRICS,
      idleTimeoutMs: null,
      maxDurationMs: null,
      accessLogs: [],
      authorization: filters,
    }) as const
  const first = { ...plain, network: tcp([allows(everybody)]) }
  const worker = await OneWorker.start(t, world(port, [first]), { drainMs: 1 })
  const socket = raw(t, worker.ports['in'] as number)
  socket.write('one')
  t.equal(String((await once(socket, 'data'))[0]), 'one')

  worker.use(world(port, [{ ...first, network: tcp([allows(everybody)]) }]))
  worker.sweep()
  socket.write('two')
  t.equal(String((await once(socket, 'data'))[0]), 'two', 'nothing changed')

  worker.use(world(port, [{ ...first, network: tcp([allows()]) }]))
  socket.write('three')
  t.equal(String((await once(socket, 'data'))[0]), 'three', 'it is not cut at once')
  socket.resume()
  const closed = once(socket, 'close')
  await eventually('the end', () => {
    worker.sweep()
    return socket.destroyed
  })
  await closed
  t.equal(worker.listeners.connections, 0)
  t.same(worker.errors, [])
})
