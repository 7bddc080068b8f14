// Envoy at the other end of a node's tunnel: its CONNECT tunnelling into a pod, and a pod into its CONNECT termination. HEDDLE_ENVOY names the program
// where it is not called `envoy`; what is not installed is skipped, loudly.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { canMakeNamespaces } from '../support/netns.ts'
import { certificate, curl, type NodeMesh, nodeMesh, type Pod, said, serve } from '../support/node-mesh.ts'

t.setTimeout(180_000)
const ENVOY = process.env['HEDDLE_ENVOY'] ?? 'envoy'
const skip = canMakeNamespaces() || (spawnSync(ENVOY, ['--version']).status === 0 ? '' : `no Envoy: ${ENVOY}`)

const BIG = 50 << 20
const ANSWER = 1 << 20

const SUM = `
  const { createHash } = require('crypto')
  require('net').createServer({ allowHalfOpen: true }, (s) => {
    const hash = createHash('sha256')
    s.on('error', () => {}).on('data', (d) => hash.update(d))
    s.on('end', () => { s.write(Buffer.alloc(${ANSWER}, 0xfe)); s.end(hash.digest('hex')) })
  }).listen(9000, '::', 1000)`

/** Sends `bytes` and reads what their server says, `connections` times at once: how many were right, and how many failed. */
const client = (host: string, port: number, connections: number, bytes: number) => `
  const { createHash, randomBytes } = require('crypto')
  let [right, failed, ended] = [0, 0, 0]
  const bytes = randomBytes(${bytes})
  const sum = createHash('sha256').update(bytes).digest('hex')
  for (let i = 0; i < ${connections}; i++) {
    const s = require('net').connect({ host: '${host}', port: ${port}, allowHalfOpen: true })
    let [length, tail] = [0, Buffer.alloc(0)]
    s.on('error', () => failed++)
    s.on('data', (d) => { length += d.length; tail = Buffer.concat([tail, d]).subarray(-64) })
    s.on('end', () => { if (length === ${ANSWER} + 64 && String(tail) === sum) right++ })
    s.on('close', () => { if (++ended === ${connections}) console.log(right, failed) })
    s.end(bytes)
  }`

interface Tls {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

/** `peer`: who must be at the other end. */
function tlsContext({ cert, key, ca }: Tls, peer: string): object {
  return {
    alpn_protocols: ['h2'],
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [{ certificate_chain: { inline_string: cert }, private_key: { inline_string: key } }],
    validation_context: {
      trusted_ca: { inline_string: ca },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }],
    },
  }
}

const typed = (type: string, value: object) => ({ '@type': `type.googleapis.com/envoy.${type}`, ...value })
const at = (address: string, port_value: number) => ({ address: { socket_address: { address, port_value } } })

function cluster(name: string, address: string, port: number, more: object): object {
  const lb_endpoints = [{ endpoint: at(address, port) }]
  return {
    name,
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints }] },
    ...more,
  }
}

/** CONNECT streams of h2 over mTLS to a pod, one for each connection to 127.0.0.1:`port`. */
function tunnelling(tls: Tls, to: Pod, identity: string, port: number): { listener: object; cluster: object } {
  const name = `tunnel-${port}`
  const proxy = typed('extensions.filters.network.tcp_proxy.v3.TcpProxy', {
    stat_prefix: name,
    cluster: name,
    tunneling_config: { hostname: `${to.ipv4}:9000` },
  })
  const http2 = typed('extensions.upstreams.http.v3.HttpProtocolOptions', {
    explicit_http_config: { http2_protocol_options: {} },
  })
  const context = typed('extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
    common_tls_context: tlsContext(tls, identity),
  })
  return {
    listener: {
      name,
      ...at('127.0.0.1', port),
      filter_chains: [{ filters: [{ name: 'envoy.filters.network.tcp_proxy', typed_config: proxy }] }],
    },
    cluster: cluster(name, to.ipv4, 15008, {
      typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http2 },
      transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: context },
    }),
  }
}

