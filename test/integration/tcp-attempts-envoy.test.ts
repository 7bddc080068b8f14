// max_connect_attempts of tcp_proxy: another endpoint is tried where one cannot be reached. Envoy is asked, too.
import net from 'node:net'
import t from 'tap'
import { XDS } from '../../lib/xds/client/resource-types.ts'
import { staticCluster } from '../support/envoy-beside.ts'
import { fedPair, type World } from '../support/fed-pair.ts'
import { freePort } from '../support/free-port.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { httpFilter, setResource } from '../support/xds-json.ts'

const HOST = '127.0.0.1'

/** Says hello and echoes. */
async function application(t: Teardown): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.write('hello ')
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  t.teardown(() => server.close())
  return (server.address() as net.AddressInfo).port
}

const build =
  (attempts: number, ports: readonly number[]) =>
  ({ plane, port, accessLog }: World): void => {
    setResource(
      plane,
      XDS.cluster,
      staticCluster(
        'c',
        ports.map((p) => ({ host: HOST, port: p })),
      ),
    )
    const proxy = { stat_prefix: 'tcp', cluster: 'c', max_connect_attempts: attempts, access_log: accessLog }
    setResource(plane, XDS.listener, {
      name: 'tcp',
      address: { socket_address: { address: HOST, port_value: port } },
      filter_chains: [{ filters: [httpFilter('network.tcp_proxy.v3.TcpProxy', proxy)] }],
    })
  }

t.test('the next endpoint in turn', async (t) => {
  const [dead, alive] = [await freePort(), await application(t)]
  for (const proxy of await fedPair(t, build(2, [dead, alive]))) {
    for (let i = 0; i < 4; i++) {
      const client = await RawClient.connect(t, proxy.port)
      await client.write('there')
      await client.untilReceived('hello there')
      client.end()
      await client.closed()
    }
    const lines = await proxy.logged(4)
    // In turn: who began with the one that is dead has seen both, and the next one begins with it again; its log says that something failed.
    t.same(new Set(lines.map((l) => l['upstream_host'])), new Set([`${HOST}:${alive}`]), proxy.name)
    t.ok(
      lines.some((l) => l['response_flags'] === 'UF'),
      proxy.name,
    )
  }
})

t.test('as many as are allowed, and no more', async (t) => {
  const dead = [await freePort(), await freePort(), await freePort()]
  for (const [attempts, tried] of [
    [1, 1],
    [3, 3],
  ] as const) {
    for (const proxy of await fedPair(t, build(attempts, dead))) {
      const client = await RawClient.connect(t, proxy.port)
      await client.closed()
      const [line] = await proxy.logged(1)
      t.equal(String(line?.['response_flags']).split(',').toSorted().join(), 'UF,URX', `${proxy.name}, ${attempts}`)
      const { body } = await proxy.admin('/clusters?format=json')
      const { cluster_statuses: clusters } = JSON.parse(body) as {
        cluster_statuses: { name: string; host_statuses: { stats: { name: string; value?: string | number }[] }[] }[]
      }
      const failed = clusters
        .find((c) => c.name === 'c')
        ?.host_statuses.map((h) => Number(h.stats.find((s) => s.name === 'cx_connect_fail')?.value ?? 0))
      t.equal(
        failed?.reduce((a, b) => a + b, 0),
        tried,
        `${proxy.name}, ${attempts}`,
      )
    }
  }
})
