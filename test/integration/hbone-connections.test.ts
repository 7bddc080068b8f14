// Connections that carry tunnels, by a waypoint between ends that are not ours: many streams that stand, far ends that go, certificates that change under load, TLS
// inside of TLS, and clients that others wrote.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import http2Wrapper from 'http2-wrapper'
import t from 'tap'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually, within } from '../support/eventually.ts'
import { HboneClient, type HboneIdentity, HboneServer, type HboneTunnel } from '../support/hbone-peer.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { startWaypoint } from '../support/waypoint.ts'

t.setTimeout(120_000)

const id = (name: string) => `spiffe://cluster.local/ns/shop/sa/${name}`
const ca = await SigningCa.root(t, 'mesh')
const names = ['client', 'waypoint', 'db'] as const
const issued = await Promise.all(names.map((name) => ca.issue({ uris: [id(name)] })))
const identity = (name: (typeof names)[number]): HboneIdentity => ({
  issued: issued[names.indexOf(name)] as Issued,
  roots: [ca.rootPem],
})

const VIP = '10.96.9.9'

const resources = (pod: string) => `
apiVersion: v1
kind: Service
metadata: { name: db, namespace: shop, labels: { istio.io/use-waypoint: waypoint } }
spec:
  clusterIP: ${VIP}
  selector: { app: db }
  ports: [ { name: tcp, port: 5432 }, { name: any, port: 7000 }, { name: tls, port: 443 }, { name: http, port: 80 } ]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: db-1, namespace: shop, labels: { kubernetes.io/service-name: db } }
addressType: IPv4
ports: [ { name: tcp, port: 5432 }, { name: any, port: 7000 }, { name: tls, port: 443 }, { name: http, port: 80 } ]
endpoints: [ { addresses: [ ${pod} ] } ]
---
apiVersion: v1
kind: Pod
metadata: { name: db-1, namespace: shop, labels: { app: db, istio.io/dataplane-mode: ambient } }
spec: { serviceAccountName: db }
status: { podIP: ${pod} }
`

interface World {
  readonly waypoint: HeddleProcess
  readonly client: HboneClient
  readonly pod: HboneServer
  /** Of the waypoint: its certificate, which is replaced by writing another. */
  readonly files: { readonly certificateChain: string; readonly privateKey: string; readonly roots: string }
  connect(): Promise<HboneClient>
}

/** `number`: the pod's address is 127.77.3.number, which nobody else has. */
async function world(t: Teardown, number: number, bootstrap: object = {}): Promise<World> {
  const address = `127.77.3.${number}`
  const plain = net.createServer((socket) => socket.on('error', () => {}).pipe(socket))
  const { chain, key } = await ca.issue({ dnsNames: ['app.test'] })
  const secure = tls.createServer({ cert: chain, key, ALPNProtocols: ['x-test'] }, (socket) =>
    socket.on('error', () => {}).pipe(socket),
  )
  const listening = [plain, secure].map(async (server) => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    return (server.address() as AddressInfo).port
  })
  const [echo, tlsEcho] = (await Promise.all(listening)) as [number, number]
  const web = await EchoUpstream.start(t, { name: 'db' })
  const ports: Readonly<Record<string, number>> = { 5432: echo, 7000: tlsEcho, 443: tlsEcho, 80: web.port }
  const to = (authority: string) => ports[authority.split(':')[1] ?? ''] ?? { status: 503 }
  const pod = await HboneServer.start(t, { host: address, as: identity('db'), to })
  const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-hbone-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const [certificateChain, privateKey, roots] = ['cert.pem', 'key.pem', 'roots.pem'].map((f) => path.join(dir, f)) as [
    string,
    string,
    string,
  ]
  const files = { certificateChain, privateKey, roots }
  write(files, identity('waypoint').issued)
  writeFileSync(roots, ca.rootPem)
  const waypoint = await startWaypoint(t, identity('waypoint'), resources(address), {
    identity: { source: 'files', files },
    ...bootstrap,
  })
  const connect = () => HboneClient.connect(t, { port: waypoint.port('connect_terminate'), as: identity('client') })
  return { waypoint, client: await connect(), pod, files, connect }
}

function write(files: World['files'], { chain, key }: Issued): void {
  writeFileSync(files.certificateChain, chain)
  writeFileSync(files.privateKey, key)
}

/** Opens a tunnel and says something through it; it stays. */
async function standing(client: HboneClient, words: string): Promise<HboneTunnel> {
  const tunnel = await client.open(`${VIP}:5432`)
  if (tunnel.status !== 200) throw new Error(`the tunnel for "${words}": ${tunnel.status}`)
  tunnel.write(words)
  await tunnel.until(new RegExp(`^${words}$`))
  return tunnel
}

