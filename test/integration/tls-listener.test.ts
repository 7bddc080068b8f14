// A listener that takes TLS, plaintext, or both: which chain takes whom, what is said of who is not taken, and what those cost who are up to no good.
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { type FilterChain, MATCH_EVERYTHING, type TcpChain } from '../../lib/state/listener.ts'
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
import { OneWorker, type OneWorkerOptions } from '../support/one-worker.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { aDownstreamTls, meshSecrets, pattern } from '../support/tls-ends.ts'

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER = 'spiffe://cluster.local/ns/shop/sa/server'
const ca = await SigningCa.root(t, 'mesh')
const [client, server, second] = await Promise.all([
  ca.issue({ uris: [CLIENT] }),
  ca.issue({ uris: [SERVER] }),
  ca.issue({ uris: [SERVER] }),
])
const ROOTS = { 'cluster.local': [ca.rootPem] }
const OURS = meshSecrets({ identity: SERVER, issued: server, roots: ROOTS })
const ISTIO = ['istio-peer-exchange', 'istio', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2']
const APP = 'inbound|80||'
const http = anHttpChain({ routeTable: 'any' })
const tcp: TcpChain = {
  kind: 'tcp',
  clusters: [aDestination(APP)],
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
const mesh = aDownstreamTls({ alpn: ['h2', 'http/1.1'] })

const chains: Readonly<Record<'strict' | 'permissive' | 'plain' | 'only', readonly FilterChain[]>> = {
  strict: [aFilterChain({ name: 'mesh', match: { ...MATCH_EVERYTHING, transportProtocol: 'tls' }, tls: mesh, network: http })],
  permissive: [
    aFilterChain({
      name: 'mesh',
      match: { ...MATCH_EVERYTHING, transportProtocol: 'tls', applicationProtocols: ISTIO },
      tls: mesh,
      network: http,
    }),
    aFilterChain({
      name: 'plain http',
      match: { ...MATCH_EVERYTHING, transportProtocol: 'raw_buffer', applicationProtocols: ['http/1.1', 'h2c'] },
      network: http,
    }),
    aFilterChain({ name: 'plain tcp', match: { ...MATCH_EVERYTHING, transportProtocol: 'raw_buffer' }, network: tcp }),
    aFilterChain({ name: 'application tls', match: { ...MATCH_EVERYTHING, transportProtocol: 'tls' }, network: tcp }),
  ],
  plain: [aFilterChain({ network: http })],
  only: [aFilterChain({ tls: mesh, network: http })],
}

async function start(
  t: Teardown,
  kind: keyof typeof chains,
  port: number,
  options: OneWorkerOptions = {},
): Promise<{ worker: OneWorker; port: number }> {
  const route = aRoute({ action: aForward({ clusters: [aDestination(APP)] }) })
  const worker = await OneWorker.start(
    t,
    aSnapshot({
      listeners: [aListener({ name: 'in', direction: 'inbound', filterChains: chains[kind] })],
      routeTables: [aRouteTable({ name: 'any', virtualHosts: [aVirtualHost({ routes: [route] })] })],
      clusters: [aCluster({ name: APP, endpoints: [anEndpoint({ port })] })],
    }),
    { secrets: OURS, ...options },
  )
  return { worker, port: worker.ports['in'] as number }
}

/** A client of the mesh by Node. */
function dial(t: Teardown, port: number, over: tls.ConnectionOptions = {}): tls.TLSSocket {
  const socket = tls.connect({
    port,
    host: '127.0.0.1',
    cert: client.chain,
    key: client.key,
    ca: [ca.rootPem],
    checkServerIdentity: () => undefined,
    ...over,
  })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

async function answer(socket: net.Socket): Promise<string> {
  socket.write('GET /x HTTP/1.1\r\nhost: reviews\r\n\r\n')
  return String((await once(socket, 'data'))[0]).split('\r\n')[0] as string
}

function raw(t: Teardown, port: number): net.Socket {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

t.test('STRICT', async (t) => {
  const app = await EchoUpstream.start(t)
  const { worker, port } = await start(t, 'strict', app.port)
  t.equal(await answer(dial(t, port)), 'HTTP/1.1 200 OK')
  const plain = raw(t, port)
  plain.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  plain.resume()
  await once(plain, 'close')
  t.equal(plain.bytesRead, 0, 'it is told nothing')
  await eventually('a line', () => worker.log.some((l) => /no filter chain takes plaintext/.test(l)))
  t.equal(worker.listeners.connections, 1)
  t.same(worker.errors, [])
})

t.test('PERMISSIVE: mesh, plaintext, and TLS of the application', async (t) => {
  // An application that terminates TLS itself, and one that speaks HTTP, on one port.
  const app = tls.createServer({ cert: second.chain, key: second.key, ALPNProtocols: ['http/1.1'] }, (socket) =>
    socket.end('the application'),
  )
  app.listen(0, '127.0.0.1')
  await once(app, 'listening')
  t.teardown(() => app.close())
  const { worker, port } = await start(t, 'permissive', (app.address() as net.AddressInfo).port)
  const own = dial(t, port, { servername: 'app.example', ALPNProtocols: ['http/1.1'] })
  t.equal(String((await once(own, 'data'))[0]), 'the application')
  t.match(await worker.record(0), { requested_server_name: 'app.example', upstream_cluster: APP })

  const echo = await EchoUpstream.start(t)
  const both = await start(t, 'permissive', echo.port)
  t.equal(await answer(dial(t, both.port, { ALPNProtocols: ['istio-http/1.1', 'istio', 'http/1.1'] })), 'HTTP/1.1 200 OK')
  t.equal(await answer(raw(t, both.port)), 'HTTP/1.1 200 OK')
  await eventually('both records', () => both.worker.records.length === 2)
  t.match(
    both.worker.series.map((s) => /connection_security_policy="(\w+)"/.exec(s.labels)?.[1]).filter((p) => p !== undefined),
    ['mutual_tls', 'none'],
  )
})

t.test('TLS to a listener of plaintext', async (t) => {
  const { worker, port } = await start(t, 'plain', 1)
  const socket = dial(t, port)
  await new Promise((resolve) => socket.once('close', resolve))
  t.match(worker.handshakes, [
    {
      side: 'server',
      reason: 'tls',
      text: 'the client speaks TLS to a listener that takes plaintext HTTP',
      details: { listener: 'in' },
    },
  ])
})

t.test('the certificate is not there yet', async (t) => {
  const app = await EchoUpstream.start(t)
  const { worker, port } = await start(t, 'strict', app.port, { secrets: { ...OURS, own: '', identities: [] } })
  const socket = dial(t, port)
  await new Promise((resolve) => socket.once('close', resolve))
  t.match(worker.handshakes, [{ reason: 'not_ready', text: 'its certificate default is not there yet' }])
  worker.io.tls.use(OURS)
  t.equal(await answer(dial(t, port)), 'HTTP/1.1 200 OK')
})

t.test('a new certificate is for new handshakes; who is connected stays', async (t) => {
  const app = await EchoUpstream.start(t)
  const { worker, port } = await start(t, 'strict', app.port)
  const before = dial(t, port)
  await answer(before)
  const serial = before.getPeerCertificate().serialNumber
  worker.io.tls.use(meshSecrets({ identity: SERVER, issued: second, roots: ROOTS }))
  const after = dial(t, port)
  await answer(after)
  t.not(after.getPeerCertificate().serialNumber, serial)
  t.equal(await answer(before), 'HTTP/1.1 200 OK')
})

t.test('a ClientHello in pieces, and one that is long', async (t) => {
  const app = await EchoUpstream.start(t)
  for (const kind of ['strict', 'only'] as const) {
    const { port } = await start(t, kind, app.port)
    // 24 KB: more than a record holds.
    const long = dial(t, port, {
      ALPNProtocols: ['http/1.1', ...Array.from({ length: 100 }, (_, i) => `x${i}${'y'.repeat(235)}`)],
    })
    t.equal(await answer(long), 'HTTP/1.1 200 OK', kind)
    // Through somebody who passes three bytes at a time.
    const slow = net.createServer((socket) => {
      const onward = raw(t, port)
      onward.setNoDelay(true)
      socket.on('data', (bytes: Buffer) => {
        for (let at = 0; at < bytes.length; at += 3) onward.write(bytes.subarray(at, at + 3))
      })
      onward.pipe(socket)
    })
    slow.listen(0, '127.0.0.1')
    await once(slow, 'listening')
    t.equal(await answer(dial(t, (slow.address() as net.AddressInfo).port)), 'HTTP/1.1 200 OK', `${kind}, in pieces`)
    slow.close()
  }
})

t.test('half a ClientHello, half a request line, half a handshake', async (t) => {
  const { worker, port } = await start(t, 'permissive', 1)
  const hello = raw(t, port)
  hello.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1]))
  const line = raw(t, port)
  line.write('GE')
  await eventually('both wait', () => worker.listeners.arrivals.size === 2)
  // Ten seconds later.
  for (const arrival of [...worker.listeners.arrivals]) worker.io.run('timer', () => arrival.onDeadline())
  hello.resume()
  await once(hello, 'close')
  t.match(worker.handshakes, [{ side: 'server', reason: 'timeout', text: 'the ClientHello took longer than 10 s' }])
  // It is not HTTP: the TCP chain has it, and nobody listens at port 1.
  t.match(await worker.record(0), { response_flags: 'UF' })
  t.equal(worker.listeners.arrivals.size, 0)
})

t.test('connections without a handshake have places like all others, and give them back', async (t) => {
  const app = await EchoUpstream.start(t)
  const { worker, port } = await start(t, 'only', app.port, { maxConnections: 3 })
  const idle = [raw(t, port), raw(t, port), raw(t, port)]
  await eventually('all to be there', () => worker.listeners.arrivals.size === 3)
  const fourth = raw(t, port)
  fourth.resume()
  await once(fourth, 'close')
  for (const socket of idle) socket.destroy()
  await eventually('their places', () => worker.listeners.arrivals.size === 0)
  // Each fails its handshake in one of several ways.
  for (let i = 0; i < 40; i++) {
    const bad = i % 4 === 0 ? dial(t, port, { cert: undefined, key: undefined } as never) : raw(t, port)
    if (i % 4 === 1) bad.write('GET / HTTP/1.1\r\n\r\n')
    if (i % 4 === 2) bad.end(Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0]))
    if (i % 4 === 3) bad.write(pattern(300, i))
    bad.resume()
    // Noise may look like the beginning of a record.
    if (i % 4 === 3) setImmediate(() => bad.destroy())
    await new Promise((resolve) => bad.once('close', resolve))
  }
  await eventually('nobody to be left', () => worker.listeners.arrivals.size === 0)
  t.equal(await answer(dial(t, port)), 'HTTP/1.1 200 OK')
  t.same(worker.errors, [])
  t.ok(worker.handshakes.length >= 30, `${worker.handshakes.length} records`)
})

