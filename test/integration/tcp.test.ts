// Raw TCP (Envoy tcp_proxy): bytes both ways, each direction ends by itself.
import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { eventually } from '../support/eventually.ts'
import { flood } from '../support/flood.ts'
import { refusingPort } from '../support/free-port.ts'
import { destinationRule, resource, service, yaml } from '../support/mesh.ts'
import type { HeddleProcess } from '../support/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Teardown } from '../support/teardown.ts'
import { Upstream } from '../support/upstream.ts'

const MIB = 1024 * 1024

let db: Upstream
let blue: Upstream
let green: Upstream
let proxy: HeddleProcess

t.before(async () => {
  db = await Upstream.start(t, { raw: true })
  blue = await Upstream.start(t, { raw: true })
  green = await Upstream.start(t, { raw: true })
  const tcp = (host: string, port: number, endpoints: readonly { readonly address: string }[]) =>
    service({ host, port, protocol: 'TCP', endpoints })
  const listener = (name: string, destination: string) => ({ name, protocol: 'tcp' as const, destination })
  proxy = await startProxy(t, {
    resources: yaml(
      tcp('db', 5432, [db]),
      tcp('idle', 5433, [db]),
      destinationRule('idle', 'idle', { trafficPolicy: { connectionPool: { tcp: { idleTimeout: '300ms' } } } }),
      tcp('old', 5438, [db]),
      destinationRule('old', 'old', { trafficPolicy: { connectionPool: { tcp: { maxConnectionDuration: '300ms' } } } }),
      tcp('one', 5434, [db]),
      destinationRule('one', 'one', { trafficPolicy: { connectionPool: { tcp: { maxConnections: 1 } } } }),
      tcp('down', 5435, [{ address: `127.0.0.1:${await refusingPort()}` }]),
      tcp('empty', 5436, []),
      tcp('split', 5437, [db]),
      tcp('blue', 5437, [blue]),
      tcp('green', 5437, [green]),
      resource('VirtualService', 'split', {
        hosts: ['split'],
        tcp: [
          {
            route: [
              { destination: { host: 'blue', port: { number: 5437 } }, weight: 25 },
              { destination: { host: 'green', port: { number: 5437 } }, weight: 75 },
            ],
          },
        ],
      }),
    ),
    listeners: [
      listener('db', 'db.default.svc.cluster.local:5432'),
      listener('idle', 'idle.default.svc.cluster.local:5433'),
      listener('old', 'old.default.svc.cluster.local:5438'),
      listener('one', 'one.default.svc.cluster.local:5434'),
      listener('down', 'down.default.svc.cluster.local:5435'),
      listener('empty', 'empty.default.svc.cluster.local:5436'),
      listener('split', 'split.default.svc.cluster.local:5437'),
    ],
  })
})

t.beforeEach(() => db.startAfresh())

async function open(t: Teardown, listener = 'db') {
  const client = await RawClient.connect(t, proxy.port(listener))
  return { client, side: await db.nextConnection() }
}

t.test('bytes go both ways, and whoever speaks first is heard', async (t) => {
  const { client, side } = await open(t)
  await side.write('greeting')
  await client.untilReceived('greeting')
  await client.write('question')
  await side.untilReceived('question')
  client.end()
  side.end()
  await client.closed()
  t.match(await proxy.logged({ bytes_received: 8, bytes_sent: 8 }), {
    upstream_host: db.address,
    upstream_cluster: 'outbound|5432||db.default.svc.cluster.local',
    response_flags: '-',
    response_code: 0,
  })
})

t.test('what the client sends before the upstream is there is not lost', async (t) => {
  const client = await RawClient.connect(t, proxy.port('db'))
  await client.write('at once')
  client.end()
  const side = await db.nextConnection()
  t.equal(await side.closed(), 'end')
  t.equal(side.text, 'at once')
})

t.test('half-close passes in both directions', async (t) => {
  const one = await open(t)
  await one.client.write('all I have')
  one.client.end()
  t.equal(await one.side.closed(), 'end')
  await one.side.write('still answering')
  await one.client.untilReceived('still answering')
  one.side.end()
  t.equal(await one.client.closed(), 'end')
  const two = await open(t)
  await two.side.write('bye')
  two.side.end()
  t.equal(await two.client.closed(), 'end')
  await two.client.write('not yet')
  await two.side.untilReceived('not yet')
  two.client.end()
  t.equal(await two.side.closed(), 'end')
})

t.test('a reset of one side ends the other', async (t) => {
  const one = await open(t)
  one.client.reset()
  await one.side.closed()
  const two = await open(t)
  two.side.reset()
  await two.client.closed()
  t.pass('closed')
})

