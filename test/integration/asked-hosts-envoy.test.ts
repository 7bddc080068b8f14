// Hosts that are looked up when somebody asks for them (Envoy dynamic_forward_proxy, Istio DYNAMIC_DNS): by the host of a request, and by the server name of TLS. Envoy
// is asked, too.
import net from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { Beside } from '../support/envoy-beside.ts'
import { eventually } from '../support/eventually.ts'
import { fedPair, type World } from '../support/fed-pair.ts'
import { header } from '../support/h1-reader.ts'
import { httpFilter, setResource } from '../support/xds-json.ts'

/** As istiod has it for `*.example.com`. */
const dns_cache_config = { name: 'asked', dns_lookup_family: 'V4_ONLY' }
const cluster = {
  name: 'asked',
  lb_policy: 'CLUSTER_PROVIDED',
  connect_timeout: '5s',
  cluster_type: {
    name: 'envoy.clusters.dynamic_forward_proxy',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig',
      dns_cache_config,
    },
  },
}

t.test('by the host of a request', async (t) => {
  const [one, two] = [await EchoUpstream.start(t, { name: 'one' }), await EchoUpstream.start(t, { name: 'two' })]
  const beside = await Beside.start(t, {
    filters: [httpFilter('http.dynamic_forward_proxy.v3.FilterConfig', { dns_cache_config })],
    routes: [{ match: { prefix: '/' }, route: { cluster: 'asked' } }],
    clusters: [cluster],
  })
  const rows: readonly (readonly [host: string, who: string | null])[] = [
    [`localhost:${one.port}`, 'one'],
    [`LocalHost:${two.port}`, 'two'],
    [`localhost:${one.port}`, 'one'],
    [`127.0.0.1:${two.port}`, 'two'],
    // Port 80, where nobody is.
    ['localhost', null],
    ['nobody.invalid:80', null],
  ]
  for (const [host, who] of rows) {
    const { envoy, heddle } = await beside.ask(t, { target: '/', host })
    const said = [envoy, heddle].map(({ answer }) => [answer.status, header(answer, 'x-upstream') ?? null])
    const expected = [who === null ? 503 : 200, who]
    t.same(said, [expected, expected], host)
  }
  t.same(one.seen.at(-1)?.headers.find(([name]) => name.toLowerCase() === 'host')?.[1], `localhost:${one.port}`)
})

t.test("by the server name of a client's TLS", async (t) => {
  const first: number[] = []
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (bytes) => {
      first.push(bytes[0] as number)
      socket.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port: port_value } = server.address() as net.AddressInfo
  const build = ({ plane, port, accessLog }: World): void => {
    setResource(plane, XDS.cluster, cluster)
    const proxy = { stat_prefix: 'tcp', cluster: 'asked', access_log: accessLog }
    setResource(plane, XDS.listener, {
      name: 'tcp',
      address: { socket_address: { address: '127.0.0.1', port_value: port } },
      listener_filters: [httpFilter('listener.tls_inspector.v3.TlsInspector')],
      filter_chains: [
        {
          filters: [
            httpFilter('network.sni_dynamic_forward_proxy.v3.FilterConfig', { dns_cache_config, port_value }),
            httpFilter('network.tcp_proxy.v3.TcpProxy', proxy),
          ],
        },
      ],
    })
  }
  for (const { name, port, logged } of await fedPair(t, build)) {
    first.length = 0
    const begin = (servername: string): void => {
      const client = tls.connect({ host: '127.0.0.1', port, servername, rejectUnauthorized: false })
      client.on('error', () => {})
      t.teardown(() => client.destroy())
    }
    begin('localhost')
    await eventually(`${name}: the host that is named`, () => first.length === 1)
    t.same(first, [0x16], `${name}: the handshake`)
    // Without a name nobody is dialled.
    const nameless = net.connect(port, '127.0.0.1', () => nameless.write('GET / HTTP/1.0\r\n\r\n'))
    t.teardown(() => nameless.destroy())
    nameless.on('error', () => {})
    const lines = await logged(2)
    t.equal(lines[1]?.['response_flags'], 'UH', name)
    t.equal(first.length, 1, name)
  }
})
