// Who asks, as authorization reads it of a request: the peer, and what stands in x-forwarded-for where that is believed.
import t from 'tap'
import { parseIp } from '../../../../lib/base/ip-prefix.ts'
import type { HttpStream } from '../../../../lib/filter/http/http-stream.ts'
import { HttpRbacFacts } from '../../../../lib/filter/http/rbac-facts.ts'
import { type Asked, facts } from '../../../support/rbac.ts'

/** What is read of a stream. `edge`: clients are of the outside, and `clientAddress` is who the stream has found out. */
function read(asked: Asked, edge: boolean, clientAddress = ''): HttpRbacFacts {
  const connection = {
    peerAddress: '[::ffff:10.1.2.3]:4000',
    localAddress: '10.0.0.7:15006',
    originalDst: '10.0.0.7:9080',
    serverName: '',
    tls: null,
  }
  const manager = { listener: { originalDst: '' }, config: { edge: edge ? { trustedProxies: 1 } : null } }
  const stream = { manager, session: { connection }, clientAddress, metadata: null } as unknown as HttpStream
  const { request } = facts(asked)
  if (request === null) throw new Error('a request')
  return new HttpRbacFacts().ask(stream, request)
}

t.test('the client', async (t) => {
  const forwarded = (...values: string[]): Asked => ({ headers: values.map((v) => ['x-forwarded-for', v] as const) })
  const rows: readonly (readonly [asked: Asked, edge: boolean, clientAddress: string, client: string])[] = [
    [{}, false, '', '10.1.2.3'],
    [forwarded('10.8.0.1'), false, '', '10.8.0.1'],
    [forwarded('10.8.0.1, 10.9.0.1'), false, '', '10.9.0.1'],
    [forwarded('10.8.0.1', '10.9.0.1 , fd00::1 '), false, '', 'fd00::1'],
    [forwarded('10.8.0.1, unknown'), false, '', '10.1.2.3'],
    [forwarded('10.8.0.1,'), false, '', '10.1.2.3'],
    // What the outside says of itself is no matter.
    [forwarded('10.8.0.1'), true, '', '10.1.2.3'],
    [forwarded('10.8.0.1'), true, '10.7.0.1', '10.7.0.1'],
  ]
  for (const [asked, edge, clientAddress, client] of rows) {
    const found = read(asked, edge, clientAddress)
    t.same(found.remoteIp, parseIp(client), `${JSON.stringify(asked)} ${edge}`)
    t.same(found.directRemoteIp, parseIp('10.1.2.3'))
  }
})

t.test('the destination is the one that was dialled; a CONNECT has no path', async (t) => {
  const found = read({ path: '/a' }, false)
  t.same([found.destinationIp, found.destinationPort, found.path], [parseIp('10.0.0.7'), 9080, '/a'])
  t.equal(read({ method: 'CONNECT' }, false).path, null)
  t.same([found.peerNames, found.filterState('io.istio.peer_principal'), found.metadata('x')], [null, null, null])
})