t.test('bytes of a handshake that are tampered with cost one connection', async (t) => {
  const app = await EchoUpstream.start(t)
  const { worker, port } = await start(t, 'strict', app.port)
  const good = dial(t, port)
  await answer(good)
  // Spread over what a client sends: its hello, its certificate, its request.
  const places = Array.from({ length: 30 }, (_, i) => 1 + ((i * 613) % 1500))
  for (let i = 0; i < 30; i++) {
    // Between client and listener somebody changes a byte.
    const middle = net.createServer((socket) => {
      const onward = raw(t, port)
      let passed = 0
      const at = places[i] as number
      socket.on('error', () => onward.destroy())
      socket.on('data', (bytes: Buffer) => {
        if (passed <= at && at < passed + bytes.length) bytes[at - passed] = (bytes[at - passed] as number) ^ 0x55
        passed += bytes.length
        onward.write(bytes)
      })
      socket.on('close', () => onward.destroy())
      onward.on('close', () => socket.destroy())
      onward.pipe(socket)
    })
    middle.listen(0, '127.0.0.1')
    await once(middle, 'listening')
    const victim = dial(t, (middle.address() as net.AddressInfo).port)
    victim.write('GET /x HTTP/1.1\r\nhost: reviews\r\n\r\n')
    await Promise.race([new Promise((resolve) => victim.once('close', resolve)), once(victim, 'data')]).catch(() => {})
    victim.destroy()
    middle.close()
  }
  t.equal(await answer(good), 'HTTP/1.1 200 OK')
  await eventually('nobody to be left', () => worker.listeners.connections === 1)
  t.same(worker.errors, [])
})
