// A gateway between networks, fed (AUTO_PASSTHROUGH): mutual TLS of others is passed on to the cluster that its server name says, and nowhere else.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { freePort } from '../support/free-port.ts'
import { startProxy } from '../support/proxy.ts'
import { type Issued, SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, setResource, setService } from '../support/xds-json.ts'

const nameOf = (service: string): string => `outbound_.80_._.${service}.default.svc.cluster.local`

/** Says who it is; returns its port. */
async function server(t: Teardown, name: string, { chain, key }: Issued): Promise<number> {
  const listening = tls.createServer({ cert: chain, key }, (socket) => socket.on('error', () => {}).end(name))
  listening.on('tlsClientError', () => {})
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  t.teardown(() => listening.close())
  return (listening.address() as AddressInfo).port
}

/** Who answers; empty: nobody. */
function whoIs(t: Teardown, port: number, servername: string): Promise<string> {
  const socket = tls.connect({ port, host: '127.0.0.1', servername, rejectUnauthorized: false })
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

t.test('by server name', async (t) => {
  const ca = await SigningCa.root(t, 'mesh')
  const issued = await ca.issue({ dnsNames: ['any'] })
  const plane = await FakeControlPlane.start(t)
  const port = await freePort()
  for (const name of ['reviews', 'ratings'])
    setService(plane, nameOf(name), { host: '127.0.0.1', port: await server(t, name, issued) })
  setService(plane, 'secret.example', { host: '127.0.0.1', port: await server(t, 'secret', issued) })
  const tcp = { stat_prefix: 'BlackHoleCluster', cluster: 'BlackHoleCluster' }
  setResource(plane, XDS.listener, {
    name: '0.0.0.0_15443',
    traffic_direction: 'OUTBOUND',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    listener_filters: [httpFilter('listener.tls_inspector.v3.TlsInspector')],
    filter_chains: [
      {
        filter_chain_match: { server_names: ['*.cluster.local'] },
        filters: [httpFilter('network.sni_cluster.v3.SniCluster'), httpFilter('network.tcp_proxy.v3.TcpProxy', tcp)],
      },
    ],
  })
  const proxy = await startProxy(t, {
    listeners: [],
    bootstrap: { role: 'gateway', resources: [], xds: { address: plane.hostAndPort, transport: 'plaintext' } },
  })
  t.equal(await whoIs(t, port, nameOf('reviews')), 'reviews')
  t.equal(await whoIs(t, port, nameOf('ratings')), 'ratings')
  t.equal(await whoIs(t, port, nameOf('nobody')), '')
  t.match(await proxy.logged({ response_flags: 'NC' }), { requested_server_name: nameOf('nobody') })
  t.equal(await whoIs(t, port, 'secret.example'), '', 'no filter chain is for it')
  t.notMatch(proxy.stderr, /exception/, 'the first bytes of whom nobody serves are nobody’s')
})
