// mTLS with what others wrote: openssl, curl, nghttp and Envoy as clients of ours, openssl and Envoy as our upstreams. `HEDDLE_ENVOY` names Envoy's
// program where it is not called `envoy`. What is not installed is skipped, loudly.
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import t from 'tap'
import type { DownstreamTls, UpstreamTls } from '../../lib/state/tls.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
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

t.setTimeout(120_000)

const ENVOY = process.env['HEDDLE_ENVOY'] ?? 'envoy'
const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const SERVER = 'spiffe://cluster.local/ns/shop/sa/server'

const ca = await SigningCa.root(t, 'mesh')
const middle = await ca.intermediate(t, 'signing')
const stranger = await SigningCa.root(t, 'stranger')
// Leaf and intermediate on the wire, as Istio's CA with a plugged-in certificate has it.
const [client, server, foreign, expired, unknown] = await Promise.all([
  middle.issue({ uris: [CLIENT] }),
  middle.issue({ uris: [SERVER], dnsNames: ['reviews.example'] }),
  middle.issue({ uris: ['spiffe://elsewhere.example/ns/a/sa/b'] }),
  ca.issue({ uris: [CLIENT], lifetimeMs: -60_000, backdatedMs: 3_600_000 }),
  stranger.issue({ uris: [CLIENT] }),
])
const ROOTS = { 'cluster.local': [ca.rootPem] }

const dir = mkdtempSync(path.join(os.tmpdir(), 'heddle-tls-peers-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))
const file = (name: string, text: string): string => {
  writeFileSync(path.join(dir, name), text)
  return path.join(dir, name)
}
const restOf = (chain: string): string => chain.slice(chain.indexOf('-----END CERTIFICATE-----') + 25).trim()

interface Files {
  readonly cert: string
  readonly key: string
  readonly chain: string
}
const filesOf = (name: string, { chain, key }: Issued): Files => ({
  cert: file(`${name}.pem`, chain),
  key: file(`${name}.key`, key),
  chain: restOf(chain) === '' ? '' : file(`${name}.rest.pem`, restOf(chain)),
})
const files = {
  client: filesOf('client', client),
  server: filesOf('server', server),
  foreign: filesOf('foreign', foreign),
  expired: filesOf('expired', expired),
  unknown: filesOf('unknown', unknown),
  root: file('root.pem', ca.rootPem),
}

function missing(tool: string, arg: string): string | false {
  if (spawnSync(tool, [arg], { stdio: 'ignore' }).error === undefined) return false
  process.stderr.write(`SKIPPED: ${tool} is not installed\n`)
  return `${tool} is not installed`
}

interface Ran {
  readonly code: number | null
  readonly out: string
}

/** A program with its input, to its end; both outputs. */
function ran(tool: string, args: readonly string[], input = ''): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(tool, [...args], { timeout: 20_000, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : null, out: `${stdout}${stderr}` })
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

/** Runs until the test ends; there when its port takes connections. */
async function stays(t: Teardown, tool: string, args: readonly string[], port: number): Promise<{ readonly said: () => string }> {
  const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (d: string) => {
      said += d
    })
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'close')
  })
  await eventually(
    `${tool} on ${port}`,
    async () => {
      if (child.exitCode !== null) throw new Error(`${tool} ended: ${said}`)
      const socket = net.connect(port, '127.0.0.1')
      return new Promise<boolean>((resolve) => {
        socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
      }).finally(() => socket.destroy())
    },
    20_000,
  )
  return { said: () => said }
}

const anyRoute = (cluster: string) => [
  aRouteTable({
    name: 'any',
    virtualHosts: [aVirtualHost({ routes: [aRoute({ action: aForward({ clusters: [aDestination(cluster)] }) })] })],
  }),
]

async function inbound(
  t: Teardown,
  down: Partial<DownstreamTls> = {},
): Promise<{ worker: OneWorker; port: number; app: EchoUpstream }> {
  const app = await EchoUpstream.start(t)
  const cluster = 'inbound|80||'
  const network = anHttpChain({ routeTable: 'any', clientCertificate: 'append_forward' })
  const terms = aDownstreamTls({ alpn: ['h2', 'http/1.1'], minVersion: 'TLSv1.2', ...down })
  const worker = await OneWorker.start(
    t,
    aSnapshot({
      listeners: [aListener({ name: 'in', direction: 'inbound', filterChains: [aFilterChain({ tls: terms, network })] })],
      routeTables: anyRoute(cluster),
      clusters: [aCluster({ name: cluster, endpoints: [anEndpoint({ port: app.port })] })],
    }),
    { secrets: meshSecrets({ identity: SERVER, issued: server, roots: ROOTS }) },
  )
  return { worker, port: worker.ports['in'] as number, app }
}

