// identity.onOldCertificate: connections that stand on a certificate are replaced before it ends, spread over a window, once there is a newer one.
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import type { TcpChain } from '../../lib/state/listener.ts'
import { ALL_METRICS } from '../../lib/state/metric-terms.ts'
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
import { RawClient } from '../support/raw-client.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { aDownstreamTls, anUpstreamTls, meshSecrets } from '../support/tls-ends.ts'

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER = 'spiffe://cluster.local/ns/shop/sa/server'
const HOUR = 3_600_000
const ca = await SigningCa.root(t, 'mesh')
const [client, server, longer] = await Promise.all([
  ca.issue({ uris: [CLIENT], lifetimeMs: 24 * HOUR }),
  ca.issue({ uris: [SERVER], lifetimeMs: HOUR }),
  ca.issue({ uris: [SERVER], lifetimeMs: 10 * HOUR }),
])
const secretsOf = (issued: Issued) => meshSecrets({ identity: SERVER, issued, roots: { 'cluster.local': [ca.rootPem] } })
const APP = 'inbound|80||'

async function world(t: Teardown, drains = true) {
  const app = await EchoUpstream.start(t)
  const silent = net.createServer((socket) => socket.on('error', () => {}).write('hello'))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const terms = aDownstreamTls({ alpn: ['h2', 'http/1.1'] })
  const tcp: TcpChain = {
    kind: 'tcp',
    clusters: [aDestination('tcp')],
    byServerName: false,
    tunnel: null,
    hashSourceIp: false,
    connectAttempts: 1,
    serverNamePort: 0,
    metrics: ALL_METRICS,
    idleTimeoutMs: null,
    maxDurationMs: null,
    accessLogs: [],
    authorization: [],
  }
  const route = aRoute({ action: aForward({ clusters: [aDestination(APP)] }) })
  const worker = await OneWorker.start(
    t,
    aSnapshot({
      listeners: [
        aListener({
          name: 'http',
          direction: 'inbound',
          filterChains: [aFilterChain({ tls: terms, network: anHttpChain({ routeTable: 'any' }) })],
        }),
        aListener({ name: 'tcp', direction: 'inbound', filterChains: [aFilterChain({ tls: terms, network: tcp })] }),
      ],
      routeTables: [aRouteTable({ name: 'any', virtualHosts: [aVirtualHost({ routes: [route] })] })],
      clusters: [
        aCluster({ name: APP, endpoints: [anEndpoint({ port: app.port })] }),
        aCluster({ name: 'tcp', endpoints: [anEndpoint({ port: (silent.address() as net.AddressInfo).port })] }),
      ],
    }),
    { secrets: secretsOf(server) },
  )
  worker.io.tls.drainsOld = drains
  let shiftMs = 0
  Object.defineProperty(worker.io.clock, 'wallMs', { get: () => Date.now() + shiftMs, set: () => {} })
  return {
    worker,
    /** So much later, by our clock: OpenSSL looks at its own. */
    later: (ms: number) => {
      shiftMs = ms
      worker.sweep()
    },
  }
}

const terms = { host: '127.0.0.1', cert: client.chain, key: client.key, rejectUnauthorized: false }