// Begun at once, for a PING comes after ten seconds.
const quiet = await world(t, 1)
const pings = { near: 0, far: 0 }
quiet.client.session.on('ping', () => pings.near++)
const silent = await standing(quiet.client, 'quiet')
for (const session of quiet.pod.sessions) session.on('ping', () => pings.far++)

for (const [number, streams] of [
  [2, 32],
  [3, 200],
] as const) {
  t.test(`${streams} streams that stand`, async (t) => {
    const { client, pod } = await world(t, number)
    const tunnels = await Promise.all(Array.from({ length: streams - 1 }, (_, i) => standing(client, `stream ${i} `)))
    t.equal(pod.seen.length, streams - 1)
    t.equal(pod.connections, Math.ceil((streams - 1) / 100), 'connections are shared, a hundred streams each at most')
    const bulk = await client.open(`${VIP}:5432`)
    const bytes = Buffer.alloc(8 * 2 ** 20, 'bulk')
    bulk.write(bytes)
    await bulk.until(bytes.length, 20_000)
    t.ok(bulk.bytes.equals(bytes), 'they leave room for one that does not')
    for (const tunnel of tunnels) tunnel.end('and its end')
    await eventually('all of them to end', () => tunnels.every((tunnel) => tunnel.ended), 10_000)
    t.same(
      tunnels.filter((tunnel, i) => tunnel.text !== `stream ${i} and its end`),
      [],
    )
  })
}

/** Opens tunnels one after the other in several lanes, each with its own words, until `over` is called; what did not come back as it was sent. */
function lanes(
  client: HboneClient,
  count: number,
): { readonly done: () => number; readonly over: () => Promise<readonly string[]> } {
  let stop = false
  let done = 0
  const lost: string[] = []
  const running = Array.from({ length: count }, async (_, lane) => {
    for (let i = 0; !stop; i++) {
      const words = `lane ${lane}, tunnel ${i}: ${'x'.repeat(5000)}`
      const tunnel = await client.open(`${VIP}:5432`)
      tunnel.end(words)
      await eventually('its end', () => tunnel.ended || tunnel.closed !== null, 10_000)
      if (tunnel.status !== 200 || tunnel.text !== words)
        lost.push(`${words.slice(0, 30)} ${tunnel.status}, ${tunnel.text.length} bytes`)
      else done++
    }
  })
  const over = async () => {
    stop = true
    await Promise.all(running)
    return lost
  }
  return { done: () => done, over }
}

t.test('a far end that says GOAWAY under load: nothing is lost', async (t) => {
  const { client, pod } = await world(t, 4)
  const stays = await standing(client, 'before all of them')
  const load = lanes(client, 16)
  for (let round = 1; round <= 8; round++) {
    const goal = load.done() + 40
    await eventually('tunnels', () => load.done() >= goal, 20_000)
    pod.goaway()
  }
  t.same(await load.over(), [])
  t.ok(pod.connections >= 8, 'each time another connection was made')
  stays.end(', and behind them')
  await stays.until(/^before all of them, and behind them$/)
})

t.test('certificates that are renewed under load: nothing is lost, and new connections show the new one', async (t) => {
  const { client, pod, files, waypoint } = await world(t, 5)
  const serials = new Set<string>()
  const stays = await standing(client, 'before all of them')
  const load = lanes(client, 8)
  for (let round = 1; round <= 4; round++) {
    const goal = load.done() + 40
    await eventually('tunnels', () => load.done() >= goal, 20_000)
    const before = pod.connections
    write(files, await ca.issue({ uris: [id('waypoint')] }))
    await eventually('a connection with the new certificate', () => pod.connections > before, 10_000)
    for (const session of pod.sessions)
      serials.add((session.socket as tls.TLSSocket).getPeerX509Certificate()?.serialNumber ?? '')
  }
  t.same(await load.over(), [])
  t.ok(serials.size >= 4, `the far end has seen ${serials.size} certificates`)
  stays.end(', and behind them')
  await stays.until(/^before all of them, and behind them$/)
  t.notMatch(waypoint.stderr, /internal error|exception/)
})

t.test('maxConnections counts sockets, not what comes inside of them', async (t) => {
  const { client, connect } = await world(t, 6, { limits: { maxConnections: 2 } })
  const tunnels = await Promise.all(Array.from({ length: 12 }, (_, i) => standing(client, `tunnel ${i}`)))
  const second = await connect()
  tunnels.push(await standing(second, 'of the second connection'))
  const third = await connect().then(
    (c) => eventually('its end', () => c.socket.destroyed || c.session.destroyed).then(() => 'closed'),
    () => 'closed',
  )
  t.equal(third, 'closed', 'a third connection is too many')
  for (const tunnel of tunnels) t.equal(tunnel.closed, null)
})