async function outbound(
  t: Teardown,
  port: number,
  issued: Issued,
  over: { readonly up?: Partial<UpstreamTls>; readonly protocol?: 'http1' | 'http2' } = {},
): Promise<{ worker: OneWorker; port: number }> {
  const tls = anUpstreamTls({ minVersion: 'TLSv1.2', subjectAltNames: [SERVER], sni: 'outbound_.80_._.reviews', ...over.up })
  const worker = await OneWorker.start(
    t,
    aSnapshot({
      listeners: [aListener({ filterChains: [aFilterChain({ network: anHttpChain({ routeTable: 'any' }) })] })],
      routeTables: anyRoute('to'),
      clusters: [aCluster({ name: 'to', tls, protocol: over.protocol ?? 'http1', endpoints: [anEndpoint({ port, tls: true })] })],
    }),
    { secrets: meshSecrets({ identity: CLIENT, issued, roots: ROOTS }) },
  )
  return { worker, port: worker.ports['out'] as number }
}

async function get(t: Teardown, port: number, target = '/x'): Promise<{ status: number; body: string }> {
  const asking = await RawClient.connect(t, port)
  const { status, body } = await asking.ask({ target, host: 'reviews' }, 10_000)
  return { status, body: body.toString('latin1') }
}

const REQUEST = 'GET /x HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\n\r\n'
const certificate = (f: Files): string[] => ['-cert', f.cert, '-key', f.key, ...(f.chain === '' ? [] : ['-cert_chain', f.chain])]

t.test('openssl s_client', { skip: missing('openssl', 'version') }, async (t) => {
  const { worker, port, app } = await inbound(t)
  const connect = (args: readonly string[], input = REQUEST): Promise<Ran> =>
    ran('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', files.root, '-ign_eof', ...args], input)

  const good = await connect([
    ...certificate(files.client),
    '-servername',
    'reviews.example',
    '-alpn',
    'http/1.1,h2',
    '-verify_return_error',
  ])
  t.match(good.out, /Verify return code: 0 \(ok\)/)
  t.match(good.out, /New, TLSv1\.3/)
  t.match(good.out, /Compression: NONE/)
  t.match(good.out, /ALPN protocol: h2/, 'the order is ours')
  const one = await connect([...certificate(files.client), '-alpn', 'http/1.1'])
  t.match(one.out, /ALPN protocol: http\/1\.1[\s\S]*HTTP\/1\.1 200 OK/)
  t.match(app.seen.at(-1)?.headers.find(([n]) => n === 'x-forwarded-client-cert')?.[1], `URI=${CLIENT}`)
  t.match(
    (await connect([...certificate(files.client), '-alpn', 'imap'])).out,
    /alert no application protocol|no application protocol/i,
  )
  t.match(
    (await connect([...certificate(files.client), '-tls1_2'])).out,
    /Secure Renegotiation IS supported[\s\S]*HTTP\/1\.1 200 OK/,
  )

  const seen = worker.handshakes.length
  t.match((await connect([])).out, /alert certificate required/)
  t.match((await connect(['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'])).out, /alert protocol version/)
  for (const name of ['foreign', 'expired', 'unknown'] as const)
    t.notMatch((await connect(certificate(files[name]))).out, /HTTP\/1\.1/, name)
  t.same(
    worker.handshakes.slice(seen).map((h) => h.reason),
    ['no_certificate', 'protocol', 'foreign_trust_domain', 'expired', 'untrusted_chain'],
  )
  t.same(worker.errors, [])

  // A key in its prompt asks for what nobody gets.
  const again = await ran(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2', ...certificate(files.client)],
    'R\nQ\n',
  )
  t.match(again.out, /RENEGOTIATING[\s\S]*no renegotiation/)

  for (const version of ['-tls1_2', '-tls1_3']) {
    const ticket = path.join(dir, `session${version}`)
    // Tickets of TLS 1.3 come behind the handshake, so there has to be an answer.
    await connect([...certificate(files.client), version, '-sess_out', ticket])
    t.match(
      (await connect([...certificate(files.client), version, '-sess_in', ticket])).out,
      /Reused, TLSv1\.\d[\s\S]*HTTP\/1\.1 200 OK/,
      version,
    )
  }
  const { out } = await ran(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2', '-reconnect', ...certificate(files.client)],
    'Q\n',
  )
  t.equal([...out.matchAll(/^Reused, TLSv1\.2/gm)].length, 5)
})

