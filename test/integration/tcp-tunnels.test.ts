// TCP through a proxy (tcp_proxy tunneling_config): fed, where Envoy is asked, too, and written (`tunnel` of a DestinationRule).
import http2 from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { fedPair, type World } from '../support/fed-pair.ts'
import { destinationRule, service, yaml } from '../support/mesh.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, setResource } from '../support/xds-json.ts'

const HTTP = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'

/** Echoes with half-close. Returns its port. */
async function echo(t: Teardown): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

interface ForwardProxy {
  readonly port: number
  /** Heads of requests as they came, lines sorted behind the first. */
  readonly heads: string[][]
}

/** Takes CONNECT on HTTP/1.1 and leads to `to`, or answers with another status; with `status` 0 it says nothing. */
async function forwardProxy(t: Teardown, to: number, status = 200): Promise<ForwardProxy> {
  const heads: string[][] = []
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (client) => {
    sockets.add(client)
    client.on('error', () => {})
    let text = ''
    client.on('data', function onData(data) {
      text += data.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end < 0) return
      const [first = '', ...fields] = text.slice(0, end).split('\r\n')
      heads.push([first, ...fields.map((f) => f.toLowerCase()).sort()])
      client.removeListener('data', onData)
      if (status === 0) return
      if (status !== 200) {
        client.end(`HTTP/1.1 ${status} No\r\ncontent-length: 2\r\n\r\nno`)
        return
      }
      const upstream = connect({ port: to, host: '127.0.0.1', allowHalfOpen: true }, () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n')
        upstream.write(text.slice(end + 4), 'latin1')
        client.pipe(upstream).pipe(client)
      })
      upstream.on('error', () => client.destroy())
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, heads }
}

/** Takes CONNECT, or POST with a body each way, on HTTP/2. */
async function http2Proxy(t: Teardown, to: number): Promise<ForwardProxy> {
  const heads: string[][] = []
  const server = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (s) => sessions.add(s))
  server.on('stream', (stream, headers) => {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
    heads.push(lines.sort())
    stream.on('error', () => {})
    const upstream = connect({ port: to, host: '127.0.0.1', allowHalfOpen: true }, () => {
      stream.respond({ ':status': 200 })
      stream.pipe(upstream).pipe(stream)
    })
    upstream.on('error', () => stream.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, heads }
}

interface Options {
  readonly proxyPort: number
  readonly tunnel?: object
  readonly isHttp2?: boolean
  readonly more?: object
}

function world({ plane, port, accessLog }: World, { proxyPort, tunnel = {}, isHttp2 = false, more = {} }: Options): void {
  const at = (host: string, port_value: number): object => ({ socket_address: { address: host, port_value } })
  const options = { '@type': `type.googleapis.com/${HTTP}`, explicit_http_config: { http2_protocol_options: {} } }
  const lb_endpoints = [{ endpoint: { address: at('127.0.0.1', proxyPort) } }]
  setResource(plane, XDS.cluster, {
    name: 'egress',
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: { cluster_name: 'egress', endpoints: [{ lb_endpoints }] },
    ...(isHttp2 ? { typed_extension_protocol_options: { [HTTP]: options } } : {}),
  })
  const proxy = {
    stat_prefix: 'tcp',
    cluster: 'egress',
    tunneling_config: { hostname: 'db.example:5432', ...tunnel },
    access_log: accessLog,
    ...more,
  }
  setResource(plane, XDS.listener, {
    name: 'tcp',
    address: at('127.0.0.1', port),
    filter_chains: [{ filters: [httpFilter('network.tcp_proxy.v3.TcpProxy', proxy)] }],
  })
}

/** Both directions, with ends that come one after the other. */
async function session(t: Teardown, port: number): Promise<string> {
  const client = await RawClient.connect(t, port)
  await client.write('hello ')
  await client.untilReceived('hello ')
  await client.write('again')
  client.end()
  await client.closed()
  return client.received.toString()
}

const shapes: readonly (readonly [name: string, options: Omit<Options, 'proxyPort'>])[] = [
  ['CONNECT on HTTP/1.1, with further headers', { tunnel: { headers_to_add: [{ header: { key: 'X-Who', value: 'me' } }] } }],
  ['CONNECT on HTTP/2', { isHttp2: true }],
  ['POST on HTTP/2', { isHttp2: true, tunnel: { use_post: true, post_path: '/tunnel' } }],
]

for (const [name, options] of shapes)
  t.test(name, async (t) => {
    const to = await echo(t)
    const proxy = options.isHttp2 === true ? await http2Proxy(t, to) : await forwardProxy(t, to)
    const pair = await fedPair(t, (w) => world(w, { proxyPort: proxy.port, ...options }))
    for (const { name, port, logged } of pair) {
      // On HTTP/1.1 Envoy does not wait for an answer to the client's end.
      const cut = name === 'Envoy' && options.isHttp2 !== true
      t.match(await session(t, port), cut ? /^hello / : /^hello again$/, name)
      t.match((await logged(1))[0], { response_flags: null, upstream_host: `127.0.0.1:${proxy.port}` }, name)
    }
    const [ours, envoys] = proxy.heads
    if (pair.length === 2) t.same(ours, envoys, 'it asks as Envoy does')
    else t.pass(`asked: ${ours}`)
  })

t.test('a proxy that refuses, or says nothing', async (t) => {
  const refuses = await forwardProxy(t, 0, 403)
  for (const [what, proxyPort, why] of [['403', refuses.port, /^tunnel_response:403$/]] as const)
    for (const { name, port, logged } of await fedPair(t, (w) => world(w, { proxyPort }))) {
      const client = await RawClient.connect(t, port)
      await client.closed()
      t.equal(client.received.length, 0, `${name}: ${what}`)
      const [line] = await logged(1)
      t.match(line?.['response_flags'], /^UF/, `${name}: ${what}`)
      t.match(line?.['upstream_transport_failure_reason'], why, `${name}: ${what}`)
    }
  const { heads, port: proxyPort } = await forwardProxy(t, 0, 0)
  const [heddle] = await fedPair(t, (w) => world(w, { proxyPort }), { alone: true })
  const client = await RawClient.connect(t, heddle?.port ?? 0)
  await client.closed()
  t.equal(heads.length, 1)
  t.match((await heddle?.logged(1))?.[0], { response_flags: 'UF', connection_termination_details: 'connect_timeout' })
})

t.test('written: a DestinationRule', async (t) => {
  const forward = await forwardProxy(t, await echo(t))
  const proxy = await startProxy(t, {
    resources: yaml(
      service({ host: 'egress', port: 3128, protocol: 'TCP', endpoints: [{ address: `127.0.0.1:${forward.port}` }] }),
      destinationRule('egress', 'egress', {
        trafficPolicy: { tunnel: { protocol: 'CONNECT', targetHost: 'db.example', targetPort: 5432 } },
      }),
    ),
    listeners: [{ name: 'tcp', protocol: 'tcp', destination: 'egress.default.svc.cluster.local:3128' }],
  })
  t.equal(await session(t, proxy.port('tcp')), 'hello again')
  t.same(forward.heads, [['CONNECT db.example:5432 HTTP/1.1', 'host: db.example:5432']])
})