/** Ends tunnels on 15008 for an application on 127.0.0.1:9000. */
function terminating(tls: Tls, identity: string): { listener: object; cluster: object } {
  const upgrade = { upgrade_type: 'CONNECT', connect_config: {} }
  const manager = typed('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'terminate',
    codec_type: 'HTTP2',
    http2_protocol_options: { allow_connect: true },
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          // Its timeout is one of requests, 15 s by default.
          routes: [
            { match: { connect_matcher: {} }, route: { cluster: 'application', timeout: '0s', upgrade_configs: [upgrade] } },
          ],
        },
      ],
    },
    http_filters: [{ name: 'envoy.filters.http.router', typed_config: typed('extensions.filters.http.router.v3.Router', {}) }],
  })
  const context = typed('extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
    require_client_certificate: true,
    common_tls_context: tlsContext(tls, identity),
  })
  return {
    listener: {
      name: 'terminate',
      ...at('0.0.0.0', 15008),
      filter_chains: [
        {
          transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: context },
          filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
        },
      ],
    },
    cluster: cluster('application', '127.0.0.1', 9000, {}),
  }
}

async function startEnvoy(
  mesh: NodeMesh,
  pod: Pod,
  parts: readonly { listener: object; cluster: object }[],
  port: number,
): Promise<void> {
  const file = path.join(mesh.folder, `envoy-${pod.name}.json`)
  const resources = { listeners: parts.map((p) => p.listener), clusters: parts.map((p) => p.cluster) }
  writeFileSync(file, JSON.stringify({ static_resources: resources }))
  const child = pod.namespace.spawn(ENVOY, ['-c', file, '--concurrency', '1', '--disable-hot-restart', '-l', 'warning'])
  let text = ''
  child.stderr.on('data', (d) => {
    text += d
  })
  child.stdout.resume()
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`
  await eventually(
    'Envoy to listen',
    () => {
      if (child.exitCode !== null) throw new Error(text)
      return pod.namespace.run('cat', '/proc/net/tcp').includes(hex)
    },
    20_000,
  )
}

t.test('Envoy', { skip }, async (t) => {
  const mesh = await nodeMesh(t, {
    pods: [
      { name: 'a', node: 0 },
      { name: 'envoy', node: 0, ambient: false, workload: { protocol: 'HBONE' } },
    ],
  })
  const [a, envoy] = [mesh.pod('a'), mesh.pod('envoy')]
  const proxy = mesh.proxyOf('a')
  const tls = JSON.parse(await certificate(mesh, envoy.identity)) as Tls
  await serve(a, SUM, 9000)
  await serve(envoy, SUM, 9000)
  const into = tunnelling(tls, a, a.identity, 7000)
  const wrong = tunnelling(tls, a, envoy.identity, 7001)
  await startEnvoy(mesh, envoy, [into, wrong, terminating(tls, a.identity)], 15008)

  t.equal(await said(envoy, client('127.0.0.1', 7000, 1, BIG), 60_000), '1 0', 'into the pod, bulk and half-close')
  t.match(await proxy.logged({ direction: 'inbound' }), {
    'src.identity': envoy.identity,
    bytes_recv: BIG,
    bytes_sent: ANSWER + 64,
  })
  t.equal(await said(envoy, client('127.0.0.1', 7000, 200, 100), 90_000), '200 0', 'two hundred at once')
  t.match(await curl(envoy, 'http://127.0.0.1:7001/'), { code: /[^0]/, stdout: '' }, 'Envoy refuses whom it does not expect')

  t.equal(await said(a, client(envoy.ipv4, 9000, 1, BIG), 60_000), '1 0', 'out of the pod, bulk and half-close')
  t.match(await proxy.logged({ direction: 'outbound' }), { 'dst.identity': envoy.identity, bytes_sent: BIG })
  t.equal(await said(a, client(envoy.ipv4, 9000, 200, 100), 90_000), '200 0', 'two hundred at once')
})