function dial(t: Teardown, port: number): tls.TLSSocket {
  const socket = tls.connect({ ...terms, port })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

async function ask(socket: net.Socket): Promise<string> {
  socket.write('GET /x HTTP/1.1\r\nhost: reviews\r\n\r\n')
  return String((await once(socket, 'data'))[0]).split('\r\n\r\n')[0] as string
}

const MINUTE = 60_000

t.test('HTTP/1.1: the next answer is the last, once there is a newer certificate and its turn has come', async (t) => {
  const { worker, later } = await world(t)
  const socket = dial(t, worker.ports['http'] as number)
  t.notMatch(await ask(socket), /connection: close/i)
  later(59.9 * MINUTE)
  t.notMatch(await ask(socket), /connection: close/i, 'there is no better one to be had')
  worker.io.tls.use(secretsOf(longer))
  later(40 * MINUTE)
  t.notMatch(await ask(socket), /connection: close/i, 'it is too early')
  later(59.9 * MINUTE)
  t.match(await ask(socket), /connection: close/i)
  const next = dial(t, worker.ports['http'] as number)
  later(59.9 * MINUTE)
  t.notMatch(await ask(next), /connection: close/i, 'one on the new certificate stays')
})

t.test('spread over the window', async (t) => {
  const { worker, later } = await world(t)
  const sockets = Array.from({ length: 40 }, () => dial(t, worker.ports['http'] as number))
  for (const socket of sockets) await ask(socket)
  worker.io.tls.use(secretsOf(longer))
  const due: number[] = []
  for (const minute of [47, 50, 54, 57, 59.9]) {
    later(minute * MINUTE)
    let n = 0
    for (const { chain } of worker.listeners.chains())
      for (const session of chain.filter?.sessions ?? []) if (session.connection.retired) n++
    due.push(n)
  }
  t.equal(due[0], 0, 'none before the last fifth')
  t.equal(due.at(-1), 40, 'all before the end')
  t.ok((due[1] as number) < (due[2] as number) && (due[2] as number) < (due[3] as number), due.join())
})

t.test('HTTP/2: GOAWAY', async (t) => {
  const { worker, later } = await world(t)
  const session = http2.connect(`https://127.0.0.1:${worker.ports['http']}`, terms)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/x', ':authority': 'reviews' })
  stream.resume()
  await once(stream, 'end')
  worker.io.tls.use(secretsOf(longer))
  const goaway = once(session, 'goaway')
  later(59.9 * MINUTE)
  await goaway
  later(59.95 * MINUTE)
  await eventually('the connection to end', () => session.destroyed)
  t.same(worker.errors, [])
})

t.test('TCP: at the end, and not before', async (t) => {
  const { worker, later } = await world(t)
  const socket = dial(t, worker.ports['tcp'] as number)
  await once(socket, 'data')
  worker.io.tls.use(secretsOf(longer))
  later(59.5 * MINUTE)
  t.notOk(socket.destroyed)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  later(60.1 * MINUTE)
  await closed
  t.match(await worker.record(0), { connection_termination_details: 'certificate_expired' })
})

t.test('keep: nothing happens', async (t) => {
  const { worker, later } = await world(t, false)
  const [http, tcp] = [dial(t, worker.ports['http'] as number), dial(t, worker.ports['tcp'] as number)]
  await once(tcp, 'data')
  await ask(http)
  worker.io.tls.use(secretsOf(longer))
  later(61 * MINUTE)
  t.notMatch(await ask(http), /connection: close/i)
  t.notOk(tcp.destroyed)
})

t.test('upstream connections, idle ones too', async (t) => {
  for (const protocol of ['http1', 'http2'] as const) {
    const inbound = await world(t)
    const [mine, next] = await Promise.all([
      ca.issue({ uris: [CLIENT], lifetimeMs: HOUR }),
      ca.issue({ uris: [CLIENT], lifetimeMs: 9 * HOUR }),
    ])
    const of = (issued: Issued) => meshSecrets({ identity: CLIENT, issued, roots: { 'cluster.local': [ca.rootPem] } })
    const route = aRoute({ action: aForward({ clusters: [aDestination('up')] }) })
    const endpoint = anEndpoint({ port: inbound.worker.ports['http'] as number, tls: true })
    const worker = await OneWorker.start(
      t,
      aSnapshot({
        listeners: [aListener({ filterChains: [aFilterChain({ network: anHttpChain({ routeTable: 'any' }) })] })],
        routeTables: [aRouteTable({ name: 'any', virtualHosts: [aVirtualHost({ routes: [route] })] })],
        clusters: [aCluster({ name: 'up', protocol, tls: anUpstreamTls(), endpoints: [endpoint] })],
      }),
      { secrets: of(mine) },
    )
    worker.io.tls.drainsOld = true
    let shiftMs = 0
    Object.defineProperty(worker.io.clock, 'wallMs', { get: () => Date.now() + shiftMs, set: () => {} })
    const asking = await RawClient.connect(t, worker.ports['out'] as number)
    t.equal((await asking.ask({ host: 'reviews' })).status, 200)
    worker.io.tls.use(of(next))
    worker.sweep()
    t.equal(worker.io.tls.notAfterOf('default') > Date.now() + 8 * HOUR, true)
    shiftMs = 59.9 * MINUTE
    worker.sweep()
    await eventually('the old one to end', () => inbound.worker.listeners.connections === 0)
    t.equal((await asking.ask({ host: 'reviews' })).status, 200)
    t.equal(inbound.worker.listeners.connections, 1)
  }
})
