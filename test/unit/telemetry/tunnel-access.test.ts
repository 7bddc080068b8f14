// Lines of a node's access log: ztunnel's fields in ztunnel's order, and nothing that a peer says ends a field or a line.
import t from 'tap'
import { tunnelJsonLine, tunnelTextLine } from '../../../lib/telemetry/tunnel-access.ts'
import type { TunnelRecord } from '../../../lib/telemetry/tunnel-record.ts'
import { service, workload } from '../../support/mesh-nouns.ts'

function record(over: Partial<TunnelRecord> = {}): TunnelRecord {
  return {
    id: '0af7651916cd43dd8448eb211c80319c',
    direction: 'outbound',
    startTimeMs: Date.UTC(2026, 10, 21, 10, 0, 0),
    durationMs: 12,
    sourceAddress: '10.0.0.1:40000',
    source: workload('web', { namespace: 'shop' }),
    sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
    destinationAddress: '10.0.0.2:15008',
    hboneAddress: '10.0.0.2:8080',
    destination: workload('reviews', { namespace: 'shop' }),
    destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/reviews',
    service: service('reviews.shop.svc', { namespace: 'shop' }),
    bytesSent: 100,
    bytesReceived: 200,
    error: '',
    flag: '',
    refusedEarly: false,
    ...over,
  }
}

t.test('text', async (t) => {
  t.equal(
    tunnelTextLine(record()),
    '2026-11-21T10:00:00.012Z\tinfo\taccess\tconnection complete\t' +
      'src.addr=10.0.0.1:40000 src.workload="web" src.namespace="shop" src.identity="spiffe://cluster.local/ns/shop/sa/web" ' +
      'src.cluster="Kubernetes" dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:8080 dst.service="reviews.shop.svc" ' +
      'dst.workload="reviews" dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/reviews" ' +
      'dst.cluster="Kubernetes" direction="outbound" bytes_sent=100 bytes_recv=200 duration="12ms" ' +
      'id="0af7651916cd43dd8448eb211c80319c"\n',
  )
  t.equal(
    tunnelTextLine(
      record({
        source: null,
        destination: null,
        service: null,
        refusedEarly: true,
        error: 'no',
        destinationAddress: '',
        hboneAddress: '',
        sourceIdentity: '',
        destinationIdentity: '',
      }),
    ),
    '2026-11-21T10:00:00.012Z\twarn\taccess\tconnection failed\tsrc.addr=10.0.0.1:40000 direction="outbound" ' +
      'id="0af7651916cd43dd8448eb211c80319c" error="no"\n',
    'who was refused before anything was known',
  )
})

t.test('JSON', async (t) => {
  t.same(JSON.parse(tunnelJsonLine(record({ error: 'gone' }))), {
    level: 'error',
    time: '2026-11-21T10:00:00.012Z',
    scope: 'access',
    message: 'connection complete',
    'src.addr': '10.0.0.1:40000',
    'src.workload': 'web',
    'src.namespace': 'shop',
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/web',
    'src.cluster': 'Kubernetes',
    'dst.addr': '10.0.0.2:15008',
    'dst.hbone_addr': '10.0.0.2:8080',
    'dst.service': 'reviews.shop.svc',
    'dst.workload': 'reviews',
    'dst.namespace': 'shop',
    'dst.identity': 'spiffe://cluster.local/ns/shop/sa/reviews',
    'dst.cluster': 'Kubernetes',
    direction: 'outbound',
    bytes_sent: 100,
    bytes_recv: 200,
    duration: '12ms',
    id: '0af7651916cd43dd8448eb211c80319c',
    error: 'gone',
  })
})

t.test('what a peer says stays one value of one line', async (t) => {
  const evil = 'a"b\\c\nd\té\u2028 dst.workload="x'
  for (const line of [tunnelTextLine, tunnelJsonLine]) {
    const text = line(record({ error: evil, hboneAddress: evil }))
    t.match(text, /^[\t -~]+\n$/, 'ASCII, and one end')
    t.equal(text.length, Buffer.byteLength(text))
    t.ok(line(record({ hboneAddress: 'x'.repeat(60_000) })).length < 4000, 'of a length that a log can hold')
  }
  t.equal(
    (JSON.parse(tunnelJsonLine(record({ error: evil, hboneAddress: evil }))) as Record<string, string>)['dst.hbone_addr'],
    evil,
  )
})