t.test('large transfers both ways at once arrive intact', async (t) => {
  const { client, side } = await open(t)
  const up = randomBytes(24 * MIB)
  const down = randomBytes(31 * MIB)
  const sha = (b: Buffer) => createHash('sha256').update(b).digest('hex')
  void client.write(up).then(() => client.end())
  void side.write(down).then(() => side.end())
  await Promise.all([client.closed(60_000), side.closed(60_000)])
  t.equal(sha(side.received), sha(up))
  t.equal(sha(client.received), sha(down))
  t.match(await proxy.logged({ bytes_received: up.length }), { bytes_sent: down.length })
})

t.test('what one side does not take the other cannot send', async (t) => {
  const one = await open(t)
  one.side.pause()
  const up = await flood(one.client, Buffer.alloc(65536, 'u'), 96 * MIB)
  t.ok(up < 48 * MIB, `${up} bytes towards a slow upstream`)
  const two = await open(t)
  two.client.pause()
  const down = await flood(two.side, Buffer.alloc(65536, 'd'), 96 * MIB)
  t.ok(down < 48 * MIB, `${down} bytes towards a slow client`)
  one.side.resume()
  await one.side.until('everything that was taken', () => one.side.received.length >= up, 30_000)
  two.client.resume()
  await two.client.until('everything that was taken', () => two.client.received.length >= down, 30_000)
})

t.test('connect failure: the client is closed, UF and, as no other attempt is made, URX', async (t) => {
  const client = await RawClient.connect(t, proxy.port('down'))
  await client.closed()
  t.match(await proxy.logged({ upstream_cluster: 'outbound|5435||down.default.svc.cluster.local' }), {
    response_flags: 'UF,URX',
    upstream_transport_failure_reason: 'delayed connect error: Connection refused',
  })
})

t.test('no endpoint: UH', async (t) => {
  const client = await RawClient.connect(t, proxy.port('empty'))
  await client.closed()
  t.match(await proxy.logged({ upstream_cluster: 'outbound|5436||empty.default.svc.cluster.local' }), { response_flags: 'UH' })
})

t.test('maxConnections: what is beyond is closed, UO', async (t) => {
  const first = await open(t, 'one')
  const second = await RawClient.connect(t, proxy.port('one'))
  await second.closed()
  t.match(await proxy.logged({ upstream_cluster: 'outbound|5434||one.default.svc.cluster.local' }), { response_flags: 'UO' })
  first.client.end()
  first.side.end()
  await first.client.closed()
  const cx = async () =>
    (await proxy.metrics()).value('envoy_cluster_upstream_cx_active', {
      cluster_name: 'outbound|5434||one.default.svc.cluster.local',
    })
  await eventually('the place to be free', async () => (await cx()) === 0)
  const third = await open(t, 'one')
  await third.client.write('in')
  await third.side.untilReceived('in')
})

t.test('idleTimeout ends a session on which nothing moves', async (t) => {
  const { client, side } = await open(t, 'idle')
  await client.write('x')
  await client.closed()
  await side.closed()
  t.match(await proxy.logged({ upstream_cluster: 'outbound|5433||idle.default.svc.cluster.local' }), {
    connection_termination_details: 'idle_timeout',
  })
})

t.test('maxConnectionDuration ends a session however busy it is: DT', async (t) => {
  const { client, side } = await open(t, 'old')
  await client.write('x')
  await client.closed()
  await side.closed()
  t.match(await proxy.logged({ upstream_cluster: 'outbound|5438||old.default.svc.cluster.local' }), {
    response_flags: 'DT',
    connection_termination_details: 'max_connection_duration',
  })
  const metrics = await proxy.metrics()
  t.equal(metrics.value('envoy_tcp_max_downstream_connection_duration', { tcp_prefix: 'old' }), 1)
  t.equal(metrics.value('istio_tcp_connections_closed_total', { response_flags: 'DT' }), 1)
})

t.test('weights of VirtualService.tcp: one draw for each connection', async (t) => {
  const count = 200
  for (let i = 0; i < count; i++) {
    const client = await RawClient.connect(t, proxy.port('split'))
    await eventually('a connection', () => blue.connections.length + green.connections.length > i)
    client.destroy()
  }
  // 25 % of 200: beyond these bounds once in 10^9 runs.
  t.ok(blue.connections.length > 12 && blue.connections.length < 95, `blue ${blue.connections.length}`)
  t.equal(blue.connections.length + green.connections.length, count)
})
