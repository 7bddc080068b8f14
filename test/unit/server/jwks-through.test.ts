// Keys that are asked for through a cluster: who is dialled, with which TLS, how often, and what is said where there are none. The servers are Node's, the
// certificates openssl's.
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createHttp2, createSecureServer } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import type { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { NotYet } from '../../../lib/server/jwks-fetch.ts'
import { fetchThrough } from '../../../lib/server/jwks-through.ts'
import type { Cluster, Endpoint } from '../../../lib/state/cluster.ts'
import type { JwksCluster, JwksSource } from '../../../lib/state/jwt.ts'
import { NO_SECRETS, type Secrets } from '../../../lib/transport/secrets.ts'
import { aCluster, anEndpoint } from '../../support/nouns.ts'
import { leafExtensions, OpensslCa } from '../../support/openssl-ca.ts'
import { anUpstreamTls } from '../../support/tls-ends.ts'

const JWKS = '{"keys":[]}'
const NAME = 'outbound|443||keys.example'
const ca = new OpensslCa(t)
const root = ca.root('/CN=root')
const stranger = ca.root('/CN=stranger')
const server = ca.issue(root, { extensions: leafExtensions([], { subjectAltName: 'DNS:keys.example' }) })
const client = ca.issue(root, { subject: '/CN=heddle', extensions: leafExtensions([]) })

/** Port of a server on the loopback. */
async function listening(t: Test, made: Server): Promise<number> {
  const sockets = new Set<{ destroy(): void }>()
  made.on('connection', (socket) => sockets.add(socket))
  made.listen(0, '127.0.0.1')
  await once(made, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    made.close()
  })
  return (made.address() as AddressInfo).port
}

interface Ask {
  readonly uri?: string
  readonly clusters?: readonly Cluster[]
  readonly secrets?: Partial<Secrets>
  readonly through?: Partial<JwksCluster>
  readonly timeoutMs?: number
}

function ask({
  uri = 'http://keys.example/keys?a=b',
  clusters = [],
  secrets = {},
  through = {},
  timeoutMs = 5000,
}: Ask): Promise<string> {
  const cluster: JwksCluster = { cluster: NAME, retries: 0, retryBaseMs: 1, retryMaxMs: 1, againMs: 0, ...through }
  const source: JwksSource = { jwks: '', uri, discovery: false, timeoutMs, refreshMs: 1000, through: cluster }
  return fetchThrough(source, cluster, {
    cluster: (name) => clusters.find((c) => c.name === name) ?? null,
    secrets: () => ({ ...NO_SECRETS, ...secrets }),
    draw: () => 0.5,
  })
}

const at = (port: number, more: Partial<Endpoint> = {}): Endpoint => anEndpoint({ address: '127.0.0.1', port, ...more })
const through = (endpoints: readonly Endpoint[], more: Partial<Cluster> = {}): readonly Cluster[] => [
  aCluster({ name: NAME, endpoints, ...more }),
]
const gives: RequestListener = (_req, res) => res.end(JWKS)

t.test('in plain text: the address says the path and the host, the cluster who is asked', async (t) => {
  const seen: unknown[] = []
  const port = await listening(
    t,
    createServer((req, res) => {
      seen.push([req.method, req.url, req.headers.host])
      res.end(JWKS)
    }),
  )
  t.equal(await ask({ clusters: through([at(port)]) }), JWKS)
  t.equal(await ask({ uri: 'http://keys.example:8080/', clusters: through([at(port)]) }), JWKS)
  t.same(seen, [
    ['GET', '/keys?a=b', 'keys.example'],
    ['GET', '/', 'keys.example:8080'],
  ])
})

t.test('HTTP/2 where the cluster says so, with TLS and without', async (t) => {
  const asked: unknown[] = []
  const serve: RequestListener = (req, res) => {
    asked.push([req.httpVersion, req.url, (req as unknown as { authority: string }).authority])
    res.end(JWKS)
  }
  const plain = await listening(t, createHttp2(serve as never) as unknown as Server)
  t.equal(await ask({ clusters: through([at(plain)], { protocol: 'http2' }) }), JWKS)
  const secure = createSecureServer({ cert: server.certPem, key: server.keyPem }, serve as never) as unknown as Server
  const tls = anUpstreamTls({ certificate: '', trust: 'roots', sni: 'keys.example', subjectAltNames: ['keys.example'] })
  const endpoints = [at(await listening(t, secure), { tls: true })]
  t.equal(await ask({ clusters: through(endpoints, { protocol: 'http2', tls }), secrets: { credentials: [roots()] } }), JWKS)
  t.same(asked, [
    ['2.0', '/keys?a=b', 'keys.example'],
    ['2.0', '/keys?a=b', 'keys.example'],
  ])
})