t.test('openssl s_server', { skip: missing('openssl', 'version') }, async (t) => {
  const serve = async (...args: readonly string[]): Promise<number> => {
    const port = await freePort()
    const all = [
      's_server',
      '-accept',
      String(port),
      ...certificate(files.server),
      '-CAfile',
      files.root,
      '-www',
      '-verify_return_error',
      ...args,
    ]
    await stays(t, 'openssl', all, port)
    return port
  }
  const strict = await serve('-Verify', '2')
  const good = await outbound(t, strict, client)
  const { status, body } = await get(t, good.port)
  t.equal(status, 200)
  t.match(body, /TLSv1\.3/)
  t.match(body, /Client certificate/)
  t.same(good.worker.handshakes, [])

  // OpenSSL says what it does not like, behind a handshake that was done for us.
  for (const [name, issued, words] of [
    [
      'unknown',
      unknown,
      /unknown_ca: our certificate is of a CA that the peer does not trust|certificate_unknown|bad_certificate/,
    ],
    ['expired', expired, /certificate_expired: our certificate has expired/],
  ] as const) {
    const { worker, port } = await outbound(t, strict, issued)
    t.equal((await get(t, port)).status, 503)
    const reason = (await worker.record(0))['upstream_transport_failure_reason']
    t.match(reason, /^TLS_error: the peer ended the connection with /, name)
    t.match(reason, words, name)
    t.match(reason, /; we presented spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client, valid to 20/, name)
    t.match(worker.handshakes, [{ side: 'client', reason: 'alert', details: { sni: 'outbound_.80_._.reviews' } }])
  }
  const none = await outbound(t, strict, client, { up: { certificate: '' } })
  t.equal((await get(t, none.port)).status, 503)
  t.match((await none.worker.record(0))['upstream_transport_failure_reason'], /certificate_required: .*; we presented none$/)

  const old = await outbound(t, await serve('-Verify', '2', '-tls1_2'), client, { up: { minVersion: 'TLSv1.3' } })
  t.equal((await get(t, old.port)).status, 503)
  t.match((await old.worker.record(0))['upstream_transport_failure_reason'], /^TLS_error: .*protocol_version/)
  const twelve = await outbound(t, await serve('-Verify', '2', '-tls1_2'), client)
  t.equal((await get(t, twelve.port)).status, 200)
  t.equal((await get(t, twelve.port)).status, 200, 'resumed, by now')
})

t.test('curl', { skip: missing('curl', '--version') }, async (t) => {
  const { worker, port, app } = await inbound(t)
  const url = `https://reviews.example:${port}/x`
  const curl = (...args: readonly string[]): Promise<Ran> =>
    ran('curl', [
      '-sS',
      '-i',
      '--max-time',
      '10',
      '--resolve',
      `reviews.example:${port}:127.0.0.1`,
      '--cacert',
      files.root,
      ...args,
      url,
    ])
  const own = ['--cert', files.client.cert, '--key', files.client.key]
  t.match((await curl('--http1.1', ...own)).out, /^HTTP\/1\.1 200/)
  t.match((await curl('--http2', ...own)).out, /^HTTP\/2 200/)
  const body = file('body', 'x'.repeat(3_000_000))
  t.match((await curl('--http2', ...own, '--data-binary', `@${body}`)).out, /^HTTP\/2 200/)
  t.equal(app.seen.at(-1)?.body.length, 3_000_000)
  t.match((await curl('--http1.1')).out, /certificate required/i)
  t.match((await curl('--http1.1', ...own, '--tls-max', '1.2')).out, /^HTTP\/1\.1 200/)
  t.match(worker.handshakes, [{ reason: 'no_certificate' }])
})

t.test('nghttp and h2load', { skip: missing('nghttp', '--version') || missing('h2load', '--version') }, async (t) => {
  const mutual = await inbound(t)
  const said = await ran('nghttp', [
    '-v',
    '--cert',
    files.client.cert,
    '--key',
    files.client.key,
    `https://127.0.0.1:${mutual.port}/x`,
  ])
  t.match(said.out, /The negotiated protocol: h2[\s\S]*:status: 200/)
  const { worker, port } = await inbound(t, { requireClientCertificate: false })
  const load = await ran('h2load', ['-n', '2000', '-c', '20', '-m', '10', `https://127.0.0.1:${port}/x`])
  t.match(load.out, /2000 succeeded, 0 failed/)
  t.same(worker.errors, [])
  t.same(worker.handshakes, [])
})

