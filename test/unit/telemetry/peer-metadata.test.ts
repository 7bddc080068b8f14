// What proxies say of themselves: a google.protobuf.Struct in base64, as Istio's proxies write it (istio/proxy metadata_object.cc), here by protobufjs.
import fc from 'fast-check'
import protobuf from 'protobufjs'
import t from 'tap'
import { PeerBook } from '../../../lib/telemetry/peer-metadata.ts'
import { describeSelf } from '../../../lib/xds/client/self-description.ts'

const Struct = protobuf.common.get('google/protobuf/struct.proto')
if (Struct === null) throw new Error('protobufjs has no Struct')
const root = protobuf.Root.fromJSON(Struct)
const type = root.lookupType('google.protobuf.Struct')

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

function asValue(json: Json): object {
  if (json === null) return { nullValue: 0 }
  if (typeof json === 'string') return { stringValue: json }
  if (typeof json === 'number') return { numberValue: json }
  if (typeof json === 'boolean') return { boolValue: json }
  if (Array.isArray(json)) return { listValue: { values: json.map(asValue) } }
  return { structValue: structOf(json as { readonly [key: string]: Json }) }
}

function structOf(json: { readonly [key: string]: Json }): { fields: Record<string, object> } {
  return { fields: Object.fromEntries(Object.entries(json).map(([key, v]) => [key, asValue(v)])) }
}

const written = (json: { readonly [key: string]: Json }): string =>
  Buffer.from(type.encode(type.fromObject(structOf(json))).finish()).toString('base64')

const FRONT = {
  NAME: 'front-7d9',
  NAMESPACE: 'shop',
  WORKLOAD_NAME: 'front-v1',
  OWNER: 'kubernetes://apis/apps/v1/namespaces/shop/deployments/front-v1',
  CLUSTER_ID: 'west',
  // Of other kinds: passed over.
  PORTS: [1, { a: 'b' }],
  MESH: { ID: null },
  LABELS: {
    app: 'front',
    version: 'v1',
    'service.istio.io/canonical-name': 'front-c',
    'service.istio.io/canonical-revision': 'r1',
  },
}
const PEER = {
  workload: 'front-v1',
  namespace: 'shop',
  app: 'front',
  version: 'v1',
  canonicalService: 'front-c',
  canonicalRevision: 'r1',
  cluster: 'west',
}

t.test('what is read', async (t) => {
  const book = new PeerBook()
  t.same(book.read('a', written(FRONT)), PEER)
  t.equal(book.read('a', written(FRONT)), book.read('a', written(FRONT)), 'once')
  t.same(book.read('a', written(FRONT).replace(/=+$/, '')), PEER, 'without padding')
  t.same(book.read('', written({ NAMESPACE: 'x', LABELS: 'none' })), {
    ...Object.fromEntries(Object.keys(PEER).map((key) => [key, ''])),
    namespace: 'x',
  })
  t.equal(book.read('', written({ WORKLOAD_NAME: 'w'.repeat(1000) }))?.workload.length, 128)
  t.equal(book.read('', written({ WORKLOAD_NAME: 'w'.repeat(20_000) })), null)
})

t.test('whatever it is, it has an end', async (t) => {
  const book = new PeerBook()
  const whole = Buffer.from(written(FRONT), 'base64')
  for (let cut = 1; cut < whole.length; cut++) book.read('a', whole.subarray(0, cut).toString('base64'))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      book.read('a', Buffer.from(bytes).toString('base64'))
    }),
  )
  // A Struct in a Struct in a Struct …
  let deep: Buffer = Buffer.alloc(0)
  const wrapped = (field: number, inner: Buffer): Buffer => {
    const length: number[] = []
    for (let n = inner.length; ; n >>>= 7) {
      length.push(n < 128 ? n : (n & 127) | 128)
      if (n < 128) break
    }
    return Buffer.concat([Buffer.from([(field << 3) | 2, ...length]), inner])
  }
  for (let i = 0; i < 1500; i++) deep = wrapped(1, wrapped(2, wrapped(5, deep)))
  t.doesNotThrow(() => book.read('a', deep.toString('base64')))
})

t.test('baggage of tunnels', async (t) => {
  const book = new PeerBook()
  const all =
    'k8s.cluster.name=west,k8s.namespace.name=shop,k8s.deployment.name=front-v1,service.name=front-c,service.version=r1,cloud.region=r'
  t.same(book.readBaggage(all), { ...PEER, app: 'front-c', version: 'r1' })
  t.equal(book.readBaggage(all), book.readBaggage(all), 'once')
  for (const kind of ['pod', 'job', 'cronjob']) t.equal(book.readBaggage(`k8s.${kind}.name=w`)?.workload, 'w', kind)
  t.equal(book.readBaggage('k8s.deployment.name=,=,,service.name')?.workload, '')
  t.equal(book.readBaggage(`service.name=${'n'.repeat(20_000)}`), null)
})

t.test('what is told of ourselves says the same', async (t) => {
  const own = { namespace: 'default', serviceAccount: 'front', name: 'unknown', labels: {}, address: '', locality: '' }
  const self = describeSelf({ id: 'sidecar~10.0.0.1~front-7d9.shop~shop.svc.cluster.local', metadata: FRONT }, own)
  t.same(new PeerBook().read(self.peerId, self.peerMetadata), PEER)
  const decoded = type.toObject(type.decode(Buffer.from(self.peerMetadata, 'base64')))['fields']
  t.match(decoded, {
    OWNER: { stringValue: FRONT.OWNER },
    NAME: { stringValue: 'front-7d9' },
    LABELS: { structValue: { fields: { app: { stringValue: 'front' } } } },
  })
  t.match(self, { clusterId: 'west', workload: { namespace: 'shop', name: 'front-v1', labels: FRONT.LABELS } })
  const nameless = describeSelf({ id: 'x', metadata: null }, own)
  t.same(nameless.workload, own)
})
