// What applications speak through two sidecars: bytes that begin on the server's side or look like nothing, half-closed connections, many at once, WebSockets, gRPC, HTTP/2.
// All of it goes over the cable as TLS.
import { createHash } from 'node:crypto'
import t from 'tap'
import { canMakeNamespaces } from '../support/netns.ts'
import { Mesh, type Pod } from './pods.ts'
import {
  databaseClient,
  databaseServer,
  echoed,
  grpcClient,
  grpcServer,
  http2Server,
  lateClient,
  lateServer,
  mailServer,
  webSocketClient,
  webSocketServer,
} from './programs.ts'
import { canCapture, WireCapture, whatIsNotTls } from './wire-capture.ts'

t.setTimeout(170_000)
const skip = canMakeNamespaces()

/** `target` → how its port is named: what says nothing of a protocol is declared as none. */
const PORTS = [
  { name: 'tcp-mail', port: 2526, target: 9001 },
  { name: 'mail', port: 2527, target: 9002 },
  { name: 'tcp-db', port: 5432, target: 9003 },
  { name: 'db', port: 5433, target: 9004 },
  { name: 'tcp-late', port: 7001, target: 9005 },
  { name: 'late', port: 7002, target: 9006 },
  { name: 'http-ws', port: 8001, target: 9007 },
  { name: 'ws', port: 8002, target: 9008 },
  { name: 'grpc-echo', port: 8003, target: 9009 },
  { name: 'http2-echo', port: 8004, target: 9010 },
  { name: 'h2', port: 8005, target: 9011 },
]

t.test('protocols through two sidecars', { skip }, async (t) => {
  const mesh = await Mesh.make(t, {
    pods: [
      { name: 'web', app: 'web', number: 11 },
      { name: 'db', app: 'db', number: 12 },
    ],
    services: [
      { name: 'db', number: 1, pods: ['db'], ports: PORTS },
      { name: 'db6', number: 1, family: 6, pods: ['db'], ports: PORTS },
    ],
  })
  const [web, db] = mesh.pods as [Pod, Pod]
  const servers = [
    mailServer(9001),
    mailServer(9002),
    databaseServer(9003),
    databaseServer(9004),
    lateServer(9005),
    lateServer(9006),
    webSocketServer(9007),
    webSocketServer(9008),
    grpcServer(9009),
    http2Server('db', 9010),
    http2Server('db', 9011),
  ]
  await db.serve(...servers)
  // Who begins is not known where nothing is declared; until then a client that waits has to wait.
  const quick = { bootstrap: { capture: { detectionTimeout: '300ms' } } }
  await mesh.sidecars(['web', 'db'], { web: quick, db: quick })
  const capture = canCapture() === '' ? await WireCapture.start(mesh.node, 'port0') : null

  for (const host of ['db', 'db6']) {
    for (const port of [2526, 2527]) {
      t.test(`${host}:${port}: mail by curl, where the server greets first`, async (t) => {
        const mail = 'Subject: secret-mail\r\n\r\nsecret-mail goes here\r\n'
        const args = ['-sSv', '--mail-from', 'a@x.test', '--mail-rcpt', 'b@x.test', '-T', '-', `smtp://${host}:${port}`]
        const { code, stderr } = await web.exec('curl', args, { input: mail })
        t.equal(code, 0, stderr)
        t.match(stderr, '< 220 mail.test ready')
        t.match(stderr, `< 250 kept ${createHash('sha256').update(mail).digest('hex')}`, 'byte for byte')
      })
    }

    for (const port of [5432, 5433]) {
      t.test(`${host}:${port}: packets of bytes, and bytes that look like TLS or HTTP`, async (t) => {
        t.equal(await web.script(databaseClient(host, port, 40)), '40\n')
      })
    }

    for (const port of [7001, 7002]) {
      t.test(`${host}:${port}: 10 MiB each way around a FIN`, async (t) => {
        t.equal(await web.script(lateClient(host, port, 10 * 1024 * 1024, 1)), 'right 1\n')
      })
    }

    t.test(`${host}: 50 connections at once`, async (t) => {
      t.equal(await web.script(lateClient(host, 7001, 50_000, 50)), 'right 50\n')
    })

    for (const port of [8001, 8002]) {
      t.test(`${host}:${port}: a WebSocket`, async (t) => {
        const messages = ['one', 'zwei ü', 'x'.repeat(120)]
        const said = await web.script(webSocketClient(`ws://${host}:${port}/chat`, messages))
        t.same(JSON.parse(said), { code: 1000, got: messages })
      })
    }

    t.test(`${host}: gRPC`, async (t) => {
      const said = JSON.parse(await web.script(grpcClient(`${host}:8003`))) as Record<string, unknown>
      t.match(said['found'], { code: 0, reply: 'hello' })
      t.match(String((said['found'] as { client: string }).client), `URI=${web.identity}`, 'trailers, with who the server saw')
      t.match(said['missing'], { code: 5, details: 'nobody is here' })
      t.match(said['chat'], { code: 0, got: 20 })
    })

    for (const port of [8004, 8005]) {
      t.test(`${host}:${port}: HTTP/2 with prior knowledge`, async (t) => {
        const { stdout, stderr } = await web.curl('--http2-prior-knowledge', '-w', '%{http_version}', `http://${host}:${port}/x`)
        t.match(echoed(stdout)[0], { url: '/x', version: '2.0' }, stderr)
        t.match(stdout, /2$/)
        t.match(echoed(stdout)[0]?.headers['x-forwarded-client-cert'], `URI=${web.identity}`)
      })
    }
  }

  t.test('all of it went over the cable as TLS', { skip: canCapture() }, (t) => {
    for (const { target, name } of PORTS) {
      const streams = capture?.streams(target) ?? []
      t.ok(streams.length >= 4, `${name}: both directions, both families`)
      t.same(
        streams.map((s) => whatIsNotTls(s.bytes)).filter((s) => s !== ''),
        [],
        `${name}: records of TLS alone`,
      )
    }
    t.notOk(capture?.bytes.includes('secret-'), 'nothing of what was said')
    t.end()
  })
})
