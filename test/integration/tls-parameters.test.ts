// Curves, cipher suites and the time of a handshake, fed: openssl's client and Node's server say what was agreed on, with heddle and with Envoy.
import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { fedPair, type World } from '../support/fed-pair.ts'
import type { Issued } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'
import { httpFilter, setResource } from '../support/xds-json.ts'

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3'

const address = (port_value: number): object => ({ socket_address: { address: '127.0.0.1', port_value } })

function cluster(port: number, transport_socket: object | null): object {
  const load_assignment = { cluster_name: 'app', endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }] }
  return { name: 'app', type: 'STATIC', connect_timeout: '2s', load_assignment, ...(transport_socket && { transport_socket }) }
}

function listener({ port, accessLog }: World, more: object): object {
  const proxy = { stat_prefix: 'tcp', cluster: 'app', access_log: accessLog }
  return {
    name: 'in',
    address: address(port),
    filter_chains: [{ filters: [httpFilter('network.tcp_proxy.v3.TcpProxy', proxy)], ...more }],
  }
}

/** Its signatures need no curve. */
function rsaCertificate(t: Teardown): Issued {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'heddle-tls-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [cert, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')]
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=app', '-days', '2', '-keyout', key, '-out', cert]
  execFileSync('openssl', args, { stdio: 'ignore' })
  return { chain: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

/** What `openssl s_client` says of the handshake; empty: there was none. */
function handshake(port: number, ...args: readonly string[]): Promise<string> {
  const all = ['s_client', '-connect', `127.0.0.1:${port}`, ...args]
  return new Promise((resolve) => {
    const child = execFile('openssl', all, { timeout: 5000 }, (_error, stdout) => {
      const [, cipher = ''] = /New, TLSv1\.\d, Cipher is (\S+)/.exec(stdout) ?? []
      const [, group = ''] = /(?:Server|Peer) Temp Key: ([^\n]+)/.exec(stdout) ?? []
      resolve(cipher === '' || cipher === '(NONE)' ? '' : `${cipher} ${group}`)
    })
    child.stdin?.end()
  })
}

async function server(t: Teardown, { chain, key }: Issued, options: tls.TlsOptions = {}): Promise<number> {
  const listening = tls.createServer({ cert: chain, key, ...options }, (socket) => {
    socket.on('error', () => {})
    socket.end(`${socket.getProtocol()} ${socket.getCipher().standardName}`)
  })
  listening.on('tlsClientError', () => {})
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  t.teardown(() => listening.close())
  return (listening.address() as AddressInfo).port
}

/** All that comes before the end. */
function read(t: Teardown, port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let said = ''
  socket.on('data', (d) => {
    said += String(d)
  })
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.on('close', () => resolve(said))
  })
}

t.test('towards clients', async (t) => {
  const { chain, key } = rsaCertificate(t)
  // Envoy dials before the handshake is over.
  const app = await Upstream.start(t, { raw: true })
  const build = (world: World): void => {
    const typed_config = {
      '@type': `${TLS}.DownstreamTlsContext`,
      common_tls_context: {
        tls_params: {
          tls_minimum_protocol_version: 'TLSv1_2',
          tls_maximum_protocol_version: 'TLSv1_2',
          cipher_suites: ['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
          ecdh_curves: ['P-384'],
        },
        tls_certificates: [{ certificate_chain: { inline_string: chain }, private_key: { inline_string: key } }],
      },
    }
    setResource(world.plane, XDS.cluster, cluster(app.port, null))
    const chainFields = { transport_socket: { name: 'tls', typed_config }, transport_socket_connect_timeout: '1.500s' }
    setResource(world.plane, XDS.listener, listener(world, chainFields))
  }
  for (const { name, port } of await fedPair(t, build)) {
    t.match(await handshake(port, '-groups', 'X25519:P-384'), /AES256-GCM-SHA384 .*(384|secp384r1)/, name)
    t.equal(await handshake(port, '-groups', 'X25519'), '', `${name}: another curve`)
    t.equal(await handshake(port, '-cipher', 'ECDHE+AES128', '-tls1_2'), '', `${name}: another suite`)
    t.equal(await handshake(port, '-tls1_3'), '', `${name}: a newer version`)
    t.equal(await read(t, port), '', `${name}: who says nothing is closed before long`)
  }
})

t.test('towards endpoints', async (t) => {
  const issued = rsaCertificate(t)
  const build =
    (port: number) =>
    (world: World): void => {
      const typed_config = {
        '@type': `${TLS}.UpstreamTlsContext`,
        sni: 'app',
        common_tls_context: {
          tls_params: {
            tls_maximum_protocol_version: 'TLSv1_2',
            cipher_suites: ['ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
            ecdh_curves: ['P-384'],
          },
        },
      }
      setResource(world.plane, XDS.cluster, cluster(port, { name: 'tls', typed_config }))
      setResource(world.plane, XDS.listener, listener(world, {}))
    }
  const any = await server(t, issued)
  for (const { name, port } of await fedPair(t, build(any)))
    t.match(await read(t, port), /^TLSv1\.2 TLS_ECDHE_(ECDSA|RSA)_WITH_CHACHA20_POLY1305_SHA256$/, name)
  const other = await server(t, issued, { ecdhCurve: 'X25519' })
  for (const { name, port, logged } of await fedPair(t, build(other))) {
    t.equal(await read(t, port), '', name)
    t.match((await logged(1))[0]?.['upstream_transport_failure_reason'], /TLS/, `${name}: no curve in common`)
  }
})