function roots(of = root) {
  return { name: 'roots', certificateChainPem: '', privateKeyPem: '', rootsPem: [of.certPem], crlPem: '' }
}

t.test('TLS as the cluster has it', async (t) => {
  const seen: { sni: unknown; client: unknown }[] = []
  const options = { cert: server.certPem, key: server.keyPem, ca: [root.certPem], requestCert: true, rejectUnauthorized: true }
  const mutual = createHttps(options, (req, res) => {
    const socket = req.socket as TLSSocket
    seen.push({ sni: socket.servername, client: socket.getPeerCertificate().subject?.CN })
    res.end(JWKS)
  })
  const simple = createHttps({ cert: server.certPem, key: server.keyPem }, (req, res) => {
    seen.push({ sni: (req.socket as TLSSocket).servername, client: undefined })
    res.end(JWKS)
  })
  const [mutualPort, simplePort] = [await listening(t, mutual), await listening(t, simple)]
  const mine = { name: 'mine', certificateChainPem: client.certPem, privateKeyPem: client.keyPem, rootsPem: [], crlPem: '' }
  const verified = { certificate: '', trust: 'roots', subjectAltNames: ['keys.example'] }
  const fetching = (port: number, tls: Parameters<typeof anUpstreamTls>[0], more: Ask = {}) =>
    ask({
      clusters: through([at(port, { tls: true })], { tls: anUpstreamTls(tls) }),
      secrets: { credentials: [roots(), mine] },
      ...more,
    })

  t.equal(await fetching(mutualPort, { ...verified, certificate: 'mine', sni: 'inner.example' }), JWKS)
  t.equal(await fetching(simplePort, { ...verified, autoSni: true }), JWKS)
  t.equal(
    await fetching(simplePort, { certificate: '', trust: '' }),
    JWKS,
    'who is not verified where the cluster verifies nobody',
  )
  t.same(seen.splice(0), [
    { sni: 'inner.example', client: 'heddle' },
    { sni: 'keys.example', client: undefined },
    { sni: false, client: undefined },
  ])

  await t.rejects(fetching(mutualPort, verified), /certificate_required/, 'without our certificate')
  await t.rejects(fetching(simplePort, { ...verified, subjectAltNames: ['other.example'] }), /other\.example/)
  await t.rejects(fetching(simplePort, verified, { secrets: { credentials: [roots(stranger)] } }), /refused/)
  const missing = fetching(simplePort, verified, { secrets: {} })
  await t.rejects(missing, { message: /the certificates that outbound\|443\|\|keys\.example is spoken to with are not there/ })
  t.ok((await missing.catch((error) => error)) instanceof NotYet)
  t.same(seen, [], 'none of these was asked')
})

t.test('https is never asked in plain text, nor believed without verification', async (t) => {
  const asked: string[] = []
  const plain = await listening(
    t,
    createServer((req, res) => {
      asked.push(req.url ?? '')
      res.end(JWKS)
    }),
  )
  const https = 'https://keys.example/keys'
  await t.rejects(ask({ uri: https, clusters: through([at(plain)]) }), /127\.0\.0\.1/)
  const secure = createHttps({ cert: server.certPem, key: server.keyPem }, gives)
  const port = await listening(t, secure)
  await t.rejects(ask({ uri: https, clusters: through([at(port)]) }), /refused: .*/, 'nobody of the system vouches for it')
  t.same(asked, [])
})