t.test('a connection that nobody needs any more ends as one does, with the end of its stream', async (t) => {
  const { client, pod } = await world(t, 10)
  const tunnel = await client.open(`${VIP}:80`)
  t.match(await tunnel.request(['GET / HTTP/1.1', 'host: db', 'x-response-headers: {"keep-alive":"timeout=2"}']), { status: 200 })
  const stream = pod.seen[0]?.stream as ServerHttp2Stream
  let ended = false
  stream.on('end', () => {
    ended = true
  })
  await eventually('the end of the idle connection', () => stream.closed, 10_000)
  t.same([ended, stream.rstCode], [true, 0])
})

t.test("TLS inside of a tunnel is the application's own", async (t) => {
  const { client, pod } = await world(t, 7)
  for (const [port, what] of [
    [443, 'a port for TLS'],
    [7000, 'a port whose protocol is found out'],
  ] as const) {
    const { stream, status } = await client.open(`${VIP}:${port}`)
    t.equal(status, 200)
    stream.removeAllListeners('data')
    const inner = tls.connect({ socket: stream, servername: 'app.test', ca: [ca.rootPem], ALPNProtocols: ['x-test'] })
    await within('the inner handshake', once(inner, 'secureConnect'))
    t.same([inner.authorized, inner.alpnProtocol], [true, 'x-test'], what)
    t.equal(inner.getPeerX509Certificate()?.subjectAltName, 'DNS:app.test')
    let back = ''
    inner.setEncoding('utf8').on('data', (d: string) => {
      back += d
    })
    inner.write('private')
    await eventually('the echo', () => back === 'private')
    inner.destroy()
    t.equal(pod.seen.at(-1)?.client, id('waypoint'), 'the tunnel is the waypoint’s')
  }
})

t.test("http2-wrapper's HttpOverHttp2 as a client", async (t) => {
  const { waypoint } = await world(t, 8)
  const port = waypoint.port('connect_terminate')
  const { issued: mine, roots } = identity('client')
  const createConnection = () =>
    new Promise((resolve) => {
      const options = {
        host: '127.0.0.1',
        port,
        servername: 'waypoint.test',
        ALPNProtocols: ['h2'],
        cert: mine.chain,
        key: mine.key,
      }
      const socket = tls.connect({ ...options, ca: [...roots], checkServerIdentity: () => undefined }, () => {
        // It wants the host's name in the certificate of a proxy; one of a mesh has none.
        Object.assign(socket, { getPeerX509Certificate: undefined })
        resolve(socket)
      })
      t.teardown(() => socket.destroy())
    })
  const agent = new http2Wrapper.proxies.HttpOverHttp2({
    proxyOptions: { url: `https://waypoint.test:${port}`, createConnection },
  } as never)
  const answers = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      const request = http.get({ host: VIP, port: 80, path: `/${i}`, headers: { host: 'db' }, agent: agent as never })
      const [response] = (await within('an answer', once(request, 'response'))) as [http.IncomingMessage]
      let body = ''
      for await (const chunk of response.setEncoding('utf8')) body += chunk
      return [response.statusCode, (JSON.parse(body) as { target: string }).target]
    }),
  )
  t.same(
    answers,
    answers.map((_, i) => [200, `/${i}`]),
  )
})

const noNghttp = spawnSync('nghttp', ['--version'], { stdio: 'ignore' }).error !== undefined && 'nghttp is not installed'
if (noNghttp !== false) process.stderr.write(`SKIPPED: ${noNghttp}\n`)

t.test('nghttp as a client, which knows no CONNECT: it is told so', { skip: noNghttp }, async (t) => {
  const { waypoint, files } = await world(t, 9)
  const { issued: mine } = identity('client')
  const [cert, key] = ['client.pem', 'client-key.pem'].map((f) => path.join(path.dirname(files.roots), f)) as [string, string]
  writeFileSync(cert, mine.chain)
  writeFileSync(key, mine.key)
  const url = `https://127.0.0.1:${waypoint.port('connect_terminate')}/`
  const child = spawn('nghttp', ['-nvy', `--cert=${cert}`, `--key=${key}`, url], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.setEncoding('latin1').on('data', (d: string) => {
    said += d
  })
  await within('nghttp', once(child, 'close'), 20_000, () => said)
  t.match(said, /negotiated protocol: h2/)
  t.match(said, /recv \(stream_id=\d+\) :status: 404/)
  t.match(said, /SETTINGS_MAX_CONCURRENT_STREAMS\(0x03\):200/)
})

t.test('a connection with a tunnel on which nothing moves is asked whether it is alive, by each end of ours', async (t) => {
  await eventually('a PING to both ends', () => pings.near > 0 && pings.far > 0, 25_000)
  silent.end(', and still there')
  await silent.until(/^quiet, and still there$/)
  t.equal(quiet.pod.connections, 1)
})