const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`
const where = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })
const common = (f: Files, peer: string, alpn: readonly string[]) => ({
  alpn_protocols: alpn,
  tls_certificates: [{ certificate_chain: { filename: f.cert }, private_key: { filename: f.key } }],
  validation_context: {
    trusted_ca: { filename: files.root },
    match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }],
  },
})

/** Envoy with mTLS on either side of it, or on none. */
async function envoy(
  t: Teardown,
  listen: number,
  to: number,
  terms: { readonly down: object | null; readonly up: object | null; readonly http2: boolean },
): Promise<void> {
  const socket = (kind: 'Downstream' | 'Upstream', tls: object) => ({
    name: 'envoy.transport_sockets.tls',
    typed_config: { '@type': type(`transport_sockets.tls.v3.${kind}TlsContext`), ...tls },
  })
  const hcm = {
    '@type': type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'in',
    forward_client_cert_details: 'APPEND_FORWARD',
    set_current_client_cert_details: { subject: true, uri: true, dns: true },
    route_config: {
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'to' } }] }],
    },
    http_filters: [{ name: 'router', typed_config: { '@type': type('filters.http.router.v3.Router') } }],
  }
  const config = {
    static_resources: {
      listeners: [
        {
          address: where(listen),
          filter_chains: [
            {
              filters: [{ name: 'hcm', typed_config: hcm }],
              ...(terms.down === null ? {} : { transport_socket: socket('Downstream', terms.down) }),
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'to',
          type: 'STATIC',
          load_assignment: { cluster_name: 'to', endpoints: [{ lb_endpoints: [{ endpoint: { address: where(to) } }] }] },
          ...(terms.up === null ? {} : { transport_socket: socket('Upstream', terms.up) }),
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': type('upstreams.http.v3.HttpProtocolOptions'),
              explicit_http_config: terms.http2 ? { http2_protocol_options: {} } : { http_protocol_options: {} },
            },
          },
        },
      ],
    },
  }
  const where_ = file(`envoy-${listen}.json`, JSON.stringify(config))
  await stays(t, ENVOY, ['-c', where_, '--concurrency', '1', '--use-dynamic-base-id', '-l', 'error'], listen)
}

t.test('Envoy', { skip: missing(ENVOY, '--version') }, async (t) => {
  for (const http2 of [false, true])
    await t.test(http2 ? 'HTTP/2' : 'HTTP/1.1', async (t) => {
      const app = await EchoUpstream.start(t)
      const protocol = http2 ? 'http2' : 'http1'
      const alpn = http2 ? ['h2'] : ['http/1.1']
      // We → mTLS → Envoy → application.
      const port = await freePort()
      await envoy(t, port, app.port, {
        down: { require_client_certificate: true, common_tls_context: common(files.server, CLIENT, ['h2', 'http/1.1']) },
        up: null,
        http2: false,
      })
      const ours = await outbound(t, port, client, { protocol })
      for (let i = 0; i < 5; i++) t.equal((await get(t, ours.port)).status, 200)
      const envoys = app.seen.at(-1)?.headers.find(([n]) => n === 'x-forwarded-client-cert')?.[1]
      t.same(ours.worker.handshakes, [])
      // Whom Envoy refuses, it tells by an alert or by a close.
      for (const [issued, seen] of [
        [unknown, /unknown_ca|certificate_unknown/],
        [expired, /certificate_expired/],
        [foreign, /certificate_unknown|bad_certificate/],
      ] as const) {
        const refused = await outbound(t, port, issued, { protocol })
        t.equal((await get(t, refused.port)).status, 503)
        t.match((await refused.worker.record(0))['upstream_transport_failure_reason'], seen)
      }

      // Envoy → mTLS → we → application: it is told of its client what Envoy tells of ours.
      const { worker, port: inPort, app: behind } = await inbound(t)
      const front = await freePort()
      await envoy(t, front, inPort, {
        down: null,
        up: { sni: 'reviews.example', common_tls_context: common(files.client, SERVER, alpn) },
        http2,
      })
      for (let i = 0; i < 5; i++) t.equal((await get(t, front)).status, 200)
      t.equal(behind.seen.at(-1)?.headers.find(([n]) => n === 'x-forwarded-client-cert')?.[1], envoys)
      t.match(envoys, new RegExp(`^By=${SERVER};Hash=[0-9a-f]{64};Subject="";URI=${CLIENT}$`))
      t.match(await worker.record(0), { requested_server_name: 'reviews.example', protocol: http2 ? 'HTTP/2' : 'HTTP/1.1' })
      t.same([...worker.handshakes, ...worker.errors], [])

      // Whom we refuse: Envoy answers 503, and we have said why.
      const bad = await freePort()
      await envoy(t, bad, inPort, { down: null, up: { common_tls_context: common(files.foreign, SERVER, alpn) }, http2 })
      t.equal((await get(t, bad)).status, 503)
      t.match(worker.handshakes[0], {
        side: 'server',
        reason: 'foreign_trust_domain',
        details: { seen_trust_domain: 'elsewhere.example' },
      })
    })
})
