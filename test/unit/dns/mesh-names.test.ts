// What a pod of a node is told of names (ztunnel: its DNS proxy): by which names services are found, and which of their addresses are told.
import t from 'tap'
import { MeshIndex } from '../../../lib/decide/tunnel/mesh-index.ts'
import { MeshNames } from '../../../lib/dns/mesh-names.ts'
import { memberOf, service, vips, workload } from '../../support/mesh-nouns.ts'

const KUBE = 'svc.cluster.local'
const SERVICES = [
  service(`web.shop.${KUBE}`, { namespace: 'shop', vips: vips('/10.0.0.1', '/fd00::1', 'west/10.0.0.9') }),
  service(`web.other.${KUBE}`, { namespace: 'other', vips: vips('/10.0.0.2') }),
  service(`secret.other.${KUBE}`, { namespace: 'other', vips: vips('/10.0.0.3'), visibility: 'NAMESPACE' }),
  service(`db.shop.${KUBE}`, { namespace: 'shop' }),
  service(`four.shop.${KUBE}`, { namespace: 'shop', ipFamilies: 'IPV4' }),
  service(`west.shop.${KUBE}`, { namespace: 'shop', vips: vips('west/10.0.0.8') }),
  service('api.example.com', { namespace: 'shop', vips: vips('/10.0.0.4') }),
  service('*.example.com', { namespace: 'shop', vips: vips('/10.0.0.5') }),
  service('*.deep.example.com', { namespace: 'shop', vips: vips('/10.0.0.6') }),
  service('headless.example.org', { namespace: 'shop' }),
  service('both.example.com', { namespace: 'other', vips: vips('/10.0.0.21'), canonical: true }),
  service('both.example.com', { namespace: 'shop', vips: vips('/10.0.0.22') }),
]
const ofDb = { services: [memberOf(`shop/db.shop.${KUBE}`), memberOf(`shop/four.shop.${KUBE}`)] }
const WORKLOADS = [
  workload('db-0', { namespace: 'shop', addresses: ['10.1.0.1', 'fd01::1', '10.1.0.99'], ...ofDb }),
  workload('db-1', { namespace: 'shop', addresses: ['10.1.0.2'], ...ofDb, healthy: false }),
  workload('db-2', { namespace: 'shop', addresses: ['10.1.0.3'], ...ofDb }),
]
const index = new MeshIndex({ services: SERVICES, workloads: WORKLOADS, policies: [] })

const text = (address: Uint8Array) => (address.length === 4 ? address.join('.') : Buffer.from(address).toString('hex'))

function asked(name: string, namespace = 'shop'): { alias: string; v4: string[]; v6: string[] } | null {
  const found = new MeshNames(index, workload('client', { namespace }), 'cluster.local').find(name)
  return found === null ? null : { alias: found.alias, v4: found.v4.map(text).sort(), v6: found.v6.map(text) }
}

t.test('by which names a service is found', async (t) => {
  const rows: [name: string, namespace: string, address: string | null, alias: string][] = [
    [`web.shop.${KUBE}`, 'shop', '10.0.0.1', ''],
    ['web', 'shop', '10.0.0.1', ''],
    ['web', 'other', '10.0.0.2', ''],
    ['web', 'third', null, ''],
    ['web.other', 'shop', '10.0.0.2', ''],
    ['web.other.svc', 'shop', '10.0.0.2', ''],
    // With what a resolver appends, of which each is tried in turn.
    [`web.other.shop.${KUBE}`, 'shop', '10.0.0.2', 'web.other'],
    [`web.other.svc.shop.${KUBE}`, 'shop', '10.0.0.2', 'web.other.svc'],
    [`api.example.com.shop.${KUBE}`, 'shop', '10.0.0.4', 'api.example.com'],
    [`api.example.com.${KUBE}`, 'shop', '10.0.0.4', 'api.example.com'],
    ['api.example.com.cluster.local', 'shop', '10.0.0.4', 'api.example.com'],
    [`api.example.com.shop.${KUBE}`, 'other', null, ''],
    ['api.example.com', 'other', '10.0.0.4', ''],
    // Wildcards, the longest first; what stands behind one has no name of its own to be another name of.
    ['x.example.com', 'shop', '10.0.0.5', ''],
    ['x.y.example.com', 'shop', '10.0.0.5', ''],
    ['x.deep.example.com', 'shop', '10.0.0.6', ''],
    [`x.deep.example.com.shop.${KUBE}`, 'shop', '10.0.0.6', ''],
    ['example.com', 'shop', null, ''],
    // Of two the client's own, before the canonical one.
    ['both.example.com', 'shop', '10.0.0.22', ''],
    ['both.example.com', 'third', '10.0.0.21', ''],
    ['secret.other', 'shop', null, ''],
    ['secret', 'other', '10.0.0.3', ''],
    // Somebody else has to say.
    [`db-0.db.shop.${KUBE}`, 'shop', null, ''],
    ['headless.example.org', 'shop', null, ''],
    ['nobody.example.org', 'shop', null, ''],
    ['', 'shop', null, ''],
  ]
  for (const [name, namespace, address, alias] of rows) {
    const found = asked(name, namespace)
    t.same([found?.v4[0] ?? null, found?.alias ?? ''], [address, alias], `${name} of ${namespace}`)
  }
})

t.test('which addresses are told', async (t) => {
  t.same(asked('web'), { alias: '', v4: ['10.0.0.1'], v6: ['fd000000000000000000000000000001'] }, 'those of the own network')
  t.same(asked('west'), { alias: '', v4: [], v6: [] }, 'it is there, and of another network')
  t.same(
    asked('db'),
    { alias: '', v4: ['10.1.0.1', '10.1.0.3'], v6: ['fd010000000000000000000000000001'] },
    'one of each family of the endpoints that are well',
  )
  t.same(asked('four'), { alias: '', v4: ['10.1.0.1', '10.1.0.3'], v6: [] }, 'of the families of the service')
})
