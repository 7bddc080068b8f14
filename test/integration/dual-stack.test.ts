// Both families of IP, fed: listeners at several addresses.
import { connect } from 'node:net'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { EchoUpstream } from '../support/echo-upstream.ts'
import { eventually } from '../support/eventually.ts'
import { FakeControlPlane } from '../support/fake-control-plane.ts'
import { fedPair, type World } from '../support/fed-pair.ts'
import { freePort } from '../support/free-port.ts'
import { type HeddleProcess, startProxy } from '../support/proxy.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, putResource, setResource, setService } from '../support/xds-json.ts'

const address = (host: string, port: number): object => ({ socket_address: { address: host, port_value: port } })

function tcpListener(port: number, cluster: string, host: string, ...others: readonly string[]): object {
  return {
    name: 'tcp',
    traffic_direction: 'OUTBOUND',
    address: address(host, port),
    additional_addresses: others.map((other) => ({ address: address(other, port) })),
    filter_chains: [{ filters: [httpFilter('network.tcp_proxy.v3.TcpProxy', { stat_prefix: 'tcp', cluster })] }],
  }
}

function fed(t: Teardown, plane: FakeControlPlane): Promise<HeddleProcess> {
  return startProxy(t, {
    listeners: [],
    bootstrap: { role: 'gateway', resources: [], xds: { address: plane.hostAndPort, transport: 'plaintext' } },
  })
}

/** What comes back for `said`; empty: nothing, or nobody listens. */
function ask(t: Teardown, host: string, port: number): Promise<string> {
  const socket = connect({ host, port })
  t.teardown(() => socket.destroy())
  let answer = ''
  socket.on('data', (d) => {
    answer += String(d)
  })
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
  })
}

t.test('a listener at addresses of both families, which come and go', async (t) => {
  const plane = await FakeControlPlane.start(t)
  const upstream = await EchoUpstream.start(t, { name: 'here' })
  const port = await freePort()
  setService(plane, 'app', upstream)
  setResource(plane, XDS.listener, tcpListener(port, 'app', '127.0.0.1', '::1'))
  await fed(t, plane)
  t.match(await ask(t, '127.0.0.1', port), /here/)
  t.match(await ask(t, '::1', port), /here/)
  putResource(plane, XDS.listener, tcpListener(port, 'app', '127.0.0.1'))
  await eventually('nobody listens on ::1', async () => (await ask(t, '::1', port)) === '')
  await eventually('but on 127.0.0.1', async () => (await ask(t, '127.0.0.1', port)).includes('here'))
  putResource(plane, XDS.listener, tcpListener(port, 'app', '127.0.0.1', '::1', '127.0.0.2'))
  await eventually('it listens on three', async () => (await ask(t, '127.0.0.2', port)).includes('here'))
  await eventually('and on ::1', async () => (await ask(t, '::1', port)).includes('here'))
})

t.test('an endpoint with further addresses, as Envoy has it', async (t) => {
  // On 127.0.0.1 nobody may have this port: one that the system chose for ::1 alone, another test's server gets there.
  const upstream = await EchoUpstream.start(t, { name: 'six', host: '::1', port: await freePort() })
  const build = ({ plane, port }: World): void => {
    const endpoint = {
      address: address('127.0.0.1', upstream.port),
      additional_addresses: [{ address: address('::1', upstream.port) }],
    }
    const load_assignment = { cluster_name: 'app', endpoints: [{ lb_endpoints: [{ endpoint }] }] }
    setResource(plane, XDS.cluster, { name: 'app', type: 'STATIC', connect_timeout: '2s', load_assignment })
    setResource(plane, XDS.listener, tcpListener(port, 'app', '127.0.0.1'))
  }
  for (const { name, port } of await fedPair(t, build)) t.match(await ask(t, '127.0.0.1', port), /"six"/, name)
})