t.test('another endpoint when one does not take connections; the healthy and the near first; three at most', async (t) => {
  const names: string[] = []
  const named = (name: string): Promise<number> =>
    listening(
      t,
      createServer((_req, res) => {
        names.push(name)
        res.end(JWKS)
      }),
    )
  const [near, far, sick] = [await named('near'), await named('far'), await named('sick')]
  const gone = createTcp()
  const goneAt = await listening(t, gone)
  await new Promise((resolve) => gone.close(resolve))
  t.equal(await ask({ clusters: through([at(sick, { healthy: false }), at(far, { priority: 1 }), at(near)]) }), JWKS)
  t.equal(await ask({ clusters: through([at(far, { priority: 1 }), at(goneAt)]) }), JWKS)
  t.equal(await ask({ clusters: through([at(sick, { healthy: false })]) }), JWKS, 'when there is no other')
  t.same(names.splice(0), ['near', 'far', 'sick'])
  const refused = ask({ clusters: through([at(far, { priority: 1 }), at(goneAt), at(goneAt), at(goneAt)]) })
  await t.rejects(refused, /^127\.0\.0\.1:\d+ of outbound\|443\|\|keys\.example: connect ECONNREFUSED/)
  t.same(names, [])
})

t.test('tries as its policy says, of what may be better next time', async (t) => {
  const rows: readonly (readonly [string, readonly number[], number, number, RegExp | null])[] = [
    ['none unless asked for', [503], 0, 1, /^the answer is 503$/],
    ['5xx', [503, 500, 200], 2, 3, null],
    ['as often as it says', [503, 503, 503, 200], 2, 3, /^the answer is 503$/],
    ['404 is an answer', [404, 200], 2, 1, /^the answer is 404$/],
    ['a connection that is cut', [0, 200], 1, 2, null],
  ]
  for (const [what, statuses, retries, wanted, error] of rows) {
    let asked = 0
    const port = await listening(
      t,
      createServer((req, res) => {
        const status = statuses[asked++] ?? 200
        if (status === 0) req.socket.destroy()
        else res.writeHead(status).end(JWKS)
      }),
    )
    const fetched = ask({ clusters: through([at(port)]), through: { retries } })
    if (error === null) t.equal(await fetched, JWKS, what)
    else await t.rejects(fetched, { message: error }, what)
    t.equal(asked, wanted, what)
  }
})

t.test('what there is not', async (t) => {
  const nobody: readonly (readonly [readonly Cluster[], RegExp])[] = [
    [[], /^there is no cluster outbound\|443\|\|keys\.example$/],
    [through([]), /^outbound\|443\|\|keys\.example has no endpoints$/],
  ]
  for (const [clusters, message] of nobody) {
    await t.rejects(ask({ clusters }), { message })
    t.ok((await ask({ clusters }).catch((error) => error)) instanceof NotYet)
  }
  const tunnel = { address: '127.0.0.1', port: 15008, identities: [], authority: '', fields: '', innerFields: null }
  await t.rejects(ask({ clusters: through([at(1, { tunnel })]) }), /reached through tunnels/)
  await t.rejects(ask({ clusters: through([at(1)], { proxyProtocol: 'v2' }) }), /wants the PROXY protocol/)
  await t.rejects(ask({ clusters: through([at(80, { address: '169.254.169.254' })]) }), /never asked for at/)
})

t.test('a socket of the file system', async (t) => {
  const path = `${ca.folder}/keys.sock`
  const server = createServer(gives).listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  t.equal(await ask({ clusters: through([at(0, { address: path })]) }), JWKS)
  const gone = ask({ clusters: through([at(0, { address: `${path}.gone` })]) })
  await t.rejects(gone, /^\/.*keys\.sock\.gone of outbound\|443\|\|keys\.example: connect ENOENT/)
})

t.test('in time or not at all', async (t) => {
  const silent = await listening(t, createTcp())
  const never = ask({ clusters: through([at(silent)]), timeoutMs: 50 })
  await t.rejects(never, { message: 'there was no answer of outbound|443||keys.example in time' })
  const tls = anUpstreamTls({ certificate: '', trust: '' })
  const handshake = ask({ clusters: through([at(silent, { tls: true })], { tls }), timeoutMs: 50 })
  await t.rejects(handshake, /in time/)
  const drips = await listening(
    t,
    createServer((_req, res) => res.write('{"keys":')),
  )
  await t.rejects(ask({ clusters: through([at(drips)]), timeoutMs: 100 }), /in time/)
})
