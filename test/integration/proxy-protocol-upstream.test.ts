// Endpoints that are told of clients by the PROXY protocol: fed (`upstream_proxy_protocol`), where Envoy is asked, too, and written (`proxyProtocol` of a DestinationRule).
import { createServer, type Socket } from 'node:net'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { type FedProxy, fedPair, type World } from '../support/fed-pair.ts'
import { destinationRule, service, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, setResource } from '../support/xds-json.ts'

const TYPE = 'type.googleapis.com/envoy.extensions'

interface Told {
  readonly source: string
  readonly destination: string
}

interface Application {
  readonly port: number
  /** For each connection what it was told, in order. `LOCAL`, `UNKNOWN`: nothing. */
  readonly told: (Told | string)[]
}

const V2 = '\r\n\r\n\0\r\nQUIT\n'

/** What the first bytes say, and how long they are. By haproxy's proxy-protocol.txt, for IPv4. */
function headerOf(text: string): { readonly told: Told | string; readonly length: number } | null {
  if (text.startsWith('PROXY ')) {
    const end = text.indexOf('\r\n')
    if (end < 0) return null
    const [, family = '', source = '', destination = '', from = '', to = ''] = text.slice(0, end).split(' ')
    const told = family === 'TCP4' ? { source: `${source}:${from}`, destination: `${destination}:${to}` } : family
    return { told, length: end + 2 }
  }
  if (!text.startsWith(V2)) return { told: `no header: ${text.slice(0, 20)}`, length: 0 }
  const b = Buffer.from(text, 'latin1')
  const length = 16 + b.readUInt16BE(14)
  if (b.length < length) return null
  if (b[12] === 0x20) return { told: 'LOCAL', length }
  const at = (i: number): string => b.subarray(i, i + 4).join('.')
  const told = { source: `${at(16)}:${b.readUInt16BE(24)}`, destination: `${at(20)}:${b.readUInt16BE(26)}` }
  return { told: b[12] === 0x21 && b[13] === 0x11 ? told : `unknown ${b[12]} ${b[13]}`, length }
}

/** Reads a header, then answers requests, or says `hello` to other bytes. */
async function application(t: Teardown): Promise<Application> {
  const told: (Told | string)[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let text = ''
    let header = false
    socket.setEncoding('latin1').on('error', () => {})
    socket.on('data', (data) => {
      text += String(data)
      const found = header ? null : headerOf(text)
      if (found !== null) {
        header = true
        told.push(found.told)
        text = text.slice(found.length)
      }
      if (header && text.endsWith('\r\n\r\n')) {
        text = ''
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      } else if (header && text === 'hello') socket.end('hello')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as { port: number }).port, told }
}

const rawBuffer = { name: 'raw', typed_config: { '@type': `${TYPE}.transport_sockets.raw_buffer.v3.RawBuffer` } }

function telling(version: string): object {
  return {
    name: 'envoy.transport_sockets.upstream_proxy_protocol',
    typed_config: {
      '@type': `${TYPE}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`,
      config: { version },
      transport_socket: rawBuffer,
    },
  }
}

function cluster(name: string, port: number, version: string): object {
  const address = { socket_address: { address: '127.0.0.1', port_value: port } }
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    transport_socket: telling(version),
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  }
}

function listen({ plane, port }: World, filter: object): void {
  setResource(plane, XDS.listener, {
    name: 'in',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [filter] }],
  })
}

const VERSIONS = ['V1', 'V2'] as const

for (const version of VERSIONS)
  t.test(`${version}: bytes`, async (t) => {
    const app = await application(t)
    const build = (world: World): void => {
      setResource(world.plane, XDS.cluster, cluster('app', app.port, version))
      listen(world, httpFilter('network.tcp_proxy.v3.TcpProxy', { stat_prefix: 'tcp', cluster: 'app' }))
    }
    for (const proxy of await fedPair(t, build)) {
      const before = app.told.length
      const client = await RawClient.connect(t, proxy.port)
      await client.write('hello')
      await client.untilReceived('hello')
      const source = client.localAddress
      t.same(app.told.slice(before), [{ source, destination: `127.0.0.1:${proxy.port}` }], proxy.name)
    }
  })

const GET = 'GET / HTTP/1.1\r\nhost: app\r\n\r\n'

function http(world: World, more: object): void {
  const route_config = {
    name: 'r',
    virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'app' } }] }],
  }
  const http_filters = [httpFilter('http.router.v3.Router')]
  const manager = { stat_prefix: 'http', route_config, http_filters, ...more }
  listen(world, httpFilter('network.http_connection_manager.v3.HttpConnectionManager', manager))
}

async function client(
  t: Teardown,
  proxy: FedProxy,
): Promise<{ readonly at: string; readonly ask: (more?: string) => Promise<number> }> {
  const client = await RawClient.connect(t, proxy.port)
  const ask = async (more = ''): Promise<number> => {
    await client.write(GET.replace('\r\n\r\n', `\r\n${more}\r\n`))
    return (await client.response()).status
  }
  return { at: client.localAddress, ask }
}

t.test('requests: those of one client share connections, and nobody else has them', async (t) => {
  const app = await application(t)
  const build = (world: World): void => {
    setResource(world.plane, XDS.cluster, cluster('app', app.port, 'V2'))
    http(world, {})
  }
  for (const proxy of await fedPair(t, build)) {
    const before = app.told.length
    const [a, b] = [await client(t, proxy), await client(t, proxy)]
    for (const one of [a, b, a, b]) t.equal(await one.ask(), 200)
    const destination = `127.0.0.1:${proxy.port}`
    t.same(
      app.told.slice(before),
      [
        { source: a.at, destination },
        { source: b.at, destination },
      ],
      proxy.name,
    )
  }
})

t.test('requests through a proxy that is believed', async (t) => {
  const app = await application(t)
  const build = (world: World): void => {
    setResource(world.plane, XDS.cluster, cluster('app', app.port, 'V1'))
    http(world, { use_remote_address: true, xff_num_trusted_hops: 1 })
  }
  for (const proxy of await fedPair(t, build)) {
    const before = app.told.length
    const { at, ask } = await client(t, proxy)
    t.equal(await ask('x-forwarded-for: 192.0.2.7\r\n'), 200)
    t.equal(await ask('x-forwarded-for: 192.0.2.8\r\n'), 200)
    t.same(app.told.slice(before), [{ source: at, destination: `127.0.0.1:${proxy.port}` }], proxy.name)
  }
})

t.test('written: bytes and requests, by a DestinationRule', async (t) => {
  const app = await application(t)
  const address = `127.0.0.1:${app.port}`
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'app', port: 80, endpoints: [{ address }] }),
      service({ host: 'db', port: 5432, protocol: 'TCP', endpoints: [{ address }] }),
      destinationRule('app', 'app', { trafficPolicy: { proxyProtocol: { version: 'V2' } } }),
      destinationRule('db', 'db', { trafficPolicy: { proxyProtocol: {} } }),
    ),
    listeners: [{ name: 'out' }, { name: 'db', protocol: 'tcp', destination: 'db.default.svc.cluster.local:5432' }],
  })
  const http = await RawClient.connect(t, proxy.port('out'))
  await http.write(GET)
  t.equal((await http.response()).status, 200)
  const tcp = await RawClient.connect(t, proxy.port('db'))
  await tcp.write('hello')
  await tcp.untilReceived('hello')
  t.same(app.told, [
    { source: http.localAddress, destination: `127.0.0.1:${proxy.port('out')}` },
    { source: tcp.localAddress, destination: `127.0.0.1:${proxy.port('db')}` },
  ])
})
