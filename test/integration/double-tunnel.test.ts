// An endpoint of another network: a tunnel to its gateway, and within it another one to a workload, both ends of Node.js. What is sent arrives, each end is
// told what is for it, and nobody but the workload sees what is within.
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import t from 'tap'
import { type ConnectOwner, Connector } from '../../lib/pool/connector.ts'
import type { EndpointTunnel } from '../../lib/state/cluster.ts'
import type { Connection } from '../../lib/transport/connection.ts'
import { eventually } from '../support/eventually.ts'
import { type HboneIdentity, HboneServer } from '../support/hbone-peer.ts'
import { anEndpoint } from '../support/nouns.ts'
import { SigningCa } from '../support/signing-ca.ts'
import type { Teardown } from '../support/teardown.ts'
import { meshSecrets, Recorder, TlsEnd } from '../support/tls-ends.ts'

const id = (name: string) => `spiffe://cluster.local/ns/shop/sa/${name}`
const HOST = 'db.shop.svc.cluster.local:5432'

t.test('double HBONE', async (t) => {
  const ca = await SigningCa.root(t)
  const foreign = await SigningCa.root(t, 'foreign')
  const as = async (name: string, by = ca): Promise<HboneIdentity> => ({
    issued: await by.issue({ uris: [id(name)] }),
    roots: [ca.rootPem],
  })
  const echo = net.createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket))
  await once(echo.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => echo.close())
  const workload = await HboneServer.start(t, {
    as: await as('db'),
    host: '127.0.0.1',
    port: 0,
    to: () => (echo.address() as AddressInfo).port,
  })
  const gateway = await HboneServer.start(t, { as: await as('gateway'), host: '127.0.0.1', port: 0, to: () => workload.port })
  const end = new TlsEnd(
    meshSecrets({ identity: id('web'), issued: (await as('web')).issued, roots: { 'cluster.local': [ca.rootPem] } }),
  )
  const tunnel: EndpointTunnel = {
    address: '127.0.0.1',
    port: gateway.port,
    identities: [],
    authority: HOST,
    fields: 'x-istio-source: sidecar\r\n',
    innerFields: 'x-forwarded-network: east\r\n',
  }

  await t.test('bytes both ways, and what each end is told', async (t) => {
    const outcome = await connect(t, end, tunnel)
    const recorder = new Recorder(outcome as Connection)
    recorder.write('x'.repeat(300_000))
    recorder.end()
    await eventually('all came back', () => recorder.ended && recorder.bytes === 300_000)
    const [outer, inner] = [gateway.seen[0], workload.seen[0]]
    t.same([outer?.authority, outer?.client, inner?.authority, inner?.client], [HOST, id('web'), HOST, id('web')])
    t.same([outer?.headers['x-istio-source'], outer?.headers['x-forwarded-network']], ['sidecar', undefined])
    t.same([inner?.headers['x-istio-source'], inner?.headers['x-forwarded-network']], [undefined, 'east'])
  })

  await t.test('many bytes of several that share the tunnel to the gateway', async (t) => {
    const bytes = 4 * 2 ** 20
    const outcomes = await Promise.all(
      ['a', 'b', 'c', 'd'].map(async (letter) => [letter, await connect(t, end, tunnel)] as const),
    )
    const all = outcomes.map(([letter, outcome]) => [letter, new Recorder(outcome as Connection)] as const)
    for (const [letter, recorder] of all) {
      recorder.write(letter.repeat(bytes))
      recorder.end()
    }
    await eventually('all came back, or was cut', () => all.every(([, r]) => r.ended || r.closed !== null), 20_000)
    for (const [letter, recorder] of all) {
      t.equal(recorder.closed ?? '', '')
      t.ok(Buffer.concat(recorder.chunks).equals(Buffer.alloc(bytes, letter)), `${recorder.bytes} bytes of ${letter}`)
    }
  })

  await t.test('the tunnel to the gateway is shared, the one within never', async (t) => {
    const [before, within] = [gateway.connections, workload.connections]
    const both = [await connect(t, end, tunnel), await connect(t, end, tunnel)]
    t.ok(both.every((one) => typeof one !== 'string'))
    t.same([gateway.connections - before, workload.connections - within], [0, 2])
  })

  await t.test('a workload that nobody vouches for', async (t) => {
    const stranger = await HboneServer.start(t, { as: await as('db', foreign), host: '127.0.0.1', port: 0, to: () => 1 })
    const other = await HboneServer.start(t, { as: await as('gateway'), host: '127.0.0.1', port: 0, to: () => stranger.port })
    t.match(await connect(t, end, { ...tunnel, port: other.port }), /^HBONE: tls error: /)
  })

  await t.test('given up while it is under way', async (t) => {
    let greeted = 0
    const silent = net.createServer((socket) => {
      socket
        .on('error', () => {})
        .on('data', (bytes) => {
          greeted += bytes.length
        })
    })
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    t.teardown(() => silent.close())
    const other = await HboneServer.start(t, {
      as: await as('gateway'),
      host: '127.0.0.1',
      port: 0,
      to: () => (silent.address() as AddressInfo).port,
    })
    const connector = begin(
      end,
      { ...tunnel, port: other.port },
      { onConnected: () => t.fail('connected'), onConnectFailed: () => t.fail('failed') },
    )
    await eventually('the handshake within has begun', () => greeted > 0)
    t.equal(connector.cancel(), true)
    await eventually('its stream is reset', () => other.seen[0]?.stream.destroyed === true)
  })
  t.same(end.errors, [])
})

/** The connection, or the words of its failure. */
function connect(t: Teardown, end: TlsEnd, tunnel: EndpointTunnel): Promise<Connection | string> {
  return new Promise((resolve) => {
    begin(end, tunnel, {
      onConnected: (_, connection) => {
        t.teardown(() => connection.destroy(''))
        resolve(connection)
      },
      onConnectFailed: (_, __, detail) => resolve(detail),
    })
  })
}

function begin(end: TlsEnd, tunnel: EndpointTunnel, owner: ConnectOwner): Connector {
  const { address, port } = tunnel
  const settings = { connectTimeoutMs: 0, keepalive: null, tls: null, bind: null, proxyProtocol: 'none' as const, serverName: '' }
  return new Connector(
    { io: end.io, address, port, host: { endpoint: anEndpoint({ address, port, tunnel }) }, settings },
    'tcp',
    owner,
  )
}
