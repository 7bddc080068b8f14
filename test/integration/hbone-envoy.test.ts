// Envoy on both ends of HBONE with a waypoint between: it opens tunnels to heddle, and ends those that heddle opens. Each side insists on who the
// other is.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { Envoy, findEnvoy } from '../support/envoy.ts'
import { eventually } from '../support/eventually.ts'
import type { HboneIdentity } from '../support/hbone-peer.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { startWaypoint } from '../support/waypoint.ts'

const skip = findEnvoy() === null ? 'no Envoy: set ENVOY to one (bench/README.md says whence)' : ''
const id = (name: string) => `spiffe://cluster.local/ns/shop/sa/${name}`
const POD = '127.77.2.1'
const VIP = '10.96.8.8'

const RESOURCES = `
apiVersion: v1
kind: Service
metadata: { name: db, namespace: shop, labels: { istio.io/use-waypoint: waypoint } }
spec: { clusterIP: ${VIP}, selector: { app: db }, ports: [ { name: tcp, port: 5432 } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: db-1, namespace: shop, labels: { kubernetes.io/service-name: db } }
addressType: IPv4
ports: [ { name: tcp, port: 5432 } ]
endpoints: [ { addresses: [ ${POD} ] } ]
---
apiVersion: v1
kind: Pod
metadata: { name: db-1, namespace: shop, labels: { app: db, istio.io/dataplane-mode: ambient } }
spec: { serviceAccountName: db }
status: { podIP: ${POD} }
`

/** Everything back; when the client has ended, `bye` behind it. */
async function echo(t: Teardown): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket, { end: false })
    socket.on('end', () => socket.end('bye'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

interface Ends {
  readonly waypoint: HeddleProcess
  readonly near: Envoy
  readonly far: Envoy
}

async function ends(t: Teardown): Promise<Ends> {
  const ca = await SigningCa.root(t, 'mesh')
  const names = ['client', 'waypoint', 'db', 'other']
  const issued = await Promise.all(names.map((name) => ca.issue({ uris: [id(name)] })))
  const as = (name: string): HboneIdentity => ({ issued: issued[names.indexOf(name)] as Issued, roots: [ca.rootPem] })
  const app = await echo(t)
  const [waypoint, far] = await Promise.all([
    startWaypoint(t, as('waypoint'), RESOURCES),
    Envoy.terminate(t, { as: as('db'), peer: id('waypoint'), host: POD, port: 15_008, app }),
  ])
  const to = waypoint.port('connect_terminate')
  const near = await Envoy.originate(t, { as: as('client'), peer: id('waypoint'), to, authority: `${VIP}:5432` })
  return { waypoint, near, far }
}

/** Sends all, ends its side, and reads to the end. */
async function exchange(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const parts: Buffer[] = []
  socket.on('data', (d: Buffer) => parts.push(d))
  socket.end(bytes)
  await once(socket, 'end')
  return Buffer.concat(parts)
}

const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** A connection that stays. */
class Standing {
  readonly socket: net.Socket
  sent: string
  text: string

  constructor(port: number, words: string) {
    this.socket = net.connect({ port, host: '127.0.0.1' })
    this.sent = ''
    this.text = ''
    this.socket.setEncoding('latin1').on('data', (d: string) => {
      this.text += d
    })
    this.socket.on('error', () => {})
    this.send(words)
  }

  send(words: string): void {
    this.sent += words
    this.socket.write(words)
  }
}

t.test('Envoy, heddle, Envoy', { skip }, async (t) => {
  const { waypoint, near, far } = await ends(t)

  await t.test('bytes there and back, each direction ends by itself', async (t) => {
    t.equal((await exchange(near.port, Buffer.from('hello '))).toString(), 'hello bye')
    t.equal(await near.stat('cluster.hbone.ssl.handshake'), 1)
    t.equal(await far.stat('http.hbone.downstream_cx_ssl_total'), 1)
    t.equal(await far.stat('http.hbone.downstream_rq_2xx'), 1)
  })

  await t.test('bulk', async (t) => {
    const bytes = randomBytes(32 * 1024 * 1024)
    const back = await exchange(near.port, bytes)
    t.equal(back.length, bytes.length + 3)
    t.equal(digest(back.subarray(0, bytes.length)), digest(bytes))
  })

  await t.test('200 at once', async (t) => {
    const all = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const bytes = Buffer.from(`${i} `.repeat(5000))
        return digest((await exchange(near.port, bytes)).subarray(0, bytes.length)) === digest(bytes)
      }),
    )
    t.equal(all.filter((ok) => ok).length, 200)
  })

  /** Connections through all three that have said something and had it back. */
  async function standing(count: number): Promise<readonly Standing[]> {
    const all = Array.from({ length: count }, (_, i) => new Standing(near.port, `${i} before `))
    t.teardown(() => {
      for (const { socket } of all) socket.destroy()
    })
    await eventually('all of them', () => all.every((s) => s.text === s.sent), 15_000)
    return all
  }

  async function goOn(t: Test, all: readonly Standing[], words: string): Promise<void> {
    for (const s of all) s.send(words)
    await eventually('the echo', () => all.every((s) => s.text === s.sent || s.socket.destroyed), 15_000)
    t.same(
      all.filter((s) => s.text !== s.sent),
      [],
      `${all.length} of them: ${words}`,
    )
  }

  await t.test('Envoy at the far end drains: what runs goes on, and what comes meanwhile finds a way', async (t) => {
    const all = await standing(200)
    t.ok((await far.stat('http.hbone.downstream_cx_active')) >= 2, 'a hundred streams on a connection at most')
    const before = await far.stat('http.hbone.downstream_cx_drain_close')
    t.equal((await far.admin('/drain_listeners?graceful&skip_exit', 'POST')).status, 200)
    // Envoy says GOAWAY with some answer, the sooner the nearer the end of its drain is.
    const lost: string[] = []
    for (let i = 0, drained = before; drained === before && i < 500; i++) {
      const back = (await exchange(near.port, Buffer.from(`${i} `))).toString()
      if (back !== `${i} bye`) lost.push(`${i}: ${back}`)
      drained = await far.stat('http.hbone.downstream_cx_drain_close')
    }
    t.same(lost, [])
    t.ok((await far.stat('http.hbone.downstream_cx_drain_close')) > before, 'it has said GOAWAY')
    t.equal((await exchange(near.port, Buffer.from('more '))).toString(), 'more bye')
    await goOn(t, all, 'after')
    for (const { socket } of all) socket.destroy()
  })

  await t.test('heddle drains: what runs goes on', async (t) => {
    const all = await standing(200)
    waypoint.signal('SIGTERM')
    await waypoint.said(/draining/)
    await goOn(t, all, 'after')
    await eventually('Envoy to hear GOAWAY', async () => (await near.stat('cluster.hbone.upstream_cx_close_notify')) > 0)
    for (const { socket } of all) socket.destroy()
    t.match(await waypoint.exited, { code: 0 })
  })
})
