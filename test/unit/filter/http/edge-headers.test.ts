// What a gateway makes of what clients of the outside say of themselves. Expected values: Envoy's description of x-forwarded-for with
// use_remote_address and xff_num_trusted_hops.
import t from 'tap'
import { takeFromOutside } from '../../../../lib/filter/http/edge-headers.ts'
import type { HttpStream } from '../../../../lib/filter/http/http-stream.ts'
import { mapOf } from '../../http/kit.ts'

/** Nothing more of a stream is looked at. */
function taken(peerAddress: string, trustedProxies: number, lines: readonly (readonly [string, string])[]) {
  const stream = { session: { connection: { peerAddress } }, clientAddress: '' } as unknown as HttpStream
  const headers = mapOf(lines.map(([name, value]) => `${name}: ${value}\r\n`).join(''))
  takeFromOutside(stream, headers, { trustedProxies, keepsRequestIds: false })
  return { client: stream.clientAddress, get: (name: string) => headers.get(name) }
}

t.test('the client, by what trusted proxies say', async (t) => {
  const cases: [peer: string, trusted: number, forwarded: readonly string[], sent: string, external: string][] = [
    ['192.0.2.1:4000', 0, [], '192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 0, ['198.51.100.7'], '198.51.100.7,192.0.2.1', '192.0.2.1'],
    ['[2001:db8::1]:4000', 0, [], '2001:db8::1', '2001:db8::1'],
    ['[::ffff:192.0.2.1]:4000', 0, [], '192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 1, ['198.51.100.7'], '198.51.100.7,192.0.2.1', '198.51.100.7'],
    ['192.0.2.1:4000', 1, ['203.0.113.9, 198.51.100.7'], '203.0.113.9, 198.51.100.7,192.0.2.1', '198.51.100.7'],
    ['192.0.2.1:4000', 2, ['203.0.113.9, 198.51.100.7'], '203.0.113.9, 198.51.100.7,192.0.2.1', '203.0.113.9'],
    ['192.0.2.1:4000', 2, ['203.0.113.9', '198.51.100.7'], '203.0.113.9,198.51.100.7,192.0.2.1', '203.0.113.9'],
    ['192.0.2.1:4000', 3, ['203.0.113.9,198.51.100.7'], '203.0.113.9,198.51.100.7,192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 1, [], '192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 1, ['unknown'], 'unknown,192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 1, ['198.51.100.7:80'], '198.51.100.7:80,192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 1, ['198.51.100.700'], '198.51.100.700,192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 1, ['::1::2'], '::1::2,192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4000', 1, ['2001:db8::7'], '2001:db8::7,192.0.2.1', '2001:db8::7'],
  ]
  for (const [peer, trusted, forwarded, sent, external] of cases) {
    const found = taken(
      peer,
      trusted,
      forwarded.map((value) => ['x-forwarded-for', value] as const),
    )
    const title = `${trusted} trusted, ${forwarded.join(' + ') || 'nothing'} from ${peer}`
    t.equal(found.get('x-forwarded-for'), sent, title)
    t.equal(found.get('x-envoy-external-address'), external, title)
    t.equal(found.client, sent.endsWith(external) ? '' : external, title)
  }
})

t.test('what only the mesh may say', async (t) => {
  const said = [
    'x-envoy-external-address',
    'x-envoy-decorator-operation',
    'x-envoy-downstream-service-cluster',
    'x-envoy-downstream-service-node',
    'x-request-id',
    'x-forwarded-proto',
  ]
  const lines = said.map((name) => [name, 'forged'] as const)
  const found = taken('192.0.2.1:1', 0, lines)
  for (const name of said) t.not(found.get(name), 'forged', name)
  t.equal(
    taken('192.0.2.1:1', 1, [['x-forwarded-proto', 'https']]).get('x-forwarded-proto'),
    'https',
    'by a proxy that is believed',
  )
})
